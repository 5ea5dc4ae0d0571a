/*
 * The implementation of frames.h.
 *
 * It must do no more per frame than write what differs.
 */
#include "frames.h"

#include <string.h>

#define SOURCE_MAC "\x02\x4b\x00\x00\x00\x01"
#define SINK_MAC "\x02\x4b\x00\x00\x00\x02"
/* Networks for documentation: 192.0.2.1 and 198.51.100.1. */
#define SOURCE_IP "\xc0\x00\x02\x01"
#define SINK_IP "\xc6\x33\x64\x01"
#define IP 14u
#define UDP 34u
#define SAID 42u
#define FIRST_PORT 4000u
#define ANSWER_PORT 161u

static void be16(uint8_t *p, unsigned v)
{
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static void make(uint8_t *frame, size_t size, const char *macs, const char *addresses)
{
  memset(frame, 0, size);
  memcpy(frame, macs, 12);
  be16(frame + 12, 0x0800);
  frame[IP] = 0x45;
  be16(frame + IP + 2, (unsigned)(size - IP));
  frame[IP + 8] = 64;
  frame[IP + 9] = 17;
  memcpy(frame + IP + 12, addresses, 8);
  uint32_t sum = 0;
  for (unsigned i = 0; i < 20; i += 2)
    sum += (uint32_t)frame[IP + i] << 8 | frame[IP + i + 1];
  sum = (sum & 0xffffu) + (sum >> 16);
  be16(frame + IP + 10, ~((sum & 0xffffu) + (sum >> 16)));
  /* No UDP checksum, which IPv4 allows: the numbers change with every frame. */
  be16(frame + UDP + 4, (unsigned)(size - UDP));
}

void frame_make(uint8_t *frame, size_t size) { make(frame, size, SINK_MAC SOURCE_MAC, SOURCE_IP SINK_IP); }

void frame_stamp(uint8_t *frame, uint16_t destination_port, const struct stamp *stamp)
{
  be16(frame + UDP, FIRST_PORT + (unsigned)(stamp->sequence % FRAME_FLOWS));
  be16(frame + UDP + 2, destination_port);
  frame[SAID] = stamp->run;
  frame[SAID + 1] = stamp->class;
  memcpy(frame + SAID + 2, &stamp->sequence, sizeof(stamp->sequence));
  memcpy(frame + SAID + 10, &stamp->sent_ns, sizeof(stamp->sent_ns));
}

bool frame_read(const uint8_t *frame, size_t length, struct stamp *stamp)
{
  if (length < FRAME_HEAD || memcmp(frame, SINK_MAC SOURCE_MAC, 12) != 0 || frame[IP] != 0x45 || frame[IP + 9] != 17)
    return false;
  stamp->run = frame[SAID];
  stamp->class = frame[SAID + 1];
  memcpy(&stamp->sequence, frame + SAID + 2, sizeof(stamp->sequence));
  memcpy(&stamp->sent_ns, frame + SAID + 10, sizeof(stamp->sent_ns));
  return stamp->class < FRAME_CLASSES;
}

void frame_answer(uint8_t frame[FRAME_LEAST])
{
  make(frame, FRAME_LEAST, SOURCE_MAC SINK_MAC, SINK_IP SOURCE_IP);
  be16(frame + UDP, ANSWER_PORT);
  be16(frame + UDP + 2, FIRST_PORT);
}
