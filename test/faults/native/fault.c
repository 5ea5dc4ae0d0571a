/*
 * kedge-fault: storage that fails and a wall clock that jumps, loaded into a process with LD_PRELOAD.
 *
 * It must not change anything about paths outside of its prefix, nor keep a state of its own: rules and counters
 * stand in the control file, which whoever plays storage maps or writes while the process runs.
 *
 *   KEDGE_FAULT_CONTROL=FILE   struct fault_control, mapped shared; without it nothing is changed
 *   KEDGE_FAULT_PREFIX=DIR     the directory whose files are concerned; absolute, without links in it
 *   KEDGE_FAULT_LOG=FILE       every call that changes storage below the prefix, and every one that a rule refused, is
 *                              appended here, with its bytes, in the order in which the calls took effect
 *   KEDGE_FAULT_SNAPSHOT=FILE  its content just before each logged call is kept with it (a shared memory segment:
 *                              what survived a crash at that moment)
 *
 * A write to a descriptor of O_DSYNC is a write and a flush.
 * While a log is kept the calls take effect one after the other; what a rule delays or hangs waits outside of that.
 * The files are written by raw system calls, so that the layer never meets itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FAULT_MAGIC UINT32_C(0x3146644b) /* "KdF1" as little-endian bytes */
#define FAULT_RULES 16
#define SNAPSHOT_MAX 65536
#define PATH_ROOM (PATH_MAX + 16)

enum fault_op {
  OP_OPEN = 1,     /* a file was made or emptied; others are not logged, but may be made to fail */
  OP_WRITE = 2,
  OP_SYNC = 3,     /* fsync and fdatasync, of files and of directories */
  OP_RENAME = 4,
  OP_TRUNCATE = 5,
  OP_UNLINK = 6,
  OP_LINK = 7,
  OP_MKDIR = 8
};

enum fault_action {
  ACT_FAIL = 1,       /* -1 and `error` */
  ACT_SHORT = 2,      /* half of what was to be written, at least one byte */
  ACT_FULL = 3,       /* `bytes` more fit, then ENOSPC; what lies inside of a file needs no room */
  ACT_DELAY = 4,      /* `delay_ns`, then as ever */
  ACT_HANG = 5,       /* until the rule is not active any more, then as ever */
  ACT_KILL_BEFORE = 6,
  ACT_KILL_AFTER = 7
};

/* 256 bytes. The first `skip` calls that match pass, then `limit` are struck (0: all). */
struct fault_rule {
  _Atomic uint32_t active;
  uint32_t ops;       /* 1 << enum fault_op */
  uint32_t action;
  int32_t error;
  uint64_t skip;
  uint64_t limit;
  uint64_t bytes;
  uint64_t delay_ns;
  _Atomic uint64_t seen;
  _Atomic uint64_t struck;
  _Atomic uint64_t taken; /* ACT_FULL: bytes used up */
  char pattern[184];      /* fnmatch(3) on the path below the prefix; empty: all */
};
_Static_assert(sizeof(struct fault_rule) == 256, "rule size");

struct fault_control {
  uint32_t magic;
  uint32_t version;
  _Atomic int64_t wall_offset_ns; /* added to every reading of the wall clock */
  _Atomic uint64_t wall_readings; /* how often it was read: shows that the process reads it through here */
  uint8_t reserved[40];
  struct fault_rule rule[FAULT_RULES];
};
_Static_assert(sizeof(struct fault_control) == 64 + FAULT_RULES * 256, "control size");

/* 80 bytes, then path, path2, data and snapshot. */
struct fault_frame {
  uint32_t magic;
  uint32_t op;
  uint64_t begin_ns, end_ns; /* CLOCK_MONOTONIC */
  uint64_t inode;
  uint64_t offset;   /* WRITE: where; TRUNCATE: length; OPEN: 1 = was made, 0 = was there */
  int64_t result;
  uint32_t error;
  uint32_t flags;    /* OPEN: flags of open(2) */
  uint32_t path_bytes, path2_bytes, data_bytes, snapshot_bytes;
  uint32_t pid;
  uint32_t reserved;
};
_Static_assert(sizeof(struct fault_frame) == 80, "frame size");

