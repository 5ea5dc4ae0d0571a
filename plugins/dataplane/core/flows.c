/*
 * The implementation of flows.h.
 *
 * It must let no packet cost more than one bucket, one conversation and what deep.h says about its own work.
 */
#include "flows.h"

#include <string.h>

#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u
#define TCP_FIN 0x01u
#define TCP_SYN 0x02u
#define TCP_RST 0x04u
#define TCP_ACK 0x10u
#define CLOSED_WHOLLY 3u
#define TAG_USED 1u
#define TAG_TCP 2u

static inline uint16_t be16(const uint8_t *p) { return (uint16_t)((unsigned)p[0] << 8 | p[1]); }
static inline uint32_t be32(const uint8_t *p) { return (uint32_t)be16(p) << 16 | be16(p + 2); }
static inline uint32_t ticks_of(uint64_t ns) { return (uint32_t)(ns >> KEDGE_FLOW_TICK_SHIFT); }

/* ------------------------------------------------------------------- start */

size_t kedge_flows_bytes(unsigned flows)
{
  if (flows < KEDGE_FLOWS_LEAST || flows > KEDGE_FLOWS_MOST || (flows & (flows - 1)) != 0)
    return 0;
  return (size_t)flows * (sizeof(struct kedge_flow) + sizeof(struct kedge_flow_depth)) +
         flows / KEDGE_FLOW_WAYS * sizeof(struct kedge_flow_bucket);
}

void kedge_flows_start(struct kedge_flows *f, void *memory, unsigned flows, const uint64_t seed[2],
                       void (*ended)(void *context, const struct kedge_flow_record *record), void *context)
{
  memset(f, 0, sizeof(*f));
  f->buckets = flows / KEDGE_FLOW_WAYS;
  f->bucket = memory;
  f->flow = (void *)(f->bucket + f->buckets);
  f->depth = (void *)(f->flow + flows);
  f->seed[0] = seed[0];
  f->seed[1] = seed[1];
  f->ended = ended;
  f->context = context;
}

/* ------------------------------------------------------------------ finding */

static inline uint64_t rotated(uint64_t x, unsigned bits) { return x << bits | x >> (64 - bits); }

#define ROUND()                                                                                                        \
  do {                                                                                                                 \
    a += b;                                                                                                            \
    b = rotated(b, 13) ^ a;                                                                                            \
    a = rotated(a, 32);                                                                                                \
    c += d;                                                                                                            \
    d = rotated(d, 16) ^ c;                                                                                            \
    a += d;                                                                                                            \
    d = rotated(d, 21) ^ a;                                                                                            \
    c += b;                                                                                                            \
    b = rotated(b, 17) ^ c;                                                                                            \
    c = rotated(c, 32);                                                                                                \
  } while (0)

/* SipHash-1-3 of whole words: who may choose addresses and ports must not be able to choose a bucket. */
static uint64_t hash_of(const uint64_t seed[2], const uint64_t *word, unsigned words)
{
  uint64_t a = seed[0] ^ UINT64_C(0x736f6d6570736575), b = seed[1] ^ UINT64_C(0x646f72616e646f6d);
  uint64_t c = seed[0] ^ UINT64_C(0x6c7967656e657261), d = seed[1] ^ UINT64_C(0x7465646279746573);
  for (unsigned i = 0; i <= words; i++) {
    uint64_t m = i < words ? word[i] : (uint64_t)words << 59;
    d ^= m;
    ROUND();
    a ^= m;
  }
  c ^= 0xff;
  ROUND();
  ROUND();
  ROUND();
  return a ^ b ^ c ^ d;
}

/* Who speaks with whom, the same for both directions. */
struct pair {
  uint64_t low[2], high[2];
  uint16_t low_port, high_port;
  uint8_t protocol, family;
  uint8_t side; /* 0 = the packet comes from `low` */
};

