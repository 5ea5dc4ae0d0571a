/*
 * The one definition of everything that the processes of an appliance share through memory:
 * posture word, transition line, fail-closed line, acknowledgement slots, heartbeats, tables, rings.
 *
 * It must hold layout, the smallest accessors and nothing else: no allocation, no system calls beyond
 * the two futex wrappers, no policy.
 *
 * Rules that every file of the board obeys (PO-16, DP-1):
 *   - One writer per file, owned by the writer's user, mode 0644, mapped read-only by everybody else.
 *   - Offsets from the start of the segment only, never pointers. Little-endian, 64-bit Linux.
 *   - Shared scalars are lock-free atomics; groups of them that must agree stand under a sequence lock.
 *   - A field that a reader takes from here is checked against its range before it is used.
 *   - All times are CLOCK_MONOTONIC nanoseconds (PO-14). 0 means "never".
 *
 * Usable from C11 and C++17. In C++ the atomics are std::atomic of the same size.
 */
#ifndef KEDGE_LAYOUT_H
#define KEDGE_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include <atomic>
#define KEDGE_ATOMIC(T) std::atomic<T>
#define KEDGE_STATIC_ASSERT(cond, why) static_assert(cond, why)
using std::atomic_fetch_add_explicit;
using std::atomic_load_explicit;
using std::atomic_store_explicit;
using std::atomic_thread_fence;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;
#else
#include <stdatomic.h>
#define KEDGE_ATOMIC(T) _Atomic(T)
#define KEDGE_STATIC_ASSERT(cond, why) _Static_assert(cond, why)
#endif

/* ------------------------------------------------------------------ limits */

#define KEDGE_MAGIC UINT64_C(0x316567644b) /* "Kdge1" as little-endian bytes */
#define KEDGE_LAYOUT_VERSION 2u
#define KEDGE_CACHE_LINE 64u

#define KEDGE_LEVEL_LOCKDOWN 1u
#define KEDGE_LEVEL_EMERGENCY 2u
#define KEDGE_LEVEL_RESTRICTED 3u
#define KEDGE_LEVEL_WATCH 4u
#define KEDGE_LEVEL_NORMAL 5u
#define KEDGE_LEVELS 5u

#define KEDGE_PATHS 3u
enum kedge_path { KEDGE_PATH_DATAPLANE = 0, KEDGE_PATH_OVERLAY = 1, KEDGE_PATH_UNDERLAY = 2 };

#define KEDGE_NAME_BYTES 32u          /* NUL-terminated names: [a-z0-9-], at most 31 bytes */
#define KEDGE_MAX_WORKERS 16u         /* packet workers of one data-plane process */
#define KEDGE_MAX_ZONES 16u           /* zone ids 0..15; 0 means "no zone", its traffic is dropped */
#define KEDGE_ZONE_NONE 0u
#define KEDGE_ZONE_MANAGEMENT 1u      /* the zone that the built-in management minimum serves */
#define KEDGE_MAX_ENTRIES 16384u      /* allowlist entries of one level, both families together */
#define KEDGE_MAX_SHAPES 16u          /* mask shapes per level and family (DP-9) */
#define KEDGE_BANKS 2u

/* File names inside the board directory. A participant's file is "participant-" + its name,
 * a data-plane process's file is "dataplane-" + its name. */
#define KEDGE_FILE_POSTURE "posture"
#define KEDGE_FILE_WARDEN "warden"
#define KEDGE_FILE_TABLES "tables"
#define KEDGE_FILE_PARTICIPANT_PREFIX "participant-"
#define KEDGE_FILE_DATAPLANE_PREFIX "dataplane-"

enum kedge_segment_kind {
  KEDGE_SEGMENT_POSTURE = 1,     /* writer: posture-coordinator */
  KEDGE_SEGMENT_WARDEN = 2,      /* writer: kedge-warden */
  KEDGE_SEGMENT_TABLES = 3,      /* writer: vpp-bridge */
  KEDGE_SEGMENT_PARTICIPANT = 4, /* writer: that participant */
  KEDGE_SEGMENT_DATAPLANE = 5    /* writer: that data-plane process */
};

/* ------------------------------------------------------------ posture word */

/*
 * One aligned 64-bit value: epoch in the top 48 bits, 13 flag bits, level in the lowest 3.
 * Level 0, 6 or 7 means fail-closed: readers obey level 1 (KEDGE_LEVEL_LOCKDOWN) then.
 * A word of 0 therefore means "no decision yet" and is fail-closed.
 */
typedef uint64_t kedge_word;

