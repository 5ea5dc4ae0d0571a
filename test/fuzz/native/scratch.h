/*
 * A board directory of the target's own, and what it takes to break files in it quickly: sleeps that are not
 * slept, files that are not filled up.
 *
 * It must touch nothing outside of the directory that it makes.
 */
#ifndef KEDGE_FUZZ_SCRATCH_H
#define KEDGE_FUZZ_SCRATCH_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "input.h"
#include "kedge/segment.h"

static char scratch[PATH_MAX - 64];

static inline void scratch_remove(void)
{
  DIR *directory = opendir(scratch);
  for (struct dirent *e = directory == NULL ? NULL : readdir(directory); e != NULL; e = readdir(directory))
    unlinkat(dirfd(directory), e->d_name, 0);
  if (directory != NULL)
    closedir(directory);
  rmdir(scratch);
}

/* Makes the directory in TMPDIR; it goes when the process ends by itself. */
static inline void scratch_make(void)
{
  const char *parent = getenv("TMPDIR");
  snprintf(scratch, sizeof(scratch), "%s/kedge-fuzz-XXXXXX", parent == NULL ? "/tmp" : parent);
  HOLDS(mkdtemp(scratch) != NULL);
  atexit(scratch_remove);
}

static inline const char *scratch_path(const char *name)
{
  static char path[2][PATH_MAX];
  static unsigned turn;
  char *one = path[turn++ % 2]; /* two may stand in one call */
  snprintf(one, PATH_MAX, "%s/%s", scratch, name);
  return one;
}

/* One segment of the board as its writer has it, mapped for the target to break. */
struct victim {
  const char *name;
  enum kedge_segment_kind kind;
  struct kedge_segment own;
  uint8_t *bytes; /* own.base */
};

static inline void victim_make(struct victim *v, const char *name, enum kedge_segment_kind kind)
{
  v->name = name;
  v->kind = kind;
  HOLDS(kedge_segment_create(&v->own, scratch, name, kind, NULL) == KEDGE_REFUSAL_NONE);
  v->bytes = v->own.base;
}

/* A header is waited for a few milliseconds; here nobody writes it meanwhile. */
int __wrap_nanosleep(const struct timespec *asked, struct timespec *left);
int __wrap_nanosleep(const struct timespec *asked, struct timespec *left)
{
  (void)asked;
  (void)left;
  return 0;
}

/* Its size is what counts here; pages come when they are touched. */
int __wrap_posix_fallocate(int fd, off_t offset, off_t length);
int __wrap_posix_fallocate(int fd, off_t offset, off_t length)
{
  struct stat st;
  if (fstat(fd, &st) != 0)
    return EIO;
  return st.st_size >= offset + length || ftruncate(fd, offset + length) == 0 ? 0 : EIO;
}

int __wrap_mlock(const void *at, size_t length);
int __wrap_mlock(const void *at, size_t length)
{
  (void)at;
  (void)length;
  return 0;
}

#endif
