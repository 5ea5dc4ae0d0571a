/*
 * A generator and a sink of numbered frames at both ends of whatever joins two interfaces: what is sent, what comes,
 * and how long that takes.
 *
 * It must not sleep while a run goes on, and ends with its input.
 *
 *   packets wire --from NETNS INTERFACE --to NETNS INTERFACE [--cpu N]
 *   packets account < LINES
 *
 * `wire` answers each line of its input
 *
 *   run size=BYTES rate=PER_SECOND ms=TIME class=PORT:SHARE... [clock=N] [silent=MS]
 *       [late=MICROSECONDS] [lose=N] [swap=N] [repeat=N]
 *
 * with {"startedNs":…} at once and with the account of every class when all frames came or nothing came for `silent`
 * milliseconds (50); any other line ends a run early. Rate 0 is as fast as it can. Every N-th frame of a run is left
 * out, sent behind the next of its class, or sent once more.
 *
 * With `clock=N` the frames of the N-th class, which should always come, tell of others when they were judged: one that
 * is missing was judged between those of the clock that were sent before and behind it. `stalls` are when none of the
 * clock came for more than 0.1 ms.
 *
 * `account` reads lines `NUMBER SENT RECEIVED` and at last `end SENT TIME`, and prints their account: the same as that
 * of a class on the wire.
 *
 * Both ends are one thread: on two processors the other belongs to what is measured, alone. When a frame came is what
 * the kernel says, so that it does not matter when the thread looks.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "account.h"
#include "frames.h"

#define BATCH 32u
/* A frame of a batch may bring one that waited for it, and come twice. */
#define SLOTS (BATCH * 3 + FRAME_CLASSES)
#define RING_FRAME 256u
#define RING_BLOCK 65536u
#define RING_BLOCKS 1024u
#define RING_FRAMES (RING_BLOCK / RING_FRAME * RING_BLOCKS)
#define TAKE_MOST 256u
/* Frames that are due for longer are not sent any more: a pause is not to become a burst. */
#define BEHIND_NS UINT64_C(100000)
/* Of the class that tells the time: frames that are remembered, how far is looked for one, what is a stall. */
#define HEARD 65536u
#define HEARD_NEAR 64u
#define STALL_NS UINT64_C(100000)
#define STALLS 524288u
#define INPUT_NS UINT64_C(1000000)
/* After the last frame it listens for at most so long, whatever comes. */
#define DRAIN_NS UINT64_C(5000000000)
#define SHARES_MOST 64u

struct class {
  uint16_t port;
  unsigned share;
  uint64_t sequence; /* of the next */
  bool holding;
  uint8_t held[FRAME_MOST];
};

struct job {
  size_t size;
  uint64_t rate;         /* frames per second of all classes together; 0 = as fast as it can */
  uint64_t time_ns;
  uint64_t late_ns;
  uint64_t silent_ns;    /* after the last frame: until nothing came for so long */
  unsigned lose, swap, repeat;
  unsigned clock;        /* the class by which others are told the time; FRAME_CLASSES = none */
  unsigned classes;
  struct class class[FRAME_CLASSES];
  uint8_t turn[SHARES_MOST]; /* which class is next */
  unsigned turns;
};

/* When a frame of the class that tells the time came. */
struct heard {
  uint64_t sequence, came_ns;
};

struct stall {
  uint64_t from_ns, until_ns;
};

struct wire {
  int out, in;
  uint8_t *ring;
  unsigned at;           /* the next place of the ring */
  uint8_t run;
  uint64_t strange;      /* frames of other runs or classes */
  uint64_t offset_ns;    /* of the wall clock against CLOCK_MONOTONIC */
  struct account *account;
  struct heard *heard;
  uint64_t heard_ns;     /* when the last of them came; 0 = none yet */
  uint64_t stalls, stalls_unkept;
  struct stall *stall;
};

static uint8_t slot[SLOTS][FRAME_MOST];