#define KEDGE_WORD_LEVEL_MASK UINT64_C(0x7)
#define KEDGE_WORD_FLAGS_SHIFT 3u
#define KEDGE_WORD_FLAGS_MASK UINT64_C(0x1fff)
#define KEDGE_WORD_EPOCH_SHIFT 16u
#define KEDGE_EPOCH_MAX ((UINT64_C(1) << 48) - 1)

static inline kedge_word kedge_word_of(uint64_t epoch, unsigned flags, unsigned level)
{
  return (epoch << KEDGE_WORD_EPOCH_SHIFT) |
         (((uint64_t)flags & KEDGE_WORD_FLAGS_MASK) << KEDGE_WORD_FLAGS_SHIFT) |
         ((uint64_t)level & KEDGE_WORD_LEVEL_MASK);
}
static inline uint64_t kedge_word_epoch(kedge_word w) { return w >> KEDGE_WORD_EPOCH_SHIFT; }
static inline unsigned kedge_word_flags(kedge_word w)
{
  return (unsigned)((w >> KEDGE_WORD_FLAGS_SHIFT) & KEDGE_WORD_FLAGS_MASK);
}
/* The level as stored, 0..7, not yet interpreted. */
static inline unsigned kedge_word_raw_level(kedge_word w) { return (unsigned)(w & KEDGE_WORD_LEVEL_MASK); }
/* The level to obey, 1..5: what is not a level is lockdown. */
static inline unsigned kedge_word_level(kedge_word w)
{
  unsigned l = kedge_word_raw_level(w);
  return (l >= KEDGE_LEVEL_LOCKDOWN && l <= KEDGE_LEVEL_NORMAL) ? l : KEDGE_LEVEL_LOCKDOWN;
}
/* The level that both a posture word and a fail-closed line (0 = clear) allow: the tighter one. */
static inline unsigned kedge_level_under(kedge_word word, kedge_word fail_closed)
{
  unsigned l = kedge_word_level(word);
  if (fail_closed != 0) {
    unsigned f = kedge_word_level(fail_closed);
    if (f < l)
      l = f;
  }
  return l;
}

/* ---------------------------------------------------------- segment header */

/*
 * First 128 bytes of every file. Written before the file gets its name and constant afterwards,
 * except `incarnation`, `writer_pid`, `writer_start` and `checksum`, which a restarted writer renews
 * under `opening` (non-zero while it does; readers then retry or refuse).
 * `checksum` is CRC-32 (IEEE, as zlib's crc32) of bytes [0, offsetof(checksum)).
 */
struct kedge_segment_header {
  uint64_t magic;                   /* KEDGE_MAGIC */
  uint32_t version;                 /* KEDGE_LAYOUT_VERSION */
  uint32_t kind;                    /* enum kedge_segment_kind */
  uint64_t size;                    /* bytes of the whole file; equals sizeof of the kind's struct */
  uint8_t boot_id[16];              /* /proc/sys/kernel/random/boot_id, binary */
  uint64_t incarnation;             /* 1 for a new file, +1 each time a writer opens it again */
  uint64_t writer_start;            /* start time of the writer, clock ticks since boot (/proc/PID/stat field 22) */
  uint32_t writer_pid;              /* in the pid namespace of the board */
  uint32_t writer_uid;              /* must equal the file's owner */
  char name[KEDGE_NAME_BYTES];      /* the file's name inside the board directory */
  uint32_t checksum;                /* see above */
  KEDGE_ATOMIC(uint32_t) opening;   /* non-zero while a writer (re)initialises the header */
  uint8_t reserved[24];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_segment_header) == 128, "segment header is two cache lines");
KEDGE_STATIC_ASSERT(offsetof(struct kedge_segment_header, checksum) == 96, "checksum covers 96 bytes");

/*
 * Heartbeat and doorbell of the file's writer, one cache line, directly after the header.
 * `at_ns` is renewed every 100 ms by the loop that does the service's work (a JavaScript service
 * beats from its event loop, never from a helper thread, so that a stuck loop shows).
 * `bell` is the futex that the writer bumps and wakes after every change that others wait for.
 */
struct kedge_beat {
  KEDGE_ATOMIC(uint64_t) at_ns;
  KEDGE_ATOMIC(uint64_t) count;
  KEDGE_ATOMIC(uint32_t) bell;
  KEDGE_ATOMIC(uint32_t) serving; /* 1 = brought to the current posture and serving, 0 = not (PO-19) */
  uint8_t reserved[40];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_beat) == 64, "beat is one cache line");

/* ---------------------------------------------------------------- posture */

/*
 * Stage of the transition line. Tightening is choreographed: TIGHTEN is enough for everybody to start.
 * Loosening is orchestrated: each stage is released in turn by a live coordinator; a participant
 * applies a loosening only at its own stage or a later one.
 */
