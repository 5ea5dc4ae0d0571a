/*
 * Fuzz target: any packets, times and judgements over a table of a few conversations, against a plain account of them.
 * Every packet stands in exactly one record of its direction, every record ends for a reason that there was, nothing
 * that lives is lost, and a name is made of bytes of its own conversation.
 *
 *   input: steps; see step()
 *
 * It must not know where the table keeps whom.
 */
#include "input.h"
#include "flows.h"

#define FLOWS 64u
#define TALKS 256u
#define FRAME_MOST 2048u
#define SECOND UINT64_C(1000000000)

/* What one direction was shown since its last record. */
struct account {
  uint64_t packets, bytes, first_at_ns, last_at_ns, epoch;
  struct kedge_judgement judgement;
  uint8_t level, tcp_flags, dscp;
};

/* A conversation, however often it began: side 0 speaks from the address and port that came first. */
struct talk {
  struct kedge_flow_key key; /* `reserved` is the family; no zones */
  struct account side[2];
  uint32_t seen;             /* ticks */
  uint8_t application;       /* as told last */
  uint8_t closed;            /* ends that were seen since it began, 3 = both */
  bool spoken[256];          /* bytes of its payloads */
  struct kedge_deep deep;    /* what its payloads come to without a table */
  struct kedge_deep_name name;
};

static struct kedge_flows flows;
static void *memory;
static struct talk talk[TALKS];
static struct kedge_flow_state state;
static unsigned talks, records;
static uint64_t outstanding, packets, recorded;
static bool time_went_back;

/* What is being done while records end. */
static enum { SHOWING, SWEEPING, STOPPING } doing;
static const struct talk *shown;
static const struct kedge_judgement *judged;

static struct kedge_flow_key reversed(const struct kedge_flow_key *key)
{
  struct kedge_flow_key other = *key;
  memcpy(other.source, key->destination, sizeof(other.source));
  memcpy(other.destination, key->source, sizeof(other.destination));
  other.source_port = key->destination_port;
  other.destination_port = key->source_port;
  return other;
}

/* The conversation of a key without zones, and which side of it speaks; NULL where it was never shown. */
static struct talk *talk_of(const struct kedge_flow_key *key, unsigned *side)
{
  struct kedge_flow_key other = reversed(key);
  for (unsigned i = 0; i < talks; i++) {
    *side = memcmp(&talk[i].key, key, sizeof(*key)) != 0;
    if (*side == 0 || memcmp(&talk[i].key, &other, sizeof(other)) == 0)
      return &talk[i];
  }
  return NULL;
}

static uint32_t ticks(uint64_t ns) { return (uint32_t)(ns >> KEDGE_FLOW_TICK_SHIFT); }

static void reason_was_there(const struct kedge_flow_record *r, const struct talk *t)
{
  uint32_t silent = ticks(state.now_ns) - t->seen;
  switch (r->end) {
  case KEDGE_FLOW_END_IDLE:
    HOLDS(doing != STOPPING && silent >= (r->key.protocol == 6 ? KEDGE_FLOW_IDLE_TCP : KEDGE_FLOW_IDLE_OTHER));
    return;
  case KEDGE_FLOW_END_DETECTED:
    HOLDS(doing != STOPPING && r->key.protocol == 6 && t->closed == 3);
    HOLDS(silent >= KEDGE_FLOW_IDLE_CLOSED || (doing == SHOWING && t == shown));
    return;
  case KEDGE_FLOW_END_ACTIVE:
    HOLDS(doing == SHOWING && t == shown && state.now_ns - r->first_at_ns >= KEDGE_FLOW_ACTIVE_NS);
    return;
  case KEDGE_FLOW_END_FORCED: HOLDS(doing == STOPPING || (doing == SHOWING && t == shown)); return;
  case KEDGE_FLOW_END_RESOURCES:
    /* What is dropped displaces nothing that passes. */
    HOLDS(doing == SHOWING && t != shown);
    HOLDS(judged->verdict != KEDGE_VERDICT_DROP || r->verdict == KEDGE_VERDICT_DROP);
    return;
  default: HOLDS(r->end <= KEDGE_FLOW_END_RESOURCES && r->end != 0);
  }
}

