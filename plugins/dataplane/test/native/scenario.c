/*
 * The world around a forwarder, for the tests: network namespaces as zones, real packets with sequence
 * numbers and send stamps, and the writers of the board's segments. One command per line on standard
 * input, one line of JSON per command on standard output.
 *
 * It must be started as pid 1 of private network, mount and pid namespaces, so that nothing is left; it
 * leaves when its standard input ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kedge/segment.h"

#define BOARD "/run/kedge/board"
#define ZONES 5

static const char *const ZONE_NAME[ZONES] = {"management", "branch", "servers", "uplink", "guest"};
static int zone_netns[ZONES], own_netns;
static struct kedge_segment posture, warden, tables;
static struct kedge_segment dataplane;
static KEDGE_ATOMIC(int) beating[2] = {1, 1};
static pid_t forwarder;

static struct kedge_worker *worker(void);

static void fail(const char *what)
{
  printf("{\"error\":\"%s: %s\"}\n", what, strerror(errno));
  fflush(stdout);
}

static void pause_us(long us)
{
  struct timespec t = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&t, NULL);
}

static int zone_of(const char *name)
{
  for (int z = 0; z < ZONES; z++)
    if (strcmp(ZONE_NAME[z], name) == 0)
      return z;
  return -1;
}

/* ---------------------------------------------------------------- network */

static int run(const char *format, ...)
{
  char command[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(command, sizeof(command), format, list);
  va_end(list);
  int status = system(command);
  if (status != 0)
    fprintf(stderr, "scenario: '%s' ended with %d\n", command, status);
  return status;
}

static void put(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY);
  if (fd >= 0) {
    if (write(fd, text, strlen(text)) < 0)
      perror(path);
    close(fd);
  }
}

static int network_make(void)
{
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("none", "/run", "tmpfs", 0, NULL) != 0)
    return -1;
  mkdir("/run/kedge", 0755);
  mkdir(BOARD, 01775);
  if (chown(BOARD, 0, 64700) != 0 || chmod(BOARD, 01775) != 0)
    return -1;
  own_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  put("/proc/sys/net/ipv4/ip_forward", "0");
  put("/proc/sys/net/ipv6/conf/all/forwarding", "0");
  put("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
  FILE *batch = fopen("/run/outside", "w");
  for (int z = 0; z < ZONES; z++) {
    if (run("ip netns add kz-%s", ZONE_NAME[z]) != 0)
      return -1;
    fprintf(batch, "link add kp-%s type veth peer name eth0 address 02:00:00:00:00:%d0 netns kz-%s\n", ZONE_NAME[z], z + 1,
            ZONE_NAME[z]);
    fprintf(batch, "link set kp-%s up\n", ZONE_NAME[z]);
    char path[64];
    snprintf(path, sizeof(path), "/run/netns/kz-%s", ZONE_NAME[z]);
    zone_netns[z] = open(path, O_RDONLY | O_CLOEXEC);
  }
  fclose(batch);
  if (run("ip -batch /run/outside") != 0)
    return -1;
  for (int z = 0; z < ZONES; z++) {
    /* Nobody asks for routers now and then, or for its own address: what is counted is what the tests send. */
    setns(zone_netns[z], CLONE_NEWNET);
    put("/proc/sys/net/ipv6/conf/eth0/router_solicitations", "0");
    put("/proc/sys/net/ipv6/conf/eth0/dad_transmits", "0");
    setns(own_netns, CLONE_NEWNET);
    FILE *inside = fopen("/run/inside", "w");
    fprintf(inside, "link set lo up\naddr add 10.77.0.%d0/24 dev eth0\naddr add fd77::%d0/64 dev eth0 nodad\nlink set eth0 up\n",
            z + 1, z + 1);
    for (int other = 0; other < ZONES; other++)
      if (other != z)
        fprintf(inside,
                "neigh replace 10.77.0.%d0 lladdr 02:00:00:00:00:%d0 dev eth0 nud permanent\n"
                "neigh replace fd77::%d0 lladdr 02:00:00:00:00:%d0 dev eth0 nud permanent\n",
                other + 1, other + 1, other + 1, other + 1);
    fclose(inside);
    if (run("ip -n kz-%s -batch /run/inside", ZONE_NAME[z]) != 0)
      return -1;
  }
  return 0;
}

static int socket_in(int zone, int domain, int type, int protocol)
{
  setns(zone_netns[zone], CLONE_NEWNET);
  int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
  setns(own_netns, CLONE_NEWNET);
  return fd;
}

static socklen_t address_of(struct sockaddr_storage *to, int zone, int family, int port)
{
  char text[64];
  memset(to, 0, sizeof(*to));
  if (family == 4) {
    struct sockaddr_in *in = (void *)to;
    snprintf(text, sizeof(text), "10.77.0.%d0", zone + 1);
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, text, &in->sin_addr);
    return sizeof(*in);
  }
  struct sockaddr_in6 *in6 = (void *)to;
  snprintf(text, sizeof(text), "fd77::%d0", zone + 1);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons((uint16_t)port);
  inet_pton(AF_INET6, text, &in6->sin6_addr);
  return sizeof(*in6);
}

