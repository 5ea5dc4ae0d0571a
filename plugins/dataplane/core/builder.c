/*
 * The implementation of builder.h.
 *
 * It must give the same bytes for the same rules, and no table that the lookup could not search whole.
 */
#include "builder.h"

#include <stdlib.h>
#include <string.h>

#include "classify.h"
#include "kedge/segment.h"

#define SEEDS 64u /* tried before giving up; the first one almost always does */
#define ALL_FLAGS (KEDGE_LEVEL_CLASSIFY | KEDGE_LEVEL_ARP | KEDGE_LEVEL_ND | KEDGE_LEVEL_ICMP_ERROR)

static bool has_ports(uint8_t protocol)
{
  return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

static bool verdict_is_good(unsigned verdict) { return verdict >= KEDGE_VERDICT_DROP && verdict <= KEDGE_VERDICT_PASS; }

static bool shape_is_good(const struct kedge_shape *s, unsigned family)
{
  unsigned width = family == KEDGE_FAMILY_IP6 ? 128 : 32;
  return s->source_prefix <= width && s->destination_prefix <= width && s->match_protocol <= 1 &&
         s->match_source_port <= 1 && s->match_destination_port <= 1 && s->match_source_zone <= 1 &&
         s->match_destination_zone <= 1 && s->reserved == 0 &&
         (s->match_protocol == 1 || (s->match_source_port == 0 && s->match_destination_port == 0));
}

static bool rule_is_good(const struct kedge_rule *r)
{
  if (r->family >= KEDGE_FAMILIES || !shape_is_good(&r->shape, r->family) || !verdict_is_good(r->verdict) ||
      r->id >= KEDGE_MAX_ENTRIES)
    return false;
  /* ICMP has a type and code where others have their destination port, and no source port. */
  bool icmp = r->key.protocol == (r->family == KEDGE_FAMILY_IP6 ? 58 : 1);
  if (r->shape.match_source_port && !has_ports(r->key.protocol))
    return false;
  if (r->shape.match_destination_port && !has_ports(r->key.protocol) && !icmp)
    return false;
  if (r->shape.match_source_zone && (r->key.source_zone == KEDGE_ZONE_NONE || r->key.source_zone >= KEDGE_MAX_ZONES))
    return false;
  return !r->shape.match_destination_zone ||
         (r->key.destination_zone != KEDGE_ZONE_NONE && r->key.destination_zone < KEDGE_MAX_ZONES);
}

/* The shape's place in its family, added when new. Counts on beyond the limit, so that the error can say how many. */
struct shape_set {
  struct kedge_shape shape[KEDGE_MAX_ENTRIES];
  uint32_t count;
};

static uint32_t shape_place(struct shape_set *set, const struct kedge_shape *shape)
{
  for (uint32_t i = 0; i < set->count; i++)
    if (memcmp(&set->shape[i], shape, sizeof(*shape)) == 0)
      return i;
  set->shape[set->count] = *shape;
  return set->count++;
}

/* Equal shape and key together, the one that stays first. Keys carry their family. */
static int entry_order(const void *left, const void *right)
{
  const struct kedge_entry *a = left, *b = right;
  if (a->shape != b->shape)
    return a->shape < b->shape ? -1 : 1;
  int keys = memcmp(&a->key, &b->key, sizeof(a->key));
  if (keys != 0)
    return keys;
  return kedge_entry_before(a, b) ? -1 : kedge_entry_before(b, a) ? 1 : 0;
}

/* Places every entry; the longest way from its own place, or 0 where one does not fit. */
static uint32_t place(struct kedge_level_table *table, uint32_t seed)
{
  uint32_t longest = 1;
  memset(table->slot, 0, sizeof(table->slot));
  for (uint32_t i = 0; i < table->entries; i++) {
    uint32_t at = kedge_key_hash(&table->entry[i].key, table->entry[i].shape, seed);
    uint32_t probe = 1;
    while (table->slot[at & (KEDGE_SLOTS - 1)] != 0) {
      at++;
      if (++probe > KEDGE_MAX_PROBES)
        return 0;
    }
    table->slot[at & (KEDGE_SLOTS - 1)] = i + 1;
    if (probe > longest)
      longest = probe;
  }
  table->seed = seed;
  return longest;
}

static enum kedge_build fill(const struct kedge_rules *rules, struct kedge_level_table *table, struct shape_set *sets,
                             struct kedge_build_report *report)
{
  for (uint32_t i = 0; i < rules->rules; i++) {
    const struct kedge_rule *r = &rules->rule[i];
    if (!rule_is_good(r)) {
      report->at = i;
      return KEDGE_BUILD_RULE;
    }
    struct kedge_entry *e = &table->entry[i];
    uint32_t shape = shape_place(&sets[r->family], &r->shape);
    kedge_key_masked(&r->key, &r->shape, r->family, &e->key);
    e->id = r->id;
    e->verdict = r->verdict;
    e->rank = r->rank;
    e->shape = (uint8_t)(shape < KEDGE_MAX_SHAPES ? shape : 0); /* beyond the limit nothing is kept */
  }
  for (uint32_t f = 0; f < KEDGE_FAMILIES; f++) {
    report->shapes[f] = sets[f].count;
    if (sets[f].count > KEDGE_MAX_SHAPES) {
      report->at = sets[f].count;
      report->family = f;
      return KEDGE_BUILD_SHAPES;
    }
    table->family[f].shapes = sets[f].count;
    memcpy(table->family[f].shape, sets[f].shape, sets[f].count * sizeof(struct kedge_shape));
  }
  qsort(table->entry, rules->rules, sizeof(struct kedge_entry), entry_order);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < rules->rules; i++) {
    if (kept > 0 && table->entry[i].shape == table->entry[kept - 1].shape &&
        memcmp(&table->entry[i].key, &table->entry[kept - 1].key, sizeof(struct kedge_flow_key)) == 0)
      continue;
    table->entry[kept++] = table->entry[i];
  }
  memset(&table->entry[kept], 0, (rules->rules - kept) * sizeof(struct kedge_entry));
  table->entries = kept;
  report->entries = kept;
  report->duplicates = rules->rules - kept;
  for (uint32_t seed = 1; seed <= SEEDS; seed++) {
    report->longest = place(table, seed);
    if (report->longest != 0)
      return KEDGE_BUILD_OK;
  }
  return KEDGE_BUILD_PROBES;
}

