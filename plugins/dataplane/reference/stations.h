/*
 * Which port a MAC address was last seen at: a bounded table that forgets.
 *
 * It must never grow, and never make room by forgetting a station that is still talking: an address that
 * finds no place stays unknown, and its frames are flooded and judged per destination like any other.
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
  uint16_t used;
  uint64_t seen_ns;
};

struct kedge_stations {
  struct kedge_station way[KEDGE_STATION_BUCKETS][KEDGE_STATION_WAYS];
  uint32_t per_port[KEDGE_STATION_PORTS];
};

/* The port of a station, or -1. */
int kedge_stations_find(const struct kedge_stations *stations, const uint8_t mac[6], uint16_t vlan, uint64_t now_ns);

/* Notes that a frame of this station came in by `port`; a station that moved moves here. */
void kedge_stations_learn(struct kedge_stations *stations, const uint8_t mac[6], uint16_t vlan, unsigned port,
                          uint64_t now_ns);

#endif
