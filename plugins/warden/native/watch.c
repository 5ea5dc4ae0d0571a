/*
 * The watch: reads the decision from the board, knows who has to have answered by when, and acts at that
 * moment by itself (PO-12).
 *
 * Times: the data plane has to acknowledge a tightening by decided_at + min(configured, wished); the overlay
 * and the underlay likewise. A loosening runs from the release of the path's own stage and is only recorded.
 * What cannot be read whole is taken for the stricter.
 *
 * It must never block on anything but its bells, never spin, and believe nothing that it reads.
 */
#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "act.h"
#include "log.h"

#define MAX_PENDING 16u /* deadlines of one path that run at the same time */
#define MAX_BELLS (2u + CONFIG_MAX_DATAPLANES + 2u * CONFIG_MAX_PARTICIPANTS)
_Static_assert(MAX_BELLS <= KEDGE_MAX_BELLS, "all bells fit into one wait");
#define PACE_PASSES 64u                   /* more passes than this within PACE_NS: somebody storms a bell */
#define PACE_NS UINT64_C(10000000)
#define PACE_SLEEP_NS UINT64_C(200000)
#define STALL_NS UINT64_C(500000000)      /* a pass this late: the warden itself was stopped */
#define KILL_RETRY_NS UINT64_C(100000000) /* a kill that failed is tried again: whose process it is may be known by then */
#define KILL_TRIES 100u
#define STACK_BYTES (256u * 1024u)

#define GET(field) atomic_load_explicit(&(field), memory_order_acquire)

/* One deadline of one path. */
struct pending {
  bool used, loosening, missed;
  bool alarm_only;      /* 5 → 4: 4 only watches more */
  uint64_t epoch;
  unsigned level;       /* to be applied at least */
  uint64_t deadline_ns;
  uint64_t kill_at_ns;  /* once missed: silent data planes are killed then */
  uint32_t killed;      /* bit n = data plane n was dealt with: killed, or tried often enough */
  uint8_t tries[CONFIG_MAX_DATAPLANES]; /* kills of it that failed */
  uint64_t retry_at_ns; /* not before */
};

static struct watch {
  struct warden *w;
  int posture;                               /* slots */
  int dataplane[CONFIG_MAX_DATAPLANES];
  int participant[KEDGE_PATHS][CONFIG_MAX_PARTICIPANTS];
  size_t participants[KEDGE_PATHS];
  size_t dataplanes;

  struct pending pending[KEDGE_PATHS][MAX_PENDING];
  struct pending silent[CONFIG_MAX_DATAPLANES]; /* the oldest miss of each that lost its place to newer ones */
  uint64_t first_sight_ns;                   /* when the board was first seen; 0 = not yet */
  uint64_t word_epoch, line_epoch;           /* newest seen */
  unsigned word_level, line_level;
  bool line_tightens;
  uint32_t line_stage;
  uint64_t decided_epoch;                    /* newest tightening that deadlines were set for */
  unsigned decided_level;
  bool distrusted;                           /* the word in memory is not the decision: it went back, or loosened in place */
  uint64_t loosened_epoch[KEDGE_PATHS];      /* newest loosening that deadlines were set for */
  struct {
    uint64_t process;                        /* which one: see process_of */
    uint32_t workers;                        /* bits */
  } was_live[CONFIG_MAX_DATAPLANES];

  uint64_t last_pass_ns, resumed_at_ns;
  uint64_t pace_from_ns;
  unsigned pace_passes;
} watch;

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }
static unsigned tighter(unsigned a, unsigned b) { return a < b ? a : b; }

static struct board_slot *slot_at(int index) { return &watch.w->board.slot[index]; }

/* True when somebody takes part in the path: otherwise there is nothing to watch. */
static bool path_is_there(unsigned path)
{
  return path == KEDGE_PATH_DATAPLANE ? watch.dataplanes > 0 : watch.participants[path] > 0;
}

/* ---------------------------------------------------------- who has answered */

static bool level_is_good(unsigned level) { return level >= KEDGE_LEVEL_LOCKDOWN && level <= KEDGE_LEVEL_NORMAL; }

/*
 * `epoch` of an acknowledgement is stored only when it is wholly applied and never goes back, so one load
 * tells; the level beside it counts for that same epoch.
 */
static bool ack_covers(const struct kedge_ack *ack, uint64_t epoch, unsigned level)
{
  uint64_t e = GET(ack->epoch);
  if (e < epoch || e > KEDGE_EPOCH_MAX)
    return false;
  unsigned l = GET(ack->level);
  return level_is_good(l) && (e > epoch || l <= level);
}

