/*
 * The implementation of flows.h.
 *
 * It must take no randomness from outside: runs are compared with each other.
 */
#include "flows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_BEHIND 20u /* bytes of the longer transport header */

static uint64_t state;
static uint64_t next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
static unsigned below(unsigned n) { return (unsigned)((next() >> 32) % n); }

static void *room(size_t count, size_t size)
{
  void *memory = aligned_alloc(64, (count * size + 63) / 64 * 64);
  if (memory == NULL) {
    fputs("bench: no memory\n", stderr);
    exit(1);
  }
  memset(memory, 0, count * size);
  return memory;
}

/* What sites allow: a service of a host, of a network, answers of a server, two networks, a zone pair. */
static const struct kedge_shape SHAPES[KEDGE_FAMILIES][KEDGE_MAX_SHAPES] = {
  {{24, 32, 1, 0, 1, 0, 0, 0}, {32, 32, 0, 0, 0, 0, 0, 0}, {32, 32, 1, 0, 1, 0, 0, 0}, {0, 32, 1, 0, 1, 0, 0, 0},
   {16, 24, 1, 0, 1, 0, 0, 0}, {0, 32, 1, 0, 1, 1, 0, 0}, {0, 24, 1, 0, 1, 1, 1, 0}, {24, 24, 0, 0, 0, 0, 0, 0},
   {0, 24, 1, 0, 0, 1, 1, 0}, {32, 0, 1, 0, 1, 0, 0, 0}, {32, 0, 1, 1, 0, 0, 0, 0}, {24, 0, 1, 0, 1, 0, 1, 0},
   {0, 16, 1, 0, 1, 0, 0, 0}, {20, 32, 1, 1, 1, 0, 0, 0}, {0, 32, 0, 0, 0, 1, 1, 0}, {20, 20, 1, 0, 1, 0, 1, 0}},
  {{64, 128, 1, 0, 1, 0, 0, 0}, {128, 128, 0, 0, 0, 0, 0, 0}, {128, 128, 1, 0, 1, 0, 0, 0}, {0, 128, 1, 0, 1, 0, 0, 0},
   {48, 64, 1, 0, 1, 0, 0, 0}, {0, 128, 1, 0, 1, 1, 0, 0}, {0, 64, 1, 0, 1, 1, 1, 0}, {64, 64, 0, 0, 0, 0, 0, 0},
   {0, 64, 1, 0, 0, 1, 1, 0}, {128, 0, 1, 0, 1, 0, 0, 0}, {128, 0, 1, 1, 0, 0, 0, 0}, {64, 0, 1, 0, 1, 0, 1, 0},
   {0, 48, 1, 0, 1, 0, 0, 0}, {56, 128, 1, 1, 1, 0, 0, 0}, {0, 128, 0, 0, 0, 1, 1, 0}, {56, 56, 1, 0, 1, 0, 1, 0}},
};

/* Addresses of 10.0.0.0/9 and fd77::/16: a company's own, so that their first bits tell nothing. */
static void address(uint8_t *to, unsigned family)
{
  memset(to, 0, 16);
  for (unsigned i = 0; i < (family == KEDGE_FAMILY_IP6 ? 16u : 4u); i++)
    to[i] = (uint8_t)(next() >> 32);
  if (family == KEDGE_FAMILY_IP6) {
    to[0] = 0xfd;
    to[1] = 0x77;
  } else {
    to[0] = 10;
    to[1] &= 0x7f;
  }
}

static uint16_t service(void)
{
  static const uint16_t KNOWN[] = {22, 53, 80, 123, 161, 443, 514, 1883, 3389, 5060, 8443, 8883};
  return below(2) == 0 ? KNOWN[below(sizeof(KNOWN) / sizeof(KNOWN[0]))] : (uint16_t)(1024 + below(48000));
}

static void any_key(struct kedge_flow_key *key, unsigned family)
{
  memset(key, 0, sizeof(*key));
  address(key->source, family);
  address(key->destination, family);
  key->protocol = below(2) == 0 ? 6 : 17;
  key->source_port = service();
  key->destination_port = service();
  key->source_zone = (uint8_t)(1 + below(KEDGE_MAX_ZONES - 1));
  key->destination_zone = (uint8_t)(1 + below(KEDGE_MAX_ZONES - 1));
}

struct allowlist allowlist_of(uint32_t rules, uint32_t shapes, bool zones)
{
  state = UINT64_C(0x243f6a8885a308d3);
  struct allowlist list = {room(rules, sizeof(struct kedge_rule)), rules, shapes};
  for (uint32_t i = 0; i < rules; i++) {
    struct kedge_rule *r = &list.rule[i];
    r->family = (uint8_t)(i % KEDGE_FAMILIES);
    r->shape = SHAPES[r->family][i / KEDGE_FAMILIES % shapes];
    if (!zones)
      r->shape.match_source_zone = r->shape.match_destination_zone = 0;
    any_key(&r->key, r->family);
    r->id = i;
    r->rank = (uint16_t)(100 * below(4));
    r->verdict = KEDGE_VERDICT_PASS;
  }
  return list;
}

static void bits_taken(uint8_t *to, const uint8_t *from, unsigned bits)
{
  uint8_t kept = (uint8_t)(0xffu >> bits % 8);
  memcpy(to, from, bits / 8);
  if (bits % 8 != 0)
    to[bits / 8] = (uint8_t)((to[bits / 8] & kept) | (from[bits / 8] & ~kept));
}

