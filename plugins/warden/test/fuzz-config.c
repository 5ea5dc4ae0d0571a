/*
 * Feeds the parser a valid configuration, mutated: bytes changed, inserted, removed, pieces doubled or moved.
 * Built under AddressSanitizer and UndefinedBehaviorSanitizer, which end it at the first fault. Prints how
 * many mutants were accepted and refused.
 *
 *   fuzz-config FILE ROUNDS SEED
 *
 * It must not use the clock or other randomness: a seed tells everything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

static uint64_t state;

static uint32_t next(uint32_t below)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % below;
}

static size_t mutate(char *text, size_t length, size_t room)
{
  static const char interesting[] = "\"\\[]=# \n\t\0\x7f\xff/.-0a";
  for (uint32_t n = 1 + next(4); n > 0 && length > 0; n--) {
    size_t at = next((uint32_t)length), many = 1 + next(40);
    if (many > length - at)
      many = length - at;
    switch (next(5)) {
    case 0: text[at] = interesting[next(sizeof(interesting) - 1)]; break;
    case 1: text[at] = (char)next(256); break;
    case 2:
      memmove(text + at, text + at + many, length - at - many);
      length -= many;
      break;
    case 3:
      if (length + many > room)
        break;
      memmove(text + at + many, text + at, length - at);
      length += many;
      break;
    default:
      if (length + 1 > room)
        break;
      memmove(text + at + 1, text + at, length - at);
      text[at] = interesting[next(sizeof(interesting) - 1)];
      length++;
    }
  }
  return length;
}

int main(int argc, char **argv)
{
  static char seed[16384], error[512];
  if (argc != 4)
    return 2;
  FILE *file = fopen(argv[1], "rb");
  size_t length = file == NULL ? 0 : fread(seed, 1, sizeof(seed), file);
  if (length == 0)
    return 2;
  fclose(file);
  long rounds = atol(argv[2]), accepted = 0, refused = 0;
  state = strtoull(argv[3], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
  for (long i = 0; i < rounds; i++) {
    /* Exactly as large as the text: one byte beyond its end is seen. */
    char *room = malloc(2 * sizeof(seed));
    memcpy(room, seed, length);
    size_t now = mutate(room, length, 2 * sizeof(seed));
    char *text = malloc(now > 0 ? now : 1);
    memcpy(text, room, now);
    struct kedge_config config;
    error[0] = '\0';
    if (kedge_config_parse(&config, "fuzz", text, now, error, sizeof(error))) {
      accepted++;
      kedge_config_free(&config);
    } else {
      refused++;
      if (strncmp(error, "fuzz:", 5) != 0 || strstr(error, "expected") == NULL || strchr(error, '\n') != NULL) {
        fprintf(stderr, "round %ld: not a one-line error: %s\n", i, error);
        return 1;
      }
    }
    free(text);
    free(room);
  }
  printf("%ld %ld\n", accepted, refused);
  return 0;
}
