/* fdatasync fails with EIO from the fifth call on. Preloaded by a test; never shipped. */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

int fdatasync(int fd)
{
  static int calls;
  if (++calls < 5)
    return fsync(fd);
  errno = EIO;
  return -1;
}
