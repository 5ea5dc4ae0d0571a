/*
 * Makes a forwarder that lies: it acknowledges in time and goes on for KEDGE_MUTANT_LATE_NS by the rules of
 * the level before. Included in front of the governor's source when the mutant is built.
 *
 * It must never be part of anything but the mutant that the drill has to catch.
 */
#ifndef KEDGE_LATE_FORWARDER_H
#define KEDGE_LATE_FORWARDER_H

#include <kedge/segment.h>

#include "classify.h"

static inline void late_classify(const struct kedge_level_table *table, const struct kedge_packet *packet,
                                 unsigned source_zone, unsigned destination_zone, struct kedge_judgement *judgement)
{
  static const struct kedge_level_table *last, *before;
  static uint64_t changed_at;
  uint64_t now = kedge_now_ns();
  if (table != last) {
    before = last;
    last = table;
    changed_at = now;
  }
  bool late = before != NULL && now - changed_at < KEDGE_MUTANT_LATE_NS;
  kedge_classify(late ? before : table, packet, source_zone, destination_zone, judgement);
}
#define kedge_classify late_classify

#endif
