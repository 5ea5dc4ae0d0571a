/*
 * The flow table against a plain count of what it was shown: nothing is lost or counted twice, whatever is evicted,
 * idle, judged anew or flooded; for AddressSanitizer and UndefinedBehaviorSanitizer.
 * Usage: flows_table CASE; CASE is sums, timeouts, flood, depth or fuzz. Prints what it saw as JSON.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include "../../core/flows.h"
#include "talk.h"
#include "vectors.h"

#define SECOND UINT64_C(1000000000)

static uint64_t state_random = 20261128;
static uint64_t next(void)
{
  state_random ^= state_random << 13;
  state_random ^= state_random >> 7;
  state_random ^= state_random << 17;
  return state_random;
}
static unsigned below(unsigned n) { return (unsigned)(next() >> 33) % n; }

static unsigned long failures;
#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition) && failures++ < 20)                                                                               \
      fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition);                                            \
  } while (0)

static struct kedge_flows flows;
static struct kedge_flow_state now = {.now_ns = 100 * SECOND, .epoch = 7, .level = 4, .classify = 1};

/* What came out: the last record, all counts, and counts by reason. */
static struct kedge_flow_record last;
static uint64_t records, record_packets, record_bytes, passing_evicted, ends[6];
static uint64_t (*tally)[2][4]; /* [conversation][side][verdict], or NULL */

static void ended(void *context, const struct kedge_flow_record *r)
{
  CHECK(context == &flows);
  CHECK(r->packets != 0 && r->first_at_ns <= r->last_at_ns && r->last_at_ns <= now.now_ns);
  CHECK(r->end >= 1 && r->end <= 5 && r->application < KEDGE_APPLICATIONS && r->name_bytes <= KEDGE_FLOW_NAME_BYTES);
  CHECK(r->key.reserved <= KEDGE_FAMILY_IP6 && r->level >= 1 && r->level <= 5);
  last = *r;
  records++;
  record_packets += r->packets;
  record_bytes += r->bytes;
  ends[r->end]++;
  passing_evicted += r->end == KEDGE_FLOW_END_RESOURCES && r->verdict != KEDGE_VERDICT_DROP;
  if (tally != NULL) {
    uint32_t number = 0;
    bool opener = r->key.destination_port == 4433;
    memcpy(&number, (opener ? r->key.source : r->key.destination) + 1, 3);
    tally[number][!opener][r->verdict] -= r->packets;
  }
}

static void start(unsigned count)
{
  static void *memory;
  const uint64_t seed[2] = {0x0123456789abcdefu, 0xfedcba9876543210u};
  free(memory);
  size_t bytes = kedge_flows_bytes(count);
  if (posix_memalign(&memory, 64, bytes) != 0)
    abort();
  memset(memory, 0, bytes);
  kedge_flows_start(&flows, memory, count, seed, ended, &flows);
  records = record_packets = record_bytes = 0;
  memset(ends, 0, sizeof(ends));
}

/* Shows one packet from memory of exactly its length, with a verdict of the zone pair 2 > 3 or back. */
static unsigned show(const struct talk_packet *t, unsigned verdict)
{
  static uint8_t scratch[TALK_MOST];
  size_t length = talk_frame(t, scratch);
  uint8_t *frame = malloc(length);
  memcpy(frame, scratch, length);
  struct kedge_packet packet;
  struct kedge_flow_sight sight = {0};
  struct kedge_judgement j = {.verdict = (uint8_t)verdict,
                              .reason = KEDGE_REASON_PAIR,
                              .source_zone = t->side == 0 ? 2 : 3,
                              .destination_zone = t->side == 0 ? 3 : 2,
                              .entry = KEDGE_NO_ENTRY};
  CHECK(kedge_packet_parse(frame, length, &packet) == KEDGE_PACKET_FLOW);
  CHECK(kedge_flows_observe(&flows, frame, &packet, &j, &now, &sight));
  CHECK(sight.bytes == length - 14);
  free(frame);
  return sight.application;
}

static uint64_t live_packets(void)
{
  uint64_t sum = 0;
  for (size_t at = 0; at < (size_t)flows.buckets * KEDGE_FLOW_WAYS; at++)
    if (flows.bucket[at / KEDGE_FLOW_WAYS].tag[at % KEDGE_FLOW_WAYS] != 0)
      sum += flows.flow[at].side[0].packets + flows.flow[at].side[1].packets;
  return sum;
}