enum kedge_stage {
  KEDGE_STAGE_NONE = 0,             /* no transition was ever decided */
  KEDGE_STAGE_TIGHTEN = 1,          /* the word carries the target; everybody tightens by themselves */
  KEDGE_STAGE_LOOSEN_DECIDED = 2,   /* journaled; nothing may loosen yet */
  KEDGE_STAGE_LOOSEN_PATHS = 3,     /* underlay and overlay may loosen */
  KEDGE_STAGE_LOOSEN_SESSIONS = 4,  /* session layer may loosen */
  KEDGE_STAGE_LOOSEN_DATAPLANE = 5, /* the word carries the target */
  KEDGE_STAGE_VERIFY = 6,           /* every path applied or late; verifying */
  KEDGE_STAGE_COMPLETE = 7          /* finished; the line still names the last transition */
};

/*
 * Where the running (or last) transition stands. Under the sequence lock `sequence`:
 * odd while the coordinator writes, readers retry a bounded number of times (KEDGE_SEQLOCK_TRIES).
 * A reader that never gets an even, unchanged sequence treats the line as unknown and obeys the
 * stricter of word and the last line it knew.
 */
struct kedge_transition {
  KEDGE_ATOMIC(uint64_t) sequence;
  KEDGE_ATOMIC(uint64_t) epoch;
  KEDGE_ATOMIC(uint32_t) from;            /* level 1..5; equal to `to` when an accord changed */
  KEDGE_ATOMIC(uint32_t) to;              /* level 1..5 */
  KEDGE_ATOMIC(uint32_t) stage;           /* enum kedge_stage */
  KEDGE_ATOMIC(uint32_t) flags;           /* reserved, 0 */
  KEDGE_ATOMIC(uint64_t) received_at_ns;  /* request received by the coordinator */
  KEDGE_ATOMIC(uint64_t) decided_at_ns;   /* the moment the budgets run from (tightening) */
  KEDGE_ATOMIC(uint64_t) stage_at_ns;     /* when `stage` was released, or said again (PO-11); a loosening's budgets run from it */
  KEDGE_ATOMIC(uint64_t) budget_ns[KEDGE_PATHS]; /* wished budget per path; 0 = the warden's; may only shorten it */
  uint8_t reserved[48];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_transition) == 128, "transition line is two cache lines");
#define KEDGE_SEQLOCK_TRIES 1000u

struct kedge_posture_segment {
  struct kedge_segment_header header;
  struct kedge_beat beat;
  /* The word has a cache line of its own. */
  KEDGE_ATOMIC(uint64_t) word;
  KEDGE_ATOMIC(uint64_t) stored_at_ns; /* stamped right after the store of `word`; for reports only */
  uint8_t reserved[48];
  struct kedge_transition transition;
};
KEDGE_STATIC_ASSERT(offsetof(struct kedge_posture_segment, beat) == 128, "beat follows the header");
KEDGE_STATIC_ASSERT(offsetof(struct kedge_posture_segment, word) == 192, "the word is cache-line aligned");
KEDGE_STATIC_ASSERT(offsetof(struct kedge_posture_segment, transition) == 256, "transition line is aligned");
KEDGE_STATIC_ASSERT(sizeof(struct kedge_posture_segment) == 384, "posture segment size");

/* ----------------------------------------------------------------- warden */

/*
 * Fail-closed line: one word per path, 0 = clear. Set by the warden alone, so that a late store of
 * the coordinator can never put back a looser level. It persists through later tightenings and is
 * cleared when `verify` passes at the current epoch (data plane: every live worker acknowledged it).
 */
struct kedge_fail_closed {
  KEDGE_ATOMIC(uint64_t) word;        /* level to enforce and the epoch that missed; 0 = clear */
  KEDGE_ATOMIC(uint64_t) set_at_ns;
  KEDGE_ATOMIC(uint64_t) cleared_at_ns;
  KEDGE_ATOMIC(uint64_t) count;       /* times set since start */
  uint8_t reserved[32];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_fail_closed) == 64, "fail-closed line is one cache line");

enum kedge_violation_kind {
  KEDGE_VIOLATION_BUDGET = 1,          /* a path missed its budget */
  KEDGE_VIOLATION_LATE_LOOSENING = 2,  /* recorded, never fail-closed */
  KEDGE_VIOLATION_STALE_SERVICE = 3,   /* event loop silent; killed and started again */
  KEDGE_VIOLATION_DATAPLANE_KILLED = 4,/* stayed silent after its deadline */
  KEDGE_VIOLATION_SERVICE_DIED = 5,
  KEDGE_VIOLATION_ALARM = 6,           /* a miss on the way to 4, which only watches more */
  KEDGE_VIOLATION_FAIL_CLOSED_CLEARED = 7
};

