/*
 * `--init`: a private tree of namespaces with the warden as its first process, of which nothing is left when
 * either end of it dies.
 *
 * It must know nothing of services, segments or deadlines.
 */
#ifndef KEDGE_WARDEN_INIT_H
#define KEDGE_WARDEN_INIT_H

#include <stdbool.h>
#include <sys/types.h>

/* What the first process of the tree holds. */
struct init {
  int ready;    /* write end: a byte tells the starter that everything runs */
  int lifeline; /* read end: ends with the starter */
};

/*
 * Splits into the starter, which stays in the caller's namespaces and returns its exit status in `*status`
 * when the tree has ended, and process 1 of the tree, which returns with `*init` filled.
 * True in process 1, false in the starter. SIGTERM, SIGINT, SIGHUP and SIGCHLD must be blocked.
 */
bool init_split(struct init *init, int *status);

/* In process 1: private mounts, /proc, /run, loopback. 0 or an exit status; says what is missing. */
int init_furnish(const struct init *init);

/* Makes the board directory with its parents: root, group kedge, 1775. 0 or errno. */
int init_board(const char *directory);

/* {"ready":true,"pid":N,"startTime":N} on standard output. */
void init_tell_ready(pid_t pid);

#endif
