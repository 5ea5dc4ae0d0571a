/*
 * Which port a MAC address was last seen at: a bounded table that forgets.
 *
 * It must never grow, never make room by forgetting a station that is still talking, and never let one zone
 * take an address from another: one that finds no place, or that two zones claim, counts as unknown, and its
 * frames are flooded and judged per destination like any other.
 */
#ifndef KEDGE_STATIONS_H
#define KEDGE_STATIONS_H

#include <stdint.h>

#define KEDGE_STATION_BUCKETS 512u
#define KEDGE_STATION_WAYS 8u
#define KEDGE_STATION_AGE_NS UINT64_C(300000000000)
/* No port may fill the table alone. */
#define KEDGE_STATIONS_PER_PORT 1024u
#define KEDGE_STATION_PORTS 64u

struct kedge_station {
  uint8_t mac[6];
  uint16_t vlan;
  uint16_t port;
  uint8_t zone;
  uint8_t used;
  uint64_t seen_ns;
  uint64_t claimed_ns; /* when it last spoke in another zone than before; 0 = never */
};

struct kedge_stations {
  struct kedge_station way[KEDGE_STATION_BUCKETS][KEDGE_STATION_WAYS];
  uint32_t per_port[KEDGE_STATION_PORTS];
};

/* The port of a station; -1 where it is unknown or, within KEDGE_STATION_AGE_NS, two zones claimed it. */
int kedge_stations_find(const struct kedge_stations *stations, const uint8_t mac[6], uint16_t vlan, uint64_t now_ns);

/* Notes that a frame of this station came in by `port`, of `zone`. A station that moved within its zone moves here. */
void kedge_stations_learn(struct kedge_stations *stations, const uint8_t mac[6], uint16_t vlan, unsigned port,
                          unsigned zone, uint64_t now_ns);

#endif
