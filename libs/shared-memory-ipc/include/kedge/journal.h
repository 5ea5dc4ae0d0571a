/*
 * The decision journal of the posture coordinator: fixed-size checksummed records, simple enough that boot
 * reads it without Node (PO-17). This is the only definition; the TypeScript codec is held to it by a test.
 *
 * It must hold the format and the smallest reader and nothing else: no I/O, no allocation.
 *
 * The file is an array of KEDGE_JOURNAL_RECORD_BYTES-sized records, preallocated with zeros. Records are
 * appended in order, `sequence` grows by one from record to record (the first may have any number). The first
 * record that is wholly zero ends the journal; everything after it is zero as well: untouched, preallocated
 * space. Anything else (wrong magic, version, checksum, sequence, range, a record after the end, a size that is
 * no multiple of a record or not that of `file_records`) means that the journal is damaged, and the box comes up at level 2 or stricter.
 *
 * What is in force after reading to the end:
 *   - the decision with the highest epoch: the last DECISION or CHECKPOINT record;
 *   - it is completed when a COMPLETED record names its epoch or the CHECKPOINT says so; until then the
 *     stricter of `from` and `to` is in force;
 *   - a surviving posture word with a higher epoch than that decision is newer than the journal and wins;
 *   - epochs up to the highest `reserved_up_to` may have been used: the next one is above it. In a damaged
 *     journal records behind the damage count for this, too, and the next one is far above.
 *
 * Little-endian, like layout.h.
 */
#ifndef KEDGE_JOURNAL_H
#define KEDGE_JOURNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#define KEDGE_JOURNAL_ASSERT(cond, why) static_assert(cond, why)
#else
#define KEDGE_JOURNAL_ASSERT(cond, why) _Static_assert(cond, why)
#endif

#define KEDGE_JOURNAL_MAGIC UINT32_C(0x314a644b) /* "KdJ1" as little-endian bytes */
#define KEDGE_JOURNAL_VERSION 1u
#define KEDGE_JOURNAL_RECORD_BYTES 128u

enum kedge_journal_kind {
  KEDGE_JOURNAL_RESERVE = 1,   /* epochs up to `reserved_up_to` may be issued from now on */
  KEDGE_JOURNAL_DECISION = 2,  /* a posture was decided */
  KEDGE_JOURNAL_COMPLETED = 3, /* the transition of `epoch` is finished */
  KEDGE_JOURNAL_CHECKPOINT = 4 /* all that counts of an older file: its last decision and reservation */
};

enum kedge_journal_flag {
  KEDGE_JOURNAL_FLAG_COMPLETED = 1u << 0, /* CHECKPOINT: the transition of `epoch` is finished */
  KEDGE_JOURNAL_FLAG_CARRIED = 1u << 1,   /* DECISION: copied from an older file for its idempotency key alone */
  KEDGE_JOURNAL_FLAG_RECOVERED = 1u << 2, /* after a restart, not by a request; not the first start of all */
  KEDGE_JOURNAL_FLAG_ACCORD = 1u << 3     /* not the level, the accord of the level changed */
};
#define KEDGE_JOURNAL_FLAGS 0x0fu

/* The way in by which a decision came (PO-3). NONE: the appliance itself, without a request. */
enum kedge_journal_channel {
  KEDGE_JOURNAL_CHANNEL_NONE = 0,
  KEDGE_JOURNAL_CHANNEL_CONSOLE = 1,
  KEDGE_JOURNAL_CHANNEL_LOCAL = 2,
  KEDGE_JOURNAL_CHANNEL_FLEET = 3,
  KEDGE_JOURNAL_CHANNEL_OOB = 4,
  KEDGE_JOURNAL_CHANNEL_BPF = 5,
  KEDGE_JOURNAL_CHANNEL_PLUGIN = 6
};
#define KEDGE_JOURNAL_CHANNELS 7u

enum kedge_journal_tier {
  KEDGE_JOURNAL_TIER_NONE = 0,
  KEDGE_JOURNAL_TIER_SITE_OWNER = 1,
  KEDGE_JOURNAL_TIER_MASTER = 2,
  KEDGE_JOURNAL_TIER_JOURNEYMAN = 3,
  KEDGE_JOURNAL_TIER_APPRENTICE = 4
};
#define KEDGE_JOURNAL_TIERS 5u

