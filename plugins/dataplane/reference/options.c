/*
 * The implementation of options.h, and the forwarder's manual.
 *
 * It must touch nothing but its arguments.
 */
#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_LEAST 64000ul
#define RATE_MOST 400000000000ul

static const char MANUAL[] =
    "NAME\n"
    "    kedge-forwarder - switch Ethernet frames between zones as the posture allows\n"
    "\n"
    "SYNOPSIS\n"
    "    kedge-forwarder --board DIR --name NAME\n"
    "        --owner posture=UID --owner warden=UID --owner tables=UID\n"
    "        --port IFNAME=ZONE[,rate=BITS] --port IFNAME=ZONE ...\n"
    "        [--cpu N] [--fifo PRIORITY | --poll] [--safe-level LEVEL] [--silence TIME]\n"
    "        [--flows N] [--allow-kernel-forwarding]\n"
    "\n"
    "DESCRIPTION\n"
    "    The reference data plane. Every frame that comes in by a port is judged, for each port that it\n"
    "    would leave by, by the zones of both ports and the tables of the level in force: it passes, passes\n"
    "    marked DSCP LE and after all others, or is dropped. MAC addresses are learnt per port; frames to\n"
    "    unknown, broadcast and multicast addresses go to every other port and are judged for each.\n"
    "\n"
    "    What is obeyed is read from the posture board before every batch of at most 16 frames: the posture\n"
    "    word, the warden's fail-closed line, the tables' generation. A segment that is missing or refused\n"
    "    means level 1 (posture, warden), or that only the management minimum passes (tables): from zone 1\n"
    "    TCP 22 and UDP 161, to zone 1 their answers, both ways echo, ARP and neighbour discovery.\n"
    "\n"
    "    Frames that cannot leave at once, because the port's rate or the kernel does not let them, wait in two\n"
    "    queues per port: deprioritised ones leave when no other waits. A port holds at most 256 frames (2 MiB),\n"
    "    all ports together 384 (4 MiB). Where there is no room, an ordinary frame pushes out the youngest\n"
    "    deprioritised one, and a deprioritised one is lost; so is what the kernel does not take within a second.\n"
    "\n"
    "    A change is acknowledged in the own segment, dataplane-NAME, when no frame judged before it is left:\n"
    "    what waits is judged again first, and taken out, marked or left. At start before the first frame.\n"
    "    Killed, nothing is forwarded any more.\n"
    "\n"
    "OPTIONS\n"
    "    --board DIR        directory of the posture board\n"
    "    --name NAME        the own segment is dataplane-NAME; one process per name\n"
    "    --owner FILE=UID   user who must own the board's file posture, warden or tables; all three\n"
    "    --port IFNAME=ZONE[,rate=BITS]\n"
    "                       an interface and its zone, 1 to 15; two to 64 of them. With a rate, such as 20M,\n"
    "                       no more leaves by it: bits per second from 64k to 400G (k, M, G are powers of\n"
    "                       1,000), each frame counted as on the wire, with 24 bytes beside its own\n"
    "    --cpu N            run worker and waiter on this processor only\n"
    "    --fifo PRIORITY    real-time priority 1 to 99 of the waiter, one more for the worker\n"
    "    --poll             never sleep: sees a change within microseconds and takes a whole processor;\n"
    "                       not with --fifo, because the kernel throttles a real-time thread that spins\n"
    "    --safe-level LEVEL level 1 to 5 not exceeded while coordinator and warden are both silent (2)\n"
    "    --silence TIME     for how long both must be silent, such as 500ms or 10s (10s)\n"
    "    --flows N          conversations remembered, a power of two from 64 to 1048576 (16384), 392 bytes each;\n"
    "                       0: no flow records, nothing is recognised\n"
    "    --allow-kernel-forwarding\n"
    "                       start although the kernel of this network namespace forwards, or a port has an\n"
    "                       address or belongs to a bridge: packets may then go round the rules\n"
    "    --help             this text\n"
    "\n"
    "PRIVILEGES\n"
    "    CAP_NET_RAW for the ports. CAP_SYS_NICE for --fifo and CAP_IPC_LOCK for locked memory: without\n"
    "    them it works with a wider tail, and says so at start.\n"
    "\n"
    "SIGNALS\n"
    "    SIGTERM, SIGINT    stop forwarding, show the worker as gone, leave\n"
    "\n"
    "EXIT STATUS\n"
    "    0  ended by a signal        1  the system failed        2  usage\n"
    "    3  refused: own segment not to be had, kernel forwarding, a port with an address or in a bridge\n";