static struct fault_control *control;
static char prefix[PATH_ROOM];
static size_t prefix_length;
static const char *snapshot_path;
static int log_fd = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static int raw_open(const char *path, int flags, mode_t mode)
{
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

__attribute__((constructor)) static void begin(void)
{
  const char *path = getenv("KEDGE_FAULT_CONTROL"), *below = getenv("KEDGE_FAULT_PREFIX");
  const char *log = getenv("KEDGE_FAULT_LOG");
  *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
  if (path == NULL || below == NULL || strlen(below) >= PATH_MAX)
    return;
  int fd = raw_open(path, O_RDWR, 0);
  if (fd < 0)
    return;
  struct stat status;
  void *at = MAP_FAILED;
  if (fstat(fd, &status) == 0 && status.st_size == (off_t)sizeof *control)
    at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (at == MAP_FAILED || ((struct fault_control *)at)->magic != FAULT_MAGIC)
    return;
  prefix_length = strlen(below);
  memcpy(prefix, below, prefix_length);
  snapshot_path = getenv("KEDGE_FAULT_SNAPSHOT");
  if (log != NULL)
    log_fd = raw_open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  control = at;
}

static uint64_t now_ns(void)
{
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void wait_ns(uint64_t ns)
{
  struct timespec left = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  while (syscall(SYS_nanosleep, &left, &left) != 0 && errno == EINTR)
    ;
}

/* ------------------------------------------------------------------- paths */

/* The part of an absolute path below the prefix ("" for the prefix itself); NULL where it lies elsewhere. */
static const char *below(const char *path)
{
  if (control == NULL || strncmp(path, prefix, prefix_length) != 0)
    return NULL;
  if (path[prefix_length] == '\0')
    return path + prefix_length;
  return path[prefix_length] == '/' ? path + prefix_length + 1 : NULL;
}

static int path_of_fd(int fd, char *path)
{
  char name[40] = "/proc/self/fd/";
  char digits[12];
  size_t count = 0, at = strlen(name);
  if (fd < 0)
    return -1;
  do {
    digits[count++] = (char)('0' + fd % 10);
    fd /= 10;
  } while (fd > 0);
  while (count > 0)
    name[at++] = digits[--count];
  name[at] = '\0';
  long length = syscall(SYS_readlinkat, AT_FDCWD, name, path, PATH_MAX);
  if (length < 0)
    return -1;
  path[length] = '\0';
  return 0;
}

static int path_of(int directory, const char *given, char *path)
{
  size_t length = strlen(given), base;
  if (given[0] == '/') {
    if (length >= PATH_MAX)
      return -1;
    memcpy(path, given, length + 1);
    return 0;
  }
  if (directory == AT_FDCWD) {
    long cwd = syscall(SYS_getcwd, path, PATH_MAX);
    if (cwd <= 0)
      return -1;
  } else if (path_of_fd(directory, path) != 0) {
    return -1;
  }
  base = strlen(path);
  if (base + 1 + length >= PATH_MAX)
    return -1;
  path[base] = '/';
  memcpy(path + base + 1, given, length + 1);
  return 0;
}

/* ------------------------------------------------------------------- rules */

struct verdict {
  int error;       /* not 0: fail with it */
  size_t room;     /* bytes that a write may take */
  int kill_after;
};

/* What the rules say about a call; waits where one of them says so. `needed`: bytes by which a file would grow. */
static struct verdict judge(enum fault_op op, const char *relative, size_t length, uint64_t needed)
{
  struct verdict verdict = {0, length, 0};
  for (int i = 0; i < FAULT_RULES; i++) {
    struct fault_rule *rule = &control->rule[i];
    if (atomic_load(&rule->active) == 0 || (rule->ops & (1u << op)) == 0)
      continue;
    if (rule->pattern[0] != '\0' && fnmatch(rule->pattern, relative, 0) != 0)
      continue;
    uint64_t number = atomic_fetch_add(&rule->seen, 1);
    if (number < rule->skip || (rule->limit != 0 && number >= rule->skip + rule->limit))
      continue;
    if (rule->action == ACT_FULL) {
      uint64_t taken = atomic_fetch_add(&rule->taken, needed);
      if (needed == 0 || taken + needed <= rule->bytes)
        continue;
      uint64_t left = taken < rule->bytes ? rule->bytes - taken : 0;
      uint64_t inside = length > needed ? length - needed : 0;
      atomic_fetch_add(&rule->struck, 1);
      if (left + inside == 0 || op != OP_WRITE)
        verdict.error = ENOSPC;
      else if (left + inside < verdict.room)
        verdict.room = (size_t)(left + inside);
      continue;
    }
    atomic_fetch_add(&rule->struck, 1);
    switch (rule->action) {
    case ACT_FAIL:
      verdict.error = rule->error;
      break;
    case ACT_SHORT:
      if (verdict.room > 1)
        verdict.room /= 2;
      break;
    case ACT_DELAY:
      wait_ns(rule->delay_ns);
      break;
    case ACT_HANG:
      while (atomic_load(&rule->active) != 0)
        wait_ns(2000000);
      break;
    case ACT_KILL_BEFORE:
      syscall(SYS_kill, getpid(), SIGKILL);
      break;
    case ACT_KILL_AFTER:
      verdict.kill_after = 1;
      break;
    default:
      break;
    }
  }
  return verdict;
}

/* --------------------------------------------------------------------- log */

struct logged {
  struct fault_frame frame;
  size_t snapshot;
  uint8_t *seen;
};

static void log_begin(struct logged *logged)
{
  memset(logged, 0, sizeof *logged);
  if (log_fd < 0)
    return;
  pthread_mutex_lock(&turn);
  if (snapshot_path != NULL) {
    int fd = raw_open(snapshot_path, O_RDONLY, 0);
    logged->seen = fd < 0 ? NULL : malloc(SNAPSHOT_MAX);
    long got = logged->seen == NULL ? -1 : syscall(SYS_read, fd, logged->seen, (size_t)SNAPSHOT_MAX);
    logged->snapshot = got > 0 ? (size_t)got : 0;
    if (fd >= 0)
      syscall(SYS_close, fd);
  }
  logged->frame.begin_ns = now_ns();
}

static void log_end(struct logged *logged, enum fault_op op, const char *path, const char *path2,
                    const struct iovec *data, int parts, size_t data_bytes)
{
  if (log_fd < 0)
    return;
  struct fault_frame *frame = &logged->frame;
  frame->magic = FAULT_MAGIC;
  frame->op = op;
  frame->end_ns = now_ns();
  frame->pid = (uint32_t)getpid();
  frame->path_bytes = (uint32_t)strlen(path);
  frame->path2_bytes = (uint32_t)(path2 == NULL ? 0 : strlen(path2));
  frame->data_bytes = (uint32_t)data_bytes;
  frame->snapshot_bytes = (uint32_t)logged->snapshot;
  size_t total = sizeof *frame + frame->path_bytes + frame->path2_bytes + data_bytes + logged->snapshot;
  uint8_t *whole = malloc(total), *at = whole;
  if (whole != NULL) {
    memcpy(at, frame, sizeof *frame);
    at += sizeof *frame;
    memcpy(at, path, frame->path_bytes);
    at += frame->path_bytes;
    if (frame->path2_bytes > 0)
      memcpy(at, path2, frame->path2_bytes);
    at += frame->path2_bytes;
    size_t left = data_bytes;
    for (int i = 0; i < parts && left > 0; i++) {
      size_t take = data[i].iov_len < left ? data[i].iov_len : left;
      memcpy(at, data[i].iov_base, take);
      at += take;
      left -= take;
    }
    if (logged->snapshot > 0)
      memcpy(at, logged->seen, logged->snapshot);
    for (size_t done = 0; done < total;) {
      long wrote = syscall(SYS_write, log_fd, whole + done, total - done);
      if (wrote <= 0)
        break;
      done += (size_t)wrote;
    }
    free(whole);
  }
  free(logged->seen);
  pthread_mutex_unlock(&turn);
}

static void log_drop(struct logged *logged)
{
  if (log_fd < 0)
    return;
  free(logged->seen);
  pthread_mutex_unlock(&turn);
}

/* A call that was refused by a rule is in the log as well: what comes after it may depend on it. */
static int refused(enum fault_op op, const char *path, uint64_t inode, int error)
{
  struct logged logged;
  log_begin(&logged);
  logged.frame.inode = inode;
  logged.frame.result = -1;
  logged.frame.error = (uint32_t)error;
  log_end(&logged, op, path, NULL, NULL, 0, 0);
  errno = error;
  return -1;
}

static long ended(long result, int error, const struct verdict *verdict)
{
  if (verdict->kill_after)
    syscall(SYS_kill, getpid(), SIGKILL);
  errno = error;
  return result;
}

static uint64_t inode_at(int directory, const char *path)
{
  struct stat status;
  return fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)status.st_ino : 0;
}

/* ------------------------------------------------------------------ writes */

/* A flush of a file below the prefix. */
static int flush_below(int fd, long number, const char *path, const char *relative)
{
  struct verdict verdict = judge(OP_SYNC, relative, 0, 0);
  struct stat status;
  memset(&status, 0, sizeof status);
  fstat(fd, &status);
  if (verdict.error != 0)
    return refused(OP_SYNC, path, (uint64_t)status.st_ino, verdict.error);
  struct logged logged;
  log_begin(&logged);
  int result = (int)syscall(number, fd);
  int error = errno;
  if (log_fd >= 0) {
    logged.frame.inode = (uint64_t)status.st_ino;
    logged.frame.result = result;
    if (result == 0)
      log_end(&logged, OP_SYNC, path, NULL, NULL, 0, 0);
    else
      log_drop(&logged);
  }
  return (int)ended(result, error, &verdict);
}

/* `where` < 0: at the position of the descriptor. */
static ssize_t put(int fd, const struct iovec *parts, int count, off_t where)
{
  char path[PATH_ROOM];
  const char *relative = control == NULL || path_of_fd(fd, path) != 0 ? NULL : below(path);
  if (relative == NULL)
    return where < 0 ? syscall(SYS_writev, fd, parts, count)
                     : syscall(SYS_pwritev, fd, parts, count, (unsigned long)where, 0ul);
  size_t length = 0;
  for (int i = 0; i < count; i++)
    length += parts[i].iov_len;
  struct stat status;
  memset(&status, 0, sizeof status);
  fstat(fd, &status);
  long mode = syscall(SYS_fcntl, fd, F_GETFL);
  int appends = (mode & O_APPEND) != 0;
  off_t from = appends ? status.st_size : where >= 0 ? where : (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
  off_t end = from + (off_t)length;
  uint64_t needed = end > status.st_size ? (uint64_t)(end - (from > status.st_size ? from : status.st_size)) : 0;
  struct verdict verdict = judge(OP_WRITE, relative, length, needed);
  if (verdict.error != 0)
    return refused(OP_WRITE, path, (uint64_t)status.st_ino, verdict.error);
  struct iovec some[64];
  if (verdict.room < length) {
    size_t left = verdict.room;
    int kept = 0;
    for (; kept < count && kept < 64 && left > 0; kept++) {
      some[kept] = parts[kept];
      if (some[kept].iov_len > left)
        some[kept].iov_len = left;
      left -= some[kept].iov_len;
    }
    parts = some;
    count = kept;
  }
  struct logged logged;
  log_begin(&logged);
  long result = where < 0 ? syscall(SYS_writev, fd, parts, count)
                          : syscall(SYS_pwritev, fd, parts, count, (unsigned long)where, 0ul);
  int error = errno;
  if (log_fd >= 0) {
    fstat(fd, &status);
    logged.frame.inode = (uint64_t)status.st_ino;
    logged.frame.result = result;
    if (appends || where < 0)
      from = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR) - (result > 0 ? result : 0);
    logged.frame.offset = (uint64_t)from;
    if (result > 0)
      log_end(&logged, OP_WRITE, path, NULL, parts, count, (size_t)result);
    else
      log_drop(&logged);
  }
  /* A synchronous descriptor: a write and its flush in one call (O_SYNC has the bit of O_DSYNC). Between the two
   * anything may happen that may happen between two calls, so it is judged and logged as two. */
  if (result > 0 && (mode & O_DSYNC) != 0) {
    if (verdict.kill_after)
      syscall(SYS_kill, getpid(), SIGKILL);
    if (flush_below(fd, SYS_fdatasync, path, relative) != 0)
      return -1;
  }
  return ended(result, error, &verdict);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
  struct iovec part = {(void *)(uintptr_t)bytes, length};
  return put(fd, &part, 1, -1);
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return put(fd, parts, count, -1); }

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t where)
{
  struct iovec part = {(void *)(uintptr_t)bytes, length};
  return put(fd, &part, 1, where);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t where) { return pwrite(fd, bytes, length, where); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t where) { return put(fd, parts, count, where); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t where) { return put(fd, parts, count, where); }

