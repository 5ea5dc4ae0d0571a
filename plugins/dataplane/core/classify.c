/*
 * The implementation of classify.h.
 *
 * It must look at no more than KEDGE_MAX_SHAPES times KEDGE_MAX_PROBES slots for a packet, and at nothing outside
 * the table, whatever the table says.
 */
#include "classify.h"

#include <string.h>

/* ------------------------------------------------------------------- keys */

static void prefix_masked(uint8_t *to, const uint8_t *from, unsigned bits)
{
  unsigned bytes = bits / 8;
  memcpy(to, from, bytes);
  if (bits % 8 != 0)
    to[bytes] = (uint8_t)(from[bytes] & (0xff00u >> bits % 8));
}

void kedge_key_masked(const struct kedge_flow_key *key, const struct kedge_shape *shape, unsigned family,
                      struct kedge_flow_key *masked)
{
  unsigned width = family == KEDGE_FAMILY_IP6 ? 128 : 32;
  memset(masked, 0, sizeof(*masked));
  prefix_masked(masked->source, key->source, shape->source_prefix < width ? shape->source_prefix : width);
  prefix_masked(masked->destination, key->destination,
                shape->destination_prefix < width ? shape->destination_prefix : width);
  if (shape->match_protocol)
    masked->protocol = key->protocol;
  if (shape->match_source_port)
    masked->source_port = key->source_port;
  if (shape->match_destination_port)
    masked->destination_port = key->destination_port;
  if (shape->match_source_zone)
    masked->source_zone = key->source_zone;
  if (shape->match_destination_zone)
    masked->destination_zone = key->destination_zone;
  masked->reserved = (uint8_t)family;
}

static inline uint64_t load4(const uint8_t *p)
{
  uint32_t v;
  memcpy(&v, p, sizeof(v));
  return v;
}

static inline uint64_t load8(const uint8_t *p)
{
  uint64_t v;
  memcpy(&v, p, sizeof(v));
  return v;
}

/* Field by field: a wide load over narrow stores that have just been made would wait for them. */
static inline void packed(const struct kedge_flow_key *key, unsigned source_zone, unsigned destination_zone,
                          unsigned family, uint64_t word[KEDGE_KEY_WORDS])
{
  uint64_t last = (uint64_t)key->source_port | (uint64_t)key->destination_port << 16 | (uint64_t)key->protocol << 32 |
                  (uint64_t)source_zone << 40 | (uint64_t)destination_zone << 48 | (uint64_t)family << 56;
  if (family == KEDGE_FAMILY_IP6) {
    word[0] = load8(key->source);
    word[1] = load8(key->source + 8);
    word[2] = load8(key->destination);
    word[3] = load8(key->destination + 8);
    word[4] = last;
  } else {
    word[0] = load4(key->source) | load4(key->destination) << 32;
    word[1] = last;
    word[2] = word[3] = word[4] = 0;
  }
}

void kedge_key_packed(const struct kedge_flow_key *key, unsigned family, struct kedge_packed_key *to)
{
  packed(key, key->source_zone, key->destination_zone, family, to->word);
}

void kedge_shape_mask(const struct kedge_shape *shape, unsigned family, uint64_t mask[KEDGE_KEY_WORDS])
{
  struct kedge_flow_key every, masked;
  memset(&every, 0xff, sizeof(every));
  kedge_key_masked(&every, shape, family, &masked);
  packed(&masked, masked.source_zone, masked.destination_zone, family, mask);
  mask[KEDGE_KEY_WORDS_OF(family) - 1] |= UINT64_C(0xff) << 56;
}

/* Odd constants: fractions of the golden ratio and of square roots. */
static const uint64_t FACTOR[KEDGE_KEY_WORDS] = {UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xbb67ae8584caa73b),
                                                 UINT64_C(0x3c6ef372fe94f82b), UINT64_C(0xa54ff53a5f1d36f1),
                                                 UINT64_C(0x510e527fade682d1)};

/* Multiplied words added up, folded once: what differs between two shapes or seeds is added before the fold. */
static inline uint64_t hashed(const uint64_t *word, const uint64_t *mask, unsigned words, unsigned shape, uint32_t seed)
{
  uint64_t h = ((uint64_t)seed << 8 | shape) * UINT64_C(0x9b05688c2b3e6c1f);
  for (unsigned i = 0; i < words; i++)
    h += (word[i] & mask[i]) * FACTOR[i];
  h = (h ^ h >> 32) * UINT64_C(0x1f83d9abfb41bd6b);
  return h ^ h >> 29;
}

