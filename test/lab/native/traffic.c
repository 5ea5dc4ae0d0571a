/*
 * kedge-traffic: sends class flows of numbered, time-stamped UDP packets, or receives and accounts for
 * them, so that "what was sent after T and still received" has an exact answer.
 *
 * It must know nothing of postures: it neither reads the board nor judges what it sees.
 *
 *   kedge-traffic send    --control PATH --flow class=NAME,to=ADDRESS,port=N,rate=PPS[,id=N][,size=BYTES] ...
 *   kedge-traffic receive --control PATH --listen class=NAME,port=N[,family=4|6] ...  [--log RECORDS]
 *
 * Both answer requests on the Unix stream socket PATH: one line in, one line of JSON out.
 *   report                     totals per flow
 *   count CLASS A B            packets of the class sent at A < t <= B (and, receiving, how they were marked)
 *   forbidden CLASS A B        receive: packets sent after A and received before B; how many, first and last
 *   rate CLASS PPS             send: another rate for every flow of the class, 0 to stop it
 * Times are CLOCK_MONOTONIC nanoseconds; 64-bit numbers stand in JSON as strings. `complete` is false
 * when the log no longer reaches back to A, an answer is then a lower bound.
 *
 * A packet's stamp is taken before it is handed to the kernel, the receiver's after it came out: a packet
 * stamped after T was certainly sent after T, one received before T was certainly received before it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_FLOWS 64u
#define MAX_CLIENTS 8u
#define CLASS_BYTES 16u
#define LINE_BYTES 256u
#define REPLY_BYTES 32768u
#define DEFAULT_LOG (1u << 19)
#define MAX_LOG (1u << 23)
#define BATCH 32u
#define MAX_CATCH_UP 64u
#define MAX_RATE 100000u
#define RECEIVE_BUFFER (8 << 20)
#define PAYLOAD_MAGIC UINT32_C(0x4b545246) /* "KTRF" */
#define SECOND UINT64_C(1000000000)
#define DSCP_LE 1u

/* The start of every payload; the rest up to the flow's size is zero. Integers in network order. */
struct payload {
  uint32_t magic;
  uint16_t version; /* 1 */
  uint16_t flow;
  char class[CLASS_BYTES];
  uint64_t sequence;
  uint64_t sent_at;
} __attribute__((packed));

/* One packet that was sent or received. */
struct record {
  uint64_t sent_at;
  uint64_t received_at; /* sending: 0 */
  uint32_t sequence;    /* low half */
  uint8_t place;        /* index into flows */
  uint8_t dscp;
  uint8_t reserved[2];
};

struct flow {
  char class[CLASS_BYTES + 1];
  uint16_t id;
  int family; /* AF_INET, AF_INET6 */
  uint64_t packets, bytes, failed, marked_le, marked_other, reordered;
  uint64_t first_at, last_at; /* of the packets' own stamps */
  uint64_t sequence;          /* sending: the next; receiving: the highest seen */
  /* Sending only. */
  int fd;
  struct sockaddr_storage to;
  socklen_t to_bytes;
  unsigned rate;
  unsigned size;
  uint64_t due;
};

struct listening {
  char class[CLASS_BYTES + 1];
  int fd;
  int family;
  uint32_t overflow; /* as the kernel counts it for this socket */
};

static bool receiving;
static struct flow flows[MAX_FLOWS];
static unsigned flow_count;
static struct listening listens[MAX_FLOWS];
static unsigned listen_count;
static struct record *ring;
static uint64_t ring_size = DEFAULT_LOG, ring_written;
static uint64_t foreign; /* packets that are not ours */
static volatile sig_atomic_t ending;

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

