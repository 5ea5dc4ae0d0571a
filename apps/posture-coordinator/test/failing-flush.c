/*
 * Storage that fails to flush: fdatasync and fsync say EIO once the file TRIGGER exists.
 * It must not change anything else about the process it is loaded into.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

static int flush(const char *name, int fd)
{
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  if (access(TRIGGER, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

int fdatasync(int fd) { return flush("fdatasync", fd); }
int fsync(int fd) { return flush("fsync", fd); }
