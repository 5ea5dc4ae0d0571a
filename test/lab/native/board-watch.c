/*
 * kedge-board-watch: looks at a posture board from outside, through read-only mappings, and either
 * prints every change of it or stops processes at the instant at which a transition reaches a step.
 *
 * It must never write to the board and is part of no appliance: tests and drills run it beside one.
 *
 *   kedge-board-watch trace  --board DIR --dataplane NAME [--participant NAME ...] [--period US]
 *     one JSON object per line: first the present state, then each change, until SIGTERM or the end of its input
 *   kedge-board-watch strike --board DIR --dataplane NAME [--participant NAME ...] --after EPOCH --when STEP [--journal FILE]
 *                            --signal STOP|KILL --pid PID [--pid PID ...] [--timeout MS]
 *     prints {"armed":true}, waits until the step is seen of an epoch above EPOCH, signals, and says so.
 *     STEP: decided (the transition line names it), journaled (a decision stands in FILE), stored (the word carries it),
 *     acknowledged (every live worker has it), carried (every participant has it), verified (the line has reached VERIFY), complete, stage:N, now.
 *   Exit: 0 done, 2 usage, 4 no such board or process, 5 the step was not seen in time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <kedge/journal.h>
#include <kedge/segment.h>

#define MAX_PIDS 16u
#define MAX_PARTICIPANTS 4u
#define MILLISECOND UINT64_C(1000000)
#define LOOK_AGAIN_NS (50 * MILLISECOND)

static const char *board, *dataplane_name, *journal;
static struct kedge_segment posture, warden, dataplane;
static char dataplane_file[KEDGE_NAME_BYTES];
static struct kedge_segment participant[MAX_PARTICIPANTS];
static char participant_file[MAX_PARTICIPANTS][KEDGE_NAME_BYTES];
static unsigned participants;
static volatile sig_atomic_t ending;

__attribute__((format(printf, 2, 3), noreturn)) static void stop(int status, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  fputs("kedge-board-watch: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(status);
}

static void on_signal(int n)
{
  (void)n;
  ending = 1;
}

/* Opens what is not open and opens again what was replaced. */
static void look(struct kedge_segment *s, const char *name, enum kedge_segment_kind kind)
{
  if (s->base != NULL && kedge_segment_current(s))
    return;
  struct kedge_segment fresh = {0};
  if (kedge_segment_open(&fresh, board, name, kind, KEDGE_ANY_OWNER) != KEDGE_REFUSAL_NONE)
    return;
  if (s->base != NULL)
    kedge_segment_close(s);
  *s = fresh;
}

static void look_all(void)
{
  look(&posture, KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE);
  look(&warden, KEDGE_FILE_WARDEN, KEDGE_SEGMENT_WARDEN);
  look(&dataplane, dataplane_file, KEDGE_SEGMENT_DATAPLANE);
  for (unsigned i = 0; i < participants; i++)
    look(&participant[i], participant_file[i], KEDGE_SEGMENT_PARTICIPANT);
}

struct state {
  uint64_t word, stored_at, fail_closed[KEDGE_PATHS], fail_closed_at[KEDGE_PATHS], generation[KEDGE_MAX_WORKERS];
  struct kedge_transition_view line;
  struct kedge_ack_view ack[KEDGE_MAX_WORKERS], carried[MAX_PARTICIPANTS];
  uint32_t workers, live[KEDGE_MAX_WORKERS], pid, safe_level;
  uint64_t incarnation[3];
  uint64_t violations;
};

static uint64_t load64(const KEDGE_ATOMIC(uint64_t) *at)
{
  return atomic_load_explicit(at, memory_order_acquire);
}

static uint64_t incarnation_of(const struct kedge_segment *s)
{
  return s->base == NULL ? 0 : ((const struct kedge_segment_header *)s->base)->incarnation;
}

