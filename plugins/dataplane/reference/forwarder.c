/*
 * The reference data plane: Ethernet frames between zone ports, through the governance core (DP-6).
 *
 * It must let no frame leave that was judged under an older state, forward none before the first
 * acknowledgement, and hold no rule of its own: what passes is the core's word.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../core/loader.h"
#include "egress.h"
#include "options.h"
#include "stations.h"

/* Shorter than a heartbeat's 100 ms, so that an idle forwarder beats too. */
#define SLEEP_NS UINT64_C(40000000)
#define WAIT_NS UINT64_C(100000000)
/* A batch is judged and sent in parts of about this much work: a change is not to wait longer (DP-3). */
#define PART_COPIES 64u
#define PART_BYTES 262144u
/* The kernel takes a real-time thread that never sleeps off its processor for 50 ms at a time: it rests before. */
#define BUSY_NS UINT64_C(1000000)
#define REST_NS 60000
/* Somebody rings a bell more often than this: the waiter leaves the processor to the worker in between. */
#define RINGS_MOST 32u
#define RINGS_NS UINT64_C(10000000)
#define RINGS_PAUSE_NS 200000
/* What the worker asks to run for at a time. Who asks for less than the waiter goes on at once when it rings. */
#define SLICE_NS UINT64_C(100000)

static volatile sig_atomic_t stopping;
static int doorbell = -1;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
  /* A reader of the log who has stopped must not stop us: the line is lost then. */
  struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
  if (poll(&log, 1, 0) != 1 || (log.revents & POLLOUT) == 0)
    return;
  char line[512];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line, sizeof(line) - 1, format, list);
  va_end(list);
  if (n < 0)
    return;
  /* One write per line, so that lines of threads do not mix. */
  dprintf(STDERR_FILENO, "kedge-forwarder: %.*s\n", n, line);
}

static void notice(void *context, const char *text)
{
  (void)context;
  say("%s", text);
}

static void ring_doorbell(void)
{
  uint64_t one = 1;
  int saved = errno;
  if (write(doorbell, &one, sizeof(one)) < 0) {
    /* Full: it is rung already. */
  }
  errno = saved;
}

static void stop(int signal)
{
  (void)signal;
  stopping = 1;
  ring_doorbell();
}

/* ---------------------------------------------------------------- refusals */

static bool file_says_one(const char *path)
{
  char c = '0';
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  if (read(fd, &c, 1) != 1)
    c = '0';
  close(fd);
  return c == '1';
}

/* The kernel must not carry packets round us: no forwarding, no bridge, no address on a port (DP-6, DP-7). */
static bool kernel_stays_out(const struct kedge_forwarder_options *o)
{
  bool good = true;
  static const char *const FORWARDING[] = {"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"};
  for (unsigned i = 0; i < 2; i++)
    if (file_says_one(FORWARDING[i])) {
      say("refused: %s is 1, the kernel would forward round the rules", FORWARDING[i]);
      good = false;
    }
  for (unsigned p = 0; p < o->ports; p++) {
    /* What counts for IPv4 is the flag of the interface that a packet comes in by, not the one of all. */
    char path[96];
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/forwarding", o->port[p].name);
    if (file_says_one(path)) {
      say("refused: %s is 1, the kernel would forward round the rules", path);
      good = false;
    }
    if (kedge_port_is_enslaved(o->port[p].name)) {
      say("refused: port %s belongs to a bridge or a bond, which would carry its frames too", o->port[p].name);
      good = false;
    }
  }
  struct ifaddrs *list = NULL;
  if (getifaddrs(&list) != 0)
    return good;
  for (struct ifaddrs *a = list; a != NULL; a = a->ifa_next) {
    if (a->ifa_addr == NULL)
      continue;
    bool ip4 = a->ifa_addr->sa_family == AF_INET;
    bool ip6 = a->ifa_addr->sa_family == AF_INET6 &&
               !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr);
    for (unsigned p = 0; p < o->ports && (ip4 || ip6); p++)
      if (strcmp(o->port[p].name, a->ifa_name) == 0) {
        say("refused: port %s has an IPv%c address, the kernel would answer on it", a->ifa_name, ip4 ? '4' : '6');
        good = false;
      }
  }
  freeifaddrs(list);
  return good;
}

/* ------------------------------------------------------------------ waiter */

