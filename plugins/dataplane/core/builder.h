/*
 * The one place that turns rules into a level table: masking, shapes, sieves, hashing, checksum.
 *
 * It must decide no policy (what a level allows is the accords' business) and place nothing in shared
 * memory: it fills a table that the caller owns.
 */
#ifndef KEDGE_BUILDER_H
#define KEDGE_BUILDER_H

#include <stdbool.h>

#include "kedge/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One rule as written. Which fields count is said by `shape`; the key need not be masked. */
struct kedge_rule {
  struct kedge_flow_key key; /* addresses in network order, ports in host order, `reserved` ignored */
  struct kedge_shape shape;
  uint32_t id;               /* 0..KEDGE_MAX_ENTRIES-1 */
  uint16_t rank;
  uint8_t family;            /* enum kedge_family */
  uint8_t verdict;           /* enum kedge_verdict, not NONE */
};

struct kedge_rules {
  uint32_t level;            /* 1..5 */
  uint32_t flags;            /* enum kedge_level_flag */
  uint64_t generation;       /* 0 until it is placed: see kedge_table_stamp */
  uint8_t pair[KEDGE_MAX_ZONES][KEDGE_MAX_ZONES]; /* enum kedge_verdict, not NONE */
  const struct kedge_rule *rule;
  uint32_t rules;
};

enum kedge_build {
  KEDGE_BUILD_OK = 0,
  KEDGE_BUILD_LEVEL = 1,   /* level outside 1..5, or unknown flags */
  KEDGE_BUILD_PAIR = 2,    /* a pair without a verdict; `at` = source zone * 16 + destination zone */
  KEDGE_BUILD_RULE = 3,    /* a field of rule `at` is out of its range */
  KEDGE_BUILD_ENTRIES = 4, /* more than KEDGE_MAX_ENTRIES; `at` = how many */
  KEDGE_BUILD_SHAPES = 5,  /* a family has more than KEDGE_MAX_SHAPES; `at` = how many, `family` which */
  KEDGE_BUILD_PROBES = 6   /* no seed keeps every entry within KEDGE_MAX_PROBES slots of its place */
};

struct kedge_build_report {
  uint32_t at;
  uint32_t family;
  uint32_t entries;        /* after duplicates went */
  uint32_t duplicates;     /* rules that another with the same key and shape outranks */
  uint32_t shapes[KEDGE_FAMILIES];
  uint32_t longest;        /* slots looked at for the worst-placed entry */
};

/*
 * Fills `table` (whole, deterministic for equal input) and checksums it. Of rules with equal shape and
 * masked key one stays: the highest rank, then the tighter verdict, then the lower id. On refusal the
 * table is left marked not valid. Needs about 2 MB of heap for a moment.
 */
enum kedge_build kedge_table_build(const struct kedge_rules *rules, struct kedge_level_table *table,
                                   struct kedge_build_report *report);

/* Gives a built table the generation of the bank it is placed in and renews its checksum. */
void kedge_table_stamp(struct kedge_level_table *table, uint64_t generation);

/* CRC-32 of everything behind `checksum`. */
uint32_t kedge_table_checksum(const struct kedge_level_table *table);

/*
 * Whether a table may be used: checksum, place, generation, every field in its range, and the lookup finds every
 * entry: masks, ranks, sieves and slots are what the entries make them.
 * `level` is its place + 1. What the data plane's loader and the publisher both ask.
 */
bool kedge_table_holds(const struct kedge_level_table *table, uint32_t level, uint64_t generation);

#ifdef __cplusplus
}
#endif
#endif
