/*
 * Two workers, a watch and the loader over a real board whose segments change, vanish and are replaced, for
 * ThreadSanitizer and AddressSanitizer. Usage: governor_threads ROUNDS DIRECTORY; prints JSON.
 *
 * It is the writer of the board and the owner of the governor at once; what it asserts is what a worker
 * shows in shared memory.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../core/builder.h"
#include "../../core/loader.h"

#define WORKERS 2u

static struct kedge_governor governor;
static KEDGE_ATOMIC(int) stop;
static KEDGE_ATOMIC(uint64_t) wakes, loose;
static char board[256];

static void pause_us(long us)
{
  struct timespec t = {0, us * 1000};
  nanosleep(&t, NULL);
}

static void *work(void *context)
{
  struct kedge_governor_worker *w = kedge_governor_worker_start(&governor, (unsigned)(uintptr_t)context);
  struct kedge_packet packet = {.kind = KEDGE_PACKET_FLOW};
  while (!atomic_load(&stop)) {
    if (kedge_governor_begin(w, kedge_now_ns()))
      kedge_governor_acknowledge(w);
    for (unsigned i = 0; i < 16; i++) {
      struct kedge_judgement j;
      kedge_governor_judge(w, &packet, 2, 3, &j);
      /* The tables of this test pass the pair at 5 alone. */
      if (j.verdict != KEDGE_VERDICT_DROP && w->level != 5)
        atomic_fetch_add(&loose, 1);
    }
    sched_yield();
  }
  return NULL;
}

static void *watch(void *context)
{
  (void)context;
  struct kedge_watch w;
  kedge_watch_start(&w, &governor);
  while (!atomic_load(&stop))
    if (kedge_watch_wait(&w, 20000000))
      atomic_fetch_add(&wakes, 1);
  kedge_watch_stop(&w);
  return NULL;
}

/* Waits until every worker shows this level, and a generation if one is asked for. */
static bool all_show(unsigned level, uint64_t generation)
{
  for (unsigned tries = 0; tries < 5000; tries++) {
    unsigned good = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
      struct kedge_ack_view ack;
      struct kedge_worker *shared = &governor.shared->worker[i];
      good += kedge_ack_read(&shared->ack, &ack) && ack.level == level &&
              (generation == 0 || atomic_load(&shared->generation) == generation);
    }
    if (good == WORKERS)
      return true;
    pause_us(1000);
  }
  fprintf(stderr, "the workers do not come to level %u, generation %llu\n", level, (unsigned long long)generation);
  return false;
}

static struct kedge_segment create(const char *name, enum kedge_segment_kind kind)
{
  struct kedge_segment s;
  if (kedge_segment_create(&s, board, name, kind, NULL) != KEDGE_REFUSAL_NONE) {
    fprintf(stderr, "cannot create %s\n", name);
    exit(1);
  }
  return s;
}

static void store(struct kedge_segment *posture, uint64_t epoch, unsigned level)
{
  struct kedge_transition_view line = {.epoch = epoch, .from = level, .to = level};
  kedge_posture_tighten(posture->base, &line, 0);
}

static void publish(struct kedge_segment *segment, uint64_t generation)
{
  struct kedge_tables_segment *tables = segment->base;
  struct kedge_bank *bank = &tables->bank[generation % KEDGE_BANKS];
  for (;;) {
    unsigned inside = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
      uint64_t used = atomic_load(&governor.shared->worker[i].generation);
      inside += used != 0 && used % KEDGE_BANKS == generation % KEDGE_BANKS;
    }
    if (inside == 0)
      break;
    pause_us(100);
  }
  atomic_store(&bank->generation, 0);
  for (unsigned level = 1; level <= KEDGE_LEVELS; level++) {
    struct kedge_rules rules = {.level = level, .generation = generation};
    struct kedge_build_report report;
    memset(rules.pair, level == 5 ? KEDGE_VERDICT_PASS : KEDGE_VERDICT_DROP, sizeof(rules.pair));
    kedge_table_build(&rules, &bank->level[level - 1], &report);
  }
  atomic_store(&bank->generation, generation);
  atomic_store(&tables->generation, generation);
  kedge_bell_ring(&tables->beat.bell);
}

