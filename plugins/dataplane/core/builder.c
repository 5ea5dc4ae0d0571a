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

/* By shape, then by key, which carries its family. */
static int key_order(const struct kedge_entry *a, const struct kedge_entry *b)
{
  if (a->shape != b->shape)
    return a->shape < b->shape ? -1 : 1;
  return memcmp(&a->key, &b->key, sizeof(a->key));
}

/* Equal shape and key together, the one that stays first. */
static int entry_order(const void *left, const void *right)
{
  const struct kedge_entry *a = left, *b = right;
  int keys = key_order(a, b);
  if (keys != 0)
    return keys;
  uint64_t weight = kedge_entry_weight(a->rank, a->verdict, a->id);
  uint64_t other = kedge_entry_weight(b->rank, b->verdict, b->id);
  return weight > other ? -1 : weight < other;
}

static uint64_t entry_hash(const struct kedge_level_table *table, const struct kedge_entry *e, uint32_t seed)
{
  unsigned family = e->key.reserved;
  struct kedge_packed_key packed;
  kedge_key_packed(&e->key, family, &packed);
  return kedge_key_hash(packed.word, table->family[family].mask[e->shape], family, e->shape, seed);
}

/* At most a quarter of them taken; few for few entries, so that these stay in the cache. */
static uint32_t slots_for(uint32_t entries)
{
  uint32_t slots = 64;
  while (slots < KEDGE_SLOTS && slots < entries * 4)
    slots *= 2;
  return slots;
}

/* Places every entry; the longest way from its own place, or 0 where one does not fit. */
static uint32_t place(struct kedge_level_table *table, uint32_t seed)
{
  uint32_t longest = 1;
  memset(table->slot, 0, sizeof(table->slot));
  for (uint32_t i = 0; i < table->entries; i++) {
    uint64_t hash = entry_hash(table, &table->entry[i], seed);
    uint32_t at = (uint32_t)hash;
    uint32_t probe = 1;
    while (table->slot[at & (table->slots - 1)] != 0) {
      at++;
      if (++probe > KEDGE_MAX_PROBES)
        return 0;
    }
    table->slot[at & (table->slots - 1)] = KEDGE_SLOT_MARK(hash) | (i + 1);
    if (probe > longest)
      longest = probe;
  }
  table->seed = seed;
  return longest;
}

/* ------------------------------------------------------------------- shapes */

/* Puts a family's shapes in falling order of their highest rank, equal ones as they came; entries follow. */
static void order_shapes(struct kedge_level_table *table, unsigned family, uint32_t rules)
{
  struct kedge_family_table *own = &table->family[family];
  struct kedge_shape shape[KEDGE_MAX_SHAPES];
  uint16_t highest[KEDGE_MAX_SHAPES] = {0};
  uint8_t place[KEDGE_MAX_SHAPES];
  for (uint32_t i = 0; i < rules; i++) {
    const struct kedge_entry *e = &table->entry[i];
    if (e->key.reserved == family && e->rank > highest[e->shape])
      highest[e->shape] = e->rank;
  }
  memcpy(shape, own->shape, sizeof(shape));
  for (uint32_t s = 0; s < own->shapes; s++) {
    place[s] = 0;
    for (uint32_t other = 0; other < own->shapes; other++)
      place[s] += highest[other] > highest[s] || (highest[other] == highest[s] && other < s);
    own->shape[place[s]] = shape[s];
    own->highest[place[s]] = highest[s];
    kedge_shape_mask(&shape[s], family, own->mask[place[s]]);
  }
  for (uint32_t i = 0; i < rules; i++)
    if (table->entry[i].key.reserved == family)
      table->entry[i].shape = place[table->entry[i].shape];
}

/* ------------------------------------------------------------------- sieves */

#define PIECES (1u << KEDGE_SIEVE_BITS)
#define MOST_OPEN_BITS 4 /* of a piece; a shape that leaves more open stands everywhere, which bounds the work */

/* One piece's sieve, and how often entries that are not open to it match each place. */
struct sifting {
  struct kedge_sieve sieve;
  uint32_t count[PIECES];
};