static uint64_t ns_of(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) { return ns_of(CLOCK_MONOTONIC); }

/* The kernel stamps with the wall clock. The narrowest of some readings. */
static uint64_t wall_offset_ns(void)
{
  uint64_t best = UINT64_MAX, offset = 0;
  for (int i = 0; i < 32; i++) {
    uint64_t before = now_ns(), wall = ns_of(CLOCK_REALTIME), after = now_ns();
    if (after - before < best) {
      best = after - before;
      offset = wall - before - best / 2;
    }
  }
  return offset;
}

/* -------------------------------------------------------------------- input */

/* Whether there is something to read, or nothing any more. */
static bool input_waits(void)
{
  struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&p, 1, 0) != 0;
}

/* One line without its end; false at the end of the input. */
static bool line_read(char *line, size_t room)
{
  size_t n = 0;
  char c;
  while (read(STDIN_FILENO, &c, 1) == 1) {
    if (c == '\n') {
      line[n] = '\0';
      return true;
    }
    if (n + 1 < room)
      line[n++] = c;
  }
  return false;
}

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
  char *end;
  if (text == NULL || text[0] < '0' || text[0] > '9')
    return false;
  errno = 0;
  *value = strtoull(text, &end, 10);
  return errno == 0 && *end == '\0' && *value >= least && *value <= most;
}

/* Classes take turns so that the frames of each are spread as evenly as whole frames can be. */
static bool turns_make(struct job *job)
{
  int credit[FRAME_CLASSES] = {0};
  job->turns = 0;
  for (unsigned c = 0; c < job->classes; c++)
    job->turns += job->class[c].share;
  if (job->turns == 0 || job->turns > SHARES_MOST)
    return false;
  for (unsigned t = 0; t < job->turns; t++) {
    unsigned next = 0;
    for (unsigned c = 0; c < job->classes; c++) {
      credit[c] += (int)job->class[c].share;
      if (credit[c] > credit[next])
        next = c;
    }
    credit[next] -= (int)job->turns;
    job->turn[t] = (uint8_t)next;
  }
  return true;
}

/* NULL where the words are a job, else the one that is not. */
static const char *job_read(struct job *job, char *words)
{
  uint64_t value = 0, milliseconds = 0;
  memset(job, 0, sizeof(*job));
  job->late_ns = UINT64_MAX;
  job->silent_ns = 50000000;
  job->clock = FRAME_CLASSES;
  for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
    char *right = strchr(word, '=');
    if (right == NULL)
      return word;
    *right++ = '\0';
    if (strcmp(word, "size") == 0 && number(right, FRAME_LEAST, FRAME_MOST, &value))
      job->size = (size_t)value;
    else if (strcmp(word, "rate") == 0 && number(right, 0, 100000000, &value))
      job->rate = value;
    else if (strcmp(word, "ms") == 0 && number(right, 1, 3600000, &value))
      milliseconds = value;
    else if (strcmp(word, "late") == 0 && number(right, 1, 10000000, &value))
      job->late_ns = value * 1000;
    else if (strcmp(word, "clock") == 0 && number(right, 0, FRAME_CLASSES - 1, &value))
      job->clock = (unsigned)value;
    else if (strcmp(word, "silent") == 0 && number(right, 1, 5000, &value))
      job->silent_ns = value * 1000000;
    else if (strcmp(word, "lose") == 0 && number(right, 0, 1000000000, &value))
      job->lose = (unsigned)value;
    else if (strcmp(word, "swap") == 0 && number(right, 0, 1000000000, &value))
      job->swap = (unsigned)value;
    else if (strcmp(word, "repeat") == 0 && number(right, 0, 1000000000, &value))
      job->repeat = (unsigned)value;
    else if (strcmp(word, "class") == 0 && job->classes < FRAME_CLASSES) {
      char *share = strchr(right, ':');
      struct class *c = &job->class[job->classes++];
      if (share == NULL)
        return word;
      *share++ = '\0';
      if (!number(right, 1, 65535, &value))
        return word;
      c->port = (uint16_t)value;
      if (!number(share, 1, SHARES_MOST, &value))
        return word;
      c->share = (unsigned)value;
    } else
      return word;
  }
  job->time_ns = milliseconds * 1000000;
  if (job->clock != FRAME_CLASSES && job->clock >= job->classes)
    return "clock";
  return job->size == 0 ? "size" : milliseconds == 0 ? "ms" : turns_make(job) ? NULL : "class";
}