static void state_read(struct state *s)
{
  memset(s, 0, sizeof *s);
  const struct kedge_posture_segment *p = posture.base;
  if (p != NULL) {
    /* The line before the word: who sees a new word has seen a line that is at least as new. */
    if (!kedge_transition_read(&p->transition, &s->line))
      memset(&s->line, 0, sizeof s->line);
    s->word = load64(&p->word);
    s->stored_at = load64(&p->stored_at_ns);
  }
  const struct kedge_warden_segment *w = warden.base;
  if (w != NULL) {
    for (unsigned i = 0; i < KEDGE_PATHS; i++) {
      s->fail_closed[i] = load64(&w->fail_closed[i].word);
      s->fail_closed_at[i] = load64(&w->fail_closed[i].set_at_ns);
    }
    s->violations = load64(&w->violations);
  }
  const struct kedge_dataplane_segment *d = dataplane.base;
  if (d != NULL) {
    s->workers = atomic_load_explicit(&d->workers, memory_order_acquire);
    if (s->workers > KEDGE_MAX_WORKERS)
      s->workers = 0;
    s->pid = d->header.writer_pid;
    s->safe_level = atomic_load_explicit(&d->safe_level, memory_order_acquire);
    for (unsigned i = 0; i < s->workers; i++) {
      s->live[i] = atomic_load_explicit(&d->worker[i].live, memory_order_acquire);
      s->generation[i] = load64(&d->worker[i].generation);
      if (!kedge_ack_read(&d->worker[i].ack, &s->ack[i]))
        memset(&s->ack[i], 0, sizeof s->ack[i]);
    }
  }
  for (unsigned i = 0; i < participants; i++) {
    const struct kedge_participant_segment *file = participant[i].base;
    if (file != NULL && !kedge_ack_read(&file->ack, &s->carried[i]))
      memset(&s->carried[i], 0, sizeof s->carried[i]);
  }
  s->incarnation[0] = incarnation_of(&posture);
  s->incarnation[1] = incarnation_of(&warden);
  s->incarnation[2] = incarnation_of(&dataplane);
}

static void state_print(const struct state *s, uint64_t at)
{
  printf("{\"at\":\"%" PRIu64 "\",\"word\":{\"epoch\":\"%" PRIu64 "\",\"level\":%u,\"rawLevel\":%u,\"storedAt\":\"%" PRIu64 "\"}", at,
         kedge_word_epoch(s->word), kedge_word_level(s->word), kedge_word_raw_level(s->word), s->stored_at);
  printf(",\"line\":{\"epoch\":\"%" PRIu64 "\",\"from\":%u,\"to\":%u,\"stage\":%u,\"receivedAt\":\"%" PRIu64 "\",\"decidedAt\":\"%" PRIu64
         "\",\"stageAt\":\"%" PRIu64 "\"}",
         s->line.epoch, s->line.from, s->line.to, s->line.stage, s->line.received_at_ns, s->line.decided_at_ns, s->line.stage_at_ns);
  printf(",\"failClosed\":[");
  for (unsigned i = 0; i < KEDGE_PATHS; i++)
    printf("%s{\"epoch\":\"%" PRIu64 "\",\"level\":%u,\"setAt\":\"%" PRIu64 "\"}", i == 0 ? "" : ",", kedge_word_epoch(s->fail_closed[i]),
           s->fail_closed[i] == 0 ? 0 : kedge_word_level(s->fail_closed[i]), s->fail_closed_at[i]);
  printf("],\"violations\":\"%" PRIu64 "\",\"dataplane\":{\"pid\":%u,\"safeLevel\":%u,\"workers\":[", s->violations, s->pid, s->safe_level);
  for (unsigned i = 0; i < s->workers; i++)
    printf("%s{\"live\":%u,\"generation\":\"%" PRIu64 "\",\"epoch\":\"%" PRIu64 "\",\"level\":%u,\"startedAt\":\"%" PRIu64
           "\",\"finishedAt\":\"%" PRIu64 "\"}",
           i == 0 ? "" : ",", s->live[i], s->generation[i], s->ack[i].epoch, s->ack[i].level, s->ack[i].started_at_ns,
           s->ack[i].finished_at_ns);
  printf("]},\"participants\":[");
  for (unsigned i = 0; i < participants; i++)
    printf("%s{\"name\":\"%s\",\"epoch\":\"%" PRIu64 "\",\"level\":%u,\"outcome\":%u,\"changes\":%u,\"startedAt\":\"%" PRIu64
           "\",\"finishedAt\":\"%" PRIu64 "\"}",
           i == 0 ? "" : ",", participant_file[i] + sizeof KEDGE_FILE_PARTICIPANT_PREFIX - 1, s->carried[i].epoch, s->carried[i].level,
           s->carried[i].outcome, s->carried[i].changes, s->carried[i].started_at_ns, s->carried[i].finished_at_ns);
  printf("],\"incarnations\":{\"posture\":\"%" PRIu64 "\",\"warden\":\"%" PRIu64 "\",\"dataplane\":\"%" PRIu64 "\"}}\n", s->incarnation[0],
         s->incarnation[1], s->incarnation[2]);
  fflush(stdout);
}

