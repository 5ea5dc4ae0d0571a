/*
 * The same allowlist as nftables sets, and the same flows sent through the namespace that forwards by them.
 *
 *   forwarding rules ENTRIES SHAPES                  the ruleset for `nft -f` on stdout, one set per mask shape
 *   forwarding send ENTRIES SHAPES INTERFACE CPU     all flows once more each time a line comes in on stdin;
 *                                                    answers with picoseconds per packet
 *
 * Everything passes, counted at the end where no set names it, so that rules cost what looking up costs and no
 * more. It must leave out what the kernel could not tell here: zones and VLAN tags.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "flows.h"

#define BATCH 64u

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Says " . TEXT", without the dot the first time. */
static void join(bool *first, const char *text)
{
  printf("%s%s", *first ? "" : " . ", text);
  *first = false;
}

static void join_address(bool *first, unsigned family, const uint8_t *address, unsigned prefix)
{
  char text[INET6_ADDRSTRLEN + 4];
  if (prefix == 0)
    return;
  inet_ntop(family == KEDGE_FAMILY_IP6 ? AF_INET6 : AF_INET, address, text, INET6_ADDRSTRLEN);
  if (prefix < (family == KEDGE_FAMILY_IP6 ? 128 : 32))
    sprintf(text + strlen(text), "/%u", prefix);
  join(first, text);
}

static void print_set(const struct kedge_level_table *table, unsigned family, unsigned s)
{
  const struct kedge_shape *shape = &table->family[family].shape[s];
  const char *type = family == KEDGE_FAMILY_IP6 ? "ipv6_addr" : "ipv4_addr";
  unsigned width = family == KEDGE_FAMILY_IP6 ? 128 : 32;
  bool first = true;
  printf("  set f%us%u {\n    type ", family, s);
  if (shape->source_prefix != 0)
    join(&first, type);
  if (shape->destination_prefix != 0)
    join(&first, type);
  if (shape->match_protocol)
    join(&first, "inet_proto");
  if (shape->match_source_port)
    join(&first, "inet_service");
  if (shape->match_destination_port)
    join(&first, "inet_service");
  bool prefixes = shape->source_prefix % width != 0 || shape->destination_prefix % width != 0;
  printf("\n%s    elements = {\n", prefixes ? "    flags interval\n" : "");
  for (uint32_t i = 0; i < table->entries; i++) {
    const struct kedge_entry *e = &table->entry[i];
    char number[16];
    if (e->key.reserved != family || e->shape != s)
      continue;
    first = true;
    printf("      ");
    join_address(&first, family, e->key.source, shape->source_prefix);
    join_address(&first, family, e->key.destination, shape->destination_prefix);
    if (shape->match_protocol)
      join(&first, e->key.protocol == 6 ? "tcp" : "udp");
    if (shape->match_source_port) {
      sprintf(number, "%u", e->key.source_port);
      join(&first, number);
    }
    if (shape->match_destination_port) {
      sprintf(number, "%u", e->key.destination_port);
      join(&first, number);
    }
    printf(",\n");
  }
  printf("    }\n  }\n");
}

static void print_rule(const struct kedge_level_table *table, unsigned family, unsigned s)
{
  const struct kedge_shape *shape = &table->family[family].shape[s];
  const char *name = family == KEDGE_FAMILY_IP6 ? "ip6" : "ip";
  char text[16];
  bool first = true;
  printf("    ");
  sprintf(text, "%s saddr", name);
  if (shape->source_prefix != 0)
    join(&first, text);
  sprintf(text, "%s daddr", name);
  if (shape->destination_prefix != 0)
    join(&first, text);
  if (shape->match_protocol)
    join(&first, "meta l4proto");
  if (shape->match_source_port)
    join(&first, "th sport");
  if (shape->match_destination_port)
    join(&first, "th dport");
  printf(" @f%us%u accept\n", family, s);
}

static int print_rules(const struct allowlist *list)
{
  struct kedge_level_table *table = table_of(list);
  printf("table inet kedge_bench {\n");
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++)
    for (unsigned s = 0; s < table->family[f].shapes; s++)
      print_set(table, f, s);
  printf("  chain forward {\n    type filter hook forward priority 0; policy accept;\n");
  for (unsigned f = 0; f < KEDGE_FAMILIES; f++)
    for (unsigned s = 0; s < table->family[f].shapes; s++)
      print_rule(table, f, s);
  printf("    counter accept\n  }\n}\n");
  free(table);
  return 0;
}

static int send_flows(const struct allowlist *list, const char *name, int cpu)
{
  struct traffic traffic = traffic_of(list, false);
  static struct mmsghdr message[BATCH];
  static struct iovec part[BATCH];
  int one = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (fd < 0 || at.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
      setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) != 0 ||
      sched_setaffinity(0, sizeof(set), &set) != 0)
    return perror("forwarding"), 1;
  for (char line[16]; fgets(line, sizeof(line), stdin) != NULL;) {
    uint64_t begun = now_ns();
    for (uint32_t i = 0; i < FLOWS; i += BATCH) {
      for (uint32_t n = 0; n < BATCH; n++) {
        part[n] = (struct iovec){traffic.flow[i + n].frame, traffic.place[i + n].length};
        message[n].msg_hdr = (struct msghdr){.msg_iov = &part[n], .msg_iovlen = 1};
      }
      for (unsigned sent = 0; sent < BATCH;) {
        int more = sendmmsg(fd, message + sent, BATCH - sent, 0);
        if (more < 1)
          return perror("forwarding: send"), 1;
        sent += (unsigned)more;
      }
    }
    printf("%llu\n", (unsigned long long)((now_ns() - begun) * 1000 / FLOWS));
    fflush(stdout);
  }
  traffic_free(&traffic);
  return 0;
}

int main(int argc, char **argv)
{
  uint32_t entries = argc > 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
  uint32_t shapes = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
  if (entries < 1 || entries > KEDGE_MAX_ENTRIES || shapes < 1 || shapes > KEDGE_MAX_SHAPES) {
    fputs("usage: forwarding rules ENTRIES SHAPES | send ENTRIES SHAPES INTERFACE CPU\n", stderr);
    return 2;
  }
  struct allowlist list = allowlist_of(entries, shapes, false);
  int status = 2;
  if (strcmp(argv[1], "rules") == 0 && argc == 4)
    status = print_rules(&list);
  else if (strcmp(argv[1], "send") == 0 && argc == 6)
    status = send_flows(&list, argv[4], atoi(argv[5]));
  allowlist_free(&list);
  return status;
}
