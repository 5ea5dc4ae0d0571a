/*
 * kedge-warden: arguments, own segment, and the order in which the parts are started.
 *
 * It must decide nothing that watch or supervise decide.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "act.h"
#include "init.h"
#include "log.h"
#include "supervise.h"
#include "watch.h"

static const char help[] =
  "NAME\n"
  "    kedge-warden - holds every posture deadline and heartbeat, and acts alone when one passes\n"
  "\n"
  "SYNOPSIS\n"
  "    kedge-warden --config FILE [--init [--with-parent]]\n"
  "    kedge-warden --check-config FILE\n"
  "    kedge-warden --help | --version\n"
  "\n"
  "DESCRIPTION\n"
  "    Watches the posture board. At the deadline of a path it carries out the path's fail-closed action\n"
  "    itself: for the data plane it sets the fail-closed line, and kills a data plane that stays silent;\n"
  "    for overlay and underlay it sets their lines and runs their fixed commands. A service whose heartbeat\n"
  "    is stale is killed and started again. What it did stands in the segment `warden` and on standard error.\n"
  "\n"
  "OPTIONS\n"
  "    --config FILE        the configuration: a regular file of root that nobody else may write\n"
  "    --init               run everything in private process, mount, network, uts and ipc namespaces, with\n"
  "                         private /proc and /run, as their first process. If the starter or that process\n"
  "                         dies, by whatever, nothing of the tree is left\n"
  "    --with-parent        die when the process that started this one dies\n"
  "    --check-config FILE  say whether the configuration is good, do nothing else\n"
  "    --help, --version    say so and end\n"
  "\n"
  "OUTPUT\n"
  "    One line on standard output once the oneshots are done and the services are started:\n"
  "        {\"ready\":true,\"pid\":N,\"startTime\":N}\n"
  "    N as the caller sees the process (with --init: process 1 of the tree); startTime as in /proc/N/stat.\n"
  "\n"
  "CONFIGURATION\n"
  "    Lines `key = value`; `#` at the start of a line or after a blank begins a comment. Words are split at\n"
  "    blanks; \"double quotes\" keep blanks, \\\" and \\\\ stand for themselves in them; there is no shell.\n"
  "    Durations: 1us to 60min, as in 500us, 1ms, 5s, 2min. Every key once; unknown keys are refused.\n"
  "\n"
  "    board = DIRECTORY                the board (required; with --init it is made)\n"
  "    budget.dataplane = DURATION      budgets of the three paths (required); a deadline wished in the\n"
  "    budget.overlay = DURATION        transition line may only shorten them\n"
  "    budget.underlay = DURATION\n"
  "    silence-kill = DURATION          after its deadline, until a silent data plane is killed (required)\n"
  "    beat.stale = DURATION            a heartbeat older than this is stale (required)\n"
  "    cpu-latency = DURATION           ask the kernel to keep processors out of idle states that take longer to\n"
  "                                     leave, 0us to 1s, for as long as the warden lives. 0us: an idle processor\n"
  "                                     polls, which costs power. Default: nothing is asked\n"
  "    dataplanes = SEGMENT ...         data planes whose workers have to acknowledge\n"
  "    owner.SEGMENT = UID              who has to own a segment; owner.posture is required\n"
  "    participants.overlay = SEGMENT ...   and participants.underlay: who takes part in the path\n"
  "    fail-closed.overlay = PROGRAM ARG ... and fail-closed.underlay: the fixed command, required beside\n"
  "                                     participants; gets KEDGE_PATH, KEDGE_LEVEL and KEDGE_EPOCH\n"
  "\n"
  "    [oneshot NAME]   run to its end before anything else, in the order of the file\n"
  "    [service NAME]   started then, in the order of the file; started again whenever it ends\n"
  "        exec = PROGRAM ARG ...       absolute path (required)\n"
  "        environment = NAME=VALUE ... the whole environment (default: a PATH)\n"
  "        uid = N, gid = N             default 0; gid is required beside a uid other than 0\n"
  "        group = N                    one more group, for what only this program may reach (default: none)\n"
  "        capabilities = CAP_X ...     or `none`; made ambient, everything else is taken away. Default: none\n"
  "                                     for a uid other than 0, the warden's own for root\n"
  "        netns = NAME                 /run/netns/NAME is entered first\n"
  "        output = FILE                default: standard error of the warden\n"
  "      of services alone:\n"
  "        segment = SEGMENT            whose heartbeat is watched\n"
  "        beat.stale = DURATION        default: the one above\n"
  "        start-grace = DURATION       no verdict this long after a start, while it has not served yet (default\n"
  "                                     10s)\n"
  "        restart.min, restart.max = DURATION   back-off, doubled each time, new after 10 s of life\n"
  "                                     (default 20ms, 2s)\n"
  "    [watch NAME]     a service that somebody else starts again: its segment's writer is killed when stale\n"
  "        segment = SEGMENT            required, with owner.SEGMENT; beat.stale and start-grace as above\n"
  "\n"
  "SIGNALS\n"
  "    SIGTERM, SIGINT, SIGHUP   stop the services in reverse order (SIGTERM, 2 s, SIGKILL) and end with 0\n"
  "\n"
  "EXIT STATUS\n"
  "    0  stopped as asked, or the configuration is good\n"
  "    1  a oneshot or the first start of a service failed, or something unexpected\n"
  "    2  wrong usage, or the configuration has an error (one line: FILE:LINE: KEY: what was expected)\n"
  "    3  the configuration file, the board directory or the own segment is refused\n"
  "    4  the configuration cannot be read, or what --init needs is missing\n"
  "    128+N  with --init: process 1 of the tree was ended by signal N\n";

static int usage(const char *what)
{
  fprintf(stderr, "kedge-warden: %s; see kedge-warden --help\n", what);
  return 2;
}

/* As if freshly started: no ignored signals to pass on, no foreign descriptors to lose in a service. */
static int settle_process(void)
{
  sigset_t set;
  for (int n = 1; n < 32; n++)
    if (n != SIGKILL && n != SIGSTOP)
      signal(n, SIG_DFL);
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGPIPE);
  if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
    return -1;
  for (int fd = 0; fd < 3; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
      return -1;
  umask(022);
  return (int)syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
}