static void pair_of(const struct kedge_packet *packet, struct pair *pair)
{
  const struct kedge_flow_key *key = &packet->key;
  uint64_t source[2], destination[2];
  memcpy(source, key->source, sizeof(source));
  memcpy(destination, key->destination, sizeof(destination));
  /* Any order will do, as long as both directions find the same one. */
  bool swap = source[0] != destination[0]   ? source[0] > destination[0]
              : source[1] != destination[1] ? source[1] > destination[1]
                                            : key->source_port > key->destination_port;
  memcpy(pair->low, swap ? destination : source, sizeof(pair->low));
  memcpy(pair->high, swap ? source : destination, sizeof(pair->high));
  pair->low_port = swap ? key->destination_port : key->source_port;
  pair->high_port = swap ? key->source_port : key->destination_port;
  pair->protocol = key->protocol;
  pair->family = packet->family;
  pair->side = swap;
}

static inline bool speaks(const struct kedge_flow *flow, const struct pair *pair)
{
  return flow->low[0] == pair->low[0] && flow->high[0] == pair->high[0] && flow->low_port == pair->low_port &&
         flow->high_port == pair->high_port && flow->protocol == pair->protocol && flow->low[1] == pair->low[1] &&
         flow->high[1] == pair->high[1] && flow->family == pair->family;
}

/* ------------------------------------------------------------------ records */

/* Hands out the record of one side, if it has one, and leaves the side without. */
static void end_side(struct kedge_flows *f, size_t at, unsigned number, enum kedge_flow_end why)
{
  const struct kedge_flow *flow = &f->flow[at];
  struct kedge_flow_side *side = &f->flow[at].side[number];
  if (side->packets == 0)
    return;
  struct kedge_flow_record r;
  /* With what lies between and behind its fields: a record leaves the process. */
  memset(&r, 0, sizeof(r));
  r.first_at_ns = side->first_at_ns;
  r.last_at_ns = side->last_at_ns;
  r.packets = side->packets;
  r.bytes = side->bytes;
  r.epoch = side->epoch;
  r.entry = side->entry;
  r.level = side->level;
  r.verdict = side->verdict;
  r.reason = side->reason;
  r.application = flow->application;
  r.end = (uint8_t)why;
  r.tcp_flags = side->tcp_flags;
  r.dscp = side->dscp;
  memcpy(r.key.source, number == 0 ? flow->low : flow->high, sizeof(r.key.source));
  memcpy(r.key.destination, number == 0 ? flow->high : flow->low, sizeof(r.key.destination));
  r.key.source_port = number == 0 ? flow->low_port : flow->high_port;
  r.key.destination_port = number == 0 ? flow->high_port : flow->low_port;
  r.key.protocol = flow->protocol;
  r.key.source_zone = side->source_zone;
  r.key.destination_zone = side->destination_zone;
  r.key.reserved = flow->family;
  if (flow->application != KEDGE_APPLICATION_UNKNOWN) {
    const struct kedge_flow_depth *depth = &f->depth[at];
    /* A name that is still being read is none yet. */
    if (depth->deep.reading == 0) {
      r.name_bytes = depth->name.bytes;
      r.name_cut = depth->name.cut;
      memcpy(r.name, depth->name.text, depth->name.bytes);
    }
  }
  side->packets = 0;
  f->ended(f->context, &r);
}

/* Ends a conversation and frees its place. */
static void end_flow(struct kedge_flows *f, size_t at, enum kedge_flow_end why)
{
  /* It was silent for long: what its records are made of comes together, not one after the other. */
  __builtin_prefetch(&f->flow[at].side[0]);
  __builtin_prefetch(&f->flow[at].side[1]);
  __builtin_prefetch(&f->depth[at]);
  end_side(f, at, 0, why);
  end_side(f, at, 1, why);
  f->bucket[at / KEDGE_FLOW_WAYS].tag[at % KEDGE_FLOW_WAYS] = 0;
  f->live--;
}

static inline uint32_t idle_limit(uint32_t tag)
{
  return (tag & TAG_TCP) != 0 ? KEDGE_FLOW_IDLE_TCP : KEDGE_FLOW_IDLE_OTHER;
}