static void name_is_its_own(const struct kedge_flow_record *r, const struct talk *t)
{
  HOLDS(r->name_bytes <= KEDGE_FLOW_NAME_BYTES && r->name_cut <= 1);
  HOLDS(r->name_bytes == 0 || r->application == KEDGE_APPLICATION_TLS || r->application == KEDGE_APPLICATION_HTTP ||
        r->application == KEDGE_APPLICATION_DNS);
  for (unsigned i = 0; i < KEDGE_FLOW_NAME_BYTES; i++) {
    uint8_t c = (uint8_t)r->name[i];
    HOLDS(i < r->name_bytes ? c >= '!' && c <= '~' : c == 0);
    /* Of a DNS name dots and escapes are made here. */
    bool made = r->application == KEDGE_APPLICATION_DNS && (c == '.' || c == '\\' || (c >= '0' && c <= '9'));
    HOLDS(i >= r->name_bytes || made || t->spoken[c]);
  }
  /* Whole or not at all. */
  bool known = t->deep.reading == 0 && t->deep.application != KEDGE_APPLICATION_UNKNOWN;
  HOLDS(r->application == t->deep.application && r->name_bytes == (known ? t->name.bytes : 0));
  HOLDS(memcmp(r->name, t->name.text, r->name_bytes) == 0 && (r->name_bytes == 0 || r->name_cut == t->name.cut));
}

static void ended(void *context, const struct kedge_flow_record *r)
{
  unsigned side;
  struct kedge_flow_key key = r->key;
  key.source_zone = key.destination_zone = 0;
  struct talk *t = talk_of(&key, &side);
  HOLDS(context == &flows && t != NULL && key.reserved <= KEDGE_FAMILY_IP6);
  struct account *a = &t->side[side];
  const struct kedge_judgement *j = &a->judgement;
  HOLDS(r->packets > 0 && r->packets == a->packets && r->bytes == a->bytes);
  HOLDS(r->first_at_ns == a->first_at_ns && r->last_at_ns == a->last_at_ns);
  HOLDS(time_went_back || r->last_at_ns - r->first_at_ns < KEDGE_FLOW_ACTIVE_NS);
  HOLDS(r->epoch == a->epoch && r->level == a->level && r->verdict == j->verdict && r->reason == j->reason);
  HOLDS(r->entry == j->entry && r->key.source_zone == j->source_zone && r->key.destination_zone == j->destination_zone);
  HOLDS(r->tcp_flags == a->tcp_flags && r->dscp == a->dscp && r->application == t->application);
  reason_was_there(r, t);
  name_is_its_own(r, t);
  records++;
  outstanding -= a->packets;
  recorded += r->packets;
  memset(a, 0, sizeof(*a));
}

/* The table by its own fields: as many as it says, each once, those that pass not among those that are dropped. */
static void table_holds(void)
{
  uint64_t live = 0, sum = 0;
  for (size_t at = 0; at < FLOWS; at++) {
    const struct kedge_flow_bucket *bucket = &flows.bucket[at / KEDGE_FLOW_WAYS];
    const struct kedge_flow *one = &flows.flow[at];
    if (bucket->tag[at % KEDGE_FLOW_WAYS] == 0)
      continue;
    live++;
    HOLDS(one->side[0].packets + one->side[1].packets > 0 && one->application < KEDGE_APPLICATIONS);
    for (unsigned side = 0; side < 2; side++) {
      sum += one->side[side].packets;
      HOLDS(at % KEDGE_FLOW_WAYS < KEDGE_FLOW_WAYS - KEDGE_FLOW_WAYS_DROPPED || one->side[side].packets == 0 ||
            one->side[side].verdict == KEDGE_VERDICT_DROP);
    }
  }
  HOLDS(flows.live == live && live <= FLOWS && flows.hand < flows.buckets);
  HOLDS(flows.evicted <= flows.begun && flows.begun - flows.evicted >= live);
  HOLDS(sum == outstanding && recorded + outstanding == packets);
}

/* Takes in what a packet of the conversation says: a TCP segment or a UDP datagram of `n` bytes with its header. */
static void listen(struct talk *t, unsigned side, const uint8_t *p, size_t n)
{
  size_t header = t->key.protocol == 6 ? (size_t)(p[12] >> 4) * 4 : 8, said = (size_t)p[4] << 8 | p[5];
  if (t->key.protocol == 17 && said < n)
    n = said;
  for (size_t i = header; i < n; i++)
    t->spoken[p[i]] = true;
  if (t->deep.done != 0)
    return;
  uint8_t *payload = copy_of(p + header, n - header);
  uint32_t sequence = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
  if (t->key.protocol == 6)
    kedge_deep_segment(&t->deep, side, sequence, (p[13] & 2u) != 0, payload, n - header, &t->name);
  else
    kedge_deep_message(&t->deep, payload, n - header, &t->name);
  free(payload);
}

