/*
 * The warden's configuration: what stands in its file, as plain values.
 *
 * It must know the text format and nothing about the world: no look at the board, no start of anything.
 */
#ifndef KEDGE_WARDEN_CONFIG_H
#define KEDGE_WARDEN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kedge/layout.h"

#define CONFIG_MAX_DATAPLANES 8u
#define CONFIG_MAX_PARTICIPANTS 8u /* per path */
#define CONFIG_MAX_UNITS 32u       /* of each: oneshots, and services with watched ones */
#define CONFIG_MAX_OWNERS 64u
#define CONFIG_MAX_BYTES (256u * 1024u)
#define CONFIG_DURATION_MIN_NS UINT64_C(1000)
#define CONFIG_DURATION_MAX_NS UINT64_C(3600000000000)
#define CONFIG_CPU_LATENCY_MAX_NS UINT64_C(1000000000)

/* Group of the board directory; every service runs in it. */
#define KEDGE_GROUP 64700u

/* A list of words: argument vector, environment or names. NULL-terminated. */
struct kedge_words {
  char **word;
  size_t count;
};

enum kedge_unit_kind { KEDGE_UNIT_ONESHOT, KEDGE_UNIT_SERVICE, KEDGE_UNIT_WATCH };

/* One [oneshot], [service] or [watch] section. */
struct kedge_unit {
  enum kedge_unit_kind kind;
  unsigned line;
  char name[KEDGE_NAME_BYTES];
  struct kedge_words exec;
  struct kedge_words environment;
  uint64_t uid, gid;
  uint64_t group;        /* one more; UINT64_MAX = none */
  uint64_t capabilities; /* bit n = capability n */
  bool capabilities_given;
  const char *netns;     /* NULL = the warden's own */
  const char *segment;   /* whose beat is watched; NULL = none */
  const char *output;    /* absolute path; NULL = the warden's stderr */
  uint64_t stale_ns, start_grace_ns, restart_min_ns, restart_max_ns;
};

struct kedge_owner {
  const char *name;
  uid_t uid;
};

struct kedge_config {
  const char *board;
  uint64_t budget_ns[KEDGE_PATHS];
  uint64_t silence_kill_ns, stale_ns;
  uint64_t cpu_latency_ns; /* UINT64_MAX = nothing is asked of the kernel */
  struct kedge_words dataplanes;
  struct kedge_words participants[KEDGE_PATHS]; /* the data plane's is empty */
  struct kedge_words fail_closed[KEDGE_PATHS];  /* command; the data plane's is empty */
  struct kedge_owner owner[CONFIG_MAX_OWNERS];
  size_t owners;
  struct kedge_unit oneshot[CONFIG_MAX_UNITS];
  size_t oneshots;
  struct kedge_unit service[CONFIG_MAX_UNITS]; /* and [watch] sections, in the order of the file */
  size_t services;
  void *memory; /* holds everything that the pointers above point at */
};

/*
 * Reads `length` bytes of text; `file` is what errors call it. False: `error` holds one line that names
 * file:line, field and what was expected, and nothing has to be freed. The caller frees with
 * kedge_config_free.
 */
bool kedge_config_parse(struct kedge_config *config, const char *file, const char *text, size_t length,
                        char *error, size_t error_size);

/*
 * Reads a file, which must be a regular file of root that nobody else may write.
 * Returns 0, or the exit status: 2 the contents are wrong, 3 the file is refused, 4 it cannot be read.
 */
int kedge_config_load(struct kedge_config *config, const char *file, char *error, size_t error_size);

void kedge_config_free(struct kedge_config *config);

/* The user who has to own a segment: `owner.NAME`, otherwise the uid of the service whose segment it is. */
bool kedge_config_owner(const struct kedge_config *config, const char *segment, uid_t *uid);

/* The kind that a segment's name stands for; 0 = no name of a segment that can be watched. */
unsigned kedge_config_kind(const char *segment);

/* Number of a capability ("CAP_NET_RAW"), or -1. */
int kedge_capability_number(const char *name);

#endif
