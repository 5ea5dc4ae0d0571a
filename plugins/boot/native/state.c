/*
 * Reading the coordinator's state directory; see state.h.
 *
 * It must not decide what trouble means: recovery.c does.
 */
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody but its owner or root may have put it there. */
static const char *owned_badly(const struct stat *st)
{
  if (st->st_uid != geteuid() && st->st_uid != 0)
    return "it belongs to another user";
  if ((st->st_mode & 022) != 0)
    return "others may write to it";
  return NULL;
}

/* A trailing slash would make the kernel follow a link in spite of O_NOFOLLOW. */
static int open_directory(const char *directory)
{
  char path[PATH_MAX];
  size_t n = strlen(directory);
  while (n > 1 && directory[n - 1] == '/')
    n--;
  if (n >= sizeof(path)) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(path, directory, n);
  path[n] = '\0';
  return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Reads `size` bytes; false (errno, 0 = it ended before) when they are not to be had. */
static bool read_whole(int fd, uint8_t *bytes, size_t size)
{
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(fd, bytes + done, size - done, (off_t)done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      errno = n == 0 ? 0 : errno;
      return false;
    }
    done += (size_t)n;
  }
  return true;
}

static void journal_read(int dir, struct boot_findings *findings, char *why, size_t room)
{
  struct stat st;
  const char *bad;
  findings->trouble = BOOT_DOUBT_REFUSED;
  /* O_NONBLOCK: a pipe in the place must not hold the boot. */
  int fd = openat(dir, BOOT_JOURNAL_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT)
      findings->trouble = BOOT_SURE;
    else
      snprintf(why, room, "%s", errno == ELOOP ? "it is a symbolic link" : strerror(errno));
    return;
  }
  if (fstat(fd, &st) != 0) {
    snprintf(why, room, "%s", strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    snprintf(why, room, "it is not a regular file");
  } else if ((bad = owned_badly(&st)) != NULL) {
    snprintf(why, room, "%s", bad);
  } else if ((uint64_t)st.st_size > BOOT_JOURNAL_MAX_BYTES) {
    snprintf(why, room, "it is larger than any journal, %lld bytes", (long long)st.st_size);
  } else {
    /* At least one byte, so that an empty journal is there and not missing. */
    size_t size = (size_t)st.st_size;
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    if (bytes == NULL) {
      snprintf(why, room, "there is no memory for %zu bytes of it", size);
    } else if (!read_whole(fd, bytes, size)) {
      snprintf(why, room, "%s", errno == 0 ? "it became shorter while it was read" : strerror(errno));
      free(bytes);
    } else {
      findings->journal = bytes;
      findings->size = size;
      findings->trouble = BOOT_SURE;
    }
  }
  close(fd);
}

void boot_state_read(const char *directory, struct boot_findings *findings, char *why, size_t room)
{
  struct stat st;
  const char *bad = NULL;
  findings->journal = NULL;
  findings->size = 0;
  findings->provisioned = true;
  findings->trouble = BOOT_DOUBT_STATE;
  why[0] = '\0';
  int dir = open_directory(directory);
  if (dir < 0 || fstat(dir, &st) != 0) {
    snprintf(why, room, "%s", errno == ELOOP || errno == ENOTDIR ? "it is no directory" : strerror(errno));
  } else if ((bad = owned_badly(&st)) != NULL) {
    snprintf(why, room, "%s", bad);
  } else {
    /* What cannot be looked at counts as provisioned: that is stricter. */
    findings->provisioned = fstatat(dir, BOOT_MARK_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
    journal_read(dir, findings, why, room);
  }
  if (dir >= 0)
    close(dir);
}
