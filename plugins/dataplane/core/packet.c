/*
 * The implementation of packet.h.
 *
 * It must not read a byte that it has not compared with the frame's length, nor loop without a bound.
 */
#include "packet.h"

#include <string.h>

#define ETHERTYPE_IP4 0x0800u
#define ETHERTYPE_ARP 0x0806u
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_SERVICE_VLAN 0x88a8u
#define ETHERTYPE_IP6 0x86ddu

#define PROTOCOL_HOP_BY_HOP 0u
#define PROTOCOL_ICMP 1u
#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u
#define PROTOCOL_DCCP 33u
#define PROTOCOL_ROUTING 43u
#define PROTOCOL_FRAGMENT 44u
#define PROTOCOL_AUTHENTICATION 51u
#define PROTOCOL_ICMP6 58u
#define PROTOCOL_DESTINATION_OPTIONS 60u
#define PROTOCOL_SCTP 132u
#define PROTOCOL_MOBILITY 135u
#define PROTOCOL_UDP_LITE 136u
#define PROTOCOL_HIP 139u
#define PROTOCOL_SHIM6 140u

#define IP4_OPTION_LOOSE_ROUTE 131u
#define IP4_OPTION_STRICT_ROUTE 137u

static inline uint16_t be16(const uint8_t *p) { return (uint16_t)((unsigned)p[0] << 8 | p[1]); }

/* What is left to look at: `at` up to `end`, both inside the frame. */
struct view {
  const uint8_t *at;
  const uint8_t *end;
};

static inline size_t left(const struct view *v) { return (size_t)(v->end - v->at); }

/* The embedded packet of an ICMP error: enough of a header of the right version. */
static bool quotes_packet(const uint8_t *at, size_t length, unsigned version)
{
  return length >= (version == 4 ? 20u : 40u) && at[0] >> 4 == version;
}

/* `v` stands at the transport header of a packet that is whole (`whole`) or a first fragment. */
static enum kedge_packet_kind transport(const struct view *v, struct kedge_packet *packet, bool whole, uint8_t hops)
{
  const uint8_t *p = v->at;
  size_t n = left(v);
  struct kedge_flow_key *key = &packet->key;
  switch (key->protocol) {
  case PROTOCOL_TCP: {
    if (n < 20)
      return KEDGE_PACKET_MALFORMED;
    size_t header = (size_t)(p[12] >> 4) * 4;
    if (header < 20 || header > n)
      return KEDGE_PACKET_MALFORMED;
    break;
  }
  case PROTOCOL_UDP: {
    if (n < 8)
      return KEDGE_PACKET_MALFORMED;
    size_t said = be16(p + 4);
    if (said < 8 || (whole && said > n))
      return KEDGE_PACKET_MALFORMED;
    break;
  }
  case PROTOCOL_UDP_LITE:
    if (n < 8)
      return KEDGE_PACKET_MALFORMED;
    break;
  case PROTOCOL_SCTP:
  case PROTOCOL_DCCP:
    if (n < 12)
      return KEDGE_PACKET_MALFORMED;
    break;
  case PROTOCOL_ICMP:
    if (packet->family != KEDGE_FAMILY_IP4)
      return KEDGE_PACKET_FLOW;
    if (n < 8)
      return KEDGE_PACKET_MALFORMED;
    key->destination_port = be16(p);
    if (whole && (p[0] == 3 || p[0] == 11 || p[0] == 12))
      return quotes_packet(p + 8, n - 8, 4) ? KEDGE_PACKET_ICMP_ERROR : KEDGE_PACKET_MALFORMED;
    return KEDGE_PACKET_FLOW;
  case PROTOCOL_ICMP6:
    if (packet->family != KEDGE_FAMILY_IP6)
      return KEDGE_PACKET_FLOW;
    if (n < 8)
      return KEDGE_PACKET_MALFORMED;
    key->destination_port = be16(p);
    if (p[0] >= 133 && p[0] <= 137) /* never routed, never fragmented (RFC 4861, RFC 6980) */
      return whole && hops == 255 && p[1] == 0 ? KEDGE_PACKET_ND : KEDGE_PACKET_MALFORMED;
    if (whole && p[0] >= 1 && p[0] <= 4)
      return quotes_packet(p + 8, n - 8, 6) ? KEDGE_PACKET_ICMP_ERROR : KEDGE_PACKET_MALFORMED;
    return KEDGE_PACKET_FLOW;
  default:
    return KEDGE_PACKET_FLOW;
  }
  key->source_port = be16(p);
  key->destination_port = be16(p + 2);
  return KEDGE_PACKET_FLOW;
}

