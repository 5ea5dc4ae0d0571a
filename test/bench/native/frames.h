/*
 * The frames of the packet bench: UDP over IPv4 with their run, class, number and time of sending.
 *
 * It must fit into the smallest frame that Ethernet knows, and take nothing for its own that is not.
 */
#ifndef KEDGE_BENCH_FRAMES_H
#define KEDGE_BENCH_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Without check sequence. */
#define FRAME_LEAST 60u
#define FRAME_MOST 1514u
/* What a receiver needs of a frame. */
#define FRAME_HEAD 60u
/* Source ports of one class, used in turn: so many conversations. */
#define FRAME_FLOWS 256u
#define FRAME_CLASSES 8u

/* The first two bytes of the sink's address; it is nobody's interface, so that no host bothers to look inside. */
#define FRAME_SINK_HIGH 0x024bu
#define FRAME_SINK_LOW 0x00000002u

struct stamp {
  uint8_t run;
  uint8_t class;
  uint64_t sequence;
  uint64_t sent_ns; /* CLOCK_MONOTONIC */
};

/* Everything that all frames of this size share. `frame` has `size` bytes. */
void frame_make(uint8_t *frame, size_t size);
/* What tells one frame from another. */
void frame_stamp(uint8_t *frame, uint16_t destination_port, const struct stamp *stamp);
/* False where it is none of ours. `length`: how many bytes there are. */
bool frame_read(const uint8_t *frame, size_t length, struct stamp *stamp);
/* An answer from the sink to the source, so that whoever is between learns where the sink is. */
void frame_answer(uint8_t frame[FRAME_LEAST]);

#endif
