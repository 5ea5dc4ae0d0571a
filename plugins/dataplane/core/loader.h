/*
 * What may take time: finding, checking, mapping and prefaulting segments, judging a new generation of
 * tables, and waiting for a change. Everything here stays off the packet workers (DP-2).
 *
 * It must hand workers only what it has checked, and free nothing that a worker may still look at.
 */
#ifndef KEDGE_LOADER_H
#define KEDGE_LOADER_H

#include <pthread.h>

#include "governor.h"

/*
 * Looks at the board once: opens what is missing or was replaced, takes away what no longer holds (header,
 * size, another file of the name), judges a new generation, frees what no worker uses. One caller at a time.
 */
void kedge_loader_step(struct kedge_governor *governor);

/* Unmaps everything; no reader may be left. */
void kedge_loader_release(struct kedge_governor *governor);

/* A thread that steps at every ring of the tables' bell, and every 100 ms (20 ms while something is missing). */
struct kedge_loader {
  struct kedge_governor *governor;
  pthread_t thread;
  KEDGE_ATOMIC(uint32_t) stop; /* private bell */
};
int kedge_loader_start(struct kedge_loader *loader, struct kedge_governor *governor); /* 0 or errno */
void kedge_loader_stop(struct kedge_loader *loader);

/* The usable levels of a generation: bit per level, 0 where its bank does not hold. Takes some 3 ms. */
unsigned kedge_bank_judge(const struct kedge_tables_segment *tables, uint64_t generation);

/*
 * Waits until something that a worker obeys may have changed (posture word, fail-closed line, mappings,
 * tables). One thread per governor, which then wakes its workers in the data plane's own way.
 */
struct kedge_watch {
  struct kedge_governor *governor;
  const struct kedge_mapping *mapping[2];
  uint32_t seen[3];
  bool started;
};
void kedge_watch_start(struct kedge_watch *watch, struct kedge_governor *governor);
/* True: look now. False: `timeout_ns` passed. The first call is true. */
bool kedge_watch_wait(struct kedge_watch *watch, uint64_t timeout_ns);
void kedge_watch_stop(struct kedge_watch *watch);

#endif
