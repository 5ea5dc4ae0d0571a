/*
 * The implementation of governor.h.
 *
 * It must never obey something looser because something is missing, damaged or late.
 */
#define _GNU_SOURCE
#include "governor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "loader.h"

#define BEAT_NS UINT64_C(50000000)
/* A heartbeat further ahead than this was not written by the same clock, and counts as none. */
#define FUTURE_NS UINT64_C(1000000000)
/* Heard again: a heartbeat no older than a service may be silent before it counts as stale. */
#define FRESH_NS UINT64_C(1000000000)

/* What is obeyed in place of a fail-closed line that cannot be read: level 1. */
#define LINE_REFUSED kedge_word_of(0, 0, KEDGE_LEVEL_LOCKDOWN)

static inline void add(KEDGE_ATOMIC(uint64_t) *counter, uint64_t n)
{
  /* One writer: a load and a store, no locked instruction. */
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* -------------------------------------------------------------- telemetry */

void kedge_telemetry_write(struct kedge_governor_worker *w, enum kedge_telemetry_kind kind, unsigned old_level,
                           unsigned new_level, uint64_t value, uint64_t at_ns)
{
  uint64_t n = atomic_load_explicit(&w->shared->telemetry_written, memory_order_relaxed);
  struct kedge_telemetry *t = &w->shared->telemetry[n % KEDGE_TELEMETRY_SLOTS];
  /* Release stores and no fences: a reader that sees any field of event n also sees the odd sequence. */
  atomic_store_explicit(&t->sequence, 2 * n + 1, memory_order_release);
  atomic_store_explicit(&t->at_ns, at_ns, memory_order_release);
  atomic_store_explicit(&t->epoch, w->epoch, memory_order_release);
  atomic_store_explicit(&t->value, value, memory_order_release);
  atomic_store_explicit(&t->dropped_pair, w->dropped_pair, memory_order_release);
  atomic_store_explicit(&t->dropped_entry, w->dropped_entry, memory_order_release);
  atomic_store_explicit(&t->kind, (uint32_t)kind, memory_order_release);
  atomic_store_explicit(&t->old_level, (uint16_t)old_level, memory_order_release);
  atomic_store_explicit(&t->new_level, (uint16_t)new_level, memory_order_release);
  atomic_store_explicit(&t->seen_at_ns, w->seen_at_ns, memory_order_release);
  atomic_store_explicit(&t->sequence, 2 * n + 2, memory_order_release);
  atomic_store_explicit(&w->shared->telemetry_written, n + 1, memory_order_release);
}

/* ------------------------------------------------------------------- flows */

void kedge_flow_write(struct kedge_worker *shared, const struct kedge_flow_record *record)
{
  uint64_t n = atomic_load_explicit(&shared->flows_written, memory_order_relaxed);
  struct kedge_flow_slot *slot = &shared->flow[n % KEDGE_FLOW_SLOTS];
  uint64_t word[KEDGE_FLOW_WORDS];
  memcpy(word, record, sizeof(word));
  /* As in the ring of events: release stores and no fences. */
  atomic_store_explicit(&slot->sequence, 2 * n + 1, memory_order_release);
  for (unsigned i = 0; i < KEDGE_FLOW_WORDS; i++)
    atomic_store_explicit(&slot->word[i], word[i], memory_order_release);
  atomic_store_explicit(&slot->sequence, 2 * n + 2, memory_order_release);
  atomic_store_explicit(&shared->flows_written, n + 1, memory_order_release);
}

static void flow_ended(void *context, const struct kedge_flow_record *record)
{
  struct kedge_governor_worker *w = context;
  kedge_flow_write(w->shared, record);
}

/* Tells what the worker's table counted; begun and evicted go on where a predecessor stopped. */
static void flows_tell(struct kedge_governor_worker *w)
{
  add(&w->shared->flows_begun, w->flows.begun - w->begun_told);
  add(&w->shared->flows_evicted, w->flows.evicted - w->evicted_told);
  w->begun_told = w->flows.begun;
  w->evicted_told = w->flows.evicted;
  atomic_store_explicit(&w->shared->flows_live, w->flows.live, memory_order_relaxed);
}

/* Memory for the flows of all workers, present and locked where that is allowed. */
static bool flows_make(struct kedge_governor *g)
{
  if (g->options.flows == 0)
    return true;
  g->flow_bytes = kedge_flows_bytes(g->options.flows);
  size_t bytes = g->flow_bytes * g->options.workers;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED)
    return false;
  g->flow_memory = memory;
  /* Where that is not allowed it is present all the same. */
  (void)mlock(memory, bytes);
  for (unsigned i = 0; i < g->options.workers; i++) {
    struct kedge_governor_worker *w = &g->worker[i];
    uint64_t seed[2];
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
      munmap(memory, bytes);
      g->flow_memory = NULL;
      return false;
    }
    kedge_flows_start(&w->flows, (uint8_t *)memory + i * g->flow_bytes, g->options.flows, seed, flow_ended, w);
  }
  return true;
}

