/*
 * Random rule sets and packets: the lookup against a plain reading of every rule, and the check of tables against
 * every part of a table changed on its own. Usage: random_rules SETS SEED; prints what it saw as JSON.
 *
 * The plain reading must share nothing with the core but the rules' own struct.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/builder.h"
#include "../../core/classify.h"

#define MOST_RULES 600u
#define PACKETS 400u

static uint64_t state;
static uint64_t next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
static unsigned below(unsigned n) { return (unsigned)((next() >> 33) % n); }
static bool once_in(unsigned n) { return below(n) == 0; }

/* Few values, so that rules of several shapes match one packet; their bits differ at every place of an address. */
static void address(uint8_t *to, unsigned family, unsigned pool)
{
  unsigned bytes = family == KEDGE_FAMILY_IP6 ? 16 : 4;
  memset(to, 0, 16);
  to[0] = 10;
  for (unsigned i = 1; i < bytes; i++)
    to[i] = once_in(3) ? (uint8_t)below(pool) : 0;
  if (once_in(3))
    to[below(bytes)] ^= (uint8_t)(1u << below(8));
}

static void key_of(struct kedge_flow_key *key, unsigned family, unsigned pool)
{
  static const uint8_t PROTOCOLS[] = {6, 17, 132};
  memset(key, 0, sizeof(*key));
  address(key->source, family, pool);
  address(key->destination, family, pool);
  key->protocol = PROTOCOLS[below(3)];
  key->source_port = (uint16_t)(below(3) * 257);
  key->destination_port = (uint16_t)(once_in(2) ? below(pool) : below(65536));
  key->source_zone = (uint8_t)(1 + below(3));
  key->destination_zone = (uint8_t)(1 + below(3));
}

static void shape_of(struct kedge_shape *shape, unsigned family)
{
  unsigned width = family == KEDGE_FAMILY_IP6 ? 128 : 32;
  memset(shape, 0, sizeof(*shape));
  shape->source_prefix = (uint8_t)(once_in(3) ? 0 : below(width + 1));
  shape->destination_prefix = (uint8_t)(once_in(3) ? width : once_in(2) ? 0 : below(width + 1));
  shape->match_protocol = (uint8_t)below(2);
  if (shape->match_protocol) {
    shape->match_source_port = once_in(4);
    shape->match_destination_port = (uint8_t)below(2);
  }
  shape->match_source_zone = once_in(3);
  shape->match_destination_zone = once_in(3);
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
  for (unsigned i = 0; i < bits; i++)
    if (((a[i / 8] ^ b[i / 8]) & 0x80u >> i % 8) != 0)
      return false;
  return true;
}

static bool rule_matches(const struct kedge_rule *r, const struct kedge_packet *packet, unsigned from, unsigned to)
{
  const struct kedge_shape *s = &r->shape;
  const struct kedge_flow_key *key = &packet->key;
  if (packet->later_fragment && (s->match_source_port || s->match_destination_port))
    return false;
  return r->family == packet->family && same_bits(r->key.source, key->source, s->source_prefix) &&
         same_bits(r->key.destination, key->destination, s->destination_prefix) &&
         (!s->match_protocol || r->key.protocol == key->protocol) &&
         (!s->match_source_port || r->key.source_port == key->source_port) &&
         (!s->match_destination_port || r->key.destination_port == key->destination_port) &&
         (!s->match_source_zone || r->key.source_zone == from) &&
         (!s->match_destination_zone || r->key.destination_zone == to);
}

/* Highest rank, then tighter verdict, then lower id; NULL where none matches. */
static const struct kedge_rule *best_of(const struct kedge_rules *rules, const struct kedge_packet *packet,
                                        unsigned from, unsigned to, unsigned *matching)
{
  const struct kedge_rule *best = NULL;
  for (uint32_t i = 0; i < rules->rules; i++) {
    const struct kedge_rule *r = &rules->rule[i];
    if (!rule_matches(r, packet, from, to))
      continue;
    ++*matching;
    if (best == NULL || r->rank > best->rank ||
        (r->rank == best->rank &&
         (r->verdict < best->verdict || (r->verdict == best->verdict && r->id < best->id))))
      best = r;
  }
  return best;
}

/* Each part of a table that is made from its entries; one bit of it is turned and the checksum made right. */
enum part { MASK, HIGHEST, SIEVED, SIEVE, SLOTS, SLOT, ENTRY_KEY, ENTRY_SHAPE, PARTS };

static bool turn(struct kedge_level_table *table, enum part part)
{
  unsigned f = below(KEDGE_FAMILIES);
  struct kedge_family_table *family = &table->family[f];
  struct kedge_entry *entry = &table->entry[below(table->entries)];
  if (family->shapes == 0)
    return false;
  unsigned s = below(family->shapes);
  switch (part) {
  case MASK: family->mask[s][below(KEDGE_KEY_WORDS)] ^= UINT64_C(1) << below(64); return true;
  case HIGHEST: family->highest[s] ^= (uint16_t)(1u << below(16)); return true;
  case SIEVED: family->sieved[below(KEDGE_SIEVES)] = (uint8_t)(8 * KEDGE_KEY_WORDS_OF(f) + below(200)); return true;
  case SIEVE: {
    struct kedge_sieve *sieve = &family->sieve[below(KEDGE_SIEVES)];
    sieve->shapes[below(1u << KEDGE_SIEVE_BITS)] ^= (uint16_t)(1u << below(16));
    return true;
  }
  case SLOTS: table->slots ^= 1u << below(32); return true;
  case SLOT: table->slot[below(table->slots)] ^= 1u << below(32); return true;
  case ENTRY_KEY: {
    uint8_t *key = (uint8_t *)&entry->key;
    key[below(sizeof(entry->key))] ^= (uint8_t)(1u << below(8));
    return true;
  }
  default: entry->shape ^= (uint8_t)(1u << below(8)); return true;
  }
}