static void pass_time(uint64_t ns)
{
  for (uint64_t end = now.now_ns + ns; now.now_ns < end;) {
    now.now_ns += 40000000;
    kedge_flows_sweep(&flows, now.now_ns);
  }
}

/* Packets at random, of more conversations than there is room for; the records and what lives are the packets. */
static void case_sums(void)
{
  enum { CONVERSATIONS = 3000, PACKETS = 400000 };
  static uint64_t counted[CONVERSATIONS][2][4];
  uint64_t bytes = 0, most = 0;
  start(1024);
  tally = counted;
  for (unsigned i = 0; i < PACKETS; i++) {
    uint32_t number = below(below(2) == 0 ? 100 : CONVERSATIONS);
    struct talk_packet t = {.number = number,
                            .side = (uint8_t)below(2),
                            .ip6 = number % 3 == 0,
                            .tcp = number % 2,
                            .flags = (uint8_t)(below(40) == 0 ? next() : TALK_ACK),
                            .sequence = (uint32_t)next(),
                            .payload = (const uint8_t *)"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
                            .bytes = (uint16_t)below(36)};
    unsigned verdict = number % 5 == 0 ? KEDGE_VERDICT_DROP : below(50) == 0 ? 1 + below(3) : KEDGE_VERDICT_PASS;
    counted[number][t.side][verdict]++;
    show(&t, verdict);
    bytes += (t.ip6 ? 40u : 20u) + (t.tcp ? 20u : 8u) + t.bytes;
    if (below(20) == 0) {
      now.now_ns += below(3) == 0 ? below(1000000000) : below(1000000);
      kedge_flows_sweep(&flows, now.now_ns);
    }
    if (below(20000) == 0)
      now.epoch++, now.level = (uint8_t)(1 + below(5)), now.classify = now.level == 4;
    if (i % 1000 == 0)
      CHECK(record_packets + live_packets() == i + 1u);
    if (flows.live > most)
      most = flows.live;
    CHECK(flows.live <= 1024);
  }
  uint64_t begun = flows.begun, evicted = flows.evicted;
  kedge_flows_stop(&flows);
  CHECK(flows.live == 0 && record_packets == PACKETS && record_bytes == bytes);
  unsigned wrong = 0;
  for (unsigned n = 0; n < CONVERSATIONS; n++)
    for (unsigned s = 0; s < 2; s++)
      for (unsigned v = 0; v < 4; v++)
        wrong += counted[n][s][v] != 0;
  tally = NULL;
  CHECK(wrong == 0);
  printf("\"packets\":%u,\"records\":%llu,\"begun\":%llu,\"evicted\":%llu,\"most\":%llu,\"wrong\":%u,\"ends\":[%llu,%llu,%llu,%llu,%llu]",
         PACKETS, (unsigned long long)records, (unsigned long long)begun, (unsigned long long)evicted,
         (unsigned long long)most, wrong, (unsigned long long)ends[1], (unsigned long long)ends[2],
         (unsigned long long)ends[3], (unsigned long long)ends[4], (unsigned long long)ends[5]);
}

