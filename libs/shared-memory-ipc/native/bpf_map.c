/*
 * bpf_map.h over bpf(2) and mmap(2).
 * It must not believe a map before the kernel has said what it is.
 */
#define _GNU_SOURCE
#include "kedge/bpf_map.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

static int bpf(enum bpf_cmd command, union bpf_attr *attributes)
{
  return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static uint64_t pointer(const void *at) { return (uint64_t)(uintptr_t)at; }

static uint32_t flags_of(const struct kedge_bpf_shape *shape)
{
  return BPF_F_MMAPABLE | (shape->programs_only_read ? BPF_F_RDONLY_PROG : 0u);
}

/* The kernel's own words for "not here" and "not for you". */
static enum kedge_bpf_refusal refusal_of_errno(int why)
{
  return why == ENOSYS || why == EPERM ? KEDGE_BPF_UNAVAILABLE : KEDGE_BPF_SYSTEM;
}

static enum kedge_bpf_refusal check(int fd, const struct kedge_bpf_shape *shape, uint32_t *id)
{
  struct bpf_map_info info;
  memset(&info, 0, sizeof(info));
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof(attributes));
  attributes.info.bpf_fd = (uint32_t)fd;
  attributes.info.info_len = sizeof(info);
  attributes.info.info = pointer(&info);
  if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes) != 0)
    return refusal_of_errno(errno);
  /* A program or a link has an info of its own; a map of ours says its flags, and none of theirs is ours. */
  if (info.type != BPF_MAP_TYPE_ARRAY)
    return KEDGE_BPF_TYPE;
  if (info.key_size != sizeof(uint32_t))
    return KEDGE_BPF_KEY_SIZE;
  if (info.value_size != shape->value_size)
    return KEDGE_BPF_VALUE_SIZE;
  if (info.max_entries != shape->entries)
    return KEDGE_BPF_ENTRIES;
  if (info.map_flags != flags_of(shape))
    return KEDGE_BPF_FLAGS;
  *id = info.id;
  return KEDGE_BPF_NONE;
}

/* Elements are multiples of 8 bytes and so lie without gaps. */
static enum kedge_bpf_refusal map_memory(struct kedge_bpf_map *map, int fd)
{
  void *base = mmap(NULL, map->size, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    return KEDGE_BPF_SYSTEM;
  map->base = base;
  return KEDGE_BPF_NONE;
}

/* Keeps the descriptor where the map is written to, otherwise the mapping alone holds the map. */
static enum kedge_bpf_refusal settle(struct kedge_bpf_map *map, int fd, bool keep, enum kedge_bpf_refusal refusal)
{
  int why = errno;
  if (refusal == KEDGE_BPF_NONE && keep)
    map->fd = fd;
  else
    close(fd);
  if (refusal != KEDGE_BPF_NONE)
    kedge_bpf_map_close(map);
  errno = why;
  return refusal;
}

static void reset(struct kedge_bpf_map *map, const struct kedge_bpf_shape *shape)
{
  memset(map, 0, sizeof(*map));
  map->fd = -1;
  map->value_size = shape->value_size;
  map->size = (size_t)shape->value_size * shape->entries;
}

/* What is pinned, as a file: only whoever may write the pin can change the map without being root. */
static enum kedge_bpf_refusal check_pin(const char *path, uid_t owner)
{
  struct stat file;
  struct statfs where;
  if (lstat(path, &file) != 0)
    return errno == ENOENT || errno == ENOTDIR ? KEDGE_BPF_MISSING : KEDGE_BPF_SYSTEM;
  if (!S_ISREG(file.st_mode) || statfs(path, &where) != 0 || (unsigned long)where.f_type != BPF_FS_MAGIC)
    return KEDGE_BPF_NOT_A_MAP;
  if (owner != KEDGE_BPF_ANY_OWNER && file.st_uid != owner)
    return KEDGE_BPF_OWNER;
  return (file.st_mode & (S_IWOTH | S_IWGRP)) != 0 ? KEDGE_BPF_MODE : KEDGE_BPF_NONE;
}

enum kedge_bpf_refusal kedge_bpf_map_open(struct kedge_bpf_map *map, const char *path,
                                          const struct kedge_bpf_shape *shape, uid_t owner,
                                          enum kedge_bpf_access access)
{
  reset(map, shape);
  enum kedge_bpf_refusal refusal = check_pin(path, owner);
  if (refusal != KEDGE_BPF_NONE)
    return refusal;
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof(attributes));
  attributes.pathname = pointer(path);
  attributes.file_flags = access == KEDGE_BPF_LOOK_UP ? BPF_F_RDONLY : 0;
  int fd = bpf(BPF_OBJ_GET, &attributes);
  if (fd < 0)
    return errno == ENOENT ? KEDGE_BPF_MISSING : errno == EINVAL ? KEDGE_BPF_NOT_A_MAP : refusal_of_errno(errno);
  refusal = check(fd, shape, &map->id);
  if (refusal == KEDGE_BPF_NONE && access != KEDGE_BPF_LOOK_UP)
    refusal = map_memory(map, fd);
  return settle(map, fd, access != KEDGE_BPF_MAP, refusal);
}