static unsigned workers_of(const struct kedge_dataplane_segment *d)
{
  unsigned n = GET(d->workers);
  return n >= 1 && n <= KEDGE_MAX_WORKERS ? n : KEDGE_MAX_WORKERS;
}

/* The service that runs a data plane, as the warden itself started it; NULL = somebody else starts it. */
static const struct service_state *service_of(int index)
{
  for (size_t i = 0; i < watch.w->config->services; i++) {
    const struct service_state *service = &watch.w->service[i];
    if (watch.w->config->service[i].kind == KEDGE_UNIT_SERVICE && service->slot == watch.dataplane[index] && service->running)
      return service;
  }
  return NULL;
}

/* Names a data plane's process where it can by what the warden knows, not by what the segment says. */
static uint64_t process_of(int index)
{
  const struct service_state *service = service_of(index);
  return service != NULL ? service->started_at_ns : slot_at(watch.dataplane[index])->incarnation;
}

/* A data plane's segment is of the process that the warden started for it. */
static bool is_of_service(int index, const struct service_state *service)
{
  return slot_at(watch.dataplane[index])->seen_at_ns >= service->started_at_ns;
}

/*
 * Its process has ended, so that it passes nothing. The segment names its writer itself: while the service
 * that wrote it lives, another process that it names and that is dead proves nothing.
 */
static bool gone(int index)
{
  if (board_writer(slot_at(watch.dataplane[index])) != WRITER_DEAD)
    return false;
  const struct service_state *service = service_of(index);
  return service == NULL || !is_of_service(index, service) || board_process_ended(service->pidfd);
}

static uint32_t live_workers(const struct kedge_dataplane_segment *d)
{
  uint32_t live = 0;
  for (unsigned i = 0; i < workers_of(d); i++)
    live |= GET(d->worker[i].live) == 1 ? 1u << i : 0u;
  return live;
}

/* A worker that was live is taken for live until its process has ended (DP-2), whatever it says later. */
static void remember_live(int index)
{
  const struct board_slot *slot = slot_at(watch.dataplane[index]);
  const struct kedge_dataplane_segment *d = board_read(slot);
  const struct service_state *service = service_of(index);
  if (d == NULL || board_writer_changed(slot) || board_writer(slot) == WRITER_DEAD ||
      (service != NULL && !is_of_service(index, service)))
    return; /* what stands there may be a predecessor's */
  if (watch.was_live[index].process != process_of(index))
    watch.was_live[index].workers = 0;
  watch.was_live[index].process = process_of(index);
  watch.was_live[index].workers |= live_workers(d);
}

/*
 * Live workers of a data plane that have not answered, as bits; `unanswered` leaves out those that obey the
 * fail-closed line already. A data plane that is gone passes nothing and owes nothing. One whose process
 * lives while its segment is damaged owes everything (bit 0). One that starts and was not live yet owes
 * nothing: it acknowledges before it forwards.
 */
static uint32_t late_workers(int index, const struct pending *p, bool unanswered)
{
  const struct board_slot *slot = slot_at(watch.dataplane[index]);
  const struct kedge_dataplane_segment *d = board_read(slot);
  uint32_t late = 0, live = d == NULL ? 0 : live_workers(d);
  if (watch.was_live[index].process == process_of(index))
    live |= watch.was_live[index].workers;
  if (d == NULL)
    late = slot->segment.base != NULL || live != 0 ? 1u : 0u;
  for (unsigned i = 0; d != NULL && i < KEDGE_MAX_WORKERS; i++) {
    const struct kedge_worker *worker = &d->worker[i];
    if ((live & (1u << i)) == 0 || ack_covers(&worker->ack, p->epoch, p->level))
      continue;
    kedge_word obeyed = GET(worker->fail_closed_seen);
    if (unanswered && obeyed != 0 && kedge_word_epoch(obeyed) >= p->epoch && kedge_word_level(obeyed) <= p->level)
      continue;
    late |= 1u << i;
  }
  return late != 0 && gone(index) ? 0 : late;
}

/* Applied, verified, and said so. A participant that is away counts as not applied (PO-19). */
static bool participant_covers(const struct board_slot *slot, uint64_t epoch, unsigned level)
{
  const struct kedge_participant_segment *s = board_read(slot);
  struct kedge_ack_view ack;
  if (s == NULL || !ack_covers(&s->ack, epoch, level) || !kedge_ack_read(&s->ack, &ack))
    return false;
  return ack.outcome == KEDGE_OUTCOME_APPLIED || ack.outcome == KEDGE_OUTCOME_UNCHANGED;
}