#define KEDGE_VIOLATION_SLOTS 256u
/* One event of the warden. `sequence` is 2n+1 while slot n is written and 2n+2 when it is whole. */
struct kedge_violation {
  KEDGE_ATOMIC(uint64_t) sequence;
  KEDGE_ATOMIC(uint64_t) at_ns;
  KEDGE_ATOMIC(uint64_t) epoch;
  KEDGE_ATOMIC(uint64_t) deadline_ns;  /* absolute; 0 where there was none */
  KEDGE_ATOMIC(uint32_t) kind;         /* enum kedge_violation_kind */
  KEDGE_ATOMIC(uint32_t) path;         /* enum kedge_path, or UINT32_MAX */
  KEDGE_ATOMIC(uint32_t) level;        /* level that was enforced, 0 = none */
  KEDGE_ATOMIC(int32_t) outcome;       /* 0 = action done, otherwise errno or exit status of the action */
  KEDGE_ATOMIC(uint64_t) acted_at_ns;  /* when the action was finished; 0 = none taken */
  char subject[KEDGE_NAME_BYTES];      /* who was late, stale or killed: service, participant, "NAME/worker" */
  uint8_t reserved[40];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_violation) == 128, "violation slot is two cache lines");

struct kedge_warden_segment {
  struct kedge_segment_header header;
  struct kedge_beat beat;
  struct kedge_fail_closed fail_closed[KEDGE_PATHS];
  KEDGE_ATOMIC(uint64_t) budget_ns[KEDGE_PATHS];   /* budgets in force, from the warden's configuration */
  KEDGE_ATOMIC(uint64_t) silence_kill_ns;          /* data plane silent this long past its deadline is killed */
  KEDGE_ATOMIC(uint64_t) stale_ns;                 /* a heartbeat older than this is stale */
  KEDGE_ATOMIC(uint64_t) violations;               /* events ever written; slot of event n is n % SLOTS */
  KEDGE_ATOMIC(uint32_t) realtime;                 /* 1 = runs SCHED_FIFO with memory locked */
  uint8_t reserved[12];
  struct kedge_violation violation[KEDGE_VIOLATION_SLOTS];
};
KEDGE_STATIC_ASSERT(offsetof(struct kedge_warden_segment, fail_closed) == 192, "fail-closed lines are aligned");
KEDGE_STATIC_ASSERT(offsetof(struct kedge_warden_segment, violation) == 448, "violations are aligned");

/* ------------------------------------------------------------ participants */

enum kedge_outcome {
  KEDGE_OUTCOME_NONE = 0,
  KEDGE_OUTCOME_APPLIED = 1,     /* applied and verified */
  KEDGE_OUTCOME_UNCHANGED = 2,   /* was already right */
  KEDGE_OUTCOME_FAILED = 3,      /* could not be applied; ended fail-closed by itself */
  KEDGE_OUTCOME_CANCELLED = 4    /* pre-empted by a tighter epoch */
};

/*
 * What one participant or one packet worker has done, one cache line, under its own sequence lock.
 * `epoch` is the newest epoch that is wholly applied; it never goes back.
 */
struct kedge_ack {
  KEDGE_ATOMIC(uint64_t) sequence;
  KEDGE_ATOMIC(uint64_t) epoch;
  KEDGE_ATOMIC(uint64_t) started_at_ns;  /* data plane: when the new word was seen */
  KEDGE_ATOMIC(uint64_t) finished_at_ns; /* data plane: when no packet judged under an older epoch remained */
  KEDGE_ATOMIC(uint32_t) stage;          /* enum kedge_stage that was acted on */
  KEDGE_ATOMIC(uint32_t) outcome;        /* enum kedge_outcome */
  KEDGE_ATOMIC(uint32_t) level;          /* level now applied, 1..5 */
  KEDGE_ATOMIC(uint32_t) changes;        /* how many things were withdrawn or brought back */
  uint8_t reserved[16];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_ack) == 64, "acknowledgement is one cache line");

struct kedge_participant_segment {
  struct kedge_segment_header header;
  struct kedge_beat beat;
  KEDGE_ATOMIC(uint32_t) path;           /* enum kedge_path; UINT32_MAX = takes part in none, only beats */
  uint8_t reserved[60];
  struct kedge_ack ack;
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_participant_segment) == 320, "participant segment size");
#define KEDGE_PATH_NONE UINT32_MAX

/* ------------------------------------------------------------------ tables */