enum kedge_build kedge_table_build(const struct kedge_rules *rules, struct kedge_level_table *table,
                                   struct kedge_build_report *report)
{
  memset(table, 0, sizeof(*table));
  memset(report, 0, sizeof(*report));
  if (rules->level < KEDGE_LEVEL_LOCKDOWN || rules->level > KEDGE_LEVEL_NORMAL || (rules->flags & ~ALL_FLAGS) != 0)
    return KEDGE_BUILD_LEVEL;
  for (uint32_t i = 0; i < KEDGE_MAX_ZONES * KEDGE_MAX_ZONES; i++)
    if (!verdict_is_good(rules->pair[i / KEDGE_MAX_ZONES][i % KEDGE_MAX_ZONES])) {
      report->at = i;
      return KEDGE_BUILD_PAIR;
    }
  if (rules->rules > KEDGE_MAX_ENTRIES) {
    report->at = rules->rules;
    return KEDGE_BUILD_ENTRIES;
  }
  struct shape_set *sets = calloc(KEDGE_FAMILIES, sizeof(*sets));
  if (sets == NULL)
    return KEDGE_BUILD_PROBES;
  enum kedge_build outcome = fill(rules, table, sets, report);
  free(sets);
  if (outcome != KEDGE_BUILD_OK) {
    memset(table, 0, sizeof(*table));
    return outcome;
  }
  table->level = rules->level;
  table->flags = rules->flags;
  memcpy(table->pair, rules->pair, sizeof(table->pair));
  table->valid = 1;
  kedge_table_stamp(table, rules->generation);
  return KEDGE_BUILD_OK;
}

uint32_t kedge_table_checksum(const struct kedge_level_table *table)
{
  return kedge_crc32(0, (const uint8_t *)table + sizeof(table->checksum), sizeof(*table) - sizeof(table->checksum));
}

void kedge_table_stamp(struct kedge_level_table *table, uint64_t generation)
{
  table->generation = generation;
  table->checksum = kedge_table_checksum(table);
}

bool kedge_table_holds(const struct kedge_level_table *table, uint32_t level, uint64_t generation)
{
  if (table->valid != 1 || table->level != level || table->generation != generation ||
      (table->flags & ~ALL_FLAGS) != 0 || table->entries > KEDGE_MAX_ENTRIES)
    return false;
  if (kedge_table_checksum(table) != table->checksum)
    return false;
  for (unsigned i = 0; i < KEDGE_MAX_ZONES * KEDGE_MAX_ZONES; i++)
    if (!verdict_is_good(table->pair[i / KEDGE_MAX_ZONES][i % KEDGE_MAX_ZONES]))
      return false;
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++) {
    if (table->family[f].shapes > KEDGE_MAX_SHAPES)
      return false;
    for (unsigned s = 0; s < table->family[f].shapes; s++)
      if (!shape_is_good(&table->family[f].shape[s], f))
        return false;
  }
  for (uint32_t i = 0; i < table->entries; i++) {
    const struct kedge_entry *e = &table->entry[i];
    if (e->key.reserved >= KEDGE_FAMILIES || e->shape >= table->family[e->key.reserved].shapes ||
        !verdict_is_good(e->verdict) || e->id >= KEDGE_MAX_ENTRIES)
      return false;
  }
  for (uint32_t i = 0; i < KEDGE_SLOTS; i++)
    if (table->slot[i] > table->entries)
      return false;
  return true;
}