/* Who is late on a path: data planes or participants, as bits. */
static uint32_t late_on(unsigned path, const struct pending *p)
{
  uint32_t late = 0;
  if (path == KEDGE_PATH_DATAPLANE) {
    for (unsigned i = 0; i < watch.dataplanes; i++)
      late |= late_workers((int)i, p, false) != 0 ? 1u << i : 0u;
  } else {
    for (unsigned i = 0; i < watch.participants[path]; i++)
      late |= participant_covers(slot_at(watch.participant[path][i]), p->epoch, p->level) ? 0u : 1u << i;
  }
  return late;
}

/* ---------------------------------------------------------------- deadlines */

/* A data plane that goes without an answer is killed when the oldest miss says so, however many follow. */
static void keep_silent(const struct pending *p)
{
  for (unsigned i = 0; i < watch.dataplanes; i++) {
    if (watch.silent[i].used || (p->killed & (1u << i)) != 0 || late_workers((int)i, p, false) == 0)
      continue;
    watch.silent[i] = *p;
    watch.silent[i].killed = ~(1u << i);
  }
}

static struct pending *pending_place(unsigned path)
{
  struct pending *list = watch.pending[path], *oldest = NULL;
  for (unsigned i = 0; i < MAX_PENDING; i++)
    if (!list[i].used)
      return &list[i];
  for (unsigned i = 0; i < MAX_PENDING; i++)
    if ((list[i].missed || list[i].loosening) && (oldest == NULL || list[i].epoch < oldest->epoch))
      oldest = &list[i];
  if (oldest != NULL && oldest->missed && path == KEDGE_PATH_DATAPLANE)
    keep_silent(oldest);
  return oldest;
}

static void add_pending(unsigned path, const struct pending *p)
{
  struct pending *place = pending_place(path);
  if (place != NULL) {
    *place = *p;
    place->used = true;
    return;
  }
  /* A storm of epochs: the newest joins the one that ends first, and has to be answered by then. */
  struct pending *first = &watch.pending[path][0];
  for (unsigned i = 1; i < MAX_PENDING; i++)
    if (watch.pending[path][i].deadline_ns < first->deadline_ns)
      first = &watch.pending[path][i];
  first->level = tighter(first->level, p->level);
  first->epoch = later(first->epoch, p->epoch);
  first->alarm_only = first->alarm_only && p->alarm_only;
}

/*
 * What was decided before the warden first saw the board gets its budget from then, however often the line is
 * read again; a time to come is none.
 */
static uint64_t budget_start(uint64_t stamped, uint64_t now)
{
  return later(earlier(stamped, now), watch.first_sight_ns);
}

static uint64_t deadline_of(unsigned path, uint64_t start, uint64_t wished)
{
  uint64_t budget = watch.w->config->budget_ns[path];
  return start + (wished > 0 ? earlier(budget, wished) : budget);
}

/* A tightening, or what is taken for one. `from` 0 = not known; `wished` may be NULL. */
static void tighten(uint64_t epoch, unsigned from, unsigned to, uint64_t start, const uint64_t *wished)
{
  bool fresh = epoch > watch.decided_epoch || (epoch == watch.decided_epoch && to < watch.decided_level);
  for (unsigned path = 0; path < KEDGE_PATHS; path++) {
    act_tighten_line(watch.w, path, to);
    if (!path_is_there(path))
      continue;
    struct pending *known = NULL;
    for (unsigned i = 0; i < MAX_PENDING; i++)
      if (watch.pending[path][i].used && !watch.pending[path][i].loosening && watch.pending[path][i].epoch == epoch)
        known = &watch.pending[path][i];
    uint64_t deadline = deadline_of(path, start, wished == NULL ? 0 : wished[path]);
    bool alarm_only = to == KEDGE_LEVEL_WATCH && from == KEDGE_LEVEL_NORMAL;
    if (known != NULL) {
      known->level = tighter(known->level, to);
      known->deadline_ns = earlier(known->deadline_ns, deadline);
      known->alarm_only = known->alarm_only && alarm_only;
    } else if (fresh) {
      add_pending(path, &(struct pending){.epoch = epoch, .level = to, .deadline_ns = deadline, .alarm_only = alarm_only});
    }
  }
  if (fresh) {
    watch.decided_epoch = epoch;
    watch.decided_level = to;
  }
}

static void loosen(unsigned path, uint64_t epoch, unsigned to, uint64_t start, uint64_t wished)
{
  if (epoch <= watch.loosened_epoch[path])
    return;
  watch.loosened_epoch[path] = epoch;
  if (path_is_there(path))
    add_pending(path, &(struct pending){.loosening = true, .epoch = epoch, .level = to,
                                        .deadline_ns = deadline_of(path, start, wished)});
}

/*
 * From a level to itself, where an accord changed or something is brought right, the stages say the direction;
 * at the last ones it is what it was before.
 */
