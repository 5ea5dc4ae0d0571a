/*
 * The implementation of conversations.h.
 *
 * It must take no randomness from outside: runs are compared with each other.
 */
#define _GNU_SOURCE
#include "conversations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../../plugins/dataplane/core/flows.h"
#include "../../../plugins/dataplane/test/native/talk.h"
#include "../../../plugins/dataplane/test/native/vectors.h"

#define BATCH 64u
#define FRESH_PER_MILLE 20u
#define FRAME_ROOM 1600u

struct shown {
  uint32_t at;
  uint32_t length;
  struct kedge_packet packet;
  struct kedge_judgement judgement;
};

struct conversations {
  uint8_t *bytes;
  struct shown shown[CONVERSATION_PACKETS];
  struct kedge_flows flows;
  void *table;
  uint64_t records;
};

static uint64_t state;
static unsigned below(unsigned n)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (unsigned)(state >> 33) % n;
}

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *room(size_t bytes)
{
  void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (memory == NULL) {
    fputs("bench: no memory\n", stderr);
    exit(1);
  }
  memset(memory, 0, bytes);
  return memory;
}

static void ended(void *context, const struct kedge_flow_record *record)
{
  (void)record;
  ((struct conversations *)context)->records++;
}

struct conversations *conversations_of(uint32_t number)
{
  static uint8_t said[2048], data[1400];
  struct conversations *c = room(sizeof(*c));
  uint32_t *talk = room(number * sizeof(*talk)), *spoken = room(number * sizeof(*spoken)), next = number;
  size_t at = 0;
  state = 20261128;
  c->bytes = room((size_t)CONVERSATION_PACKETS * FRAME_ROOM);
  c->table = room(kedge_flows_bytes(KEDGE_FLOWS_DEFAULT));
  for (uint32_t n = 0; n < number; n++)
    talk[n] = n;
  for (uint32_t i = 0; i < CONVERSATION_PACKETS; i++) {
    uint32_t n = below(number);
    if (below(1000) < FRESH_PER_MILLE)
      talk[n] = next++, spoken[n] = 0;
    const struct vector *v = &VECTOR[talk[n] % VECTORS];
    unsigned turn = spoken[n]++;
    struct talk_packet t = {
        .number = talk[n], .ip6 = talk[n] % 4 == 0, .tcp = v->stream, .flags = TALK_ACK, .sequence = 1};
    if (v->stream != 0 && turn < 2) {
      t.side = (uint8_t)turn, t.flags = TALK_SYN, t.sequence = 0;
    } else if (turn == (v->stream != 0 ? 2u : 0u)) {
      t.payload = said, t.bytes = (uint16_t)vector_bytes(v, said);
    } else {
      t.side = (uint8_t)below(2), t.payload = data, t.bytes = below(2) == 0 ? 1400 : 0;
      t.sequence = 3000 + turn * 1400;
    }
    struct shown *s = &c->shown[i];
    s->at = (uint32_t)at;
    s->length = (uint32_t)talk_frame(&t, c->bytes + at);
    kedge_packet_parse(c->bytes + at, s->length, &s->packet);
    s->judgement = (struct kedge_judgement){.verdict = KEDGE_VERDICT_PASS,
                                            .reason = KEDGE_REASON_PAIR,
                                            .source_zone = 2,
                                            .destination_zone = 3,
                                            .entry = KEDGE_NO_ENTRY};
    at += s->length;
  }
  free(talk);
  free(spoken);
  return c;
}

void conversations_free(struct conversations *c)
{
  free(c->bytes);
  free(c->table);
  free(c);
}

uint64_t conversations_pass(struct conversations *c, bool deeper, uint32_t *known)
{
  static uint8_t received[BATCH][TALK_MOST];
  const uint64_t seed[2] = {1, 2};
  struct kedge_flow_state under = {.epoch = 1, .level = deeper ? 4 : 5, .classify = deeper};
  uint64_t took = 0;
  *known = 0;
  memset(c->table, 0, kedge_flows_bytes(KEDGE_FLOWS_DEFAULT));
  kedge_flows_start(&c->flows, c->table, KEDGE_FLOWS_DEFAULT, seed, ended, c);
  for (uint32_t i = 0; i < CONVERSATION_PACKETS; i += BATCH) {
    /* A batch is copied to where frames are received and parsed there, as a data plane does; then the time counts. */
    for (unsigned k = 0; k < BATCH; k++) {
      struct shown *s = &c->shown[i + k];
      memcpy(received[k], c->bytes + s->at, s->length);
      kedge_packet_parse(received[k], s->length, &s->packet);
    }
    uint64_t begun = under.now_ns = now_ns();
    kedge_flows_sweep(&c->flows, begun);
    for (unsigned k = 0; k < BATCH; k++) {
      struct kedge_flow_sight sight;
      if (kedge_flows_observe(&c->flows, received[k], &c->shown[i + k].packet, &c->shown[i + k].judgement, &under,
                              &sight))
        *known += sight.application != KEDGE_APPLICATION_UNKNOWN;
    }
    took += now_ns() - begun;
  }
  return took;
}