/*
 * Two banks; each holds the tables of all five levels of one generation. A worker publishes the
 * generation that it uses and reads `generation` again before use (DP-2); the bridge writes a bank
 * only after every live worker has published a generation that lives in the other one.
 * Generation g lives in bank g % 2; generation 0 means "no tables yet".
 */
enum kedge_verdict { KEDGE_VERDICT_NONE = 0, KEDGE_VERDICT_DROP = 1, KEDGE_VERDICT_DEPRIORITISE = 2, KEDGE_VERDICT_PASS = 3 };

enum kedge_family { KEDGE_FAMILY_IP4 = 0, KEDGE_FAMILY_IP6 = 1 };
#define KEDGE_FAMILIES 2u

/*
 * One allowlist entry. Addresses are network order; an IPv4 address stands in the first four bytes,
 * the rest is zero. An entry holds in the direction written (source zone to destination zone).
 * Which fields count is said by its shape. `protocol` 0 in the shape means any.
 */
struct kedge_flow_key {
  uint8_t source[16];
  uint8_t destination[16];
  uint16_t source_port;      /* host order; ICMP: 0 */
  uint16_t destination_port; /* host order; ICMP: type << 8 | code */
  uint8_t protocol;          /* IANA protocol number after extension headers */
  uint8_t source_zone;
  uint8_t destination_zone;
  uint8_t reserved;          /* in a stored entry its enum kedge_family; otherwise 0 */
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_flow_key) == 40, "flow key size");

/* A mask shape: which bits of the key an entry's hash covers. Prefix lengths in bits. */
struct kedge_shape {
  uint8_t source_prefix;      /* 0..32 or 0..128 */
  uint8_t destination_prefix;
  uint8_t match_protocol;     /* 0 or 1 */
  uint8_t match_source_port;  /* 0 or 1; needs match_protocol */
  uint8_t match_destination_port;
  uint8_t match_source_zone;
  uint8_t match_destination_zone;
  uint8_t reserved;
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_shape) == 8, "shape size");

struct kedge_entry {
  struct kedge_flow_key key; /* masked by its shape */
  uint32_t id;               /* 0..KEDGE_MAX_ENTRIES-1, the same on every level; indexes the hit counters */
  uint8_t verdict;           /* enum kedge_verdict, never NONE */
  uint8_t shape;             /* index into the family's shapes */
  uint16_t rank;             /* of several matching entries the higher rank wins, then the tighter verdict */
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_entry) == 48, "entry size");

/*
 * Open addressing, linear probing; a slot holds a mark of its entry's hash above entry index + 1, 0 = free.
 * At most a quarter full. A key whose mark is another's needs no look at the entry.
 */
#define KEDGE_SLOTS (KEDGE_MAX_ENTRIES * 4u)
#define KEDGE_SLOT_INDEX_BITS 15u
#define KEDGE_MAX_PROBES 64u /* the builder guarantees it, readers stop there */

/*
 * A packed key: an IPv4 key's addresses share the first word, an IPv6 key has two words for each; the last word is
 * ports, protocol, zones and family. classify.h says how; the rest is 0.
 */
#define KEDGE_KEY_WORDS 5u
#define KEDGE_KEY_WORDS_OF(family) ((family) == KEDGE_FAMILY_IP6 ? KEDGE_KEY_WORDS : 2u)

/*
 * A sieve: by a piece of the packed key, 16 bits folded to fewer (classify.h), which shapes can match at all (bit s =
 * shape s). A shape that leaves much of the piece open stands everywhere.
 */
#define KEDGE_SIEVES 8u
#define KEDGE_SIEVE_BITS 10u
struct kedge_sieve {
  uint16_t shapes[1u << KEDGE_SIEVE_BITS];
};

/* Shapes stand in falling order of `highest`: after a match of higher rank none behind can win. */
struct kedge_family_table {
  uint32_t shapes;
  uint32_t reserved;
  struct kedge_shape shape[KEDGE_MAX_SHAPES];
  uint64_t mask[KEDGE_MAX_SHAPES][KEDGE_KEY_WORDS]; /* of the packed key, as the shape says */
  uint16_t highest[KEDGE_MAX_SHAPES];               /* rank of the shape's highest entry */
  uint8_t sieved[KEDGE_SIEVES];                     /* the byte of the packed key where each sieve's piece begins */
  struct kedge_sieve sieve[KEDGE_SIEVES];
};

enum kedge_level_flag {
  KEDGE_LEVEL_CLASSIFY = 1u << 0,   /* deep classification on (DP-10) */
  KEDGE_LEVEL_ARP = 1u << 1,        /* ARP passes between zones */
  KEDGE_LEVEL_ND = 1u << 2,         /* neighbour discovery passes between zones */
  KEDGE_LEVEL_ICMP_ERROR = 1u << 3  /* ICMP errors pass between zones */
};