static void flows_release(struct kedge_governor *g)
{
  if (g->flow_memory != NULL)
    munmap(g->flow_memory, g->flow_bytes * g->options.workers);
  g->flow_memory = NULL;
}

/* ---------------------------------------------------------- open and close */

enum kedge_refusal kedge_governor_open(struct kedge_governor *g, const struct kedge_governor_options *options)
{
  memset(g, 0, sizeof(*g));
  g->options = *options;
  char name[2 * KEDGE_NAME_BYTES];
  if (options->workers == 0 || options->workers > KEDGE_MAX_WORKERS || options->safe_level < KEDGE_LEVEL_LOCKDOWN ||
      options->safe_level > KEDGE_LEVEL_NORMAL || (options->flows != 0 && kedge_flows_bytes(options->flows) == 0) ||
      snprintf(name, sizeof(name), "%s%s", KEDGE_FILE_DATAPLANE_PREFIX, options->name) >= (int)sizeof(name))
    return KEDGE_REFUSAL_NAME;
  if (!flows_make(g))
    return KEDGE_REFUSAL_SYSTEM;
  enum kedge_refusal refusal = kedge_segment_create(&g->own, options->board, name, KEDGE_SEGMENT_DATAPLANE, NULL);
  if (refusal != KEDGE_REFUSAL_NONE) {
    int saved = errno;
    flows_release(g);
    errno = saved;
    return refusal;
  }
  g->shared = g->own.base;
  /* What a killed predecessor left must not speak for us: nothing is acknowledged, used or served yet.
   * Counters and rings go on, so that their readers see no step back; and so does the safe level, which ends
   * with a newer epoch and not with a new process (DP-7). */
  atomic_store_explicit(&g->shared->beat.serving, 0, memory_order_release);
  bool safe = atomic_load_explicit(&g->shared->safe_level, memory_order_relaxed) != 0;
  uint64_t epoch = 0;
  for (unsigned i = 0; i < KEDGE_MAX_WORKERS; i++) {
    struct kedge_worker *shared = &g->shared->worker[i];
    struct kedge_ack_view none = {0}, left;
    if (kedge_ack_read(&shared->ack, &left) && left.epoch > epoch)
      epoch = left.epoch;
    kedge_ack_write(&shared->ack, &none);
    atomic_store_explicit(&shared->generation, 0, memory_order_seq_cst);
    atomic_store_explicit(&shared->fail_closed_seen, 0, memory_order_release);
    atomic_store_explicit(&shared->flows_live, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->live, 0, memory_order_release);
  }
  atomic_store_explicit(&g->shared->workers, options->workers, memory_order_release);
  atomic_store_explicit(&g->shared->safe_level, safe ? options->safe_level : 0, memory_order_release);
  atomic_store_explicit(&g->silent_since_epoch, safe ? epoch + 1 : 0, memory_order_release);
  g->memory_locked = kedge_segment_lock_memory(&g->own);
  g->opened_at_ns = kedge_now_ns();
  kedge_beat(&g->shared->beat, g->opened_at_ns);
  g->beat_at_ns = g->opened_at_ns;
  kedge_loader_step(g);
  return KEDGE_REFUSAL_NONE;
}