/* A futex cannot join poll: this thread waits on the bells and rings the worker's own doorbell. */
static void *wait_for_changes(void *context)
{
  struct kedge_governor *governor = context;
  struct kedge_watch watch;
  uint64_t from = 0;
  unsigned turns = 0;
  kedge_watch_start(&watch, governor);
  while (!stopping) {
    if (kedge_watch_wait(&watch, WAIT_NS))
      ring_doorbell();
    uint64_t now = kedge_now_ns();
    if (now - from > RINGS_NS) {
      from = now;
      turns = 0;
    }
    if (++turns > RINGS_MOST) {
      struct timespec pause = {0, RINGS_PAUSE_NS};
      nanosleep(&pause, NULL);
    }
  }
  kedge_watch_stop(&watch);
  return NULL;
}

/* ----------------------------------------------------------------- forward */

struct forwarder {
  struct kedge_forwarder_options options;
  struct kedge_governor governor;
  struct kedge_governor_worker *worker;
  struct kedge_stations stations;
  struct kedge_egress egress;
  /* The tables that waiting frames were judged by; compared alone, never looked into. */
  const void *tables, *table;
  uint64_t generation;
  struct kedge_frame frame[KEDGE_BATCH];
  struct kedge_packet packet[KEDGE_BATCH];
  struct kedge_judgement spoken; /* what speaks for the frame: the first judgement that lets it pass, else the first */
  /* Per leaving port the places of its frames in the batch: first what passes, then what is deprioritised. */
  uint8_t pass[KEDGE_MAX_PORTS][KEDGE_BATCH], later[KEDGE_MAX_PORTS][KEDGE_BATCH];
  unsigned passes[KEDGE_MAX_PORTS], laters[KEDGE_MAX_PORTS];
  size_t copies, bytes; /* of the part that is judged and not sent yet */
};

static struct forwarder self;

/*
 * A waiting frame under what stands now. Not counted by rule again: it was, when it came, and what is taken out
 * counts as withdrawn.
 */
static enum kedge_verdict judge_again(void *context, const struct kedge_waiting *w)
{
  struct forwarder *f = context;
  struct kedge_judgement j;
  kedge_classify(f->worker->table, &w->packet, w->source_zone, w->destination_zone, &j);
  return (enum kedge_verdict)j.verdict;
}

/*
 * Looks at the board. What was judged before has left, because a part is sent before the next begins, or waits and
 * is judged again; after other tables too, although they need no acknowledgement.
 */
static void obey(struct forwarder *f, uint64_t now)
{
  struct kedge_governor_worker *w = f->worker;
  bool due = kedge_governor_begin(w, now);
  if (due || w->tables != f->tables || w->table != f->table || w->use.generation != f->generation) {
    f->tables = w->tables;
    f->table = w->table;
    f->generation = w->use.generation;
    kedge_queues_judge(&f->egress.queues, judge_again, f);
  }
  if (due)
    kedge_governor_acknowledge(w);
}

static bool judge_for(struct forwarder *f, unsigned place, unsigned in, unsigned out)
{
  struct kedge_judgement j;
  kedge_governor_judge(f->worker, &f->packet[place], f->options.port[in].zone, f->options.port[out].zone, &j);
  bool spoken = f->spoken.verdict != KEDGE_VERDICT_NONE;
  if (!spoken || (f->spoken.verdict == KEDGE_VERDICT_DROP && j.verdict != KEDGE_VERDICT_DROP))
    f->spoken = j;
  if (j.verdict == KEDGE_VERDICT_PASS)
    f->pass[out][f->passes[out]++] = (uint8_t)place;
  else if (j.verdict == KEDGE_VERDICT_DEPRIORITISE)
    f->later[out][f->laters[out]++] = (uint8_t)place;
  if (j.verdict != KEDGE_VERDICT_DROP) {
    f->copies++;
    f->bytes += f->frame[place].length;
  }
  return j.verdict != KEDGE_VERDICT_DROP;
}

