/**
 * kedge-cut MODE [NAMESPACE]: prohibits everything but the guard table, then withdraws every route of one mode.
 * It must not need a service, a file or a shell, nor touch a route or rule of another protocol number.
 *
 * The numbers are those of route-world.ts (ROUTE_PROTOCOL, GUARD_TABLE, RULE_PREFERENCES); a test compares what
 * both leave in a kernel. Run twice it changes nothing. Exit status: 0 when nothing of the mode is left and the
 * rules stand, 1 otherwise, 2 when it was called wrongly.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

enum { KEDGE_GUARD_TABLE = 10700, KEDGE_ROUNDS = 16, KEDGE_RECEIVE = 1 << 16, KEDGE_SEND = 1 << 14 };

struct kedge_mode {
  const char *name;
  uint8_t protocol;
  uint32_t guard;
  uint32_t prohibit;
};

static const struct kedge_mode kedge_modes[] = {
    {"overlay", 107, 100, 149},
    {"underlay", 108, 150, 199},
};

struct kedge_request {
  struct nlmsghdr head;
  union {
    struct rtmsg route;
    struct fib_rule_hdr rule;
  } body;
  char attributes[64];
};

static int kedge_complain(const char *what, int error) {
  fprintf(stderr, "kedge-cut: cannot %s: %s\n", what, strerror(error));
  return -1;
}

/** A netlink socket that gives up after two seconds of silence; -1 with a complaint. */
static int kedge_open(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return kedge_complain("open a netlink socket", errno);
  struct timeval patience = {.tv_sec = 2};
  int on = 1, room = 1 << 20;
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  // An older kernel filters nothing; what does not belong to us is passed over below either way.
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  return fd;
}