/* Over all entries of a family. What the lookup may not miss follows from this alone, in builder and check. */
static void sift(const struct kedge_level_table *table, unsigned family, unsigned at, struct sifting *sifting)
{
  const struct kedge_family_table *own = &table->family[family];
  unsigned open[KEDGE_MAX_SHAPES] = {0};
  uint16_t everywhere = 0;
  memset(sifting, 0, sizeof(*sifting));
  for (uint32_t s = 0; s < own->shapes; s++) {
    open[s] = 0xffffu & ~kedge_piece(own->mask[s], at);
    if (__builtin_popcount(open[s]) > MOST_OPEN_BITS)
      everywhere |= (uint16_t)(1u << s);
  }
  for (unsigned v = 0; v < PIECES; v++)
    sifting->sieve.shapes[v] = everywhere;
  for (uint32_t i = 0; i < table->entries; i++) {
    const struct kedge_entry *e = &table->entry[i];
    if (e->key.reserved != family || (everywhere >> e->shape & 1u) != 0)
      continue;
    struct kedge_packed_key packed;
    kedge_key_packed(&e->key, family, &packed);
    unsigned piece = kedge_piece(packed.word, at), share = 1u << MOST_OPEN_BITS >> __builtin_popcount(open[e->shape]);
    for (unsigned bits = open[e->shape];; bits = (bits - 1) & open[e->shape]) {
      unsigned v = kedge_piece_folded(piece | bits);
      sifting->sieve.shapes[v] |= (uint16_t)(1u << e->shape);
      sifting->count[v] += share;
      if (bits == 0)
        break;
    }
  }
}

#define KEY_BYTES (8u * KEDGE_KEY_WORDS)
#define WHOLE 65536u

/* Of WHOLE packets how many the piece leaves to shape `s`: half drawn like the entries, half of any value. */
static uint32_t left_to(const struct sifting *sifting, unsigned s, bool any_value)
{
  uint64_t like = 0, all = 0, values = 0;
  for (unsigned v = 0; v < PIECES; v++) {
    all += sifting->count[v];
    if ((sifting->sieve.shapes[v] >> s & 1u) != 0) {
      like += sifting->count[v];
      values++;
    }
  }
  uint64_t alike = all == 0 ? WHOLE : like * WHOLE / all;
  return (uint32_t)(any_value ? (alike + values * (WHOLE / PIECES)) / 2 : alike);
}

/*
 * Takes one after the other the piece that leaves the fewest shapes to look at. Of protocol and zones packets carry
 * few values, so what no entry names counts for nothing there; in addresses and ports a stranger may have any.
 */
static bool choose_sieves(struct kedge_level_table *table, unsigned family)
{
  struct kedge_family_table *own = &table->family[family];
  unsigned bytes = 8 * KEDGE_KEY_WORDS_OF(family);
  unsigned last_open = bytes - 6; /* the destination port */
  struct sifting *sifting = calloc(bytes, sizeof(*sifting));
  if (sifting == NULL)
    return false;
  uint32_t left[KEY_BYTES][KEDGE_MAX_SHAPES], so_far[KEDGE_MAX_SHAPES];
  for (unsigned at = 0; at < bytes; at++) {
    if (!kedge_piece_is_good(at, family))
      continue;
    sift(table, family, at, &sifting[at]);
    for (unsigned s = 0; s < own->shapes; s++)
      left[at][s] = left_to(&sifting[at], s, at <= last_open);
  }
  for (unsigned s = 0; s < own->shapes; s++)
    so_far[s] = WHOLE;
  for (unsigned i = 0; i < KEDGE_SIEVES; i++) {
    unsigned best = 0;
    uint64_t fewest = UINT64_MAX;
    for (unsigned at = 0; at < bytes; at++) {
      uint64_t sum = 0;
      if (!kedge_piece_is_good(at, family))
        continue;
      for (unsigned s = 0; s < own->shapes; s++)
        sum += (uint64_t)so_far[s] * left[at][s];
      if (sum < fewest) {
        fewest = sum;
        best = at;
      }
    }
    own->sieved[i] = (uint8_t)best;
    own->sieve[i] = sifting[best].sieve;
    for (unsigned s = 0; s < own->shapes; s++) {
      so_far[s] = (uint32_t)((uint64_t)so_far[s] * left[best][s] / WHOLE);
      left[best][s] = WHOLE; /* a second time it takes nothing away */
    }
  }
  free(sifting);
  return true;
}