/* --------------------------------------------------------------------- sink */

/* When the frame of the clock came that was sent before or behind this one; or the next that did. 0 = none near. */
static uint64_t heard_at(const struct wire *w, const struct job *job, unsigned class, uint64_t sequence, bool behind)
{
  uint64_t beside = sequence * job->class[job->clock].share / job->class[class].share + behind;
  for (uint64_t i = 0; i < HEARD_NEAR; i++) {
    uint64_t n = behind ? beside + i : beside - i;
    const struct heard *h = &w->heard[n % HEARD];
    if (h->sequence == n && h->came_ns != 0)
      return h->came_ns;
  }
  return 0;
}

/*
 * Puts the gaps that a class has got into time: by when the first of them was judged at the latest, and from when on
 * the last. Not the other way round: between one frame and the next the generator may have been away.
 */
static void gaps_place(struct wire *w, const struct job *job, unsigned class, uint64_t from)
{
  struct account *a = &w->account[class];
  for (uint64_t g = from; job->clock != FRAME_CLASSES && g < a->gaps; g++) {
    a->gap[g].from_ns = heard_at(w, job, class, a->gap[g].first, true);
    a->gap[g].until_ns = heard_at(w, job, class, a->gap[g].first + a->gap[g].span - 1, false);
  }
}

static void clock_take(struct wire *w, uint64_t sequence, uint64_t came_ns)
{
  w->heard[sequence % HEARD] = (struct heard){sequence, came_ns};
  if (w->heard_ns != 0 && came_ns > w->heard_ns + STALL_NS) {
    if (w->stalls == STALLS)
      w->stalls_unkept++;
    else
      w->stall[w->stalls++] = (struct stall){w->heard_ns, came_ns};
  }
  w->heard_ns = came_ns;
}