/* A UDP socket in a zone, bound to that zone's address; reports the traffic class of what it gets. */
static int udp_in(int zone, int family, int port)
{
  struct sockaddr_storage address;
  int on = 1, bytes = 4 << 20;
  int fd = socket_in(zone, family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
  if (family == 4)
    setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on));
  else
    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof(on));
  if (bind(fd, (void *)&address, address_of(&address, zone, family, port)) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

struct stamp {
  uint64_t sequence, sent_ns;
};

/* One datagram with its stamp and traffic class; false when none came in time. */
static bool take(int fd, int timeout_ms, struct stamp *stamp, int *class)
{
  struct pollfd p = {.fd = fd, .events = POLLIN};
  if (poll(&p, 1, timeout_ms) <= 0)
    return false;
  char control[128];
  struct iovec part = {stamp, sizeof(*stamp)};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  if (recvmsg(fd, &m, MSG_DONTWAIT) < (ssize_t)sizeof(*stamp))
    return false;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
      *class = *(uint8_t *)CMSG_DATA(c);
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
      memcpy(class, CMSG_DATA(c), sizeof(*class));
  }
  return true;
}

/* send FROM TO FAMILY SOURCEPORT PORT COUNT → what arrived, and with which DSCP */
static void command_send(char *args)
{
  char from[32], to[32];
  int family, source_port, port, count;
  if (sscanf(args, "%31s %31s %d %d %d %d", from, to, &family, &source_port, &port, &count) != 6 || zone_of(from) < 0 ||
      zone_of(to) < 0) {
    printf("{\"error\":\"send FROM TO FAMILY SOURCEPORT PORT COUNT\"}\n");
    return;
  }
  struct sockaddr_storage address;
  socklen_t length = address_of(&address, zone_of(to), family, port);
  int out = udp_in(zone_of(from), family, source_port);
  int in = udp_in(zone_of(to), family, port);
  int sent = 0, received = 0, marked = 0, class = 0;
  const struct kedge_worker *w = worker();
  uint64_t before = w == NULL ? 0 : atomic_load(&w->received);
  for (int i = 0; i < count; i++) {
    struct stamp s = {(uint64_t)i, kedge_now_ns()};
    sent += sendto(out, &s, sizeof(s), 0, (void *)&address, length) == sizeof(s);
  }
  /* On a busy machine the forwarder may have to wait for a processor: until it has taken them all, or is gone. */
  for (int i = 0; i < 1000 && w != NULL && kill(forwarder, 0) == 0 && atomic_load(&w->received) - before < (uint64_t)sent; i++)
    pause_us(1000);
  struct stamp s;
  while (received < count && take(in, 80, &s, &class)) {
    received++;
    marked += class >> 2 == 1;
  }
  close(out);
  close(in);
  printf("{\"sent\":%d,\"received\":%d,\"le\":%d}\n", sent, received, marked);
}

/* ------------------------------------------------------------- raw frames */

static int unhex(const char *text, uint8_t *to, int most)
{
  int n = 0;
  unsigned v;
  while (n < most && sscanf(text + 2 * n, "%2x", &v) == 1)
    to[n++] = (uint8_t)v;
  return n;
}

/* raw FROM TO HEX [START OFFSET] → how many copies of exactly this frame arrive at TO, and the first one as it
 * arrived; START and OFFSET leave a checksum there to the interface, as a virtual machine may */
static void command_raw(char *args)
{
  static char text[40000];
  static uint8_t frame[20000], got[70000];
  char from[32], to[32];
  unsigned start = 0, offset = 0;
  int given = sscanf(args, "%31s %31s %39999s %u %u", from, to, text, &start, &offset);
  if ((given != 3 && given != 5) || zone_of(from) < 0 || zone_of(to) < 0) {
    printf("{\"error\":\"raw FROM TO HEX\"}\n");
    return;
  }
  int length = unhex(text, frame, sizeof(frame));
  int fd[2];
  for (int i = 0; i < 2; i++) {
    int on = 1;
    fd[i] = socket_in(zone_of(i == 0 ? from : to), AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    setns(zone_netns[zone_of(i == 0 ? from : to)], CLONE_NEWNET);
    struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex("eth0")};
    if (bind(fd[i], (void *)&a, sizeof(a)) != 0)
      perror("bind");
    setns(own_netns, CLONE_NEWNET);
    setsockopt(fd[i], SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on));
  }
  uint8_t offload[10] = {1, 0, 0, 0, 0, 0, (uint8_t)start, 0, (uint8_t)offset, 0};
  int on = given == 5;
  setsockopt(fd[0], SOL_PACKET, 15 /* PACKET_VNET_HDR */, &on, sizeof(on));
  struct iovec whole[2] = {{offload, on ? sizeof(offload) : 0}, {frame, (size_t)length}};
  if (writev(fd[0], whole, 2) != length + (ssize_t)whole[0].iov_len) {
    fail("send raw");
    goto done;
  }
  int copies = 0, other = 0, vlan = -1;
  uint8_t first[256] = {0};
  int first_length = 0;
  struct pollfd p = {.fd = fd[1], .events = POLLIN};
  while (poll(&p, 1, 80) > 0) {
    char control[128];
    struct sockaddr_ll a;
    struct iovec part = {got, sizeof(got)};
    struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd[1], &m, MSG_DONTWAIT);
    if (n < 14 || a.sll_pkttype == PACKET_OUTGOING)
      continue;
    if (memcmp(got, frame, 12) != 0) {
      other++;
      continue;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
      struct tpacket_auxdata aux;
      if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA) {
        memcpy(&aux, CMSG_DATA(c), sizeof(aux));
        if ((aux.tp_status & TP_STATUS_VLAN_VALID) != 0)
          vlan = aux.tp_vlan_tci & 0xfff;
      }
    }
    if (copies++ == 0) {
      first_length = n < (ssize_t)sizeof(first) ? (int)n : (int)sizeof(first);
      memcpy(first, got, (size_t)first_length);
    }
  }
  printf("{\"copies\":%d,\"other\":%d,\"vlan\":%d,\"frame\":\"", copies, other, vlan);
  for (int i = 0; i < first_length; i++)
    printf("%02x", first[i]);
  printf("\"}\n");