/* A conversation that is over stands as if it had been silent for all but KEDGE_FLOW_IDLE_CLOSED. */
static inline bool is_idle(const struct kedge_flow_bucket *bucket, unsigned way, uint32_t now)
{
  return now - bucket->seen[way] >= idle_limit(bucket->tag[way]) && (int32_t)(now - bucket->seen[way]) > 0;
}

static enum kedge_flow_end end_of_idle(const struct kedge_flow *flow)
{
  return flow->closed == CLOSED_WHOLLY ? KEDGE_FLOW_END_DETECTED : KEDGE_FLOW_END_IDLE;
}

/* ------------------------------------------------------------------- places */

/* A free way among [from, to): one that is free, else one that is idle, else the one that was seen last longest ago. */
static unsigned make_room(struct kedge_flows *f, size_t number, unsigned from, unsigned to, uint32_t now)
{
  struct kedge_flow_bucket *bucket = &f->bucket[number];
  unsigned oldest = from;
  for (unsigned way = from; way < to; way++) {
    if (bucket->tag[way] == 0)
      return way;
    if ((int32_t)(bucket->seen[way] - bucket->seen[oldest]) < 0)
      oldest = way;
  }
  for (unsigned way = from; way < to; way++)
    if (is_idle(bucket, way, now)) {
      size_t at = number * KEDGE_FLOW_WAYS + way;
      end_flow(f, at, end_of_idle(&f->flow[at]));
      return way;
    }
  end_flow(f, number * KEDGE_FLOW_WAYS + oldest, KEDGE_FLOW_END_RESOURCES);
  f->evicted++;
  return oldest;
}

static size_t begin_flow(struct kedge_flows *f, size_t number, uint32_t tag, const struct pair *pair, bool dropped,
                         uint32_t now)
{
  const unsigned passing = KEDGE_FLOW_WAYS - KEDGE_FLOW_WAYS_DROPPED;
  unsigned way = dropped ? make_room(f, number, passing, KEDGE_FLOW_WAYS, now) : make_room(f, number, 0, passing, now);
  size_t at = number * KEDGE_FLOW_WAYS + way;
  struct kedge_flow *flow = &f->flow[at];
  f->bucket[number].tag[way] = tag;
  memset(flow, 0, sizeof(*flow));
  memcpy(flow->low, pair->low, sizeof(flow->low));
  memcpy(flow->high, pair->high, sizeof(flow->high));
  flow->low_port = pair->low_port;
  flow->high_port = pair->high_port;
  flow->protocol = pair->protocol;
  flow->family = pair->family;
  /* Its depth is cleared when it is looked into first: levels that do not look pay nothing. */
  f->begun++;
  f->live++;
  return at;
}

/* The conversation's place, or SIZE_MAX. */
static size_t find_flow(const struct kedge_flows *f, size_t number, uint32_t tag, const struct pair *pair)
{
  const struct kedge_flow_bucket *bucket = &f->bucket[number];
  for (unsigned way = 0; way < KEDGE_FLOW_WAYS; way++) {
    const struct kedge_flow *flow = &f->flow[number * KEDGE_FLOW_WAYS + way];
    if (bucket->tag[way] != tag)
      continue;
    /* It is as good as found: its side is on the way while its addresses are. */
    __builtin_prefetch(&flow->side[pair->side]);
    if (speaks(flow, pair))
      return number * KEDGE_FLOW_WAYS + way;
  }
  return SIZE_MAX;
}

/* ------------------------------------------------------------------- depth */

#define LOOKED_WHOLLY 1u
#define LOOKED_BEGUN 2u

