/*
 * The real-time thread: deadlines of every path, fail-closed lines, heartbeats.
 *
 * It must never block on anything but its bells, never spin, and believe nothing that it reads.
 */
#ifndef KEDGE_WARDEN_WATCH_H
#define KEDGE_WARDEN_WATCH_H

#include "warden.h"

/* Starts the thread, SCHED_FIFO where allowed. Returns 0 or errno; says in the log what was not allowed. */
int watch_start(struct warden *w, pthread_t *thread);

/* Ends and joins it. */
void watch_stop(struct warden *w, pthread_t thread);

#endif
