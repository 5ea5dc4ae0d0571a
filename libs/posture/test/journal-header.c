/*
 * Prints what kedge/journal.h makes of a journal, and writes one, so that a test can hold the header and the
 * TypeScript codec together.
 * It must not hold anything that the header does not say.
 *
 *   journal-header read FILE     journal-header write FILE
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "kedge/journal.h"

static void put(FILE *out, struct kedge_journal_record *record)
{
  record->magic = KEDGE_JOURNAL_MAGIC;
  record->version = KEDGE_JOURNAL_VERSION;
  record->checksum = kedge_journal_crc32(record, offsetof(struct kedge_journal_record, checksum));
  if (fwrite(record, sizeof *record, 1, out) != 1)
    exit(1);
}

int main(int argc, char **argv)
{
  if (argc != 3)
    return 2;
  if (strcmp(argv[1], "write") == 0) {
    FILE *out = fopen(argv[2], "wb");
    if (out == NULL)
      return 1;
    struct kedge_journal_record r = {.kind = KEDGE_JOURNAL_RESERVE, .sequence = 41, .reserved_up_to = 5000};
    put(out, &r);
    r = (struct kedge_journal_record){.kind = KEDGE_JOURNAL_DECISION, .sequence = 42, .epoch = 77,
      .reserved_up_to = 5000, .decided_at_ns = UINT64_C(1234567890123456789), .decided_at_wall_ms = UINT64_C(1700000000123),
      .from = 5, .to = 2, .requested = 3, .channel = KEDGE_JOURNAL_CHANNEL_FLEET, .tier = KEDGE_JOURNAL_TIER_MASTER,
      .flags = KEDGE_JOURNAL_FLAG_ACCORD};
    for (int i = 0; i < 16; i++) {
      r.boot_id[i] = (uint8_t)(i + 1);
      r.key_hash[i] = (uint8_t)(0x80 + i);
    }
    for (int i = 0; i < 8; i++)
      r.content_hash[i] = (uint8_t)(0x40 + i);
    r.hold[KEDGE_JOURNAL_CHANNEL_CONSOLE] = 3;
    r.hold[KEDGE_JOURNAL_CHANNEL_PLUGIN] = 2;
    put(out, &r);
    return fclose(out) == 0 ? 0 : 1;
  }
  FILE *in = fopen(argv[2], "rb");
  static uint8_t bytes[1 << 20];
  if (in == NULL)
    return 1;
  size_t size = fread(bytes, 1, sizeof bytes, in);
  fclose(in);
  struct kedge_journal_summary s;
  kedge_journal_summarise(bytes, size, &s);
  printf("{\"damaged\":%s,\"decided\":%s,\"completed\":%s,\"reservedUpTo\":\"%" PRIu64 "\",\"tail\":%zu,"
         "\"epoch\":\"%" PRIu64 "\",\"from\":%u,\"to\":%u}\n",
         s.damaged ? "true" : "false", s.decided ? "true" : "false", s.completed ? "true" : "false",
         s.reserved_up_to, s.tail, s.decided ? s.last.epoch : 0, s.decided ? s.last.from : 0,
         s.decided ? s.last.to : 0);
  return 0;
}
