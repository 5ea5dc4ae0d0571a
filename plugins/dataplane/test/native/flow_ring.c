/*
 * A worker's ring of flow records with a writer that never waits and a reader that counts what it missed, on one
 * mapping, for ThreadSanitizer (DP-12). Usage: flow_ring RECORDS.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/governor.h"

static struct kedge_worker shared;
static uint64_t records;
static KEDGE_ATOMIC(int) done;
static uint64_t whole, gaps, wrong;

/* A record of which every word says its number. */
static void record_of(uint64_t n, struct kedge_flow_record *record)
{
  uint64_t word[KEDGE_FLOW_WORDS];
  for (unsigned i = 0; i < KEDGE_FLOW_WORDS; i++)
    word[i] = n * KEDGE_FLOW_WORDS + i;
  memcpy(record, word, sizeof(*record));
}

static void *read_ring(void *context)
{
  (void)context;
  uint64_t next = 0;
  /* However the two are scheduled, something was overwritten before it could be read. */
  while (atomic_load_explicit(&shared.flows_written, memory_order_acquire) <= KEDGE_FLOW_SLOTS && !atomic_load(&done))
    sched_yield();
  for (;;) {
    int last = atomic_load(&done);
    uint64_t written = atomic_load_explicit(&shared.flows_written, memory_order_acquire);
    for (; next < written; next++) {
      struct kedge_flow_slot *slot = &shared.flow[next % KEDGE_FLOW_SLOTS];
      uint64_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
      uint64_t word[KEDGE_FLOW_WORDS];
      for (unsigned i = 0; i < KEDGE_FLOW_WORDS; i++)
        word[i] = atomic_load_explicit(&slot->word[i], memory_order_acquire);
      if (before != 2 * next + 2 || atomic_load_explicit(&slot->sequence, memory_order_relaxed) != before) {
        gaps++;
        continue;
      }
      struct kedge_flow_record expected;
      record_of(next, &expected);
      whole++;
      wrong += memcmp(word, &expected, sizeof(expected)) != 0;
    }
    if (last)
      return NULL;
    for (unsigned i = 0; i < whole % 50; i++)
      sched_yield();
  }
}

int main(int argc, char **argv)
{
  records = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
  pthread_t reader;
  pthread_create(&reader, NULL, read_ring, NULL);
  for (uint64_t n = 0; n < records; n++) {
    struct kedge_flow_record record;
    record_of(n, &record);
    kedge_flow_write(&shared, &record);
    if (n % 4096 == 0)
      sched_yield();
  }
  atomic_store(&done, 1);
  pthread_join(reader, NULL);
  printf("{\"written\":%llu,\"whole\":%llu,\"gaps\":%llu,\"wrong\":%llu}\n", (unsigned long long)records, (unsigned long long)whole,
         (unsigned long long)gaps, (unsigned long long)wrong);
  return wrong != 0 || whole + gaps != records;
}