static void kedge_put32(struct kedge_request *request, uint16_t type, uint32_t value) {
  struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = RTA_LENGTH(sizeof value);
  memcpy(RTA_DATA(attribute), &value, sizeof value);
  request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

/** Waits for the acknowledgement of `sequence`; 0 or the errno that the kernel answered. */
static int kedge_answer(int fd, uint32_t sequence) {
  static _Alignas(struct nlmsghdr) char buffer[KEDGE_RECEIVE];
  for (;;) {
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    int left = (int)got;
    for (struct nlmsghdr *one = (struct nlmsghdr *)buffer; NLMSG_OK(one, (unsigned)left); one = NLMSG_NEXT(one, left)) {
      if (one->nlmsg_type != NLMSG_ERROR || one->nlmsg_seq != sequence) continue;
      return -((struct nlmsgerr *)NLMSG_DATA(one))->error;
    }
  }
}

/** Adds a rule; one that stands already is as good. */
static int kedge_rule(int fd, int family, const struct kedge_mode *mode, bool prohibit) {
  static uint32_t sequence = 1000;
  struct kedge_request request;
  memset(&request, 0, sizeof request);
  request.head.nlmsg_len = NLMSG_LENGTH(sizeof request.body.rule);
  request.head.nlmsg_type = RTM_NEWRULE;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  request.head.nlmsg_seq = ++sequence;
  request.body.rule.family = (uint8_t)family;
  request.body.rule.action = prohibit ? FR_ACT_PROHIBIT : FR_ACT_TO_TBL;
  kedge_put32(&request, FRA_PRIORITY, prohibit ? mode->prohibit : mode->guard);
  if (!prohibit) kedge_put32(&request, FRA_TABLE, KEDGE_GUARD_TABLE);
  struct rtattr *attribute = (struct rtattr *)((char *)&request + NLMSG_ALIGN(request.head.nlmsg_len));
  attribute->rta_type = FRA_PROTOCOL;
  attribute->rta_len = RTA_LENGTH(1);
  *(uint8_t *)RTA_DATA(attribute) = mode->protocol;
  request.head.nlmsg_len += RTA_SPACE(1);
  if (send(fd, &request, request.head.nlmsg_len, 0) < 0) return kedge_complain("send a rule", errno);
  int error = kedge_answer(fd, sequence);
  if (error == 0 || error == EEXIST) return 0;
  return kedge_complain(prohibit ? "add the prohibiting rule" : "add the rule of the guard table", error);
}

/** Sends what was collected; the kernel answers errors only, and what is left shows in the next round. */
static int kedge_flush(int fd, const char *buffer, size_t length) {
  if (length == 0) return 0;
  if (send(fd, buffer, length, 0) < 0) return kedge_complain("withdraw routes", errno);
  static _Alignas(struct nlmsghdr) char answers[KEDGE_RECEIVE];
  while (recv(fd, answers, sizeof answers, MSG_DONTWAIT) > 0) continue;
  return 0;
}

/**
 * Reads the routes of a family once and withdraws those of the mode.
 *
 * @return how many there were, -1 on failure.
 */
static long kedge_round(int family, uint8_t protocol) {
  static _Alignas(struct nlmsghdr) char buffer[KEDGE_RECEIVE];
  static _Alignas(struct nlmsghdr) char removals[KEDGE_SEND];
  size_t filled = 0;
  long found = 0;
  int result = -1;
  int reader = kedge_open();
  int writer = kedge_open();
  if (reader < 0 || writer < 0) goto out;
  struct kedge_request request;
  memset(&request, 0, sizeof request);
  request.head.nlmsg_len = NLMSG_LENGTH(sizeof request.body.route);
  request.head.nlmsg_type = RTM_GETROUTE;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.head.nlmsg_seq = 1;
  request.body.route.rtm_family = (uint8_t)family;
  request.body.route.rtm_protocol = protocol;
  if (send(reader, &request, request.head.nlmsg_len, 0) < 0) {
    (void)kedge_complain("ask for routes", errno);
    goto out;
  }
  for (bool more = true; more;) {
    ssize_t got = recv(reader, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      (void)kedge_complain("read routes", errno);
      goto out;
    }
    int left = (int)got;
    for (struct nlmsghdr *one = (struct nlmsghdr *)buffer; NLMSG_OK(one, (unsigned)left); one = NLMSG_NEXT(one, left)) {
      if (one->nlmsg_type == NLMSG_DONE) {
        more = false;
        break;
      }
      if (one->nlmsg_type == NLMSG_ERROR) {
        (void)kedge_complain("read routes", -((struct nlmsgerr *)NLMSG_DATA(one))->error);
        goto out;
      }
      const struct rtmsg *route = NLMSG_DATA(one);
      if (one->nlmsg_type != RTM_NEWROUTE || route->rtm_protocol != protocol || route->rtm_family != family) continue;
      if ((route->rtm_flags & RTM_F_CLONED) != 0 || one->nlmsg_len > sizeof removals) continue;
      size_t size = NLMSG_ALIGN(one->nlmsg_len);
      if (filled + size > sizeof removals) {
        if (kedge_flush(writer, removals, filled) != 0) goto out;
        filled = 0;
      }
      memcpy(removals + filled, one, one->nlmsg_len);
      struct nlmsghdr *removal = (struct nlmsghdr *)(removals + filled);
      removal->nlmsg_type = RTM_DELROUTE;
      removal->nlmsg_flags = NLM_F_REQUEST;
      removal->nlmsg_seq = 2;
      removal->nlmsg_pid = 0;
      filled += size;
      found++;
    }
  }
  if (kedge_flush(writer, removals, filled) == 0) result = 0;
out:
  if (reader >= 0) (void)close(reader);
  if (writer >= 0) (void)close(writer);
  return result == 0 ? found : -1;
}

/** Withdraws until a reading finds nothing: a dump that raced with a change may have missed something. */
static int kedge_withdraw(int family, uint8_t protocol) {
  for (int round = 0; round < KEDGE_ROUNDS; round++) {
    long found = kedge_round(family, protocol);
    if (found < 0) return -1;
    if (found == 0) return 0;
  }
  fprintf(stderr, "kedge-cut: routes of IPv%d keep coming back\n", family == AF_INET ? 4 : 6);
  return -1;
}

static int kedge_enter(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return kedge_complain("open the network namespace", errno);
  int failed = setns(fd, CLONE_NEWNET) != 0 ? kedge_complain("enter the network namespace", errno) : 0;
  (void)close(fd);
  return failed;
}

int main(int count, char **words) {
  const struct kedge_mode *mode = NULL;
  if (count == 2 || count == 3) {
    for (size_t i = 0; i < sizeof kedge_modes / sizeof *kedge_modes; i++) {
      if (strcmp(words[1], kedge_modes[i].name) == 0) mode = &kedge_modes[i];
    }
  }
  if (mode == NULL || (count == 3 && words[2][0] != '/')) {
    fprintf(stderr, "usage: kedge-cut overlay|underlay [/run/netns/NAME]\n");
    return 2;
  }
  if (count == 3 && kedge_enter(words[2]) != 0) return 1;
  int failed = 0;
  int fd = kedge_open();
  if (fd < 0) return 1;
  // Each of these is tried whatever became of the others: half a cut is better than none.
  for (int i = 0; i < 2; i++) {
    int family = i == 0 ? AF_INET : AF_INET6;
    if (kedge_rule(fd, family, mode, false) != 0) failed = 1;
    if (kedge_rule(fd, family, mode, true) != 0) failed = 1;
  }
  (void)close(fd);
  if (kedge_withdraw(AF_INET, mode->protocol) != 0) failed = 1;
  if (kedge_withdraw(AF_INET6, mode->protocol) != 0) failed = 1;
  return failed;
}