static bool tightening(const struct kedge_transition_view *line)
{
  if (line->to != line->from)
    return line->to < line->from;
  if (line->stage >= KEDGE_STAGE_LOOSEN_DECIDED && line->stage <= KEDGE_STAGE_LOOSEN_DATAPLANE)
    return false;
  return line->epoch != watch.line_epoch || watch.line_tightens;
}

static void read_line(const struct kedge_transition_view *line, uint64_t now)
{
  if (line->stage == KEDGE_STAGE_NONE || line->epoch < watch.line_epoch)
    return;
  bool tightens = tightening(line);
  if (tightens) {
    tighten(line->epoch, line->from, line->to, budget_start(line->decided_at_ns, now), line->budget_ns);
  } else if (line->stage < KEDGE_STAGE_COMPLETE) {
    uint64_t start = budget_start(line->stage_at_ns, now);
    for (unsigned path = KEDGE_PATH_OVERLAY; path <= KEDGE_PATH_UNDERLAY; path++)
      if (line->stage >= KEDGE_STAGE_LOOSEN_PATHS)
        loosen(path, line->epoch, line->to, start, line->budget_ns[path]);
    if (line->stage >= KEDGE_STAGE_LOOSEN_DATAPLANE)
      loosen(KEDGE_PATH_DATAPLANE, line->epoch, line->to, start, line->budget_ns[KEDGE_PATH_DATAPLANE]);
  }
  watch.line_epoch = line->epoch;
  watch.line_level = line->to;
  watch.line_tightens = tightens;
  watch.line_stage = line->stage;
}

/*
 * The word went back, or became looser under the same number. No coordinator does that: the newest decision
 * that was seen stands, and packets are held to it at once.
 */
static void distrust(void)
{
  if (watch.distrusted)
    return;
  watch.distrusted = true;
  act_fail_closed(watch.w, KEDGE_PATH_DATAPLANE, watch.word_epoch, watch.word_level);
  act_record(watch.w, &(struct violation){.kind = KEDGE_VIOLATION_ALARM, .path = KEDGE_PATH_DATAPLANE,
                                          .epoch = watch.word_epoch, .level = watch.word_level,
                                          .acted_at_ns = kedge_now_ns()}, KEDGE_FILE_POSTURE, NULL);
}

/* `line` is NULL when it could not be read whole. */
static void read_word(kedge_word word, const struct kedge_transition_view *line, uint64_t now)
{
  uint64_t epoch = kedge_word_epoch(word);
  unsigned level = kedge_word_level(word);
  bool known = watch.word_level != 0;
  if (word == 0) {
    watch.distrusted |= known; /* fail-closed by itself; nothing is cleared under it */
    return;
  }
  if (known && (epoch < watch.word_epoch || (epoch == watch.word_epoch && level > watch.word_level))) {
    distrust();
    return;
  }
  watch.distrusted = false;
  if (epoch == watch.word_epoch && level == watch.word_level)
    return;
  bool told = line != NULL && line->stage != KEDGE_STAGE_NONE && line->epoch == epoch;
  if (told && line->to <= line->from) {
    if (level < line->to)
      tighten(epoch, line->from, level, budget_start(line->decided_at_ns, now), line->budget_ns);
  } else if (told && level != line->to) {
    tighten(epoch, 0, tighter(level, line->to), now, NULL);
  } else if (!told && known && level > watch.word_level) {
    loosen(KEDGE_PATH_DATAPLANE, epoch, level, now, 0);
  } else if (!told) {
    tighten(epoch, watch.word_level, level, now, NULL);
  }
  watch.word_epoch = epoch;
  watch.word_level = level;
}

static void read_decision(uint64_t now)
{
  const struct kedge_posture_segment *posture = board_read(slot_at(watch.posture));
  if (posture == NULL)
    return;
  if (watch.first_sight_ns == 0)
    watch.first_sight_ns = now;
  /* The word first: the line is written before it, so the line found now is at least as new. */
  kedge_word word = GET(posture->word);
  struct kedge_transition_view line;
  bool whole = kedge_transition_read(&posture->transition, &line);
  if (whole)
    read_line(&line, now);
  read_word(word, whole ? &line : NULL, now);
}

/* ------------------------------------------------------------------ judging */

static void record_late_dataplanes(const struct pending *p, const struct violation *v)
{
  for (unsigned i = 0; i < watch.dataplanes; i++) {
    uint32_t late = late_workers((int)i, p, false);
    for (unsigned worker = 0; worker < KEDGE_MAX_WORKERS; worker++) {
      char number[4];
      if ((late & (1u << worker)) == 0)
        continue;
      snprintf(number, sizeof(number), "%u", worker % 100u);
      act_record(watch.w, v, act_short_name(slot_at(watch.dataplane[i])->name), number);
    }
  }
}