static void look_deeper(struct kedge_flows *f, size_t at, const uint8_t *frame, const struct kedge_packet *packet,
                        size_t end, unsigned side)
{
  struct kedge_flow *flow = &f->flow[at];
  struct kedge_flow_depth *depth = &f->depth[at];
  const uint8_t *p = frame + packet->transport;
  size_t n = end - packet->transport;
  if (flow->looked == 0) {
    memset(&depth->deep, 0, sizeof(depth->deep));
    depth->name.bytes = 0;
    depth->name.cut = 0;
    flow->looked = LOOKED_BEGUN;
  }
  if (flow->protocol == PROTOCOL_TCP) {
    size_t header = (size_t)(p[12] >> 4) * 4;
    kedge_deep_segment(&depth->deep, side, be32(p + 4), (p[13] & TCP_SYN) != 0, p + header, n - header, &depth->name);
  } else {
    size_t said = be16(p + 4);
    kedge_deep_message(&depth->deep, p + 8, (said < n ? said : n) - 8, &depth->name);
  }
  flow->application = depth->deep.application;
  if (depth->deep.done != 0)
    flow->looked = LOOKED_WHOLLY;
}

/* ------------------------------------------------------------------ observe */

static inline bool judged_alike(const struct kedge_flow_side *side, const struct kedge_judgement *j,
                                const struct kedge_flow_state *state)
{
  return side->epoch == state->epoch && side->entry == j->entry && side->level == state->level &&
         side->verdict == j->verdict && side->reason == j->reason && side->source_zone == j->source_zone &&
         side->destination_zone == j->destination_zone;
}

static void begin_side(struct kedge_flow_side *side, const struct kedge_judgement *j,
                       const struct kedge_flow_state *state, uint8_t dscp)
{
  side->first_at_ns = state->now_ns;
  side->bytes = 0;
  side->epoch = state->epoch;
  side->entry = j->entry;
  side->level = state->level;
  side->verdict = j->verdict;
  side->reason = j->reason;
  side->source_zone = j->source_zone;
  side->destination_zone = j->destination_zone;
  side->tcp_flags = 0;
  side->dscp = dscp;
}

bool kedge_flows_observe(struct kedge_flows *f, const uint8_t *frame, const struct kedge_packet *packet,
                         const struct kedge_judgement *j, const struct kedge_flow_state *state,
                         struct kedge_flow_sight *sight)
{
  if (packet->kind != KEDGE_PACKET_FLOW && packet->kind != KEDGE_PACKET_ICMP_ERROR && packet->kind != KEDGE_PACKET_ND)
    return false;
  const uint8_t *ip = frame + packet->network;
  bool ip4 = packet->family == KEDGE_FAMILY_IP4;
  size_t bytes = ip4 ? be16(ip + 2) : 40u + be16(ip + 4);
  uint8_t dscp = ip4 ? ip[1] >> 2 : (uint8_t)((((unsigned)ip[0] & 15u) << 4 | ip[1] >> 4) >> 2);
  bool tcp = packet->key.protocol == PROTOCOL_TCP && packet->transport != 0;
  uint8_t flags = tcp ? frame[packet->transport + 13] : 0;
  uint32_t now = ticks_of(state->now_ns);
  bool dropped = j->verdict == KEDGE_VERDICT_DROP;

  struct pair pair;
  pair_of(packet, &pair);
  uint64_t word[5] = {pair.low[0], pair.high[0],
                      (uint64_t)pair.low_port << 32 | (uint64_t)pair.high_port << 16 | (uint64_t)pair.protocol << 8 |
                          pair.family,
                      pair.low[1], pair.high[1]};
  uint64_t hash = hash_of(f->seed, word, ip4 ? 3 : 5);
  size_t number = (size_t)(hash & (f->buckets - 1));
  uint32_t tag = ((uint32_t)(hash >> 32) & ~(TAG_USED | TAG_TCP)) | TAG_USED |
                 (packet->key.protocol == PROTOCOL_TCP ? TAG_TCP : 0u);

