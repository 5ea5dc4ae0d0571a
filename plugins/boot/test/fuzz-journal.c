/*
 * Feeds recovery.c journals that were mutated, half of them with checksums put right again so that the mutation
 * reaches what lies behind the checksum. Built under AddressSanitizer and UndefinedBehaviorSanitizer, which end
 * it at the first fault; it ends by itself when a plan breaks what must hold for every plan.
 *
 *   fuzz-journal FILE ROUNDS SEED
 *
 * It must not use the clock or other randomness: a seed tells everything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kedge/journal.h"
#include "kedge/layout.h"
#include "recovery.h"

static uint64_t state;

static uint32_t next(uint32_t below)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (uint32_t)(state >> 32) % below;
}

static size_t mutate(uint8_t *bytes, size_t length, size_t room)
{
  static const uint8_t interesting[] = {0, 1, 2, 5, 6, 7, 0x7f, 0x80, 0xff};
  for (uint32_t n = 1 + next(5); n > 0 && length > 0; n--) {
    size_t at = next((uint32_t)length), record = at - at % KEDGE_JOURNAL_RECORD_BYTES;
    switch (next(6)) {
    case 0: bytes[at] = (uint8_t)next(256); break;
    case 1: bytes[at] = interesting[next(sizeof(interesting))]; break;
    case 2: bytes[at] ^= (uint8_t)(1u << next(8)); break;
    case 3: length = at; break;
    case 4: /* a record twice, or one over another */
      if (record + KEDGE_JOURNAL_RECORD_BYTES <= length && room >= KEDGE_JOURNAL_RECORD_BYTES) {
        size_t to = next((uint32_t)(length / KEDGE_JOURNAL_RECORD_BYTES)) * KEDGE_JOURNAL_RECORD_BYTES;
        memmove(bytes + to, bytes + record, KEDGE_JOURNAL_RECORD_BYTES);
      }
      break;
    default:
      if (length + 1 + next(200) < room) {
        size_t more = 1 + next(200);
        if (length + more <= room) {
          memset(bytes + length, (int)interesting[next(sizeof(interesting))], more);
          length += more;
        }
      }
    }
  }
  if (next(2) == 0)
    for (size_t at = 0; at + KEDGE_JOURNAL_RECORD_BYTES <= length; at += KEDGE_JOURNAL_RECORD_BYTES) {
      size_t place = offsetof(struct kedge_journal_record, checksum);
      uint32_t checksum = kedge_journal_crc32(bytes + at, place);
      memcpy(bytes + at + place, &checksum, sizeof(checksum));
    }
  return length;
}

static int broken(const struct boot_findings *f, const struct boot_plan *p)
{
  unsigned obeyed = kedge_word_level(p->word);
  if (p->level < 1 || p->level > 5 || obeyed > p->level)
    return 1; /* looser than recovery demands */
  if (f->word != 0 && obeyed > kedge_word_level(f->word))
    return 2; /* looser than what stands */
  if (p->because == BOOT_BECAUSE_DOUBT && p->level > BOOT_DOUBT_LEVEL)
    return 3;
  uint64_t epoch = kedge_word_epoch(p->word);
  if (epoch != 0 && epoch != kedge_word_epoch(f->word) && !(p->with_line && p->epoch == epoch && p->to == obeyed))
    return 4; /* an epoch that nobody decided */
  return 0;
}

int main(int argc, char **argv)
{
  static uint8_t seed[65536], room[sizeof(seed) * 2];
  if (argc != 4)
    return 2;
  FILE *file = fopen(argv[1], "rb");
  size_t length = file == NULL ? 0 : fread(seed, 1, sizeof(seed), file);
  if (length == 0)
    return 2;
  fclose(file);
  long rounds = atol(argv[2]), doubts = 0, sure = 0;
  state = strtoull(argv[3], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
  for (long i = 0; i < rounds; i++) {
    memcpy(room, seed, length);
    size_t now = mutate(room, length, sizeof(room));
    uint8_t *journal = malloc(now > 0 ? now : 1);
    memcpy(journal, room, now);
    struct boot_findings findings = {.journal = journal, .size = now, .provisioned = next(2) == 0, .provisioning_level = 1 + next(5),
                                     .line_epoch = next(40), .line_from = next(8), .line_to = next(8)};
    if (next(3) == 0)
      findings.word = kedge_word_of(next(40), next(4), next(8));
    struct boot_plan plan;
    boot_plan_of(&findings, &plan);
    int rule = broken(&findings, &plan);
    if (rule != 0) {
      printf("round %ld breaks rule %d\n", i, rule);
      return 1;
    }
    *(plan.doubt == BOOT_SURE ? &sure : &doubts) += 1;
    free(journal);
  }
  printf("%ld sure, %ld in doubt\n", sure, doubts);
  return 0;
}
