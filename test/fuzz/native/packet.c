/*
 * Fuzz target: any bytes as a frame. What the parser says stays inside the frame and stands on it alone; marking
 * keeps checksums right and is done once; a checksum left to an interface is made behind what was judged.
 *
 * It must not know how the parser comes to its answer.
 */
#include "input.h"
#include "packet.h"

/* RFC 1071 over an IPv4 header; 0 where its checksum is right. */
static uint16_t header_sum(const uint8_t *p)
{
  uint32_t sum = 0;
  for (unsigned i = 0; i < (p[0] & 15u) * 2u; i++)
    sum += (uint32_t)p[2 * i] << 8 | p[2 * i + 1];
  while (sum >> 16 != 0)
    sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void places_are_inside(const struct kedge_packet *p, size_t length)
{
  HOLDS(p->kind <= KEDGE_PACKET_ICMP_ERROR && p->family < KEDGE_FAMILIES);
  HOLDS(p->vlan_tags <= KEDGE_MAX_VLAN_TAGS && p->vlan < 4096 && (p->vlan == 0 || p->vlan_tags > 0));
  HOLDS(p->key.source_zone == 0 && p->key.destination_zone == 0);
  if (p->kind < KEDGE_PACKET_FLOW)
    return;
  HOLDS(p->network >= 14 && p->network < length);
  if (p->kind == KEDGE_PACKET_ARP)
    return;
  size_t header = p->family == KEDGE_FAMILY_IP4 ? 20 : 40;
  HOLDS(p->network + header <= length);
  HOLDS(p->later_fragment ? p->transport == 0 : p->transport >= p->network + header && p->transport <= length);
  HOLDS(!p->later_fragment || (p->key.source_port == 0 && p->key.destination_port == 0));
}

/* Bytes behind an IP packet are padding; a frame that was cut is what it was, or malformed. */
static void length_tells(const uint8_t *frame, size_t length, const struct kedge_packet *whole)
{
  struct kedge_packet other;
  uint8_t *longer = calloc(1, length + 7);
  if (longer == NULL)
    abort();
  memcpy(longer, frame, length);
  if (kedge_packet_parse(longer, length + 7, &other), whole->kind != KEDGE_PACKET_MALFORMED)
    HOLDS(memcmp(&other, whole, sizeof(other)) == 0);
  free(longer);
  size_t less = length / 2;
  uint8_t *shorter = copy_of(frame, less);
  if (kedge_packet_parse(shorter, less, &other) >= KEDGE_PACKET_FLOW)
    HOLDS(memcmp(&other, whole, sizeof(other)) == 0);
  free(shorter);
}

/* Whatever an interface writes where it may: nothing that rules look at is another afterwards. */
static void checksum_stays_behind(const uint8_t *frame, size_t length, const struct kedge_packet *p)
{
  unsigned pick = 0;
  for (size_t i = 0; i < length; i++)
    pick = pick * 31u + frame[i];
  unsigned start = (pick >> 8) % 4 == 0 ? (pick >> 10) % 128u : p->transport, at = (pick >> 3) % 24u;
  if (p->kind < KEDGE_PACKET_FLOW || !kedge_packet_checksum_holds(p, start, at))
    return;
  HOLDS(p->transport != 0 && start >= p->transport);
  if (start + at + 2 > length)
    return;
  struct kedge_packet after;
  uint8_t *written = copy_of(frame, length);
  written[start + at] ^= (uint8_t)(pick >> 16 | 1);
  written[start + at + 1] ^= (uint8_t)(pick >> 24);
  if (kedge_packet_parse(written, length, &after) == p->kind)
    HOLDS(memcmp(&after.key, &p->key, sizeof(after.key)) == 0);
  else
    HOLDS(after.kind == KEDGE_PACKET_MALFORMED);
  free(written);
}

static void marking_holds(uint8_t *frame, size_t length, const struct kedge_packet *p)
{
  struct kedge_packet after;
  uint8_t *before = copy_of(frame, length), *ip = frame + p->network;
  bool ip4 = p->family == KEDGE_FAMILY_IP4, changed = kedge_packet_mark_le(frame, p);
  uint8_t class = ip4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
  uint8_t class_before = ip4 ? before[p->network + 1] : (uint8_t)(before[p->network] << 4 | before[p->network + 1] >> 4);
  HOLDS(class >> 2 == 1 && (class & 3) == (class_before & 3));
  HOLDS(changed == (class != class_before));
  /* Right before, right after; wrong before, as wrong after (0 and 0xffff are one value here). */
  HOLDS(!ip4 || header_sum(ip) % 0xffff == header_sum(before + p->network) % 0xffff);
  for (size_t i = 0; i < length; i++) {
    bool ours = i >= p->network && (ip4 ? i - p->network == 1 || i - p->network == 10 || i - p->network == 11
                                        : i - p->network < 2);
    HOLDS(ours || frame[i] == before[i]);
  }
  HOLDS(kedge_packet_parse(frame, length, &after) == KEDGE_PACKET_FLOW && memcmp(&after, p, sizeof(after)) == 0);
  HOLDS(!kedge_packet_mark_le(frame, p));
  free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct kedge_packet packet, again;
  uint8_t *frame = copy_of(data, size);
  memset(&again, 0xa5, sizeof(again));
  HOLDS(kedge_packet_parse(frame, size, &packet) == (enum kedge_packet_kind)packet.kind);
  kedge_packet_parse(frame, size, &again);
  HOLDS(memcmp(&packet, &again, sizeof(packet)) == 0);
  places_are_inside(&packet, size);
  length_tells(frame, size, &packet);
  checksum_stays_behind(frame, size, &packet);
  if (packet.kind == KEDGE_PACKET_FLOW)
    marking_holds(frame, size, &packet);
  else
    HOLDS(!kedge_packet_mark_le(frame, &packet) && memcmp(frame, data, size) == 0);
  free(frame);
  return 0;
}