struct kedge_journal_record {
  uint32_t magic;            /* KEDGE_JOURNAL_MAGIC */
  uint16_t version;          /* KEDGE_JOURNAL_VERSION */
  uint16_t kind;             /* enum kedge_journal_kind */
  uint64_t sequence;         /* from 1; +1 from record to record, across files */
  uint64_t epoch;            /* DECISION, COMPLETED, CHECKPOINT: 48 bits, never 0 (CHECKPOINT: 0 = none yet) */
  uint64_t reserved_up_to;   /* RESERVE, CHECKPOINT: 48 bits; otherwise the reservation then in force */
  uint64_t decided_at_ns;    /* CLOCK_MONOTONIC of that boot; COMPLETED: when it was finished */
  uint64_t decided_at_wall_ms; /* milliseconds since 1970, for people and for the age of idempotency keys */
  uint8_t boot_id[16];       /* which boot `decided_at_ns` belongs to */
  uint8_t key_hash[16];      /* of channel, tier and idempotency key; zero = no request stood behind it */
  uint8_t content_hash[8];   /* of what else the request said: the same key with other content is a replay */
  uint8_t from;              /* level 1..5; 0 in RESERVE and in a CHECKPOINT without a decision */
  uint8_t to;                /* level 1..5; 0 likewise */
  uint8_t requested;         /* level that was asked for; `to` is tighter when it pre-empted a loosening */
  uint8_t channel;           /* enum kedge_journal_channel */
  uint8_t tier;              /* enum kedge_journal_tier */
  uint8_t flags;             /* enum kedge_journal_flag */
  uint8_t reserved0[2];
  uint8_t hold[8];           /* of the last record but RESERVE: per channel number, the tightest level that its
                              * source asked for and that nobody of equal or higher authority has loosened since;
                              * 0 = none (PO-4) */
  uint32_t file_records;     /* how many records the file was made for, in every record of it; 0 = not said */
  uint8_t reserved1[16];
  uint32_t checksum;         /* CRC-32 (IEEE, as zlib's crc32) of the bytes before it */
};
KEDGE_JOURNAL_ASSERT(sizeof(struct kedge_journal_record) == KEDGE_JOURNAL_RECORD_BYTES, "journal record size");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, sequence) == 8, "journal sequence");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, epoch) == 16, "journal epoch");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, reserved_up_to) == 24, "journal reservation");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, decided_at_ns) == 32, "journal monotonic time");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, decided_at_wall_ms) == 40, "journal wall time");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, boot_id) == 48, "journal boot id");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, key_hash) == 64, "journal key");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, content_hash) == 80, "journal content");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, from) == 88, "journal levels");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, hold) == 96, "journal holds");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, file_records) == 104, "journal length");
KEDGE_JOURNAL_ASSERT(offsetof(struct kedge_journal_record, checksum) == 124, "journal checksum is last");

#define KEDGE_JOURNAL_EPOCH_MAX ((UINT64_C(1) << 48) - 1)

/* CRC-32 (IEEE 802.3, reflected), the same as zlib's, half a byte at a time: a full journal has a megabyte. */
static inline uint32_t kedge_journal_crc32(const void *bytes, size_t length)
{
  static const uint32_t half[16] = {
      UINT32_C(0x00000000), UINT32_C(0x1db71064), UINT32_C(0x3b6e20c8), UINT32_C(0x26d930ac),
      UINT32_C(0x76dc4190), UINT32_C(0x6b6b51f4), UINT32_C(0x4db26158), UINT32_C(0x5005713c),
      UINT32_C(0xedb88320), UINT32_C(0xf00f9344), UINT32_C(0xd6d6a3e8), UINT32_C(0xcb61b38c),
      UINT32_C(0x9b64c2b0), UINT32_C(0x86d3d2d4), UINT32_C(0xa00ae278), UINT32_C(0xbdbdf21c)};
  const uint8_t *at = (const uint8_t *)bytes;
  uint32_t crc = UINT32_C(0xffffffff);
  while (length-- > 0) {
    crc ^= *at++;
    crc = (crc >> 4) ^ half[crc & 15u];
    crc = (crc >> 4) ^ half[crc & 15u];
  }
  return ~crc;
}

/* What stands at a place of the file. */
enum kedge_journal_place {
  KEDGE_JOURNAL_PLACE_RECORD = 0,
  KEDGE_JOURNAL_PLACE_UNTOUCHED = 1,
  KEDGE_JOURNAL_PLACE_DAMAGED = 2
};

static inline int kedge_journal_level_ok(unsigned level) { return level >= 1 && level <= 5; }

