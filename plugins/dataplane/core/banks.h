/*
 * The reader's half of the two-bank rule (DP-2): how a packet worker moves to a new generation of tables
 * without ever reading a bank that is being written.
 *
 * It must neither verify tables (the loader does, beforehand) nor wait.
 *
 * The writer's half, for reference: build into the bank of generation g + 1 only after every live worker's
 * published generation is 0 or lives in the other bank; set the bank's `generation` to 0 before and to
 * g + 1 after; then store the segment's `generation`. All of these are sequentially consistent, so that
 * either the writer sees what a worker published or the worker, reading again, sees that it is too late.
 */
#ifndef KEDGE_BANKS_H
#define KEDGE_BANKS_H

#include <stdbool.h>

#include "kedge/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a loader found in one bank: generation << 8 | bit per usable level (bit 1..5); 0 = not looked at. */
typedef KEDGE_ATOMIC(uint64_t) kedge_bank_finding;
#define KEDGE_FINDING_OF(generation, levels) ((uint64_t)(generation) << 8 | (levels))
#define KEDGE_GENERATION_MAX ((UINT64_C(1) << 56) - 1)

/* A worker's own note of what it uses; `generation` 0 = no tables. */
struct kedge_bank_use {
  uint64_t generation;
  unsigned levels; /* bit per usable level */
};

/*
 * Brings `use` to the segment's generation if the loader has looked at it; stays with the old one until
 * then. `published` is the worker's shared line. Bounded; true when `use` changed.
 */
bool kedge_bank_follow(struct kedge_bank_use *use, KEDGE_ATOMIC(uint64_t) *published,
                       const struct kedge_tables_segment *tables, const kedge_bank_finding finding[KEDGE_BANKS]);

/* Leaves whatever is in use. */
void kedge_bank_leave(struct kedge_bank_use *use, KEDGE_ATOMIC(uint64_t) *published);

/* The table of a level in the generation in use, or NULL: only the management minimum passes. */
static inline const struct kedge_level_table *kedge_bank_table(const struct kedge_bank_use *use,
                                                               const struct kedge_tables_segment *tables,
                                                               unsigned level)
{
  if (use->generation == 0 || level < KEDGE_LEVEL_LOCKDOWN || level > KEDGE_LEVEL_NORMAL ||
      (use->levels >> level & 1u) == 0)
    return NULL;
  return &tables->bank[use->generation % KEDGE_BANKS].level[level - 1];
}

#ifdef __cplusplus
}
#endif
#endif