static void record_late_participants(unsigned path, uint32_t late, const struct violation *v)
{
  for (unsigned i = 0; i < watch.participants[path]; i++)
    if ((late & (1u << i)) != 0)
      act_record(watch.w, v, act_short_name(slot_at(watch.participant[path][i])->name), NULL);
}

/* The deadline has passed and somebody is late. */
static void miss(unsigned path, struct pending *p, uint32_t late)
{
  struct violation v = {.kind = KEDGE_VIOLATION_BUDGET, .path = path, .epoch = p->epoch, .deadline_ns = p->deadline_ns};
  p->missed = true;
  if (p->loosening) {
    v.kind = KEDGE_VIOLATION_LATE_LOOSENING;
  } else if (p->alarm_only) {
    v.kind = KEDGE_VIOLATION_ALARM;
  } else {
    act_fail_closed(watch.w, path, p->epoch, p->level);
    v.level = kedge_word_level(act_line(watch.w, path));
    v.acted_at_ns = kedge_now_ns();
    p->kill_at_ns = later(p->deadline_ns, v.acted_at_ns) + watch.w->config->silence_kill_ns;
  }
  if (path == KEDGE_PATH_DATAPLANE) {
    record_late_dataplanes(p, &v);
  } else {
    if (v.level != 0) {
      v.outcome = EINPROGRESS; /* the command runs; the same event follows with its outcome */
      act_order(watch.w, path, p->epoch, p->deadline_ns, v.level, late);
    }
    record_late_participants(path, late, &v);
  }
  /* Nothing else follows but the kill of a silent data plane. */
  if (v.level == 0 || path != KEDGE_PATH_DATAPLANE)
    p->used = false;
}

/* Kills a data plane by every process that it is known to be; 0 or errno. */
static int kill_dataplane(unsigned i)
{
  const struct board_slot *slot = slot_at(watch.dataplane[i]);
  int outcome = ESRCH;
  if (board_writer(slot) == WRITER_ALIVE)
    outcome = act_kill(slot->pidfd);
  for (size_t s = 0; s < watch.w->config->services; s++) {
    struct service_state *service = &watch.w->service[s];
    if (service->slot != watch.dataplane[i] || !service->running)
      continue;
    /* Always: the process that the segment names may be another one of the same user. */
    int why = act_kill(service->pidfd);
    outcome = why == 0 ? 0 : outcome;
    service->killed = why == 0;
  }
  return outcome;
}

/*
 * 50 ms later: what neither acknowledged nor obeys the fail-closed line must not forward any more. Told are the first
 * try that fails and how it ends. Returns when to try again.
 */
static uint64_t kill_silent(struct pending *p, uint64_t now)
{
  uint64_t next = UINT64_MAX;
  if (now < p->retry_at_ns)
    return p->retry_at_ns;
  for (unsigned i = 0; i < watch.dataplanes; i++) {
    if ((p->killed & (1u << i)) != 0 || late_workers((int)i, p, true) == 0)
      continue;
    int outcome = kill_dataplane(i);
    bool first = p->tries[i] == 0;
    if (outcome != 0)
      p->tries[i]++;
    if (outcome == 0 || p->tries[i] == KILL_TRIES)
      p->killed |= 1u << i;
    else
      next = p->retry_at_ns = now + KILL_RETRY_NS;
    if (first || (p->killed & (1u << i)) != 0)
      act_record(watch.w, &(struct violation){.kind = KEDGE_VIOLATION_DATAPLANE_KILLED, .path = KEDGE_PATH_DATAPLANE,
                                              .epoch = p->epoch, .deadline_ns = p->kill_at_ns, .level = p->level,
                                              .outcome = outcome, .acted_at_ns = kedge_now_ns()},
                 act_short_name(slot_at(watch.dataplane[i])->name), NULL);
  }
  return next;
}

/* The misses that lost their place; returns when to look again. */
static uint64_t settle_silent(uint64_t now)
{
  uint64_t next = UINT64_MAX;
  for (unsigned i = 0; i < watch.dataplanes; i++) {
    struct pending *p = &watch.silent[i];
    p->used = p->used && late_workers((int)i, p, false) != 0;
    if (p->used)
      next = earlier(next, now < p->kill_at_ns ? p->kill_at_ns : kill_silent(p, now));
  }
  return next;
}

/*
 * Everybody has answered; whoever finished after the deadline was late all the same (PO-14: what counts is
 * the stamp of the acting end). Nothing is left to enforce.
 */
