/*
 * One loop over signals, news of the watch thread, changes of the board directory, and the clock.
 *
 * It must never wait for one child: whatever a service does, the others and the board are served.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "act.h"
#include "log.h"
#include "spawn.h"

#define REFRESH_NS UINT64_C(100000000)     /* the board is looked at this often at least ... */
#define REFRESH_MIN_NS UINT64_C(5000000)   /* ... and at most, whoever creates files in it */
#define TAIL_BYTES 4096
#define COMMAND_READS 128 /* a whole pipe and more, however fast somebody still fills it */

enum phase { ONESHOTS, SERVING, STOPPING, DONE };

struct process {
  pid_t pid; /* 0 = none */
  int pidfd;
  uint64_t started_at_ns;
};

static struct {
  struct warden *w;
  int signals, inotify;
  enum phase phase;
  int status;
  size_t next_oneshot, stopping; /* services at and above `stopping` are stopped */
  struct process oneshot;
  int oneshot_output;
  off_t oneshot_from;
  struct process service[CONFIG_MAX_UNITS];
  uint64_t backoff_ns[CONFIG_MAX_UNITS], start_at_ns[CONFIG_MAX_UNITS];
  uint64_t stop_at_ns;           /* the one that is being stopped gets SIGKILL then */
  struct command {
    struct process process;
    struct action_order order;
    uint64_t done;               /* orders seen */
    bool timed_out;
    int output;                  /* read end; nothing that nobody reads holds the command up */
  } command[KEDGE_PATHS];
  uint64_t told;                 /* violations that the log has */
  uint64_t refreshed_at_ns;
  bool refresh;
} sup;

static char *default_environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static int signal_process(const struct process *p, int number)
{
  return p->pid == 0 ? 0 : (int)syscall(SYS_pidfd_send_signal, p->pidfd, number, NULL, 0);
}