/* Shows a frame from memory of exactly its length. */
static void show(const uint8_t *bytes, size_t length, const struct kedge_judgement *j)
{
  struct kedge_packet packet;
  struct kedge_flow_sight sight = {0};
  uint8_t *frame = copy_of(bytes, length);
  enum kedge_packet_kind kind = kedge_packet_parse(frame, length, &packet);
  uint64_t begun = flows.begun;
  records = 0;
  doing = SHOWING;
  judged = j;
  shown = NULL;
  if (kind != KEDGE_PACKET_FLOW && kind != KEDGE_PACKET_ND && kind != KEDGE_PACKET_ICMP_ERROR) {
    HOLDS(!kedge_flows_observe(&flows, frame, &packet, j, &state, &sight) && records == 0 && flows.begun == begun);
    free(frame);
    return;
  }
  unsigned side = 0;
  struct kedge_flow_key key = packet.key;
  key.reserved = packet.family;
  struct talk *t = talk_of(&key, &side);
  if (t == NULL) {
    if (talks == TALKS) {
      free(frame);
      return;
    }
    t = &talk[talks++];
    memset(t, 0, sizeof(*t));
    t->key = key;
    side = 0;
  }
  const uint8_t *ip = frame + packet.network, *p = frame + packet.transport;
  bool ip4 = packet.family == KEDGE_FAMILY_IP4, tcp = key.protocol == 6 && packet.transport != 0;
  size_t total = ip4 ? (size_t)ip[2] << 8 | ip[3] : 40 + ((size_t)ip[4] << 8 | ip[5]);
  unsigned flags = tcp ? p[13] : 0, closed = t->closed;
  shown = t;
  HOLDS(kedge_flows_observe(&flows, frame, &packet, j, &state, &sight));
  struct account *a = &t->side[side];
  if (flows.begun != begun) {
    t->closed = 0;
    memset(&t->deep, 0, sizeof(t->deep));
    memset(&t->name, 0, sizeof(t->name));
  }
  HOLDS(records <= 4 && sight.bytes == total && sight.application < KEDGE_APPLICATIONS);
  HOLDS(flows.begun == begun || (flows.begun == begun + 1 && t->side[0].packets + t->side[1].packets == 0));
  /* The same ports after an end, opened again, are another conversation. */
  HOLDS(closed != 3 || (flags & 0x12u) != 2 || flows.begun != begun);
  if (a->packets == 0) {
    a->first_at_ns = state.now_ns;
    a->epoch = state.epoch;
    a->level = state.level;
    a->judgement = *j;
    a->dscp = ip4 ? ip[1] >> 2 : (uint8_t)((ip[0] & 15u) << 2 | ip[1] >> 6);
  }
  /* Judged alike, or the record would have ended. */
  HOLDS(a->epoch == state.epoch && a->level == state.level && a->judgement.verdict == j->verdict &&
        a->judgement.reason == j->reason && a->judgement.entry == j->entry &&
        a->judgement.source_zone == j->source_zone && a->judgement.destination_zone == j->destination_zone);
  a->last_at_ns = state.now_ns;
  a->packets++;
  a->bytes += total;
  a->tcp_flags = (uint8_t)(a->tcp_flags | flags);
  t->closed |= (flags & 4u) != 0 ? 3u : (flags & 1u) != 0 ? (uint8_t)(1u << side) : 0u;
  if (state.classify != 0 && kind == KEDGE_PACKET_FLOW && packet.transport != 0 && (tcp || key.protocol == 17))
    listen(t, side, p, (size_t)(ip + total - p));
  t->seen = ticks(state.now_ns);
  t->application = sight.application;
  outstanding++;
  packets++;
  free(frame);
}

/* A frame of conversation `number`, with a payload; its length. */
static size_t frame_of(uint8_t *f, unsigned number, unsigned side, bool tcp, unsigned flags, unsigned class, uint32_t sequence,
                       const uint8_t *payload, size_t bytes)
{
  bool ip6 = number % 3 == 0;
  size_t header = tcp ? 20 : 8, network = ip6 ? 40 : 20, address = ip6 ? 16 : 4;
  memset(f, 0, 14 + network + header);
  f[0] = f[6] = 2;
  uint8_t *ip = f + 14, *addresses = ip + (ip6 ? 8 : 12), *p = ip + network;
  size_t total = (ip6 ? 0 : network) + header + bytes;
  if (ip6) {
    f[12] = 0x86, f[13] = 0xdd;
    ip[0] = (uint8_t)(0x60 | class >> 4), ip[1] = (uint8_t)(class << 4);
    ip[4] = (uint8_t)(total >> 8), ip[5] = (uint8_t)total, ip[6] = tcp ? 6 : 17, ip[7] = 64;
  } else {
    f[12] = 8;
    ip[0] = 0x45, ip[1] = (uint8_t)class;
    ip[2] = (uint8_t)(total >> 8), ip[3] = (uint8_t)total, ip[8] = 64, ip[9] = tcp ? 6 : 17;
  }
  uint8_t *opener = addresses + (side == 0 ? 0 : address), *server = addresses + (side == 0 ? address : 0);
  opener[0] = server[0] = 10;
  opener[1] = (uint8_t)number, server[1] = 200;
  p[side * 2] = 4, p[side * 2 + 1] = (uint8_t)number, p[2 - side * 2] = 17;
  if (tcp) {
    p[4] = (uint8_t)(sequence >> 24), p[5] = (uint8_t)(sequence >> 16), p[6] = (uint8_t)(sequence >> 8), p[7] = (uint8_t)sequence;
    p[12] = 0x50, p[13] = (uint8_t)flags;
  } else {
    p[4] = (uint8_t)((8 + bytes) >> 8), p[5] = (uint8_t)(8 + bytes);
  }
  if (bytes > 0)
    memcpy(p + header, payload, bytes);
  return 14 + network + header + bytes;
}