static void record_finished_late(const struct pending *p)
{
  if (p->missed || p->loosening)
    return;
  struct violation v = {.kind = p->alarm_only ? KEDGE_VIOLATION_ALARM : KEDGE_VIOLATION_BUDGET,
                        .path = KEDGE_PATH_DATAPLANE, .epoch = p->epoch, .deadline_ns = p->deadline_ns};
  for (unsigned i = 0; i < watch.dataplanes; i++) {
    const struct board_slot *slot = slot_at(watch.dataplane[i]);
    const struct kedge_dataplane_segment *d = board_read(slot);
    for (unsigned n = 0; d != NULL && n < workers_of(d); n++) {
      struct kedge_ack_view ack;
      char number[4];
      if (GET(d->worker[n].live) != 1 || GET(d->worker[n].ack.epoch) != p->epoch ||
          GET(d->worker[n].ack.finished_at_ns) <= p->deadline_ns || !kedge_ack_read(&d->worker[n].ack, &ack) ||
          ack.epoch != p->epoch || ack.finished_at_ns <= p->deadline_ns)
        continue;
      snprintf(number, sizeof(number), "%u", n % 100u);
      act_record(watch.w, &v, act_short_name(slot->name), number);
    }
  }
}

/* Judges one deadline; returns when to look again. */
static uint64_t settle(unsigned path, struct pending *p, uint64_t now)
{
  uint32_t late = late_on(path, p);
  if (late == 0) {
    if (path == KEDGE_PATH_DATAPLANE)
      record_finished_late(p);
    p->used = false;
    return UINT64_MAX;
  }
  if (!p->missed && now >= p->deadline_ns)
    miss(path, p, late);
  if (!p->used)
    return UINT64_MAX;
  if (!p->missed)
    return p->deadline_ns;
  /* Once killed, the next beat's pass looks whether it is gone. */
  return now < p->kill_at_ns ? p->kill_at_ns : kill_silent(p, now);
}

/* ------------------------------------------------ the end of a fail-closed line */

static bool beats(const struct kedge_beat *beat, uint64_t now)
{
  uint64_t at = GET(beat->at_ns);
  return at != 0 && (at >= now || now - at <= watch.w->config->stale_ns) && at <= kedge_now_ns();
}

static bool dataplanes_verify(uint64_t epoch, unsigned level, uint64_t now)
{
  unsigned present = 0;
  struct pending all = {.epoch = epoch, .level = level};
  for (unsigned i = 0; i < watch.dataplanes; i++) {
    const struct board_slot *slot = slot_at(watch.dataplane[i]);
    const struct kedge_dataplane_segment *d = board_read(slot);
    if (gone((int)i))
      continue;
    if (d == NULL || !beats(&d->beat, now) || late_workers((int)i, &all, false) != 0)
      return false;
    for (unsigned n = 0; n < workers_of(d); n++)
      present += GET(d->worker[n].live) == 1;
  }
  return present > 0;
}

static void clear_lines(uint64_t now)
{
  if (board_read(slot_at(watch.posture)) == NULL || watch.word_level == 0 || watch.distrusted)
    return;
  for (unsigned path = 0; path < KEDGE_PATHS; path++) {
    kedge_word line = act_line(watch.w, path);
    if (line == 0)
      continue;
    uint64_t epoch = watch.word_epoch;
    unsigned level = watch.word_level;
    bool stands = true;
    if (watch.line_epoch > epoch) {
      /* A tightening whose word is not stored yet, or a loosening that other paths may know already. */
      if (watch.line_tightens && path == KEDGE_PATH_DATAPLANE)
        continue;
      if (watch.line_tightens || (path != KEDGE_PATH_DATAPLANE && watch.line_stage >= KEDGE_STAGE_LOOSEN_PATHS)) {
        epoch = watch.line_epoch;
        level = watch.line_level;
      }
    }
    if (kedge_word_epoch(line) > epoch)
      continue;
    if (watch.decided_epoch == epoch) /* of line and word the stricter was decided */
      level = tighter(level, watch.decided_level);
    if (path == KEDGE_PATH_DATAPLANE)
      stands = !dataplanes_verify(epoch, level, now);
    else {
      stands = watch.participants[path] == 0;
      for (unsigned i = 0; i < watch.participants[path]; i++)
        stands = stands || !participant_covers(slot_at(watch.participant[path][i]), epoch, level);
    }
    if (!stands)
      act_clear(watch.w, path, epoch);
  }
}

/* --------------------------------------------------------------- heartbeats */

