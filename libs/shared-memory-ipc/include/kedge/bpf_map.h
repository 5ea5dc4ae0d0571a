/*
 * BPF array maps that are pinned in a bpffs and mapped into memory, by raw bpf(2): no library is needed.
 * It must not know what a map means; it opens, checks, makes, pins and maps.
 */
#ifndef KEDGE_BPF_MAP_H
#define KEDGE_BPF_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Why a map was not taken. The order is part of the contract with TypeScript. */
enum kedge_bpf_refusal {
  KEDGE_BPF_NONE = 0,
  KEDGE_BPF_UNAVAILABLE = 1, /* no BPF in this kernel, or not for this process */
  KEDGE_BPF_MISSING = 2,     /* nothing is pinned there */
  KEDGE_BPF_NOT_A_MAP = 3,   /* a program, a link, or a file of another file system */
  KEDGE_BPF_OWNER = 4,       /* the pin belongs to another user than configured */
  KEDGE_BPF_MODE = 5,        /* others than its owner (and, where allowed, its group) may write the pin */
  KEDGE_BPF_TYPE = 6,        /* no array */
  KEDGE_BPF_KEY_SIZE = 7,
  KEDGE_BPF_VALUE_SIZE = 8,
  KEDGE_BPF_ENTRIES = 9,
  KEDGE_BPF_FLAGS = 10, /* not mmapable, or flags that change what the map does */
  KEDGE_BPF_SYSTEM = 11,
};

/* What a map has to be. Keys are always 4 bytes, as of every array. */
struct kedge_bpf_shape {
  uint32_t value_size; /* bytes, a multiple of 8 */
  uint32_t entries;
  bool programs_only_read; /* BPF_F_RDONLY_PROG: programs may read it, only its owner in user space writes */
};

struct kedge_bpf_map {
  const void *base; /* a mapping for reading only; NULL = not mapped */
  size_t size;      /* bytes of all values; 0 = closed */
  uint32_t value_size;
  uint32_t id; /* of the map in this kernel, only ever rising within one boot */
  int fd;      /* -1 = mapped, and not kept */
};

/*
 * The kernel maps only what is opened for reading and writing (it takes a read-only descriptor for a private mapping),
 * so that whoever wants a mapping needs the right to write the pin, and others look values up by calls.
 */
enum kedge_bpf_access {
  KEDGE_BPF_LOOK_UP = 0, /* reads by calls; the right to read is enough */
  KEDGE_BPF_MAP = 1,     /* reads from a mapping */
  KEDGE_BPF_WRITE = 2,   /* reads from a mapping, writes by calls */
};

#define KEDGE_BPF_ANY_OWNER ((uid_t)-1)

/*
 * Opens what is pinned at `path`: the pin's owner and mode, then BPF_OBJ_GET_INFO_BY_FD (type, key size, value size,
 * entries, flags), and only then a mapping. errno is that of KEDGE_BPF_SYSTEM and KEDGE_BPF_UNAVAILABLE.
 */
enum kedge_bpf_refusal kedge_bpf_map_open(struct kedge_bpf_map *map, const char *path,
                                          const struct kedge_bpf_shape *shape, uid_t owner,
                                          enum kedge_bpf_access access);

/* Makes a map and pins it at `path`, where nothing may be pinned; owner and mode are the pin's. Needs CAP_BPF. */
enum kedge_bpf_refusal kedge_bpf_map_create(struct kedge_bpf_map *map, const char *path, const char *name,
                                            const struct kedge_bpf_shape *shape, uid_t uid, gid_t gid, mode_t mode);

/*
 * Replaces one value, of the map's value size. By a call and not through the mapping: a map that programs only read
 * cannot be mapped for writing. The kernel copies it in aligned words of 8 bytes. 0, or -1 with errno.
 */
int kedge_bpf_map_update(const struct kedge_bpf_map *map, uint32_t index, const void *value);

/* Copies one value; 0, or -1 with errno. */
int kedge_bpf_map_look_up(const struct kedge_bpf_map *map, uint32_t index, void *value);

void kedge_bpf_map_close(struct kedge_bpf_map *map);

/* A few words for people; static. */
const char *kedge_bpf_refusal_text(enum kedge_bpf_refusal refusal);

#ifdef __cplusplus
}
#endif
#endif
