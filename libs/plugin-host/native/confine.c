/*
 * Starts a plugin's process so that it can compute, read what it was given, and speak over what it inherited: nothing
 * else of the machine, and nothing of other processes of its own user, can be touched by it.
 * It must not go on when any part of that could not be had.
 *
 * kedge-confine [--read PATH]… [--execute PATH]… -- PROGRAM [ARGUMENT]…
 *
 * File access by Landlock, the rest by a seccomp filter; capabilities, core dumps and a parent that dies are dealt
 * with before. Both hold for whatever the program starts and cannot be taken back (no_new_privs).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_NOT_CONFINED = 120 };

static _Noreturn void fail(const char *what)
{
  fprintf(stderr, "kedge-confine: %s: %s\n", what, strerror(errno));
  exit(EXIT_NOT_CONFINED);
}

/* --------------------------------------------------------------- Landlock */

/* What later kernels can restrict too; older headers have no names for it. */
#define ACCESS_REFER (1ULL << 13)
#define ACCESS_TRUNCATE (1ULL << 14)
#define ACCESS_IOCTL_DEV (1ULL << 15)
#define NET_BIND_TCP (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)
#define ACCESS_FIRST_VERSION ((1ULL << 13) - 1)

/* The newest attributes; what a kernel does not know is cut off by the size that is passed. */
struct ruleset {
  uint64_t files;
  uint64_t net;
  uint64_t scoped;
};

static int make_ruleset(long version)
{
  struct ruleset rules = {.files = ACCESS_FIRST_VERSION, .net = 0, .scoped = 0};
  size_t size = sizeof(rules.files);
  if (version >= 2)
    rules.files |= ACCESS_REFER;
  if (version >= 3)
    rules.files |= ACCESS_TRUNCATE;
  if (version >= 4) {
    rules.net = NET_BIND_TCP | NET_CONNECT_TCP;
    size = offsetof(struct ruleset, scoped);
  }
  if (version >= 5)
    rules.files |= ACCESS_IOCTL_DEV;
  if (version >= 6) {
    rules.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
    size = sizeof(rules);
  }
  return (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
}

static void allow_path(int ruleset, const char *path, uint64_t access)
{
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT)
      return; /* what is not there cannot be read either */
    fail(path);
  }
  struct landlock_path_beneath_attr beneath = {.allowed_access = access, .parent_fd = fd};
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0) {
    /* A file takes no rights of directories. */
    beneath.allowed_access = access & (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE);
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0)
      fail(path);
  }
  close(fd);
}

/* ---------------------------------------------------------------- seccomp */

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#error "the filter knows x86-64 and aarch64"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_ARGUMENT(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define REFUSE(why) RETURN(SECCOMP_RET_ERRNO | (why))

/* Calls that reach beyond the process: network, other processes, mounts, keys, attributes of files that it may own. */
static const int REFUSED[] = {
  SYS_socket, SYS_bind, SYS_connect, SYS_listen,
  SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_pidfd_open, SYS_pidfd_getfd,
  SYS_pidfd_send_signal, SYS_process_madvise, SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
  SYS_setpriority, SYS_ioprio_set, SYS_sched_setscheduler, SYS_sched_setparam, SYS_sched_setattr,
  SYS_sched_setaffinity, SYS_move_pages, SYS_migrate_pages,
  SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_open_tree, SYS_move_mount,
  SYS_fsopen, SYS_fsmount, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup,
  SYS_add_key, SYS_request_key, SYS_keyctl, SYS_init_module, SYS_finit_module, SYS_delete_module,
  SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_personality,
  SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_utimensat,
  SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
  SYS_truncate, SYS_mq_open, SYS_shmget, SYS_msgget, SYS_semget, SYS_inotify_add_watch, SYS_fanotify_init,
#if defined(__x86_64__)
  SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat, SYS_fork, SYS_vfork, SYS_iopl, SYS_ioperm,
#endif
  452, /* fchmodat2 */
  463, 466, /* setxattrat, removexattrat */
};

#define FILTER_MAX 320

