/*
 * A worker's telemetry ring with a writer that never waits and a reader that counts what it missed, on one
 * mapping, for ThreadSanitizer (DP-8). Usage: telemetry_ring EVENTS.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/governor.h"

static struct kedge_worker shared;
static struct kedge_governor_worker worker;
static uint64_t events;
static KEDGE_ATOMIC(int) done;
static uint64_t whole, gaps, wrong;

static void *read_ring(void *context)
{
  (void)context;
  uint64_t next = 0;
  /* However the two are scheduled, something was overwritten before it could be read. */
  while (atomic_load_explicit(&shared.telemetry_written, memory_order_acquire) <= KEDGE_TELEMETRY_SLOTS && !atomic_load(&done))
    sched_yield();
  for (;;) {
    int last = atomic_load(&done);
    uint64_t written = atomic_load_explicit(&shared.telemetry_written, memory_order_acquire);
    for (; next < written; next++) {
      struct kedge_telemetry *t = &shared.telemetry[next % KEDGE_TELEMETRY_SLOTS];
      uint64_t before = atomic_load_explicit(&t->sequence, memory_order_acquire);
      uint64_t at = atomic_load_explicit(&t->at_ns, memory_order_acquire);
      uint64_t value = atomic_load_explicit(&t->value, memory_order_acquire);
      uint64_t dropped = atomic_load_explicit(&t->dropped_pair, memory_order_acquire);
      if (before != 2 * next + 2 || atomic_load_explicit(&t->sequence, memory_order_relaxed) != before) {
        gaps++;
        continue;
      }
      whole++;
      wrong += at != next || value != next || dropped != next;
    }
    if (last)
      return NULL;
    for (unsigned i = 0; i < whole % 50; i++)
      sched_yield();
  }
}

int main(int argc, char **argv)
{
  events = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
  pthread_t reader;
  worker.shared = &shared;
  pthread_create(&reader, NULL, read_ring, NULL);
  for (uint64_t n = 0; n < events; n++) {
    worker.dropped_pair = n;
    kedge_telemetry_write(&worker, KEDGE_TELEMETRY_POSTURE, 5, 1, n, n);
    if (n % 4096 == 0)
      sched_yield();
  }
  atomic_store(&done, 1);
  pthread_join(reader, NULL);
  printf("{\"written\":%llu,\"whole\":%llu,\"gaps\":%llu,\"wrong\":%llu}\n", (unsigned long long)events, (unsigned long long)whole,
         (unsigned long long)gaps, (unsigned long long)wrong);
  return wrong != 0 || whole + gaps != events;
}
