/*
 * What the warden does when a deadline passes: records it, sets and clears fail-closed lines, kills.
 * Everything here is called under board.lock and never blocks.
 *
 * It must not decide whether something is late.
 */
#ifndef KEDGE_WARDEN_ACT_H
#define KEDGE_WARDEN_ACT_H

#include "warden.h"

struct violation {
  enum kedge_violation_kind kind;
  uint32_t path; /* enum kedge_path or KEDGE_PATH_NONE */
  uint64_t epoch, deadline_ns;
  unsigned level;      /* enforced, 0 = none */
  int outcome;
  uint64_t acted_at_ns;
};

/* Writes one event into the ring. `subject` and, where not NULL, "/" and `part` say who it was. */
void act_record(struct warden *w, const struct violation *v, const char *subject, const char *part);

/* The fail-closed line of a path now; 0 = clear. */
kedge_word act_line(struct warden *w, unsigned path);

/* Sets the line, or makes a set one tighter; never looser. `epoch` is the one that missed. */
void act_fail_closed(struct warden *w, unsigned path, uint64_t epoch, unsigned level);

/* Makes a set line as tight as `level`; keeps its epoch. A clear line stays clear. */
void act_tighten_line(struct warden *w, unsigned path, unsigned level);

void act_clear(struct warden *w, unsigned path, uint64_t epoch);

/* SIGKILL through a pidfd; 0 or errno. */
int act_kill(int pidfd);

/* Orders the fixed command of a path from the main thread. */
void act_order(struct warden *w, unsigned path, uint64_t epoch, uint64_t deadline_ns, unsigned level, uint32_t late);

/* Wakes the main thread. */
void act_tell(struct warden *w);

/* "dataplane", "overlay" or "underlay". */
const char *act_path_name(unsigned path);

/* The name without "dataplane-" or "participant-". */
const char *act_short_name(const char *segment);

#endif
