/*
 * Fuzz target: any bytes as the decision journal, beside any word and line on the board. Boot is never looser than
 * what stands there or than doubt allows, and takes no epoch that nobody decided.
 *
 *   input: flags, word, line, then records; with a flag, checksums and sequence numbers are put right first
 *
 * It must know the journal's format and nothing of how boot decides.
 */
#include "input.h"
#include "kedge/journal.h"
#include "kedge/layout.h"
#include "recovery.h"

static void put_right(uint8_t *journal, size_t size, unsigned flags)
{
  for (size_t at = 0; at + KEDGE_JOURNAL_RECORD_BYTES <= size; at += KEDGE_JOURNAL_RECORD_BYTES) {
    struct kedge_journal_record record;
    memcpy(&record, journal + at, sizeof(record));
    if ((flags & 2u) != 0) {
      record.magic = KEDGE_JOURNAL_MAGIC;
      record.version = KEDGE_JOURNAL_VERSION;
      record.sequence = at / KEDGE_JOURNAL_RECORD_BYTES + 1;
      record.file_records = 0;
    }
    record.checksum = kedge_journal_crc32(&record, offsetof(struct kedge_journal_record, checksum));
    memcpy(journal + at, &record, sizeof(record));
  }
}

static void summary_is_in_range(const struct kedge_journal_summary *s, size_t size)
{
  HOLDS(s->tail <= size && s->tail % KEDGE_JOURNAL_RECORD_BYTES == 0);
  HOLDS(!s->completed || s->decided);
  HOLDS(s->reserved_up_to <= KEDGE_JOURNAL_EPOCH_MAX);
  if (s->decided)
    HOLDS(s->last.epoch >= 1 && s->last.epoch <= s->reserved_up_to && s->last.from >= 1 && s->last.from <= 5 &&
          s->last.to >= 1 && s->last.to <= 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input in = {data, size};
  unsigned flags = (unsigned)take(&in, 1), levels = (unsigned)take(&in, 2);
  struct boot_findings found = {.provisioned = (flags & 4u) != 0, .provisioning_level = 1 + (levels & 7u) % 5,
                                .line_from = levels >> 3 & 7u, .line_to = levels >> 6 & 7u};
  if ((flags & 8u) != 0)
    found.word = take(&in, 8);
  else
    found.word = (flags & 16u) != 0 ? kedge_word_of(take(&in, 1), 0, levels >> 9 & 7u) : 0;
  found.line_epoch = (flags & 32u) != 0 ? kedge_word_epoch(found.word) : take(&in, 2);
  uint8_t *journal = copy_of(in.at, in.left);
  if ((flags & 1u) != 0)
    put_right(journal, in.left, flags);
  found.journal = (flags & 64u) != 0 ? NULL : journal;
  found.size = found.journal == NULL ? 0 : in.left;
  if ((flags & 128u) != 0)
    found.trouble = (levels >> 12 & 1u) != 0 ? BOOT_DOUBT_STATE : BOOT_DOUBT_REFUSED;

  struct boot_plan plan;
  struct kedge_journal_summary summary = {0};
  boot_plan_of(&found, &plan);
  bool read = found.journal != NULL && found.trouble == BOOT_SURE;
  if (read)
    kedge_journal_summarise(journal, in.left, &summary);
  summary_is_in_range(&summary, in.left);

  unsigned obeyed = kedge_word_level(plan.word);
  uint64_t epoch = kedge_word_epoch(plan.word);
  HOLDS(plan.level >= 1 && plan.level <= 5 && obeyed <= plan.level);
  HOLDS(found.word == 0 || obeyed <= kedge_word_level(found.word));
  HOLDS((plan.doubt != BOOT_SURE) == (plan.because == BOOT_BECAUSE_DOUBT));
  HOLDS(plan.doubt == BOOT_SURE || plan.level <= BOOT_DOUBT_LEVEL);
  HOLDS(!(read && summary.damaged) || plan.doubt == BOOT_DOUBT_DAMAGED);
  HOLDS(found.trouble == BOOT_SURE || plan.doubt == found.trouble);
  HOLDS(plan.stands == (found.word != 0 && plan.word == found.word));
  HOLDS(epoch == 0 || epoch == kedge_word_epoch(found.word) || (summary.decided && summary.completed && epoch == summary.last.epoch));
  HOLDS(!plan.with_line || (summary.decided && plan.epoch == summary.last.epoch && plan.to == obeyed));
  /* A transition that was cut short leaves its stricter level. */
  if (summary.decided && !summary.completed)
    HOLDS(kedge_word_epoch(found.word) > summary.last.epoch ||
          plan.level <= (summary.last.from < summary.last.to ? summary.last.from : summary.last.to));
  HOLDS(strlen(boot_because_text(plan.because)) > 0);
  free(journal);
  return 0;
}
