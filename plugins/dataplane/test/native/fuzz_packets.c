/*
 * Random, mutated and shortened frames through parser and classifier, under sanitizers, with good and with
 * damaged tables. Usage: fuzz_packets FRAMES SEED; prints what it saw as JSON.
 *
 * Every frame is an allocation of exactly its length, so that one byte read too far is found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/builder.h"
#include "../../core/classify.h"

static uint64_t state;
static uint64_t next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
static unsigned below(unsigned n) { return (unsigned)(next() >> 33) % n; }
static bool once_in(unsigned n) { return below(n) == 0; }

static void be16(uint8_t *p, unsigned v)
{
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static const uint8_t PROTOCOLS[] = {0, 1, 6, 17, 33, 43, 44, 50, 51, 58, 59, 60, 132, 135, 136, 139, 140};

/* A frame that makes sense more often than not; its length. */
static size_t make(uint8_t *f)
{
  size_t at = 14;
  for (unsigned i = 0; i < 12; i++)
    f[i] = (uint8_t)next();
  f[6] &= 0xfe;
  for (unsigned tags = below(4); tags > 0; tags--) {
    be16(f + at - 2, once_in(2) ? 0x8100 : 0x88a8);
    be16(f + at, below(65536));
    at += 4;
  }
  uint8_t *p = f + at;
  unsigned payload = below(300);
  switch (below(5)) {
  case 0:
    be16(p - 2, 0x0806);
    be16(p, 1);
    be16(p + 2, 0x0800);
    p[4] = 6;
    p[5] = 4;
    be16(p + 6, 1 + below(2));
    return at + 28;
  case 1: be16(p - 2, below(65536)); return at + payload;
  case 2: {
    be16(p - 2, 0x86dd);
    p[0] = 0x60;
    p[7] = once_in(2) ? 255 : 64;
    uint8_t *next_header = p + 6;
    size_t n = 40;
    for (unsigned headers = below(11); headers > 0; headers--) {
      static const uint8_t EXTENSIONS[] = {0, 43, 44, 51, 60, 135};
      *next_header = EXTENSIONS[below(sizeof(EXTENSIONS))];
      next_header = p + n;
      if (*next_header != 44 && once_in(4))
        p[n + 1] = (uint8_t)below(4);
      else
        p[n + 1] = 0;
      n += 8 + (size_t)p[n + 1] * 8;
    }
    *next_header = PROTOCOLS[below(sizeof(PROTOCOLS))];
    if (*next_header == 58)
      p[n] = (uint8_t)(once_in(2) ? 133 + below(5) : 1 + below(4)), p[n + 1] = 0;
    else
      p[n + 12] = 0x50;
    n += payload;
    be16(p + 4, (unsigned)(n - 40));
    return at + n;
  }
  default: {
    unsigned options = once_in(3) ? below(11) : 0;
    be16(p - 2, 0x0800);
    p[0] = (uint8_t)(0x45 + options);
    memset(p + 20, 1, 40);
    size_t n = 20 + options * 4 + payload;
    be16(p + 2, (unsigned)n);
    be16(p + 6, once_in(3) ? below(65536) : 0);
    p[9] = PROTOCOLS[below(sizeof(PROTOCOLS))];
    uint8_t *t = p + 20 + options * 4;
    if (p[9] == 17)
      be16(t + 4, payload);
    else if (p[9] == 1)
      t[0] = (uint8_t)(once_in(2) ? 3 : 8), t[8] = 0x45;
    else
      t[12] = 0x50;
    return at + n;
  }
  }
}

static void random_rule(struct kedge_rule *r, unsigned i)
{
  memset(r, 0, sizeof(*r));
  r->family = (uint8_t)below(2);
  unsigned width = r->family == KEDGE_FAMILY_IP6 ? 128 : 32;
  static const uint8_t PART[] = {0, 1, 4};
  r->shape.source_prefix = (uint8_t)(PART[below(3)] * width / 4);
  r->shape.destination_prefix = (uint8_t)(once_in(2) ? 0 : width);
  for (unsigned b = 0; b < 16; b++) {
    r->key.source[b] = (uint8_t)next();
    r->key.destination[b] = (uint8_t)next();
  }
  if (once_in(2)) {
    r->shape.match_protocol = 1;
    r->key.protocol = once_in(2) ? 6 : 17;
    r->shape.match_destination_port = 1;
    r->key.destination_port = (uint16_t)next();
  }
  r->id = i % KEDGE_MAX_ENTRIES;
  r->rank = (uint16_t)below(4);
  r->verdict = (uint8_t)(1 + below(3));
}

