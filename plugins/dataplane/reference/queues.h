/*
 * Frames that cannot leave at once: per port two bounded queues in one preallocated pool, and the meter of a
 * port's rate (DP-11).
 *
 * It must make no system call, read no clock, and allocate nothing once it is open.
 */
#ifndef KEDGE_QUEUES_H
#define KEDGE_QUEUES_H

#include <sys/uio.h>

#include "kedge/layout.h"
#include "ports.h"

/*
 * The pool of the process, and the most that one port may take of it, in frames and in cells. Every waiting frame
 * is judged again before a tighter word is acknowledged: that is what bounds the number of frames (DP-3). One costs
 * 1.3 us with nothing cached and 16 shapes; `queues_bare judge` in test/native measures it.
 */
#define KEDGE_QUEUE_FRAMES 384u
#define KEDGE_QUEUE_CELLS 2048u
#define KEDGE_QUEUE_PORT_FRAMES 256u
#define KEDGE_QUEUE_PORT_CELLS (KEDGE_QUEUE_CELLS / 2)
/* Frames are stored in cells, so that one of full length and one with all that segmentation may still cut both fit. */
#define KEDGE_CELL_BYTES 2048u
#define KEDGE_FRAME_CELLS ((KEDGE_FRAME_BYTES + KEDGE_FRAME_ROOM + KEDGE_CELL_BYTES - 1) / KEDGE_CELL_BYTES)
#define KEDGE_FRAME_PARTS (1 + KEDGE_FRAME_CELLS) /* the offload state goes before the bytes */

/* How far ahead of its rate a port may be: what leaves at once after a pause, beside one frame of any length. */
#define KEDGE_METER_BURST_NS UINT64_C(2000000)
/* What a frame takes on the wire beside its own bytes: preamble 8, frame check sequence 4, gap 12 (IEEE 802.3). */
#define KEDGE_WIRE_OVERHEAD 24u
#define KEDGE_WIRE_LEAST 60u

/* A port's rate, as the moment at which all that was sent has left at that rate. All zero = no rate. */
struct kedge_meter {
  uint64_t rate;       /* bits per second; 0 = none */
  uint64_t free_at_ns;
  uint64_t carry;      /* of the last division, so that no frame is charged too little or too much for good */
};

/* Bits that a frame takes on the wire; one that segmentation will cut counts with the headers of every piece. */
uint64_t kedge_wire_bits(const struct kedge_frame *frame, const struct kedge_packet *packet);
bool kedge_meter_open(const struct kedge_meter *meter, uint64_t now_ns);
/* When it is open again, at the earliest. */
uint64_t kedge_meter_opens_at(const struct kedge_meter *meter);
void kedge_meter_charge(struct kedge_meter *meter, uint64_t bits, uint64_t now_ns);

/* A frame that waits, with what is needed to judge it again without parsing it again. */
struct kedge_waiting {
  struct kedge_packet packet;
  struct kedge_offload offload;
  uint32_t length;
  uint64_t bits;         /* on the wire */
  uint64_t arrival;      /* +1 with each frame that joins a queue */
  uint16_t next, previous, cell;
  uint8_t cells;
  uint8_t source_zone, destination_zone;
};

struct kedge_line {
  uint16_t first, last;
  unsigned frames, cells;
};

struct kedge_queue_port {
  struct kedge_line line[KEDGE_QUEUES]; /* by enum kedge_queue */
  struct kedge_meter meter;
  uint64_t refused_since_ns;            /* since when the kernel has taken nothing; 0 = it takes */
  uint64_t retry_at_ns;
};

struct kedge_queues {
  struct kedge_waiting *frame;
  uint8_t *bytes;                       /* KEDGE_QUEUE_CELLS cells */
  uint16_t *next_cell;
  uint16_t free_frame, free_cell;
  unsigned frames[KEDGE_QUEUES], cells[KEDGE_QUEUES]; /* in use, all ports together */
  uint64_t arrivals;
  struct kedge_queue_port port[KEDGE_MAX_PORTS];
  struct kedge_queue_counters *counters;/* [KEDGE_QUEUES], the caller's; written here alone */
};

/*
 * Takes all memory that will ever be needed, and touches it. `counters` go on; what a predecessor left waiting
 * counts as lost. False without memory.
 */
bool kedge_queues_open(struct kedge_queues *queues, struct kedge_queue_counters *counters);
/* What still waits is lost. */
void kedge_queues_close(struct kedge_queues *queues);

/*
 * Copies a frame to the end of a queue. Without room, an ordinary frame pushes out the youngest deprioritised
 * ones, of its own port first; where that makes no room either, and for a deprioritised frame, it is lost.
 * True when it waits; both outcomes are counted.
 */
bool kedge_queues_put(struct kedge_queues *queues, unsigned port, enum kedge_queue class,
                      const struct kedge_frame *frame, const struct kedge_packet *packet, unsigned source_zone,
                      unsigned destination_zone);

/* The next to leave of a queue, or NULL; and the one behind it. Valid until the queues are changed. */
const struct kedge_waiting *kedge_queues_first(const struct kedge_queues *queues, unsigned port,
                                               enum kedge_queue class);
const struct kedge_waiting *kedge_queues_behind(const struct kedge_queues *queues, const struct kedge_waiting *frame);
/* Where its offload state and bytes stand; how many of the KEDGE_FRAME_PARTS parts. */
unsigned kedge_queues_parts(const struct kedge_queues *queues, const struct kedge_waiting *frame,
                            struct iovec part[KEDGE_FRAME_PARTS]);
/* The first `left` + `lost` of a queue are gone. */
void kedge_queues_gone(struct kedge_queues *queues, unsigned port, enum kedge_queue class, unsigned left,
                       unsigned lost);
/* Frames of this class that left, or were lost, without having waited. */
void kedge_queues_count(struct kedge_queues *queues, enum kedge_queue class, unsigned left, unsigned lost);

/*
 * Judges every waiting frame again: what is dropped now is withdrawn; what is deprioritised now is marked and
 * goes to the end of the lower queue; what is allowed better again stays where it is, because its mark cannot be
 * undone and it would overtake. How many were taken out.
 */
typedef enum kedge_verdict kedge_queue_judge(void *context, const struct kedge_waiting *frame);
unsigned kedge_queues_judge(struct kedge_queues *queues, kedge_queue_judge *judge, void *context);

static inline unsigned kedge_queues_waiting(const struct kedge_queues *queues, unsigned port)
{
  const struct kedge_line *line = queues->port[port].line;
  return line[KEDGE_QUEUE_ORDINARY].frames + line[KEDGE_QUEUE_DEPRIORITISED].frames;
}

#endif
