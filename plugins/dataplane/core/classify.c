/*
 * The implementation of classify.h.
 *
 * It must look at no more than KEDGE_MAX_SHAPES times KEDGE_MAX_PROBES slots for a packet, whatever the
 * table says.
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

/* Multiply and fold over five words; the odd constants are fractions of the golden ratio and of roots. */
uint32_t kedge_key_hash(const struct kedge_flow_key *masked, unsigned shape, uint32_t seed)
{
  uint64_t h = ((uint64_t)seed << 8 | shape) * UINT64_C(0x9e3779b97f4a7c15);
  for (size_t i = 0; i < sizeof(*masked) / 8; i++) {
    uint64_t word;
    memcpy(&word, (const uint8_t *)masked + i * 8, 8);
    h = (h ^ word) * UINT64_C(0xbb67ae8584caa73b);
    h ^= h >> 32;
  }
  h *= UINT64_C(0x3c6ef372fe94f82b);
  return (uint32_t)(h >> 33);
}

bool kedge_entry_before(const struct kedge_entry *a, const struct kedge_entry *b)
{
  if (a->rank != b->rank)
    return a->rank > b->rank;
  if (a->verdict != b->verdict)
    return a->verdict < b->verdict;
  return a->id < b->id;
}

_Static_assert(KEDGE_VERDICT_DROP < KEDGE_VERDICT_DEPRIORITISE && KEDGE_VERDICT_DEPRIORITISE < KEDGE_VERDICT_PASS,
               "the tighter verdict is the smaller number");
_Static_assert((KEDGE_SLOTS & (KEDGE_SLOTS - 1)) == 0, "slots are masked, not divided");

/* ----------------------------------------------------------------- lookup */

static bool verdict_is_good(unsigned verdict) { return verdict >= KEDGE_VERDICT_DROP && verdict <= KEDGE_VERDICT_PASS; }

/* The best entry that matches, copied out so that it is judged and used as one; false where there is none. */
static bool lookup(const struct kedge_level_table *table, const struct kedge_packet *packet,
                   const struct kedge_flow_key *key, struct kedge_entry *best, uint32_t *probes)
{
  const struct kedge_family_table *family = &table->family[packet->family];
  uint32_t shapes = family->shapes <= KEDGE_MAX_SHAPES ? family->shapes : KEDGE_MAX_SHAPES;
  uint32_t entries = table->entries <= KEDGE_MAX_ENTRIES ? table->entries : KEDGE_MAX_ENTRIES;
  bool found = false;
  for (uint32_t s = 0; s < shapes; s++) {
    struct kedge_shape shape = family->shape[s];
    if (packet->later_fragment && (shape.match_source_port || shape.match_destination_port))
      continue;
    struct kedge_flow_key masked;
    kedge_key_masked(key, &shape, packet->family, &masked);
    uint32_t at = kedge_key_hash(&masked, s, table->seed);
    for (unsigned probe = 0; probe < KEDGE_MAX_PROBES; probe++, at++) {
      uint32_t index = table->slot[at & (KEDGE_SLOTS - 1)];
      ++*probes;
      if (index == 0 || index > entries)
        break;
      struct kedge_entry entry = table->entry[index - 1];
      if (entry.shape != s || memcmp(&entry.key, &masked, sizeof(masked)) != 0)
        continue;
      if (!verdict_is_good(entry.verdict) || entry.id >= KEDGE_MAX_ENTRIES)
        break;
      if (!found || kedge_entry_before(&entry, best)) {
        *best = entry;
        found = true;
      }
      break; /* the builder keeps one entry per shape and key */
    }
  }
  return found;
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
  struct kedge_flow_key key = packet->key;
  key.source_zone = (uint8_t)source_zone;
  key.destination_zone = (uint8_t)destination_zone;
  struct kedge_entry best = {0};
  if (lookup(table, packet, &key, &best, &j->probes)) {
    j->entry = best.id;
    judge(j, best.verdict, KEDGE_REASON_ENTRY);
    return;
  }
  if (packet->later_fragment) {
    judge(j, KEDGE_VERDICT_DROP, KEDGE_REASON_FRAGMENT);
    return;
  }
  unsigned pair = table->pair[source_zone][destination_zone];
  judge(j, verdict_is_good(pair) ? pair : KEDGE_VERDICT_DROP, KEDGE_REASON_PAIR);
}