static bool complain(int *status, const char *format, ...)
{
  va_list list;
  va_start(list, format);
  fputs("kedge-forwarder: ", stderr);
  vfprintf(stderr, format, list);
  fputs("; see --help\n", stderr);
  va_end(list);
  *status = KEDGE_EXIT_USAGE;
  return false;
}

static bool number(const char *text, unsigned long least, unsigned long most, unsigned long *value)
{
  char *end;
  if (text[0] < '0' || text[0] > '9')
    return false;
  errno = 0;
  *value = strtoul(text, &end, 10);
  return errno == 0 && *end == '\0' && *value >= least && *value <= most;
}

/* "10s", "500ms". */
static bool duration(const char *text, uint64_t *ns)
{
  size_t digits = strspn(text, "0123456789");
  char copy[16];
  unsigned long value;
  if (digits == 0 || digits >= sizeof(copy))
    return false;
  memcpy(copy, text, digits);
  copy[digits] = '\0';
  uint64_t unit = strcmp(text + digits, "s") == 0    ? UINT64_C(1000000000)
                  : strcmp(text + digits, "ms") == 0 ? UINT64_C(1000000)
                                                     : 0;
  if (unit == 0 || !number(copy, 1, 86400000, &value))
    return false;
  *ns = value * unit;
  return true;
}

/* "64000", "128k", "20M", "10G". */
static bool bits_per_second(const char *text, uint64_t *rate)
{
  size_t digits = strspn(text, "0123456789");
  char copy[16];
  unsigned long value;
  if (digits == 0 || digits >= sizeof(copy))
    return false;
  memcpy(copy, text, digits);
  copy[digits] = '\0';
  uint64_t unit = strcmp(text + digits, "") == 0    ? 1
                  : strcmp(text + digits, "k") == 0 ? UINT64_C(1000)
                  : strcmp(text + digits, "M") == 0 ? UINT64_C(1000000)
                  : strcmp(text + digits, "G") == 0 ? UINT64_C(1000000000)
                                                    : 0;
  if (unit == 0 || !number(copy, 1, RATE_MOST, &value) || value > RATE_MOST / unit || value * unit < RATE_LEAST)
    return false;
  *rate = value * unit;
  return true;
}

/* Splits "name=value" at the last '='. */
static char *split(char *text)
{
  char *at = strrchr(text, '=');
  if (at == NULL || at == text)
    return NULL;
  *at = '\0';
  return at + 1;
}

