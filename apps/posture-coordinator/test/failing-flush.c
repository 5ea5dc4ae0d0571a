/*
 * Storage that fails to flush: fdatasync says EIO once the file TRIGGER exists, fsync, too, when it is not empty.
 * So a file that is appended to can be bad while a new one can still be made, or everything can be. When there are
 * two bytes in it every flush succeeds, and takes a second.
 * It must not change anything else about the process it is loaded into.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static int flush(const char *name, int fd, off_t least)
{
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  struct stat trigger;
  if (stat(TRIGGER, &trigger) != 0)
    return real(fd);
  if (trigger.st_size == 2) {
    sleep(1);
  } else if (trigger.st_size >= least) {
    errno = EIO;
    return -1;
  }
  return real(fd);
}

int fdatasync(int fd) { return flush("fdatasync", fd, 0); }
int fsync(int fd) { return flush("fsync", fd, 1); }