/* RFC 1071 over an IPv4 header; 0 where its checksum is right. */
static uint16_t header_sum(const uint8_t *p)
{
  uint32_t sum = 0;
  for (unsigned i = 0; i < (p[0] & 15u) * 2u; i++)
    sum += (uint32_t)p[2 * i] << 8 | p[2 * i + 1];
  while (sum >> 16 != 0)
    sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "frame %lu: %s does not hold\n", i, #condition);                                                 \
      return 1;                                                                                                        \
    }                                                                                                                  \
  } while (0)

int main(int argc, char **argv)
{
  unsigned long frames = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
  state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
  struct kedge_level_table *good = malloc(sizeof(*good)), *bad = malloc(sizeof(*bad));
  struct kedge_rule *rules = calloc(4096, sizeof(*rules));
  for (unsigned i = 0; i < 4096; i++)
    random_rule(&rules[i], i);
  struct kedge_rules set = {.level = 3, .flags = KEDGE_LEVEL_ARP, .rule = rules, .rules = 4096};
  memset(set.pair, KEDGE_VERDICT_PASS, sizeof(set.pair));
  struct kedge_build_report report;
  if (kedge_table_build(&set, good, &report) != KEDGE_BUILD_OK || !kedge_table_holds(good, 3, 0)) {
    fprintf(stderr, "the table cannot be built: %u shapes\n", report.at);
    return 1;
  }
  memcpy(bad, good, sizeof(*bad));
  unsigned long kinds[6] = {0}, reasons[KEDGE_REASONS] = {0}, marked = 0;
  static uint8_t scratch[4096];
  for (unsigned long i = 0; i < frames; i++) {
    memset(scratch, 0, sizeof(scratch));
    size_t length = make(scratch);
    unsigned flips = once_in(3) ? below(12) : 0;
    while (flips-- > 0)
      scratch[below((unsigned)length)] ^= (uint8_t)(1u << below(8));
    if (once_in(4))
      length = below((unsigned)length + 1);
    uint8_t *frame = malloc(length);
    memcpy(frame, scratch, length);
    struct kedge_packet packet;
    struct kedge_judgement j;
    kinds[kedge_packet_parse(frame, length, &packet)]++;
    CHECK(packet.vlan_tags <= KEDGE_MAX_VLAN_TAGS && packet.vlan < 4096);
    unsigned from = below(18), to = below(18);
    kedge_classify(once_in(10) ? NULL : good, &packet, from, to, &j);
    reasons[j.reason]++;
    CHECK(j.verdict >= KEDGE_VERDICT_DROP && j.verdict <= KEDGE_VERDICT_PASS);
    CHECK(j.probes <= KEDGE_MAX_SHAPES * KEDGE_MAX_PROBES);
    CHECK(j.verdict == KEDGE_VERDICT_DROP || (packet.kind != KEDGE_PACKET_MALFORMED && packet.kind != KEDGE_PACKET_ETHERTYPE));
    /* A damaged table gives any verdict, and nothing worse. */
    if (once_in(50))
      memcpy(bad, good, sizeof(*bad));
    for (unsigned n = below(64); n > 0; n--)
      ((uint8_t *)bad)[below(once_in(2) ? offsetof(struct kedge_level_table, entry) : sizeof(*bad))] = (uint8_t)next();
    bad->valid = 1;
    kedge_classify(bad, &packet, from, to, &j);
    CHECK(j.verdict >= KEDGE_VERDICT_DROP && j.verdict <= KEDGE_VERDICT_PASS);
    CHECK(j.entry == KEDGE_NO_ENTRY || j.entry < KEDGE_MAX_ENTRIES);
    CHECK(j.probes <= KEDGE_MAX_SHAPES * KEDGE_MAX_PROBES);
    if (packet.kind == KEDGE_PACKET_FLOW) {
      uint8_t *ip = frame + packet.network;
      bool ip4 = packet.family == KEDGE_FAMILY_IP4;
      uint16_t before = ip4 ? header_sum(ip) : 0;
      marked += kedge_packet_mark_le(frame, &packet);
      CHECK(ip4 ? ip[1] >> 2 == 1 : (((unsigned)ip[0] << 4 | ip[1] >> 4) & 0xffu) >> 2 == 1);
      /* Right before, right after; wrong before, as wrong after (0 and 0xffff are one value here). */
      CHECK(!ip4 || header_sum(ip) % 0xffff == before % 0xffff);
      CHECK(!kedge_packet_mark_le(frame, &packet));
    }
    free(frame);
  }
  printf("{\"frames\":%lu,\"kinds\":[%lu,%lu,%lu,%lu,%lu,%lu],\"reasons\":[", frames, kinds[0], kinds[1], kinds[2], kinds[3],
         kinds[4], kinds[5]);
  for (unsigned r = 0; r < KEDGE_REASONS; r++)
    printf("%s%lu", r == 0 ? "" : ",", reasons[r]);
  printf("],\"marked\":%lu}\n", marked);
  free(rules);
  free(good);
  free(bad);
  return 0;
}
