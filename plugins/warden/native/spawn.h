/*
 * Starting one program as another user, with exactly the capabilities, namespace and environment it is given.
 *
 * It must not supervise: the caller waits for what it started.
 */
#ifndef KEDGE_WARDEN_SPAWN_H
#define KEDGE_WARDEN_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn {
  char *const *argv;
  char *const *envp;      /* whole: nothing is inherited */
  uid_t uid;
  gid_t gid;
  gid_t group;            /* one more; (gid_t)-1 = none */
  uint64_t capabilities;  /* made ambient */
  bool limited;           /* false: root keeps what the warden has */
  const char *netns;      /* name below /run/netns, or NULL */
  int output;             /* becomes standard output and error; not STDOUT_FILENO */
};

/*
 * Starts it. `*pid` and `*pidfd` (closed by the caller) on success. Otherwise errno, and `*step` says what
 * failed ("exec", "netns", ...). The child dies with the warden.
 */
int spawn(const struct spawn *s, pid_t *pid, int *pidfd, const char **step);

#endif