/* Sleeps until a bell of the board rings, or a while has passed. */
static void rest(uint64_t at_most_ns)
{
  const KEDGE_ATOMIC(uint32_t) *bells[3 + MAX_PARTICIPANTS];
  uint32_t seen[3 + MAX_PARTICIPANTS];
  unsigned count = 0;
  const struct kedge_segment *all[3 + MAX_PARTICIPANTS] = {&posture, &warden, &dataplane};
  for (unsigned i = 0; i < participants; i++)
    all[3 + i] = &participant[i];
  for (unsigned i = 0; i < 3 + participants; i++)
    if (all[i]->base != NULL) {
      /* Every kind of segment has its beat directly after the header. */
      const struct kedge_beat *beat = (const void *)((const char *)all[i]->base + sizeof(struct kedge_segment_header));
      bells[count] = &beat->bell;
      seen[count] = atomic_load_explicit(bells[count], memory_order_acquire);
      count++;
    }
  if (count == 0) {
    struct timespec t = {.tv_nsec = (long)at_most_ns};
    nanosleep(&t, NULL);
  } else {
    kedge_bells_wait(bells, seen, count, at_most_ns);
  }
}

static void trace(uint64_t period_ns)
{
  struct state last, now;
  look_all();
  if (posture.base == NULL)
    stop(4, "there is no posture segment in %s", board);
  state_read(&last);
  state_print(&last, kedge_now_ns());
  uint64_t looked = kedge_now_ns();
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  while (!ending) {
    rest(period_ns);
    uint64_t at = kedge_now_ns();
    if (at - looked > LOOK_AGAIN_NS) {
      look_all();
      looked = at;
      char byte;
      if (poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) == 0)
        return; /* whoever started us is gone */
    }
    state_read(&now);
    if (memcmp(&now, &last, sizeof now) != 0) {
      state_print(&now, at);
      last = now;
    }
  }
}

/* ------------------------------------------------------------------ strike */

static bool acknowledged(const struct state *s, uint64_t after)
{
  unsigned live = 0;
  for (unsigned i = 0; i < s->workers; i++)
    if (s->live[i] != 0) {
      live++;
      if (s->ack[i].epoch <= after)
        return false;
    }
  return live > 0;
}

/* True once every participant has wholly applied an epoch above `after`. */
static bool carried(const struct state *s, uint64_t after)
{
  for (unsigned i = 0; i < participants; i++)
    if (s->carried[i].epoch <= after)
      return false;
  return participants > 0;
}

/* The journal as it lies in the page cache: what was written is seen at once, flushed or not. */
struct journal {
  const struct kedge_journal_record *record;
  size_t records, next; /* everything before `next` was looked at */
};

static struct journal journal_open(void)
{
  struct journal j = {0};
  struct stat st;
  int fd = open(journal, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < (off_t)KEDGE_JOURNAL_RECORD_BYTES)
    stop(4, "cannot look at %s: %s", journal, strerror(errno));
  void *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    stop(4, "cannot map %s: %s", journal, strerror(errno));
  close(fd);
  j.record = base;
  j.records = (size_t)st.st_size / KEDGE_JOURNAL_RECORD_BYTES;
  return j;
}

/* True once a decision with an epoch above `after` has been appended. */
static bool journal_has(struct journal *j, uint64_t after)
{
  while (j->next < j->records) {
    const volatile struct kedge_journal_record *r = &j->record[j->next];
    if (r->checksum == 0 && r->magic == 0)
      return false;
    if (r->magic != KEDGE_JOURNAL_MAGIC || r->checksum == 0)
      return false; /* being written: look again */
    if (r->kind == KEDGE_JOURNAL_DECISION && r->epoch > after)
      return true;
    j->next++;
  }
  return false;
}

static bool reached(const char *when, uint64_t after, struct journal *j)
{
  struct state s;
  if (strcmp(when, "now") == 0)
    return true;
  if (strcmp(when, "journaled") == 0)
    return journal_has(j, after);
  state_read(&s);
  if (strcmp(when, "decided") == 0)
    return s.line.epoch > after;
  if (strcmp(when, "stored") == 0)
    return kedge_word_epoch(s.word) > after;
  if (strcmp(when, "acknowledged") == 0)
    return acknowledged(&s, after);
  if (strcmp(when, "carried") == 0)
    return carried(&s, after);
  if (strcmp(when, "verified") == 0)
    return s.line.epoch > after && s.line.stage >= KEDGE_STAGE_VERIFY;
  if (strcmp(when, "complete") == 0)
    return s.line.epoch > after && s.line.stage >= KEDGE_STAGE_COMPLETE;
  return s.line.epoch > after && s.line.stage >= (uint32_t)atoi(when + strlen("stage:"));
}

static bool is_step(const char *when)
{
  static const char *const known[] = {"now", "decided", "journaled", "stored", "acknowledged", "carried", "verified", "complete"};
  for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(when, known[i]) == 0)
      return true;
  return strncmp(when, "stage:", 6) == 0 && when[6] >= '1' && when[6] <= '7' && when[7] == 0;
}