done:
  close(fd[0]);
  close(fd[1]);
}

/* ------------------------------------------------------------------ board */

static struct kedge_segment *segment_of(const char *name)
{
  return strcmp(name, "posture") == 0 ? &posture : strcmp(name, "warden") == 0 ? &warden : strcmp(name, "tables") == 0 ? &tables : NULL;
}

static void *beat(void *context)
{
  (void)context;
  for (;;) {
    uint64_t now = kedge_now_ns();
    if (atomic_load(&beating[0]) && posture.base != NULL)
      kedge_beat(&((struct kedge_posture_segment *)posture.base)->beat, now);
    if (atomic_load(&beating[1]) && warden.base != NULL)
      kedge_beat(&((struct kedge_warden_segment *)warden.base)->beat, now);
    pause_us(20000);
  }
  return NULL;
}

static void command_create(const char *name)
{
  struct kedge_segment *s = segment_of(name);
  enum kedge_segment_kind kind = s == &posture ? KEDGE_SEGMENT_POSTURE : s == &warden ? KEDGE_SEGMENT_WARDEN : KEDGE_SEGMENT_TABLES;
  if (s == NULL || s->base != NULL) {
    printf("{\"error\":\"create posture|warden|tables, once\"}\n");
    return;
  }
  enum kedge_refusal replaced, refusal = kedge_segment_create(s, BOARD, name, kind, &replaced);
  printf("{\"refusal\":%d,\"replaced\":%d}\n", (int)refusal, (int)replaced);
}

static struct kedge_worker *worker(void)
{
  if (dataplane.base != NULL && !kedge_segment_current(&dataplane))
    kedge_segment_close(&dataplane);
  if (dataplane.base == NULL &&
      kedge_segment_open(&dataplane, BOARD, "dataplane-reference", KEDGE_SEGMENT_DATAPLANE, KEDGE_ANY_OWNER) != KEDGE_REFUSAL_NONE)
    return NULL;
  return &((struct kedge_dataplane_segment *)dataplane.base)->worker[0];
}

static uint64_t word_store(uint64_t epoch, unsigned level)
{
  struct kedge_transition_view line = {.epoch = epoch, .from = level, .to = level};
  return kedge_posture_tighten(posture.base, &line, 0);
}

static void print_state(void)
{
  struct kedge_worker *w = worker();
  struct kedge_ack_view ack = {0};
  if (w == NULL) {
    printf("{\"present\":false}\n");
    return;
  }
  struct kedge_dataplane_segment *d = dataplane.base;
  kedge_ack_read(&w->ack, &ack);
  printf("{\"present\":true,\"epoch\":%llu,\"level\":%u,\"startedNs\":%llu,\"finishedNs\":%llu,\"outcome\":%u,"
         "\"stage\":%u,\"generation\":%llu,\"live\":%u,\"serving\":%u,\"safeLevel\":%u,\"failClosed\":%llu,\"tid\":%u,\"received\":%llu,"
         "\"sent\":%llu,\"beatAgeMs\":%.1f,\"loopAgeMs\":%.1f,\"telemetry\":%llu,\"uid\":%u,\"incarnation\":%llu}\n",
         (unsigned long long)ack.epoch, ack.level, (unsigned long long)ack.started_at_ns, (unsigned long long)ack.finished_at_ns,
         ack.outcome, ack.stage, (unsigned long long)atomic_load(&w->generation), atomic_load(&w->live), atomic_load(&d->beat.serving),
         atomic_load(&d->safe_level), (unsigned long long)atomic_load(&w->fail_closed_seen), atomic_load(&w->tid),
         (unsigned long long)atomic_load(&w->received), (unsigned long long)atomic_load(&w->sent),
         (double)(int64_t)(kedge_now_ns() - atomic_load(&d->beat.at_ns)) / 1e6,
         (double)(int64_t)(kedge_now_ns() - atomic_load(&w->loop_at_ns)) / 1e6,
         (unsigned long long)atomic_load(&w->telemetry_written), d->header.writer_uid, (unsigned long long)d->header.incarnation);
}

/* Waits for `test` of the worker; at most `ms`. */
static bool await_ack(uint64_t epoch, unsigned level, int ms)
{
  uint64_t end = kedge_now_ns() + (uint64_t)ms * 1000000;
  for (;;) {
    struct kedge_ack_view ack;
    struct kedge_worker *w = worker();
    if (w != NULL && atomic_load(&w->live) != 0 && kedge_ack_read(&w->ack, &ack) && ack.epoch >= epoch && ack.finished_at_ns != 0 &&
        (level == 0 || ack.level == level))
      return true;
    if (kedge_now_ns() > end)
      return false;
    pause_us(200);
  }
}