/* --------------------------------------------------- everything else by fd */

static int flush(int fd, long number)
{
  char path[PATH_ROOM];
  const char *relative = control == NULL || path_of_fd(fd, path) != 0 ? NULL : below(path);
  return relative == NULL ? (int)syscall(number, fd) : flush_below(fd, number, path, relative);
}

int fsync(int fd) { return flush(fd, SYS_fsync); }
int fdatasync(int fd) { return flush(fd, SYS_fdatasync); }

int ftruncate(int fd, off_t length)
{
  char path[PATH_ROOM];
  const char *relative = control == NULL || path_of_fd(fd, path) != 0 ? NULL : below(path);
  if (relative == NULL)
    return (int)syscall(SYS_ftruncate, fd, length);
  struct verdict verdict = judge(OP_TRUNCATE, relative, 0, 0);
  if (verdict.error != 0)
    return refused(OP_TRUNCATE, path, 0, verdict.error);
  struct logged logged;
  log_begin(&logged);
  int result = (int)syscall(SYS_ftruncate, fd, length);
  int error = errno;
  struct stat status;
  if (log_fd >= 0) {
    logged.frame.inode = fstat(fd, &status) == 0 ? (uint64_t)status.st_ino : 0;
    logged.frame.offset = (uint64_t)length;
    logged.frame.result = result;
    if (result == 0)
      log_end(&logged, OP_TRUNCATE, path, NULL, NULL, 0, 0);
    else
      log_drop(&logged);
  }
  return (int)ended(result, error, &verdict);
}
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

