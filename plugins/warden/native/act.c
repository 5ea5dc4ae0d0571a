/*
 * The warden's deeds: violation ring, fail-closed lines, kills, orders to the main thread.
 *
 * It must never wait: no lock is taken, nothing is allocated, no file is opened here.
 */
#define _GNU_SOURCE
#include "act.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
#define GET(field) atomic_load_explicit(&(field), memory_order_acquire)

const char *act_path_name(unsigned path)
{
  static const char *const names[KEDGE_PATHS] = {"dataplane", "overlay", "underlay"};
  return path < KEDGE_PATHS ? names[path] : "none";
}

const char *act_short_name(const char *segment)
{
  static const char *const prefixes[] = {KEDGE_FILE_DATAPLANE_PREFIX, KEDGE_FILE_PARTICIPANT_PREFIX};
  for (size_t i = 0; i < 2; i++)
    if (strncmp(segment, prefixes[i], strlen(prefixes[i])) == 0)
      return segment + strlen(prefixes[i]);
  return segment;
}

void act_record(struct warden *w, const struct violation *v, const char *subject, const char *part)
{
  struct kedge_warden_segment *own = warden_segment(w);
  uint64_t n = GET(own->violations);
  struct kedge_violation *slot = &own->violation[n % KEDGE_VIOLATION_SLOTS];
  PUT(slot->sequence, 2 * n + 1);
  atomic_thread_fence(memory_order_seq_cst);
  PUT(slot->at_ns, kedge_now_ns());
  PUT(slot->epoch, v->epoch);
  PUT(slot->deadline_ns, v->deadline_ns);
  PUT(slot->kind, (uint32_t)v->kind);
  PUT(slot->path, v->path);
  PUT(slot->level, v->level);
  PUT(slot->outcome, v->outcome);
  PUT(slot->acted_at_ns, v->acted_at_ns);
  char name[KEDGE_NAME_BYTES] = {0};
  size_t used = 0;
  for (const char *c = subject; *c != '\0' && used < KEDGE_NAME_BYTES - 1; c++)
    name[used++] = *c;
  if (part != NULL) {
    if (used > KEDGE_NAME_BYTES - 4)
      used = KEDGE_NAME_BYTES - 4; /* the worker is worth more than the end of a long name */
    name[used++] = '/';
    for (const char *c = part; *c != '\0' && used < KEDGE_NAME_BYTES - 1; c++)
      name[used++] = *c;
    name[used] = '\0';
  }
  memcpy(slot->subject, name, sizeof(name));
  PUT(slot->sequence, 2 * n + 2);
  PUT(own->violations, n + 1);
  w->ring_own = true;
  act_tell(w);
}

kedge_word act_line(struct warden *w, unsigned path)
{
  return GET(warden_segment(w)->fail_closed[path].word);
}

void act_fail_closed(struct warden *w, unsigned path, uint64_t epoch, unsigned level)
{
  struct kedge_warden_segment *own = warden_segment(w);
  struct kedge_fail_closed *line = &own->fail_closed[path];
  kedge_word before = GET(line->word);
  if (before != 0) {
    level = kedge_word_level(before) < level ? kedge_word_level(before) : level;
    epoch = kedge_word_epoch(before) > epoch ? kedge_word_epoch(before) : epoch;
  }
  kedge_word next = kedge_word_of(epoch, 0, level);
  if (next == before)
    return;
  PUT(line->set_at_ns, kedge_now_ns());
  PUT(line->count, GET(line->count) + 1);
  PUT(line->word, next);
  /* At once, not at the end of the pass: packets wait for it. */
  kedge_bell_ring(&own->beat.bell);
}

void act_tighten_line(struct warden *w, unsigned path, unsigned level)
{
  kedge_word before = act_line(w, path);
  if (before == 0 || level >= kedge_word_level(before))
    return;
  PUT(warden_segment(w)->fail_closed[path].word, kedge_word_of(kedge_word_epoch(before), 0, level));
  kedge_bell_ring(&warden_segment(w)->beat.bell);
}

void act_clear(struct warden *w, unsigned path, uint64_t epoch)
{
  struct kedge_fail_closed *line = &warden_segment(w)->fail_closed[path];
  uint64_t now = kedge_now_ns();
  PUT(line->cleared_at_ns, now);
  PUT(line->word, 0);
  w->ring_own = true;
  act_record(w, &(struct violation){.kind = KEDGE_VIOLATION_FAIL_CLOSED_CLEARED, .path = path, .epoch = epoch,
                                    .acted_at_ns = now}, act_path_name(path), NULL);
}

int act_kill(int pidfd)
{
  if (pidfd < 0)
    return ESRCH;
  return syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0 ? 0 : errno;
}

void act_order(struct warden *w, unsigned path, uint64_t epoch, uint64_t deadline_ns, unsigned level, uint32_t late)
{
  struct action_order *order = &w->action[path];
  *order = (struct action_order){order->orders + 1, epoch, deadline_ns, level, late};
  act_tell(w);
}

void act_tell(struct warden *w)
{
  uint64_t one = 1;
  ssize_t n = write(w->news, &one, sizeof(one)); /* non-blocking; full means that it is awake already */
  (void)n;
}
