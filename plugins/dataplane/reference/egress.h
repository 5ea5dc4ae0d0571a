/*
 * What leaves by the ports: at once, or from a queue when the port's rate or the kernel lets it (DP-11).
 *
 * It must judge nothing, never wait, and let no frame overtake one of its own class.
 */
#ifndef KEDGE_EGRESS_H
#define KEDGE_EGRESS_H

#include "queues.h"

/* A drain of one port sends no more than about this before the caller looks at the board again (DP-3). */
#define KEDGE_DRAIN_BYTES 262144u
#define KEDGE_NEVER UINT64_MAX

struct kedge_egress {
  struct kedge_port *port;
  unsigned ports;
  struct kedge_queues queues;
};

/* The ports stay the caller's, with their rates. False without memory. */
bool kedge_egress_open(struct kedge_egress *egress, struct kedge_port *port, unsigned ports,
                       struct kedge_queue_counters *counters);
void kedge_egress_close(struct kedge_egress *egress);

/* One batch's frames of one class for one port, by their places; all came in from `source_zone`. How many left. */
unsigned kedge_egress_send(struct kedge_egress *egress, unsigned out, enum kedge_queue class,
                           struct kedge_frame *frame, const struct kedge_packet *packet, const uint8_t *place,
                           unsigned count, unsigned source_zone, uint64_t now_ns);

/* Sends what waits at a port and may leave now, at most one batch of each class. How many left. */
unsigned kedge_egress_drain(struct kedge_egress *egress, unsigned out, uint64_t now_ns);

/* When the next drain is worth while; in the past where it is now, KEDGE_NEVER while nothing waits. */
uint64_t kedge_egress_due(const struct kedge_egress *egress);

#endif