/* When a record ends, and as what. */
static void case_timeouts(void)
{
  struct talk_packet udp = {.number = 1, .class = 46 << 2}, back = {.number = 1, .side = 1};
  struct talk_packet tcp = {.number = 2, .tcp = 1, .flags = TALK_ACK}, answer = {.number = 2, .tcp = 1, .side = 1, .flags = TALK_ACK};
  start(64);
  /* Idle: 15 s for UDP, 60 s for TCP; both directions end together. */
  show(&udp, KEDGE_VERDICT_PASS);
  show(&back, KEDGE_VERDICT_PASS);
  show(&tcp, KEDGE_VERDICT_PASS);
  pass_time(14 * SECOND);
  CHECK(records == 0 && flows.live == 2);
  pass_time(4 * SECOND);
  CHECK(records == 2 && ends[KEDGE_FLOW_END_IDLE] == 2 && flows.live == 1);
  pass_time(40 * SECOND);
  CHECK(records == 2);
  pass_time(6 * SECOND);
  CHECK(records == 3 && flows.live == 0 && last.key.protocol == 6 && last.tcp_flags == TALK_ACK);
  /* Idle and not swept yet when the next packet comes: two records all the same. */
  show(&udp, KEDGE_VERDICT_PASS);
  now.now_ns += 20 * SECOND;
  show(&udp, KEDGE_VERDICT_PASS);
  CHECK(records == 4 && last.end == KEDGE_FLOW_END_IDLE && last.packets == 1 && last.dscp == 46 && flows.live == 1);
  /* Active: a record a minute. */
  for (unsigned i = 0; i < 130; i++) {
    now.now_ns += SECOND;
    show(&udp, KEDGE_VERDICT_PASS);
  }
  CHECK(records == 6 && ends[KEDGE_FLOW_END_ACTIVE] == 2 && last.packets == 60);
  /* Judged anew: epoch, level, verdict, each a record; the other direction has its own. */
  now.epoch++;
  show(&udp, KEDGE_VERDICT_PASS);
  CHECK(records == 7 && last.end == KEDGE_FLOW_END_FORCED && last.epoch == now.epoch - 1);
  now.level = 3;
  show(&udp, KEDGE_VERDICT_PASS);
  CHECK(records == 8 && last.level == 4 && last.epoch == now.epoch);
  show(&udp, KEDGE_VERDICT_DEPRIORITISE);
  CHECK(records == 9 && last.verdict == KEDGE_VERDICT_PASS);
  show(&back, KEDGE_VERDICT_DEPRIORITISE);
  show(&udp, KEDGE_VERDICT_DROP);
  CHECK(records == 10 && last.verdict == KEDGE_VERDICT_DEPRIORITISE && last.key.source_zone == 2 && last.key.destination_zone == 3);
  now.level = 4;
  kedge_flows_stop(&flows);
  CHECK(flows.live == 0 && records == 12 && ends[KEDGE_FLOW_END_FORCED] == 6);
  /* TCP's end: the FINs of both sides; the last acknowledgement still belongs to it. */
  start(64);
  tcp.flags = TALK_FIN | TALK_ACK;
  answer.flags = TALK_FIN | TALK_ACK;
  show(&tcp, KEDGE_VERDICT_PASS);
  pass_time(5 * SECOND);
  CHECK(records == 0);
  show(&answer, KEDGE_VERDICT_PASS);
  tcp.flags = TALK_ACK;
  show(&tcp, KEDGE_VERDICT_PASS);
  pass_time(4 * SECOND);
  CHECK(records == 2 && ends[KEDGE_FLOW_END_DETECTED] == 2 && flows.live == 0 && record_packets == 3);
  /* A reset ends both at once; the same ports again are another conversation. */
  show(&tcp, KEDGE_VERDICT_PASS);
  answer.flags = TALK_RST;
  show(&answer, KEDGE_VERDICT_PASS);
  tcp.flags = TALK_SYN;
  show(&tcp, KEDGE_VERDICT_PASS);
  CHECK(records == 4 && ends[KEDGE_FLOW_END_DETECTED] == 4 && flows.live == 1 && flows.begun == 3);
  /* What has no flow. */
  uint8_t frame[64] = {2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0x88, 0xb5};
  struct kedge_packet packet;
  struct kedge_judgement j = {.verdict = KEDGE_VERDICT_DROP};
  struct kedge_flow_sight sight;
  kedge_packet_parse(frame, sizeof(frame), &packet);
  CHECK(!kedge_flows_observe(&flows, frame, &packet, &j, &now, &sight));
  frame[12] = 8, frame[13] = 0;
  kedge_packet_parse(frame, sizeof(frame), &packet);
  CHECK(!kedge_flows_observe(&flows, frame, &packet, &j, &now, &sight));
  CHECK(flows.live == 1 && kedge_flows_bytes(1000) == 0 && kedge_flows_bytes(32) == 0 && kedge_flows_bytes(1u << 21) == 0);
  printf("\"records\":%llu", (unsigned long long)records);
}

