/*
 * The child between clone and exec. It shares the warden's memory (no page of it is copied, and the real-time
 * thread is not made to fault), so it makes system calls directly: the C library's setuid and friends would
 * act on the warden's threads.
 *
 * It must not allocate, log, or return.
 */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_BYTES (64u * 1024u)

struct child {
  const struct spawn *order;
  char netns[128];
  pid_t parent;
  const char *volatile step;
  volatile int why;
};

#define TRY(name, call)      \
  do {                       \
    child->step = (name);    \
    if ((call) < 0)          \
      goto failed;           \
  } while (0)

static int run_child(void *argument)
{
  struct child *child = argument;
  const struct spawn *s = child->order;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct caps[2];
  uint64_t none = 0;

  TRY("session", syscall(SYS_setsid));
  TRY("output", syscall(SYS_dup3, s->output, STDOUT_FILENO, 0));
  if (s->output != STDERR_FILENO) /* dup3 refuses equal descriptors */
    TRY("output", syscall(SYS_dup3, s->output, STDERR_FILENO, 0));
  int null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0);
  TRY("input", null);
  if (null != STDIN_FILENO) {
    TRY("input", syscall(SYS_dup3, null, STDIN_FILENO, 0));
    syscall(SYS_close, null);
  }
  TRY("directory", syscall(SYS_chdir, "/"));
  syscall(SYS_umask, 022);
  if (s->netns != NULL) {
    int ns = (int)syscall(SYS_openat, AT_FDCWD, child->netns, O_RDONLY | O_CLOEXEC, 0);
    TRY("netns", ns);
    TRY("netns", syscall(SYS_setns, ns, CLONE_NEWNET));
  }
  if (s->limited) {
    for (int n = 0; n <= 63; n++)
      if ((s->capabilities & (UINT64_C(1) << n)) == 0 && syscall(SYS_prctl, PR_CAPBSET_READ, n, 0, 0, 0) == 1)
        TRY("bounding set", syscall(SYS_prctl, PR_CAPBSET_DROP, n, 0, 0, 0));
    TRY("keep capabilities", syscall(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
  }
  TRY("groups", syscall(SYS_setgroups, s->group == (gid_t)-1 ? 0 : 1, &s->group));
  TRY("gid", syscall(SYS_setresgid, s->gid, s->gid, s->gid));
  TRY("uid", syscall(SYS_setresuid, s->uid, s->uid, s->uid));
  if (s->limited) {
    for (unsigned i = 0; i < 2; i++) {
      uint32_t bits = (uint32_t)(s->capabilities >> (32 * i));
      caps[i] = (struct __user_cap_data_struct){bits, bits, bits};
    }
    TRY("capabilities", syscall(SYS_capset, &header, caps));
    for (int n = 0; n <= 63; n++)
      if ((s->capabilities & (UINT64_C(1) << n)) != 0)
        TRY("ambient capabilities", syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0));
    TRY("no new privileges", syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  }
  /* After the change of user, which clears it. */
  TRY("parent-death signal", syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
  if (syscall(SYS_getppid) != child->parent)
    syscall(SYS_exit_group, 127);
  TRY("signals", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none)));
  TRY("exec", syscall(SYS_execve, s->argv[0], s->argv, s->envp));
failed:
  child->why = errno;
  syscall(SYS_exit_group, 127);
  return 127;
}

int spawn(const struct spawn *s, pid_t *pid, int *pidfd, const char **step)
{
  static _Alignas(16) char stack[STACK_BYTES];
  struct child child = {.order = s, .parent = getpid(), .step = "clone"};
  if (s->netns != NULL)
    snprintf(child.netns, sizeof(child.netns), "/run/netns/%s", s->netns);
  int fd = -1;
  int got = clone(run_child, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &child, &fd);
  *step = child.step;
  if (got < 0)
    return errno;
  if (child.why != 0) {
    close(fd);
    siginfo_t info;
    while (waitid(P_PID, (id_t)got, &info, WEXITED) != 0 && errno == EINTR)
      ;
    return child.why;
  }
  *pid = got;
  *pidfd = fd;
  return 0;
}
