/*
 * Plays the warden's neighbours on a real board: coordinator, data plane, participant, and a reader that
 * prints the warden's segment as JSON. Takes orders as lines on standard input, answers each with one line.
 *
 *   actor posture BOARD
 *   actor dataplane BOARD NAME WORKERS     (acknowledges at once, obeys no fail-closed line, until told)
 *   actor liar BOARD NAME alive|dead       (a data plane that never acknowledges and names a child of its own,
 *                                           alive or dead, as its writer; its pid goes to standard output)
 *   actor participant BOARD NAME PATH [BEAT_MS]  (stops beating after BEAT_MS, but lives on)
 *   actor show BOARD
 *
 * It must not know what the warden should do: the tests do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kedge/segment.h"

#define GET(field) atomic_load_explicit(&(field), memory_order_acquire)
#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

static struct kedge_segment own;
static _Atomic(int) beating = 1;

static void must(enum kedge_refusal refusal, const char *what)
{
  if (refusal == KEDGE_REFUSAL_NONE)
    return;
  fprintf(stderr, "actor: %s: %s (%s)\n", what, kedge_refusal_text(refusal), strerror(errno));
  exit(1);
}

static struct kedge_beat *own_beat(void) { return &((struct kedge_posture_segment *)own.base)->beat; }

/* Every segment has its beat at the same place; the loop that reads orders beats, as a service's would. */
static int next_order(char *line, int size)
{
  for (;;) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (atomic_load(&beating))
      kedge_beat(own_beat(), kedge_now_ns());
    if (poll(&in, 1, 50) == 1)
      return fgets(line, size, stdin) != NULL;
  }
}

static void answer(uint64_t value)
{
  printf("%" PRIu64 "\n", value);
  fflush(stdout);
}

/* Orders that every role knows. */
static int common_order(const char *order, uint64_t a)
{
  if (strcmp(order, "beat") == 0)
    atomic_store(&beating, (int)a);
  else if (strcmp(order, "cut") == 0) {
    atomic_store(&beating, 0);
    if (ftruncate(own.fd, (off_t)a) != 0)
      return 0;
  } else if (strcmp(order, "storm") == 0) {
    for (uint64_t end = kedge_now_ns() + a * 1000000u; kedge_now_ns() < end;)
      kedge_bell_ring(&own_beat()->bell);
  } else
    return 0;
  return 1;
}

/* ----------------------------------------------------------------- posture */