static const char *end_text(int status, char *text, size_t size)
{
  if (WIFSIGNALED(status))
    snprintf(text, size, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else
    snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
  return text;
}

/* Exit status as a shell tells it. */
static int end_number(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

static void record(const struct violation *v, const char *subject)
{
  pthread_mutex_lock(&sup.w->board.lock);
  act_record(sup.w, v, subject, NULL);
  pthread_mutex_unlock(&sup.w->board.lock);
  kedge_bell_ring(&sup.w->nudge); /* whose pass rings the own bell */
}

/* ----------------------------------------------------------------- starting */

static int make_parents(const char *path)
{
  char copy[1024];
  snprintf(copy, sizeof(copy), "%s", path);
  for (char *c = strchr(copy + 1, '/'); c != NULL; c = strchr(c + 1, '/')) {
    *c = '\0';
    if (mkdir(copy, 0755) != 0 && errno != EEXIST)
      return -1;
    *c = '/';
  }
  return 0;
}

/* A descriptor for the unit's output: its file, otherwise a copy of standard error. -1: errno. */
static int open_output(const struct kedge_unit *u)
{
  if (u->output == NULL)
    return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  if (make_parents(u->output) != 0)
    return -1;
  int fd = open(u->output, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0640);
  if (fd >= 0 && fchown(fd, (uid_t)u->uid, (gid_t)u->gid) != 0)
    log_line("%s: its output %s keeps its owner: %s", u->name, u->output, strerror(errno));
  return fd;
}

static int start_unit(const struct kedge_unit *u, struct process *p, int output)
{
  const char *step = "output";
  struct spawn order = {.argv = u->exec.word, .envp = u->environment.count > 0 ? u->environment.word : default_environment,
                        .uid = (uid_t)u->uid, .gid = (gid_t)u->gid,
                        .group = (gid_t)u->group, .capabilities = u->capabilities,
                        .limited = u->uid != 0 || u->capabilities_given, .netns = u->netns, .output = output};
  int why = output < 0 ? errno : spawn(&order, &p->pid, &p->pidfd, &step);
  if (why != 0) {
    p->pid = 0;
    log_line("cannot start %s %s: %s: %s: %s", u->kind == KEDGE_UNIT_ONESHOT ? "oneshot" : "service", u->name,
             u->exec.word[0], step, strerror(why));
  }
  p->started_at_ns = kedge_now_ns();
  return why;
}

static void end_process(struct process *p)
{
  if (p->pid != 0)
    close(p->pidfd);
  p->pid = 0;
}

static void start_later(size_t i)
{
  const struct kedge_unit *u = &sup.w->config->service[i];
  uint64_t now = kedge_now_ns();
  if (sup.backoff_ns[i] == 0 || now - sup.service[i].started_at_ns >= SUPERVISE_STEADY_NS)
    sup.backoff_ns[i] = u->restart_min_ns;
  sup.start_at_ns[i] = now + sup.backoff_ns[i];
  sup.backoff_ns[i] = earlier(sup.backoff_ns[i] * 2, u->restart_max_ns);
}

static bool start_service(size_t i)
{
  const struct kedge_unit *u = &sup.w->config->service[i];
  struct service_state *state = &sup.w->service[i];
  int output = open_output(u);
  int why = start_unit(u, &sup.service[i], output);
  if (output >= 0)
    close(output);
  sup.start_at_ns[i] = 0;
  pthread_mutex_lock(&sup.w->board.lock);
  state->running = why == 0;
  state->killed = false;
  state->pidfd = why == 0 ? sup.service[i].pidfd : -1;
  state->started_at_ns = sup.service[i].started_at_ns;
  pthread_mutex_unlock(&sup.w->board.lock);
  return why == 0;
}

static void start_oneshot(void);

static void fail(void)
{
  sup.status = 1;
  sup.phase = STOPPING;
  sup.stopping = sup.w->config->services;
}

static void start_services(void)
{
  const struct kedge_config *c = sup.w->config;
  sup.phase = SERVING;
  for (size_t i = 0; i < c->services && sup.phase == SERVING; i++)
    if (c->service[i].kind == KEDGE_UNIT_SERVICE && !start_service(i))
      fail();
}

static void start_oneshot(void)
{
  const struct kedge_config *c = sup.w->config;
  if (sup.next_oneshot == c->oneshots) {
    start_services();
    return;
  }
  const struct kedge_unit *u = &c->oneshot[sup.next_oneshot];
  sup.oneshot_output = u->output == NULL ? memfd_create("output", MFD_CLOEXEC) : open_output(u);
  sup.oneshot_from = sup.oneshot_output < 0 ? 0 : lseek(sup.oneshot_output, 0, SEEK_END);
  if (start_unit(u, &sup.oneshot, sup.oneshot_output) != 0)
    fail();
}

/* ------------------------------------------------------------------- ending */

static void tell_output(const struct kedge_unit *u, int fd, off_t from)
{
  char text[TAIL_BYTES];
  off_t end = lseek(fd, 0, SEEK_END);
  if (end - from > TAIL_BYTES)
    from = end - TAIL_BYTES;
  ssize_t n = pread(fd, text, sizeof(text), from);
  if (n > 0)
    log_text(text, (size_t)n);
  else
    log_line("oneshot %s said nothing", u->name);
}

static void oneshot_ended(int status)
{
  char text[128];
  const struct kedge_unit *u = &sup.w->config->oneshot[sup.next_oneshot];
  end_process(&sup.oneshot);
  if (sup.phase == ONESHOTS && status != 0) {
    log_line("oneshot %s %s; its last output:", u->name, end_text(status, text, sizeof(text)));
    tell_output(u, sup.oneshot_output, sup.oneshot_from);
  }
  close(sup.oneshot_output);
  sup.oneshot_output = -1;
  if (sup.phase != ONESHOTS)
    return;
  if (status != 0) {
    fail();
    return;
  }
  sup.next_oneshot++;
  start_oneshot();
}

static void service_ended(size_t i, int status)
{
  char text[128];
  const struct kedge_unit *u = &sup.w->config->service[i];
  struct service_state *state = &sup.w->service[i];
  pthread_mutex_lock(&sup.w->board.lock);
  bool killed = state->killed;
  state->running = false;
  state->pidfd = -1;
  pthread_mutex_unlock(&sup.w->board.lock);
  end_process(&sup.service[i]);
  if (sup.phase != SERVING)
    return;
  start_later(i);
  log_line("service %s %s; started again in %" PRIu64 " ms", u->name, end_text(status, text, sizeof(text)),
           (sup.start_at_ns[i] - kedge_now_ns()) / UINT64_C(1000000));
  if (!killed)
    record(&(struct violation){.kind = KEDGE_VIOLATION_SERVICE_DIED, .path = KEDGE_PATH_NONE, .outcome = end_number(status)},
           u->name);
}

/* What a command that failed said last, in one line. */
static void tell_command(unsigned path, int status)
{
  char text[1024];
  int fd = sup.command[path].output;
  ssize_t length = 0;
  /* The newest bytes: whatever came before is read over. */
  for (unsigned i = 0; fd >= 0 && i < COMMAND_READS; i++) {
    ssize_t n = read(fd, text, sizeof(text) - 1);
    if (n <= 0)
      break;
    length = n;
  }
  for (ssize_t i = 0; i < length; i++)
    if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x7f)
      text[i] = ' ';
  text[length] = '\0';
  if (status != 0)
    log_line("the fail-closed command of the %s failed with %d, and said: %s", act_path_name(path), status, text);
  if (fd >= 0)
    close(fd);
  sup.command[path].output = -1;
}

static void command_ended(unsigned path, int status)
{
  struct command *command = &sup.command[path];
  const struct kedge_words *names = &sup.w->config->participants[path];
  struct violation v = {.kind = KEDGE_VIOLATION_BUDGET, .path = path, .epoch = command->order.epoch,
                        .deadline_ns = command->order.deadline_ns, .level = command->order.level,
                        .outcome = command->timed_out ? ETIMEDOUT : status, .acted_at_ns = kedge_now_ns()};
  end_process(&command->process);
  tell_command(path, status);
  for (size_t i = 0; i < names->count; i++)
    if ((command->order.late & (1u << i)) != 0)
      record(&v, act_short_name(names->word[i]));
}

/* Runs what the watch thread has ordered; a path at a time, the newest order wins. */
static void run_commands(void)
{
  for (unsigned path = KEDGE_PATH_OVERLAY; path <= KEDGE_PATH_UNDERLAY; path++) {
    struct command *command = &sup.command[path];
    if (command->process.pid != 0)
      continue;
    pthread_mutex_lock(&sup.w->board.lock);
    struct action_order order = sup.w->action[path];
    pthread_mutex_unlock(&sup.w->board.lock);
    if (order.orders == command->done)
      continue;
    command->done = order.orders;
    command->order = order;
    command->timed_out = false;
    char name[32], level[32], epoch[64];
    snprintf(name, sizeof(name), "KEDGE_PATH=%s", act_path_name(path));
    snprintf(level, sizeof(level), "KEDGE_LEVEL=%u", order.level);
    snprintf(epoch, sizeof(epoch), "KEDGE_EPOCH=%" PRIu64, order.epoch);
    char *environment[] = {default_environment[0], name, level, epoch, NULL};
    const char *step = "output";
    /* A pipe that never blocks: a reader of the warden's standard error who has stopped must not hold up this. */
    int output[2] = {-1, -1};
    int why = pipe2(output, O_CLOEXEC | O_NONBLOCK) != 0 ? errno : 0;
    command->output = output[0];
    struct spawn s = {.argv = sup.w->config->fail_closed[path].word, .envp = environment,
                      .output = why == 0 ? output[1] : STDERR_FILENO};
    why = spawn(&s, &command->process.pid, &command->process.pidfd, &step);
    if (output[1] >= 0)
      close(output[1]);
    command->process.started_at_ns = kedge_now_ns();
    if (why != 0) {
      command->process.pid = 0;
      log_line("cannot run the fail-closed command of the %s: %s: %s", act_path_name(path), step, strerror(why));
      command_ended(path, why);
    }
  }
}

static void reap(void)
{
  for (;;) {
    siginfo_t info = {0};
    int status;
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
      return;
    pid_t pid = info.si_pid;
    bool ours = pid == sup.oneshot.pid;
    for (size_t i = 0; i < CONFIG_MAX_UNITS; i++)
      ours = ours || pid == sup.service[i].pid;
    for (unsigned path = 0; path < KEDGE_PATHS; path++)
      ours = ours || pid == sup.command[path].process.pid;
    /* As long as the leader is not reaped its group's number is its own: nothing of it stays behind. */
    if (ours && pid != sup.oneshot.pid)
      kill(-pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid)
      continue;
    if (pid == sup.oneshot.pid)
      oneshot_ended(status);
    for (size_t i = 0; i < CONFIG_MAX_UNITS; i++)
      if (pid == sup.service[i].pid)
        service_ended(i, status);
    for (unsigned path = 0; path < KEDGE_PATHS; path++)
      if (pid == sup.command[path].process.pid)
        command_ended(path, end_number(status));
  }
}

/* ----------------------------------------------------------------- stopping */

static void begin_stop(int number)
{
  if (sup.phase == STOPPING || sup.phase == DONE)
    return;
  log_line("stopping: %s", strsignal(number));
  sup.phase = STOPPING;
  sup.stopping = sup.w->config->services;
}

/* The last one that runs gets SIGTERM and its time; then the one before it. */
static void stop_step(uint64_t now)
{
  signal_process(&sup.oneshot, SIGKILL);
  while (sup.stopping > 0 || sup.stop_at_ns != 0) {
    if (sup.stop_at_ns != 0) {
      struct process *p = &sup.service[sup.stopping];
      if (p->pid != 0) {
        if (now >= sup.stop_at_ns) {
          log_line("service %s does not stop: killed", sup.w->config->service[sup.stopping].name);
          signal_process(p, SIGKILL);
          sup.stop_at_ns = now + SUPERVISE_STOP_NS;
        }
        return;
      }
      sup.stop_at_ns = 0;
      continue;
    }
    sup.stopping--;
    if (sup.service[sup.stopping].pid == 0)
      continue;
    pthread_mutex_lock(&sup.w->board.lock);
    sup.w->service[sup.stopping].running = false; /* its silence is wanted now */
    pthread_mutex_unlock(&sup.w->board.lock);
    signal_process(&sup.service[sup.stopping], SIGTERM);
    sup.stop_at_ns = now + SUPERVISE_STOP_NS;
  }
  if (sup.oneshot.pid == 0)
    sup.phase = DONE;
}

/* ------------------------------------------------------------------ telling */

static void tell_violations(void)
{
  static const char *const kinds[] = {"?", "budget missed", "loosened late", "service stale, killed", "data plane silent, killed",
                                      "service died", "alarm", "fail-closed ended"};
  const struct kedge_warden_segment *own = warden_segment(sup.w);
  uint64_t written = atomic_load_explicit(&own->violations, memory_order_acquire);
  if (written - sup.told > 64)
    log_line("%" PRIu64 " violations in one go, the last 64 follow", written - sup.told);
  if (written - sup.told > 64)
    sup.told = written - 64;
  for (; sup.told < written; sup.told++) {
    const struct kedge_violation *v = &own->violation[sup.told % KEDGE_VIOLATION_SLOTS];
    if (atomic_load_explicit(&v->sequence, memory_order_acquire) != 2 * sup.told + 2)
      continue;
    unsigned kind = atomic_load_explicit(&v->kind, memory_order_relaxed);
    char name[KEDGE_NAME_BYTES];
    memcpy(name, v->subject, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    log_line("%s: %s, path %s, epoch %" PRIu64 ", level %u, outcome %d", kinds[kind <= 7 ? kind : 0], name,
             act_path_name(atomic_load_explicit(&v->path, memory_order_relaxed)),
             atomic_load_explicit(&v->epoch, memory_order_relaxed), atomic_load_explicit(&v->level, memory_order_relaxed),
             atomic_load_explicit(&v->outcome, memory_order_relaxed));
  }
}

/* --------------------------------------------------------------------- loop */

static void take_signals(void)
{
  struct signalfd_siginfo info;
  while (read(sup.signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
    if (info.ssi_signo != SIGCHLD)
      begin_stop((int)info.ssi_signo);
  reap();
}

static void refresh_board(uint64_t now)
{
  sup.refresh = false;
  sup.refreshed_at_ns = now;
  if (board_refresh(&sup.w->board))
    kedge_bell_ring(&sup.w->nudge);
}

static void drain(int fd)
{
  char buffer[4096];
  while (fd >= 0 && read(fd, buffer, sizeof(buffer)) > 0)
    ;
}

/* Does what is due by the clock; returns when to look again. */
static uint64_t due(uint64_t now)
{
  uint64_t next = sup.refreshed_at_ns + (sup.refresh ? REFRESH_MIN_NS : REFRESH_NS);
  if (now >= next) {
    refresh_board(now);
    next = now + REFRESH_NS;
  }
  for (size_t i = 0; sup.phase == SERVING && i < sup.w->config->services; i++) {
    if (sup.start_at_ns[i] != 0 && now >= sup.start_at_ns[i] && !start_service(i)) {
      start_later(i);
      record(&(struct violation){.kind = KEDGE_VIOLATION_SERVICE_DIED, .path = KEDGE_PATH_NONE, .outcome = 127},
             sup.w->config->service[i].name);
    }
    if (sup.start_at_ns[i] != 0)
      next = earlier(next, sup.start_at_ns[i]);
  }
  for (unsigned path = 0; path < KEDGE_PATHS; path++) {
    struct command *command = &sup.command[path];
    if (command->process.pid == 0 || command->timed_out)
      continue;
    pthread_mutex_lock(&sup.w->board.lock);
    bool newer = sup.w->action[path].orders != command->done;
    pthread_mutex_unlock(&sup.w->board.lock);
    if (now - command->process.started_at_ns > (newer ? SUPERVISE_COMMAND_NEWER_NS : SUPERVISE_COMMAND_NS)) {
      command->timed_out = true;
      signal_process(&command->process, SIGKILL);
    }
  }
  if (sup.phase == STOPPING) {
    stop_step(now);
    if (sup.stop_at_ns != 0)
      next = earlier(next, sup.stop_at_ns);
  }
  return next;
}

static int open_events(void)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sup.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  sup.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (sup.inotify >= 0)
    inotify_add_watch(sup.inotify, sup.w->config->board, IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ATTRIB | IN_ONLYDIR);
  return sup.signals < 0 ? errno : 0;
}

int supervise(struct warden *w, void (*ready)(void *), void *argument, int lifeline)
{
  memset(&sup, 0, sizeof(sup));
  sup.w = w;
  sup.oneshot_output = -1;
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    sup.command[path].output = -1;
  sup.told = atomic_load(&warden_segment(w)->violations);
  int why = open_events();
  if (why != 0) {
    log_line("cannot wait for signals: %s", strerror(why));
    return 1;
  }
  start_oneshot();
  bool told_ready = false;
  while (sup.phase != DONE) {
    if (sup.phase == SERVING && !told_ready) {
      told_ready = true;
      ready(argument);
    }
    uint64_t now = kedge_now_ns();
    uint64_t next = due(now);
    if (sup.phase == DONE)
      break;
    now = kedge_now_ns();
    int wait_ms = next <= now ? 0 : (int)((next - now) / UINT64_C(1000000)) + 1;
    struct pollfd fds[] = {{.fd = sup.signals, .events = POLLIN}, {.fd = w->news, .events = POLLIN},
                           {.fd = sup.inotify, .events = POLLIN}, {.fd = lifeline, .events = POLLIN}};
    if (poll(fds, 4, wait_ms) < 0 && errno != EINTR)
      usleep(1000);
    if (fds[3].revents != 0)
      return 1; /* whoever started the whole is gone */
    if (fds[2].revents != 0)
      sup.refresh = true;
    drain(sup.inotify);
    if (fds[1].revents != 0) {
      drain(w->news);
      sup.refresh = true; /* perhaps a new writer */
      tell_violations();
    }
    take_signals();
    run_commands();
  }
  for (unsigned path = 0; path < KEDGE_PATHS; path++) /* with all that it started: nothing of it was asked to stay */
    if (sup.command[path].process.pid != 0)
      kill(-sup.command[path].process.pid, SIGKILL);
  tell_violations();
  close(sup.signals);
  if (sup.inotify >= 0)
    close(sup.inotify);
  return sup.status;
}