enum kedge_bpf_refusal kedge_bpf_map_create(struct kedge_bpf_map *map, const char *path, const char *name,
                                            const struct kedge_bpf_shape *shape, uid_t uid, gid_t gid, mode_t mode)
{
  reset(map, shape);
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof(attributes));
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = sizeof(uint32_t);
  attributes.value_size = shape->value_size;
  attributes.max_entries = shape->entries;
  attributes.map_flags = flags_of(shape);
  strncpy(attributes.map_name, name, sizeof(attributes.map_name) - 1);
  int fd = bpf(BPF_MAP_CREATE, &attributes);
  if (fd < 0)
    return refusal_of_errno(errno);
  enum kedge_bpf_refusal refusal = check(fd, shape, &map->id);
  if (refusal == KEDGE_BPF_NONE)
    refusal = map_memory(map, fd);
  if (refusal == KEDGE_BPF_NONE) {
    memset(&attributes, 0, sizeof(attributes));
    attributes.pathname = pointer(path);
    attributes.bpf_fd = (uint32_t)fd;
    if (bpf(BPF_OBJ_PIN, &attributes) != 0)
      refusal = errno == ENOENT || errno == ENOTDIR ? KEDGE_BPF_MISSING : refusal_of_errno(errno);
    else if (chmod(path, mode) != 0 || chown(path, uid, gid) != 0) {
      int why = errno;
      unlink(path);
      errno = why;
      refusal = KEDGE_BPF_SYSTEM;
    }
  }
  return settle(map, fd, true, refusal);
}

int kedge_bpf_map_update(const struct kedge_bpf_map *map, uint32_t index, const void *value)
{
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof(attributes));
  attributes.map_fd = (uint32_t)map->fd;
  attributes.key = pointer(&index);
  attributes.value = pointer(value);
  attributes.flags = BPF_EXIST;
  return bpf(BPF_MAP_UPDATE_ELEM, &attributes);
}

int kedge_bpf_map_look_up(const struct kedge_bpf_map *map, uint32_t index, void *value)
{
  union bpf_attr attributes;
  memset(&attributes, 0, sizeof(attributes));
  attributes.map_fd = (uint32_t)map->fd;
  attributes.key = pointer(&index);
  attributes.value = pointer(value);
  return bpf(BPF_MAP_LOOKUP_ELEM, &attributes);
}

void kedge_bpf_map_close(struct kedge_bpf_map *map)
{
  if (map->base != NULL)
    munmap((void *)(uintptr_t)map->base, map->size);
  if (map->fd >= 0)
    close(map->fd);
  map->base = NULL;
  map->size = 0;
  map->fd = -1;
}

const char *kedge_bpf_refusal_text(enum kedge_bpf_refusal refusal)
{
  switch (refusal) {
  case KEDGE_BPF_NONE:
    return "it is good";
  case KEDGE_BPF_UNAVAILABLE:
    return "the kernel has no BPF, or not for this process";
  case KEDGE_BPF_MISSING:
    return "nothing is pinned there";
  case KEDGE_BPF_NOT_A_MAP:
    return "it is no map in a BPF file system";
  case KEDGE_BPF_OWNER:
    return "another user owns it";
  case KEDGE_BPF_MODE:
    return "others than its owner may write it";
  case KEDGE_BPF_TYPE:
    return "it is no array";
  case KEDGE_BPF_KEY_SIZE:
    return "its keys are not 4 bytes long";
  case KEDGE_BPF_VALUE_SIZE:
    return "its values have another size";
  case KEDGE_BPF_ENTRIES:
    return "it has another number of entries";
  case KEDGE_BPF_FLAGS:
    return "it has other flags";
  case KEDGE_BPF_SYSTEM:
    break;
  }
  return "a system call failed";
}