  size_t at = find_flow(f, number, tag, &pair);
  if (at != SIZE_MAX) {
    if (state->classify != 0)
      __builtin_prefetch(&f->depth[at]);
    bool anew = f->flow[at].closed == CLOSED_WHOLLY && (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    bool among_dropped = at % KEDGE_FLOW_WAYS >= KEDGE_FLOW_WAYS - KEDGE_FLOW_WAYS_DROPPED;
    if (is_idle(&f->bucket[number], (unsigned)(at % KEDGE_FLOW_WAYS), now) || anew) {
      end_flow(f, at, end_of_idle(&f->flow[at]));
      at = SIZE_MAX;
    } else if (among_dropped && !dropped) {
      /* It passes from now on, and leaves the places of those that do not. */
      end_flow(f, at, KEDGE_FLOW_END_FORCED);
      at = SIZE_MAX;
    }
  }
  if (at == SIZE_MAX)
    at = begin_flow(f, number, tag, &pair, dropped, now);

  struct kedge_flow *flow = &f->flow[at];
  struct kedge_flow_side *side = &flow->side[pair.side];
  if (side->packets != 0) {
    if (!judged_alike(side, j, state))
      end_side(f, at, pair.side, KEDGE_FLOW_END_FORCED);
    else if (state->now_ns - side->first_at_ns >= KEDGE_FLOW_ACTIVE_NS)
      end_side(f, at, pair.side, KEDGE_FLOW_END_ACTIVE);
  }
  if (side->packets == 0)
    begin_side(side, j, state, dscp);
  side->last_at_ns = state->now_ns;
  side->packets++;
  side->bytes += bytes;
  side->tcp_flags |= flags;

  uint32_t seen = now;
  if (tcp) {
    if ((flags & TCP_RST) != 0)
      flow->closed = CLOSED_WHOLLY;
    else if ((flags & TCP_FIN) != 0)
      flow->closed = (uint8_t)(flow->closed | 1u << pair.side);
    if (flow->closed == CLOSED_WHOLLY)
      seen = now - (KEDGE_FLOW_IDLE_TCP - KEDGE_FLOW_IDLE_CLOSED);
  }
  f->bucket[number].seen[at % KEDGE_FLOW_WAYS] = seen;

  if (state->classify != 0 && flow->looked != LOOKED_WHOLLY && packet->kind == KEDGE_PACKET_FLOW &&
      packet->transport != 0 && (tcp || packet->key.protocol == PROTOCOL_UDP))
    look_deeper(f, at, frame, packet, packet->network + bytes, pair.side);
  sight->bytes = bytes;
  sight->application = flow->application;
  return true;
}

/* -------------------------------------------------------------------- sweep */

void kedge_flows_sweep(struct kedge_flows *f, uint64_t now_ns)
{
  if (f->swept_at_ns == 0 || now_ns < f->swept_at_ns)
    f->swept_at_ns = now_ns;
  uint64_t since = now_ns - f->swept_at_ns;
  if (since > KEDGE_FLOW_SWEEP_NS)
    since = KEDGE_FLOW_SWEEP_NS;
  uint64_t due = since * f->buckets / KEDGE_FLOW_SWEEP_NS;
  if (due == 0)
    return;
  f->swept_at_ns = now_ns;
  if (due > KEDGE_FLOW_SWEEP_BUCKETS)
    due = KEDGE_FLOW_SWEEP_BUCKETS;
  uint32_t now = ticks_of(now_ns);
  for (; due > 0; due--) {
    size_t number = f->hand;
    f->hand = (f->hand + 1) & (f->buckets - 1);
    for (unsigned way = 0; way < KEDGE_FLOW_WAYS; way++)
      if (f->bucket[number].tag[way] != 0 && is_idle(&f->bucket[number], way, now)) {
        size_t at = number * KEDGE_FLOW_WAYS + way;
        end_flow(f, at, end_of_idle(&f->flow[at]));
      }
  }
}

void kedge_flows_stop(struct kedge_flows *f)
{
  for (size_t at = 0; at < (size_t)f->buckets * KEDGE_FLOW_WAYS; at++)
    if (f->bucket[at / KEDGE_FLOW_WAYS].tag[at % KEDGE_FLOW_WAYS] != 0)
      end_flow(f, at, KEDGE_FLOW_END_FORCED);
}
