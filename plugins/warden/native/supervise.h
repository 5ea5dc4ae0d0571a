/*
 * The main thread: starts, restarts and stops services, runs fail-closed commands, reaps, keeps the board's
 * mappings fresh, and tells people what happened.
 *
 * It must not hold a deadline: the watch thread does.
 */
#ifndef KEDGE_WARDEN_SUPERVISE_H
#define KEDGE_WARDEN_SUPERVISE_H

#include "warden.h"

#define SUPERVISE_STOP_NS UINT64_C(2000000000)     /* SIGTERM to SIGKILL */
#define SUPERVISE_STEADY_NS UINT64_C(10000000000)  /* a life this long ends the back-off */
#define SUPERVISE_COMMAND_NS UINT64_C(10000000000) /* a fail-closed command is killed after this */
#define SUPERVISE_COMMAND_NEWER_NS UINT64_C(1000000000) /* ... and after this when a newer order waits for it */

/*
 * Runs until SIGTERM, SIGINT or SIGHUP (which the caller has blocked, with SIGCHLD), then stops the services
 * in reverse order. `ready` is called once, when the oneshots are done and the services are started.
 * `lifeline` is a pipe whose end means that the starter is gone; -1 = none. Returns the exit status.
 */
int supervise(struct warden *w, void (*ready)(void *), void *argument, int lifeline);

#endif
