/*
 * Opening and exchanging the board's segments beside the real-time thread.
 *
 * It must not let a foreign file stop or end the warden: whatever can sleep happens in the main thread, and
 * a mapping whose file was cut reads as zeros.
 */
#define _GNU_SOURCE
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

/* --------------------------------------------------------------- the guard */

/*
 * Mappings of foreign files, for the SIGBUS handler. An owner may cut his file at any time; the next access
 * then faults. The handler puts a page of zeros there, so that the access goes on, and marks the slot.
 */
static struct guard {
  _Atomic(uintptr_t) base;
  _Atomic(size_t) size;
  struct board_slot *_Atomic slot;
} guards[2 * BOARD_MAX_SLOTS];
#define GUARDS (sizeof(guards) / sizeof(guards[0]))

/* The thread that opens or judges a segment touches a mapping that no guard knows yet. */
static _Thread_local volatile sig_atomic_t opening;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
  (void)signal;
  (void)context;
  uintptr_t at = (uintptr_t)info->si_addr;
  bool ours = opening != 0;
  for (size_t i = 0; i < GUARDS; i++) {
    uintptr_t base = atomic_load(&guards[i].base);
    if (base != 0 && at >= base && at - base < atomic_load(&guards[i].size)) {
      struct board_slot *slot = atomic_load(&guards[i].slot);
      if (slot != NULL)
        atomic_store(&slot->damaged, true);
      ours = true;
      break;
    }
  }
  uintptr_t page = at & ~(uintptr_t)4095u;
  if (!ours || page == 0 ||
      mmap((void *)page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
    /* Not a segment: let it end us as it would have. */
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigaction(SIGBUS, &usual, NULL);
  }
}

static bool guard_add(struct board_slot *slot, const struct kedge_segment *segment)
{
  for (size_t i = 0; i < GUARDS; i++)
    if (atomic_load(&guards[i].base) == 0) {
      atomic_store(&guards[i].size, segment->size);
      atomic_store(&guards[i].slot, slot);
      atomic_store(&guards[i].base, (uintptr_t)segment->base);
      return true;
    }
  return false;
}

static struct guard *guard_of(const struct kedge_segment *segment)
{
  for (size_t i = 0; i < GUARDS; i++)
    if (atomic_load(&guards[i].base) == (uintptr_t)segment->base)
      return &guards[i];
  return NULL;
}

/* ------------------------------------------------------------------ writers */

