/*
 * Rules and level tables for the targets: a few fixed rules, rules off an input, and what they mean when they are
 * gone through one by one.
 *
 * It must not look anything up the way that the core does.
 */
#ifndef KEDGE_FUZZ_RULE_INPUT_H
#define KEDGE_FUZZ_RULE_INPUT_H

#include "builder.h"
#include "classify.h"
#include "input.h"

/* Addresses stand close together, 10.77.0.N and fd77::N, so that rules and frames meet. */
static inline void address_of(uint8_t to[16], unsigned family, unsigned host)
{
  memset(to, 0, 16);
  if (family == KEDGE_FAMILY_IP4) {
    to[0] = 10, to[1] = 77, to[3] = (uint8_t)host;
  } else {
    to[0] = 0xfd, to[1] = 0x77, to[15] = (uint8_t)host;
  }
}

/* One rule from 16 bytes; seldom one that the builder refuses. */
static inline void rule_take(struct input *in, struct kedge_rule *rule)
{
  static const uint8_t SHARE[8] = {0, 4, 8, 7, 8, 2, 8, 9};
  memset(rule, 0, sizeof(*rule));
  unsigned flags = (unsigned)take(in, 1), prefixes = (unsigned)take(in, 1);
  rule->family = flags & 1u;
  unsigned width = rule->family == KEDGE_FAMILY_IP6 ? 128 : 32;
  rule->shape.source_prefix = (uint8_t)(SHARE[prefixes & 7u] * width / 8);
  rule->shape.destination_prefix = (uint8_t)(SHARE[prefixes >> 3 & 7u] * width / 8);
  rule->shape.match_protocol = flags >> 1 & 1u;
  rule->shape.match_source_port = flags >> 2 & 1u;
  rule->shape.match_destination_port = flags >> 3 & 1u;
  rule->shape.match_source_zone = flags >> 4 & 1u;
  rule->shape.match_destination_zone = flags >> 5 & 1u;
  address_of(rule->key.source, rule->family, (unsigned)take(in, 1));
  address_of(rule->key.destination, rule->family, (unsigned)take(in, 1));
  rule->key.protocol = (uint8_t)take(in, 1);
  rule->key.source_port = (uint16_t)take(in, 2);
  rule->key.destination_port = (uint16_t)take(in, 2);
  unsigned zones = (unsigned)take(in, 1);
  rule->key.source_zone = zones & 15u;
  rule->key.destination_zone = (uint8_t)(zones >> 4);
  rule->rank = (uint16_t)take(in, 1);
  rule->verdict = (uint8_t)(1 + take(in, 1) % 3);
  rule->id = (uint32_t)take(in, 2) % (KEDGE_MAX_ENTRIES + 1u);
  take(in, 2);
}

/* `count` rules that are always the same: few addresses, a dozen shapes, all kinds of verdicts. */
static inline void rules_fixed(struct kedge_rule *rule, unsigned count)
{
  for (unsigned i = 0; i < count; i++) {
    static const uint16_t PORT[4] = {161, 443, 5060, 7777};
    struct kedge_rule *r = &rule[i];
    memset(r, 0, sizeof(*r));
    r->family = i & 1u;
    unsigned width = r->family == KEDGE_FAMILY_IP6 ? 128 : 32;
    r->shape.source_prefix = (uint8_t)((i >> 1 & 1u) * width);
    r->shape.destination_prefix = (uint8_t)((i >> 2 & 1u) * width / 4 * 3);
    address_of(r->key.source, r->family, i % 61);
    address_of(r->key.destination, r->family, i % 7 * 10);
    r->shape.match_protocol = i % 5 != 0;
    r->key.protocol = i % 3 == 0 ? 6 : 17;
    r->shape.match_destination_port = r->shape.match_protocol != 0 && i % 4 != 0;
    r->key.destination_port = i < 256 ? PORT[i >> 3 & 3u] : (uint16_t)(i * 31u);
    r->shape.match_source_zone = i % 7 == 0;
    r->key.source_zone = 1 + i % 15;
    r->rank = (uint16_t)(i % 5);
    r->verdict = (uint8_t)(1 + i % 3);
    r->id = i;
  }
}