static void forward_frame(struct forwarder *f, unsigned place, unsigned in, uint64_t now)
{
  const struct kedge_frame *frame = &f->frame[place];
  struct kedge_packet *packet = &f->packet[place];
  kedge_packet_parse(frame->at, frame->length, packet);
  if (!kedge_frame_offload_holds(frame, packet))
    packet->kind = KEDGE_PACKET_MALFORMED; /* other bytes could leave than those that are judged */
  bool group = frame->length >= 14 && (frame->at[0] & 1u) != 0;
  int known = frame->length < 14 || group ? -1 : kedge_stations_find(&f->stations, frame->at, packet->vlan, now);
  bool left = false;
  f->spoken.verdict = KEDGE_VERDICT_NONE;
  if (known >= 0) {
    if ((unsigned)known == in)
      return; /* both stations stand behind the same port */
    left = judge_for(f, place, in, (unsigned)known);
  } else {
    for (unsigned out = 0; out < f->options.ports; out++)
      if (out != in)
        left |= judge_for(f, place, in, out);
  }
  if (f->spoken.verdict != KEDGE_VERDICT_NONE)
    kedge_governor_observe(f->worker, frame->at, packet, &f->spoken, now);
  /* Who may not speak cannot draw others' frames to its port either. */
  if (left)
    kedge_stations_learn(&f->stations, frame->at + 6, packet->vlan, in, f->options.port[in].zone, now);
}

/* Sends what is judged, or lets it wait: first what passes, then what is deprioritised. How many copies left. */
static uint64_t send_part(struct forwarder *f, unsigned in, uint64_t now)
{
  unsigned zone = f->options.port[in].zone;
  uint64_t sent = 0;
  for (unsigned out = 0; out < f->options.ports; out++)
    if (f->passes[out] != 0)
      sent += kedge_egress_send(&f->egress, out, KEDGE_QUEUE_ORDINARY, f->frame, f->packet, f->pass[out],
                                f->passes[out], zone, now);
  /* Marked only now: the same frame may pass unmarked to another zone. */
  for (unsigned out = 0; out < f->options.ports; out++) {
    for (unsigned i = 0; i < f->laters[out]; i++)
      kedge_packet_mark_le(f->frame[f->later[out][i]].at, &f->packet[f->later[out][i]]);
    if (f->laters[out] != 0)
      sent += kedge_egress_send(&f->egress, out, KEDGE_QUEUE_DEPRIORITISED, f->frame, f->packet, f->later[out],
                                f->laters[out], zone, now);
  }
  memset(f->passes, 0, sizeof(f->passes));
  memset(f->laters, 0, sizeof(f->laters));
  f->copies = f->bytes = 0;
  return sent;
}

/* One batch of one port; true while more is waiting. */
static bool forward_batch(struct forwarder *f, unsigned in, uint64_t now)
{
  unsigned count;
  int taken = kedge_port_receive(&f->options.port[in], f->frame, &count);
  if (taken < 0) {
    say("port %s is gone", f->options.port[in].name);
    stopping = 2;
    return false;
  }
  if (count == 0)
    return taken == (int)KEDGE_BATCH;
  uint64_t sent = 0;
  for (unsigned place = 0; place < count; place++) {
    forward_frame(f, place, in, now);
    if (f->copies < PART_COPIES && f->bytes < PART_BYTES)
      continue;
    sent += send_part(f, in, now);
    now = kedge_now_ns();
    obey(f, now); /* frames that are taken and not judged yet are judged under what stands now */
  }
  sent += send_part(f, in, now);
  kedge_governor_count(f->worker, count, sent);
  return taken == (int)KEDGE_BATCH;
}

/* What waits leaves, a part of every port at a time, with a look at the board before each. */
static void drain(struct forwarder *f)
{
  for (unsigned out = 0; out < f->options.ports; out++) {
    if (kedge_queues_waiting(&f->egress.queues, out) == 0)
      continue;
    uint64_t now = kedge_now_ns();
    obey(f, now);
    kedge_governor_count(f->worker, 0, kedge_egress_drain(&f->egress, out, now));
  }
}

/* How long the worker may sleep: until something that waits may leave. */
static struct timespec patience(const struct forwarder *f, bool any, uint64_t now)
{
  uint64_t due = kedge_egress_due(&f->egress), ns = due <= now ? 0 : due - now;
  if (ns > SLEEP_NS)
    ns = SLEEP_NS;
  return (struct timespec){0, any ? 0 : (long)ns};
}

/* Rests for a moment with an ear on the doorbell; returns the time. */
static uint64_t rest(void)
{
  struct pollfd bell = {.fd = doorbell, .events = POLLIN};
  struct timespec moment = {0, REST_NS};
  ppoll(&bell, 1, &moment, NULL);
  return kedge_now_ns();
}

