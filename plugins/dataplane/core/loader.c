/*
 * The implementation of loader.h.
 *
 * It must not run on a packet worker's thread once packets flow.
 */
#define _GNU_SOURCE
#include "loader.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "builder.h"

#define STEP_NS UINT64_C(100000000)
#define SEARCH_NS UINT64_C(20000000)
#define PAUSE_NS 1000000 /* between two steps, however often the tables' bell is rung */
#define LOOK_AGAIN_NS UINT64_C(2000000000) /* tables in use are checked again this often */
#define RETIRED_MOST 8u /* more than this many still in use: replace nothing until readers move on */

static const struct {
  const char *name;
  enum kedge_segment_kind kind;
} SOURCE[KEDGE_SOURCES] = {
    {KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE},
    {KEDGE_FILE_WARDEN, KEDGE_SEGMENT_WARDEN},
    {KEDGE_FILE_TABLES, KEDGE_SEGMENT_TABLES},
};

static void notice(const struct kedge_governor *g, const char *text)
{
  if (g->options.notice != NULL)
    g->options.notice(g->options.context, text);
}

static void changed(struct kedge_governor *g) { kedge_bell_ring(&g->loaded); }

/* --------------------------------------------------------------- mappings */

static void retire(struct kedge_governor *g, struct kedge_mapping *old)
{
  if (old == NULL)
    return;
  old->retired_at = atomic_fetch_add_explicit(&g->turn, 1, memory_order_seq_cst) + 1;
  old->next = g->retired;
  g->retired = old;
}

static bool seen_by(const struct kedge_reader *reader, uint64_t turn)
{
  return atomic_load_explicit(&reader->active, memory_order_acquire) == 0 ||
         atomic_load_explicit(&reader->turn, memory_order_acquire) >= turn;
}

/* Frees what every reader has left behind; how many are still looked at. */
static unsigned reclaim(struct kedge_governor *g)
{
  unsigned kept = 0;
  for (struct kedge_mapping **at = &g->retired; *at != NULL;) {
    struct kedge_mapping *m = *at;
    bool free_now = seen_by(&g->watch, m->retired_at);
    for (unsigned i = 0; i < g->options.workers && free_now; i++)
      free_now = seen_by(&g->worker[i].reader, m->retired_at);
    if (free_now) {
      *at = m->next;
      kedge_segment_close(&m->segment);
      free(m);
    } else {
      kept++;
      at = &m->next;
    }
  }
  return kept;
}

static void refuse(struct kedge_governor *g, unsigned source, enum kedge_refusal refusal)
{
  uint32_t before = atomic_load_explicit(&g->refusal[source], memory_order_relaxed);
  atomic_store_explicit(&g->refusal[source], (uint32_t)refusal, memory_order_release);
  if (before != (uint32_t)refusal) {
    char text[160];
    snprintf(text, sizeof(text), refusal == KEDGE_REFUSAL_NONE ? "segment %s in use%s" : "segment %s refused: %s",
             SOURCE[source].name, refusal == KEDGE_REFUSAL_NONE ? "" : kedge_refusal_text(refusal));
    notice(g, text);
  }
}

/* Opens one segment that is not mapped; NONE, or why not. */
static enum kedge_refusal map(struct kedge_governor *g, unsigned source)
{
  struct kedge_mapping *m = calloc(1, sizeof(*m));
  if (m == NULL)
    return KEDGE_REFUSAL_SYSTEM;
  enum kedge_refusal refusal = kedge_segment_open(&m->segment, g->options.board, SOURCE[source].name,
                                                  SOURCE[source].kind, g->options.owner[source]);
  if (refusal != KEDGE_REFUSAL_NONE) {
    free(m);
    return refusal;
  }
  kedge_segment_lock_memory(&m->segment); /* touches every page also where locking is not allowed */
  atomic_store_explicit(&g->mapping[source], m, memory_order_release);
  return KEDGE_REFUSAL_NONE;
}