/* ------------------------------------------------------------------ names */

static int open_below(int directory, const char *given, int flags, mode_t mode)
{
  char path[PATH_ROOM];
  const char *relative = control == NULL || path_of(directory, given, path) != 0 ? NULL : below(path);
  if (relative == NULL)
    return (int)syscall(SYS_openat, directory, given, flags, mode);
  struct verdict verdict = judge(OP_OPEN, relative, 0, 0);
  if (verdict.error != 0)
    return refused(OP_OPEN, path, 0, verdict.error);
  if ((flags & (O_CREAT | O_TRUNC)) == 0) {
    int opened = (int)syscall(SYS_openat, directory, given, flags, mode);
    return (int)ended(opened, errno, &verdict);
  }
  struct logged logged;
  log_begin(&logged);
  uint64_t before = inode_at(AT_FDCWD, path);
  int fd = (int)syscall(SYS_openat, directory, given, flags, mode);
  int error = errno;
  if (log_fd >= 0) {
    logged.frame.inode = inode_at(AT_FDCWD, path);
    logged.frame.offset = before == 0;
    logged.frame.flags = (uint32_t)flags;
    logged.frame.result = fd;
    if (fd >= 0 && (before == 0 || (flags & O_TRUNC) != 0))
      log_end(&logged, OP_OPEN, path, NULL, NULL, 0, 0);
    else
      log_drop(&logged);
  }
  return (int)ended(fd, error, &verdict);
}

