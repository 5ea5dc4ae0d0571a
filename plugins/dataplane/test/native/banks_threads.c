/*
 * The two-bank rule between a writer and a reader on one mapping, for ThreadSanitizer (DP-2).
 * Usage: banks_threads GENERATIONS. Built once as shipped and once without the second read.
 *
 * The tables are written and read as plain bytes on purpose: a bank that is written while it is read is a
 * data race, and nothing else here is.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The moment that the second read is for, made wide enough to happen often; the same in both builds. */
static void widen(void);
#define KEDGE_BETWEEN_READS() widen()
#include "../../core/banks.c"

static struct kedge_tables_segment tables;
static KEDGE_ATOMIC(uint64_t) published;
static kedge_bank_finding finding[KEDGE_BANKS];
static KEDGE_ATOMIC(int) stop;
static KEDGE_ATOMIC(unsigned long) turns;
static unsigned long uses, torn;

static void widen(void)
{
  static unsigned n;
  for (unsigned i = n++ % 5; i > 0; i--)
    sched_yield();
}

static void *read_tables(void *context)
{
  (void)context;
  struct kedge_bank_use use = {0};
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    if (uses % 3 == 0)
      kedge_bank_leave(&use, &published);
    kedge_bank_follow(&use, &published, &tables, finding);
    const struct kedge_level_table *table = kedge_bank_table(&use, &tables, 1 + uses % KEDGE_LEVELS);
    if (table == NULL) {
      sched_yield();
      continue;
    }
    const uint8_t *bytes = (const uint8_t *)table->pair;
    uint8_t expected = (uint8_t)use.generation;
    unsigned wrong = 0;
    for (unsigned i = 0; i < sizeof(table->pair); i++)
      wrong += bytes[i] != expected;
    torn += wrong != 0;
    uses++;
    atomic_fetch_add_explicit(&turns, 1, memory_order_relaxed); /* orders nothing */
  }
  return NULL;
}

int main(int argc, char **argv)
{
  uint64_t generations = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
  pthread_t reader;
  pthread_create(&reader, NULL, read_tables, NULL);
  unsigned long waited = 0;
  for (uint64_t g = 1; g <= generations; g++) {
    for (;;) {
      uint64_t used = atomic_load_explicit(&published, memory_order_seq_cst);
      if (used == 0 || used % KEDGE_BANKS != g % KEDGE_BANKS)
        break;
      waited++;
      sched_yield();
    }
    struct kedge_bank *bank = &tables.bank[g % KEDGE_BANKS];
    atomic_store_explicit(&bank->generation, 0, memory_order_seq_cst);
    for (unsigned l = 0; l < KEDGE_LEVELS; l++)
      memset(bank->level[l].pair, (int)(uint8_t)g, sizeof(bank->level[l].pair));
    atomic_store_explicit(&bank->generation, g, memory_order_seq_cst);
    atomic_store_explicit(&finding[g % KEDGE_BANKS], KEDGE_FINDING_OF(g, 0x3e), memory_order_release);
    atomic_store_explicit(&tables.generation, g, memory_order_seq_cst);
    /* Neither outruns the other all the time: some generations come at once, for some the reader is waited for. */
    unsigned long turn = atomic_load_explicit(&turns, memory_order_relaxed);
    for (unsigned i = 0; g % 4 != 0 && i < 100 && atomic_load_explicit(&turns, memory_order_relaxed) == turn; i++)
      sched_yield();
  }
  atomic_store(&stop, 1);
  pthread_join(reader, NULL);
  printf("{\"generations\":%llu,\"uses\":%lu,\"waited\":%lu,\"torn\":%lu}\n", (unsigned long long)generations, uses, waited, torn);
  return torn != 0;
}