static uint64_t sink_take(struct wire *w, const struct job *job, unsigned most)
{
  uint64_t taken = 0;
  for (; taken < most; taken++) {
    struct tpacket2_hdr *h = (void *)(w->ring + (size_t)w->at * RING_FRAME);
    struct stamp stamp;
    if ((__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0)
      break;
    uint64_t came = (uint64_t)h->tp_sec * 1000000000u + h->tp_nsec - w->offset_ns;
    if (frame_read((const uint8_t *)h + h->tp_mac, h->tp_snaplen, &stamp) && stamp.run == w->run &&
        stamp.class < job->classes) {
      struct account *a = &w->account[stamp.class];
      uint64_t gaps = a->gaps;
      account_take(a, stamp.sequence, stamp.sent_ns, came);
      if (stamp.class == job->clock)
        clock_take(w, stamp.sequence, came);
      if (a->gaps != gaps)
        gaps_place(w, job, stamp.class, gaps);
    } else
      w->strange++;
    __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    w->at = (w->at + 1) % RING_FRAMES;
  }
  return taken;
}

/* Frames that the ring had no place for since it was asked last. */
static uint64_t sink_drops(const struct wire *w)
{
  struct tpacket_stats stats = {0};
  socklen_t length = sizeof(stats);
  return getsockopt(w->in, SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0 ? stats.tp_drops : 0;
}

/* ---------------------------------------------------------------- generator */

struct batch {
  struct mmsghdr message[SLOTS];
  struct iovec part[SLOTS];
  unsigned frames;
};

static void batch_add(struct batch *b, const uint8_t *frame, size_t size)
{
  if (frame != slot[b->frames])
    memcpy(slot[b->frames], frame, size);
  b->frames++;
}

/* The next frame of the run, with what the faults make of it. */
static void generate(struct job *job, struct batch *b, uint8_t run, uint64_t n)
{
  struct class *c = &job->class[job->turn[n % job->turns]];
  uint8_t *frame = slot[b->frames];
  const struct stamp stamp = {run, (uint8_t)(c - job->class), c->sequence++, now_ns()};
  frame_stamp(frame, c->port, &stamp);
  if (job->lose != 0 && n % job->lose == job->lose - 1)
    return;
  if (job->swap != 0 && n % job->swap == job->swap - 1 && !c->holding) {
    memcpy(c->held, frame, job->size);
    c->holding = true;
    return;
  }
  batch_add(b, frame, job->size);
  if (job->repeat != 0 && n % job->repeat == job->repeat - 1)
    batch_add(b, frame, job->size);
  if (c->holding)
    batch_add(b, c->held, job->size);
  c->holding = false;
}

/* Sends a batch; how many frames the wire did not take. These are lost like those that are lost behind it. */
static uint64_t batch_send(struct batch *b, int out)
{
  uint64_t refused = 0;
  for (unsigned at = 0; at < b->frames;) {
    int n = sendmmsg(out, b->message + at, b->frames - at, 0);
    if (n > 0) {
      at += (unsigned)n;
    } else if (errno != EINTR) {
      at++;
      refused++;
    }
  }
  b->frames = 0;
  return refused;
}

/* Frames that a pause kept us from sending are not sent later: `*start` moves, and so many are forgiven. */
static uint64_t forgive(const struct job *job, uint64_t *start, uint64_t now, uint64_t sent)
{
  uint64_t due_ns = *start + (uint64_t)((__uint128_t)sent * 1000000000u / job->rate);
  if (now < due_ns + BEHIND_NS)
    return 0;
  *start += now - due_ns;
  return (uint64_t)((__uint128_t)(now - due_ns) * job->rate / 1000000000u);
}

/* Whether nothing more can come. */
static bool all_came(const struct wire *w, const struct job *job)
{
  for (unsigned c = 0; c < job->classes; c++)
    if (w->account[c].received < job->class[c].sequence)
      return false;
  return job->repeat == 0;
}

static void run(struct wire *w, struct job *job)
{
  static struct batch b;
  uint8_t answer[FRAME_LEAST];
  uint64_t sent = 0, refused = 0, forgiven = 0, batches = 0;
  w->run++;
  for (unsigned c = 0; c < job->classes; c++)
    account_start(&w->account[c], job->late_ns);
  memset(w->heard, 0, HEARD * sizeof(*w->heard));
  w->heard_ns = w->stalls = w->stalls_unkept = 0;
  for (unsigned s = 0; s < SLOTS; s++) {
    frame_make(slot[s], job->size);
    b.part[s] = (struct iovec){slot[s], job->size};
    b.message[s].msg_hdr = (struct msghdr){.msg_iov = &b.part[s], .msg_iovlen = 1};
  }
  b.frames = 0;
  /* Whoever is between has to know where the sink is, or the first frames go everywhere. */
  frame_answer(answer);
  if (send(w->in, answer, sizeof(answer), 0) < 0)
    perror("packets: answer");
  usleep(10000);
  while (sink_take(w, job, TAKE_MOST) != 0)
    continue;
  w->strange = 0;
  sink_drops(w);
  w->offset_ns = wall_offset_ns();

  uint64_t begun = now_ns(), start = begun, end = begun + job->time_ns, looked = begun, now = begun;
  printf("{\"startedNs\":%llu}\n", (unsigned long long)begun);
  fflush(stdout);
  while (now < end) {
    uint64_t due = BATCH;
    if (job->rate != 0) {
      forgiven += forgive(job, &start, now, sent);
      /* The frame of number n is due at start + n / rate. */
      due = (uint64_t)((__uint128_t)(now - start) * job->rate / 1000000000u) + 1 - sent;
      if (due > BATCH)
        due = BATCH;
    }
    for (; due != 0; due--)
      generate(job, &b, w->run, sent++);
    if (b.frames != 0) {
      refused += batch_send(&b, w->out);
      batches++;
    }
    sink_take(w, job, TAKE_MOST);
    now = now_ns();
    if (now - looked > INPUT_NS) {
      looked = now;
      if (input_waits())
        break;
    }
  }
  for (unsigned c = 0; c < job->classes; c++)
    if (job->class[c].holding)
      batch_add(&b, job->class[c].held, job->size);
  refused += batch_send(&b, w->out);
  uint64_t ended = now_ns(), came = ended;
  for (now = ended; now - came < job->silent_ns && now - ended < DRAIN_NS && !all_came(w, job); now = now_ns())
    if (sink_take(w, job, TAKE_MOST) != 0)
      came = now;

  uint64_t moved = wall_offset_ns() - w->offset_ns;
  printf("{\"startedNs\":%llu,\"endedNs\":%llu,\"sent\":%llu,\"refused\":%llu,\"forgiven\":%llu,\"batches\":%llu,"
         "\"strange\":%llu,\"sinkDrops\":%llu,\"clockMovedNs\":%lld,\"stallsUnkept\":%llu,\"stalls\":[",
         (unsigned long long)begun, (unsigned long long)ended, (unsigned long long)sent, (unsigned long long)refused,
         (unsigned long long)forgiven, (unsigned long long)batches, (unsigned long long)w->strange,
         (unsigned long long)sink_drops(w), (long long)(int64_t)moved, (unsigned long long)w->stalls_unkept);
  for (uint64_t i = 0; i < w->stalls; i++)
    printf("%s[%llu,%llu]", i == 0 ? "" : ",", (unsigned long long)w->stall[i].from_ns,
           (unsigned long long)w->stall[i].until_ns);
  printf("],\"classes\":[");
  for (unsigned c = 0; c < job->classes; c++) {
    uint64_t gaps = w->account[c].gaps;
    account_end(&w->account[c], job->class[c].sequence, ended);
    gaps_place(w, job, c, gaps);
    fputs(c == 0 ? "" : ",", stdout);
    account_print(&w->account[c], job->class[c].sequence, stdout);
  }
  printf("]}\n");
  fflush(stdout);
}

/* -------------------------------------------------------------------- start */

struct end {
  const char *netns, *interface;
};

/* A packet socket at an interface of another network namespace; -1 with errno. Protocol 0 receives nothing. */
static int socket_at(const struct end *end, int protocol)
{
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(end->netns, O_RDONLY | O_CLOEXEC), fd = -1;
  if (own >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0) {
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons((uint16_t)protocol),
                             .sll_ifindex = (int)if_nametoindex(end->interface)};
    fd = at.sll_ifindex == 0 ? -1 : socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0) {
      close(fd);
      fd = -1;
    }
    struct packet_mreq promiscuous = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (fd >= 0)
      setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous));
    if (setns(own, CLONE_NEWNET) != 0) {
      perror("packets: back to the own namespace");
      exit(1);
    }
  }
  if (own >= 0)
    close(own);
  if (there >= 0)
    close(there);
  return fd;
}