__attribute__((format(printf, 2, 3), noreturn)) static void stop(int status, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  fputs("kedge-traffic: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(status);
}

static void on_signal(int number)
{
  (void)number;
  ending = 1;
}

/* ------------------------------------------------------------------- log */

static void remember(unsigned place, uint64_t sequence, uint64_t sent_at, uint64_t received_at, unsigned dscp)
{
  struct record *r = &ring[ring_written % ring_size];
  r->sent_at = sent_at;
  r->received_at = received_at;
  r->sequence = (uint32_t)sequence;
  r->place = (uint8_t)place;
  r->dscp = (uint8_t)dscp;
  ring_written++;
}

static uint64_t ring_kept(void)
{
  return ring_written < ring_size ? ring_written : ring_size;
}

/* True when nothing sent after `from` can have been overwritten: what was overwritten came before the oldest kept. */
static bool reaches(uint64_t from)
{
  if (ring_written <= ring_size)
    return true;
  const struct record *oldest = &ring[ring_written % ring_size];
  uint64_t at = receiving ? oldest->received_at : oldest->sent_at;
  return at <= from;
}

/* --------------------------------------------------------------- requests */

struct text {
  char *at;
  size_t left;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(t->at, t->left, format, arguments);
  va_end(arguments);
  if (n < 0)
    return;
  size_t used = (size_t)n < t->left ? (size_t)n : t->left - 1;
  t->at += used;
  t->left -= used;
}

static bool knows(const char *class)
{
  for (unsigned i = 0; i < flow_count; i++)
    if (strcmp(flows[i].class, class) == 0)
      return true;
  for (unsigned i = 0; i < listen_count; i++)
    if (strcmp(listens[i].class, class) == 0)
      return true;
  return false;
}

static void answer_report(struct text *t)
{
  uint64_t lost = 0;
  for (unsigned i = 0; i < listen_count; i++)
    lost += listens[i].overflow;
  say(t, "{\"mode\":\"%s\",\"at\":\"%" PRIu64 "\",\"lost\":\"%" PRIu64 "\",\"foreign\":\"%" PRIu64 "\",\"flows\":[",
      receiving ? "receive" : "send", now_ns(), lost, foreign);
  for (unsigned i = 0; i < flow_count; i++) {
    const struct flow *f = &flows[i];
    say(t, "%s{\"class\":\"%s\",\"id\":%u,\"family\":%d,\"packets\":\"%" PRIu64 "\",\"bytes\":\"%" PRIu64 "\",\"firstAt\":\"%" PRIu64
           "\",\"lastAt\":\"%" PRIu64 "\",",
        i == 0 ? "" : ",", f->class, f->id, f->family == AF_INET ? 4 : 6, f->packets, f->bytes, f->first_at, f->last_at);
    if (receiving)
      say(t, "\"le\":\"%" PRIu64 "\",\"otherMarks\":\"%" PRIu64 "\",\"reordered\":\"%" PRIu64 "\"}", f->marked_le, f->marked_other,
          f->reordered);
    else
      say(t, "\"rate\":%u,\"failed\":\"%" PRIu64 "\"}", f->rate, f->failed);
  }
  say(t, "],\"log\":{\"capacity\":\"%" PRIu64 "\",\"written\":\"%" PRIu64 "\"}}", ring_size, ring_written);
}

static void answer_count(struct text *t, const char *class, uint64_t from, uint64_t to)
{
  uint64_t packets = 0, le = 0, other = 0;
  for (uint64_t i = ring_written - ring_kept(); i < ring_written; i++) {
    const struct record *r = &ring[i % ring_size];
    if (r->sent_at <= from || r->sent_at > to || strcmp(flows[r->place].class, class) != 0)
      continue;
    packets++;
    if (r->dscp == DSCP_LE)
      le++;
    else if (r->dscp != 0)
      other++;
  }
  say(t, "{\"packets\":\"%" PRIu64 "\",\"le\":\"%" PRIu64 "\",\"otherMarks\":\"%" PRIu64 "\",\"complete\":%s}", packets, le, other,
      reaches(from) ? "true" : "false");
}

static void say_record(struct text *t, const char *name, const struct record *r)
{
  say(t, ",\"%s\":{\"family\":%d,\"sequence\":%u,\"sentAt\":\"%" PRIu64 "\",\"receivedAt\":\"%" PRIu64 "\",\"dscp\":%u}", name,
      flows[r->place].family == AF_INET ? 4 : 6, r->sequence, r->sent_at, r->received_at, r->dscp);
}

static void answer_forbidden(struct text *t, const char *class, uint64_t from, uint64_t to)
{
  const struct record *first = NULL, *last = NULL;
  uint64_t packets = 0;
  for (uint64_t i = ring_written - ring_kept(); i < ring_written; i++) {
    const struct record *r = &ring[i % ring_size];
    if (r->sent_at <= from || r->received_at >= to || strcmp(flows[r->place].class, class) != 0)
      continue;
    packets++;
    if (first == NULL)
      first = r;
    last = r;
  }
  say(t, "{\"packets\":\"%" PRIu64 "\",\"complete\":%s", packets, reaches(from) ? "true" : "false");
  if (first != NULL) {
    say_record(t, "first", first);
    say_record(t, "last", last);
  }
  say(t, "}");
}

static void answer(char *line, struct text *t)
{
  char verb[16] = "", class[CLASS_BYTES + 1] = "";
  uint64_t a = 0, b = 0;
  unsigned rate = 0;
  char rest = 0;
  if (strcmp(line, "report") == 0) {
    answer_report(t);
  } else if (sscanf(line, "%15s %16s %" SCNu64 " %" SCNu64 " %c", verb, class, &a, &b, &rest) == 4 && strcmp(verb, "count") == 0 &&
             knows(class)) {
    answer_count(t, class, a, b);
  } else if (receiving && sscanf(line, "%15s %16s %" SCNu64 " %" SCNu64 " %c", verb, class, &a, &b, &rest) == 4 &&
             strcmp(verb, "forbidden") == 0 && knows(class)) {
    answer_forbidden(t, class, a, b);
  } else if (!receiving && sscanf(line, "%15s %16s %u %c", verb, class, &rate, &rest) == 3 && strcmp(verb, "rate") == 0 &&
             rate <= MAX_RATE && knows(class)) {
    uint64_t now = now_ns();
    for (unsigned i = 0; i < flow_count; i++)
      if (strcmp(flows[i].class, class) == 0) {
        flows[i].rate = rate;
        flows[i].due = now;
      }
    say(t, "{\"ok\":true}");
  } else {
    say(t, "{\"error\":\"expected: report | count CLASS A B%s\"}", receiving ? " | forbidden CLASS A B" : " | rate CLASS 0..100000");
  }
  say(t, "\n");
}

struct client {
  int fd;
  unsigned used;
  char line[LINE_BYTES];
};
static struct client clients[MAX_CLIENTS];
static int control = -1;

static int open_control(const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path)
    stop(2, "--control %s is too long, at most %zu bytes", path, sizeof address.sun_path - 1);
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    stop(1, "cannot make the control socket: %s", strerror(errno));
  unlink(path);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, (int)MAX_CLIENTS) != 0)
    stop(1, "cannot listen on %s: %s", path, strerror(errno));
  return fd;
}

