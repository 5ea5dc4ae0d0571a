/*
 * One level's rules applied to one packet: zone pair and allowlist entry to a verdict with its reason.
 *
 * It must keep no state, allocate nothing, make no system call, and believe nothing that it reads from a
 * table without comparing it with its range.
 */
#ifndef KEDGE_CLASSIFY_H
#define KEDGE_CLASSIFY_H

#include <stdbool.h>

#include "kedge/layout.h"
#include "packet.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KEDGE_NO_ENTRY UINT32_MAX

struct kedge_judgement {
  uint8_t verdict;     /* enum kedge_verdict, never NONE */
  uint8_t reason;      /* enum kedge_reason */
  uint8_t source_zone; /* the zone pair that was judged; 0 where a zone was out of range */
  uint8_t destination_zone;
  uint32_t entry;      /* id of the entry that decided, or KEDGE_NO_ENTRY */
  uint32_t probes;     /* slots looked at for the shapes that the sieves left; at most MAX_SHAPES * MAX_PROBES */
};

/*
 * Judges a parsed packet that came in by a port of `source_zone` and would leave by a port of
 * `destination_zone`. `table` NULL, or not marked valid: only the built-in management minimum passes.
 * The caller answers for the table's checksum (loader.h); a damaged one gives wrong verdicts, nothing worse.
 *
 * Order: a port without a zone, malformed, unknown EtherType (all drop); ARP, neighbour discovery and
 * ICMP errors by the level's flags alone; then of all matching entries the highest rank, among equals
 * the tighter verdict, then the lower id; then the zone pair. A fragment other than the first matches
 * entries that need no ports and otherwise drops: the pair does not speak for it (DP-6).
 *
 * The management minimum: from zone KEDGE_ZONE_MANAGEMENT to any TCP 22 and UDP 161, from any to it the
 * answers (source ports), both ways ICMP and ICMPv6 echo, ARP and neighbour discovery.
 */
void kedge_classify(const struct kedge_level_table *table, const struct kedge_packet *packet, unsigned source_zone,
                    unsigned destination_zone, struct kedge_judgement *judgement);

/*
 * The parts that the builder shares with the lookup. `key->reserved` carries the family in stored entries
 * and in packed keys, so that an IPv4 entry and an IPv6 entry with equal bytes stay apart.
 */
struct kedge_packed_key {
  uint64_t word[KEDGE_KEY_WORDS];
};
void kedge_key_packed(const struct kedge_flow_key *key, unsigned family, struct kedge_packed_key *packed);
/* `key` as its shape sees it: what it leaves open is 0. */
void kedge_key_masked(const struct kedge_flow_key *key, const struct kedge_shape *shape, unsigned family,
                      struct kedge_flow_key *masked);
/* A shape's mask over packed keys; the family always counts. */
void kedge_shape_mask(const struct kedge_shape *shape, unsigned family, uint64_t mask[KEDGE_KEY_WORDS]);
/* Whether a sieve's piece may begin at byte `at` of a packed key of that family: it must not leave its word. */
static inline bool kedge_piece_is_good(unsigned at, unsigned family)
{
  return at < 8 * KEDGE_KEY_WORDS_OF(family) && at % 8 != 7;
}
/* The 16 bits of a packed key from byte `at` on; `at` below 8 * KEDGE_KEY_WORDS. */
static inline unsigned kedge_piece(const uint64_t *word, unsigned at)
{
  return (unsigned)(word[at / 8] >> at % 8 * 8) & 0xffffu;
}
/* Where a piece stands in a sieve. */
static inline unsigned kedge_piece_folded(unsigned piece)
{
  return (piece * 0x9e35u & 0xffffu) >> (16 - KEDGE_SIEVE_BITS);
}
/* Over the masked words of a packed key; the low bits are the place of its slot, the high ones the slot's mark. */
uint64_t kedge_key_hash(const uint64_t *word, const uint64_t *mask, unsigned family, unsigned shape, uint32_t seed);
/* What a slot holds above index + 1, which alone says that the slot is taken. */
#define KEDGE_SLOT_MARK(hash) ((uint32_t)((hash) >> 32) & ~((1u << KEDGE_SLOT_INDEX_BITS) - 1))
/* Of entries that match the same packet the one of greater weight decides. Never 0. */
static inline uint64_t kedge_entry_weight(uint16_t rank, uint8_t verdict, uint32_t id)
{
  return (uint64_t)rank << 48 | (uint64_t)(uint8_t)~verdict << 32 | (uint32_t)~id;
}

#ifdef __cplusplus
}
#endif
#endif
