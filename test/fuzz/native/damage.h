/*
 * Damage to memory that is undone again: a target builds something large once and breaks a few bytes per input.
 *
 * It must leave the memory as it was before the first poke.
 */
#ifndef KEDGE_FUZZ_DAMAGE_H
#define KEDGE_FUZZ_DAMAGE_H

#include "input.h"

#define DAMAGES 64u

struct damage {
  struct {
    uint8_t *at;
    uint64_t before;
    unsigned bytes;
  } done[DAMAGES];
  unsigned count;
};

/* Writes `bytes` (1..8) of `value`; false when there is no room to remember more. */
static inline int poke(struct damage *damage, void *at, uint64_t value, unsigned bytes)
{
  if (damage->count == DAMAGES)
    return 0;
  damage->done[damage->count].at = at;
  damage->done[damage->count].bytes = bytes;
  damage->done[damage->count].before = 0;
  memcpy(&damage->done[damage->count++].before, at, bytes);
  memcpy(at, &value, bytes);
  return 1;
}

static inline void repair(struct damage *damage)
{
  while (damage->count > 0) {
    damage->count--;
    memcpy(damage->done[damage->count].at, &damage->done[damage->count].before, damage->done[damage->count].bytes);
  }
}

#endif