struct ready {
  const struct init *init; /* NULL: tell it here */
};

static void on_ready(void *argument)
{
  const struct ready *ready = argument;
  if (ready->init == NULL)
    init_tell_ready(getpid());
  else if (write(ready->init->ready, "1", 1) != 1)
    log_line("cannot tell the starter that everything is ready: %s", strerror(errno));
}

/*
 * A request to the kernel's power management (PM QoS), in force until this process ends, by whatever. Without it the
 * board works as before, only later: that is said, and nothing more.
 */
static void ask_cpu_latency(uint64_t latency_ns)
{
  if (latency_ns == UINT64_MAX)
    return;
  int32_t us = (int32_t)(latency_ns / 1000);
  int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, &us, sizeof(us)) != (ssize_t)sizeof(us))
    log_line("cpu-latency is not kept: /dev/cpu_dma_latency: %s", strerror(errno));
}

static int run(struct kedge_config *config, const struct init *init)
{
  static struct warden w;
  struct ready ready = {.init = init};
  pthread_t thread;
  ask_cpu_latency(config->cpu_latency_ns);
  w.config = config;
  w.own.fd = w.own.directory = -1;
  int why = init == NULL ? 0 : init_board(config->board);
  if (why != 0) {
    log_line("cannot make the board %s: %s", config->board, strerror(why));
    return 1;
  }
  enum kedge_refusal replaced, refusal = kedge_segment_create(&w.own, config->board, KEDGE_FILE_WARDEN, KEDGE_SEGMENT_WARDEN, &replaced);
  if (refusal != KEDGE_REFUSAL_NONE) {
    log_line("cannot take the own segment in %s: %s%s%s", config->board, kedge_refusal_text(refusal),
             refusal == KEDGE_REFUSAL_SYSTEM ? ": " : "", refusal == KEDGE_REFUSAL_SYSTEM ? strerror(errno) : "");
    return 3;
  }
  if (replaced != KEDGE_REFUSAL_NONE)
    log_line("the own segment was replaced: %s", kedge_refusal_text(replaced));
  w.news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  why = w.news < 0 ? errno : board_init(&w.board, config);
  for (size_t i = 0; i < config->services; i++) {
    w.service[i].pidfd = -1;
    w.service[i].slot = config->service[i].segment == NULL ? -1 : board_find(&w.board, config->service[i].segment);
  }
  if (why == 0) {
    board_refresh(&w.board);
    why = watch_start(&w, &thread);
  }
  if (why != 0) {
    log_line("cannot start the watch: %s", strerror(why));
    return 1;
  }
  int status = supervise(&w, on_ready, &ready, init == NULL ? -1 : init->lifeline);
  watch_stop(&w, thread);
  return status;
}

int main(int argc, char **argv)
{
  const char *file = NULL;
  bool as_init = false, with_parent = false, check = false;
  for (int i = 1; i < argc; i++) {
    const char *option = argv[i];
    if (strcmp(option, "--help") == 0)
      return fputs(help, stdout) < 0;
    if (strcmp(option, "--version") == 0)
      return printf("kedge-warden %s (layout %u)\n", WARDEN_VERSION, KEDGE_LAYOUT_VERSION) < 0;
    if (strcmp(option, "--init") == 0)
      as_init = true;
    else if (strcmp(option, "--with-parent") == 0)
      with_parent = true;
    else if (strcmp(option, "--config") != 0 && strcmp(option, "--check-config") != 0)
      return usage("unknown argument");
    else if (file != NULL)
      return usage("expected one configuration");
    else if (i + 1 == argc)
      return usage("expected a file after --config or --check-config");
    else {
      check = strcmp(option, "--check-config") == 0;
      file = argv[++i];
    }
  }
  if (file == NULL)
    return usage("expected --config FILE");
  if (check && (as_init || with_parent))
    return usage("--check-config stands alone");

  static struct kedge_config config;
  char error[1024];
  int status = kedge_config_load(&config, file, error, sizeof(error));
  if (status != 0) {
    fprintf(stderr, "kedge-warden: %s\n", error);
    return status;
  }
  if (check) {
    kedge_config_free(&config);
    return 0;
  }
  pid_t parent = getppid();
  if (settle_process() != 0) {
    fprintf(stderr, "kedge-warden: cannot prepare the process: %s\n", strerror(errno));
    return 1;
  }
  if (with_parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent))
    return 1;
  if (!as_init) {
    status = run(&config, NULL);
  } else {
    struct init init;
    if (!init_split(&init, &status))
      return status;
    status = init_furnish(&init);
    if (status == 0)
      status = run(&config, &init);
  }
  /* In a tree of namespaces the kernel takes what is left when its first process ends. */
  fflush(NULL);
  _exit(status);
}