int main(int argc, char **argv)
{
  unsigned long sets = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
  state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
  struct kedge_level_table *table = malloc(sizeof(*table)), *changed = malloc(sizeof(*changed));
  struct kedge_rule *rule = calloc(MOST_RULES, sizeof(*rule));
  unsigned long judged = 0, by_entry = 0, several = 0, fragments = 0, full_families = 0, turned[PARTS] = {0};
  if (table == NULL || changed == NULL || rule == NULL)
    return 1;
  for (unsigned long set = 0; set < sets; set++) {
    struct kedge_shape shapes[KEDGE_FAMILIES][KEDGE_MAX_SHAPES];
    unsigned kinds = once_in(2) ? KEDGE_MAX_SHAPES : 1 + below(KEDGE_MAX_SHAPES);
    unsigned pool = once_in(2) ? 4 : 200, ranks = 1 + below(5);
    for (unsigned i = 0; i < KEDGE_FAMILIES * KEDGE_MAX_SHAPES; i++)
      shape_of(&shapes[i % 2][i / 2], i % 2);
    struct kedge_rules rules = {.level = 3, .rule = rule, .rules = 1 + below(once_in(2) ? 40 : MOST_RULES)};
    for (unsigned i = 0; i < 256; i++)
      rules.pair[i / 16][i % 16] = (uint8_t)(1 + below(3));
    for (uint32_t i = 0; i < rules.rules; i++) {
      struct kedge_rule *r = &rule[i];
      memset(r, 0, sizeof(*r));
      r->family = (uint8_t)below(2);
      r->shape = shapes[r->family][below(kinds)];
      key_of(&r->key, r->family, pool);
      r->id = (i * 7919u) % KEDGE_MAX_ENTRIES;
      r->rank = (uint16_t)(below(ranks) * 9999);
      r->verdict = (uint8_t)(1 + below(3));
    }
    struct kedge_build_report report;
    if (kedge_table_build(&rules, table, &report) != KEDGE_BUILD_OK || !kedge_table_holds(table, 3, 0)) {
      fprintf(stderr, "set %lu: %u rules are not built, or do not hold\n", set, rules.rules);
      return 1;
    }
    full_families += report.shapes[0] == KEDGE_MAX_SHAPES;
    full_families += report.shapes[1] == KEDGE_MAX_SHAPES;
    for (unsigned n = 0; n < PACKETS; n++) {
      struct kedge_packet packet = {.kind = KEDGE_PACKET_FLOW, .family = (uint8_t)below(2)};
      const struct kedge_rule *like = &rule[below(rules.rules)];
      if (once_in(3)) {
        key_of(&packet.key, packet.family, pool);
      } else {
        packet.family = like->family;
        packet.key = like->key;
        if (once_in(2))
          packet.key.destination_port = (uint16_t)below(pool);
        if (once_in(2))
          packet.key.source[below(packet.family == KEDGE_FAMILY_IP6 ? 16 : 4)] ^= (uint8_t)(1u << below(8));
      }
      unsigned from = once_in(2) ? packet.key.source_zone : 1 + below(3), to = packet.key.destination_zone;
      if (once_in(6)) {
        packet.later_fragment = 1;
        packet.key.source_port = packet.key.destination_port = 0;
        fragments++;
      }
      /* The packet's own zones say nothing: the ports' do. */
      packet.key.source_zone = packet.key.destination_zone = 0;
      struct kedge_judgement j;
      unsigned matching = 0;
      kedge_classify(table, &packet, from, to, &j);
      const struct kedge_rule *best = best_of(&rules, &packet, from, to, &matching);
      unsigned verdict = best != NULL            ? best->verdict
                         : packet.later_fragment ? (unsigned)KEDGE_VERDICT_DROP
                                                 : rules.pair[from][to];
      if (j.verdict != verdict || j.entry != (best == NULL ? KEDGE_NO_ENTRY : best->id) ||
          j.probes > KEDGE_MAX_SHAPES * KEDGE_MAX_PROBES) {
        fprintf(stderr, "set %lu packet %u: verdict %u by entry %u, read as %u by %u\n", set, n, j.verdict, j.entry,
                verdict, best == NULL ? KEDGE_NO_ENTRY : best->id);
        return 1;
      }
      judged++;
      by_entry += best != NULL;
      several += matching > 1;
    }
    for (unsigned part = 0; part < PARTS; part++) {
      memcpy(changed, table, sizeof(*changed));
      if (!turn(changed, part))
        continue;
      kedge_table_stamp(changed, 0);
      if (kedge_table_holds(changed, 3, 0)) {
        fprintf(stderr, "set %lu: a table with part %u changed still holds\n", set, part);
        return 1;
      }
      turned[part]++;
    }
  }
  printf("{\"judged\":%lu,\"by_entry\":%lu,\"several\":%lu,\"fragments\":%lu,\"full_families\":%lu,\"turned\":[",
         judged, by_entry, several, fragments, full_families);
  for (unsigned part = 0; part < PARTS; part++)
    printf("%s%lu", part == 0 ? "" : ",", turned[part]);
  printf("]}\n");
  free(table);
  free(changed);
  free(rule);
  return 0;
}