/* True where an IPv4 option list is well formed and holds no source route. */
static bool options_hold(const uint8_t *p, size_t n)
{
  size_t at = 0;
  while (at < n) {
    if (p[at] == 0)
      return true;
    if (p[at] == 1) {
      at++;
      continue;
    }
    if (n - at < 2 || p[at + 1] < 2 || p[at + 1] > n - at)
      return false;
    if (p[at] == IP4_OPTION_LOOSE_ROUTE || p[at] == IP4_OPTION_STRICT_ROUTE)
      return false;
    at += p[at + 1];
  }
  return true;
}

static enum kedge_packet_kind ip4(struct view v, struct kedge_packet *packet)
{
  const uint8_t *p = v.at;
  size_t n = left(&v);
  if (n < 20 || p[0] >> 4 != 4)
    return KEDGE_PACKET_MALFORMED;
  size_t header = (size_t)(p[0] & 15u) * 4;
  size_t total = be16(p + 2);
  if (header < 20 || total < header || total > n || !options_hold(p + 20, header - 20))
    return KEDGE_PACKET_MALFORMED;
  packet->family = KEDGE_FAMILY_IP4;
  memcpy(packet->key.source, p + 12, 4);
  memcpy(packet->key.destination, p + 16, 4);
  packet->key.protocol = p[9];
  packet->transport = (uint16_t)(packet->network + header);
  v.end = p + total;
  v.at = p + header;
  unsigned fragment = be16(p + 6);
  size_t offset = (size_t)(fragment & 0x1fffu) * 8;
  bool more = (fragment & 0x2000u) != 0;
  if (more && (left(&v) == 0 || left(&v) % 8 != 0))
    return KEDGE_PACKET_MALFORMED;
  if (offset + header + left(&v) > 65535)
    return KEDGE_PACKET_MALFORMED;
  if (offset != 0) {
    /* A second fragment that could overwrite the ports of the first (RFC 3128). */
    if (offset < 16 && packet->key.protocol == PROTOCOL_TCP)
      return KEDGE_PACKET_MALFORMED;
    packet->later_fragment = 1;
    packet->transport = 0;
    return left(&v) == 0 ? KEDGE_PACKET_MALFORMED : KEDGE_PACKET_FLOW;
  }
  return transport(&v, packet, !more, p[8]);
}

static bool is_extension(uint8_t protocol)
{
  switch (protocol) {
  case PROTOCOL_HOP_BY_HOP:
  case PROTOCOL_ROUTING:
  case PROTOCOL_FRAGMENT:
  case PROTOCOL_AUTHENTICATION:
  case PROTOCOL_DESTINATION_OPTIONS:
  case PROTOCOL_MOBILITY:
  case PROTOCOL_HIP:
  case PROTOCOL_SHIM6: return true;
  default: return false;
  }
}

static enum kedge_packet_kind ip6(struct view v, struct kedge_packet *packet)
{
  const uint8_t *p = v.at;
  if (left(&v) < 40 || p[0] >> 4 != 6)
    return KEDGE_PACKET_MALFORMED;
  size_t payload = be16(p + 4);
  if (payload > left(&v) - 40)
    return KEDGE_PACKET_MALFORMED;
  packet->family = KEDGE_FAMILY_IP6;
  memcpy(packet->key.source, p + 8, 16);
  memcpy(packet->key.destination, p + 24, 16);
  uint8_t hops = p[7];
  uint8_t next = p[6];
  v.at = p + 40;
  v.end = v.at + payload;
  bool whole = true;
  bool fragmented = false;
  for (unsigned i = 0; is_extension(next); i++) {
    const uint8_t *h = v.at;
    if (i == KEDGE_MAX_EXTENSION_HEADERS || left(&v) < 8 || (next == PROTOCOL_HOP_BY_HOP && i != 0))
      return KEDGE_PACKET_MALFORMED;
    size_t length;
    if (next == PROTOCOL_FRAGMENT) {
      unsigned field = be16(h + 2);
      size_t offset = field & 0xfff8u;
      bool more = (field & 1u) != 0;
      size_t behind = left(&v) - 8;
      if (fragmented || (more && (behind == 0 || behind % 8 != 0)) || offset + behind > 65535)
        return KEDGE_PACKET_MALFORMED;
      fragmented = true;
      if (offset != 0) {
        packet->key.protocol = h[0];
        packet->later_fragment = 1;
        return behind == 0 ? KEDGE_PACKET_MALFORMED : KEDGE_PACKET_FLOW;
      }
      /* Offset 0 and none more is an atomic fragment (RFC 6946): a whole packet. */
      whole = !more;
      length = 8;
    } else if (next == PROTOCOL_AUTHENTICATION) {
      length = ((size_t)h[1] + 2) * 4;
    } else {
      length = ((size_t)h[1] + 1) * 8;
      if (next == PROTOCOL_ROUTING && h[3] != 0)
        return KEDGE_PACKET_MALFORMED;
    }
    if (length < 8 || length > left(&v))
      return KEDGE_PACKET_MALFORMED;
    next = h[0];
    v.at += length;
  }
  packet->key.protocol = next;
  packet->transport = (uint16_t)(packet->network + (size_t)(v.at - p));
  /* RFC 6980: neighbour discovery carries no fragment header at all, not even an atomic one. */
  return transport(&v, packet, whole, fragmented ? 0 : hops);
}

