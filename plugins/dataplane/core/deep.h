/*
 * What a conversation speaks, by its bytes: DNS, TLS, HTTP/1, SSH, WireGuard, NTP, SNMP, BGP and QUIC (DP-10).
 *
 * It must look at no port, allocate nothing, make no system call, and keep of a stream no more than these small
 * structs: lengths are counted down and only the name is kept, nothing is put together again.
 *
 * How often random bytes are taken for one of these, by the bits that have to agree: a stream less than once in
 * 2^40; a datagram of 64, 92 or 148 bytes for WireGuard once in 2^32, one of 48, 52, 68 or 72 bytes for NTP once in
 * 2^34, any for something else less than once in 2^37.
 */
#ifndef KEDGE_DEEP_H
#define KEDGE_DEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kedge/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NO: it is none of these. MORE: it may be, or it is and the name is not whole yet. YES: nothing more to look at. */
enum kedge_deep_result { KEDGE_DEEP_NO = 0, KEDGE_DEEP_MORE = 1, KEDGE_DEEP_YES = 2 };

/* A name as a flow record carries it: [!-~] only; of one that is longer the front is missing and `cut` is 1. */
struct kedge_deep_name {
  uint8_t bytes; /* 0 = no name */
  uint8_t cut;
  char text[KEDGE_FLOW_NAME_BYTES];
};

/* Where the reading of one direction of a stream stands. All zero is its beginning. */
struct kedge_deep_stream {
  uint8_t application; /* enum kedge_application that it can only be; UNKNOWN before the first byte */
  uint8_t certain;     /* 1 = it is */
  uint8_t step;
  uint8_t got;         /* bytes taken of the number or word that is being read */
  uint32_t number;
  uint32_t message;    /* bytes left of a TLS handshake message; bytes taken of an HTTP head; records of DNS */
  uint16_t record;     /* bytes left of a TLS record or a DNS message */
  uint16_t item;       /* bytes left of what is skipped or copied */
  uint16_t words;      /* words that the beginning may still be; flags of a DNS message; bytes of a TLS record's head */
  uint8_t total;       /* bytes of a DNS name so far; kind of a TLS hello or extension */
  uint8_t high;        /* upper byte of a TLS record's length */
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_deep_stream) == 20, "a stream's state is small");

/*
 * Reads the next `length` bytes of a stream, in order, cut anywhere. `certain` and `application` hold from when
 * they are set. YES may come without a name. After NO or YES the stream is at its end and must not be read on.
 */
enum kedge_deep_result kedge_deep_read(struct kedge_deep_stream *stream, const uint8_t *bytes, size_t length,
                                       struct kedge_deep_name *name);

/* What one UDP datagram's payload is; KEDGE_APPLICATION_UNKNOWN = none of these. `name` is set for DNS only. */
enum kedge_application kedge_deep_datagram(const uint8_t *bytes, size_t length, struct kedge_deep_name *name);

/* Segments or datagrams at which a conversation's beginning is looked for, both directions together. */
#define KEDGE_DEEP_SEGMENT_TRIES 8u
#define KEDGE_DEEP_DATAGRAM_TRIES 4u
/* Segments of one conversation that came before their predecessor: passed over, then no longer waited for. */
#define KEDGE_DEEP_GAPS 4u

/* One conversation, both directions. All zero is its beginning; the owner keeps it with its flow. */
struct kedge_deep {
  struct kedge_deep_stream stream;
  uint32_t next[2];    /* sequence number expected of each direction */
  uint8_t follows[2];  /* 1 = `next` is known */
  uint8_t reading;     /* 1 + the direction that `stream` is reading, 0 = none */
  uint8_t tries;
  uint8_t gaps;
  uint8_t application; /* enum kedge_application, as soon as it is certain */
  uint8_t done;        /* 1 = nothing more is to be learnt: do not ask again */
  uint8_t reserved;
};
KEDGE_STATIC_ASSERT(sizeof(struct kedge_deep) == 36, "a conversation's state is small");

/*
 * One TCP segment of `direction` 0 or 1. A segment that was read before is passed over, as is one that comes too
 * early, at most KEDGE_DEEP_GAPS times: then the attempt ends with what is certain. Work is bounded by `length`.
 */
void kedge_deep_segment(struct kedge_deep *deep, unsigned direction, uint32_t sequence, bool synchronises,
                        const uint8_t *bytes, size_t length, struct kedge_deep_name *name);

/* One UDP datagram of either direction. */
void kedge_deep_message(struct kedge_deep *deep, const uint8_t *bytes, size_t length, struct kedge_deep_name *name);

#ifdef __cplusplus
}
#endif
#endif