/* Reads a small file of /proc; length, or -1. */
static ssize_t proc_read(pid_t pid, const char *file, char *text, size_t size)
{
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  ssize_t n = read(fd, text, size - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n;
}

uint64_t board_start_time(pid_t pid)
{
  char text[1024];
  if (proc_read(pid, "stat", text, sizeof(text)) <= 0)
    return 0;
  /* The command name may hold anything: count fields from its last closing bracket. */
  const char *at = strrchr(text, ')');
  for (int field = 2; at != NULL && field < 22; field++)
    at = strchr(at + 1, ' ');
  return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

static bool process_uid(pid_t pid, uid_t *uid)
{
  char text[2048];
  if (proc_read(pid, "status", text, sizeof(text)) <= 0)
    return false;
  const char *at = strstr(text, "\nUid:");
  if (at == NULL)
    return false;
  *uid = (uid_t)strtoul(at + 5, NULL, 10);
  return true;
}

bool board_process_ended(int pidfd)
{
  struct pollfd p = {.fd = pidfd, .events = POLLIN};
  return poll(&p, 1, 0) == 1;
}

int board_pidfd(pid_t pid, uint64_t start, uid_t uid)
{
  if (pid <= 1 || pid == getpid()) {
    errno = EPERM;
    return -1;
  }
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (pidfd < 0)
    return -1;
  /* /proc may already speak of a later process of that number: what it says counts if ours lives afterwards. */
  uint64_t started = board_start_time(pid);
  uid_t runs_as = 0;
  bool told = process_uid(pid, &runs_as);
  int why = 0;
  if (board_process_ended(pidfd) || started != start)
    why = ESRCH;
  else if (!told || runs_as != uid)
    why = EPERM;
  if (why == 0)
    return pidfd;
  close(pidfd);
  errno = why;
  return -1;
}

enum writer_state board_writer(const struct board_slot *slot)
{
  if (slot->segment.base == NULL)
    return WRITER_DEAD;
  if (board_writer_changed(slot))
    return WRITER_UNKNOWN;
  if (slot->writer == WRITER_ALIVE && board_process_ended(slot->pidfd))
    return WRITER_DEAD;
  return slot->writer;
}

bool board_writer_changed(const struct board_slot *slot)
{
  const struct kedge_segment_header *header = slot->segment.base;
  return header != NULL && !atomic_load(&slot->damaged) &&
         __atomic_load_n(&header->incarnation, __ATOMIC_ACQUIRE) != slot->incarnation;
}

const void *board_read(const struct board_slot *slot)
{
  return atomic_load(&slot->damaged) ? NULL : slot->segment.base;
}

/* ------------------------------------------------------------------- slots */

static void add_slot(struct board *board, const struct kedge_config *config, const char *name)
{
  uid_t owner;
  if (board_find(board, name) >= 0 || board->slots == BOARD_MAX_SLOTS || !kedge_config_owner(config, name, &owner))
    return;
  struct board_slot *slot = &board->slot[board->slots++];
  memset(slot, 0, sizeof(*slot));
  memcpy(slot->name, name, strlen(name) + 1);
  slot->kind = (enum kedge_segment_kind)kedge_config_kind(name);
  slot->owner = owner;
  slot->segment.fd = slot->segment.directory = slot->pidfd = -1;
  slot->writer = WRITER_DEAD;
  slot->said = KEDGE_REFUSAL_MISSING; /* not there yet is no news */
}

int board_init(struct board *board, const struct kedge_config *config)
{
  memset(board, 0, sizeof(*board));
  board->directory = config->board;
  add_slot(board, config, KEDGE_FILE_POSTURE);
  for (size_t i = 0; i < config->dataplanes.count; i++)
    add_slot(board, config, config->dataplanes.word[i]);
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    for (size_t i = 0; i < config->participants[path].count; i++)
      add_slot(board, config, config->participants[path].word[i]);
  for (size_t i = 0; i < config->services; i++)
    if (config->service[i].segment != NULL)
      add_slot(board, config, config->service[i].segment);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
  int why = pthread_mutex_init(&board->lock, &attributes);
  pthread_mutexattr_destroy(&attributes);
  struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  if (why == 0 && sigaction(SIGBUS, &action, NULL) != 0)
    why = errno;
  return why;
}

int board_find(const struct board *board, const char *name)
{
  for (unsigned i = 0; i < board->slots; i++)
    if (strcmp(board->slot[i].name, name) == 0)
      return (int)i;
  return -1;
}

/* Closes mappings that the real-time thread can no longer be looking at. */
static void close_retired(struct board *board)
{
  uint64_t passes = atomic_load(&board->passes);
  for (unsigned i = 0; i < BOARD_MAX_SLOTS; i++) {
    struct board_retired *r = &board->retired[i];
    if (!r->used || passes < r->passes + 2)
      continue;
    struct guard *guard = guard_of(&r->segment);
    uintptr_t base = (uintptr_t)r->segment.base;
    kedge_segment_close(&r->segment);
    /* Only now: until it is unmapped, it may fault. Nothing new can have this address before: one thread maps. */
    if (guard != NULL && base != 0)
      atomic_store(&guard->base, 0);
    r->used = false;
  }
}

/* Who writes this segment. False when its header is not to be read now. */
static bool find_writer(struct board_slot *slot, const struct kedge_segment *segment, enum writer_state *writer,
                        int *pidfd, uint64_t *incarnation)
{
  struct kedge_segment_header header;
  opening = 1;
  enum kedge_refusal refusal = kedge_segment_header_read(segment, &header);
  opening = 0;
  if (refusal != KEDGE_REFUSAL_NONE)
    return false;
  *incarnation = header.incarnation;
  *pidfd = board_pidfd((pid_t)header.writer_pid, header.writer_start, slot->owner);
  *writer = *pidfd >= 0 ? WRITER_ALIVE : errno == ESRCH ? WRITER_DEAD : WRITER_UNKNOWN;
  if (*writer == WRITER_UNKNOWN)
    log_line("segment %s names process %u as its writer, which is not one of user %u: it cannot be killed through it",
             slot->name, (unsigned)header.writer_pid, (unsigned)slot->owner);
  return true;
}

/* Puts a new mapping (or none) and its writer into the slot; the old mapping waits to be closed. */
static bool exchange(struct board *board, struct board_slot *slot, const struct kedge_segment *next,
                     enum writer_state writer, int pidfd, uint64_t incarnation)
{
  struct board_retired *place = NULL;
  bool remap = next != NULL && next->base != slot->segment.base;
  bool drop = next == NULL;
  if ((remap || drop) && slot->segment.base != NULL) {
    for (unsigned i = 0; i < BOARD_MAX_SLOTS && place == NULL; i++)
      if (!board->retired[i].used)
        place = &board->retired[i];
    if (place == NULL)
      return false; /* too many wait already: next time */
  }
  if (remap && !guard_add(slot, next))
    return false;
  struct guard *old = place == NULL ? NULL : guard_of(&slot->segment);
  pthread_mutex_lock(&board->lock);
  if (place != NULL) {
    if (old != NULL)
      atomic_store(&old->slot, NULL); /* a fault in the old mapping says nothing about the new one */
    *place = (struct board_retired){slot->segment, atomic_load(&board->passes), true};
  }
  if (remap)
    slot->segment = *next;
  else if (drop)
    slot->segment.base = NULL;
  if (remap || drop)
    atomic_store(&slot->damaged, false);
  int before = slot->pidfd;
  slot->pidfd = pidfd;
  slot->writer = writer;
  slot->incarnation = incarnation;
  if (!drop)
    slot->seen_at_ns = kedge_now_ns();
  pthread_mutex_unlock(&board->lock);
  if (before >= 0 && before != pidfd)
    close(before);
  return true;
}

static bool refresh_slot(struct board *board, struct board_slot *slot)
{
  enum writer_state writer;
  int pidfd;
  uint64_t incarnation;
  bool held = slot->segment.base != NULL;
  if (held && !atomic_load(&slot->damaged) && kedge_segment_current(&slot->segment)) {
    if (!board_writer_changed(slot))
      return false;
    return find_writer(slot, &slot->segment, &writer, &pidfd, &incarnation) &&
           exchange(board, slot, &slot->segment, writer, pidfd, incarnation);
  }
  struct kedge_segment next;
  opening = 1;
  enum kedge_refusal refusal = kedge_segment_open(&next, board->directory, slot->name, slot->kind, slot->owner);
  opening = 0;
  if (refusal != KEDGE_REFUSAL_NONE) {
    if (refusal != slot->said)
      log_line("segment %s is taken for absent: %s", slot->name, kedge_refusal_text(refusal));
    slot->said = refusal;
    /* As long as its process lives, what it mapped last counts: taking a file away ends no obligation. */
    if (held && board_writer(slot) == WRITER_DEAD)
      return exchange(board, slot, NULL, WRITER_DEAD, -1, 0);
    return false;
  }
  if (!find_writer(slot, &next, &writer, &pidfd, &incarnation)) {
    kedge_segment_close(&next);
    return false;
  }
  if (!exchange(board, slot, &next, writer, pidfd, incarnation)) {
    if (pidfd >= 0)
      close(pidfd);
    kedge_segment_close(&next);
    return false;
  }
  if (slot->said != KEDGE_REFUSAL_NONE && slot->said != KEDGE_REFUSAL_MISSING)
    log_line("segment %s is good again", slot->name);
  slot->said = KEDGE_REFUSAL_NONE;
  return true;
}

bool board_refresh(struct board *board)
{
  bool changed = false;
  close_retired(board);
  for (unsigned i = 0; i < board->slots; i++)
    changed |= refresh_slot(board, &board->slot[i]);
  return changed;
}