void kedge_governor_close(struct kedge_governor *g)
{
  if (g->shared == NULL)
    return;
  for (unsigned i = 0; i < KEDGE_MAX_WORKERS; i++) {
    struct kedge_governor_worker *w = &g->worker[i];
    if (w->shared != NULL && w->flows.buckets != 0) {
      kedge_flows_stop(&w->flows);
      flows_tell(w);
    }
    atomic_store_explicit(&g->worker[i].reader.active, 0, memory_order_release);
    atomic_store_explicit(&g->shared->worker[i].live, 0, memory_order_release);
    atomic_store_explicit(&g->shared->worker[i].generation, 0, memory_order_seq_cst);
  }
  kedge_governor_serving(g, false);
  kedge_bell_ring(&g->shared->beat.bell);
  kedge_loader_release(g);
  flows_release(g);
  kedge_segment_close(&g->own);
  g->shared = NULL;
}

struct kedge_governor_worker *kedge_governor_worker_start(struct kedge_governor *g, unsigned index)
{
  if (index >= g->options.workers)
    return NULL;
  struct kedge_governor_worker *w = &g->worker[index];
  w->governor = g;
  w->shared = &g->shared->worker[index];
  w->index = index;
  atomic_store_explicit(&w->reader.turn, atomic_load_explicit(&g->turn, memory_order_acquire), memory_order_release);
  atomic_store_explicit(&w->reader.active, 1, memory_order_seq_cst);
  atomic_store_explicit(&w->shared->tid, (uint32_t)syscall(SYS_gettid), memory_order_relaxed);
  atomic_store_explicit(&w->shared->live, 1, memory_order_seq_cst);
  return w;
}

/* ------------------------------------------------------------------ batch */

static const void *segment_of(const struct kedge_mapping *mapping)
{
  return mapping == NULL ? NULL : mapping->segment.base;
}

static bool is_silent(const struct kedge_governor *g, const struct kedge_beat *beat, uint64_t now)
{
  uint64_t at = beat == NULL ? 0 : atomic_load_explicit(&beat->at_ns, memory_order_relaxed);
  if (at > now + FUTURE_NS)
    at = 0;
  if (at < g->opened_at_ns)
    at = g->opened_at_ns; /* silence is counted from when we listen */
  return now > at && now - at > g->options.silence_ns;
}

static bool is_fresh(const struct kedge_governor *g, const struct kedge_beat *beat, uint64_t now)
{
  uint64_t at = beat == NULL ? 0 : atomic_load_explicit(&beat->at_ns, memory_order_relaxed);
  uint64_t limit = g->options.silence_ns < FRESH_NS ? g->options.silence_ns : FRESH_NS;
  return at != 0 && at <= now + FUTURE_NS && (at >= now || now - at <= limit);
}

/* DP-7: true while the safe level is in force. Any worker may notice; the note is the process's. */
static bool safe_now(struct kedge_governor *g, const struct kedge_posture_segment *posture,
                     const struct kedge_warden_segment *warden, uint64_t epoch, uint64_t now)
{
  const struct kedge_beat *coordinator = posture == NULL ? NULL : &posture->beat;
  const struct kedge_beat *keeper = warden == NULL ? NULL : &warden->beat;
  uint64_t noticed = atomic_load_explicit(&g->silent_since_epoch, memory_order_acquire);
  if (noticed == 0) {
    if (!is_silent(g, coordinator, now) || !is_silent(g, keeper, now))
      return false;
    atomic_store_explicit(&g->silent_since_epoch, epoch + 1, memory_order_release);
    atomic_store_explicit(&g->shared->safe_level, g->options.safe_level, memory_order_release);
    return true;
  }
  if (epoch + 1 > noticed && is_fresh(g, coordinator, now) && is_fresh(g, keeper, now)) {
    atomic_store_explicit(&g->silent_since_epoch, 0, memory_order_release);
    atomic_store_explicit(&g->shared->safe_level, 0, memory_order_release);
    return false;
  }
  return true;
}