static enum kedge_packet_kind arp(struct view v)
{
  const uint8_t *p = v.at;
  if (left(&v) < 28 || be16(p) != 1 || be16(p + 2) != ETHERTYPE_IP4 || p[4] != 6 || p[5] != 4)
    return KEDGE_PACKET_MALFORMED;
  uint16_t operation = be16(p + 6);
  return operation == 1 || operation == 2 ? KEDGE_PACKET_ARP : KEDGE_PACKET_MALFORMED;
}

static enum kedge_packet_kind frame_kind(const uint8_t *frame, size_t length, struct kedge_packet *packet)
{
  struct view v = {frame, frame + length};
  if (length < 14 || (frame[6] & 1u) != 0)
    return KEDGE_PACKET_MALFORMED;
  uint16_t type = be16(frame + 12);
  v.at += 14;
  while ((type == ETHERTYPE_VLAN || type == ETHERTYPE_SERVICE_VLAN) && packet->vlan_tags < KEDGE_MAX_VLAN_TAGS) {
    if (left(&v) < 4)
      return KEDGE_PACKET_MALFORMED;
    if (packet->vlan_tags++ == 0)
      packet->vlan = be16(v.at) & 0x0fffu;
    type = be16(v.at + 2);
    v.at += 4;
  }
  packet->network = (uint16_t)(v.at - frame);
  switch (type) {
  case ETHERTYPE_IP4: return ip4(v, packet);
  case ETHERTYPE_IP6: return ip6(v, packet);
  case ETHERTYPE_ARP: return arp(v);
  default: return KEDGE_PACKET_ETHERTYPE;
  }
}

enum kedge_packet_kind kedge_packet_parse(const uint8_t *frame, size_t length, struct kedge_packet *packet)
{
  memset(packet, 0, sizeof(*packet));
  enum kedge_packet_kind kind = frame_kind(frame, length, packet);
  packet->kind = (uint8_t)kind;
  return kind;
}

bool kedge_packet_checksum_holds(const struct kedge_packet *packet, unsigned start, unsigned at)
{
  uint8_t protocol = packet->key.protocol;
  bool ports = protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_UDP_LITE ||
               protocol == PROTOCOL_SCTP || protocol == PROTOCOL_DCCP;
  return packet->transport != 0 && start >= packet->transport && start + at >= packet->transport + (ports ? 4u : 2u);
}

bool kedge_packet_mark_le(uint8_t *frame, const struct kedge_packet *packet)
{
  uint8_t *p = frame + packet->network;
  if (packet->kind != KEDGE_PACKET_FLOW)
    return false;
  if (packet->family == KEDGE_FAMILY_IP6) {
    uint8_t class = (uint8_t)(p[0] << 4 | p[1] >> 4);
    uint8_t marked = (uint8_t)((class & 3u) | 1u << 2);
    p[0] = (uint8_t)((p[0] & 0xf0u) | marked >> 4);
    p[1] = (uint8_t)((p[1] & 0x0fu) | (marked & 15u) << 4);
    return class != marked;
  }
  uint16_t before = be16(p);
  uint8_t marked = (uint8_t)((p[1] & 3u) | 1u << 2);
  if (p[1] == marked)
    return false;
  p[1] = marked;
  uint32_t sum = (uint16_t)~be16(p + 10) + (uint32_t)(uint16_t)~before + be16(p);
  sum = (sum & 0xffffu) + (sum >> 16);
  sum = (sum & 0xffffu) + (sum >> 16);
  sum = ~sum;
  p[10] = (uint8_t)(sum >> 8);
  p[11] = (uint8_t)sum;
  return true;
}