static void play_posture(void)
{
  struct kedge_posture_segment *p = own.base;
  char line[256], order[32];
  while (next_order(line, sizeof(line))) {
    uint64_t a = 0, b = 0, c = 0, d = 0, e = 0, result = 0;
    sscanf(line, "%31s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, order, &a, &b, &c, &d, &e);
    if (strcmp(order, "tighten") == 0) { /* EPOCH FROM TO WISHED_NS */
      struct kedge_transition_view view = {.epoch = a, .from = (uint32_t)b, .to = (uint32_t)c, .budget_ns = {d, d, d}};
      result = kedge_posture_tighten(p, &view, 0);
    } else if (strcmp(order, "line") == 0) { /* EPOCH FROM TO STAGE WISHED_NS */
      result = kedge_now_ns();
      struct kedge_transition_view view = {.epoch = a, .from = (uint32_t)b, .to = (uint32_t)c, .stage = (uint32_t)d,
                                           .decided_at_ns = result, .stage_at_ns = result, .budget_ns = {e, e, e}};
      kedge_transition_write(&p->transition, &view);
      kedge_bell_ring(&p->beat.bell);
    } else if (strcmp(order, "word") == 0) { /* EPOCH LEVEL */
      result = kedge_now_ns();
      PUT(p->word, kedge_word_of(a, 0, (unsigned)b));
      kedge_bell_ring(&p->beat.bell);
    } else if (strcmp(order, "torn") == 0) {
      PUT(p->transition.sequence, GET(p->transition.sequence) | 1u);
    } else if (!common_order(order, a))
      result = UINT64_MAX;
    answer(result);
  }
}

/* -------------------------------------------------------------- data plane */

static struct {
  struct kedge_segment posture, warden;
  unsigned workers;
  _Atomic(unsigned) mute;       /* bit n = worker n does not acknowledge */
  _Atomic(int) obey;            /* says that it obeys the fail-closed line */
  _Atomic(unsigned) delay_ms;   /* from seeing to acknowledging */
  _Atomic(unsigned) ring;
} plane;

static void *play_workers(void *unused)
{
  (void)unused;
  struct kedge_dataplane_segment *d = own.base;
  const struct kedge_posture_segment *p = plane.posture.base;
  const struct kedge_warden_segment *w = plane.warden.base;
  for (;;) {
    const KEDGE_ATOMIC(uint32_t) *bells[] = {&p->beat.bell, &w->beat.bell};
    uint32_t seen[] = {GET(p->beat.bell), GET(w->beat.bell)};
    kedge_word word = GET(p->word), line = GET(w->fail_closed[KEDGE_PATH_DATAPLANE].word);
    for (unsigned i = 0; i < plane.workers; i++) {
      struct kedge_worker *worker = &d->worker[i];
      if (atomic_load(&plane.obey))
        PUT(worker->fail_closed_seen, line);
      if (word == 0 || (atomic_load(&plane.mute) & (1u << i)) != 0 || GET(worker->ack.epoch) >= kedge_word_epoch(word))
        continue;
      struct kedge_ack_view ack = {.epoch = kedge_word_epoch(word), .started_at_ns = kedge_now_ns(), .level = kedge_word_level(word),
                                   .stage = KEDGE_STAGE_TIGHTEN, .outcome = KEDGE_OUTCOME_APPLIED};
      usleep(atomic_load(&plane.delay_ms) * 1000u);
      ack.finished_at_ns = kedge_now_ns();
      kedge_ack_write(&worker->ack, &ack);
      kedge_bell_ring(&d->beat.bell);
    }
    kedge_bells_wait(bells, seen, 2, UINT64_C(20000000));
  }
  return NULL;
}

/* Names another process as its own, as a hostile one would. */
static void pose(uint32_t pid, uint64_t start)
{
  struct kedge_segment_header *header = own.base;
  header->incarnation++;
  header->writer_pid = pid;
  header->writer_start = start;
  header->checksum = kedge_crc32(0, header, offsetof(struct kedge_segment_header, checksum));
}

static void play_liar(bool dead)
{
  struct kedge_dataplane_segment *d = own.base;
  PUT(d->workers, 1u);
  PUT(d->worker[0].live, 1u);
  answer((uint64_t)getpid());
  usleep(400000); /* the warden has seen it live */
  pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  char path[64], text[1024];
  snprintf(path, sizeof(path), "/proc/%d/stat", (int)child);
  FILE *f = fopen(path, "r");
  const char *at = f != NULL && fgets(text, sizeof(text), f) != NULL ? strrchr(text, ')') : NULL;
  for (int field = 2; at != NULL && field < 22; field++)
    at = strchr(at + 1, ' ');
  pose((uint32_t)child, at == NULL ? 0 : strtoull(at + 1, NULL, 10));
  PUT(d->worker[0].live, 0u);
  if (dead) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  for (;;) {
    kedge_beat(own_beat(), kedge_now_ns());
    usleep(20000);
  }
}

static void play_dataplane(void)
{
  struct kedge_dataplane_segment *d = own.base;
  pthread_t thread;
  char line[256], order[32];
  PUT(d->workers, plane.workers);
  for (unsigned i = 0; i < plane.workers; i++)
    PUT(d->worker[i].live, 1u);
  pthread_create(&thread, NULL, play_workers, NULL);
  answer((uint64_t)getpid());
  while (next_order(line, sizeof(line))) {
    uint64_t a = 0, b = 0, result = 0;
    sscanf(line, "%31s %" SCNu64 " %" SCNu64, order, &a, &b);
    if (strcmp(order, "mute") == 0)
      atomic_store(&plane.mute, (unsigned)a);
    else if (strcmp(order, "obey") == 0)
      atomic_store(&plane.obey, (int)a);
    else if (strcmp(order, "delay") == 0)
      atomic_store(&plane.delay_ms, (unsigned)a);
    else if (strcmp(order, "workers") == 0) /* any number, as a hostile one would */
      PUT(d->workers, (uint32_t)a);
    else if (strcmp(order, "live") == 0) /* WORKER VALUE */
      PUT(d->worker[a % KEDGE_MAX_WORKERS].live, (uint32_t)b);
    else if (strcmp(order, "epoch") == 0) /* WORKER EPOCH: a torn acknowledgement */
      PUT(d->worker[a % KEDGE_MAX_WORKERS].ack.epoch, b);
    else if (strcmp(order, "pose") == 0) /* PID START */
      pose((uint32_t)a, b);
    else if (strcmp(order, "acked") == 0)
      result = GET(d->worker[a % KEDGE_MAX_WORKERS].ack.epoch);
    else if (!common_order(order, a))
      result = UINT64_MAX;
    answer(result);
  }
}

/* ------------------------------------------------------------- participant */

static void *stop_beating(void *ms)
{
  usleep((unsigned)(uintptr_t)ms * 1000u);
  atomic_store(&beating, 0);
  return NULL;
}

static void play_participant(unsigned path, unsigned beat_ms)
{
  struct kedge_participant_segment *s = own.base;
  pthread_t thread;
  char line[256], order[32];
  PUT(s->path, path);
  if (beat_ms > 0)
    pthread_create(&thread, NULL, stop_beating, (void *)(uintptr_t)beat_ms);
  while (next_order(line, sizeof(line))) {
    uint64_t a = 0, b = 0, c = 0, result = kedge_now_ns();
    sscanf(line, "%31s %" SCNu64 " %" SCNu64 " %" SCNu64, order, &a, &b, &c);
    if (strcmp(order, "ack") == 0) { /* EPOCH LEVEL OUTCOME */
      struct kedge_ack_view ack = {.epoch = a, .level = (uint32_t)b, .outcome = (uint32_t)c, .started_at_ns = result,
                                   .finished_at_ns = result, .stage = KEDGE_STAGE_TIGHTEN};
      kedge_ack_write(&s->ack, &ack);
      kedge_bell_ring(&s->beat.bell);
    } else if (!common_order(order, a))
      result = UINT64_MAX;
    answer(result);
  }
  /* Started as a service its input is empty: live on, beating or not. */
  for (;;) {
    if (atomic_load(&beating))
      kedge_beat(&s->beat, kedge_now_ns());
    usleep(20000);
  }
}

/* -------------------------------------------------------------------- show */

static void show(const char *board)
{
  struct kedge_segment segment;
  must(kedge_segment_open(&segment, board, KEDGE_FILE_WARDEN, KEDGE_SEGMENT_WARDEN, KEDGE_ANY_OWNER), "warden");
  const struct kedge_warden_segment *w = segment.base;
  printf("{\"beatAgeNs\":%" PRIu64 ",\"beats\":%" PRIu64 ",\"serving\":%u,\"realtime\":%u,\"silenceKillNs\":%" PRIu64
         ",\"staleNs\":%" PRIu64 ",\"budgetNs\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],\"failClosed\":[",
         kedge_now_ns() - GET(w->beat.at_ns), GET(w->beat.count), GET(w->beat.serving), GET(w->realtime),
         GET(w->silence_kill_ns), GET(w->stale_ns), GET(w->budget_ns[0]), GET(w->budget_ns[1]), GET(w->budget_ns[2]));
  for (unsigned path = 0; path < KEDGE_PATHS; path++) {
    const struct kedge_fail_closed *f = &w->fail_closed[path];
    kedge_word word = GET(f->word);
    printf("%s{\"level\":%u,\"epoch\":%" PRIu64 ",\"setAtNs\":%" PRIu64 ",\"clearedAtNs\":%" PRIu64 ",\"count\":%" PRIu64 "}",
           path > 0 ? "," : "", kedge_word_raw_level(word), kedge_word_epoch(word), GET(f->set_at_ns), GET(f->cleared_at_ns),
           GET(f->count));
  }
  uint64_t written = GET(w->violations);
  printf("],\"written\":%" PRIu64 ",\"violations\":[", written);
  for (uint64_t n = written > KEDGE_VIOLATION_SLOTS ? written - KEDGE_VIOLATION_SLOTS : 0, first = n; n < written; n++) {
    const struct kedge_violation *v = &w->violation[n % KEDGE_VIOLATION_SLOTS];
    printf("%s{\"whole\":%s,\"atNs\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"deadlineNs\":%" PRIu64 ",\"kind\":%u,\"path\":%u,\"level\":%u,"
           "\"outcome\":%d,\"actedAtNs\":%" PRIu64 ",\"subject\":\"%.31s\"}",
           n > first ? "," : "", GET(v->sequence) == 2 * n + 2 ? "true" : "false", GET(v->at_ns), GET(v->epoch), GET(v->deadline_ns),
           GET(v->kind), GET(v->path), GET(v->level), GET(v->outcome), GET(v->acted_at_ns), v->subject);
  }
  printf("]}\n");
  kedge_segment_close(&segment);
}

int main(int argc, char **argv)
{
  char name[64];
  if (argc == 3 && strcmp(argv[1], "show") == 0) {
    show(argv[2]);
    return 0;
  }
  /* Orders are read by poll and fgets together: nothing may wait in a buffer between them. */
  setvbuf(stdin, NULL, _IONBF, 0);
  if (argc == 3 && strcmp(argv[1], "posture") == 0) {
    must(kedge_segment_create(&own, argv[2], KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE, NULL), "posture");
    answer((uint64_t)getpid());
    play_posture();
    return 0;
  }
  if (argc == 5 && strcmp(argv[1], "dataplane") == 0) {
    snprintf(name, sizeof(name), "dataplane-%s", argv[3]);
    plane.workers = (unsigned)atoi(argv[4]);
    must(kedge_segment_open(&plane.posture, argv[2], KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE, KEDGE_ANY_OWNER), "posture");
    must(kedge_segment_open(&plane.warden, argv[2], KEDGE_FILE_WARDEN, KEDGE_SEGMENT_WARDEN, KEDGE_ANY_OWNER), "warden");
    must(kedge_segment_create(&own, argv[2], name, KEDGE_SEGMENT_DATAPLANE, NULL), "data plane");
    play_dataplane();
    return 0;
  }
  if (argc == 5 && strcmp(argv[1], "liar") == 0) {
    snprintf(name, sizeof(name), "dataplane-%s", argv[3]);
    must(kedge_segment_create(&own, argv[2], name, KEDGE_SEGMENT_DATAPLANE, NULL), "data plane");
    play_liar(strcmp(argv[4], "dead") == 0);
  }
  if (argc >= 5 && strcmp(argv[1], "participant") == 0) {
    snprintf(name, sizeof(name), "participant-%s", argv[3]);
    must(kedge_segment_create(&own, argv[2], name, KEDGE_SEGMENT_PARTICIPANT, NULL), "participant");
    answer((uint64_t)getpid());
    play_participant((unsigned)atoi(argv[4]), argc > 5 ? (unsigned)atoi(argv[5]) : 0);
    return 0;
  }
  fprintf(stderr, "actor: expected posture, dataplane, liar, participant or show\n");
  return 2;
}