static inline void rule_set_of(struct kedge_rules *set, const struct kedge_rule *rule, unsigned count, unsigned level,
                               uint64_t generation)
{
  *set = (struct kedge_rules){.level = level, .generation = generation, .rule = rule, .rules = count,
                              .flags = KEDGE_LEVEL_ARP | (level > 2 ? KEDGE_LEVEL_ND | KEDGE_LEVEL_ICMP_ERROR : 0)};
  for (unsigned from = 0; from < KEDGE_MAX_ZONES; from++)
    for (unsigned to = 0; to < KEDGE_MAX_ZONES; to++)
      set->pair[from][to] = (uint8_t)(1 + (from * 7 + to * 3 + level) % 3);
}

static inline bool prefix_agrees(const uint8_t *a, const uint8_t *b, unsigned bits)
{
  for (unsigned i = 0; i < bits; i++)
    if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1u)
      return false;
  return true;
}

static inline bool rule_matches(const struct kedge_rule *r, const struct kedge_packet *p, unsigned from, unsigned to)
{
  const struct kedge_shape *s = &r->shape;
  return r->family == p->family && prefix_agrees(r->key.source, p->key.source, s->source_prefix) &&
         prefix_agrees(r->key.destination, p->key.destination, s->destination_prefix) &&
         (!s->match_protocol || r->key.protocol == p->key.protocol) &&
         (!s->match_source_port || (!p->later_fragment && r->key.source_port == p->key.source_port)) &&
         (!s->match_destination_port || (!p->later_fragment && r->key.destination_port == p->key.destination_port)) &&
         (!s->match_source_zone || r->key.source_zone == from) &&
         (!s->match_destination_zone || r->key.destination_zone == to);
}

static inline bool rule_before(const struct kedge_rule *a, const struct kedge_rule *b)
{
  if (a->rank != b->rank)
    return a->rank > b->rank;
  return a->verdict != b->verdict ? a->verdict < b->verdict : a->id < b->id;
}

/* The best rule of a flow between two zones that exist, or NULL. */
static inline const struct kedge_rule *rule_for(const struct kedge_rules *set, const struct kedge_packet *p, unsigned from,
                                                unsigned to)
{
  const struct kedge_rule *best = NULL;
  for (uint32_t i = 0; i < set->rules; i++)
    if (rule_matches(&set->rule[i], p, from, to) && (best == NULL || rule_before(&set->rule[i], best)))
      best = &set->rule[i];
  return best;
}

/* What holds for every judgement, whatever the table is. */
static inline void judgement_is_in_range(const struct kedge_judgement *j)
{
  HOLDS(j->verdict >= KEDGE_VERDICT_DROP && j->verdict <= KEDGE_VERDICT_PASS && j->reason < KEDGE_REASONS);
  HOLDS(j->entry == KEDGE_NO_ENTRY || j->entry < KEDGE_MAX_ENTRIES);
  HOLDS((j->entry == KEDGE_NO_ENTRY) == (j->reason != KEDGE_REASON_ENTRY));
  HOLDS(j->probes <= KEDGE_MAX_SHAPES * KEDGE_MAX_PROBES);
  HOLDS(j->source_zone < KEDGE_MAX_ZONES && j->destination_zone < KEDGE_MAX_ZONES);
}

/* Offsets of the 8-byte words of a table that are not zero: where damage means something. */
struct places {
  uint32_t *at;
  uint32_t count;
};

static inline void places_find(struct places *places, const void *bytes, size_t size)
{
  places->at = calloc(size / 8, sizeof(*places->at));
  if (places->at == NULL)
    abort();
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)bytes + i, 8);
    if (word != 0)
      places->at[places->count++] = (uint32_t)i;
  }
}

/* Where a 2-byte pick falls: among the first 1,024 bytes, or wherever something stands. */
static inline size_t place_of(const struct places *places, unsigned pick)
{
  if ((pick & 1u) != 0)
    return (pick >> 1) % 1024u;
  return places->at[(pick >> 1) * 7919u % places->count] + (pick >> 13);
}

/* CRC-32 of a whole table takes longer than all else together: of long ranges only a sample is summed. */
uint32_t __real_kedge_crc32(uint32_t crc, const void *bytes, size_t length);
uint32_t __wrap_kedge_crc32(uint32_t crc, const void *bytes, size_t length);
uint32_t __wrap_kedge_crc32(uint32_t crc, const void *bytes, size_t length)
{
  return __real_kedge_crc32(crc, bytes, length > 4096 ? 4096 : length);
}

#endif