/* Segments refused and found again go into the ring of worker 0. */
static void tell_refusals(struct kedge_governor_worker *w, uint64_t now)
{
  for (unsigned s = 0; s < KEDGE_SOURCES; s++) {
    uint32_t refusal = atomic_load_explicit(&w->governor->refusal[s], memory_order_relaxed);
    if (refusal != w->refusal_told[s]) {
      w->refusal_told[s] = refusal;
      kedge_telemetry_write(w, KEDGE_TELEMETRY_SEGMENT, w->level, w->level, refusal, now);
    }
  }
}

bool kedge_governor_begin(struct kedge_governor_worker *w, uint64_t now)
{
  struct kedge_governor *g = w->governor;
  /* Nothing of the batch before is looked at any more: what was taken away until this turn may go. */
  atomic_store_explicit(&w->reader.turn, atomic_load_explicit(&g->turn, memory_order_acquire), memory_order_release);
  const struct kedge_posture_segment *posture =
      segment_of(atomic_load_explicit(&g->mapping[KEDGE_SOURCE_POSTURE], memory_order_acquire));
  const struct kedge_warden_segment *warden =
      segment_of(atomic_load_explicit(&g->mapping[KEDGE_SOURCE_WARDEN], memory_order_acquire));
  const struct kedge_mapping *tables = atomic_load_explicit(&g->mapping[KEDGE_SOURCE_TABLES], memory_order_acquire);

  kedge_word word = posture == NULL ? 0 : atomic_load_explicit(&posture->word, memory_order_acquire);
  kedge_word line = warden == NULL ? LINE_REFUSED
                                   : atomic_load_explicit(&warden->fail_closed[KEDGE_PATH_DATAPLANE].word,
                                                          memory_order_acquire);
  unsigned level = kedge_level_under(word, line);
  uint64_t epoch = kedge_word_epoch(word);
  /* Epochs only increase. An older one is no decision: it may tighten, never loosen. */
  if (epoch < w->epoch && w->level != 0 && level > w->level)
    level = w->level;
  w->safe = safe_now(g, posture, warden, epoch > w->epoch ? epoch : w->epoch, now);
  if (w->safe && level > g->options.safe_level)
    level = g->options.safe_level;

  if (tables != w->tables) {
    kedge_bank_leave(&w->use, &w->shared->generation);
    w->tables = tables;
  }
  if (tables != NULL && kedge_bank_follow(&w->use, &w->shared->generation, tables->segment.base, tables->finding))
    kedge_telemetry_write(w, KEDGE_TELEMETRY_TABLES, level, level, w->use.levels == 0 ? 0 : w->use.generation, now);
  w->table = tables == NULL ? NULL : kedge_bank_table(&w->use, tables->segment.base, level);

  if (word != w->word || line != w->fail_closed || level != w->level || !w->started) {
    w->word = word;
    w->fail_closed = line;
    w->level = level;
    if (epoch > w->epoch)
      w->epoch = epoch;
    w->seen_at_ns = kedge_now_ns();
    w->started = true;
    w->due = true;
  }
  if (w->index == 0)
    tell_refusals(w, now);
  /* Not while an acknowledgement is due: what is idle can wait, a transition cannot. */
  if (!w->due && w->flows.buckets != 0 && w->flows.live != 0) {
    kedge_flows_sweep(&w->flows, now);
    flows_tell(w);
  }
  atomic_store_explicit(&w->shared->loop_at_ns, now, memory_order_relaxed);
  return w->due;
}