/* The rules of one level. `checksum` is CRC-32 of the bytes after it, up to the end of the struct. */
struct kedge_level_table {
  uint32_t checksum;
  uint32_t valid;                   /* 1 = usable; otherwise only the built-in management minimum passes */
  uint32_t level;                   /* 1..5, must equal its place + 1 */
  uint32_t flags;                   /* enum kedge_level_flag */
  uint64_t generation;              /* must equal the bank's */
  uint32_t entries;
  uint32_t seed;                    /* of the slot hash */
  uint32_t slots;                   /* in use, from the first on: a power of two, at most KEDGE_SLOTS */
  uint32_t reserved;
  uint8_t pair[KEDGE_MAX_ZONES][KEDGE_MAX_ZONES]; /* verdict of a zone pair without a matching entry */
  struct kedge_family_table family[KEDGE_FAMILIES];
  struct kedge_entry entry[KEDGE_MAX_ENTRIES];
  uint32_t slot[KEDGE_SLOTS];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_level_table) % 8 == 0, "level tables stay aligned");
KEDGE_STATIC_ASSERT(KEDGE_MAX_ENTRIES < 1u << KEDGE_SLOT_INDEX_BITS, "a slot has room for index + 1");
KEDGE_STATIC_ASSERT(KEDGE_MAX_SHAPES <= 16, "a sieve has a bit for each shape");

struct kedge_bank {
  KEDGE_ATOMIC(uint64_t) generation; /* 0 while the bridge writes the bank */
  uint64_t built_at_ns;
  uint8_t accords_hash[32];          /* SHA-256 of the accords and zones it was compiled from */
  uint8_t reserved[16];
  struct kedge_level_table level[KEDGE_LEVELS]; /* level n stands at n - 1 */
};

struct kedge_tables_segment {
  struct kedge_segment_header header;
  struct kedge_beat beat;
  KEDGE_ATOMIC(uint64_t) generation; /* generation in force; 0 = none */
  uint8_t reserved[56];
  struct kedge_bank bank[KEDGE_BANKS];
};
KEDGE_STATIC_ASSERT(offsetof(struct kedge_tables_segment, bank) == 256, "banks are aligned");

/* -------------------------------------------------------------- data plane */

enum kedge_telemetry_kind {
  KEDGE_TELEMETRY_POSTURE = 1,    /* a worker changed its level */
  KEDGE_TELEMETRY_TABLES = 2,     /* a worker moved to a new generation, or refused one (value = 0) */
  KEDGE_TELEMETRY_SAFE_LEVEL = 3, /* coordinator and warden silent: went to the safe level, or back */
  KEDGE_TELEMETRY_SEGMENT = 4     /* a segment was refused; value = enum kedge_refusal */
};

#define KEDGE_TELEMETRY_SLOTS 1024u
/* `sequence` is 2n+1 while slot n is written and 2n+2 when it is whole. The writer never waits. */
struct kedge_telemetry {
  KEDGE_ATOMIC(uint64_t) sequence;
  KEDGE_ATOMIC(uint64_t) at_ns;
  KEDGE_ATOMIC(uint64_t) epoch;
  KEDGE_ATOMIC(uint64_t) value;          /* by kind: POSTURE generation in use; others see above */
  KEDGE_ATOMIC(uint64_t) dropped_pair;   /* packets dropped so far by a zone pair's verdict */
  KEDGE_ATOMIC(uint64_t) dropped_entry;  /* ... by an entry */
  KEDGE_ATOMIC(uint32_t) kind;
  KEDGE_ATOMIC(uint16_t) old_level;
  KEDGE_ATOMIC(uint16_t) new_level;
  KEDGE_ATOMIC(uint64_t) seen_at_ns;
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_telemetry) == 64, "telemetry slot is one cache line");

/* Why a packet was judged as it was: the index of kedge_worker.reason. */
enum kedge_reason {
  KEDGE_REASON_PAIR = 0,        /* verdict of the zone pair */
  KEDGE_REASON_ENTRY = 1,       /* an allowlist entry matched */
  KEDGE_REASON_MINIMUM = 2,     /* no valid table: built-in management minimum */
  KEDGE_REASON_NEIGHBOUR = 3,   /* ARP, neighbour discovery, ICMP error */
  KEDGE_REASON_MALFORMED = 4,   /* short, inconsistent, unknown version */
  KEDGE_REASON_ETHERTYPE = 5,   /* unknown EtherType */
  KEDGE_REASON_FRAGMENT = 6,    /* fragment other than the first without an entry that needs no ports */
  KEDGE_REASON_ZONE = 7,        /* a port without a zone */
  KEDGE_REASONS = 8
};

