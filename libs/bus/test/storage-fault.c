/*
 * Counts what a process asks of storage for the file of one desired set, and at the call that FAULT_AT names dies,
 * dies after half of a write, or fails. Preloaded by a test; never shipped.
 *
 * FAULT_PREFIX  path of the set; its neighbours (.new, .damaged) and its directory belong to it
 * FAULT_AT      number of the call, from 1; 0 = none
 * FAULT_HOW     kill | half | a number (errno)
 * FAULT_LOG     file that gets one line per call
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int calls;

/* What belongs to the set: its own paths, or the directory they are in. */
static const char *name_of(const char *path)
{
  const char *prefix = getenv("FAULT_PREFIX");
  if (prefix == NULL || path == NULL)
    return NULL;
  const char *slash = strrchr(prefix, '/');
  size_t directory = (size_t)(slash - prefix);
  if (strncmp(path, prefix, strlen(prefix)) == 0)
    return path + directory + 1;
  if (strlen(path) == directory && strncmp(path, prefix, directory) == 0)
    return "directory";
  return NULL;
}

static const char *name_of_fd(int fd, char *room)
{
  char link[32];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, room, PATH_MAX - 1);
  if (length < 0)
    return NULL;
  room[length] = 0;
  return name_of(room);
}

/* 0 = go on; otherwise errno. `fd` and `half` are for a torn write. */
static int at_call(const char *what, const char *name, int fd, const void *bytes, size_t half)
{
  if (name == NULL)
    return 0;
  pthread_mutex_lock(&lock);
  int number = ++calls;
  const char *log = getenv("FAULT_LOG");
  if (log != NULL) {
    int out = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    char line[PATH_MAX];
    int length = snprintf(line, sizeof(line), "%s %s\n", what, name);
    if (out >= 0 && syscall(SYS_write, out, line, (size_t)length) != length)
      abort();
    syscall(SYS_close, out);
  }
  pthread_mutex_unlock(&lock);
  const char *at = getenv("FAULT_AT"), *how = getenv("FAULT_HOW");
  if (at == NULL || how == NULL || number != atoi(at))
    return 0;
  if (strcmp(how, "half") == 0 && bytes != NULL && syscall(SYS_write, fd, bytes, half) < 0)
    abort();
  if (strcmp(how, "kill") == 0 || strcmp(how, "half") == 0)
    kill(getpid(), SIGKILL);
  return atoi(how);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAULTED(...)            \
  do {                          \
    int why = at_call(__VA_ARGS__); \
    if (why != 0) {             \
      errno = why;              \
      return -1;                \
    }                           \
  } while (0)

static int open_faulted(const char *path, int flags)
{
  return (flags & O_CREAT) != 0 ? at_call("create", name_of(path), -1, NULL, 0) : 0;
}

int open(const char *path, int flags, ...)
{
  va_list rest;
  va_start(rest, flags);
  mode_t mode = (flags & O_CREAT) != 0 ? (mode_t)va_arg(rest, int) : 0;
  va_end(rest);
  int why = open_faulted(path, flags);
  if (why != 0) {
    errno = why;
    return -1;
  }
  return REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
  va_list rest;
  va_start(rest, flags);
  mode_t mode = (flags & O_CREAT) != 0 ? (mode_t)va_arg(rest, int) : 0;
  va_end(rest);
  int why = open_faulted(path, flags);
  if (why != 0) {
    errno = why;
    return -1;
  }
  return REAL(open64)(path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
  char room[PATH_MAX];
  FAULTED("write", name_of_fd(fd, room), fd, bytes, size / 2);
  return REAL(write)(fd, bytes, size);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
  char room[PATH_MAX];
  FAULTED("write", name_of_fd(fd, room), fd, bytes, size / 2);
  return REAL(pwrite64)(fd, bytes, size, at);
}

int fsync(int fd)
{
  char room[PATH_MAX];
  FAULTED("fsync", name_of_fd(fd, room), -1, NULL, 0);
  return REAL(fsync)(fd);
}

int fdatasync(int fd)
{
  char room[PATH_MAX];
  FAULTED("fdatasync", name_of_fd(fd, room), -1, NULL, 0);
  return REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to)
{
  FAULTED("rename", name_of(from), -1, NULL, 0);
  return REAL(rename)(from, to);
}
