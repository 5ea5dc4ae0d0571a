/*
 * The implementation of banks.h.
 *
 * It must publish before it uses, and read again in between.
 */
#include "banks.h"

#define FOLLOW_TRIES 4u /* a writer that publishes faster than this gets the minimum, not a torn table */

/* A test build widens the moment between the two reads here; a shipped build has nothing. */
#ifndef KEDGE_BETWEEN_READS
#define KEDGE_BETWEEN_READS() ((void)0)
#endif

void kedge_bank_leave(struct kedge_bank_use *use, KEDGE_ATOMIC(uint64_t) *published)
{
  use->generation = 0;
  use->levels = 0;
  atomic_store_explicit(published, 0, memory_order_seq_cst);
}

bool kedge_bank_follow(struct kedge_bank_use *use, KEDGE_ATOMIC(uint64_t) *published,
                       const struct kedge_tables_segment *tables, const kedge_bank_finding finding[KEDGE_BANKS])
{
  uint64_t before = use->generation;
  for (unsigned i = 0; i < FOLLOW_TRIES; i++) {
    uint64_t generation = atomic_load_explicit(&tables->generation, memory_order_seq_cst);
    if (generation == use->generation) {
      /* The loader looks again now and then: a level that no longer holds is let go. */
      uint64_t again = generation == 0 ? 0 : atomic_load_explicit(&finding[generation % KEDGE_BANKS], memory_order_acquire);
      if (generation != 0 && again >> 8 == generation)
        use->levels = (unsigned)(again & 0xffu);
      return use->generation != before;
    }
    if (generation == 0 || generation > KEDGE_GENERATION_MAX) {
      kedge_bank_leave(use, published);
      break;
    }
    uint64_t found = atomic_load_explicit(&finding[generation % KEDGE_BANKS], memory_order_acquire);
    if (found >> 8 != generation)
      break; /* not looked at yet: the old one stays ours as long as it is published */
    KEDGE_BETWEEN_READS();
    atomic_store_explicit(published, generation, memory_order_seq_cst);
#ifndef KEDGE_MUTANT_NO_SECOND_READ
    if (atomic_load_explicit(&tables->generation, memory_order_seq_cst) != generation) {
      /* The writer may not have seen us, and the bank that we left may be its next one. */
      kedge_bank_leave(use, published);
      continue;
    }
#endif
    use->generation = generation;
    use->levels = (unsigned)(found & 0xffu);
    break;
  }
  return use->generation != before;
}