/* load GENERATION DIRECTORY: five files, one per level, each a level table stamped with the generation */
static void command_load(char *args)
{
  unsigned long long generation;
  char directory[512], path[600];
  struct kedge_tables_segment *t = tables.base;
  if (t == NULL || sscanf(args, "%llu %511s", &generation, directory) != 2) {
    printf("{\"error\":\"load GENERATION DIRECTORY, after create tables\"}\n");
    return;
  }
  struct kedge_bank *bank = &t->bank[generation % KEDGE_BANKS];
  /* The bank is written only after the worker has left it. */
  uint64_t end = kedge_now_ns() + UINT64_C(2000000000);
  for (struct kedge_worker *w; (w = worker()) != NULL && atomic_load(&w->live) != 0;) {
    uint64_t used = atomic_load(&w->generation);
    if (used == 0 || used % KEDGE_BANKS != generation % KEDGE_BANKS || kedge_now_ns() > end)
      break;
    pause_us(500);
  }
  atomic_store(&bank->generation, 0);
  int read_levels = 0;
  for (unsigned level = 1; level <= KEDGE_LEVELS; level++) {
    snprintf(path, sizeof(path), "%s/%u", directory, level);
    int fd = open(path, O_RDONLY);
    if (fd >= 0 && read(fd, &bank->level[level - 1], sizeof(struct kedge_level_table)) == (ssize_t)sizeof(struct kedge_level_table))
      read_levels++;
    if (fd >= 0)
      close(fd);
  }
  atomic_store(&bank->generation, generation);
  atomic_store(&t->generation, generation);
  kedge_bell_ring(&t->beat.bell);
  printf("{\"levels\":%d}\n", read_levels);
}

/* poke NAME OFFSET HEX: damages a segment in place; truncate NAME SIZE; unlink NAME; release NAME */
static void command_damage(const char *what, char *args)
{
  char name[64], text[256] = "";
  unsigned long offset = 0;
  uint8_t bytes[128];
  char path[256];
  if (sscanf(args, "%63s %lu %255s", name, &offset, text) < 1)
    return;
  snprintf(path, sizeof(path), "%s/%s", BOARD, name);
  struct kedge_segment *s = segment_of(name);
  int result = 0;
  if (strcmp(what, "poke") == 0) {
    int n = unhex(text, bytes, sizeof(bytes));
    int fd = open(path, O_WRONLY);
    result = fd < 0 || pwrite(fd, bytes, (size_t)n, (off_t)offset) != n ? -1 : 0;
    close(fd);
  } else if (strcmp(what, "truncate") == 0) {
    result = truncate(path, (off_t)offset);
  } else if (strcmp(what, "chown") == 0) {
    result = chown(path, (uid_t)offset, (gid_t)-1);
  } else if (strcmp(what, "unlink") == 0) {
    result = unlink(path);
  }
  if (s != NULL && (strcmp(what, "release") == 0 || strcmp(what, "unlink") == 0)) {
    struct kedge_segment held = *s;
    memset(s, 0, sizeof(*s));
    pause_us(30000); /* the beating thread may hold the base for a moment */
    kedge_segment_close(&held);
  }
  printf("{\"result\":%d}\n", result);
}

/* The ring as a reader sees it that starts at event FROM. */
static void command_telemetry(char *args)
{
  struct kedge_worker *w = worker();
  unsigned long long next = strtoull(args, NULL, 10), gaps = 0;
  if (w == NULL) {
    printf("{\"present\":false}\n");
    return;
  }
  uint64_t written = atomic_load(&w->telemetry_written);
  bool comma = false;
  printf("{\"events\":[");
  for (; next < written; next++) {
    struct kedge_telemetry *t = &w->telemetry[next % KEDGE_TELEMETRY_SLOTS];
    uint64_t before = atomic_load(&t->sequence);
    struct kedge_telemetry copy;
    memcpy((void *)&copy, t, sizeof(copy));
    atomic_thread_fence(memory_order_acquire);
    if (before != 2 * next + 2 || atomic_load(&t->sequence) != before) {
      gaps++;
      continue;
    }
    printf("%s{\"kind\":%u,\"old\":%u,\"new\":%u,\"epoch\":%llu,\"value\":%llu,\"droppedPair\":%llu,\"droppedEntry\":%llu}", comma ? "," : "",
           copy.kind, copy.old_level, copy.new_level, (unsigned long long)copy.epoch, (unsigned long long)copy.value,
           (unsigned long long)copy.dropped_pair, (unsigned long long)copy.dropped_entry);
    comma = true;
  }
  printf("],\"next\":%llu,\"gaps\":%llu}\n", (unsigned long long)written, gaps);
}