/* A flood of packets that are dropped, from sources at random, beside conversations that pass; then one that passes. */
static void case_flood(void)
{
  enum { FLOWS = 4096, PASSING = 1024, FLOOD = 1000000 };
  start(FLOWS);
  for (uint32_t n = 0; n < PASSING; n++)
    show(&(struct talk_packet){.number = n, .tcp = 1, .flags = TALK_ACK}, KEDGE_VERDICT_PASS);
  uint64_t displaced = passing_evicted;
  for (unsigned i = 0; i < FLOOD; i++) {
    show(&(struct talk_packet){.number = PASSING + (uint32_t)(next() & 0x7fffff)}, KEDGE_VERDICT_DROP);
    CHECK(flows.live <= PASSING + FLOWS / KEDGE_FLOW_WAYS * KEDGE_FLOW_WAYS_DROPPED);
  }
  uint64_t evicted = flows.evicted;
  CHECK(evicted > FLOOD / 2);
  CHECK(passing_evicted == displaced && displaced < PASSING / 100);
  /* One that was dropped and passes from now on leaves the share of the dropped. */
  struct talk_packet late = {.number = 0xfffffe};
  show(&late, KEDGE_VERDICT_DROP);
  uint64_t were = records;
  show(&late, KEDGE_VERDICT_PASS);
  CHECK(records == were + 1 && last.verdict == KEDGE_VERDICT_DROP && last.end == KEDGE_FLOW_END_FORCED);
  for (unsigned i = 0; i < FLOOD / 10; i++)
    show(&(struct talk_packet){.number = PASSING + (uint32_t)(next() & 0x7fffff)}, KEDGE_VERDICT_DROP);
  were = flows.begun;
  show(&late, KEDGE_VERDICT_PASS);
  CHECK(flows.begun == were);
  /* A flood that passes takes what was not heard of for the longest time, and no more than there is. */
  for (unsigned i = 0; i < FLOOD / 10; i++) {
    now.now_ns += 2000000;
    show(&(struct talk_packet){.number = PASSING + (uint32_t)(next() & 0x7fffff), .tcp = 1, .flags = TALK_ACK}, KEDGE_VERDICT_PASS);
    CHECK(flows.live <= FLOWS);
  }
  uint64_t shown = PASSING + FLOOD + 2u + FLOOD / 10 + 1u + FLOOD / 10;
  CHECK(record_packets + live_packets() == shown);
  kedge_flows_stop(&flows);
  CHECK(record_packets == shown);
  printf("\"displaced\":%llu,\"evicted\":%llu", (unsigned long long)displaced, (unsigned long long)evicted);
}

/* What every vector is, told by a conversation's packets, over both families, both directions, and levels. */
static void case_depth(void)
{
  unsigned told = 0;
  start(1024);
  for (size_t i = 0; i < VECTORS; i++) {
    const struct vector *v = &VECTOR[i];
    static uint8_t bytes[2048];
    size_t n = vector_bytes(v, bytes);
    for (unsigned variant = 0; variant < 4; variant++) {
      struct talk_packet t = {.number = (uint32_t)(1000 + i * 4 + variant), .ip6 = variant & 1, .side = variant >> 1 & 1, .tcp = v->stream};
      /* At a level that does not look it is nothing. */
      now.classify = 0;
      if (v->stream != 0) {
        t.flags = TALK_SYN, t.sequence = UINT32_MAX - 3;
        CHECK(show(&t, KEDGE_VERDICT_PASS) == KEDGE_APPLICATION_UNKNOWN);
        t.flags = TALK_ACK, t.sequence = UINT32_MAX - 2;
      }
      t.payload = bytes, t.bytes = (uint16_t)n;
      CHECK(show(&t, KEDGE_VERDICT_PASS) == KEDGE_APPLICATION_UNKNOWN);
      now.classify = 1;
      CHECK(show(&t, KEDGE_VERDICT_PASS) == v->application);
      /* The other side's answer counts to the same, and so does what says nothing by itself. */
      struct talk_packet back = {.number = t.number, .ip6 = t.ip6, .side = !t.side, .tcp = t.tcp, .flags = TALK_ACK, .payload = (const uint8_t *)"\x41???", .bytes = 4};
      CHECK(show(&back, KEDGE_VERDICT_PASS) == v->application);
      kedge_flows_stop(&flows);
      CHECK(last.application == v->application && last.name_bytes == strlen(v->name) && memcmp(last.name, v->name, last.name_bytes) == 0);
      CHECK(last.name_cut == v->cut);
      told++;
    }
  }
  /* A question that is dropped is recognised too; a conversation that nobody knows is given up and stays unknown. */
  static uint8_t question[2048];
  size_t n = 0;
  for (size_t i = 0; i < VECTORS && n == 0; i++)
    if (VECTOR[i].application == KEDGE_APPLICATION_DNS && VECTOR[i].stream == 0)
      n = vector_bytes(&VECTOR[i], question);
  struct talk_packet t = {.number = 5, .payload = question, .bytes = (uint16_t)n};
  CHECK(show(&t, KEDGE_VERDICT_DROP) == KEDGE_APPLICATION_DNS);
  struct talk_packet noise = {.number = 6, .payload = (const uint8_t *)"....", .bytes = 4};
  for (unsigned i = 0; i < KEDGE_DEEP_DATAGRAM_TRIES; i++)
    CHECK(show(&noise, KEDGE_VERDICT_PASS) == KEDGE_APPLICATION_UNKNOWN);
  noise.payload = question, noise.bytes = (uint16_t)n;
  CHECK(show(&noise, KEDGE_VERDICT_PASS) == KEDGE_APPLICATION_UNKNOWN);
  /* While a name is only half there, a record that ends has none. */
  const uint8_t *head = (const uint8_t *)"GET / HTTP/1.1\r\nHost: half.exam";
  struct talk_packet half = {.number = 7, .tcp = 1, .flags = TALK_ACK, .sequence = 9, .payload = head, .bytes = (uint16_t)strlen((const char *)head)};
  CHECK(show(&half, KEDGE_VERDICT_PASS) == KEDGE_APPLICATION_HTTP);
  now.epoch++;
  half.sequence += half.bytes, half.payload = (const uint8_t *)"ple\r\n", half.bytes = 5;
  show(&half, KEDGE_VERDICT_PASS);
  CHECK(last.application == KEDGE_APPLICATION_HTTP && last.name_bytes == 0);
  now.epoch++;
  half.sequence += half.bytes;
  show(&half, KEDGE_VERDICT_PASS);
  CHECK(last.name_bytes == 12 && memcmp(last.name, "half.example", 12) == 0);
  kedge_flows_stop(&flows);
  printf("\"told\":%u", told);
}