static void forward(struct forwarder *f)
{
  struct pollfd waiting[KEDGE_MAX_PORTS + 1];
  bool ready[KEDGE_MAX_PORTS];
  unsigned ports = f->options.ports;
  bool any = false;
  for (unsigned i = 0; i < ports; i++) {
    waiting[i] = (struct pollfd){.fd = f->options.port[i].fd, .events = POLLIN};
    ready[i] = f->options.poll;
  }
  waiting[ports] = (struct pollfd){.fd = doorbell, .events = POLLIN};
  uint64_t awake_ns = kedge_now_ns();
  while (!stopping) {
    uint64_t now = kedge_now_ns();
    if (f->options.fifo != 0 && now - awake_ns > BUSY_NS)
      awake_ns = now = rest();
    if (!f->options.poll) {
      obey(f, now);
      kedge_governor_beat(&f->governor, now);
      /* Also while one port has more: the others and the doorbell get their turn. */
      uint64_t before = now;
      struct timespec sleep = patience(f, any, now);
      int rung = ppoll(waiting, ports + 1, &sleep, NULL);
      now = kedge_now_ns();
      if (now - before > REST_NS)
        awake_ns = now;
      obey(f, now); /* first of all, whatever it was that woke us */
      uint64_t rings;
      if (rung > 0 && waiting[ports].revents != 0 && read(doorbell, &rings, sizeof(rings)) < 0 && errno != EAGAIN)
        say("cannot read the doorbell: %s", strerror(errno));
      for (unsigned i = 0; i < ports; i++)
        ready[i] |= rung > 0 && waiting[i].revents != 0;
    }
    kedge_governor_beat(&f->governor, now);
    any = false;
    for (unsigned i = 0; i < ports && !stopping; i++) {
      if (!ready[i] && !f->options.poll)
        continue;
      now = kedge_now_ns();
      obey(f, now);
      ready[i] = forward_batch(f, i, now);
      any |= ready[i];
    }
    drain(f);
  }
}

/* ------------------------------------------------------------------- start */

/* Real-time priority and processor of the calling thread; threads made from now on inherit both. */
static void settle(const struct kedge_forwarder_options *o)
{
  char where[32] = "any processor", how[96] = "ordinary priority";
  if (o->cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(o->cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) == 0)
      snprintf(where, sizeof(where), "processor %d", o->cpu);
    else
      say("cannot stay on processor %d: %s", o->cpu, strerror(errno));
  }
  if (o->fifo != 0) {
    struct sched_param priority = {.sched_priority = o->fifo};
    if (sched_setscheduler(0, SCHED_FIFO, &priority) == 0)
      snprintf(how, sizeof(how), "SCHED_FIFO %d", o->fifo);
    else
      snprintf(how, sizeof(how), "ordinary priority (SCHED_FIFO %d not allowed: %s)", o->fifo, strerror(errno));
  }
  say("%s on %s with %s", o->poll ? "polling" : "sleeping between frames", where, how);
}

/* As the kernel's struct sched_attr, first version; not every C library has it. */
struct scheduling {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns, deadline_ns, period_ns;
};

/*
 * The waiter runs where the worker runs. Rung by it, the worker has to go on at once and not when the waiter has gone
 * back to sleep: it is one step above it, or asks for a shorter slice (since Linux 6.12; before, nothing comes of it).
 */
static void go_before_waiter(const struct kedge_forwarder_options *o)
{
  struct sched_param above = {.sched_priority = o->fifo + 1};
  struct scheduling mine;
  if (o->fifo != 0 && sched_setscheduler(0, SCHED_FIFO, &above) == 0)
    return;
  if (syscall(SYS_sched_getattr, 0, &mine, sizeof(mine), 0) != 0 || mine.policy != SCHED_OTHER)
    return;
  mine.size = sizeof(mine);
  mine.runtime_ns = SLICE_NS;
  syscall(SYS_sched_setattr, 0, &mine, 0);
}

static bool frames_make(struct forwarder *f)
{
  size_t each = KEDGE_FRAME_ROOM + KEDGE_FRAME_BYTES;
  uint8_t *bytes = calloc(KEDGE_BATCH, each);
  for (unsigned i = 0; bytes != NULL && i < KEDGE_BATCH; i++)
    f->frame[i].buffer = bytes + i * each;
  return bytes != NULL;
}