/* Counters that are not zero: "reason:verdict", "from>to:verdict", "entry". */
static void command_counters(void)
{
  struct kedge_worker *w = worker();
  if (w == NULL) {
    printf("{\"present\":false}\n");
    return;
  }
  bool comma = false;
  printf("{");
  for (unsigned r = 0; r < KEDGE_REASONS; r++)
    for (unsigned v = 1; v < 4; v++)
      if (atomic_load(&w->counters.reason[r][v]) != 0)
        printf("%s\"%u:%u\":%llu", comma ? "," : "", r, v, (unsigned long long)atomic_load(&w->counters.reason[r][v])), comma = true;
  for (unsigned p = 0; p < KEDGE_MAX_ZONES * KEDGE_MAX_ZONES * 4; p++) {
    uint64_t n = atomic_load(&w->counters.pair[p / 64][p / 4 % 16][p % 4]);
    if (n != 0)
      printf("%s\"%u>%u:%u\":%llu", comma ? "," : "", p / 64, p / 4 % 16, p % 4, (unsigned long long)n), comma = true;
  }
  for (unsigned e = 0; e < KEDGE_MAX_ENTRIES; e++)
    if (atomic_load(&w->counters.hit[e]) != 0)
      printf("%s\"entry %u\":%llu", comma ? "," : "", e, (unsigned long long)atomic_load(&w->counters.hit[e])), comma = true;
  printf("}\n");
}

/* queues: the counters of both classes */
static void command_queues(void)
{
  struct kedge_worker *w = worker();
  static const char *const NAME[KEDGE_QUEUES] = {"ordinary", "deprioritised"};
  if (w == NULL) {
    printf("{\"present\":false}\n");
    return;
  }
  for (unsigned c = 0; c < KEDGE_QUEUES; c++) {
    struct kedge_queue_counters *q = &w->counters.queue[c];
    printf("%s\"%s\":{\"sent\":%llu,\"waited\":%llu,\"lost\":%llu,\"withdrawn\":%llu,\"waiting\":%llu}", c == 0 ? "{" : ",", NAME[c],
           (unsigned long long)atomic_load(&q->sent), (unsigned long long)atomic_load(&q->waited),
           (unsigned long long)atomic_load(&q->lost), (unsigned long long)atomic_load(&q->withdrawn),
           (unsigned long long)atomic_load(&q->waiting));
  }
  printf("}\n");
}

/* ---------------------------------------------------------------- streams */

/* Sockets that stay open between commands, so that what leaves late is counted too. */
static struct {
  int zone, port, fd;
  uint64_t next; /* sequence number that may come at the earliest */
} listening[8];
static unsigned listenings;

/* listen TO PORT: receives there from now on; `listen` alone ends all */
static void command_listen(char *args)
{
  char to[32];
  int port;
  if (sscanf(args, "%31s %d", to, &port) != 2) {
    while (listenings != 0)
      close(listening[--listenings].fd);
    printf("{}\n");
    return;
  }
  if (zone_of(to) < 0 || listenings == sizeof(listening) / sizeof(listening[0])) {
    printf("{\"error\":\"listen [TO PORT]\"}\n");
    return;
  }
  listening[listenings].zone = zone_of(to);
  listening[listenings].port = port;
  listening[listenings].next = 0;
  listening[listenings++].fd = udp_in(zone_of(to), 4, port);
  printf("{}\n");
}

/* taken TO PORT MS: what has come there until nothing came for so long, and how often one overtook another */
static void command_taken(char *args)
{
  char to[32];
  int port, ms, class = 0;
  unsigned long long received = 0, marked = 0, overtaken = 0;
  if (sscanf(args, "%31s %d %d", to, &port, &ms) != 3)
    return;
  struct stamp s = {0, 0};
  for (unsigned i = 0; i < listenings; i++)
    while (listening[i].zone == zone_of(to) && listening[i].port == port && take(listening[i].fd, ms, &s, &class)) {
      received++;
      marked += class >> 2 == 1;
      overtaken += s.sequence < listening[i].next;
      listening[i].next = s.sequence + 1;
    }
  printf("{\"received\":%llu,\"le\":%llu,\"overtaken\":%llu,\"lastSentNs\":%llu}\n", received, marked, overtaken,
         (unsigned long long)s.sent_ns);
}

/* offer MS BYTES (FROM TO PORT COUNT)...: so many datagrams of each stream, spread evenly over that time */
static void command_offer(char *args)
{
  struct {
    int fd, count, sent;
    struct sockaddr_storage to;
    socklen_t length;
  } stream[4];
  static char payload[1472];
  char from[32], to[32];
  int ms, bytes, port, used, streams = 0;
  unsigned long long sent = 0;
  if (sscanf(args, "%d %d%n", &ms, &bytes, &used) != 2 || bytes < (int)sizeof(struct stamp) || bytes > (int)sizeof(payload)) {
    printf("{\"error\":\"offer MS BYTES (FROM TO PORT COUNT)...\"}\n");
    return;
  }
  for (args += used; streams < 4 && sscanf(args, "%31s %31s %d %d%n", from, to, &port, &stream[streams].count, &used) == 4; args += used) {
    stream[streams].fd = udp_in(zone_of(from), 4, 0);
    stream[streams].length = address_of(&stream[streams].to, zone_of(to), 4, port);
    stream[streams++].sent = 0;
  }
  uint64_t start = kedge_now_ns(), span = (uint64_t)ms * 1000000;
  for (bool more = true; more;) {
    uint64_t now = kedge_now_ns() - start;
    more = false;
    for (int i = 0; i < streams; i++) {
      int due = now >= span ? stream[i].count : (int)((uint64_t)stream[i].count * now / span);
      for (; stream[i].sent < due; stream[i].sent++) {
        struct stamp s = {(uint64_t)stream[i].sent, kedge_now_ns()};
        memcpy(payload, &s, sizeof(s));
        sent += sendto(stream[i].fd, payload, (size_t)bytes, 0, (void *)&stream[i].to, stream[i].length) == bytes;
      }
      more |= stream[i].sent < stream[i].count;
    }
    if (more)
      pause_us(500);
  }
  for (int i = 0; i < streams; i++)
    close(stream[i].fd);
  printf("{\"sent\":%llu}\n", sent);
}

