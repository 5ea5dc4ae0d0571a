/*
 * Namespaces and the two processes at their edge.
 *
 * The starter's death kills process 1 (parent-death signal), and with it the kernel kills the whole tree; the
 * death of process 1 ends the starter. It must not keep a third process.
 */
#define _GNU_SOURCE
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "board.h"
#include "log.h"

#define NEEDED "--init needs root with CAP_SYS_ADMIN, and pid, mount, network, uts and ipc namespaces in the kernel"

void init_tell_ready(pid_t pid)
{
  char line[96];
  int n = snprintf(line, sizeof(line), "{\"ready\":true,\"pid\":%d,\"startTime\":%" PRIu64 "}\n", (int)pid, board_start_time(pid));
  if (write(STDOUT_FILENO, line, (size_t)n) != n)
    log_line("cannot tell that everything is ready: %s", strerror(errno));
}

/* The starter's life: forwards signals, tells when all is ready, ends with the tree. */
static int stand_by(pid_t first, int ready)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  int signals = signalfd(-1, &set, SFD_CLOEXEC);
  for (;;) {
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = ready, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR)
      return 1;
    if (fds[1].revents != 0) {
      char byte;
      if (read(ready, &byte, 1) == 1)
        init_tell_ready(first);
      close(ready);
      ready = -1; /* poll leaves it out */
    }
    if ((fds[0].revents & POLLIN) == 0)
      continue;
    struct signalfd_siginfo info;
    if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
      continue;
    if (info.ssi_signo != SIGCHLD) {
      kill(first, (int)info.ssi_signo);
      continue;
    }
    int status;
    if (waitpid(first, &status, WNOHANG) != first)
      continue;
    if (WIFSIGNALED(status)) {
      log_line("process 1 of the tree ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
      return 128 + WTERMSIG(status);
    }
    return WEXITSTATUS(status);
  }
}

bool init_split(struct init *init, int *status)
{
  int ready[2], lifeline[2];
  *status = 4;
  if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(lifeline, O_CLOEXEC) != 0) {
    log_line("cannot make a pipe: %s", strerror(errno));
    *status = 1;
    return false;
  }
  if (unshare(CLONE_NEWPID) != 0) {
    log_line("cannot make a private process tree: %s; " NEEDED, strerror(errno));
    return false;
  }
  pid_t first = fork();
  if (first < 0) {
    log_line("cannot start the private process tree: %s; " NEEDED, strerror(errno));
    return false;
  }
  if (first > 0) {
    close(ready[1]);
    close(lifeline[0]);
    *status = stand_by(first, ready[0]);
    return false;
  }
  close(ready[0]);
  close(lifeline[1]);
  *init = (struct init){.ready = ready[1], .lifeline = lifeline[0]};
  return true;
}

static bool say(const char *what)
{
  log_line("cannot %s: %s; " NEEDED, what, strerror(errno));
  return false;
}

static bool loopback_up(void)
{
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return false;
  bool up = ioctl(fd, SIOCGIFFLAGS, &request) == 0;
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
  up = up && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  close(fd);
  return up;
}

int init_furnish(const struct init *init)
{
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    return say("bind the tree to its starter"), 4;
  /* The starter may have died before; its end of the pipe tells. */
  struct pollfd lifeline = {.fd = init->lifeline, .events = POLLIN};
  if (poll(&lifeline, 1, 0) != 0)
    return 1;
  setsid(); /* Ctrl-C reaches the starter, which passes it on once */
  bool good = (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) == 0 || say("make private namespaces")) &&
              (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 || say("make the mounts private (in a chroot, / has to be a mount point)")) &&
              (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 || say("mount a private /proc")) &&
              (mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") == 0 || say("mount a private /run")) &&
              (loopback_up() || say("bring the loopback interface up"));
  return good ? 0 : 4;
}

int init_board(const char *directory)
{
  char path[1024];
  size_t length = strlen(directory);
  if (length >= sizeof(path))
    return ENAMETOOLONG;
  memcpy(path, directory, length + 1);
  for (char *c = strchr(path + 1, '/'); c != NULL; c = strchr(c + 1, '/')) {
    *c = '\0';
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
      return errno;
    *c = '/';
  }
  if (mkdir(path, 0700) != 0 && errno != EEXIST)
    return errno;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return errno;
  int why = fchown(fd, 0, KEDGE_GROUP) != 0 || fchmod(fd, 01775) != 0 ? errno : 0;
  close(fd);
  return why;
}
