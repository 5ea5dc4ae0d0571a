/*
 * The implementation of segment.h: opening, checking, reading and ringing the board's segments.
 *
 * It must know no policy, keep no state of its own between calls (but for the constant CRC table), and
 * never wait without a bound on what another process wrote.
 */
#define _GNU_SOURCE
#include "kedge/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Tests widen the moment between line and word, so that a wrong order shows; otherwise there is nothing. */
#ifndef KEDGE_BETWEEN_STORES
#define KEDGE_BETWEEN_STORES() ((void)0)
#endif

#define SEGMENT_MODE 0644u
#define LOCK_TRIES 16u           /* somebody removes our lock file again and again */
#define HEADER_TRIES 20u         /* a writer renews its header: microseconds, seen by a reader at worst a few times */
#define HEADER_PAUSE_NS 200000   /* between two of those tries */
#define FALLBACK_SLICE_NS UINT64_C(1000000) /* several bells on a kernel without futex_waitv */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && sizeof(void *) == 8, "little-endian, 64-bit only");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "shared scalars must be lock-free");
_Static_assert(sizeof(KEDGE_ATOMIC(uint64_t)) == 8 && sizeof(KEDGE_ATOMIC(uint32_t)) == 4, "atomics add nothing");

/* ------------------------------------------------------------------ clock */

uint64_t kedge_now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ----------------------------------------------------------------- CRC-32 */

/* Slicing by eight: crc_table[k][b] is the CRC of byte b followed by k zero bytes. */
static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_prepare(void)
{
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++)
      c = (c & 1u) != 0 ? (c >> 1) ^ UINT32_C(0xedb88320) : c >> 1;
    crc_table[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int k = 1; k < 8; k++)
      crc_table[k][i] = (crc_table[k - 1][i] >> 8) ^ crc_table[0][crc_table[k - 1][i] & 0xffu];
}

uint32_t kedge_crc32(uint32_t crc, const void *bytes, size_t length)
{
  const uint8_t *p = bytes;
  pthread_once(&crc_once, crc_prepare);
  crc = ~crc;
  while (length >= 8) {
    uint64_t v;
    memcpy(&v, p, 8);
    v ^= crc;
    crc = crc_table[7][v & 0xff] ^ crc_table[6][(v >> 8) & 0xff] ^ crc_table[5][(v >> 16) & 0xff] ^
          crc_table[4][(v >> 24) & 0xff] ^ crc_table[3][(v >> 32) & 0xff] ^ crc_table[2][(v >> 40) & 0xff] ^
          crc_table[1][(v >> 48) & 0xff] ^ crc_table[0][v >> 56];
    p += 8;
    length -= 8;
  }
  while (length-- > 0)
    crc = (crc >> 8) ^ crc_table[0][(crc ^ *p++) & 0xffu];
  return ~crc;
}

/* --------------------------------------------------------------- refusals */

const char *kedge_refusal_text(enum kedge_refusal refusal)
{
  switch (refusal) {
  case KEDGE_REFUSAL_NONE: return "the segment is good";
  case KEDGE_REFUSAL_MISSING: return "the segment does not exist";
  case KEDGE_REFUSAL_NOT_REGULAR: return "the segment is not a regular file (symbolic links are not followed)";
  case KEDGE_REFUSAL_OWNER: return "the segment belongs to another user than the one expected";
  case KEDGE_REFUSAL_MODE: return "the segment's mode is not exactly 0644";
  case KEDGE_REFUSAL_SIZE: return "the segment's size is not that of its kind";
  case KEDGE_REFUSAL_MAGIC: return "the file does not begin with the segment magic";
  case KEDGE_REFUSAL_VERSION: return "the segment has another layout version";
  case KEDGE_REFUSAL_KIND: return "the segment is of another kind";
  case KEDGE_REFUSAL_CHECKSUM: return "the segment header's checksum does not match";
  case KEDGE_REFUSAL_BOOT: return "the segment was written in another boot";
  case KEDGE_REFUSAL_OPENING: return "the segment's header is being written and its writer does not finish";
  case KEDGE_REFUSAL_NAME: return "the segment's name is not the one expected, or is no segment name ([a-z0-9-], 1..31 bytes)";
  case KEDGE_REFUSAL_DIRECTORY: return "the directory is not a real directory of root or the caller, is writable by others, "
                                       "or is group-writable without the sticky bit";
  case KEDGE_REFUSAL_BUSY: return "another live writer holds the segment";
  case KEDGE_REFUSAL_SYSTEM: return "the system refused";
  }
  return "unknown refusal";
}

/* ------------------------------------------------------ directory and names */