/* Reads the record at `bytes` (KEDGE_JOURNAL_RECORD_BYTES of them) into `record`, checking it by itself. */
static inline enum kedge_journal_place kedge_journal_read(const void *bytes, struct kedge_journal_record *record)
{
  struct kedge_journal_record r;
  const uint8_t *at = (const uint8_t *)bytes;
  unsigned any = 0;
  for (size_t i = 0; i < KEDGE_JOURNAL_RECORD_BYTES; i++)
    any |= at[i];
  if (any == 0)
    return KEDGE_JOURNAL_PLACE_UNTOUCHED;
  memcpy(&r, bytes, sizeof r);
  if (r.magic != KEDGE_JOURNAL_MAGIC || r.version != KEDGE_JOURNAL_VERSION)
    return KEDGE_JOURNAL_PLACE_DAMAGED;
  if (kedge_journal_crc32(bytes, offsetof(struct kedge_journal_record, checksum)) != r.checksum)
    return KEDGE_JOURNAL_PLACE_DAMAGED;
  if (r.kind < KEDGE_JOURNAL_RESERVE || r.kind > KEDGE_JOURNAL_CHECKPOINT || r.sequence == 0 ||
      r.epoch > KEDGE_JOURNAL_EPOCH_MAX || r.reserved_up_to > KEDGE_JOURNAL_EPOCH_MAX ||
      r.epoch > r.reserved_up_to || r.channel >= KEDGE_JOURNAL_CHANNELS || r.tier >= KEDGE_JOURNAL_TIERS ||
      (r.flags & ~KEDGE_JOURNAL_FLAGS) != 0)
    return KEDGE_JOURNAL_PLACE_DAMAGED;
  for (size_t i = 0; i < sizeof r.hold; i++)
    if (r.hold[i] > 5)
      return KEDGE_JOURNAL_PLACE_DAMAGED;
  if (r.kind == KEDGE_JOURNAL_RESERVE || (r.kind == KEDGE_JOURNAL_CHECKPOINT && r.epoch == 0)) {
    if (r.epoch != 0 || r.from != 0 || r.to != 0 || r.requested != 0)
      return KEDGE_JOURNAL_PLACE_DAMAGED;
  } else if (r.epoch == 0 || !kedge_journal_level_ok(r.from) || !kedge_journal_level_ok(r.to) ||
             !kedge_journal_level_ok(r.requested)) {
    return KEDGE_JOURNAL_PLACE_DAMAGED;
  }
  *record = r;
  return KEDGE_JOURNAL_PLACE_RECORD;
}

/* What a journal says as a whole. */
struct kedge_journal_summary {
  int damaged;                         /* 1 = some rule above is broken, at `tail` */
  int completed;                       /* 1 = the transition of `last` is finished */
  int decided;                         /* 1 = `last` is valid */
  uint64_t reserved_up_to;
  size_t tail;                         /* offset of the first untouched or damaged record */
  struct kedge_journal_record last;    /* the decision in force */
};

/* Reads a whole journal of `size` bytes. An empty or wholly untouched file counts as damaged: a journal is
 * created with its first record. */
static inline void kedge_journal_summarise(const void *bytes, size_t size, struct kedge_journal_summary *out)
{
  const uint8_t *at = (const uint8_t *)bytes;
  uint64_t sequence = 0;
  size_t offset = 0;
  memset(out, 0, sizeof *out);
  out->damaged = size == 0 || size % KEDGE_JOURNAL_RECORD_BYTES != 0;
  while (offset + KEDGE_JOURNAL_RECORD_BYTES <= size) {
    struct kedge_journal_record r;
    enum kedge_journal_place place = kedge_journal_read(at + offset, &r);
    if (place == KEDGE_JOURNAL_PLACE_UNTOUCHED)
      break;
    if (place == KEDGE_JOURNAL_PLACE_DAMAGED || (sequence != 0 && r.sequence != sequence + 1) ||
        r.reserved_up_to < out->reserved_up_to ||
        (r.kind == KEDGE_JOURNAL_DECISION && !(r.flags & KEDGE_JOURNAL_FLAG_CARRIED) && out->decided &&
         r.epoch <= out->last.epoch) ||
        (r.kind == KEDGE_JOURNAL_COMPLETED && out->decided && r.epoch > out->last.epoch)) {
      out->damaged = 1;
      break;
    }
    /* A file that was cut between two records looks whole otherwise, and its end may have been the tighter one. */
    if (r.file_records != 0 && (uint64_t)r.file_records * KEDGE_JOURNAL_RECORD_BYTES != size)
      out->damaged = 1;
    sequence = r.sequence;
    out->reserved_up_to = r.reserved_up_to;
    if (r.kind == KEDGE_JOURNAL_CHECKPOINT || (r.kind == KEDGE_JOURNAL_DECISION && !(r.flags & KEDGE_JOURNAL_FLAG_CARRIED))) {
      out->last = r;
      out->decided = r.epoch != 0;
      out->completed = out->decided && r.kind == KEDGE_JOURNAL_CHECKPOINT && (r.flags & KEDGE_JOURNAL_FLAG_COMPLETED) != 0;
    } else if (r.kind == KEDGE_JOURNAL_COMPLETED && out->decided && r.epoch == out->last.epoch) {
      out->completed = 1;
    }
    offset += KEDGE_JOURNAL_RECORD_BYTES;
  }
  out->tail = offset;
  if (sequence == 0)
    out->damaged = 1;
  for (size_t i = offset; !out->damaged && i < size; i++)
    if (at[i] != 0)
      out->damaged = 1;
}

#endif