bool kedge_options_read(struct kedge_forwarder_options *o, int argc, char **argv, int *status)
{
  static const char *const SOURCE[KEDGE_SOURCES] = {"posture", "warden", "tables"};
  enum { BOARD = 256, NAME, OWNER, PORT, CPU, FIFO, POLL, SAFE_LEVEL, SILENCE, FLOWS, ALLOW, HELP };
  static const struct option LONG[] = {
      {"board", required_argument, NULL, BOARD},   {"name", required_argument, NULL, NAME},
      {"owner", required_argument, NULL, OWNER},   {"port", required_argument, NULL, PORT},
      {"cpu", required_argument, NULL, CPU},       {"fifo", required_argument, NULL, FIFO},
      {"poll", no_argument, NULL, POLL},           {"safe-level", required_argument, NULL, SAFE_LEVEL},
      {"silence", required_argument, NULL, SILENCE}, {"flows", required_argument, NULL, FLOWS},
      {"allow-kernel-forwarding", no_argument, NULL, ALLOW},
      {"help", no_argument, NULL, HELP},           {NULL, 0, NULL, 0}};
  bool owned[KEDGE_SOURCES] = {false};
  memset(o, 0, sizeof(*o));
  o->cpu = -1;
  o->governor.workers = 1;
  o->governor.safe_level = KEDGE_DEFAULT_SAFE_LEVEL;
  o->governor.silence_ns = KEDGE_DEFAULT_SILENCE_NS;
  o->governor.flows = KEDGE_FLOWS_DEFAULT;
  opterr = 0;
  int option;
  while ((option = getopt_long(argc, argv, "+:", LONG, NULL)) != -1) {
    unsigned long value = 0;
    char *right;
    switch (option) {
    case BOARD: o->governor.board = optarg; break;
    case NAME: o->governor.name = optarg; break;
    case OWNER: {
      unsigned source = 0;
      right = split(optarg);
      while (source < KEDGE_SOURCES && right != NULL && strcmp(optarg, SOURCE[source]) != 0)
        source++;
      if (right == NULL || source == KEDGE_SOURCES || !number(right, 0, UINT32_MAX - 1, &value))
        return complain(status, "--owner expects posture=UID, warden=UID or tables=UID");
      o->governor.owner[source] = (uid_t)value;
      owned[source] = true;
      break;
    }
    case PORT: {
      uint64_t rate = 0;
      char *more = strrchr(optarg, ',');
      if (more != NULL) {
        *more = '\0';
        if (strncmp(more + 1, "rate=", 5) != 0 || !bits_per_second(more + 6, &rate))
          return complain(status, "--port expects behind the comma a rate from 64k to 400G, such as rate=20M");
      }
      right = split(optarg);
      if (right == NULL || strlen(optarg) >= IFNAMSIZ || !number(right, 1, KEDGE_MAX_ZONES - 1, &value))
        return complain(status, "--port expects an interface and a zone from 1 to 15, such as eth1=2");
      if (o->ports == KEDGE_MAX_PORTS)
        return complain(status, "more than %u ports", KEDGE_MAX_PORTS);
      for (unsigned i = 0; i < o->ports; i++)
        if (strcmp(o->port[i].name, optarg) == 0)
          return complain(status, "port %s is given twice", optarg);
      struct kedge_port *port = &o->port[o->ports++];
      memcpy(port->name, optarg, strlen(optarg) + 1);
      port->zone = (unsigned)value;
      port->rate = rate;
      port->fd = -1;
      break;
    }
    case CPU:
      if (!number(optarg, 0, 1023, &value))
        return complain(status, "--cpu expects a processor's number");
      o->cpu = (int)value;
      break;
    case FIFO:
      if (!number(optarg, 1, 99, &value))
        return complain(status, "--fifo expects a priority from 1 to 99");
      o->fifo = (int)value;
      break;
    case POLL: o->poll = true; break;
    case SAFE_LEVEL:
      if (!number(optarg, KEDGE_LEVEL_LOCKDOWN, KEDGE_LEVEL_NORMAL, &value))
        return complain(status, "--safe-level expects a level from 1 to 5");
      o->governor.safe_level = (unsigned)value;
      break;
    case SILENCE:
      if (!duration(optarg, &o->governor.silence_ns))
        return complain(status, "--silence expects a time such as 500ms or 10s");
      break;
    case FLOWS:
      if (!number(optarg, 0, KEDGE_FLOWS_MOST, &value) || (value != 0 && kedge_flows_bytes((unsigned)value) == 0))
        return complain(status, "--flows expects 0, or a power of two from %u to %u", KEDGE_FLOWS_LEAST,
                        KEDGE_FLOWS_MOST);
      o->governor.flows = (unsigned)value;
      break;
    case ALLOW: o->allow_kernel_forwarding = true; break;
    case HELP:
      fputs(MANUAL, stdout);
      *status = 0;
      return false;
    case ':': return complain(status, "%s expects a value", argv[optind - 1]);
    default: return complain(status, "unknown option %s", argv[optind - 1]);
    }
  }
  if (optind < argc)
    return complain(status, "unexpected argument %s", argv[optind]);
  if (o->governor.board == NULL || o->governor.name == NULL)
    return complain(status, "--board and --name are needed");
  for (unsigned source = 0; source < KEDGE_SOURCES; source++)
    if (!owned[source])
      return complain(status, "--owner %s=UID is needed", SOURCE[source]);
  if (o->ports < 2)
    return complain(status, "at least two ports are needed");
  if (o->poll && o->fifo != 0)
    return complain(status, "--poll and --fifo exclude each other: a real-time thread that spins is throttled");
  return true;
}
