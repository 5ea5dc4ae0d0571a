/*
 * fdatasync fails from the fifth call on with EIO, or with FSYNC_FAILS_ONCE set only the fifth, with ENOSPC, as a
 * file system with delayed allocation may. Preloaded by a test; never shipped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd)
{
  static int calls;
  const int once = getenv("FSYNC_FAILS_ONCE") != NULL;
  if (++calls < 5 || (once && calls > 5))
    return fsync(fd);
  errno = once ? ENOSPC : EIO;
  return -1;
}