static void filter_calls(void)
{
  struct sock_filter code[FILTER_MAX];
  size_t n = 0;
#define ADD(...)                                                                                                       \
  do {                                                                                                                 \
    const struct sock_filter added[] = {__VA_ARGS__};                                                                  \
    if (n + sizeof(added) / sizeof(*added) > FILTER_MAX)                                                               \
      abort();                                                                                                         \
    memcpy(code + n, added, sizeof(added));                                                                            \
    n += sizeof(added) / sizeof(*added);                                                                               \
  } while (0)
  const uint32_t self = (uint32_t)getpid();
  ADD(LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0), RETURN(SECCOMP_RET_KILL_PROCESS), LOAD(nr));
#if defined(__x86_64__)
  ADD(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS)); /* x32 */
#endif
  for (size_t i = 0; i < sizeof(REFUSED) / sizeof(*REFUSED); i++)
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)REFUSED[i], 0, 1), REFUSE(EPERM));
  /* clone3 hides its flags in memory: the C library then takes clone, whose flags can be seen. Threads only. */
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1), REFUSE(ENOSYS));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4), LOAD_ARGUMENT(0),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1), RETURN(SECCOMP_RET_ALLOW), REFUSE(EPERM));
  /* Signals for itself only; limits of itself only. */
  const int own[] = {SYS_kill, SYS_tgkill};
  for (size_t i = 0; i < 2; i++)
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)own[i], 0, 4), LOAD_ARGUMENT(0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, self, 0, 1), RETURN(SECCOMP_RET_ALLOW), REFUSE(EPERM));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 4), LOAD_ARGUMENT(0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), RETURN(SECCOMP_RET_ALLOW), REFUSE(EPERM));
  /* Nor by the kernel's hand: a descriptor that is shared with somebody would signal whom its owner is set to. */
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 6), LOAD_ARGUMENT(1),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_SETOWN, 2, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_SETOWN_EX, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_SETSIG, 0, 1), REFUSE(EPERM), RETURN(SECCOMP_RET_ALLOW));
  ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5), LOAD_ARGUMENT(1),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FIOSETOWN, 1, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SIOCSPGRP, 0, 1),
      REFUSE(EPERM), RETURN(SECCOMP_RET_ALLOW));
  ADD(RETURN(SECCOMP_RET_ALLOW));
  struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    fail("the seccomp filter was not taken");
}

/* -------------------------------------------------------------------- main */

static void drop_capabilities(void)
{
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct none[2];
  memset(none, 0, sizeof(none));
  if (syscall(SYS_capset, &head, none) != 0)
    fail("capabilities could not be dropped");
}

static void limit(int what, rlim_t most)
{
  struct rlimit limits;
  if (getrlimit((__rlimit_resource_t)what, &limits) != 0)
    fail("a limit could not be read");
  limits.rlim_cur = limits.rlim_max = limits.rlim_max < most ? limits.rlim_max : most;
  if (setrlimit((__rlimit_resource_t)what, &limits) != 0)
    fail("a limit could not be set");
}

/* When memory runs out, this is what can be missed. */
static void be_the_first_to_go(void)
{
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "1000", 4) != 4)
    fail("the kernel was not told what to end first");
  close(fd);
}

int main(int argc, char **argv)
{
  pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
    fail("the parent has gone");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    fail("privileges could not be given up");
  long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1)
    fail("this kernel has no Landlock, and without it a plugin could touch the files of its user");
  int ruleset = make_ruleset(version);
  if (ruleset < 0)
    fail("the Landlock rules were not taken");
  const uint64_t read_only = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  int at = 1;
  for (; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
    if (strcmp(argv[at], "--read") == 0)
      allow_path(ruleset, argv[at + 1], read_only);
    else if (strcmp(argv[at], "--execute") == 0)
      allow_path(ruleset, argv[at + 1], read_only | LANDLOCK_ACCESS_FS_EXECUTE);
    else
      break;
  }
  if (at + 1 >= argc || strcmp(argv[at], "--") != 0) {
    fputs("usage: kedge-confine [--read PATH]... [--execute PATH]... -- PROGRAM [ARGUMENT]...\n", stderr);
    return EXIT_USAGE;
  }
  be_the_first_to_go();
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 128);
  if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
    fail("the Landlock rules were not taken");
  close(ruleset);
  drop_capabilities();
  filter_calls();
  execv(argv[at + 1], argv + at + 1);
  fail(argv[at + 1]);
}
