/*
 * Frames of made conversations, for the tests and the timing of flows.
 *
 * It must know nothing of what is tested: it writes headers and lets the parser read them.
 */
#ifndef KEDGE_TEST_TALK_H
#define KEDGE_TEST_TALK_H

#include <stdbool.h>
#include <string.h>

#include "../../core/packet.h"

#define TALK_MOST 4096u
enum { TALK_FIN = 1, TALK_SYN = 2, TALK_RST = 4, TALK_ACK = 16 };

/* One packet: of conversation `number`, from its opener (side 0) or back. */
struct talk_packet {
  uint32_t number;
  uint8_t side;
  uint8_t ip6;
  uint8_t tcp;
  uint8_t flags;
  uint8_t class; /* DSCP and ECN as one byte */
  uint32_t sequence;
  const uint8_t *payload;
  uint16_t bytes;
};

static void talk_be16(uint8_t *p, unsigned v)
{
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

/* Writes the frame; its length. */
static size_t talk_frame(const struct talk_packet *t, uint8_t *f)
{
  size_t header = t->tcp ? 20 : 8, at = 14 + (t->ip6 ? 40 : 20);
  memset(f, 0, at + header);
  f[0] = f[6] = 2;
  uint8_t opener[16] = {10, 0}, server[16] = {198, 51, 100, (uint8_t)(t->number % 7)};
  memcpy(opener + 1, &t->number, 3);
  opener[15] = 1;
  server[15] = 2;
  size_t address = t->ip6 ? 16 : 4;
  uint8_t *ip = f + 14;
  if (t->ip6) {
    talk_be16(f + 12, 0x86dd);
    ip[0] = (uint8_t)(0x60 | t->class >> 4), ip[1] = (uint8_t)(t->class << 4);
    talk_be16(ip + 4, (unsigned)(header + t->bytes));
    ip[6] = t->tcp ? 6 : 17, ip[7] = 64;
  } else {
    talk_be16(f + 12, 0x0800);
    ip[0] = 0x45, ip[1] = t->class;
    talk_be16(ip + 2, (unsigned)(20 + header + t->bytes));
    ip[8] = 64, ip[9] = t->tcp ? 6 : 17;
  }
  uint8_t *addresses = ip + (t->ip6 ? 8 : 12);
  memcpy(addresses, t->side == 0 ? opener : server, address);
  memcpy(addresses + address, t->side == 0 ? server : opener, address);
  uint8_t *p = f + at;
  unsigned port = 1024 + (t->number >> 8) % 60000;
  talk_be16(p, t->side == 0 ? port : 4433);
  talk_be16(p + 2, t->side == 0 ? 4433 : port);
  if (t->tcp) {
    talk_be16(p + 4, t->sequence >> 16), talk_be16(p + 6, t->sequence & 0xffffu);
    p[12] = 0x50, p[13] = t->flags;
  } else {
    talk_be16(p + 4, 8u + t->bytes);
  }
  if (t->bytes != 0)
    memcpy(p + header, t->payload, t->bytes);
  return at + header + t->bytes;
}

#endif