/* A flow that the rule matches, whatever it leaves open drawn anew. */
static void key_after(const struct kedge_rule *r, struct kedge_flow_key *key)
{
  any_key(key, r->family);
  bits_taken(key->source, r->key.source, r->shape.source_prefix);
  bits_taken(key->destination, r->key.destination, r->shape.destination_prefix);
  if (r->shape.match_protocol)
    key->protocol = r->key.protocol;
  if (r->shape.match_source_port)
    key->source_port = r->key.source_port;
  if (r->shape.match_destination_port)
    key->destination_port = r->key.destination_port;
  if (r->shape.match_source_zone)
    key->source_zone = r->key.source_zone;
  if (r->shape.match_destination_zone)
    key->destination_zone = r->key.destination_zone;
}

static bool rule_matches(const struct kedge_rule *r, const struct kedge_flow_key *key, unsigned family)
{
  struct kedge_flow_key own = *key;
  if (r->family != family || (r->shape.match_protocol && r->key.protocol != key->protocol) ||
      (r->shape.match_source_port && r->key.source_port != key->source_port) ||
      (r->shape.match_destination_port && r->key.destination_port != key->destination_port) ||
      (r->shape.match_source_zone && r->key.source_zone != key->source_zone) ||
      (r->shape.match_destination_zone && r->key.destination_zone != key->destination_zone))
    return false;
  bits_taken(own.destination, r->key.destination, r->shape.destination_prefix);
  if (memcmp(own.destination, key->destination, 16) != 0)
    return false;
  bits_taken(own.source, r->key.source, r->shape.source_prefix);
  return memcmp(own.source, key->source, 16) == 0;
}

static bool any_matches(const struct allowlist *list, const struct kedge_flow_key *key, unsigned family)
{
  for (uint32_t i = 0; i < list->rules; i++)
    if (rule_matches(&list->rule[i], key, family))
      return true;
  return false;
}

static void be16(uint8_t *p, unsigned v)
{
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

/* The frame of a flow; its length. The IPv4 header checksum is right, the transport's is left to an interface. */
static uint16_t frame_of(const struct kedge_flow_key *key, unsigned family, unsigned tags, uint8_t *frame)
{
  uint8_t *p = frame + 14;
  memcpy(frame, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
  for (unsigned t = 0; t < tags; t++, p += 4) {
    be16(p - 2, t + 1 < tags ? 0x88a8 : 0x8100);
    be16(p, 1 + below(4094));
  }
  unsigned behind = key->protocol == 6 ? HEADERS_BEHIND : 8;
  uint8_t *t;
  if (family == KEDGE_FAMILY_IP6) {
    be16(p - 2, 0x86dd);
    p[0] = 0x60;
    be16(p + 4, behind);
    p[6] = key->protocol;
    p[7] = 64;
    memcpy(p + 8, key->source, 16);
    memcpy(p + 24, key->destination, 16);
    t = p + 40;
  } else {
    be16(p - 2, 0x0800);
    p[0] = 0x45;
    be16(p + 2, 20 + behind);
    p[8] = 64;
    p[9] = key->protocol;
    memcpy(p + 12, key->source, 4);
    memcpy(p + 16, key->destination, 4);
    uint32_t sum = 0;
    for (unsigned i = 0; i < 20; i += 2)
      sum += (uint32_t)p[i] << 8 | p[i + 1];
    sum = (sum & 0xffffu) + (sum >> 16);
    be16(p + 10, ~((sum & 0xffffu) + (sum >> 16)));
    t = p + 20;
  }
  be16(t, key->source_port);
  be16(t + 2, key->destination_port);
  if (key->protocol == 6)
    t[12] = 0x50;
  else
    be16(t + 4, 8);
  return (uint16_t)(t + behind - frame);
}

struct traffic traffic_of(const struct allowlist *list, bool tags)
{
  state = UINT64_C(0x13198a2e03707344);
  struct traffic traffic = {room(FLOWS, sizeof(struct flow)), room(FLOWS, sizeof(struct flow_place)), FLOWS / 2};
  uint32_t hits = traffic.hits, misses = FLOWS - hits;
  for (uint32_t i = 0; i < FLOWS; i++) {
    struct kedge_flow_key key;
    const struct kedge_rule *r = &list->rule[below(list->rules)];
    unsigned family = r->family;
    if (below(hits + misses) < hits) {
      hits--;
      key_after(r, &key);
    } else {
      misses--;
      /* Every other miss is a flow of the list with another port, host or zone; the rest are strangers. */
      do {
        struct kedge_flow_key other;
        any_key(&key, family);
        other = key;
        if (i % 2 == 0) {
          key_after(r, &key);
          switch (below(3)) {
          case 0: key.destination_port = other.destination_port; break;
          case 1: memcpy(key.destination, other.destination, 16); break;
          default: memcpy(key.source, other.source, 16); break;
          }
          key.source_zone = other.source_zone;
        }
      } while (any_matches(list, &key, family));
    }
    traffic.place[i].source_zone = key.source_zone;
    traffic.place[i].destination_zone = key.destination_zone;
    traffic.place[i].length = frame_of(&key, family, tags ? below(3) : 0, traffic.flow[i].frame);
  }
  return traffic;
}

void allowlist_free(struct allowlist *list) { free(list->rule); }

void traffic_free(struct traffic *traffic)
{
  free(traffic->flow);
  free(traffic->place);
}

struct kedge_level_table *table_of(const struct allowlist *list)
{
  struct kedge_level_table *table = room(1, sizeof(*table));
  struct kedge_rules rules = {.level = 3, .rule = list->rule, .rules = list->rules};
  struct kedge_build_report report;
  memset(rules.pair, KEDGE_VERDICT_DROP, sizeof(rules.pair));
  if (kedge_table_build(&rules, table, &report) != KEDGE_BUILD_OK) {
    fprintf(stderr, "bench: the table of %u entries is refused, rule %u\n", list->rules, report.at);
    exit(1);
  }
  return table;
}
