/*
 * The segments that the warden reads: opened, judged and opened again by the main thread, handed to the
 * real-time thread under one lock; which process stands behind each; and what keeps the warden alive when
 * somebody cuts a file under its mapping.
 *
 * It must not judge a posture, a deadline or a heartbeat.
 */
#ifndef KEDGE_WARDEN_BOARD_H
#define KEDGE_WARDEN_BOARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "kedge/segment.h"

#define BOARD_MAX_SLOTS (1u + CONFIG_MAX_DATAPLANES + 2u * CONFIG_MAX_PARTICIPANTS + CONFIG_MAX_UNITS)

/* What is known about the process that writes a segment. */
enum writer_state {
  WRITER_UNKNOWN, /* cannot be told, or its header does not belong to the process that it names: taken for alive */
  WRITER_ALIVE,   /* held by pidfd, pid and start time verified against the header */
  WRITER_DEAD
};

/* One segment by name. Everything but `said` changes under board.lock alone. */
struct board_slot {
  char name[KEDGE_NAME_BYTES];
  enum kedge_segment_kind kind;
  uid_t owner;
  struct kedge_segment segment; /* base NULL = absent */
  _Atomic(bool) damaged;        /* cut under the mapping: its bytes mean nothing any more */
  enum writer_state writer;
  int pidfd;                    /* -1 = none */
  uint64_t incarnation;         /* that `writer` and `pidfd` were found for */
  uint64_t seen_at_ns;          /* when this incarnation was first seen; stays when the segment goes */
  enum kedge_refusal said;      /* main thread: the refusal that the log has been told of */
};

struct board {
  const char *directory;
  pthread_mutex_t lock; /* priority-inheriting: the real-time thread takes it for every pass */
  struct board_slot slot[BOARD_MAX_SLOTS];
  unsigned slots;
  _Atomic(uint64_t) passes; /* of the real-time thread; an old mapping is closed two passes after its exchange */
  struct board_retired {
    struct kedge_segment segment;
    uint64_t passes;
    bool used;
  } retired[BOARD_MAX_SLOTS];
};

/* Prepares the slots that a configuration names. Returns 0 or errno. */
int board_init(struct board *board, const struct kedge_config *config);

/* Index of a segment's slot, or -1. */
int board_find(const struct board *board, const char *name);

/*
 * Looks at every slot: opens what can be opened, exchanges what was replaced, finds out about writers.
 * Main thread only; may sleep some milliseconds on a header that is being written.
 * True when anything was handed over.
 */
bool board_refresh(struct board *board);

/* For the real-time thread, under the lock: the mapping to read, or NULL when absent or damaged. */
const void *board_read(const struct board_slot *slot);

/* Under the lock: the header tells of another writer than the one that is known. */
bool board_writer_changed(const struct board_slot *slot);

/* Under the lock: what the writer is now. Never blocks. */
enum writer_state board_writer(const struct board_slot *slot);

/*
 * Opens a pidfd on `pid` when that process started at `start` (clock ticks since boot) and runs under
 * `uid`; -1 with errno ESRCH when that process is gone, EPERM when it is another's.
 */
int board_pidfd(pid_t pid, uint64_t start, uid_t uid);

/* True once the process of a pidfd has ended (a zombie has). Never blocks. */
bool board_process_ended(int pidfd);

/* Field 22 of /proc/PID/stat; 0 = not to be told. */
uint64_t board_start_time(pid_t pid);

#endif