static void drop_client(struct client *c)
{
  close(c->fd);
  c->fd = -1;
  c->used = 0;
}

static void accept_client(void)
{
  int fd = accept4(control, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0)
    return;
  for (unsigned i = 0; i < MAX_CLIENTS; i++)
    if (clients[i].fd < 0) {
      clients[i].fd = fd;
      clients[i].used = 0;
      /* An answer goes out whole or the client goes: nobody may hold the packets up. */
      struct timeval patience = {.tv_usec = 200000};
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
      return;
    }
  close(fd);
}

static void serve_client(struct client *c)
{
  static char reply[REPLY_BYTES];
  ssize_t n = recv(c->fd, c->line + c->used, LINE_BYTES - 1 - c->used, MSG_DONTWAIT);
  if (n <= 0) {
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
      drop_client(c);
    return;
  }
  c->used += (unsigned)n;
  c->line[c->used] = 0;
  for (char *end; (end = memchr(c->line, '\n', c->used)) != NULL;) {
    *end = 0;
    struct text t = {reply, sizeof reply};
    answer(c->line, &t);
    size_t length = sizeof reply - t.left;
    for (size_t done = 0; done < length;) {
      ssize_t sent = send(c->fd, reply + done, length - done, MSG_NOSIGNAL);
      if (sent <= 0) {
        drop_client(c);
        return;
      }
      done += (size_t)sent;
    }
    unsigned taken = (unsigned)(end + 1 - c->line);
    memmove(c->line, end + 1, c->used - taken);
    c->used -= taken;
  }
  if (c->used == LINE_BYTES - 1)
    drop_client(c);
}

/* -------------------------------------------------------------- arguments */