static bool wire_open(struct wire *w, const struct end *from, const struct end *to)
{
  int on = 1, version = TPACKET_V2;
  /* Our frames alone, and of these no more than is looked at: the copy is made by what is measured. */
  struct sock_filter only[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FRAME_SINK_HIGH, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FRAME_SINK_LOW, 0, 3),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, FRAME_HEAD),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {.len = sizeof(only) / sizeof(only[0]), .filter = only};
  struct tpacket_req ring = {
      .tp_block_size = RING_BLOCK, .tp_block_nr = RING_BLOCKS, .tp_frame_size = RING_FRAME, .tp_frame_nr = RING_FRAMES};
  w->out = socket_at(from, 0);
  w->in = socket_at(to, ETH_P_IP);
  if (w->out < 0 || w->in < 0 || setsockopt(w->out, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) != 0 ||
      setsockopt(w->in, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0 ||
      setsockopt(w->in, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) != 0 ||
      setsockopt(w->in, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)) != 0)
    return false;
  w->ring = mmap(NULL, (size_t)RING_BLOCK * RING_BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, w->in, 0);
  w->account = calloc(FRAME_CLASSES, sizeof(*w->account));
  w->heard = calloc(HEARD, sizeof(*w->heard));
  w->stall = calloc(STALLS, sizeof(*w->stall));
  return w->ring != MAP_FAILED && w->account != NULL && w->heard != NULL && w->stall != NULL;
}

