/*
 * What a verdict costs: 65,536 mixed flows, half of them strangers to the allowlist, parsed and judged one after
 * the other on one core, for allowlists of several lengths; and what following conversations costs, looking into them.
 *
 * It must judge by the product's core and nothing else, and count what it judged.
 *
 *   classifier [--cpu N] [--rounds N]
 *
 * Prints JSON: per row one figure per round, the best of its passes in picoseconds per packet. A round takes all rows
 * in turn, so that whatever disturbs the machine disturbs them alike.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../../plugins/dataplane/core/classify.h"
#include "conversations.h"
#include "flows.h"

#define BEST_OF 5 /* passes of one round */

/* Either an allowlist, or conversations in a table of 16,384 places. */
struct row {
  uint32_t entries;
  uint32_t shapes;   /* per family */
  bool plain;        /* no zones, no VLAN tags: what the peer can do as well */
  struct allowlist list;
  struct traffic traffic;
  struct kedge_level_table *table;
  uint64_t probes;   /* of one pass */
  uint32_t conversations;
  bool deeper;       /* at a level that looks deeper */
  struct conversations *mixture;
  uint64_t *took;    /* picoseconds per packet, one for each round */
};

static struct row rows[] = {{.entries = 16, .shapes = 1},     {.entries = 16, .shapes = 8},
                            {.entries = 32, .shapes = 16},    {.entries = 4096, .shapes = 1},
                            {.entries = 4096, .shapes = 16},  {.entries = 16384, .shapes = 16},
                            {.entries = 4096, .shapes = 16, .plain = true},
                            {.conversations = 4000},
                            {.conversations = 400, .deeper = true},
                            {.conversations = 4000, .deeper = true},
                            {.conversations = 12000, .deeper = true}};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Every flow once; how many an entry decided. */
static uint32_t pass(const struct row *row, uint64_t *probes)
{
  uint32_t hits = 0;
  for (uint32_t i = 0; i < FLOWS; i++) {
    struct kedge_packet packet;
    struct kedge_judgement judgement;
    const struct flow_place *place = &row->traffic.place[i];
    kedge_packet_parse(row->traffic.flow[i].frame, place->length, &packet);
    kedge_classify(row->table, &packet, place->source_zone, place->destination_zone, &judgement);
    hits += judgement.verdict == KEDGE_VERDICT_PASS;
    *probes += judgement.probes;
  }
  return hits;
}

/* Every packet of the conversations once; false where it is not known of most what they speak, if that is asked. */
static bool follow(const struct row *row, uint64_t *took)
{
  uint32_t known;
  *took = conversations_pass(row->mixture, row->deeper, &known);
  return row->deeper ? known > CONVERSATION_PACKETS / 2 : known == 0;
}

/* Makes what a row needs; false where a flow is not judged as it is written, or no protocol is recognised. */
static bool prepare(struct row *row)
{
  if (row->conversations != 0) {
    uint64_t took;
    row->mixture = conversations_of(row->conversations);
    return follow(row, &took);
  }
  row->list = allowlist_of(row->entries, row->shapes, !row->plain);
  row->traffic = traffic_of(&row->list, !row->plain);
  row->table = table_of(&row->list);
  return pass(row, &row->probes) == row->traffic.hits;
}

/* Nanoseconds of one pass; false where it judged otherwise than the first. */
static bool timed(const struct row *row, uint64_t *took)
{
  if (row->conversations != 0)
    return follow(row, took);
  uint64_t probes = 0, begun = now_ns();
  bool right = pass(row, &probes) == row->traffic.hits;
  *took = now_ns() - begun;
  return right;
}

static void print(const struct row *row, int rounds)
{
  if (row->conversations != 0)
    printf("{\"conversations\":%u,\"deeper\":%s,", row->conversations, row->deeper ? "true" : "false");
  else
    printf("{\"entries\":%u,\"shapes\":%u,\"plain\":%s,\"probes\":%.3f,", row->entries, row->shapes,
           row->plain ? "true" : "false", (double)row->probes / FLOWS);
  printf("\"picoseconds\":[");
  for (int round = 0; round < rounds; round++)
    printf("%s%llu", round == 0 ? "" : ",", (unsigned long long)row->took[round]);
  printf("]}");
}

int main(int argc, char **argv)
{
  int cpu = 1, rounds = 100;
  static const struct option options[] = {
    {"cpu", required_argument, 0, 'c'}, {"rounds", required_argument, 0, 'r'}, {0, 0, 0, 0}};
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (c) {
    case 'c': cpu = atoi(optarg); break;
    case 'r': rounds = atoi(optarg); break;
    default: return 2;
    }
  }
  if (rounds < 1 || rounds > 100000) {
    fputs("classifier: --rounds: expected 1 to 100000\n", stderr);
    return 2;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    return perror("classifier: pin"), 1;
  for (size_t r = 0; r < ROWS; r++) {
    rows[r].took = calloc((size_t)rounds, sizeof(uint64_t));
    if (rows[r].took == NULL || !prepare(&rows[r])) {
      fputs("classifier: not every flow was judged as it is written\n", stderr);
      return 1;
    }
  }
  uint64_t wrong = 0;
  for (int round = 0; round < rounds; round++)
    for (size_t r = 0; r < ROWS; r++) {
      uint64_t best = UINT64_MAX;
      /* The first brings the frames into the cache, as receiving them would. */
      for (int n = 0; n <= BEST_OF; n++) {
        uint64_t took;
        wrong += !timed(&rows[r], &took);
        if (n > 0 && took < best)
          best = took;
      }
      rows[r].took[round] = best * 1000 / (rows[r].conversations != 0 ? CONVERSATION_PACKETS : FLOWS);
    }
  if (wrong != 0) {
    fputs("classifier: two passes over one row differ\n", stderr);
    return 1;
  }
  printf("[");
  for (size_t r = 0; r < ROWS; r++) {
    fputs(r == 0 ? "" : ",", stdout);
    print(&rows[r], rounds);
    free(rows[r].took);
    if (rows[r].conversations != 0) {
      conversations_free(rows[r].mixture);
      continue;
    }
    allowlist_free(&rows[r].list);
    traffic_free(&rows[r].traffic);
    free(rows[r].table);
  }
  printf("]\n");
  return 0;
}
