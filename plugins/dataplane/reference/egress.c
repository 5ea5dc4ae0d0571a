/*
 * The implementation of egress.h.
 *
 * It must keep the account of every frame: left, lost, or waiting.
 */
#define _GNU_SOURCE
#include "egress.h"

#include <sys/socket.h>

/* A port that the kernel takes nothing for is tried again so often, and loses what waits after so long. */
#define RETRY_NS UINT64_C(100000)
#define PATIENCE_NS UINT64_C(1000000000)
/* A fast port lets some frames come together, instead of waking its worker for each. */
#define TOGETHER_NS UINT64_C(250000)

bool kedge_egress_open(struct kedge_egress *e, struct kedge_port *port, unsigned ports,
                       struct kedge_queue_counters *counters)
{
  e->port = port;
  e->ports = ports;
  if (!kedge_queues_open(&e->queues, counters))
    return false;
  for (unsigned i = 0; i < ports; i++)
    e->queues.port[i].meter.rate = port[i].rate;
  return true;
}

void kedge_egress_close(struct kedge_egress *e)
{
  kedge_queues_close(&e->queues);
}

/* Notes whether the kernel took what it was given. */
static void note(struct kedge_queue_port *q, bool took, uint64_t now)
{
  if (took) {
    q->refused_since_ns = q->retry_at_ns = 0;
    return;
  }
  q->retry_at_ns = now + RETRY_NS;
  if (q->refused_since_ns == 0)
    q->refused_since_ns = now;
}

unsigned kedge_egress_send(struct kedge_egress *e, unsigned out, enum kedge_queue class, struct kedge_frame *frame,
                           const struct kedge_packet *packet, const uint8_t *place, unsigned count,
                           unsigned source_zone, uint64_t now)
{
  struct kedge_queue_port *q = &e->queues.port[out];
  struct mmsghdr message[KEDGE_BATCH];
  struct iovec part[KEDGE_BATCH][2];
  uint64_t bits[KEDGE_BATCH];
  unsigned most = 0, dealt = 0, left = 0;
  bool behind = q->line[KEDGE_QUEUE_ORDINARY].frames != 0 ||
                (class == KEDGE_QUEUE_DEPRIORITISED && q->line[KEDGE_QUEUE_DEPRIORITISED].frames != 0);
  if (kedge_queues_waiting(&e->queues, out) == 0)
    q->refused_since_ns = 0; /* nobody waits for the kernel: our patience is counted anew */
  struct kedge_meter meter = q->meter;
  while (!behind && q->retry_at_ns <= now && most < count && kedge_meter_open(&meter, now)) {
    struct kedge_frame *f = &frame[place[most]];
    bits[most] = kedge_wire_bits(f, &packet[place[most]]);
    kedge_meter_charge(&meter, bits[most], now);
    part[most][0] = (struct iovec){&f->offload, sizeof(f->offload)};
    part[most][1] = (struct iovec){f->at, f->length};
    message[most].msg_hdr = (struct msghdr){.msg_iov = part[most], .msg_iovlen = 2};
    most++;
  }
  if (most != 0) {
    dealt = kedge_port_send(&e->port[out], message, most, &left);
    for (unsigned i = 0; i < dealt; i++)
      kedge_meter_charge(&q->meter, bits[i], now);
    note(q, dealt == most, now);
    kedge_queues_count(&e->queues, class, left, dealt - left);
  }
  for (unsigned i = dealt; i < count; i++)
    kedge_queues_put(&e->queues, out, class, &frame[place[i]], &packet[place[i]], source_zone, e->port[out].zone);
  return left;
}

/* At most one batch of one class; `*more` when others of it still wait. */
static unsigned drain_class(struct kedge_egress *e, unsigned out, enum kedge_queue class, uint64_t now, bool *more)
{
  struct kedge_queue_port *q = &e->queues.port[out];
  struct mmsghdr message[KEDGE_BATCH];
  struct iovec part[KEDGE_BATCH][KEDGE_FRAME_PARTS];
  uint64_t bits[KEDGE_BATCH];
  unsigned most = 0, dealt = 0, left = 0;
  size_t bytes = 0;
  struct kedge_meter meter = q->meter;
  for (const struct kedge_waiting *w = kedge_queues_first(&e->queues, out, class);
       w != NULL && most < KEDGE_BATCH && bytes < KEDGE_DRAIN_BYTES && kedge_meter_open(&meter, now);
       w = kedge_queues_behind(&e->queues, w)) {
    bits[most] = w->bits;
    bytes += w->length;
    kedge_meter_charge(&meter, w->bits, now);
    message[most].msg_hdr =
        (struct msghdr){.msg_iov = part[most], .msg_iovlen = kedge_queues_parts(&e->queues, w, part[most])};
    most++;
  }
  if (most != 0) {
    dealt = kedge_port_send(&e->port[out], message, most, &left);
    for (unsigned i = 0; i < dealt; i++)
      kedge_meter_charge(&q->meter, bits[i], now);
    note(q, dealt == most, now);
    kedge_queues_gone(&e->queues, out, class, left, dealt - left);
  }
  *more = q->line[class].frames != 0;
  return left;
}

unsigned kedge_egress_drain(struct kedge_egress *e, unsigned out, uint64_t now)
{
  struct kedge_queue_port *q = &e->queues.port[out];
  bool more;
  if (q->retry_at_ns > now)
    return 0;
  if (q->refused_since_ns != 0 && now - q->refused_since_ns > PATIENCE_NS) {
    /* No way out: kept any longer, they would only be late. */
    for (unsigned class = 0; class < KEDGE_QUEUES; class++)
      kedge_queues_gone(&e->queues, out, (enum kedge_queue)class, 0, q->line[class].frames);
    note(q, true, now);
    return 0;
  }
  unsigned left = drain_class(e, out, KEDGE_QUEUE_ORDINARY, now, &more);
  if (!more && q->retry_at_ns == 0)
    left += drain_class(e, out, KEDGE_QUEUE_DEPRIORITISED, now, &more);
  return left;
}

uint64_t kedge_egress_due(const struct kedge_egress *e)
{
  uint64_t due = KEDGE_NEVER;
  for (unsigned out = 0; out < e->ports; out++) {
    const struct kedge_queue_port *q = &e->queues.port[out];
    if (kedge_queues_waiting(&e->queues, out) == 0)
      continue;
    uint64_t opens = kedge_meter_opens_at(&q->meter);
    uint64_t at = opens == 0 ? q->retry_at_ns : opens + TOGETHER_NS;
    if (at < q->retry_at_ns)
      at = q->retry_at_ns;
    if (at < due)
      due = at;
  }
  return due;
}