static unsigned number(const char *text, unsigned low, unsigned high, const char *what)
{
  char *end;
  errno = 0;
  unsigned long n = strtoul(text, &end, 10);
  if (errno != 0 || end == text || *end != 0 || *text == '-' || n < low || n > high)
    stop(2, "%s: expected %u to %u, not '%s'", what, low, high, text);
  return (unsigned)n;
}

static void class_of(char *into, const char *text)
{
  size_t length = strlen(text);
  if (length == 0 || length > CLASS_BYTES || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
    stop(2, "class: expected 1 to %u of a-z 0-9 -, not '%s'", CLASS_BYTES, text);
  memcpy(into, text, length + 1);
}

/* Takes the description apart in a copy: the command line stays readable for whoever looks at the process. */
static char *copy_of(const char *text)
{
  char *copy = strdup(text);
  if (copy == NULL)
    stop(1, "no memory");
  return copy;
}

static void add_flow(const char *text)
{
  char *description = copy_of(text);
  if (flow_count == MAX_FLOWS)
    stop(2, "more than %u flows", MAX_FLOWS);
  struct flow *f = &flows[flow_count];
  unsigned port = 0;
  char *to = NULL;
  *f = (struct flow){.id = (uint16_t)flow_count, .rate = 0, .size = 128};
  for (char *save, *part = strtok_r(description, ",", &save); part != NULL; part = strtok_r(NULL, ",", &save)) {
    char *value = strchr(part, '=');
    if (value == NULL)
      stop(2, "--flow: expected name=value, not '%s'", part);
    *value++ = 0;
    if (strcmp(part, "class") == 0)
      class_of(f->class, value);
    else if (strcmp(part, "to") == 0)
      to = value;
    else if (strcmp(part, "port") == 0)
      port = number(value, 1, 65535, "port");
    else if (strcmp(part, "rate") == 0)
      f->rate = number(value, 0, MAX_RATE, "rate");
    else if (strcmp(part, "id") == 0)
      f->id = (uint16_t)number(value, 0, 65535, "id");
    else if (strcmp(part, "size") == 0)
      f->size = number(value, sizeof(struct payload), 1400, "size");
    else
      stop(2, "--flow: unknown '%s'", part);
  }
  if (f->class[0] == 0 || to == NULL || port == 0)
    stop(2, "--flow: class, to and port are required");
  struct sockaddr_in *v4 = (struct sockaddr_in *)&f->to;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&f->to;
  if (inet_pton(AF_INET, to, &v4->sin_addr) == 1) {
    f->family = v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    f->to_bytes = sizeof *v4;
  } else if (inet_pton(AF_INET6, to, &v6->sin6_addr) == 1) {
    f->family = v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    f->to_bytes = sizeof *v6;
  } else {
    stop(2, "to: expected an address, not '%s'", to);
  }
  f->fd = socket(f->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (f->fd < 0)
    stop(1, "cannot make a socket: %s", strerror(errno));
  flow_count++;
  free(description);
}

static void add_listen(const char *class, unsigned port, int family)
{
  if (listen_count == MAX_FLOWS)
    stop(2, "more than %u sockets", MAX_FLOWS);
  struct listening *l = &listens[listen_count++];
  memcpy(l->class, class, sizeof l->class);
  l->family = family;
  l->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1, size = RECEIVE_BUFFER;
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  bool bound = l->fd >= 0 && setsockopt(l->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) == 0;
  if (bound && family == AF_INET)
    bound = setsockopt(l->fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof on) == 0 && bind(l->fd, (struct sockaddr *)&v4, sizeof v4) == 0;
  if (bound && family == AF_INET6)
    bound = setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
            setsockopt(l->fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on) == 0 &&
            bind(l->fd, (struct sockaddr *)&v6, sizeof v6) == 0;
  if (!bound)
    stop(1, "cannot listen on UDP port %u: %s", port, strerror(errno));
  /* Beyond the system's limit where allowed, so that a receiver without its processor loses nothing. */
  if (setsockopt(l->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
    setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static void add_listens(const char *text)
{
  char *description = copy_of(text);
  char class[CLASS_BYTES + 1] = "";
  unsigned port = 0, family = 0;
  for (char *save, *part = strtok_r(description, ",", &save); part != NULL; part = strtok_r(NULL, ",", &save)) {
    char *value = strchr(part, '=');
    if (value == NULL)
      stop(2, "--listen: expected name=value, not '%s'", part);
    *value++ = 0;
    if (strcmp(part, "class") == 0)
      class_of(class, value);
    else if (strcmp(part, "port") == 0)
      port = number(value, 1, 65535, "port");
    else if (strcmp(part, "family") == 0)
      family = number(value, 4, 6, "family");
    else
      stop(2, "--listen: unknown '%s'", part);
  }
  if (class[0] == 0 || port == 0)
    stop(2, "--listen: class and port are required");
  if (family != 6)
    add_listen(class, port, AF_INET);
  if (family != 4)
    add_listen(class, port, AF_INET6);
  free(description);
}

/* ---------------------------------------------------------------- sending */

static void send_one(unsigned place)
{
  static uint8_t bytes[1500];
  struct flow *f = &flows[place];
  struct payload p = {.magic = htonl(PAYLOAD_MAGIC), .version = htons(1), .flow = htons(f->id)};
  memcpy(p.class, f->class, CLASS_BYTES);
  p.sequence = htobe64(f->sequence);
  uint64_t at = now_ns();
  p.sent_at = htobe64(at);
  memcpy(bytes, &p, sizeof p);
  if (sendto(f->fd, bytes, f->size, MSG_NOSIGNAL, (struct sockaddr *)&f->to, f->to_bytes) != (ssize_t)f->size) {
    f->failed++;
    return;
  }
  remember(place, f->sequence++, at, 0, 0);
  f->packets++;
  f->bytes += f->size;
  f->last_at = at;
  if (f->first_at == 0)
    f->first_at = at;
}

/* Sends what is due, at most MAX_CATCH_UP per flow; returns when the next is due, UINT64_MAX for never. */
static uint64_t send_due(void)
{
  uint64_t next = UINT64_MAX;
  for (unsigned i = 0; i < flow_count; i++) {
    struct flow *f = &flows[i];
    if (f->rate == 0)
      continue;
    uint64_t step = SECOND / f->rate;
    unsigned burst = 0;
    while (f->due <= now_ns() && burst++ < MAX_CATCH_UP) {
      send_one(i);
      f->due += step;
    }
    uint64_t now = now_ns();
    if (f->due + MAX_CATCH_UP * step < now)
      f->due = now; /* too far behind: what was missed is not made up */
    if (f->due < next)
      next = f->due;
  }
  return next;
}

/* -------------------------------------------------------------- receiving */

static struct flow *flow_of(const struct listening *l, uint16_t id, unsigned *place)
{
  for (unsigned i = 0; i < flow_count; i++)
    if (flows[i].id == id && flows[i].family == l->family && strcmp(flows[i].class, l->class) == 0) {
      *place = i;
      return &flows[i];
    }
  if (flow_count == MAX_FLOWS)
    return NULL;
  struct flow *f = &flows[flow_count];
  *f = (struct flow){.id = id, .family = l->family};
  memcpy(f->class, l->class, sizeof f->class);
  *place = flow_count++;
  return f;
}

static void account(struct listening *l, const uint8_t *bytes, size_t length, unsigned dscp, uint64_t at)
{
  struct payload p;
  if (length < sizeof p) {
    foreign++;
    return;
  }
  memcpy(&p, bytes, sizeof p);
  char class[CLASS_BYTES + 1] = {0};
  memcpy(class, p.class, CLASS_BYTES);
  unsigned place;
  struct flow *f;
  if (p.magic != htonl(PAYLOAD_MAGIC) || p.version != htons(1) || strcmp(class, l->class) != 0 ||
      (f = flow_of(l, ntohs(p.flow), &place)) == NULL) {
    foreign++;
    return;
  }
  uint64_t sequence = be64toh(p.sequence), sent_at = be64toh(p.sent_at);
  remember(place, sequence, sent_at, at, dscp);
  if (f->packets > 0 && sequence <= f->sequence)
    f->reordered++;
  else
    f->sequence = sequence;
  f->packets++;
  f->bytes += length;
  f->last_at = sent_at;
  if (f->first_at == 0)
    f->first_at = sent_at;
  if (dscp == DSCP_LE)
    f->marked_le++;
  else if (dscp != 0)
    f->marked_other++;
}

static void receive_from(struct listening *l)
{
  static uint8_t bytes[BATCH][1500];
  static union {
    char space[CMSG_SPACE(sizeof(int)) * 3];
    struct cmsghdr align;
  } ancillary[BATCH];
  struct iovec parts[BATCH];
  struct mmsghdr messages[BATCH];
  for (unsigned i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){bytes[i], sizeof bytes[i]};
    messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i],
                                               .msg_iovlen = 1,
                                               .msg_control = ancillary[i].space,
                                               .msg_controllen = sizeof ancillary[i].space}};
  }
  int n = recvmmsg(l->fd, messages, BATCH, MSG_DONTWAIT, NULL);
  uint64_t at = now_ns();
  for (int i = 0; i < n; i++) {
    unsigned tos = 0;
    struct msghdr *header = &messages[i].msg_hdr;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
      if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
        tos = *(uint8_t *)CMSG_DATA(c);
      else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
        int value;
        memcpy(&value, CMSG_DATA(c), sizeof value);
        tos = (unsigned)value;
      } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
        memcpy(&l->overflow, CMSG_DATA(c), sizeof l->overflow);
    }
    account(l, bytes[i], messages[i].msg_len, (tos & 0xff) >> 2, at);
  }
}

