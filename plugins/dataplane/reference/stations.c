/*
 * The implementation of stations.h.
 *
 * It must look at one bucket per call and no more.
 */
#include "stations.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static unsigned bucket_of(const uint8_t mac[6], uint16_t vlan)
{
  uint64_t v = vlan;
  for (unsigned i = 0; i < 6; i++)
    v = v << 8 | mac[i];
  v *= UINT64_C(0x9e3779b97f4a7c15);
  return (unsigned)(v >> 55) % KEDGE_STATION_BUCKETS;
}

static bool is(const struct kedge_station *s, const uint8_t mac[6], uint16_t vlan)
{
  return s->used && s->vlan == vlan && memcmp(s->mac, mac, 6) == 0;
}

static bool is_past(uint64_t at_ns, uint64_t now_ns) { return now_ns > at_ns && now_ns - at_ns > KEDGE_STATION_AGE_NS; }

static bool aged(const struct kedge_station *s, uint64_t now_ns) { return is_past(s->seen_ns, now_ns); }

static bool contested(const struct kedge_station *s, uint64_t now_ns)
{
  return s->claimed_ns != 0 && !is_past(s->claimed_ns, now_ns);
}

int kedge_stations_find(const struct kedge_stations *stations, const uint8_t mac[6], uint16_t vlan, uint64_t now_ns)
{
  const struct kedge_station *way = stations->way[bucket_of(mac, vlan)];
  for (unsigned i = 0; i < KEDGE_STATION_WAYS; i++)
    if (is(&way[i], mac, vlan))
      return aged(&way[i], now_ns) || contested(&way[i], now_ns) ? -1 : way[i].port;
  return -1;
}

void kedge_stations_learn(struct kedge_stations *stations, const uint8_t mac[6], uint16_t vlan, unsigned port,
                          unsigned zone, uint64_t now_ns)
{
  struct kedge_station *way = stations->way[bucket_of(mac, vlan)];
  struct kedge_station *place = NULL;
  for (unsigned i = 0; i < KEDGE_STATION_WAYS; i++) {
    if (is(&way[i], mac, vlan)) {
      place = &way[i];
      break;
    }
    if (place == NULL && (!way[i].used || aged(&way[i], now_ns)))
      place = &way[i];
  }
  if (place == NULL || port >= KEDGE_STATION_PORTS)
    return;
  bool known = is(place, mac, vlan) && !aged(place, now_ns);
  /* Also where the claimant has no room left: the claim itself is what must not pass unseen. */
  if (known && place->zone != zone)
    place->claimed_ns = now_ns;
  else if (!known)
    place->claimed_ns = 0;
  bool counted = place->used && place->port == port;
  if (!counted && stations->per_port[port] >= KEDGE_STATIONS_PER_PORT)
    return;
  if (!counted) {
    if (place->used)
      stations->per_port[place->port]--;
    stations->per_port[port]++;
  }
  memcpy(place->mac, mac, 6);
  place->vlan = vlan;
  place->port = (uint16_t)port;
  place->zone = (uint8_t)zone;
  place->used = 1;
  place->seen_ns = now_ns;
}