size_t kedge_segment_size(enum kedge_segment_kind kind)
{
  switch (kind) {
  case KEDGE_SEGMENT_POSTURE: return sizeof(struct kedge_posture_segment);
  case KEDGE_SEGMENT_WARDEN: return sizeof(struct kedge_warden_segment);
  case KEDGE_SEGMENT_TABLES: return sizeof(struct kedge_tables_segment);
  case KEDGE_SEGMENT_PARTICIPANT: return sizeof(struct kedge_participant_segment);
  case KEDGE_SEGMENT_DATAPLANE: return sizeof(struct kedge_dataplane_segment);
  }
  return 0;
}

static bool name_is_good(const char *name)
{
  size_t n = 0;
  for (; name[n] != '\0'; n++) {
    char c = name[n];
    if (n >= KEDGE_NAME_BYTES - 1 || !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
      return false;
  }
  return n > 0;
}

/*
 * Opens the directory and judges what was opened, so that nothing can be exchanged in between.
 * Trailing slashes are cut off: with one, the kernel would follow a symbolic link in spite of O_NOFOLLOW.
 */
static enum kedge_refusal directory_open(const char *directory, int *fd)
{
  char path[PATH_MAX];
  size_t n = strlen(directory);
  while (n > 1 && directory[n - 1] == '/')
    n--;
  if (n == 0 || n >= sizeof(path)) {
    errno = n == 0 ? ENOENT : ENAMETOOLONG;
    return KEDGE_REFUSAL_SYSTEM;
  }
  memcpy(path, directory, n);
  path[n] = '\0';
  *fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (*fd < 0)
    return errno == ELOOP || errno == ENOTDIR ? KEDGE_REFUSAL_DIRECTORY : KEDGE_REFUSAL_SYSTEM;
  struct stat st;
  enum kedge_refusal refusal = KEDGE_REFUSAL_NONE;
  if (fstat(*fd, &st) != 0)
    refusal = KEDGE_REFUSAL_SYSTEM;
  else if (!S_ISDIR(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & S_IWOTH) != 0 ||
           ((st.st_mode & S_IWGRP) != 0 && (st.st_mode & S_ISVTX) == 0))
    refusal = KEDGE_REFUSAL_DIRECTORY;
  if (refusal != KEDGE_REFUSAL_NONE) {
    int saved = errno;
    close(*fd);
    *fd = -1;
    errno = saved;
  }
  return refusal;
}

enum kedge_refusal kedge_directory_verify(const char *directory)
{
  int fd;
  enum kedge_refusal refusal = directory_open(directory, &fd);
  if (refusal == KEDGE_REFUSAL_NONE)
    close(fd);
  return refusal;
}

/* ----------------------------------------------------------------- header */

/* The header's plain fields are renewed while readers may look: both sides touch them in whole words. */
typedef uint64_t __attribute__((may_alias)) header_word;
#define HEADER_WORDS (offsetof(struct kedge_segment_header, reserved) / sizeof(header_word))
_Static_assert(offsetof(struct kedge_segment_header, opening) == 100, "checksum and `opening` share the last word");

static void header_copy(struct kedge_segment_header *to, const struct kedge_segment_header *from)
{
  for (size_t i = 0; i < HEADER_WORDS; i++)
    ((header_word *)(void *)to)[i] = __atomic_load_n((const header_word *)(const void *)from + i, __ATOMIC_ACQUIRE);
}

static bool boot_id_read(uint8_t id[16])
{
  char text[64];
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  unsigned digits = 0;
  for (ssize_t i = 0; i < n && digits < 32; i++) {
    char c = text[i];
    unsigned v;
    if (c >= '0' && c <= '9')
      v = (unsigned)(c - '0');
    else if (c >= 'a' && c <= 'f')
      v = (unsigned)(c - 'a') + 10u;
    else if (c == '-')
      continue;
    else
      break;
    id[digits / 2] = (uint8_t)(digits % 2 == 0 ? v << 4 : id[digits / 2] | v);
    digits++;
  }
  if (digits != 32)
    errno = EPROTO;
  return digits == 32;
}

/* Start time of this process in clock ticks since boot; 0 where /proc does not tell. */
static uint64_t own_start(void)
{
  char text[1024];
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return 0;
  ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (n <= 0)
    return 0;
  text[n] = '\0';
  /* The command name may hold anything: count fields from its last closing bracket. */
  const char *p = strrchr(text, ')');
  for (int field = 2; p != NULL && field < 22; field++) {
    p = strchr(p + 1, ' ');
  }
  return p == NULL ? 0 : strtoull(p + 1, NULL, 10);
}

static uint32_t header_checksum(const struct kedge_segment_header *header)
{
  return kedge_crc32(0, header, offsetof(struct kedge_segment_header, checksum));
}

/* What never changes in a file's life. */
static enum kedge_refusal header_judge_constant(const struct kedge_segment_header *header, const char *name,
                                                enum kedge_segment_kind kind, uid_t owner, const uint8_t boot[16])
{
  if (header->magic != KEDGE_MAGIC)
    return KEDGE_REFUSAL_MAGIC;
  if (header->version != KEDGE_LAYOUT_VERSION)
    return KEDGE_REFUSAL_VERSION;
  if (header->kind != (uint32_t)kind)
    return KEDGE_REFUSAL_KIND;
  if (header->size != kedge_segment_size(kind))
    return KEDGE_REFUSAL_SIZE;
  if (memcmp(header->boot_id, boot, 16) != 0)
    return KEDGE_REFUSAL_BOOT;
  if (header->writer_uid != owner)
    return KEDGE_REFUSAL_OWNER;
  if (memchr(header->name, '\0', KEDGE_NAME_BYTES) == NULL || strcmp(header->name, name) != 0)
    return KEDGE_REFUSAL_NAME;
  return KEDGE_REFUSAL_NONE;
}

/*
 * Judges a mapped header. A header that its writer renews meanwhile shows as `opening`, or as a wrong
 * checksum where the copy straddles the renewal: both are looked at again, a bounded number of times.
 */
static enum kedge_refusal header_judge(const struct kedge_segment_header *shared, const char *name,
                                       enum kedge_segment_kind kind, uid_t owner, const uint8_t boot[16],
                                       struct kedge_segment_header *whole)
{
  enum kedge_refusal refusal = KEDGE_REFUSAL_OPENING;
  for (unsigned i = 0; i < HEADER_TRIES; i++) {
    struct kedge_segment_header copy;
    if (i > 0) {
      struct timespec pause = {0, HEADER_PAUSE_NS};
      nanosleep(&pause, NULL);
    }
    header_copy(&copy, shared);
    refusal = header_judge_constant(&copy, name, kind, owner, boot);
    if (refusal == KEDGE_REFUSAL_MAGIC || refusal == KEDGE_REFUSAL_VERSION)
      return refusal; /* not our layout: nothing else in it means anything */
    if (atomic_load_explicit(&copy.opening, memory_order_relaxed) != 0) {
      refusal = KEDGE_REFUSAL_OPENING;
      continue;
    }
    if (refusal != KEDGE_REFUSAL_NONE)
      return refusal;
    if (header_checksum(&copy) == copy.checksum) {
      if (whole != NULL)
        header_copy(whole, &copy);
      return KEDGE_REFUSAL_NONE;
    }
    refusal = KEDGE_REFUSAL_CHECKSUM;
  }
  return refusal;
}

/* ------------------------------------------------------- open and create */

static void segment_fill(struct kedge_segment *segment, void *base, size_t size, int fd, int directory, int writable,
                         const struct stat *st, enum kedge_segment_kind kind, const char *name)
{
  memset(segment, 0, sizeof(*segment));
  segment->base = base;
  segment->size = size;
  segment->fd = fd;
  segment->lock = -1;
  segment->directory = directory;
  segment->writable = writable;
  segment->inode = st->st_ino;
  segment->device = st->st_dev;
  segment->kind = kind;
  memcpy(segment->name, name, strlen(name) + 1);
}

static void segment_clear(struct kedge_segment *segment)
{
  memset(segment, 0, sizeof(*segment));
  segment->fd = -1;
  segment->lock = -1;
  segment->directory = -1;
}

/* What the file itself must be, before a byte of it is looked at. */
static enum kedge_refusal file_judge(const struct stat *st, enum kedge_segment_kind kind, uid_t owner)
{
  if (!S_ISREG(st->st_mode))
    return KEDGE_REFUSAL_NOT_REGULAR;
  if (owner != KEDGE_ANY_OWNER && st->st_uid != owner)
    return KEDGE_REFUSAL_OWNER;
  if ((st->st_mode & 07777u) != SEGMENT_MODE)
    return KEDGE_REFUSAL_MODE;
  if ((uint64_t)st->st_size != kedge_segment_size(kind))
    return KEDGE_REFUSAL_SIZE;
  return KEDGE_REFUSAL_NONE;
}

enum kedge_refusal kedge_segment_open(struct kedge_segment *segment, const char *directory, const char *name,
                                      enum kedge_segment_kind kind, uid_t owner)
{
  segment_clear(segment);
  if (kedge_segment_size(kind) == 0)
    return KEDGE_REFUSAL_KIND;
  if (!name_is_good(name))
    return KEDGE_REFUSAL_NAME;
  uint8_t boot[16];
  int dir;
  enum kedge_refusal refusal = directory_open(directory, &dir);
  if (refusal != KEDGE_REFUSAL_NONE)
    return refusal;
  struct stat st;
  void *base = MAP_FAILED;
  /* O_NONBLOCK: a FIFO in the place must not hold us. */
  int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    int why = errno;
    refusal = why == ENOENT ? KEDGE_REFUSAL_MISSING : KEDGE_REFUSAL_SYSTEM;
    /* A link, a socket or a closed mode cannot be opened at all: say what it is. */
    if (refusal == KEDGE_REFUSAL_SYSTEM && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
      enum kedge_refusal judged = file_judge(&st, kind, owner);
      if (judged != KEDGE_REFUSAL_NONE)
        refusal = judged;
    }
    errno = why;
    goto refuse;
  }
  if (fstat(fd, &st) != 0) {
    refusal = KEDGE_REFUSAL_SYSTEM;
    goto refuse;
  }
  refusal = file_judge(&st, kind, owner);
  if (refusal != KEDGE_REFUSAL_NONE)
    goto refuse;
  size_t size = kedge_segment_size(kind);
  if (!boot_id_read(boot) || (base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED) {
    refusal = KEDGE_REFUSAL_SYSTEM;
    goto refuse;
  }
  refusal = header_judge(base, name, kind, st.st_uid, boot, NULL);
  if (refusal != KEDGE_REFUSAL_NONE)
    goto refuse;
  segment_fill(segment, base, size, fd, dir, 0, &st, kind, name);
  return KEDGE_REFUSAL_NONE;

refuse:;
  int saved = errno;
  if (base != MAP_FAILED)
    munmap(base, kedge_segment_size(kind));
  if (fd >= 0)
    close(fd);
  close(dir);
  errno = saved;
  return refusal;
}

/*
 * Writes the fields that a (re)opening writer renews. `opening` goes up before and down after, so that a
 * reader never believes half of it; a crash in between leaves `opening` up, which the next writer repairs.
 */
static void header_renew(struct kedge_segment_header *shared, uint64_t incarnation)
{
  struct kedge_segment_header next;
  header_copy(&next, shared);
  next.incarnation = incarnation;
  next.writer_pid = (uint32_t)getpid();
  next.writer_start = own_start();
  next.writer_uid = (uint32_t)geteuid();
  next.checksum = header_checksum(&next);
  atomic_store_explicit(&shared->opening, 1, memory_order_seq_cst);
  __atomic_store_n(&shared->incarnation, next.incarnation, __ATOMIC_RELEASE);
  __atomic_store_n(&shared->writer_start, next.writer_start, __ATOMIC_RELEASE);
  __atomic_store_n(&shared->writer_pid, next.writer_pid, __ATOMIC_RELEASE);
  __atomic_store_n(&shared->writer_uid, next.writer_uid, __ATOMIC_RELEASE);
  __atomic_store_n(&shared->checksum, next.checksum, __ATOMIC_RELEASE);
  atomic_store_explicit(&shared->opening, 0, memory_order_release);
}

/*
 * The writer's lock is a flock on a file of its own, ".NAME.lock" with mode 0600: anybody who may read a
 * file may flock it, so a lock on the segment itself could be held against its writer by any reader. It also
 * outlives the segment file: a writer whose file was removed still keeps a second one out.
 */
static enum kedge_refusal lock_take(int dir, const char *name, int *lock)
{
  char lock_name[KEDGE_NAME_BYTES + 8];
  snprintf(lock_name, sizeof(lock_name), ".%s.lock", name);
  for (unsigned i = 0; i < LOCK_TRIES; i++) {
    struct stat st, now;
    enum kedge_refusal refusal = KEDGE_REFUSAL_SYSTEM;
    int fd = openat(dir, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0) {
      int why = errno;
      if (fstatat(dir, lock_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        refusal = st.st_uid != geteuid()  ? KEDGE_REFUSAL_OWNER
                  : !S_ISREG(st.st_mode) ? KEDGE_REFUSAL_NOT_REGULAR
                                         : KEDGE_REFUSAL_SYSTEM;
      errno = why;
      return refusal;
    }
    if (fstat(fd, &st) != 0)
      refusal = KEDGE_REFUSAL_SYSTEM;
    else if (!S_ISREG(st.st_mode))
      refusal = KEDGE_REFUSAL_NOT_REGULAR;
    else if (st.st_uid != geteuid())
      refusal = KEDGE_REFUSAL_OWNER;
    else if ((st.st_mode & 07777u) != 0600u && fchmod(fd, 0600) != 0)
      refusal = KEDGE_REFUSAL_SYSTEM;
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
      refusal = errno == EWOULDBLOCK ? KEDGE_REFUSAL_BUSY : KEDGE_REFUSAL_SYSTEM;
    else if (fstatat(dir, lock_name, &now, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == now.st_ino)
      refusal = KEDGE_REFUSAL_NONE;
    else
      refusal = KEDGE_REFUSAL_MISSING; /* removed between open and lock: nobody else would see our lock */
    if (refusal == KEDGE_REFUSAL_NONE) {
      *lock = fd;
      return refusal;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    if (refusal != KEDGE_REFUSAL_MISSING)
      return refusal;
  }
  return KEDGE_REFUSAL_BUSY;
}

/* Renames, but never over something; with link and unlink on a file system that cannot do it in one. */
static int name_give(int dir, const char *temporary, const char *name)
{
  if (renameat2(dir, temporary, dir, name, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
  return linkat(dir, temporary, dir, name, 0) == 0 ? unlinkat(dir, temporary, 0) : -1;
}

/*
 * Makes a new file whole under a temporary name and gives it its own: by a rename that replaces nothing where
 * there must be none yet, by a plain one over the file that is replaced. Under the writer's lock, so the temporary name can be fixed; one
 * that stands there was left by a writer that died in the middle.
 */
static enum kedge_refusal segment_make(struct kedge_segment *segment, int dir, const char *name,
                                       enum kedge_segment_kind kind, const uint8_t boot[16], bool replace)
{
  size_t size = kedge_segment_size(kind);
  enum kedge_refusal refusal = KEDGE_REFUSAL_SYSTEM;
  char temporary[KEDGE_NAME_BYTES + 8];
  void *base = MAP_FAILED;
  struct stat st;

  snprintf(temporary, sizeof(temporary), ".%s.new", name);
  if (unlinkat(dir, temporary, 0) != 0 && errno != ENOENT)
    return KEDGE_REFUSAL_SYSTEM;
  int fd = openat(dir, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return KEDGE_REFUSAL_SYSTEM;
  /* Every page is allocated now: a full file system is an error here and not a SIGBUS at a store. */
  int full = 0;
  if (fchmod(fd, SEGMENT_MODE) != 0 || (full = posix_fallocate(fd, 0, (off_t)size)) != 0 || fstat(fd, &st) != 0) {
    if (full != 0)
      errno = full;
    goto fail;
  }
  base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    goto fail;
  struct kedge_segment_header *header = base;
  header->magic = KEDGE_MAGIC;
  header->version = KEDGE_LAYOUT_VERSION;
  header->kind = (uint32_t)kind;
  header->size = size;
  memcpy(header->boot_id, boot, 16);
  memcpy(header->name, name, strlen(name) + 1);
  header_renew(header, 1);
  if (replace ? renameat(dir, temporary, dir, name) != 0 : name_give(dir, temporary, name) != 0) {
    if (errno == EISDIR)
      refusal = KEDGE_REFUSAL_NOT_REGULAR;
    goto fail;
  }
  segment_fill(segment, base, size, fd, dir, 1, &st, kind, name);
  return KEDGE_REFUSAL_NONE;

fail:;
  int saved = errno;
  unlinkat(dir, temporary, 0);
  if (base != MAP_FAILED)
    munmap(base, size);
  close(fd);
  errno = saved;
  return refusal;
}

/*
 * Tries the existing file, under the writer's lock. NONE: `segment` holds it. MISSING: there is none, make
 * one. OWNER, SYSTEM: give up. Anything else: it is to be replaced.
 */
static enum kedge_refusal segment_take(struct kedge_segment *segment, int dir, const char *name,
                                       enum kedge_segment_kind kind, const uint8_t boot[16])
{
  size_t size = kedge_segment_size(kind);
  struct stat st;
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? KEDGE_REFUSAL_MISSING : KEDGE_REFUSAL_SYSTEM;
  /* A link or a pipe of ours is replaced, somebody else's is not ours to touch. */
  enum kedge_refusal refusal = st.st_uid != geteuid() ? KEDGE_REFUSAL_OWNER : file_judge(&st, kind, geteuid());
  if (refusal != KEDGE_REFUSAL_NONE)
    return refusal;
  int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return KEDGE_REFUSAL_SYSTEM;
  void *base = MAP_FAILED;
  int full = 0;
  refusal = KEDGE_REFUSAL_SYSTEM;
  if (fstat(fd, &st) != 0)
    goto fail;
  refusal = file_judge(&st, kind, geteuid());
  if (refusal != KEDGE_REFUSAL_NONE)
    goto fail;
  refusal = KEDGE_REFUSAL_SYSTEM;
  if ((full = posix_fallocate(fd, 0, (off_t)size)) != 0) {
    errno = full;
    goto fail;
  }
  base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    goto fail;
  /* We hold the lock, so `opening` can only be what a writer left that died while renewing: only the
   * renewed fields may be wrong then, and the contents are good. */
  struct kedge_segment_header copy;
  header_copy(&copy, base);
  refusal = header_judge_constant(&copy, name, kind, st.st_uid, boot);
  if (refusal == KEDGE_REFUSAL_NONE && atomic_load_explicit(&copy.opening, memory_order_relaxed) == 0 &&
      header_checksum(&copy) != copy.checksum)
    refusal = KEDGE_REFUSAL_CHECKSUM;
  if (refusal == KEDGE_REFUSAL_OWNER)
    refusal = KEDGE_REFUSAL_CHECKSUM; /* the file is ours, so the header lies: damaged, not foreign */
  if (refusal != KEDGE_REFUSAL_NONE)
    goto fail;
  /* Its last writer may have died serving; this one says so itself once it does. The same place in every kind. */
  atomic_store_explicit(&((struct kedge_participant_segment *)base)->beat.serving, 0, memory_order_release);
  header_renew(base, copy.incarnation + 1);
  segment_fill(segment, base, size, fd, dir, 1, &st, kind, name);
  return KEDGE_REFUSAL_NONE;

fail:;
  int saved = errno;
  if (base != MAP_FAILED)
    munmap(base, size);
  close(fd);
  errno = saved;
  return refusal;
}

enum kedge_refusal kedge_segment_create(struct kedge_segment *segment, const char *directory, const char *name,
                                        enum kedge_segment_kind kind, enum kedge_refusal *replaced)
{
  segment_clear(segment);
  if (replaced != NULL)
    *replaced = KEDGE_REFUSAL_NONE;
  if (kedge_segment_size(kind) == 0)
    return KEDGE_REFUSAL_KIND;
  if (!name_is_good(name))
    return KEDGE_REFUSAL_NAME;
  uint8_t boot[16];
  int dir, lock = -1;
  enum kedge_refusal refusal = directory_open(directory, &dir);
  if (refusal != KEDGE_REFUSAL_NONE)
    return refusal;
  refusal = boot_id_read(boot) ? lock_take(dir, name, &lock) : KEDGE_REFUSAL_SYSTEM;
  if (refusal == KEDGE_REFUSAL_NONE) {
    enum kedge_refusal why = segment_take(segment, dir, name, kind, boot);
    refusal = why;
    if (why != KEDGE_REFUSAL_NONE && why != KEDGE_REFUSAL_OWNER && why != KEDGE_REFUSAL_SYSTEM) {
      bool replace = why != KEDGE_REFUSAL_MISSING;
      refusal = segment_make(segment, dir, name, kind, boot, replace);
      if (refusal == KEDGE_REFUSAL_NONE && replace && replaced != NULL)
        *replaced = why;
    }
  }
  if (refusal == KEDGE_REFUSAL_NONE) {
    segment->lock = lock;
    return refusal;
  }
  int saved = errno;
  if (lock >= 0)
    close(lock);
  close(dir);
  errno = saved;
  return refusal;
}

enum kedge_refusal kedge_segment_header_read(const struct kedge_segment *segment, struct kedge_segment_header *header)
{
  uint8_t boot[16];
  struct stat st;
  if (segment->base == NULL)
    errno = EBADF;
  if (segment->base == NULL || fstat(segment->fd, &st) != 0 || !boot_id_read(boot))
    return KEDGE_REFUSAL_SYSTEM;
  if ((uint64_t)st.st_size != segment->size)
    return KEDGE_REFUSAL_SIZE;
  memset(header, 0, sizeof(*header));
  return header_judge(segment->base, segment->name, segment->kind, st.st_uid, boot, header);
}

bool kedge_segment_current(const struct kedge_segment *segment)
{
  struct stat st;
  return segment->base != NULL && fstatat(segment->directory, segment->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         st.st_ino == segment->inode && st.st_dev == segment->device && st.st_size == (off_t)segment->size;
}

int kedge_segment_lock_memory(const struct kedge_segment *segment)
{
  if (segment->base == NULL)
    return EINVAL;
  long page = sysconf(_SC_PAGESIZE);
  uint8_t *base = segment->base;
  for (size_t at = 0; at < segment->size; at += (size_t)page) {
    if (segment->writable)
      __atomic_fetch_or(base + at, 0, __ATOMIC_RELAXED); /* a write fault that changes nothing */
    else
      (void)__atomic_load_n(base + at, __ATOMIC_RELAXED);
  }
  return mlock(segment->base, segment->size) == 0 ? 0 : errno;
}

void kedge_segment_close(struct kedge_segment *segment)
{
  if (segment->base == NULL)
    return;
  munmap(segment->base, segment->size);
  close(segment->fd);
  if (segment->lock >= 0) {
    flock(segment->lock, LOCK_UN); /* said aloud: a child forked meanwhile would otherwise keep the lock */
    close(segment->lock);
  }
  close(segment->directory);
  segment_clear(segment);
}

/* ------------------------------------------------------------------ bells */

void kedge_bell_ring(KEDGE_ATOMIC(uint32_t) *bell)
{
  atomic_fetch_add_explicit(bell, 1, memory_order_seq_cst);
  int saved = errno;
  syscall(SYS_futex, bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
  errno = saved;
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* As the kernel's struct futex_waitv, which older headers lack. */
struct wait_entry {
  uint64_t value;
  uint64_t address;
  uint32_t flags;
  uint32_t reserved;
};
#define WAIT_ENTRY_32_SHARED 2u

static struct timespec timespec_of(uint64_t ns)
{
  struct timespec t = {(time_t)(ns / UINT64_C(1000000000)), (long)(ns % UINT64_C(1000000000))};
  return t;
}

/* FUTEX_WAIT on one bell; a relative timeout. */
static int bell_wait_one(const KEDGE_ATOMIC(uint32_t) *bell, uint32_t seen, uint64_t timeout_ns)
{
  struct timespec t = timespec_of(timeout_ns);
  long r = syscall(SYS_futex, bell, FUTEX_WAIT, seen, timeout_ns == UINT64_MAX ? NULL : &t, NULL, 0);
  if (r == 0 || errno == EAGAIN || errno == EINTR)
    return 0;
  return errno;
}

int kedge_bells_wait(const KEDGE_ATOMIC(uint32_t) *const *bells, const uint32_t *seen, unsigned count, uint64_t timeout_ns)
{
  struct wait_entry entries[KEDGE_MAX_BELLS];
  if (count > KEDGE_MAX_BELLS || (count == 0 && timeout_ns == UINT64_MAX))
    return EINVAL;
  for (unsigned i = 0; i < count; i++)
    if (atomic_load_explicit(bells[i], memory_order_acquire) != seen[i])
      return 0;
  if (count == 0) {
    struct timespec t = timespec_of(timeout_ns);
    return clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL) == EINTR ? 0 : ETIMEDOUT;
  }
  if (count == 1)
    return bell_wait_one(bells[0], seen[0], timeout_ns);
  for (unsigned i = 0; i < count; i++)
    entries[i] = (struct wait_entry){seen[i], (uint64_t)(uintptr_t)bells[i], WAIT_ENTRY_32_SHARED, 0};
  struct timespec until = {0, 0};
  if (timeout_ns != UINT64_MAX) {
    uint64_t now = kedge_now_ns();
    until = timespec_of(timeout_ns > UINT64_MAX / 4 - now ? UINT64_MAX / 4 : now + timeout_ns);
  }
  long r = syscall(SYS_futex_waitv, entries, count, 0, timeout_ns == UINT64_MAX ? NULL : &until, CLOCK_MONOTONIC);
  if (r >= 0 || errno == EAGAIN || errno == EINTR)
    return 0;
  if (errno != ENOSYS && errno != EPERM)
    return errno;
  /* Before Linux 5.16, or forbidden by a filter: sleep on the first bell in short slices and look at all again. */
  bool last = timeout_ns <= FALLBACK_SLICE_NS;
  int one = bell_wait_one(bells[0], seen[0], last ? timeout_ns : FALLBACK_SLICE_NS);
  return one == ETIMEDOUT && !last ? 0 : one;
}

/* ------------------------------------------------------- lines under a lock */

/*
 * The sequence lock without fences: every field is stored with release after the odd sequence, and loaded
 * with acquire before the sequence is read again. A reader that saw any byte of a newer write therefore
 * sees that the sequence moved.
 */
#define GET(field) atomic_load_explicit(&(field), memory_order_acquire)
#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

static inline void relax(void)
{
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* Odd value to write under; one that a crashed writer left odd is taken over as it stands. */
static uint64_t lock_write(KEDGE_ATOMIC(uint64_t) *sequence)
{
  uint64_t odd = atomic_load_explicit(sequence, memory_order_relaxed) | 1u;
  atomic_store_explicit(sequence, odd, memory_order_release);
  return odd;
}

static bool level_is_good(uint32_t level) { return level >= KEDGE_LEVEL_LOCKDOWN && level <= KEDGE_LEVEL_NORMAL; }

static bool transition_is_good(const struct kedge_transition_view *v)
{
  if (v->epoch > KEDGE_EPOCH_MAX || v->stage > KEDGE_STAGE_COMPLETE || v->flags != 0)
    return false;
  if (v->stage == KEDGE_STAGE_NONE)
    return v->from <= KEDGE_LEVEL_NORMAL && v->to <= KEDGE_LEVEL_NORMAL;
  return level_is_good(v->from) && level_is_good(v->to);
}

bool kedge_transition_read(const struct kedge_transition *line, struct kedge_transition_view *view)
{
  for (unsigned i = 0; i < KEDGE_SEQLOCK_TRIES; i++, relax()) {
    struct kedge_transition_view v;
    uint64_t before = GET(line->sequence);
    if ((before & 1u) != 0)
      continue;
    v.epoch = GET(line->epoch);
    v.from = GET(line->from);
    v.to = GET(line->to);
    v.stage = GET(line->stage);
    v.flags = GET(line->flags);
    v.received_at_ns = GET(line->received_at_ns);
    v.decided_at_ns = GET(line->decided_at_ns);
    v.stage_at_ns = GET(line->stage_at_ns);
    for (unsigned p = 0; p < KEDGE_PATHS; p++)
      v.budget_ns[p] = GET(line->budget_ns[p]);
    if (atomic_load_explicit(&line->sequence, memory_order_relaxed) != before)
      continue;
    if (!transition_is_good(&v))
      return false;
    *view = v;
    return true;
  }
  return false;
}

void kedge_transition_write(struct kedge_transition *line, const struct kedge_transition_view *view)
{
  uint64_t odd = lock_write(&line->sequence);
  PUT(line->epoch, view->epoch);
  PUT(line->from, view->from);
  PUT(line->to, view->to);
  PUT(line->stage, view->stage);
  PUT(line->flags, view->flags);
  PUT(line->received_at_ns, view->received_at_ns);
  PUT(line->decided_at_ns, view->decided_at_ns);
  PUT(line->stage_at_ns, view->stage_at_ns);
  for (unsigned p = 0; p < KEDGE_PATHS; p++)
    PUT(line->budget_ns[p], view->budget_ns[p]);
  PUT(line->sequence, odd + 1);
}

bool kedge_ack_read(const struct kedge_ack *ack, struct kedge_ack_view *view)
{
  for (unsigned i = 0; i < KEDGE_SEQLOCK_TRIES; i++, relax()) {
    struct kedge_ack_view v;
    uint64_t before = GET(ack->sequence);
    if ((before & 1u) != 0)
      continue;
    v.epoch = GET(ack->epoch);
    v.started_at_ns = GET(ack->started_at_ns);
    v.finished_at_ns = GET(ack->finished_at_ns);
    v.stage = GET(ack->stage);
    v.outcome = GET(ack->outcome);
    v.level = GET(ack->level);
    v.changes = GET(ack->changes);
    if (atomic_load_explicit(&ack->sequence, memory_order_relaxed) != before)
      continue;
    /* Level 0 stands only in a slot that never acknowledged anything. */
    if (v.epoch > KEDGE_EPOCH_MAX || v.stage > KEDGE_STAGE_COMPLETE || v.outcome > KEDGE_OUTCOME_CANCELLED ||
        v.level > KEDGE_LEVEL_NORMAL || (v.level == 0 && v.epoch != 0))
      return false;
    *view = v;
    return true;
  }
  return false;
}

void kedge_ack_write(struct kedge_ack *ack, const struct kedge_ack_view *view)
{
  uint64_t odd = lock_write(&ack->sequence);
  PUT(ack->epoch, view->epoch);
  PUT(ack->started_at_ns, view->started_at_ns);
  PUT(ack->finished_at_ns, view->finished_at_ns);
  PUT(ack->stage, view->stage);
  PUT(ack->outcome, view->outcome);
  PUT(ack->level, view->level);
  PUT(ack->changes, view->changes);
  PUT(ack->sequence, odd + 1);
}

void kedge_beat(struct kedge_beat *beat, uint64_t now_ns)
{
  atomic_store_explicit(&beat->at_ns, now_ns, memory_order_release);
  atomic_store_explicit(&beat->count, atomic_load_explicit(&beat->count, memory_order_relaxed) + 1, memory_order_release);
}

/* Line, word, stamp, ring: in this order, and nothing between them that could wake anybody. */
static void store_transition(struct kedge_posture_segment *posture, const struct kedge_transition_view *view, unsigned flags)
{
  kedge_transition_write(&posture->transition, view);
  KEDGE_BETWEEN_STORES();
  /* Release: whoever acquires this word finds the line of its epoch, or a newer one. */
  atomic_store_explicit(&posture->word, kedge_word_of(view->epoch, flags, view->to), memory_order_release);
  atomic_store_explicit(&posture->stored_at_ns, kedge_now_ns(), memory_order_release);
  kedge_bell_ring(&posture->beat.bell);
}

uint64_t kedge_posture_tighten(struct kedge_posture_segment *posture, struct kedge_transition_view *view, unsigned flags)
{
  if (view->decided_at_ns == 0)
    view->decided_at_ns = kedge_now_ns();
  if (view->stage_at_ns == 0)
    view->stage_at_ns = view->decided_at_ns;
  view->stage = KEDGE_STAGE_TIGHTEN;
  store_transition(posture, view, flags);
  return view->decided_at_ns;
}

uint64_t kedge_posture_loosen(struct kedge_posture_segment *posture, struct kedge_transition_view *view, unsigned flags)
{
  if (view->stage_at_ns == 0)
    view->stage_at_ns = kedge_now_ns();
  view->stage = KEDGE_STAGE_LOOSEN_DATAPLANE;
  store_transition(posture, view, flags);
  return view->stage_at_ns;
}