uint64_t kedge_key_hash(const uint64_t *word, const uint64_t *mask, unsigned family, unsigned shape, uint32_t seed)
{
  return hashed(word, mask, KEDGE_KEY_WORDS_OF(family), shape, seed);
}

_Static_assert(KEDGE_VERDICT_DROP < KEDGE_VERDICT_DEPRIORITISE && KEDGE_VERDICT_DEPRIORITISE < KEDGE_VERDICT_PASS,
               "the tighter verdict is the smaller number");
_Static_assert((KEDGE_SLOTS & (KEDGE_SLOTS - 1)) == 0, "slots are masked, not divided");

/* ----------------------------------------------------------------- lookup */

static bool verdict_is_good(unsigned verdict) { return verdict >= KEDGE_VERDICT_DROP && verdict <= KEDGE_VERDICT_PASS; }

/* Whether the entry is the masked key; `words` says how much of both counts. */
static inline bool entry_is(const struct kedge_entry *entry, const uint64_t *word, const uint64_t *mask,
                            unsigned family, unsigned words)
{
  const struct kedge_flow_key *key = &entry->key;
  uint64_t stored[KEDGE_KEY_WORDS], differs = key->reserved ^ family;
  packed(key, key->source_zone, key->destination_zone, family, stored);
  for (unsigned i = 0; i < words; i++)
    differs |= stored[i] ^ (word[i] & mask[i]);
  return differs == 0;
}

/*
 * The weight of the best entry that matches, 0 where there is none. `family` is a constant where this is called,
 * so that each family has a loop of its own without inner ones.
 */
static inline __attribute__((always_inline)) uint64_t lookup(const struct kedge_level_table *table,
                                                             const struct kedge_packet *packet, const uint64_t *word,
                                                             unsigned family, uint32_t *probes)
{
  const unsigned words = KEDGE_KEY_WORDS_OF(family);
  const struct kedge_family_table *own = &table->family[family];
  uint32_t shapes = own->shapes <= KEDGE_MAX_SHAPES ? own->shapes : KEDGE_MAX_SHAPES;
  uint32_t entries = table->entries <= KEDGE_MAX_ENTRIES ? table->entries : KEDGE_MAX_ENTRIES;
  uint32_t last_slot = (table->slots - 1) & (KEDGE_SLOTS - 1);
  uint32_t left = (1u << shapes) - 1;
  for (unsigned i = 0; i < KEDGE_SIEVES; i++)
    left &= own->sieve[i].shapes[kedge_piece_folded(kedge_piece(word, own->sieved[i] % (words * 8)))];
  uint64_t best = 0;
  for (; left != 0; left &= left - 1) {
    unsigned s = (unsigned)__builtin_ctz(left);
    if (best >> 48 > own->highest[s])
      break; /* nor can any shape behind it win */
    if (packet->later_fragment && (own->shape[s].match_source_port || own->shape[s].match_destination_port))
      continue;
    const uint64_t *mask = own->mask[s];
    uint64_t hash = hashed(word, mask, words, s, table->seed);
    uint32_t at = (uint32_t)hash;
    for (unsigned probe = 0; probe < KEDGE_MAX_PROBES; probe++, at++) {
      uint32_t slot = table->slot[at & last_slot];
      uint32_t index = slot & ((1u << KEDGE_SLOT_INDEX_BITS) - 1);
      ++*probes;
      if (index == 0 || index > entries)
        break;
      if ((slot ^ index) != KEDGE_SLOT_MARK(hash))
        continue;
      const struct kedge_entry *entry = &table->entry[index - 1];
      if (entry->shape != s || !entry_is(entry, word, mask, family, words))
        continue;
      uint32_t id = entry->id;
      uint8_t verdict = entry->verdict;
      if (!verdict_is_good(verdict) || id >= KEDGE_MAX_ENTRIES)
        break;
      uint64_t weight = kedge_entry_weight(entry->rank, verdict, id);
      if (weight > best)
        best = weight;
      break; /* the builder keeps one entry per shape and key */
    }
  }
  return best;
}

/* ---------------------------------------------------------------- minimum */