void kedge_governor_acknowledge(struct kedge_governor_worker *w)
{
  if (!w->due)
    return;
  uint64_t now = kedge_now_ns();
  struct kedge_ack_view *ack = &w->acknowledged;
  bool first = w->level_before == 0;
  /* A change of the fail-closed line or the safe level alone leaves the stamps of the epoch as they were. */
  if (first || w->epoch > ack->epoch) {
    ack->epoch = w->epoch;
    ack->started_at_ns = w->seen_at_ns;
    ack->finished_at_ns = now;
    ack->stage = first || w->level <= w->level_before ? KEDGE_STAGE_TIGHTEN : KEDGE_STAGE_LOOSEN_DATAPLANE;
    ack->outcome = w->level == w->level_before ? KEDGE_OUTCOME_UNCHANGED : KEDGE_OUTCOME_APPLIED;
    ack->changes = w->level == w->level_before ? 0 : 1;
  }
  ack->level = w->level;
  atomic_store_explicit(&w->shared->fail_closed_seen, w->fail_closed, memory_order_release);
  kedge_ack_write(&w->shared->ack, ack);
  struct rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) == 0)
    atomic_store_explicit(&w->shared->switches, (uint64_t)usage.ru_nivcsw, memory_order_release);
  kedge_telemetry_write(w, KEDGE_TELEMETRY_POSTURE, w->level_before, w->level, w->use.generation, now);
  if (w->safe != w->safe_told) {
    w->safe_told = w->safe;
    kedge_telemetry_write(w, KEDGE_TELEMETRY_SAFE_LEVEL, w->level_before, w->level, w->safe, now);
  }
  w->level_before = w->level;
  w->due = false;
  kedge_bell_ring(&w->governor->shared->beat.bell);
}

void kedge_governor_judge(struct kedge_governor_worker *w, const struct kedge_packet *packet, unsigned source_zone,
                          unsigned destination_zone, struct kedge_judgement *j)
{
  struct kedge_worker_counters *counters = &w->shared->counters;
  kedge_classify(w->table, packet, source_zone, destination_zone, j);
  add(&counters->reason[j->reason][j->verdict], 1);
  if (j->reason == KEDGE_REASON_PAIR) {
    add(&counters->pair[j->source_zone][j->destination_zone][j->verdict], 1);
    w->dropped_pair += j->verdict == KEDGE_VERDICT_DROP;
  } else if (j->reason == KEDGE_REASON_ENTRY) {
    add(&counters->hit[j->entry], 1);
    w->dropped_entry += j->verdict == KEDGE_VERDICT_DROP;
  }
}

void kedge_governor_observe(struct kedge_governor_worker *w, const uint8_t *frame, const struct kedge_packet *packet,
                            const struct kedge_judgement *j, uint64_t now)
{
  if (w->flows.buckets == 0)
    return;
  const struct kedge_flow_state state = {
      .now_ns = now,
      .epoch = w->epoch,
      .level = (uint8_t)w->level,
      .classify = w->table != NULL && (w->table->flags & KEDGE_LEVEL_CLASSIFY) != 0};
  struct kedge_flow_sight sight;
  if (!kedge_flows_observe(&w->flows, frame, packet, j, &state, &sight))
    return;
  if (state.classify != 0) {
    add(&w->shared->counters.application[sight.application][0], 1);
    add(&w->shared->counters.application[sight.application][1], sight.bytes);
  }
  if (w->flows.begun != w->begun_told)
    flows_tell(w);
}

void kedge_governor_count(struct kedge_governor_worker *w, uint64_t received, uint64_t sent)
{
  if (received != 0)
    add(&w->shared->received, received);
  if (sent != 0)
    add(&w->shared->sent, sent);
}

void kedge_governor_beat(struct kedge_governor *g, uint64_t now)
{
  if (now - g->beat_at_ns < BEAT_NS)
    return;
  g->beat_at_ns = now;
  kedge_beat(&g->shared->beat, now);
}

void kedge_governor_serving(struct kedge_governor *g, bool serving)
{
  atomic_store_explicit(&g->shared->beat.serving, serving ? 1 : 0, memory_order_release);
}