/* Vectors mutated and shortened, in frames that are mutated too. */
static void case_fuzz(void)
{
  enum { PACKETS = 400000 };
  unsigned long observed = 0, recognised = 0;
  static uint8_t bytes[VECTORS][2048], scratch[TALK_MOST];
  static size_t length[VECTORS];
  for (size_t i = 0; i < VECTORS; i++)
    length[i] = vector_bytes(&VECTOR[i], bytes[i]);
  start(256);
  for (unsigned k = 0; k < PACKETS; k++) {
    unsigned i = below(VECTORS);
    size_t from = below(4) == 0 ? below((unsigned)length[i]) : 0;
    struct talk_packet t = {.number = below(400), .side = (uint8_t)below(2), .ip6 = (uint8_t)below(2), .tcp = below(8) == 0 ? !VECTOR[i].stream : VECTOR[i].stream,
                            .flags = below(3) == 0 ? TALK_SYN : TALK_ACK, .sequence = below(4000), .payload = bytes[i] + from, .bytes = (uint16_t)(length[i] - from)};
    size_t n = talk_frame(&t, scratch);
    for (unsigned flips = below(3) == 0 ? below(8) : 0; flips > 0; flips--)
      scratch[12 + below((unsigned)n - 12)] ^= (uint8_t)(1u << below(8));
    if (below(5) == 0)
      n = 14 + below((unsigned)n - 13);
    uint8_t *frame = malloc(n);
    memcpy(frame, scratch, n);
    struct kedge_packet packet;
    struct kedge_flow_sight sight = {0};
    struct kedge_judgement j = {.verdict = (uint8_t)(1 + below(3)), .entry = below(3)};
    kedge_packet_parse(frame, n, &packet);
    if (kedge_flows_observe(&flows, frame, &packet, &j, &now, &sight)) {
      observed++;
      recognised += sight.application != KEDGE_APPLICATION_UNKNOWN;
      CHECK(sight.application < KEDGE_APPLICATIONS);
    }
    free(frame);
    now.now_ns += below(20000000);
    kedge_flows_sweep(&flows, now.now_ns);
  }
  kedge_flows_stop(&flows);
  CHECK(record_packets == observed);
  printf("\"observed\":%lu,\"recognised\":%lu", observed, recognised);
}

int main(int argc, char **argv)
{
  const char *name = argc > 1 ? argv[1] : "";
  printf("{");
  if (strcmp(name, "sums") == 0)
    case_sums();
  else if (strcmp(name, "timeouts") == 0)
    case_timeouts();
  else if (strcmp(name, "flood") == 0)
    case_flood();
  else if (strcmp(name, "depth") == 0)
    case_depth();
  else if (strcmp(name, "fuzz") == 0)
    case_fuzz();
  else
    return 2;
  printf("%s\"failures\":%lu}\n", ",", failures);
  return failures != 0;
}
