/*
 * What the parts of the warden share: configuration, board, own segment, and what the real-time thread and
 * the main thread tell each other.
 *
 * It must hold state and no decisions.
 */
#ifndef KEDGE_WARDEN_H
#define KEDGE_WARDEN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "config.h"
#include "kedge/segment.h"

#define WARDEN_VERSION "0.1.0"
#define WARDEN_PRIORITY 80        /* SCHED_FIFO; above every listener and data plane */
#define WARDEN_TICK_NS UINT64_C(50000000) /* longest time between two passes, and so between two beats */

/* A supervised or watched service as both threads know it; changes under board.lock. */
struct service_state {
  bool running;           /* has a process that is to be there; false while stopping or waiting */
  bool killed;            /* the warden killed this process: its end is no news */
  int pidfd;
  uint64_t started_at_ns; /* [watch]: unused, the slot's seen_at_ns counts */
  int slot;               /* of its segment, or -1 */
};

/* An order to run the fail-closed command of a path; written by the watch thread, under board.lock. */
struct action_order {
  uint64_t orders;  /* counts up; a new number is a new order */
  uint64_t epoch, deadline_ns;
  unsigned level;
  uint32_t late;    /* bit n = participant n of the path was late */
};

struct warden {
  struct kedge_config *config;
  struct board board;
  struct kedge_segment own;
  struct service_state service[CONFIG_MAX_UNITS];
  struct action_order action[KEDGE_PATHS];
  int news;                     /* eventfd: the watch thread has something for the main thread */
  KEDGE_ATOMIC(uint32_t) nudge; /* private bell: the main thread has something for the watch thread */
  bool stop_watch;              /* under board.lock */
  bool ring_own;                /* under board.lock: the own bell is rung when the pass ends */
};

static inline struct kedge_warden_segment *warden_segment(struct warden *w) { return w->own.base; }

#endif