static int wire(int argc, char **argv)
{
  static struct wire w;
  static struct job job;
  struct end from = {NULL, NULL}, to = {NULL, NULL};
  uint64_t cpu = 0;
  char line[1024];
  for (int i = 2; i < argc;) {
    if (strcmp(argv[i], "--cpu") == 0 && i + 1 < argc && number(argv[i + 1], 0, CPU_SETSIZE - 1, &cpu)) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET((size_t)cpu, &set);
      if (sched_setaffinity(0, sizeof(set), &set) != 0)
        return perror("packets: pin"), 1;
      i += 2;
    } else if ((strcmp(argv[i], "--from") == 0 || strcmp(argv[i], "--to") == 0) && i + 2 < argc) {
      *(argv[i][2] == 'f' ? &from : &to) = (struct end){argv[i + 1], argv[i + 2]};
      i += 3;
    } else
      return fprintf(stderr, "packets: %s is not understood\n", argv[i]), 2;
  }
  if (from.netns == NULL || to.netns == NULL)
    return fputs("packets: --from and --to are needed\n", stderr), 2;
  if (!wire_open(&w, &from, &to))
    return perror("packets: wire"), 1;
  if (mlockall(MCL_CURRENT) != 0)
    perror("packets: memory not locked");
  printf("{\"ready\":true}\n");
  fflush(stdout);
  while (line_read(line, sizeof(line))) {
    const char *wrong = "run";
    if (strncmp(line, "run ", 4) == 0 && (wrong = job_read(&job, line + 4)) == NULL) {
      run(&w, &job);
      continue;
    }
    /* A line that ended a run, or came too late for it, needs no answer. */
    if (strcmp(line, "stop") != 0) {
      printf("{\"error\":\"%s is not understood\"}\n", wrong);
      fflush(stdout);
    }
  }
  return 0;
}

static int account(void)
{
  static struct account a;
  char line[128];
  account_start(&a, UINT64_C(1000000));
  while (line_read(line, sizeof(line))) {
    unsigned long long sequence, sent, received;
    if (sscanf(line, "end %llu %llu", &sequence, &sent) == 2) {
      account_end(&a, sequence, sent);
      account_print(&a, sequence, stdout);
      putchar('\n');
      return 0;
    }
    if (sscanf(line, "%llu %llu %llu", &sequence, &sent, &received) != 3)
      break;
    account_take(&a, sequence, sent, received);
  }
  fputs("packets: expected NUMBER SENT RECEIVED, and end SENT TIME at last\n", stderr);
  return 2;
}

int main(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "wire") == 0)
    return wire(argc, argv);
  if (argc == 2 && strcmp(argv[1], "account") == 0)
    return account();
  fputs("usage: packets wire --from NETNS INTERFACE --to NETNS INTERFACE [--cpu N] | account\n", stderr);
  return 2;
}