/* -------------------------------------------------------------------- build */

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
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++)
    order_shapes(table, f, rules->rules);
  qsort(table->entry, rules->rules, sizeof(struct kedge_entry), entry_order);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < rules->rules; i++) {
    if (kept > 0 && key_order(&table->entry[i], &table->entry[kept - 1]) == 0)
      continue;
    table->entry[kept++] = table->entry[i];
  }
  memset(&table->entry[kept], 0, (rules->rules - kept) * sizeof(struct kedge_entry));
  table->entries = kept;
  report->entries = kept;
  report->duplicates = rules->rules - kept;
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++)
    if (!choose_sieves(table, f))
      return KEDGE_BUILD_PROBES;
  table->slots = slots_for(kept);
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

/* Shapes in order, each with its mask and its rank; every entry of one of them, masked, of good values, but once. */
static bool entries_hold(const struct kedge_level_table *table)
{
  uint16_t highest[KEDGE_FAMILIES][KEDGE_MAX_SHAPES] = {0};
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++) {
    const struct kedge_family_table *own = &table->family[f];
    if (own->shapes > KEDGE_MAX_SHAPES || own->reserved != 0)
      return false;
    for (unsigned s = 0; s < own->shapes; s++) {
      uint64_t mask[KEDGE_KEY_WORDS];
      if (!shape_is_good(&own->shape[s], f))
        return false;
      kedge_shape_mask(&own->shape[s], f, mask);
      if (memcmp(mask, own->mask[s], sizeof(mask)) != 0)
        return false;
    }
  }
  for (uint32_t i = 0; i < table->entries; i++) {
    const struct kedge_entry *e = &table->entry[i];
    struct kedge_flow_key masked;
    unsigned f = e->key.reserved;
    if (f >= KEDGE_FAMILIES || e->shape >= table->family[f].shapes || !verdict_is_good(e->verdict) ||
        e->id >= KEDGE_MAX_ENTRIES)
      return false;
    kedge_key_masked(&e->key, &table->family[f].shape[e->shape], f, &masked);
    if (memcmp(&masked, &e->key, sizeof(masked)) != 0 || (i > 0 && key_order(e - 1, e) >= 0))
      return false;
    if (e->rank > highest[f][e->shape])
      highest[f][e->shape] = e->rank;
  }
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++)
    for (unsigned s = 0; s < table->family[f].shapes; s++)
      if (table->family[f].highest[s] != highest[f][s] || (s > 0 && highest[f][s] > highest[f][s - 1]))
        return false;
  return true;
}

/* Every sieve is what the entries make it, so that it lets each of them through and nothing needless. */
static bool sieves_hold(const struct kedge_level_table *table)
{
  struct sifting sifting;
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++)
    for (unsigned i = 0; i < KEDGE_SIEVES; i++) {
      const struct kedge_family_table *own = &table->family[f];
      if (!kedge_piece_is_good(own->sieved[i], f))
        return false;
      sift(table, f, own->sieved[i], &sifting);
      if (memcmp(&sifting.sieve, &own->sieve[i], sizeof(sifting.sieve)) != 0)
        return false;
    }
  return true;
}

/* Every entry is found from its hash within the bound, and as many slots are taken as there are entries. */
static bool slots_hold(const struct kedge_level_table *table)
{
  uint32_t taken = 0, slots = table->slots;
  if (slots == 0 || slots > KEDGE_SLOTS || (slots & (slots - 1)) != 0 || table->reserved != 0)
    return false;
  for (uint32_t i = 0; i < KEDGE_SLOTS; i++)
    taken += table->slot[i] != 0;
  if (taken != table->entries || taken > slots / 4)
    return false;
  for (uint32_t i = 0; i < table->entries; i++) {
    uint64_t hash = entry_hash(table, &table->entry[i], table->seed);
    uint32_t at = (uint32_t)hash, probe = 0, slot;
    do {
      slot = table->slot[at++ & (slots - 1)];
    } while (slot != 0 && slot != (KEDGE_SLOT_MARK(hash) | (i + 1)) && ++probe < KEDGE_MAX_PROBES);
    if (slot == 0 || probe == KEDGE_MAX_PROBES)
      return false;
  }
  return true;
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
  return entries_hold(table) && sieves_hold(table) && slots_hold(table);
}