/* -------------------------------------------------------------- forwarder */

static void command_start(char *args)
{
  char *argv[64];
  int n = 0;
  for (char *p = strtok(args, " "); p != NULL && n < 63; p = strtok(NULL, " "))
    argv[n++] = p;
  argv[n] = NULL;
  forwarder = fork();
  if (forwarder == 0) {
    int null = open("/dev/null", O_RDWR);
    int log = open("/run/forwarder.log", O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(null, 0);
    dup2(null, 1);
    dup2(log, 2);
    execv(argv[0], argv);
    _exit(127);
  }
  printf("{\"pid\":%d}\n", (int)forwarder);
}

/* end SIGNAL MS: signal 0 only waits */
static void command_end(char *args)
{
  int signal = 0, ms = 2000, status = 0;
  sscanf(args, "%d %d", &signal, &ms);
  if (signal != 0)
    kill(forwarder, signal);
  for (int i = 0; i < ms; i++) {
    pid_t ended = waitpid(forwarder, &status, WNOHANG);
    if (ended < 0)
      break; /* there is none */
    if (ended == forwarder) {
      printf("{\"ended\":true,\"code\":%d,\"signal\":%d}\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
             WIFSIGNALED(status) ? WTERMSIG(status) : 0);
      return;
    }
    pause_us(1000);
  }
  printf("{\"ended\":false}\n");
}

static void command_log(void)
{
  FILE *f = fopen("/run/forwarder.log", "r");
  int c;
  printf("{\"log\":\"");
  while (f != NULL && (c = fgetc(f)) != EOF) {
    if (c == '\n')
      printf("\\n");
    else if (c >= 32 && c < 127 && c != '"' && c != '\\')
      putchar(c);
  }
  if (f != NULL)
    fclose(f);
  printf("\"}\n");
}

/* ----------------------------------------------------------------- oracle */

struct flood {
  int out;
  struct sockaddr_storage to;
  socklen_t length;
  KEDGE_ATOMIC(int) stop;
  KEDGE_ATOMIC(uint64_t) sent;
};

static void *flood_run(void *context)
{
  struct flood *f = context;
  uint64_t sequence = 0;
  while (!atomic_load(&f->stop)) {
    struct stamp s = {sequence++, kedge_now_ns()};
    if (sendto(f->out, &s, sizeof(s), MSG_DONTWAIT, (void *)&f->to, f->length) == sizeof(s))
      atomic_fetch_add(&f->sent, 1);
    pause_us(50);
  }
  return NULL;
}

/* oracle FROM TO PORT EPOCH ROUNDS LOOSE TIGHT: between loose and tight, is anything received that was sent
 * after the acknowledgement of tight? */
static void command_oracle(char *args)
{
  char from[32], to[32];
  int port, rounds;
  unsigned loose, tight;
  unsigned long long epoch;
  if (sscanf(args, "%31s %31s %d %llu %d %u %u", from, to, &port, &epoch, &rounds, &loose, &tight) != 7)
    return;
  struct flood flood = {.out = udp_in(zone_of(from), 4, 0)};
  flood.length = address_of(&flood.to, zone_of(to), 4, port);
  int in = udp_in(zone_of(to), 4, port);
  pthread_t sender;
  pthread_create(&sender, NULL, flood_run, &flood);
  unsigned long long allowed = 0, late = 0, unacknowledged = 0, worst = 0;
  for (int r = 0; r < rounds; r++) {
    struct stamp s;
    int class;
    word_store(epoch++, loose);
    unacknowledged += !await_ack(epoch - 1, loose, 1000);
    uint64_t until = kedge_now_ns() + 15000000;
    while (kedge_now_ns() < until)
      allowed += take(in, 5, &s, &class);
    uint64_t decided = word_store(epoch++, tight);
    unacknowledged += !await_ack(epoch - 1, tight, 1000);
    struct kedge_ack_view ack = {0};
    kedge_ack_read(&worker()->ack, &ack);
    if (ack.finished_at_ns - decided > worst)
      worst = ack.finished_at_ns - decided;
    until = kedge_now_ns() + 15000000;
    while (kedge_now_ns() < until)
      if (take(in, 5, &s, &class)) {
        if (s.sent_ns > ack.finished_at_ns)
          late++;
        else
          allowed++;
      }
  }
  atomic_store(&flood.stop, 1);
  pthread_join(sender, NULL);
  close(flood.out);
  close(in);
  printf("{\"sent\":%llu,\"received\":%llu,\"late\":%llu,\"unacknowledged\":%llu,\"worstUs\":%llu,\"epoch\":%llu}\n",
         (unsigned long long)atomic_load(&flood.sent), allowed, late, unacknowledged, worst / 1000, epoch);
}

/* ------------------------------------------------------------------- load */

static struct {
  pthread_t thread;
  KEDGE_ATOMIC(int) stop;
  KEDGE_ATOMIC(uint64_t) done;
  bool runs;
  int fd;
  size_t length;
  uint8_t frame[10 + 65536];
  KEDGE_ATOMIC(uint32_t) *bell;
} load = {.fd = -1};

static void *load_run(void *context)
{
  (void)context;
  while (!atomic_load(&load.stop)) {
    if (load.bell != NULL)
      kedge_bell_ring(load.bell);
    else if (write(load.fd, load.frame, load.length) != (ssize_t)load.length) {
      pause_us(20);
      continue;
    }
    atomic_fetch_add(&load.done, 1);
  }
  return NULL;
}

static void load_start(void)
{
  atomic_store(&load.stop, 0);
  atomic_store(&load.done, 0);
  load.runs = pthread_create(&load.thread, NULL, load_run, NULL) == 0;
  printf("{\"runs\":%d}\n", load.runs);
}

/* flood FROM BYTES: TCP frames of that size (segmentation offload above 1,514) to a station nobody knows,
 * as fast as it goes, until `calm` */
static void command_flood(char *args)
{
  char from[32];
  unsigned bytes;
  int on = 1;
  if (sscanf(args, "%31s %u", from, &bytes) != 2 || zone_of(from) < 0 || bytes < 60 || bytes > 65536 - 512 || load.runs) {
    printf("{\"error\":\"flood FROM BYTES\"}\n");
    return;
  }
  load.fd = socket_in(zone_of(from), AF_PACKET, SOCK_RAW, 0);
  setns(zone_netns[zone_of(from)], CLONE_NEWNET);
  struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex("eth0")};
  bind(load.fd, (void *)&a, sizeof(a));
  setns(own_netns, CLONE_NEWNET);
  setsockopt(load.fd, SOL_PACKET, 15 /* PACKET_VNET_HDR */, &on, sizeof(on));
  memset(load.frame, 0, sizeof(load.frame));
  static const uint8_t large[10] = {1, 1, 54, 0, 1448 & 255, 1448 >> 8, 34, 0, 16, 0};
  if (bytes > 1514)
    memcpy(load.frame, large, sizeof(large));
  uint8_t *p = load.frame + 10;
  uint8_t ethernet[14] = {2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, (uint8_t)((zone_of(from) + 1) << 4), 8, 0};
  memcpy(p, ethernet, sizeof(ethernet));
  unsigned total = bytes - 14;
  uint8_t ip[20] = {0x45, 0, (uint8_t)(total >> 8), (uint8_t)total, 0, 0, 0, 0, 64, 6, 0, 0, 10, 77, 0, (uint8_t)(10 * (zone_of(from) + 1)), 10, 77, 0, 99};
  memcpy(p + 14, ip, sizeof(ip));
  p[34] = 9, p[36] = 1, p[37] = 0xbb; /* to port 443 */
  p[46] = 0x50;
  load.bell = NULL;
  load.length = 10 + bytes;
  load_start();
}