/* ------------------------------------------------------------------- main */

static void loop(void)
{
  struct pollfd fds[1 + MAX_CLIENTS + MAX_FLOWS];
  while (!ending) {
    uint64_t next = receiving ? UINT64_MAX : send_due();
    nfds_t count = 0;
    fds[count++] = (struct pollfd){.fd = control, .events = POLLIN};
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
      fds[count++] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
    for (unsigned i = 0; i < listen_count; i++)
      fds[count++] = (struct pollfd){.fd = listens[i].fd, .events = POLLIN};
    uint64_t now = now_ns(), wait = next <= now ? 0 : next - now;
    struct timespec patience = {.tv_sec = (time_t)(wait / SECOND), .tv_nsec = (long)(wait % SECOND)};
    int ready = ppoll(fds, count, next == UINT64_MAX ? NULL : &patience, NULL);
    if (ready <= 0)
      continue;
    for (unsigned i = 0; i < listen_count; i++)
      if (fds[1 + MAX_CLIENTS + i].revents != 0)
        receive_from(&listens[i]);
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
      if (clients[i].fd >= 0 && fds[1 + i].revents != 0)
        serve_client(&clients[i]);
    if (fds[0].revents != 0)
      accept_client();
  }
}

int main(int argc, char **argv)
{
  const char *path = NULL;
  if (argc < 2 || (strcmp(argv[1], "send") != 0 && strcmp(argv[1], "receive") != 0))
    stop(2, "expected: kedge-traffic send|receive --control PATH ...");
  receiving = strcmp(argv[1], "receive") == 0;
  for (int i = 2; i < argc; i += 2) {
    if (i + 1 == argc)
      stop(2, "%s: a value is missing", argv[i]);
    if (strcmp(argv[i], "--control") == 0)
      path = argv[i + 1];
    else if (strcmp(argv[i], "--log") == 0)
      ring_size = number(argv[i + 1], 16, MAX_LOG, "--log");
    else if (!receiving && strcmp(argv[i], "--flow") == 0)
      add_flow(argv[i + 1]);
    else if (receiving && strcmp(argv[i], "--listen") == 0)
      add_listens(argv[i + 1]);
    else
      stop(2, "unknown option %s", argv[i]);
  }
  if (path == NULL || flow_count + listen_count == 0)
    stop(2, "--control and at least one %s are required", receiving ? "--listen" : "--flow");
  ring = calloc(ring_size, sizeof *ring);
  if (ring == NULL)
    stop(1, "no memory for a log of %" PRIu64 " records", ring_size);
  for (unsigned i = 0; i < MAX_CLIENTS; i++)
    clients[i].fd = -1;
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1000ul);
  control = open_control(path);
  uint64_t start = now_ns();
  for (unsigned i = 0; i < flow_count; i++)
    flows[i].due = start + (flows[i].rate == 0 ? 0 : SECOND / flows[i].rate * i / flow_count);
  loop();
  unlink(path);
  return 0;
}