static mode_t mode_from(int flags, va_list rest)
{
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                                     \
  int name(const char *path, int flags, ...)                           \
  {                                                                    \
    va_list rest;                                                      \
    va_start(rest, flags);                                             \
    mode_t mode = mode_from(flags, rest);                              \
    va_end(rest);                                                      \
    return open_below(AT_FDCWD, path, flags, mode);                    \
  }
#define OPENAT(name)                                                   \
  int name(int directory, const char *path, int flags, ...)            \
  {                                                                    \
    va_list rest;                                                      \
    va_start(rest, flags);                                             \
    mode_t mode = mode_from(flags, rest);                              \
    va_end(rest);                                                      \
    return open_below(directory, path, flags, mode);                   \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
int creat(const char *path, mode_t mode) { return open_below(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
/* What a compiler's own checks make of an open without a mode. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags) { return open_below(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags) { return open_below(AT_FDCWD, path, flags, 0); }

/* rename and link: both names are below the prefix, or it is none of this layer's business. */
static int two_names(enum fault_op op, int from_directory, const char *from, int to_directory, const char *to, int flags)
{
  char path[PATH_ROOM], path2[PATH_ROOM];
  long number = op == OP_RENAME ? SYS_renameat2 : SYS_linkat;
  const char *relative = control == NULL || path_of(from_directory, from, path) != 0 ? NULL : below(path);
  if (relative == NULL || path_of(to_directory, to, path2) != 0 || below(path2) == NULL)
    return (int)syscall(number, from_directory, from, to_directory, to, flags);
  struct verdict verdict = judge(op, below(path2), 0, 0);
  if (verdict.error != 0)
    return refused(op, path, 0, verdict.error);
  struct logged logged;
  log_begin(&logged);
  logged.frame.inode = inode_at(AT_FDCWD, path);
  int result = (int)syscall(number, from_directory, from, to_directory, to, flags);
  int error = errno;
  logged.frame.result = result;
  if (result == 0)
    log_end(&logged, op, path, path2, NULL, 0, 0);
  else
    log_drop(&logged);
  return (int)ended(result, error, &verdict);
}

int rename(const char *from, const char *to) { return two_names(OP_RENAME, AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
  return two_names(OP_RENAME, from_directory, from, to_directory, to, 0);
}
int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags)
{
  return two_names(OP_RENAME, from_directory, from, to_directory, to, (int)flags);
}
int link(const char *from, const char *to) { return two_names(OP_LINK, AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags)
{
  return two_names(OP_LINK, from_directory, from, to_directory, to, flags);
}

static int one_name(enum fault_op op, int directory, const char *given, unsigned detail)
{
  char path[PATH_ROOM];
  long number = op == OP_UNLINK ? SYS_unlinkat : SYS_mkdirat;
  const char *relative = control == NULL || path_of(directory, given, path) != 0 ? NULL : below(path);
  if (relative == NULL)
    return (int)syscall(number, directory, given, detail);
  struct verdict verdict = judge(op, relative, 0, 0);
  if (verdict.error != 0)
    return refused(op, path, 0, verdict.error);
  struct logged logged;
  log_begin(&logged);
  logged.frame.inode = inode_at(AT_FDCWD, path);
  int result = (int)syscall(number, directory, given, detail);
  int error = errno;
  logged.frame.result = result;
  if (result == 0)
    log_end(&logged, op, path, NULL, NULL, 0, 0);
  else
    log_drop(&logged);
  return (int)ended(result, error, &verdict);
}

int unlink(const char *path) { return one_name(OP_UNLINK, AT_FDCWD, path, 0); }
int unlinkat(int directory, const char *path, int flags)
{
  return one_name(OP_UNLINK, directory, path, (unsigned)flags);
}
int mkdir(const char *path, mode_t mode) { return one_name(OP_MKDIR, AT_FDCWD, path, mode); }
int mkdirat(int directory, const char *path, mode_t mode) { return one_name(OP_MKDIR, directory, path, mode); }

/* -------------------------------------------------------------- wall clock */

static int64_t wall_offset(void)
{
  if (control == NULL)
    return 0;
  atomic_fetch_add_explicit(&control->wall_readings, 1, memory_order_relaxed);
  return atomic_load_explicit(&control->wall_offset_ns, memory_order_relaxed);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
  int result =
      real_clock_gettime == NULL ? (int)syscall(SYS_clock_gettime, clock, now) : real_clock_gettime(clock, now);
  if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
    return result;
  int64_t ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + wall_offset();
  now->tv_sec = ns / 1000000000;
  now->tv_nsec = ns % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
  struct timespec exact;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &exact) != 0)
    return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *place)
{
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0)
    return (time_t)-1;
  if (place != NULL)
    *place = now.tv_sec;
  return now.tv_sec;
}
