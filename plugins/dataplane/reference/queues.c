/*
 * The implementation of queues.h.
 *
 * It must never let a frame wait that no counter speaks of.
 */
#define _GNU_SOURCE
#include "queues.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT16_MAX
#define SECOND_NS UINT64_C(1000000000)
#define PROTOCOL_TCP 6u
#define UDP_HEADER 8u

_Static_assert(KEDGE_QUEUE_FRAMES < NONE && KEDGE_QUEUE_CELLS < NONE, "places fit into 16 bits");
_Static_assert(KEDGE_FRAME_CELLS <= KEDGE_QUEUE_PORT_CELLS, "a frame of any length fits into an empty queue");
_Static_assert(KEDGE_FRAME_CELLS <= UINT8_MAX, "cells of a frame fit into 8 bits");

static void add(KEDGE_ATOMIC(uint64_t) *counter, uint64_t n)
{
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ------------------------------------------------------------------- meter */

uint64_t kedge_wire_bits(const struct kedge_frame *frame, const struct kedge_packet *packet)
{
  size_t length = frame->length < KEDGE_WIRE_LEAST ? KEDGE_WIRE_LEAST : frame->length;
  size_t pieces = 1, headers = packet->transport;
  /* The kernel's header length is a hint and may say anything: the headers' own lengths count. */
  if (headers != 0 && packet->key.protocol == PROTOCOL_TCP && headers + 20u <= frame->length)
    headers += (size_t)(frame->at[headers + 12] >> 4) * 4;
  else if (headers != 0)
    headers += UDP_HEADER;
  if (frame->offload.gso_type != 0 && frame->offload.gso_size != 0 && headers != 0 && headers < frame->length) {
    size_t payload = frame->length - headers;
    pieces = (payload + frame->offload.gso_size - 1) / frame->offload.gso_size;
  }
  return (uint64_t)(length + (pieces - 1) * headers + pieces * KEDGE_WIRE_OVERHEAD) * 8;
}

bool kedge_meter_open(const struct kedge_meter *m, uint64_t now)
{
  return m->rate == 0 || m->free_at_ns <= now + KEDGE_METER_BURST_NS;
}

uint64_t kedge_meter_opens_at(const struct kedge_meter *m)
{
  return m->rate == 0 || m->free_at_ns < KEDGE_METER_BURST_NS ? 0 : m->free_at_ns - KEDGE_METER_BURST_NS;
}

void kedge_meter_charge(struct kedge_meter *m, uint64_t bits, uint64_t now)
{
  if (m->rate == 0)
    return;
  if (m->free_at_ns < now) {
    m->free_at_ns = now; /* a pause is not made up for */
    m->carry = 0;
  }
  uint64_t cost = bits * SECOND_NS + m->carry;
  m->free_at_ns += cost / m->rate;
  m->carry = cost % m->rate;
}

/* -------------------------------------------------------------------- pool */

bool kedge_queues_open(struct kedge_queues *q, struct kedge_queue_counters *counters)
{
  memset(q, 0, sizeof(*q));
  size_t frames = KEDGE_QUEUE_FRAMES * sizeof(*q->frame), bytes = (size_t)KEDGE_QUEUE_CELLS * KEDGE_CELL_BYTES;
  q->frame = malloc(frames);
  q->bytes = malloc(bytes);
  q->next_cell = malloc(KEDGE_QUEUE_CELLS * sizeof(*q->next_cell));
  if (q->frame == NULL || q->bytes == NULL || q->next_cell == NULL) {
    free(q->frame);
    free(q->bytes);
    free(q->next_cell);
    return false;
  }
  /* Touched now, so that no page is missing while packets wait. */
  memset(q->frame, 0, frames);
  memset(q->bytes, 0, bytes);
  for (unsigned i = 0; i < KEDGE_QUEUE_FRAMES; i++)
    q->frame[i].next = i + 1 < KEDGE_QUEUE_FRAMES ? (uint16_t)(i + 1) : NONE;
  for (unsigned i = 0; i < KEDGE_QUEUE_CELLS; i++)
    q->next_cell[i] = i + 1 < KEDGE_QUEUE_CELLS ? (uint16_t)(i + 1) : NONE;
  for (unsigned p = 0; p < KEDGE_MAX_PORTS; p++)
    for (unsigned c = 0; c < KEDGE_QUEUES; c++)
      q->port[p].line[c].first = q->port[p].line[c].last = NONE;
  q->counters = counters;
  for (unsigned c = 0; c < KEDGE_QUEUES; c++) {
    add(&counters[c].lost, atomic_load_explicit(&counters[c].waiting, memory_order_relaxed));
    atomic_store_explicit(&counters[c].waiting, 0, memory_order_relaxed);
  }
  return true;
}

void kedge_queues_close(struct kedge_queues *q)
{
  for (unsigned p = 0; p < KEDGE_MAX_PORTS; p++)
    for (unsigned c = 0; c < KEDGE_QUEUES; c++)
      kedge_queues_gone(q, p, (enum kedge_queue)c, 0, q->port[p].line[c].frames);
  free(q->frame);
  free(q->bytes);
  free(q->next_cell);
}

static void count_waiting(struct kedge_queues *q, enum kedge_queue class)
{
  atomic_store_explicit(&q->counters[class].waiting, q->frames[class], memory_order_relaxed);
}

static void link_last(struct kedge_queues *q, struct kedge_line *line, enum kedge_queue class, uint16_t at)
{
  struct kedge_waiting *w = &q->frame[at];
  w->next = NONE;
  w->previous = line->last;
  if (line->last == NONE)
    line->first = at;
  else
    q->frame[line->last].next = at;
  line->last = at;
  line->frames++;
  line->cells += w->cells;
  q->frames[class]++;
  q->cells[class] += w->cells;
  w->arrival = ++q->arrivals;
}

static void link_out(struct kedge_queues *q, struct kedge_line *line, enum kedge_queue class, uint16_t at)
{
  struct kedge_waiting *w = &q->frame[at];
  if (w->previous == NONE)
    line->first = w->next;
  else
    q->frame[w->previous].next = w->next;
  if (w->next == NONE)
    line->last = w->previous;
  else
    q->frame[w->next].previous = w->previous;
  line->frames--;
  line->cells -= w->cells;
  q->frames[class]--;
  q->cells[class] -= w->cells;
}

static void give_back(struct kedge_queues *q, uint16_t at)
{
  struct kedge_waiting *w = &q->frame[at];
  uint16_t last = w->cell;
  for (unsigned i = 1; i < w->cells; i++)
    last = q->next_cell[last];
  q->next_cell[last] = q->free_cell;
  q->free_cell = w->cell;
  w->next = q->free_frame;
  q->free_frame = at;
}

/* The port whose youngest deprioritised frame is the youngest of all; only asked while there is one. */
static unsigned youngest(const struct kedge_queues *q)
{
  unsigned found = 0;
  uint64_t arrival = 0;
  for (unsigned p = 0; p < KEDGE_MAX_PORTS; p++) {
    uint16_t last = q->port[p].line[KEDGE_QUEUE_DEPRIORITISED].last;
    if (last != NONE && q->frame[last].arrival > arrival) {
      arrival = q->frame[last].arrival;
      found = p;
    }
  }
  return found;
}

static void push_out(struct kedge_queues *q, unsigned port)
{
  struct kedge_line *line = &q->port[port].line[KEDGE_QUEUE_DEPRIORITISED];
  uint16_t at = line->last;
  link_out(q, line, KEDGE_QUEUE_DEPRIORITISED, at);
  give_back(q, at);
  add(&q->counters[KEDGE_QUEUE_DEPRIORITISED].lost, 1);
}

/* Whether so many cells and a frame would be too much beside `frames` and `cells`. */
static bool over(unsigned frames, unsigned cells, unsigned more, unsigned most_frames, unsigned most_cells)
{
  return frames + 1 > most_frames || cells + more > most_cells;
}

static bool port_over(const struct kedge_queues *q, unsigned port, unsigned more, bool without_lower)
{
  const struct kedge_line *line = q->port[port].line;
  unsigned frames = line[KEDGE_QUEUE_ORDINARY].frames, cells = line[KEDGE_QUEUE_ORDINARY].cells;
  if (!without_lower) {
    frames += line[KEDGE_QUEUE_DEPRIORITISED].frames;
    cells += line[KEDGE_QUEUE_DEPRIORITISED].cells;
  }
  return over(frames, cells, more, KEDGE_QUEUE_PORT_FRAMES, KEDGE_QUEUE_PORT_CELLS);
}

static bool pool_over(const struct kedge_queues *q, unsigned more, bool without_lower)
{
  unsigned frames = q->frames[KEDGE_QUEUE_ORDINARY], cells = q->cells[KEDGE_QUEUE_ORDINARY];
  if (!without_lower) {
    frames += q->frames[KEDGE_QUEUE_DEPRIORITISED];
    cells += q->cells[KEDGE_QUEUE_DEPRIORITISED];
  }
  return over(frames, cells, more, KEDGE_QUEUE_FRAMES, KEDGE_QUEUE_CELLS);
}

/* Makes room where there may be some, and pushes nobody out in vain. */
static bool make_room(struct kedge_queues *q, unsigned port, enum kedge_queue class, unsigned cells)
{
  if (class == KEDGE_QUEUE_DEPRIORITISED)
    return !port_over(q, port, cells, false) && !pool_over(q, cells, false);
  if (port_over(q, port, cells, true) || pool_over(q, cells, true))
    return false;
  while (port_over(q, port, cells, false))
    push_out(q, port);
  while (pool_over(q, cells, false))
    push_out(q, q->port[port].line[KEDGE_QUEUE_DEPRIORITISED].frames != 0 ? port : youngest(q));
  return true;
}

bool kedge_queues_put(struct kedge_queues *q, unsigned port, enum kedge_queue class, const struct kedge_frame *frame,
                      const struct kedge_packet *packet, unsigned source_zone, unsigned destination_zone)
{
  size_t cells = (frame->length + KEDGE_CELL_BYTES - 1) / KEDGE_CELL_BYTES;
  if (cells == 0 || cells > KEDGE_FRAME_CELLS || !make_room(q, port, class, (unsigned)cells)) {
    add(&q->counters[class].lost, 1);
    return false;
  }
  uint16_t at = q->free_frame;
  struct kedge_waiting *w = &q->frame[at];
  q->free_frame = w->next;
  w->packet = *packet;
  w->offload = frame->offload;
  w->length = (uint32_t)frame->length;
  w->bits = kedge_wire_bits(frame, packet);
  w->cells = (uint8_t)cells;
  w->source_zone = (uint8_t)source_zone;
  w->destination_zone = (uint8_t)destination_zone;
  w->cell = q->free_cell;
  for (size_t done = 0; done < frame->length; done += KEDGE_CELL_BYTES) {
    size_t left = frame->length - done;
    memcpy(q->bytes + (size_t)q->free_cell * KEDGE_CELL_BYTES, frame->at + done,
           left < KEDGE_CELL_BYTES ? left : KEDGE_CELL_BYTES);
    q->free_cell = q->next_cell[q->free_cell];
  }
  link_last(q, &q->port[port].line[class], class, at);
  count_waiting(q, KEDGE_QUEUE_ORDINARY);
  count_waiting(q, KEDGE_QUEUE_DEPRIORITISED);
  return true;
}

/* ----------------------------------------------------------------- leaving */

const struct kedge_waiting *kedge_queues_first(const struct kedge_queues *q, unsigned port, enum kedge_queue class)
{
  uint16_t first = q->port[port].line[class].first;
  return first == NONE ? NULL : &q->frame[first];
}

const struct kedge_waiting *kedge_queues_behind(const struct kedge_queues *q, const struct kedge_waiting *w)
{
  return w->next == NONE ? NULL : &q->frame[w->next];
}

unsigned kedge_queues_parts(const struct kedge_queues *q, const struct kedge_waiting *w,
                            struct iovec part[KEDGE_FRAME_PARTS])
{
  part[0] = (struct iovec){(void *)(uintptr_t)&w->offload, sizeof(w->offload)};
  size_t left = w->length;
  uint16_t cell = w->cell;
  unsigned parts = 1;
  while (left != 0) {
    size_t here = left < KEDGE_CELL_BYTES ? left : KEDGE_CELL_BYTES;
    part[parts++] = (struct iovec){q->bytes + (size_t)cell * KEDGE_CELL_BYTES, here};
    cell = q->next_cell[cell];
    left -= here;
  }
  return parts;
}

void kedge_queues_gone(struct kedge_queues *q, unsigned port, enum kedge_queue class, unsigned left, unsigned lost)
{
  struct kedge_line *line = &q->port[port].line[class];
  for (unsigned i = 0; i < left + lost; i++) {
    uint16_t at = line->first;
    link_out(q, line, class, at);
    give_back(q, at);
  }
  add(&q->counters[class].waited, left);
  kedge_queues_count(q, class, left, lost);
  count_waiting(q, class);
}

void kedge_queues_count(struct kedge_queues *q, enum kedge_queue class, unsigned left, unsigned lost)
{
  add(&q->counters[class].sent, left);
  add(&q->counters[class].lost, lost);
}

/* ------------------------------------------------------------ judged again */

static unsigned judge_line(struct kedge_queues *q, unsigned port, enum kedge_queue class, kedge_queue_judge *judge,
                           void *context)
{
  struct kedge_line *line = &q->port[port].line[class];
  unsigned withdrawn = 0;
  uint16_t behind;
  for (uint16_t at = line->first; at != NONE; at = behind) {
    struct kedge_waiting *w = &q->frame[at];
    behind = w->next;
    enum kedge_verdict verdict = judge(context, w);
    if (verdict == KEDGE_VERDICT_PASS || (verdict == KEDGE_VERDICT_DEPRIORITISE && class != KEDGE_QUEUE_ORDINARY))
      continue;
    link_out(q, line, class, at);
    if (verdict == KEDGE_VERDICT_DEPRIORITISE) {
      /* The network header's first bytes stand in the first cell. */
      kedge_packet_mark_le(q->bytes + (size_t)w->cell * KEDGE_CELL_BYTES, &w->packet);
      link_last(q, &q->port[port].line[KEDGE_QUEUE_DEPRIORITISED], KEDGE_QUEUE_DEPRIORITISED, at);
    } else {
      give_back(q, at);
      withdrawn++;
    }
  }
  add(&q->counters[class].withdrawn, withdrawn);
  return withdrawn;
}

unsigned kedge_queues_judge(struct kedge_queues *q, kedge_queue_judge *judge, void *context)
{
  unsigned withdrawn = 0;
  if (q->frames[KEDGE_QUEUE_ORDINARY] + q->frames[KEDGE_QUEUE_DEPRIORITISED] == 0)
    return 0;
  for (unsigned p = 0; p < KEDGE_MAX_PORTS; p++) {
    /* The lower queue first: what comes down from the other is judged once. */
    withdrawn += judge_line(q, p, KEDGE_QUEUE_DEPRIORITISED, judge, context);
    withdrawn += judge_line(q, p, KEDGE_QUEUE_ORDINARY, judge, context);
  }
  count_waiting(q, KEDGE_QUEUE_ORDINARY);
  count_waiting(q, KEDGE_QUEUE_DEPRIORITISED);
  return withdrawn;
}
