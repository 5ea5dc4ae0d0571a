/*
 * What a packet's flow and looking deeper cost (DP-10): mixed traffic through kedge_flows_observe, timed.
 * Usage: flows_speed [MILLISECONDS] [CONVERSATIONS]; prints nanoseconds per packet as JSON: `countedNs` at a level
 * that does not look deeper, `classifiedNs` at one that does.
 *
 * It must not judge: timed is the call alone, over frames that were parsed and judged before.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../core/flows.h"
#include "talk.h"
#include "vectors.h"

#define PACKETS 65536u
#define BATCH 64u

struct shown {
  uint32_t at;
  uint32_t length;
  struct kedge_packet packet;
  struct kedge_judgement judgement;
};

static uint8_t *bytes;
static struct shown shown[PACKETS];
static struct kedge_flows flows;
static uint64_t records, sum;

static uint64_t state = 20261128;
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

static void ended(void *context, const struct kedge_flow_record *record)
{
  (void)context;
  records++;
  sum += record->packets;
}

/*
 * Conversations of every kind there is a vector for, and of none; each begins with its greeting, says its vector, and
 * goes on with data in both directions. `fresh` of a thousand packets begin another conversation.
 */
static void make_traffic(unsigned conversations, unsigned fresh)
{
  static uint8_t said[2048], data[1400];
  uint32_t *talk = calloc(conversations, sizeof(*talk)), *spoken = calloc(conversations, sizeof(*spoken));
  uint32_t next_number = conversations;
  size_t at = 0;
  for (unsigned c = 0; c < conversations; c++)
    talk[c] = c;
  for (unsigned i = 0; i < PACKETS; i++) {
    unsigned c = below(conversations);
    if (below(1000) < fresh)
      talk[c] = next_number++, spoken[c] = 0;
    const struct vector *v = &VECTOR[talk[c] % VECTORS];
    unsigned turn = spoken[c]++;
    struct talk_packet t = {.number = talk[c], .ip6 = talk[c] % 4 == 0, .tcp = v->stream, .flags = TALK_ACK, .sequence = 1};
    if (v->stream != 0 && turn < 2) {
      t.side = (uint8_t)turn, t.flags = TALK_SYN, t.sequence = 0;
    } else if (turn == (v->stream != 0 ? 2u : 0u)) {
      t.payload = said, t.bytes = (uint16_t)vector_bytes(v, said);
    } else {
      t.side = (uint8_t)below(2), t.payload = data, t.bytes = below(2) == 0 ? 1400 : 0, t.sequence = 3000 + turn * 1400;
    }
    shown[i].at = (uint32_t)at;
    shown[i].length = (uint32_t)talk_frame(&t, bytes + at);
    kedge_packet_parse(bytes + at, shown[i].length, &shown[i].packet);
    shown[i].judgement = (struct kedge_judgement){.verdict = KEDGE_VERDICT_PASS, .reason = KEDGE_REASON_PAIR, .source_zone = 2, .destination_zone = 3, .entry = KEDGE_NO_ENTRY};
    at += shown[i].length;
  }
  free(talk);
  free(spoken);
}

/*
 * Nanoseconds per packet. A batch is copied to where frames are received and parsed there, as a data plane does; only
 * then the time counts.
 */
static double timed(unsigned milliseconds, unsigned classify)
{
  static uint8_t received[BATCH][TALK_MOST];
  struct kedge_flow_state under = {.epoch = 1, .level = classify ? 4 : 5, .classify = (uint8_t)classify};
  uint64_t end = now_ns() + milliseconds * UINT64_C(1000000), packets = 0, took = 0, now = 0;
  const uint64_t seed[2] = {1, 2};
  /* Each round begins with an empty table: every conversation is looked into anew. */
  while (now < end) {
    memset(flows.bucket, 0, flows.buckets * sizeof(*flows.bucket));
    kedge_flows_start(&flows, flows.bucket, flows.buckets * KEDGE_FLOW_WAYS, seed, ended, NULL);
    for (unsigned i = 0; i < PACKETS; i += BATCH) {
      for (unsigned k = 0; k < BATCH; k++) {
        memcpy(received[k], bytes + shown[i + k].at, shown[i + k].length);
        kedge_packet_parse(received[k], shown[i + k].length, &shown[i + k].packet);
      }
      now = under.now_ns = now_ns();
      kedge_flows_sweep(&flows, now);
      for (unsigned k = 0; k < BATCH; k++) {
        struct kedge_flow_sight sight;
        if (kedge_flows_observe(&flows, received[k], &shown[i + k].packet, &shown[i + k].judgement, &under, &sight))
          sum += sight.application;
      }
      took += now_ns() - now;
    }
    packets += PACKETS;
  }
  return (double)took / (double)packets;
}

int main(int argc, char **argv)
{
  unsigned milliseconds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 500;
  unsigned conversations = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 4000;
  const uint64_t seed[2] = {1, 2};
  void *memory;
  size_t room = kedge_flows_bytes(KEDGE_FLOWS_DEFAULT);
  bytes = malloc((size_t)PACKETS * 1600);
  if (conversations == 0 || conversations > 65536 || bytes == NULL || posix_memalign(&memory, 64, room) != 0)
    return 2;
  memset(memory, 0, room);
  kedge_flows_start(&flows, memory, KEDGE_FLOWS_DEFAULT, seed, ended, NULL);
  make_traffic(conversations, 20);
  double counted = timed(milliseconds, 0), looked = timed(milliseconds, 1);
  printf("{\"packets\":%u,\"conversations\":%u,\"flows\":%u,\"countedNs\":%.1f,\"classifiedNs\":%.1f,\"records\":%llu}\n",
         PACKETS, conversations, KEDGE_FLOWS_DEFAULT, counted, looked, (unsigned long long)records);
  return sum == 0;
}
