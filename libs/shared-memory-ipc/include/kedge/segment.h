/*
 * Opening, checking, reading and ringing the segments of layout.h: the one implementation that the
 * warden, the data planes, the boot tools and the Node addon share.
 *
 * It must know no policy: it never decides what a level means or what to do about a refusal.
 */
#ifndef KEDGE_SEGMENT_H
#define KEDGE_SEGMENT_H

#include <stdbool.h>
#include <sys/types.h>

#include "layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A mapped segment. `base` is NULL when closed. The caller owns it and calls kedge_segment_close. */
struct kedge_segment {
  void *base;
  size_t size;
  int fd;           /* kept open */
  int lock;         /* a writer's exclusive flock, on ".NAME.lock"; -1 in a reader */
  int directory;    /* kept open: where the name is looked up again */
  int writable;
  uint64_t inode;
  uint64_t device;
  enum kedge_segment_kind kind;
  char name[KEDGE_NAME_BYTES];
};

/* "any owner, as long as header and file agree"; only for tools that merely show. */
#define KEDGE_ANY_OWNER ((uid_t)-1)

/*
 * The board directory must be a real directory (no symbolic link), owned by root or by the caller,
 * not writable by others, and sticky where its group may write. Returns KEDGE_REFUSAL_NONE or
 * KEDGE_REFUSAL_DIRECTORY / _SYSTEM (errno set).
 */
enum kedge_refusal kedge_directory_verify(const char *directory);

/* Size of the whole file of a kind; 0 for an unknown kind. */
size_t kedge_segment_size(enum kedge_segment_kind kind);

/*
 * Opens the caller's own segment for writing, taking the exclusive lock of its name, or creates it (written
 * whole under a temporary name, then renamed to its own). A valid surviving file of this boot keeps its
 * contents, but does not serve any more (PO-19), and gets the next incarnation, also when its last writer died while renewing the header; one that
 * is refused for anything but OWNER, DIRECTORY or BUSY is replaced by a new file and `*replaced` tells why
 * (NONE = kept or newly created). `replaced` may be NULL.
 */
enum kedge_refusal kedge_segment_create(struct kedge_segment *segment, const char *directory, const char *name,
                                        enum kedge_segment_kind kind, enum kedge_refusal *replaced);

/* Maps somebody's segment read-only after checking everything that layout.h says about it. */
enum kedge_refusal kedge_segment_open(struct kedge_segment *segment, const char *directory, const char *name,
                                      enum kedge_segment_kind kind, uid_t owner);

/*
 * A whole copy of the header as it stands now (a restarted writer renews it in place: its incarnation
 * tells), judged again like at opening. Sleeps a few milliseconds at most before it refuses.
 */
enum kedge_refusal kedge_segment_header_read(const struct kedge_segment *segment, struct kedge_segment_header *header);

/* False once the name means another file or none, or the file's size changed: close and open again.
 * Cheap (one fstatat), not for packet loops. */
bool kedge_segment_current(const struct kedge_segment *segment);

/* Pins the mapping in memory (mlock) and touches every page; returns 0 or errno. Works without privilege as far as limits allow. */
int kedge_segment_lock_memory(const struct kedge_segment *segment);

void kedge_segment_close(struct kedge_segment *segment);

/* A sentence for people; never NULL. */
const char *kedge_refusal_text(enum kedge_refusal refusal);

uint64_t kedge_now_ns(void); /* CLOCK_MONOTONIC */
uint32_t kedge_crc32(uint32_t crc, const void *bytes, size_t length); /* as zlib's crc32 */

/* ------------------------------------------------------------------ bells */

/* Bumps the bell and wakes everybody who waits on it. */
void kedge_bell_ring(KEDGE_ATOMIC(uint32_t) *bell);

#define KEDGE_MAX_BELLS 64u
/*
 * Waits until one of `count` bells differs from the value the caller last saw, or `timeout_ns` passed
 * (UINT64_MAX = for ever). Spurious returns are allowed: look again. Returns 0, ETIMEDOUT, or errno.
 * Works on read-only mappings.
 */
int kedge_bells_wait(const KEDGE_ATOMIC(uint32_t) *const *bells, const uint32_t *seen, unsigned count, uint64_t timeout_ns);

/* ------------------------------------------------------- lines under a lock */

/* Plain copies of the shared lines, as read whole. */
struct kedge_transition_view {
  uint64_t epoch, received_at_ns, decided_at_ns, stage_at_ns, budget_ns[KEDGE_PATHS];
  uint32_t from, to, stage, flags;
};
struct kedge_ack_view {
  uint64_t epoch, started_at_ns, finished_at_ns;
  uint32_t stage, outcome, level, changes;
};

/* Bounded (KEDGE_SEQLOCK_TRIES). False: never seen whole, or a field outside its range; `view` is untouched. */
bool kedge_transition_read(const struct kedge_transition *line, struct kedge_transition_view *view);
void kedge_transition_write(struct kedge_transition *line, const struct kedge_transition_view *view);
bool kedge_ack_read(const struct kedge_ack *ack, struct kedge_ack_view *view);
void kedge_ack_write(struct kedge_ack *ack, const struct kedge_ack_view *view);

/* Renews the heartbeat of an own segment (at_ns, count). */
void kedge_beat(struct kedge_beat *beat, uint64_t now_ns);

/*
 * The tightening store (PO-15): transition line first, then the word, then the stamp, then the bell.
 * `view->decided_at_ns` is stamped here when it is 0, `stage_at_ns` becomes it when 0, `stage` becomes
 * KEDGE_STAGE_TIGHTEN. Returns decided_at_ns.
 */
uint64_t kedge_posture_tighten(struct kedge_posture_segment *posture, struct kedge_transition_view *view, unsigned flags);

/*
 * The last step of a loosening in the same way: the line with KEDGE_STAGE_LOOSEN_DATAPLANE, whose budget runs from
 * `view->stage_at_ns` (stamped here when it is 0), then the word, its stamp, one ring at the end, so that nobody
 * is woken between the two. Returns stage_at_ns.
 */
uint64_t kedge_posture_loosen(struct kedge_posture_segment *posture, struct kedge_transition_view *view, unsigned flags);

#ifdef __cplusplus
}
#endif
#endif