static void follow(struct kedge_governor *g, unsigned source)
{
  struct kedge_mapping *m = atomic_load_explicit(&g->mapping[source], memory_order_acquire);
  if (m != NULL) {
    struct kedge_segment_header header;
    enum kedge_refusal holds = kedge_segment_current(&m->segment) ? kedge_segment_header_read(&m->segment, &header)
                                                                  : KEDGE_REFUSAL_MISSING;
    if (holds == KEDGE_REFUSAL_NONE)
      return;
    atomic_store_explicit(&g->mapping[source], NULL, memory_order_release);
    retire(g, m);
  }
  enum kedge_refusal refusal = map(g, source);
  bool news = m != NULL || refusal == KEDGE_REFUSAL_NONE;
  refuse(g, source, refusal);
  if (news)
    changed(g);
}

/* ----------------------------------------------------------------- tables */

unsigned kedge_bank_judge(const struct kedge_tables_segment *tables, uint64_t generation)
{
  const struct kedge_bank *bank = &tables->bank[generation % KEDGE_BANKS];
  unsigned levels = 0;
  if (atomic_load_explicit(&bank->generation, memory_order_acquire) != generation)
    return 0;
  for (unsigned level = KEDGE_LEVEL_LOCKDOWN; level <= KEDGE_LEVEL_NORMAL; level++)
    if (kedge_table_holds(&bank->level[level - 1], level, generation))
      levels |= 1u << level;
  /* Whatever was read while the writer had already moved on is not a finding. */
  atomic_thread_fence(memory_order_acquire);
  if (atomic_load_explicit(&bank->generation, memory_order_relaxed) != generation)
    return 0;
  return levels;
}

static void judge_tables(struct kedge_governor *g)
{
  struct kedge_mapping *m = atomic_load_explicit(&g->mapping[KEDGE_SOURCE_TABLES], memory_order_acquire);
  if (m == NULL)
    return;
  const struct kedge_tables_segment *tables = m->segment.base;
  uint64_t generation = atomic_load_explicit(&tables->generation, memory_order_acquire);
  uint64_t now = kedge_now_ns();
  bool again = generation == m->looked_at;
  if (again && (generation == 0 || now - m->looked_at_ns < LOOK_AGAIN_NS))
    return;
  if (generation == 0 || generation > KEDGE_GENERATION_MAX) {
    m->looked_at = generation;
    changed(g);
    return;
  }
  unsigned levels = kedge_bank_judge(tables, generation);
  if (atomic_load_explicit(&tables->generation, memory_order_acquire) != generation)
    return; /* already the next one: judged at the next step, which its ring brings about */
  uint64_t found = KEDGE_FINDING_OF(generation, levels);
  m->looked_at = generation;
  m->looked_at_ns = now;
  if (atomic_exchange_explicit(&m->finding[generation % KEDGE_BANKS], found, memory_order_acq_rel) == found)
    return;
  char text[160];
  snprintf(text, sizeof(text), "tables generation %llu %s%s", (unsigned long long)generation, again ? "now " : "",
           levels == 0x3e ? "hold for all levels" : levels == 0 ? "refused: no level holds" : "hold for some levels only");
  notice(g, text);
  changed(g);
}

void kedge_loader_step(struct kedge_governor *g)
{
  if (reclaim(g) <= RETIRED_MOST)
    for (unsigned source = 0; source < KEDGE_SOURCES; source++)
      follow(g, source);
  judge_tables(g);
}

void kedge_loader_release(struct kedge_governor *g)
{
  for (unsigned source = 0; source < KEDGE_SOURCES; source++) {
    struct kedge_mapping *m = atomic_exchange_explicit(&g->mapping[source], NULL, memory_order_seq_cst);
    retire(g, m);
  }
  reclaim(g);
}

/* ----------------------------------------------------------------- thread */