/* storm posture|warden|tables: rings that segment's bell without pause, until `calm` */
static void command_storm(const char *name)
{
  struct kedge_segment *s = segment_of(name);
  if (s == NULL || s->base == NULL || load.runs) {
    printf("{\"error\":\"storm posture|warden|tables\"}\n");
    return;
  }
  load.bell = &((struct kedge_posture_segment *)s->base)->beat.bell; /* stands alike in all kinds */
  load_start();
}

static void command_calm(void)
{
  atomic_store(&load.stop, 1);
  if (load.runs)
    pthread_join(load.thread, NULL);
  load.runs = false;
  if (load.fd >= 0)
    close(load.fd);
  load.fd = -1;
  printf("{\"done\":%llu}\n", (unsigned long long)atomic_load(&load.done));
}

static int by_size(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

/* churn COUNT EPOCH [PAUSE_US]: so many words one after the other, each acknowledged, between 5 and 4, ending at 5 */
static void command_churn(char *args)
{
  static uint64_t took[100000];
  unsigned long long count = 0, epoch = 0, acknowledged = 0;
  long pause = 0;
  sscanf(args, "%llu %llu %ld", &count, &epoch, &pause);
  for (unsigned long long i = 0; i < count && i < 100000; i++, epoch++) {
    unsigned level = (count - i) % 2 == 1 ? 5 : 4;
    if (pause != 0)
      pause_us(pause);
    uint64_t decided = word_store(epoch, level);
    if (!await_ack(epoch, level, 1000))
      continue;
    struct kedge_ack_view ack = {0};
    kedge_ack_read(&worker()->ack, &ack);
    took[acknowledged++] = ack.finished_at_ns - decided;
  }
  qsort(took, acknowledged, sizeof(took[0]), by_size);
  printf("{\"acknowledged\":%llu,\"epoch\":%llu,\"p50Ns\":%llu,\"p99Ns\":%llu,\"maxNs\":%llu}\n", acknowledged, epoch,
         (unsigned long long)took[acknowledged / 2], (unsigned long long)took[acknowledged * 99 / 100],
         (unsigned long long)took[acknowledged == 0 ? 0 : acknowledged - 1]);
}

/* stream FROM TO PORT BYTES: one TCP connection, with whatever segmentation offload the kernel uses */
static void command_stream(char *args)
{
  char from[32], to[32];
  int port, on = 1;
  long bytes, received = 0;
  if (sscanf(args, "%31s %31s %d %ld", from, to, &port, &bytes) != 4)
    return;
  struct sockaddr_storage address;
  socklen_t length = address_of(&address, zone_of(to), 4, port);
  int listener = socket_in(zone_of(to), AF_INET, SOCK_STREAM, 0), out = socket_in(zone_of(from), AF_INET, SOCK_STREAM, 0);
  struct timeval limit = {3, 0};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(out, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (bind(listener, (void *)&address, length) != 0 || listen(listener, 1) != 0 || connect(out, (void *)&address, length) != 0) {
    fail("stream");
    return;
  }
  int in = accept(listener, NULL, NULL);
  setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  static char buffer[1 << 16];
  pid_t child = fork();
  if (child == 0) {
    for (long left = bytes; left > 0;) {
      ssize_t n = send(out, buffer, left < (long)sizeof(buffer) ? (size_t)left : sizeof(buffer), MSG_NOSIGNAL);
      if (n <= 0)
        _exit(1);
      left -= n;
    }
    _exit(0);
  }
  close(out);
  for (ssize_t n; received < bytes && (n = recv(in, buffer, sizeof(buffer), 0)) > 0;)
    received += n;
  /* Reset: a connection that ends in peace would speak again when later tests count. */
  struct linger reset = {1, 0};
  setsockopt(in, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  close(in);
  close(listener);
  waitpid(child, NULL, 0);
  printf("{\"received\":%ld}\n", received);
}

int main(void)
{
  static char line[65536];
  signal(SIGPIPE, SIG_IGN);
  if (network_make() != 0) {
    fail("network");
    return 1;
  }
  pthread_t beater;
  pthread_create(&beater, NULL, beat, NULL);
  printf("{\"ready\":true}\n");
  fflush(stdout);
  while (fgets(line, sizeof(line), stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    char *args = strchr(line, ' ');
    if (args != NULL)
      *args++ = '\0';
    else
      args = line + strlen(line);
    unsigned long long epoch = 0;
    unsigned level = 0;
    int ms = 0;
    if (strcmp(line, "create") == 0)
      command_create(args);
    else if (strcmp(line, "word") == 0 && sscanf(args, "%llu %u", &epoch, &level) == 2)
      printf("{\"decidedNs\":%llu}\n", (unsigned long long)word_store(epoch, level));
    else if (strcmp(line, "line") == 0 && sscanf(args, "%llu %u", &epoch, &level) == 2) {
      struct kedge_warden_segment *w = warden.base;
      atomic_store(&w->fail_closed[KEDGE_PATH_DATAPLANE].word, level == 0 ? 0 : kedge_word_of(epoch, 0, level));
      kedge_bell_ring(&w->beat.bell);
      printf("{\"word\":%llu}\n", level == 0 ? 0ULL : (unsigned long long)kedge_word_of(epoch, 0, level));
    } else if (strcmp(line, "await") == 0 && sscanf(args, "%llu %u %d", &epoch, &level, &ms) == 3) {
      if (await_ack(epoch, level, ms))
        print_state();
      else
        printf("{\"timeout\":true}\n");
    } else if (strcmp(line, "beat") == 0) {
      int on = strstr(args, "off") == NULL;
      if (strstr(args, "posture") != NULL)
        atomic_store(&beating[0], on);
      if (strstr(args, "warden") != NULL)
        atomic_store(&beating[1], on);
      printf("{\"on\":%d}\n", on);
    } else if (strcmp(line, "sleep") == 0) {
      pause_us(strtol(args, NULL, 10) * 1000);
      printf("{}\n");
    } else if (strcmp(line, "sh") == 0)
      printf("{\"status\":%d}\n", run("%s", args));
    else if (strcmp(line, "state") == 0)
      print_state();
    else if (strcmp(line, "load") == 0)
      command_load(args);
    else if (strcmp(line, "poke") == 0 || strcmp(line, "truncate") == 0 || strcmp(line, "unlink") == 0 ||
             strcmp(line, "release") == 0 || strcmp(line, "chown") == 0)
      command_damage(line, args);
    else if (strcmp(line, "telemetry") == 0)
      command_telemetry(args);
    else if (strcmp(line, "counters") == 0)
      command_counters();
    else if (strcmp(line, "queues") == 0)
      command_queues();
    else if (strcmp(line, "listen") == 0)
      command_listen(args);
    else if (strcmp(line, "taken") == 0)
      command_taken(args);
    else if (strcmp(line, "offer") == 0)
      command_offer(args);
    else if (strcmp(line, "start") == 0)
      command_start(args);
    else if (strcmp(line, "end") == 0)
      command_end(args);
    else if (strcmp(line, "adopt") == 0) {
      forwarder = (pid_t)strtol(args, NULL, 10);
      printf("{}\n");
    } else if (strcmp(line, "log") == 0)
      command_log();
    else if (strcmp(line, "send") == 0)
      command_send(args);
    else if (strcmp(line, "raw") == 0)
      command_raw(args);
    else if (strcmp(line, "churn") == 0)
      command_churn(args);
    else if (strcmp(line, "stream") == 0)
      command_stream(args);
    else if (strcmp(line, "oracle") == 0)
      command_oracle(args);
    else if (strcmp(line, "flood") == 0)
      command_flood(args);
    else if (strcmp(line, "storm") == 0)
      command_storm(args);
    else if (strcmp(line, "calm") == 0)
      command_calm();
    else
      printf("{\"error\":\"unknown command\"}\n");
    fflush(stdout);
  }
  return 0;
}