int main(int argc, char **argv)
{
  unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5;
  snprintf(board, sizeof(board), "%s", argc > 2 ? argv[2] : "/tmp");
  struct kedge_segment posture = create("posture", KEDGE_SEGMENT_POSTURE), warden = create("warden", KEDGE_SEGMENT_WARDEN),
                       tables = create("tables", KEDGE_SEGMENT_TABLES);
  struct kedge_governor_options options = {.board = board,
                                           .name = "threads",
                                           .owner = {geteuid(), geteuid(), geteuid()},
                                           .workers = WORKERS,
                                           .safe_level = 2,
                                           .silence_ns = UINT64_C(60000000000)};
  if (kedge_governor_open(&governor, &options) != KEDGE_REFUSAL_NONE)
    return 1;
  struct kedge_loader loader;
  pthread_t worker[WORKERS], watcher;
  kedge_loader_start(&loader, &governor);
  for (uintptr_t i = 0; i < WORKERS; i++)
    pthread_create(&worker[i], NULL, work, (void *)i);
  pthread_create(&watcher, NULL, watch, NULL);

  uint64_t epoch = 0, generation = 0;
  bool good = all_show(1, 0); /* no word yet is no level */
  for (unsigned r = 0; r < rounds && good; r++) {
    publish(&tables, ++generation);
    store(&posture, ++epoch, 5);
    good = all_show(5, generation);
    store(&posture, ++epoch, 3);
    good = good && all_show(3, generation);
    /* The posture file goes: level 1. A new one with the same epochs: obeyed again. */
    char path[512];
    snprintf(path, sizeof(path), "%s/posture", board);
    unlink(path);
    good = good && all_show(1, generation);
    kedge_segment_close(&posture);
    posture = create("posture", KEDGE_SEGMENT_POSTURE);
    store(&posture, ++epoch, 4);
    good = good && all_show(4, generation);
    /* The warden's line holds, whatever the word says. */
    struct kedge_warden_segment *line = warden.base;
    atomic_store(&line->fail_closed[KEDGE_PATH_DATAPLANE].word, kedge_word_of(epoch, 0, 2));
    kedge_bell_ring(&line->beat.bell);
    store(&posture, ++epoch, 5);
    good = good && all_show(2, 0);
    atomic_store(&line->fail_closed[KEDGE_PATH_DATAPLANE].word, 0);
    kedge_bell_ring(&line->beat.bell);
    good = good && all_show(5, 0);
    /* The tables file goes and comes back with generations of its own. */
    snprintf(path, sizeof(path), "%s/tables", board);
    unlink(path);
    kedge_segment_close(&tables);
    tables = create("tables", KEDGE_SEGMENT_TABLES);
    generation = 0;
    for (unsigned tries = 0; tries < 5000 && atomic_load(&governor.shared->worker[0].generation) != 0; tries++)
      pause_us(1000);
  }
  atomic_store(&stop, 1);
  for (unsigned i = 0; i < WORKERS; i++)
    pthread_join(worker[i], NULL);
  pthread_join(watcher, NULL);
  kedge_loader_stop(&loader);
  kedge_governor_close(&governor);
  kedge_segment_close(&posture);
  kedge_segment_close(&warden);
  kedge_segment_close(&tables);
  printf("{\"rounds\":%u,\"good\":%s,\"loose\":%llu,\"wakes\":%llu}\n", rounds, good ? "true" : "false",
         (unsigned long long)atomic_load(&loose), (unsigned long long)atomic_load(&wakes));
  return !good || atomic_load(&loose) != 0;
}