/* Kills whoever is silent beyond its limit; returns when the next one could be. */
static uint64_t watch_beats(uint64_t now)
{
  uint64_t next = UINT64_MAX;
  for (size_t i = 0; i < watch.w->config->services; i++) {
    const struct kedge_unit *unit = &watch.w->config->service[i];
    struct service_state *service = &watch.w->service[i];
    if (service->slot < 0)
      continue;
    const struct board_slot *slot = slot_at(service->slot);
    bool watched_only = unit->kind == KEDGE_UNIT_WATCH;
    if (watched_only ? slot->segment.base == NULL || board_writer(slot) != WRITER_ALIVE : !service->running || service->killed)
      continue;
    const struct kedge_posture_segment *any = board_read(slot); /* header and beat stand alike in all kinds */
    uint64_t beat = any == NULL ? 0 : GET(any->beat.at_ns);
    uint64_t looked = kedge_now_ns();
    if (beat > looked)
      beat = 0; /* nobody can have written that */
    uint64_t started = watched_only ? slot->seen_at_ns : service->started_at_ns;
    uint64_t last = later(beat, watch.resumed_at_ns);
    /* The grace is for starting: who has served since the start has no need of it any more. */
    bool served = any != NULL && beat > started && GET(any->beat.serving) != 0;
    uint64_t deadline = later(last + unit->stale_ns, served ? 0 : started + unit->start_grace_ns);
    if (watched_only) /* killed before and not gone yet: once per limit */
      deadline = later(deadline, service->started_at_ns + unit->stale_ns);
    if (looked <= deadline) {
      next = earlier(next, deadline + 1);
      continue;
    }
    int outcome = act_kill(watched_only ? slot->pidfd : service->pidfd);
    service->killed = true;
    if (watched_only)
      service->started_at_ns = now;
    act_record(watch.w, &(struct violation){.kind = KEDGE_VIOLATION_STALE_SERVICE, .path = KEDGE_PATH_NONE,
                                            .epoch = watch.word_epoch, .deadline_ns = deadline, .outcome = outcome,
                                            .acted_at_ns = kedge_now_ns()}, unit->name, NULL);
  }
  return next;
}

/* --------------------------------------------------------------------- loop */

struct bells {
  const KEDGE_ATOMIC(uint32_t) *bell[MAX_BELLS];
  uint32_t seen[MAX_BELLS];
  unsigned count;
};

static void add_bell(struct bells *bells, const KEDGE_ATOMIC(uint32_t) *bell)
{
  bells->bell[bells->count] = bell;
  bells->seen[bells->count] = GET(*bell);
  bells->count++;
}

static void add_slot_bell(struct bells *bells, int index)
{
  const struct kedge_posture_segment *any = board_read(slot_at(index)); /* the beat stands alike in all kinds */
  if (any != NULL)
    add_bell(bells, &any->beat.bell);
}

/*
 * Bells with the values that they have before anything that they announce is read. An acknowledgement inside
 * its budget wakes nobody: the look at the deadline finds it. Those of a path that is fail-closed do.
 */
static void add_bells(struct bells *bells)
{
  add_bell(bells, &watch.w->nudge);
  add_slot_bell(bells, watch.posture);
  for (unsigned i = 0; act_line(watch.w, KEDGE_PATH_DATAPLANE) != 0 && i < watch.dataplanes; i++)
    add_slot_bell(bells, watch.dataplane[i]);
  for (unsigned path = KEDGE_PATH_OVERLAY; path <= KEDGE_PATH_UNDERLAY; path++)
    for (unsigned i = 0; act_line(watch.w, path) != 0 && i < watch.participants[path]; i++)
      add_slot_bell(bells, watch.participant[path][i]);
}

/* One look at everything. Returns when the next one is due at the latest. */
static uint64_t pass(uint64_t now)
{
  struct warden *w = watch.w;
  uint64_t next = now + WARDEN_TICK_NS;
  kedge_beat(&warden_segment(w)->beat, now);
  if (watch.last_pass_ns != 0 && now - watch.last_pass_ns > STALL_NS)
    watch.resumed_at_ns = now; /* everybody else may have been stopped with us: their silence counts from here */
  watch.last_pass_ns = now;
  for (unsigned i = 0; i < watch.dataplanes; i++)
    remember_live((int)i);
  read_decision(now);
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    for (unsigned i = 0; i < MAX_PENDING; i++)
      if (watch.pending[path][i].used)
        next = earlier(next, settle(path, &watch.pending[path][i], kedge_now_ns()));
  next = earlier(next, settle_silent(kedge_now_ns()));
  clear_lines(now);
  next = earlier(next, watch_beats(now));
  for (unsigned i = 0; i < w->board.slots; i++)
    if (board_writer_changed(&w->board.slot[i]))
      act_tell(w);
  if (w->ring_own) {
    w->ring_own = false;
    kedge_bell_ring(&warden_segment(w)->beat.bell);
  }
  return next;
}

