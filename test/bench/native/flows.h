/*
 * The allowlist and the frames that the classifier and its peer are measured with: the same for the same numbers.
 *
 * It must not judge a frame nor take a time.
 */
#ifndef KEDGE_BENCH_FLOWS_H
#define KEDGE_BENCH_FLOWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../../plugins/dataplane/core/builder.h"

#define FLOWS 65536u
#define FRAME_ROOM 128u /* bytes from one frame to the next, as in a ring of buffers */

struct flow {
  uint8_t frame[FRAME_ROOM];
};

struct flow_place {
  uint16_t length;      /* bytes of the frame */
  uint8_t source_zone;
  uint8_t destination_zone;
};

struct allowlist {
  struct kedge_rule *rule; /* freed by allowlist_free */
  uint32_t rules;          /* half of them IPv4, half IPv6 */
  uint32_t shapes;         /* per family, 1..KEDGE_MAX_SHAPES */
};

struct traffic {
  struct flow *flow;        /* FLOWS frames, half IPv4; freed by traffic_free */
  struct flow_place *place;
  uint32_t hits;            /* how many are written after a rule: half of them */
};

/*
 * `zones`: shapes may ask for zones; without, equal shapes fall together. `tags`: frames have none, one or two VLAN
 * tags. Both end the process where memory is short.
 */
struct allowlist allowlist_of(uint32_t rules, uint32_t shapes, bool zones);
struct traffic traffic_of(const struct allowlist *list, bool tags);
void allowlist_free(struct allowlist *list);
void traffic_free(struct traffic *traffic);

/* A table of level 3 that drops what the list does not name; freed by the caller. */
struct kedge_level_table *table_of(const struct allowlist *list);

#endif