static int strike(const char *when, uint64_t after, int number, const int *pidfds, unsigned count, uint64_t timeout_ns)
{
  look_all();
  if (posture.base == NULL)
    stop(4, "there is no posture segment in %s", board);
  struct journal j = {0};
  if (journal != NULL && strcmp(when, "journaled") == 0)
    j = journal_open();
  uint64_t start = kedge_now_ns();
  printf("{\"armed\":true,\"at\":\"%" PRIu64 "\"}\n", start);
  fflush(stdout);
  bool seen;
  /* The steps stand close together, so this looks without sleeping; it lives for one transition only. */
  while (!(seen = reached(when, after, &j)) && !ending && kedge_now_ns() - start <= timeout_ns) {
  }
  uint64_t seen_at = kedge_now_ns();
  unsigned hit = 0;
  for (unsigned i = 0; seen && i < count; i++)
    if (syscall(SYS_pidfd_send_signal, pidfds[i], number, NULL, 0) == 0)
      hit++;
  struct state s;
  state_read(&s);
  printf("{\"seen\":%s,\"struck\":%u,\"seenAt\":\"%" PRIu64 "\",\"doneAt\":\"%" PRIu64 "\",\"wordEpoch\":\"%" PRIu64
         "\",\"lineEpoch\":\"%" PRIu64 "\",\"stage\":%u}\n",
         seen ? "true" : "false", hit, seen_at, kedge_now_ns(), kedge_word_epoch(s.word), s.line.epoch, s.line.stage);
  return seen ? 0 : 5;
}

static uint64_t number(const char *text, uint64_t high, const char *what)
{
  char *end;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != 0 || *text == '-' || n > high)
    stop(2, "%s: expected 0 to %" PRIu64 ", not '%s'", what, high, text);
  return n;
}

int main(int argc, char **argv)
{
  const char *when = NULL;
  uint64_t after = 0, timeout_ms = 10000, period_us = 500;
  int number_of_signal = 0, pidfds[MAX_PIDS];
  unsigned pids = 0;
  if (argc < 2 || (strcmp(argv[1], "trace") != 0 && strcmp(argv[1], "strike") != 0))
    stop(2, "expected: kedge-board-watch trace|strike --board DIR --dataplane NAME ...");
  bool striking = strcmp(argv[1], "strike") == 0;
  for (int i = 2; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (value == NULL)
      stop(2, "%s: a value is missing", name);
    if (strcmp(name, "--board") == 0)
      board = value;
    else if (strcmp(name, "--dataplane") == 0)
      dataplane_name = value;
    else if (strcmp(name, "--participant") == 0 && participants < MAX_PARTICIPANTS &&
             strlen(value) < KEDGE_NAME_BYTES - sizeof KEDGE_FILE_PARTICIPANT_PREFIX)
      snprintf(participant_file[participants++], KEDGE_NAME_BYTES, "%s%.20s", KEDGE_FILE_PARTICIPANT_PREFIX, value);
    else if (!striking && strcmp(name, "--period") == 0)
      period_us = number(value, 1000000, name);
    else if (striking && strcmp(name, "--after") == 0)
      after = number(value, KEDGE_EPOCH_MAX, name);
    else if (striking && strcmp(name, "--timeout") == 0)
      timeout_ms = number(value, 600000, name);
    else if (striking && strcmp(name, "--journal") == 0)
      journal = value;
    else if (striking && strcmp(name, "--when") == 0 && is_step(value))
      when = value;
    else if (striking && strcmp(name, "--signal") == 0 && (strcmp(value, "STOP") == 0 || strcmp(value, "KILL") == 0))
      number_of_signal = strcmp(value, "STOP") == 0 ? SIGSTOP : SIGKILL;
    else if (striking && strcmp(name, "--pid") == 0 && pids < MAX_PIDS) {
      int fd = (int)syscall(SYS_pidfd_open, (pid_t)number(value, 1 << 22, name), 0);
      if (fd < 0)
        stop(4, "no process %s: %s", value, strerror(errno));
      pidfds[pids++] = fd;
    } else
      stop(2, "%s %s: not understood", name, value);
  }
  if (board == NULL || dataplane_name == NULL || strlen(dataplane_name) > KEDGE_NAME_BYTES - sizeof KEDGE_FILE_DATAPLANE_PREFIX)
    stop(2, "--board and --dataplane are required");
  if (striking && (when == NULL || (number_of_signal == 0) != (pids == 0) || (strcmp(when, "journaled") == 0 && journal == NULL)))
    stop(2, "strike needs --when, with --signal and --pid, and --journal for journaled");
  snprintf(dataplane_file, sizeof dataplane_file, "%s%.20s", KEDGE_FILE_DATAPLANE_PREFIX, dataplane_name);
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  prctl(PR_SET_TIMERSLACK, 1000ul);
  if (striking)
    return strike(when, after, number_of_signal, pidfds, pids, timeout_ms * MILLISECOND);
  trace(period_us * 1000);
  return 0;
}