static bool minimum_passes(const struct kedge_packet *packet, unsigned from, unsigned to)
{
  bool asks = from == KEDGE_ZONE_MANAGEMENT;
  bool answers = to == KEDGE_ZONE_MANAGEMENT;
  if (!asks && !answers)
    return false;
  if (packet->kind == KEDGE_PACKET_ARP || packet->kind == KEDGE_PACKET_ND)
    return true;
  if (packet->kind != KEDGE_PACKET_FLOW || packet->later_fragment)
    return false;
  const struct kedge_flow_key *key = &packet->key;
  unsigned type = key->destination_port >> 8;
  switch (key->protocol) {
  case 1: return packet->family == KEDGE_FAMILY_IP4 && (type == 0 || type == 8);
  case 58: return packet->family == KEDGE_FAMILY_IP6 && (type == 128 || type == 129);
  case 6: return (asks && key->destination_port == 22) || (answers && key->source_port == 22);
  case 17: return (asks && key->destination_port == 161) || (answers && key->source_port == 161);
  default: return false;
  }
}

/* ---------------------------------------------------------------- verdict */

static void judge(struct kedge_judgement *j, unsigned verdict, enum kedge_reason reason)
{
  j->verdict = (uint8_t)verdict;
  j->reason = (uint8_t)reason;
}

void kedge_classify(const struct kedge_level_table *table, const struct kedge_packet *packet, unsigned source_zone,
                    unsigned destination_zone, struct kedge_judgement *j)
{
  memset(j, 0, sizeof(*j));
  j->entry = KEDGE_NO_ENTRY;
  if (source_zone == KEDGE_ZONE_NONE || source_zone >= KEDGE_MAX_ZONES || destination_zone == KEDGE_ZONE_NONE ||
      destination_zone >= KEDGE_MAX_ZONES) {
    judge(j, KEDGE_VERDICT_DROP, KEDGE_REASON_ZONE);
    return;
  }
  j->source_zone = (uint8_t)source_zone;
  j->destination_zone = (uint8_t)destination_zone;
  if (packet->kind == KEDGE_PACKET_ETHERTYPE) {
    judge(j, KEDGE_VERDICT_DROP, KEDGE_REASON_ETHERTYPE);
    return;
  }
  if (packet->kind < KEDGE_PACKET_FLOW || packet->kind > KEDGE_PACKET_ICMP_ERROR || packet->family >= KEDGE_FAMILIES) {
    judge(j, KEDGE_VERDICT_DROP, KEDGE_REASON_MALFORMED);
    return;
  }
  if (table == NULL || table->valid != 1) {
    judge(j, minimum_passes(packet, source_zone, destination_zone) ? KEDGE_VERDICT_PASS : KEDGE_VERDICT_DROP,
          KEDGE_REASON_MINIMUM);
    return;
  }
  if (packet->kind != KEDGE_PACKET_FLOW) {
    uint32_t flag = packet->kind == KEDGE_PACKET_ARP  ? KEDGE_LEVEL_ARP
                    : packet->kind == KEDGE_PACKET_ND ? KEDGE_LEVEL_ND
                                                      : KEDGE_LEVEL_ICMP_ERROR;
    judge(j, (table->flags & flag) != 0 ? KEDGE_VERDICT_PASS : KEDGE_VERDICT_DROP, KEDGE_REASON_NEIGHBOUR);
    return;
  }
  uint64_t word[KEDGE_KEY_WORDS];
  packed(&packet->key, source_zone, destination_zone, packet->family, word);
  uint64_t best = packet->family == KEDGE_FAMILY_IP6 ? lookup(table, packet, word, KEDGE_FAMILY_IP6, &j->probes)
                                                     : lookup(table, packet, word, KEDGE_FAMILY_IP4, &j->probes);
  if (best != 0) {
    j->entry = (uint32_t)~best;
    judge(j, (uint8_t)~(best >> 32), KEDGE_REASON_ENTRY);
    return;
  }
  if (packet->later_fragment) {
    judge(j, KEDGE_VERDICT_DROP, KEDGE_REASON_FRAGMENT);
    return;
  }
  unsigned pair = table->pair[source_zone][destination_zone];
  judge(j, verdict_is_good(pair) ? pair : KEDGE_VERDICT_DROP, KEDGE_REASON_PAIR);
}