static bool ports_open(struct forwarder *f)
{
  for (unsigned i = 0; i < f->options.ports; i++) {
    const char *what;
    struct kedge_port *port = &f->options.port[i];
    if (!kedge_port_open(port, &what)) {
      say("cannot %s port %s: %s", what, port->name, strerror(errno));
      return false;
    }
    if (port->rate == 0)
      say("port %s is in zone %u", port->name, port->zone);
    else
      say("port %s is in zone %u, at most %llu bit/s", port->name, port->zone, (unsigned long long)port->rate);
  }
  return true;
}

static void signals_set(void)
{
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
  struct forwarder *f = &self;
  struct kedge_loader loader;
  pthread_t waiter;
  int status = KEDGE_EXIT_UNEXPECTED;
  if (!kedge_options_read(&f->options, argc, argv, &status))
    return status;
  if (!f->options.allow_kernel_forwarding && !kernel_stays_out(&f->options))
    return KEDGE_EXIT_REFUSED;
  doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (doorbell < 0 || !frames_make(f)) {
    say("cannot start: %s", strerror(errno));
    return KEDGE_EXIT_UNEXPECTED;
  }
  signals_set();
  f->options.governor.notice = notice;
  enum kedge_refusal refusal = kedge_governor_open(&f->governor, &f->options.governor);
  if (refusal != KEDGE_REFUSAL_NONE) {
    say("refused: own segment dataplane-%s in %s: %s%s%s", f->options.governor.name, f->options.governor.board,
        kedge_refusal_text(refusal), refusal == KEDGE_REFUSAL_SYSTEM ? ": " : "",
        refusal == KEDGE_REFUSAL_SYSTEM ? strerror(errno) : "");
    return KEDGE_EXIT_REFUSED;
  }
  if (!kedge_egress_open(&f->egress, f->options.port, f->options.ports,
                         f->governor.shared->worker[0].counters.queue)) {
    say("cannot start: no memory for the queues");
    kedge_governor_close(&f->governor);
    return KEDGE_EXIT_UNEXPECTED;
  }
  /* Before processor and priority are set: judging tables shall disturb the worker least. */
  errno = kedge_loader_start(&loader, &f->governor);
  if (errno != 0) {
    say("cannot start the loader: %s", strerror(errno));
    kedge_governor_close(&f->governor);
    return KEDGE_EXIT_UNEXPECTED;
  }
  settle(&f->options);
  bool waits = !f->options.poll && pthread_create(&waiter, NULL, wait_for_changes, &f->governor) == 0;
  if (!waits && !f->options.poll)
    say("cannot start the waiter: changes are seen within %d ms only", (int)(SLEEP_NS / 1000000));
  if (waits)
    go_before_waiter(&f->options);
  if (mlockall(MCL_CURRENT) == 0)
    say("memory locked");
  else
    say("memory not locked: %s", strerror(errno));

  /* DP-7: acknowledged before the first frame can even be received; and at once, a live worker owes it. */
  f->worker = kedge_governor_worker_start(&f->governor, 0);
  obey(f, kedge_now_ns());
  say("level %u at epoch %llu", f->worker->level, (unsigned long long)f->worker->epoch);
  if (ports_open(f)) {
    kedge_governor_serving(&f->governor, true);
    forward(f);
    status = stopping == 2 ? KEDGE_EXIT_UNEXPECTED : 0;
  }
  stopping = stopping != 0 ? stopping : 2;
  uint64_t unsent = 0, unreadable = 0, missed = 0;
  for (unsigned i = 0; i < f->options.ports; i++) {
    struct kedge_port *port = &f->options.port[i];
    kedge_port_close(port);
    unsent += port->unsent;
    unreadable += port->unreadable;
    missed += port->missed;
  }
  kedge_bell_ring(&f->governor.loaded);
  if (waits)
    pthread_join(waiter, NULL);
  kedge_loader_stop(&loader);
  kedge_egress_close(&f->egress);
  kedge_governor_close(&f->governor);
  say("ended; frames not sent %llu, not readable %llu, missed %llu", (unsigned long long)unsent,
      (unsigned long long)unreadable, (unsigned long long)missed);
  return status;
}