static void *loader_run(void *context)
{
  struct kedge_loader *loader = context;
  struct kedge_governor *g = loader->governor;
  /* Whatever priority the starter had, judging tables is ordinary work. */
  struct sched_param ordinary = {0};
  pthread_setschedparam(pthread_self(), SCHED_OTHER, &ordinary);
  while (atomic_load_explicit(&loader->stop, memory_order_acquire) == 0) {
    struct kedge_mapping *m = atomic_load_explicit(&g->mapping[KEDGE_SOURCE_TABLES], memory_order_acquire);
    const KEDGE_ATOMIC(uint32_t) *bells[2] = {&loader->stop, NULL};
    uint32_t seen[2] = {0, 0};
    unsigned count = 1;
    bool missing = false;
    for (unsigned source = 0; source < KEDGE_SOURCES; source++)
      missing |= atomic_load_explicit(&g->mapping[source], memory_order_relaxed) == NULL;
    if (m != NULL) {
      const struct kedge_tables_segment *tables = m->segment.base;
      bells[1] = &tables->beat.bell;
      seen[1] = atomic_load_explicit(bells[1], memory_order_acquire);
      count = 2;
    }
    kedge_loader_step(g);
    /* The step may have taken the mapping away; it frees only in a later one, and only this thread steps. */
    if (m == atomic_load_explicit(&g->mapping[KEDGE_SOURCE_TABLES], memory_order_acquire))
      kedge_bells_wait(bells, seen, count, missing ? SEARCH_NS : STEP_NS);
    struct timespec pause = {0, PAUSE_NS};
    nanosleep(&pause, NULL);
  }
  return NULL;
}

int kedge_loader_start(struct kedge_loader *loader, struct kedge_governor *governor)
{
  memset(loader, 0, sizeof(*loader));
  loader->governor = governor;
  return pthread_create(&loader->thread, NULL, loader_run, loader);
}

void kedge_loader_stop(struct kedge_loader *loader)
{
  kedge_bell_ring(&loader->stop);
  pthread_join(loader->thread, NULL);
}

/* ------------------------------------------------------------------ watch */

void kedge_watch_start(struct kedge_watch *watch, struct kedge_governor *governor)
{
  memset(watch, 0, sizeof(*watch));
  watch->governor = governor;
  atomic_store_explicit(&governor->watch.turn, atomic_load_explicit(&governor->turn, memory_order_acquire),
                        memory_order_release);
  atomic_store_explicit(&governor->watch.active, 1, memory_order_seq_cst);
}

void kedge_watch_stop(struct kedge_watch *watch)
{
  atomic_store_explicit(&watch->governor->watch.active, 0, memory_order_release);
}

/* Notes what the bells say now; true where that is news. */
static bool look(struct kedge_watch *watch, const KEDGE_ATOMIC(uint32_t) *const *bells, unsigned count)
{
  bool news = false;
  for (unsigned i = 0; i < count; i++) {
    uint32_t value = atomic_load_explicit(bells[i], memory_order_acquire);
    news |= value != watch->seen[i];
    watch->seen[i] = value;
  }
  return news;
}

bool kedge_watch_wait(struct kedge_watch *watch, uint64_t timeout_ns)
{
  struct kedge_governor *g = watch->governor;
  atomic_store_explicit(&g->watch.turn, atomic_load_explicit(&g->turn, memory_order_acquire), memory_order_release);
  const KEDGE_ATOMIC(uint32_t) *bells[3] = {&g->loaded};
  unsigned count = 1;
  bool news = !watch->started;
  for (unsigned source = KEDGE_SOURCE_POSTURE; source <= KEDGE_SOURCE_WARDEN; source++) {
    struct kedge_mapping *m = atomic_load_explicit(&g->mapping[source], memory_order_acquire);
    news |= m != watch->mapping[source];
    watch->mapping[source] = m;
    if (m == NULL)
      continue;
    bells[count++] = source == KEDGE_SOURCE_POSTURE
                         ? &((const struct kedge_posture_segment *)m->segment.base)->beat.bell
                         : &((const struct kedge_warden_segment *)m->segment.base)->beat.bell;
  }
  watch->started = true;
  news |= look(watch, bells, count);
  if (news)
    return true;
  kedge_bells_wait(bells, watch->seen, count, timeout_ns);
  return look(watch, bells, count);
}
