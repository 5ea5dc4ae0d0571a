/*
 * Kills its own process at the call to write, fsync, fdatasync or rename whose number is KILL_AT, before the call when that is
 * even and after it when it is odd (call N is 2N and 2N + 1). Only writes to files count. Preloaded by a test; it must
 * never be shipped.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls;

static long next_call(void)
{
  return atomic_fetch_add(&calls, 1) * 2;
}

static void reached(long point)
{
  const char *at = getenv("KILL_AT");
  if (at != NULL && atol(at) == point)
    kill(getpid(), SIGKILL);
}

static int is_file(int fd)
{
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

#define COUNTED(condition, call)             \
  do {                                       \
    if (!(condition))                        \
      return (call);                         \
    const long point = next_call();          \
    reached(point);                          \
    const __typeof__(call) result = (call);  \
    reached(point + 1);                      \
    return result;                           \
  } while (0)

ssize_t write(int fd, const void *bytes, size_t count)
{
  static ssize_t (*real)(int, const void *, size_t);
  if (real == NULL)
    real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  COUNTED(is_file(fd), real(fd, bytes, count));
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (real == NULL)
    real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  COUNTED(is_file(fd), real(fd, bytes, count, offset));
}

int fsync(int fd)
{
  static int (*real)(int);
  if (real == NULL)
    real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  COUNTED(1, real(fd));
}

int fdatasync(int fd)
{
  static int (*real)(int);
  if (real == NULL)
    real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  COUNTED(1, real(fd));
}

int rename(const char *from, const char *to)
{
  static int (*real)(const char *, const char *);
  if (real == NULL)
    real = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
  COUNTED(1, real(from, to));
}
