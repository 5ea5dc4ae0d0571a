/*
 * The flows of one packet worker: who speaks with whom, how much, under which judgement, and in what language.
 *
 * It must never wait, allocate, or do more than a bounded piece of work per packet and per batch; what ends is
 * handed to the owner as a record, and where records go is not its business.
 *
 * A conversation is the pair of addresses and ports, whoever speaks; each of its two directions has a record. The
 * table is set-associative: a conversation has one bucket of KEDGE_FLOW_WAYS places, found by a keyed hash. The last
 * KEDGE_FLOW_WAYS_DROPPED of them are for conversations of which no packet was ever let pass, and for nobody else:
 * a flood of packets that are dropped evicts none of those that pass.
 */
#ifndef KEDGE_FLOWS_H
#define KEDGE_FLOWS_H

#include "classify.h"
#include "deep.h"
#include "packet.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KEDGE_FLOW_WAYS 8u
#define KEDGE_FLOW_WAYS_DROPPED 2u
#define KEDGE_FLOWS_LEAST 64u
#define KEDGE_FLOWS_MOST 1048576u
#define KEDGE_FLOWS_DEFAULT 16384u

/* Without a packet for so long a conversation is over; times are in units of 2^20 ns. */
#define KEDGE_FLOW_TICK_SHIFT 20u
#define KEDGE_FLOW_TICKS_OF(seconds) ((uint32_t)((UINT64_C(seconds) * 1000000000) >> KEDGE_FLOW_TICK_SHIFT))
#define KEDGE_FLOW_IDLE_TCP KEDGE_FLOW_TICKS_OF(60)
#define KEDGE_FLOW_IDLE_OTHER KEDGE_FLOW_TICKS_OF(15)
/* ... and after a reset, or a FIN of both sides, so that the last acknowledgements still belong to it. */
#define KEDGE_FLOW_IDLE_CLOSED KEDGE_FLOW_TICKS_OF(1)
/* A record that is older when a packet comes is written, and the next begins. */
#define KEDGE_FLOW_ACTIVE_NS UINT64_C(60000000000)
/* The sweep looks at every bucket about once a second, and at no more than so many at a time. */
#define KEDGE_FLOW_SWEEP_NS UINT64_C(1000000000)
#define KEDGE_FLOW_SWEEP_BUCKETS 32u

/* One direction. `packets` 0 means that it has no record now. */
struct kedge_flow_side {
  uint64_t first_at_ns;
  uint64_t last_at_ns;
  uint64_t packets;
  uint64_t bytes;
  uint64_t epoch;
  uint32_t entry;
  uint8_t level;
  uint8_t verdict;
  uint8_t reason;
  uint8_t source_zone;
  uint8_t destination_zone;
  uint8_t tcp_flags;
  uint8_t dscp;
  uint8_t reserved[13];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_flow_side) == 64, "a direction is one cache line");

/* A conversation: what every packet of it touches. Side 0 speaks from the lower address and port. */
struct kedge_flow {
  uint64_t low[2];       /* addresses as they stand in the packet */
  uint64_t high[2];
  uint16_t low_port;
  uint16_t high_port;
  uint8_t protocol;
  uint8_t family;
  uint8_t application;   /* as far as it is known */
  uint8_t looked;        /* 0 = never looked into, 2 = being looked into, 1 = nothing more is to be learnt */
  uint8_t closed;        /* sides whose FIN was seen, 3 = over (a reset counts for both) */
  uint8_t reserved[23];
  struct kedge_flow_side side[2];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_flow) == 192, "a conversation is three cache lines");

/* ... and what only looking deeper and the end of a record touch. */
struct kedge_flow_depth {
  struct kedge_deep deep;
  struct kedge_deep_name name;
  uint8_t reserved[2];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_flow_depth) == 192, "depth is three cache lines");

/* `tag` 0 = free; otherwise hash bits, with bit 0 set and bit 1 for TCP. `seen` in ticks. */
struct kedge_flow_bucket {
  uint32_t tag[KEDGE_FLOW_WAYS];
  uint32_t seen[KEDGE_FLOW_WAYS];
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_flow_bucket) == 64, "a bucket is one cache line");

struct kedge_flows {
  struct kedge_flow_bucket *bucket;
  struct kedge_flow *flow;         /* of bucket b, way w: b * KEDGE_FLOW_WAYS + w */
  struct kedge_flow_depth *depth;  /* likewise */
  uint32_t buckets;                /* a power of two */
  uint32_t hand;                   /* bucket that the sweep looks at next */
  uint64_t swept_at_ns;
  uint64_t seed[2];
  uint64_t begun;                  /* conversations, ever */
  uint64_t evicted;                /* of these, how many made room for another */
  uint64_t live;                   /* now */
  /* Told of each record that ends; the record is valid during the call only. */
  void (*ended)(void *context, const struct kedge_flow_record *record);
  void *context;
};

/* What a packet was judged under. */
struct kedge_flow_state {
  uint64_t now_ns; /* monotonic; the same for a whole batch is good enough */
  uint64_t epoch;
  uint8_t level;   /* 1..5 */
  uint8_t classify;/* 1 = the level's table says to look deeper */
};

struct kedge_flow_sight {
  uint64_t bytes;      /* of the IP packet */
  uint8_t application; /* of its conversation, this packet included */
};

/*
 * Bytes of memory for so many conversations; 0 where the number is no power of two from KEDGE_FLOWS_LEAST to
 * KEDGE_FLOWS_MOST. 392 bytes each.
 */
size_t kedge_flows_bytes(unsigned flows);

/*
 * `memory` is the caller's, zeroed, aligned to a cache line, of kedge_flows_bytes(flows), and must outlive `f`.
 * `seed` should be known to nobody who can send packets.
 */
void kedge_flows_start(struct kedge_flows *f, void *memory, unsigned flows, const uint64_t seed[2],
                       void (*ended)(void *context, const struct kedge_flow_record *record), void *context);

/*
 * Counts one packet with the judgement that it got. False, and nothing done, where it has no IP header or is
 * malformed. A later fragment counts to the flow of its addresses and protocol with ports 0. `frame` is as it came:
 * not marked yet. Ends at most four records.
 */
bool kedge_flows_observe(struct kedge_flows *f, const uint8_t *frame, const struct kedge_packet *packet,
                         const struct kedge_judgement *judgement, const struct kedge_flow_state *state,
                         struct kedge_flow_sight *sight);

/* Once per batch: ends what is idle, a bounded piece of the table at a time. */
void kedge_flows_sweep(struct kedge_flows *f, uint64_t now_ns);

/* Ends everything (KEDGE_FLOW_END_FORCED). Not for the packet path. */
void kedge_flows_stop(struct kedge_flows *f);

#ifdef __cplusplus
}
#endif
#endif