/* What a flow was recognised as, whatever its ports say (DP-10). */
enum kedge_application {
  KEDGE_APPLICATION_UNKNOWN = 0, /* not looked at, not recognised yet, or nothing of these */
  KEDGE_APPLICATION_DNS = 1,
  KEDGE_APPLICATION_TLS = 2,
  KEDGE_APPLICATION_HTTP = 3,
  KEDGE_APPLICATION_SSH = 4,
  KEDGE_APPLICATION_WIREGUARD = 5,
  KEDGE_APPLICATION_NTP = 6,
  KEDGE_APPLICATION_SNMP = 7,
  KEDGE_APPLICATION_BGP = 8,
  KEDGE_APPLICATION_QUIC = 9
};
#define KEDGE_APPLICATIONS 10u

/* Why a record was written: flowEndReason of RFC 5102. ACTIVE: the flow goes on, its counts start anew. */
enum kedge_flow_end {
  KEDGE_FLOW_END_IDLE = 1,
  KEDGE_FLOW_END_ACTIVE = 2,
  KEDGE_FLOW_END_DETECTED = 3,  /* TCP FIN or RST */
  KEDGE_FLOW_END_FORCED = 4,    /* posture or judgement changed, or the data plane ends */
  KEDGE_FLOW_END_RESOURCES = 5  /* evicted for another flow */
};

#define KEDGE_FLOW_NAME_BYTES 152u
/*
 * One direction of a flow, as it was judged from `first_at_ns` to `last_at_ns`: a change of epoch, level,
 * entry or verdict ends a record and begins the next (DP-12). Plain bytes; travels in a kedge_flow_slot.
 */
struct kedge_flow_record {
  uint64_t first_at_ns;
  uint64_t last_at_ns;
  uint64_t packets;           /* of this record alone */
  uint64_t bytes;             /* of IP packets, header included */
  uint64_t epoch;             /* under which they were judged */
  struct kedge_flow_key key;  /* with both zones; `reserved` is the enum kedge_family */
  uint32_t entry;             /* id of the entry that decided, UINT32_MAX = none did */
  uint8_t level;              /* 1..5 */
  uint8_t verdict;            /* enum kedge_verdict */
  uint8_t reason;             /* enum kedge_reason */
  uint8_t application;        /* enum kedge_application */
  uint8_t end;                /* enum kedge_flow_end */
  uint8_t tcp_flags;          /* all that were seen, or 0 */
  uint8_t dscp;               /* of the first packet, as it came */
  uint8_t name_bytes;         /* 0..KEDGE_FLOW_NAME_BYTES */
  uint8_t name_cut;           /* 1 = the front of a longer name is missing */
  uint8_t reserved[7];
  char name[KEDGE_FLOW_NAME_BYTES]; /* TLS server name, DNS question, HTTP host: [!-~] only, not terminated */
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_flow_record) == 256, "flow record size");

#define KEDGE_FLOW_SLOTS 1024u
#define KEDGE_FLOW_WORDS (sizeof(struct kedge_flow_record) / 8)
/* `sequence` is 2n+1 while record n is written and 2n+2 when it is whole. The writer never waits. */
struct kedge_flow_slot {
  KEDGE_ATOMIC(uint64_t) sequence;
  KEDGE_ATOMIC(uint64_t) word[KEDGE_FLOW_WORDS]; /* the bytes of a kedge_flow_record */
  uint8_t reserved[56];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_flow_slot) == 320, "flow slots share no cache line");

/* Frames that cannot leave at once wait in one of these, per port; the first is always served first (DP-11). */
enum kedge_queue { KEDGE_QUEUE_ORDINARY = 0, KEDGE_QUEUE_DEPRIORITISED = 1 };
#define KEDGE_QUEUES 2u
struct kedge_queue_counters {
  KEDGE_ATOMIC(uint64_t) sent;      /* frames of this class that left, at once or later */
  KEDGE_ATOMIC(uint64_t) waited;    /* of those, how many had to wait */
  KEDGE_ATOMIC(uint64_t) lost;      /* no room, or no way out any more */
  KEDGE_ATOMIC(uint64_t) withdrawn; /* taken out again because a tighter level does not let them leave */
  KEDGE_ATOMIC(uint64_t) waiting;   /* now */
  uint8_t reserved[24];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_queue_counters) == 64, "queue counters are one cache line");

