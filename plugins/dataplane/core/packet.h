/*
 * From an Ethernet frame to the flow key that the rules are written in.
 *
 * It must know no rule: it says what a frame is, never what becomes of it. No allocation, no system
 * call, no state; every length is checked against the bytes that are really there.
 */
#ifndef KEDGE_PACKET_H
#define KEDGE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kedge/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

enum kedge_packet_kind {
  KEDGE_PACKET_MALFORMED = 0,  /* short, inconsistent, of unknown version, or source-routed */
  KEDGE_PACKET_ETHERTYPE = 1,  /* neither IPv4, IPv6 nor ARP (also 802.3 length frames, a third VLAN tag) */
  KEDGE_PACKET_FLOW = 2,       /* an IP packet that zone pairs and entries judge */
  KEDGE_PACKET_ARP = 3,        /* RFC 826, Ethernet and IPv4 */
  KEDGE_PACKET_ND = 4,         /* RFC 4861 messages 133..137, hop limit 255, unfragmented */
  KEDGE_PACKET_ICMP_ERROR = 5  /* ICMP 3, 11, 12 and ICMPv6 1..4 that carry the packet they speak of */
};

#define KEDGE_MAX_VLAN_TAGS 2u
#define KEDGE_MAX_EXTENSION_HEADERS 8u

/* What a frame is. `key`'s zones are 0: the ports know them. */
struct kedge_packet {
  uint8_t kind;          /* enum kedge_packet_kind */
  uint8_t family;        /* enum kedge_family; meaningful for FLOW, ND and ICMP_ERROR */
  uint8_t later_fragment;/* 1 = a fragment other than the first: ports unknown */
  uint8_t vlan_tags;     /* 0..KEDGE_MAX_VLAN_TAGS */
  uint16_t vlan;         /* outer VLAN id, 0 without a tag */
  uint16_t network;      /* offset of the IP header from the start of the frame; 0 where there is none */
  uint16_t transport;    /* offset of the transport header; 0 where there is none, as in a later fragment */
  struct kedge_flow_key key;
};

/*
 * Whether a checksum that a sender left to the interface may still be made at `start` + `at` from the start of
 * the frame: behind everything that the packet is judged by. A virtual machine may have named any place.
 */
bool kedge_packet_checksum_holds(const struct kedge_packet *packet, unsigned start, unsigned at);

/*
 * Looks at a whole frame from its destination MAC address on, without frame check sequence.
 * Trailing bytes behind the IP packet are padding. Fills all of `packet`; returns packet->kind.
 *
 * Malformed are also: a group address as source MAC, IPv4 source routes and IPv6 routing headers with
 * segments left (the address in the header is not where the packet goes), a first fragment without its
 * whole transport header (RFC 1858, RFC 7112), and fragments that would end beyond 65,535 bytes.
 * ESP ends the chain (the protocol is 50); AH is looked through.
 */
enum kedge_packet_kind kedge_packet_parse(const uint8_t *frame, size_t length, struct kedge_packet *packet);

/*
 * Marks a FLOW packet DSCP LE (000001, RFC 8622), keeping the ECN bits; the IPv4 header checksum is
 * brought up to date (RFC 1624). `frame` and `packet` belong together. True when a byte changed.
 */
bool kedge_packet_mark_le(uint8_t *frame, const struct kedge_packet *packet);

#ifdef __cplusplus
}
#endif
#endif
