/*
 * What every fuzz target shares: taking numbers off its input, and saying that something does not hold.
 *
 * It must not know any target, nor the clock, nor randomness: an input tells everything.
 */
#ifndef KEDGE_FUZZ_INPUT_H
#define KEDGE_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is left of an input. */
struct input {
  const uint8_t *at;
  size_t left;
};

/* A little-endian number of 1..8 bytes; bytes beyond the end are 0, so that every input means something. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes && in->left > 0; i++, in->at++, in->left--)
    value |= (uint64_t)*in->at << 8 * i;
  return value;
}

/* A copy of exactly `length` bytes, so that one byte read too far is found. The caller frees it. */
static inline uint8_t *copy_of(const uint8_t *bytes, size_t length)
{
  uint8_t *copy = (uint8_t *)malloc(length > 0 ? length : 1);
  if (copy == NULL)
    abort();
  if (length > 0)
    memcpy(copy, bytes, length);
  return copy;
}

#define HOLDS(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "does not hold: %s (%s:%d)\n", #condition, __FILE__, __LINE__);                                  \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