/* Counters of one worker; written by it alone, relaxed. */
struct kedge_worker_counters {
  KEDGE_ATOMIC(uint64_t) reason[KEDGE_REASONS][4];                        /* [reason][verdict] packets */
  KEDGE_ATOMIC(uint64_t) pair[KEDGE_MAX_ZONES][KEDGE_MAX_ZONES][4];       /* [from][to][verdict] packets judged by the pair */
  KEDGE_ATOMIC(uint64_t) hit[KEDGE_MAX_ENTRIES];                          /* packets that matched entry id */
  KEDGE_ATOMIC(uint64_t) application[KEDGE_APPLICATIONS][2];              /* [application][packets, bytes] looked into */
  uint8_t reserved[32];
  struct kedge_queue_counters queue[KEDGE_QUEUES];                        /* by enum kedge_queue, all ports together */
};

struct kedge_worker {
  struct kedge_ack ack;
  /* Second line: what the worker uses now. */
  KEDGE_ATOMIC(uint64_t) generation;      /* table generation in use; 0 = none */
  KEDGE_ATOMIC(uint64_t) loop_at_ns;      /* last turn of its loop */
  KEDGE_ATOMIC(uint64_t) received;        /* packets */
  KEDGE_ATOMIC(uint64_t) sent;            /* packets */
  KEDGE_ATOMIC(uint64_t) switches;        /* involuntary context switches, read after the stamp of the last ack */
  KEDGE_ATOMIC(uint64_t) telemetry_written; /* events ever written to its ring */
  KEDGE_ATOMIC(uint32_t) tid;
  KEDGE_ATOMIC(uint32_t) live;            /* 1 = takes part in acknowledgements */
  KEDGE_ATOMIC(uint64_t) fail_closed_seen; /* the warden's data-plane line as the worker last obeyed it */
  /* Third line: its flows. */
  KEDGE_ATOMIC(uint64_t) flows_written;   /* records ever written to its ring; record n stands in slot n % SLOTS */
  KEDGE_ATOMIC(uint64_t) flows_begun;
  KEDGE_ATOMIC(uint64_t) flows_evicted;
  KEDGE_ATOMIC(uint64_t) flows_live;      /* now */
  uint8_t reserved[32];
  struct kedge_telemetry telemetry[KEDGE_TELEMETRY_SLOTS];
  struct kedge_flow_slot flow[KEDGE_FLOW_SLOTS];
  struct kedge_worker_counters counters;
};
KEDGE_STATIC_ASSERT(offsetof(struct kedge_worker, generation) == 64, "state is the worker's second line");
KEDGE_STATIC_ASSERT(offsetof(struct kedge_worker, flows_written) == 128, "flows are the worker's third line");
KEDGE_STATIC_ASSERT(offsetof(struct kedge_worker, telemetry) == 192, "telemetry follows the state");
KEDGE_STATIC_ASSERT(sizeof(struct kedge_worker) % KEDGE_CACHE_LINE == 0, "workers share no cache line");

struct kedge_dataplane_segment {
  struct kedge_segment_header header;
  struct kedge_beat beat;                /* beaten by worker 0's loop or VPP's main loop */
  KEDGE_ATOMIC(uint32_t) workers;        /* 1..KEDGE_MAX_WORKERS in use */
  KEDGE_ATOMIC(uint32_t) safe_level;     /* non-zero while the data plane obeys its safe level (DP-7) */
  uint8_t reserved[56];
  struct kedge_worker worker[KEDGE_MAX_WORKERS];
};
KEDGE_STATIC_ASSERT(offsetof(struct kedge_dataplane_segment, worker) == 256, "workers are aligned");

/* Why a segment was refused. The names are also the suffixes of the error codes (SEGMENT_*). */
enum kedge_refusal {
  KEDGE_REFUSAL_NONE = 0,
  KEDGE_REFUSAL_MISSING = 1,
  KEDGE_REFUSAL_NOT_REGULAR = 2,
  KEDGE_REFUSAL_OWNER = 3,
  KEDGE_REFUSAL_MODE = 4,
  KEDGE_REFUSAL_SIZE = 5,
  KEDGE_REFUSAL_MAGIC = 6,
  KEDGE_REFUSAL_VERSION = 7,
  KEDGE_REFUSAL_KIND = 8,
  KEDGE_REFUSAL_CHECKSUM = 9,
  KEDGE_REFUSAL_BOOT = 10,
  KEDGE_REFUSAL_OPENING = 11,
  KEDGE_REFUSAL_NAME = 12,
  KEDGE_REFUSAL_DIRECTORY = 13,
  KEDGE_REFUSAL_BUSY = 14,   /* another live writer holds it */
  KEDGE_REFUSAL_SYSTEM = 15  /* errno says why */
};

#endif