static void sleep_until(uint64_t at_ns)
{
  struct timespec t = {(time_t)(at_ns / UINT64_C(1000000000)), (long)(at_ns % UINT64_C(1000000000))};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static unsigned lines_set(void)
{
  unsigned set = 0;
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    set |= act_line(watch.w, path) != 0 ? 1u << path : 0u;
  return set;
}

static void *run(void *argument)
{
  struct warden *w = argument;
  for (;;) {
    struct bells bells = {.count = 0};
    pthread_mutex_lock(&w->board.lock);
    atomic_fetch_add(&w->board.passes, 1);
    if (w->stop_watch) {
      pthread_mutex_unlock(&w->board.lock);
      return NULL;
    }
    add_bells(&bells);
    uint64_t now = kedge_now_ns();
    unsigned closed = lines_set();
    uint64_t next = pass(now);
    if (lines_set() != closed)
      next = 0; /* once more at once, with the bells that may end the line */
    pthread_mutex_unlock(&w->board.lock);

    if (now - watch.pace_from_ns > PACE_NS) {
      watch.pace_from_ns = now;
      watch.pace_passes = 0;
    }
    uint64_t after = kedge_now_ns();
    if (++watch.pace_passes > PACE_PASSES) {
      sleep_until(earlier(next, after + PACE_SLEEP_NS));
    } else if (next > after) {
      int why = kedge_bells_wait(bells.bell, bells.seen, bells.count, next - after);
      if (why != 0 && why != ETIMEDOUT)
        sleep_until(earlier(next, after + PACE_SLEEP_NS)); /* a bell that cannot be waited on: its file was cut */
    }
  }
}

/* True when the effective set holds a capability. */
static bool may(unsigned capability)
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  return syscall(SYS_capget, &header, data) == 0 && (data[capability / 32].effective & (1u << (capability % 32))) != 0;
}

static void publish(struct warden *w, bool realtime)
{
  struct kedge_warden_segment *own = warden_segment(w);
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    atomic_store_explicit(&own->budget_ns[path], w->config->budget_ns[path], memory_order_release);
  atomic_store_explicit(&own->silence_kill_ns, w->config->silence_kill_ns, memory_order_release);
  atomic_store_explicit(&own->stale_ns, w->config->stale_ns, memory_order_release);
  atomic_store_explicit(&own->realtime, realtime ? 1u : 0u, memory_order_release);
  kedge_beat(&own->beat, kedge_now_ns());
  atomic_store_explicit(&own->beat.serving, 1u, memory_order_release);
  kedge_bell_ring(&own->beat.bell);
}

int watch_start(struct warden *w, pthread_t *thread)
{
  const struct kedge_config *c = w->config;
  memset(&watch, 0, sizeof(watch));
  watch.w = w;
  watch.posture = board_find(&w->board, KEDGE_FILE_POSTURE);
  for (size_t i = 0; i < c->dataplanes.count; i++)
    watch.dataplane[watch.dataplanes++] = board_find(&w->board, c->dataplanes.word[i]);
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    for (size_t i = 0; i < c->participants[path].count; i++)
      watch.participant[path][watch.participants[path]++] = board_find(&w->board, c->participants[path].word[i]);

  bool locked = false, realtime;
  if (!may(CAP_IPC_LOCK))
    log_line("memory is not locked, deadlines may be held later: CAP_IPC_LOCK is missing");
  else if (!(locked = mlockall(MCL_CURRENT | MCL_FUTURE) == 0))
    log_line("memory is not locked, deadlines may be held later: %s", strerror(errno));

  pthread_attr_t attributes;
  struct sched_param priority = {.sched_priority = WARDEN_PRIORITY};
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
  pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
  pthread_attr_setschedparam(&attributes, &priority);
  int why = pthread_create(thread, &attributes, run, w);
  realtime = why == 0;
  if (why == EPERM) {
    log_line("no real-time priority, deadlines may be held later: CAP_SYS_NICE is missing");
    pthread_attr_setinheritsched(&attributes, PTHREAD_INHERIT_SCHED);
    why = pthread_create(thread, &attributes, run, w);
  }
  pthread_attr_destroy(&attributes);
  if (why == 0)
    publish(w, realtime && locked);
  return why;
}

void watch_stop(struct warden *w, pthread_t thread)
{
  pthread_mutex_lock(&w->board.lock);
  w->stop_watch = true;
  pthread_mutex_unlock(&w->board.lock);
  kedge_bell_ring(&w->nudge);
  pthread_join(thread, NULL);
  atomic_store_explicit(&warden_segment(w)->beat.serving, 0u, memory_order_release);
}