static uint32_t sent[256][2];

/* A request whose host is one letter again and again, which no other conversation of the sixteen next to it has. */
static size_t request_of(unsigned number, char *text)
{
  static const char LETTERS[] = "abcdefgijklmnpqr";
  char host[13] = {0};
  memset(host, LETTERS[number % 16u], 12);
  return (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
}

/*
 * One step: time, a sweep, another state, any frame, or a packet of a made conversation whose payload is of the input
 * or a request, whole or its next half.
 */
static void step(struct input *in)
{
  unsigned what = (unsigned)take(in, 1), kind = what & 7u;
  if (kind == 0) {
    unsigned by = (unsigned)take(in, 1);
    uint64_t ns = UINT64_C(1) << by % 38u;
    if (by < 0xf0) {
      state.now_ns += ns;
    } else if (ns < state.now_ns) {
      state.now_ns -= ns;
      time_went_back = true;
    }
    return;
  }
  if (kind == 1) {
    doing = SWEEPING;
    kedge_flows_sweep(&flows, state.now_ns);
    return;
  }
  if (kind == 2) {
    unsigned next = (unsigned)take(in, 1);
    state.epoch += next & 1u;
    state.level = (uint8_t)(1 + (next >> 1) % 5);
    state.classify = next >> 4 & 1u;
    return;
  }
  unsigned how = (unsigned)take(in, 1);
  struct kedge_judgement j = {.verdict = (uint8_t)(1 + how % 3),
                              .reason = (uint8_t)((how >> 2 & 7u) % KEDGE_REASONS),
                              .source_zone = how >> 5 & 1u,
                              .destination_zone = how >> 6 & 1u,
                              .entry = how >> 7 != 0 ? 5 : KEDGE_NO_ENTRY};
  if (kind == 3) {
    size_t length = take(in, 2) % FRAME_MOST;
    if (length > in->left)
      length = in->left;
    show(in->at, length, &j);
    in->at += length;
    in->left -= length;
    return;
  }
  static uint8_t frame[FRAME_MOST];
  char text[64];
  unsigned number = (unsigned)take(in, 1), flags = (unsigned)take(in, 1), side = what >> 3 & 1u, payload = what >> 5 & 3u;
  bool tcp = (what >> 4 & 1u) != 0;
  const uint8_t *at = (const uint8_t *)text;
  size_t bytes = payload < 2 ? 0 : request_of(number, text);
  if (payload == 1) {
    bytes = take(in, 2) % 1400u;
    if (bytes > in->left)
      bytes = in->left;
    at = in->at;
    in->at += bytes;
    in->left -= bytes;
  } else if (payload == 3) {
    bool second = (what >> 7 & 1u) != 0;
    at += second ? bytes / 2 : 0;
    bytes = second ? bytes - bytes / 2 : bytes / 2;
  }
  uint32_t sequence = sent[number][side] + ((flags & 2u) != 0 ? 0u : 1u);
  show(frame, frame_of(frame, number, side, tcp, flags, kind << 4 | side, sequence, at, bytes), &j);
  sent[number][side] += (uint32_t)bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const uint64_t SEED[2] = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)};
  struct input in = {data, size};
  if (memory == NULL && (memory = aligned_alloc(64, kedge_flows_bytes(FLOWS))) == NULL)
    abort();
  memset(memory, 0, kedge_flows_bytes(FLOWS));
  memset(sent, 0, sizeof(sent));
  kedge_flows_start(&flows, memory, FLOWS, SEED, ended, &flows);
  state = (struct kedge_flow_state){.now_ns = 100 * SECOND, .epoch = 7, .level = 4, .classify = 1};
  talks = 0;
  outstanding = packets = recorded = 0;
  time_went_back = false;
  while (in.left > 0) {
    step(&in);
    table_holds();
  }
  doing = STOPPING;
  kedge_flows_stop(&flows);
  HOLDS(flows.live == 0 && outstanding == 0 && recorded == packets);
  return 0;
}
