/*
 * The parser of the warden's configuration: `key = value` lines, `#` comments, [oneshot NAME],
 * [service NAME] and [watch NAME] sections.
 *
 * It must accept nothing that it does not understand wholly, and must not read beyond its text.
 */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum type { T_PATH, T_DURATION, T_LATENCY, T_SEGMENTS, T_COMMAND, T_ID, T_CAPABILITIES, T_NETNS, T_ENVIRONMENT, T_SEGMENT };
enum scope { GLOBAL = 1, ONESHOT = 2, SERVICE = 4, WATCH = 8, REQUIRED = 16 };

struct key {
  const char *name;
  unsigned scopes;
  enum type type;
  size_t offset; /* in struct kedge_config for GLOBAL, otherwise in struct kedge_unit */
};

#define G(field) offsetof(struct kedge_config, field)
#define U(field) offsetof(struct kedge_unit, field)
static const struct key keys[] = {
  {"board", GLOBAL | REQUIRED, T_PATH, G(board)},
  {"budget.dataplane", GLOBAL | REQUIRED, T_DURATION, G(budget_ns[KEDGE_PATH_DATAPLANE])},
  {"budget.overlay", GLOBAL | REQUIRED, T_DURATION, G(budget_ns[KEDGE_PATH_OVERLAY])},
  {"budget.underlay", GLOBAL | REQUIRED, T_DURATION, G(budget_ns[KEDGE_PATH_UNDERLAY])},
  {"silence-kill", GLOBAL | REQUIRED, T_DURATION, G(silence_kill_ns)},
  {"beat.stale", GLOBAL | REQUIRED, T_DURATION, G(stale_ns)},
  {"cpu-latency", GLOBAL, T_LATENCY, G(cpu_latency_ns)},
  {"dataplanes", GLOBAL, T_SEGMENTS, G(dataplanes)},
  {"participants.overlay", GLOBAL, T_SEGMENTS, G(participants[KEDGE_PATH_OVERLAY])},
  {"participants.underlay", GLOBAL, T_SEGMENTS, G(participants[KEDGE_PATH_UNDERLAY])},
  {"fail-closed.overlay", GLOBAL, T_COMMAND, G(fail_closed[KEDGE_PATH_OVERLAY])},
  {"fail-closed.underlay", GLOBAL, T_COMMAND, G(fail_closed[KEDGE_PATH_UNDERLAY])},
  {"exec", ONESHOT | SERVICE | REQUIRED, T_COMMAND, U(exec)},
  {"environment", ONESHOT | SERVICE, T_ENVIRONMENT, U(environment)},
  {"uid", ONESHOT | SERVICE, T_ID, U(uid)},
  {"gid", ONESHOT | SERVICE, T_ID, U(gid)},
  {"group", ONESHOT | SERVICE, T_ID, U(group)},
  {"capabilities", ONESHOT | SERVICE, T_CAPABILITIES, U(capabilities)},
  {"netns", ONESHOT | SERVICE, T_NETNS, U(netns)},
  {"output", ONESHOT | SERVICE, T_PATH, U(output)},
  {"restart.min", SERVICE, T_DURATION, U(restart_min_ns)},
  {"restart.max", SERVICE, T_DURATION, U(restart_max_ns)},
  {"beat.stale", SERVICE | WATCH, T_DURATION, U(stale_ns)},
  {"start-grace", SERVICE | WATCH, T_DURATION, U(start_grace_ns)},
  {"segment", SERVICE, T_SEGMENT, U(segment)},
  {"segment", WATCH | REQUIRED, T_SEGMENT, U(segment)},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEYS <= 32, "the keys of a section are counted in 32 bits");

/* Most of a field that an error shows, in bytes. */
#define FIELD_SHOWN 64

static const char *const capability_names[] = {
  "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
  "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
  "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
  "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
  "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
  "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
  "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"};
_Static_assert(CAP_SYS_NICE == 23 && CAP_BPF == 39, "names stand at their numbers");

struct parser {
  struct kedge_config *config;
  const char *file;
  unsigned line;
  char *error;
  size_t error_size;
  char *memory;
  size_t used, size;
  struct kedge_unit *unit; /* NULL in the part before the first section */
  uint32_t seen;           /* bit n = keys[n] was given in this section */
};

/* For a terminal: what is not printable ASCII becomes a question mark. */
static void make_printable(char *text)
{
  for (char *c = text; *c != '\0'; c++)
    if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
      *c = '?';
}

/*
 * Writes the one-line error. `line` 0 = it is about the whole file. A field is shortened: it may be any text of the
 * file, and what was expected has to find room behind it. Always false.
 */
__attribute__((format(printf, 4, 5))) static bool wrong(struct parser *p, unsigned line, const char *field,
                                                        const char *format, ...)
{
  char what[512], name[FIELD_SHOWN + 4];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof(what), format, args);
  va_end(args);
  snprintf(name, sizeof(name), "%.*s%s", FIELD_SHOWN, field, strlen(field) > FIELD_SHOWN ? "..." : "");
  make_printable(what);
  make_printable(name);
  if (line > 0)
    snprintf(p->error, p->error_size, "%s:%u: %s: %s", p->file, line, name, what);
  else
    snprintf(p->error, p->error_size, "%s: %s: %s", p->file, name, what);
  return false;
}

/* From the block that parse sized for the worst case; never fails on a text that fits into it. */
static void *take(struct parser *p, size_t bytes)
{
  bytes = (bytes + 7u) & ~(size_t)7u;
  if (bytes > p->size - p->used)
    return NULL;
  void *at = p->memory + p->used;
  p->used += bytes;
  return at;
}

int kedge_capability_number(const char *name)
{
  for (size_t i = 0; i < sizeof(capability_names) / sizeof(capability_names[0]); i++)
    if (strcmp(name, capability_names[i]) == 0)
      return (int)i;
  return -1;
}

static bool name_is_good(const char *name)
{
  size_t n = strlen(name);
  return n > 0 && n < KEDGE_NAME_BYTES && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

unsigned kedge_config_kind(const char *segment)
{
  size_t p = strlen(KEDGE_FILE_PARTICIPANT_PREFIX), d = strlen(KEDGE_FILE_DATAPLANE_PREFIX);
  if (!name_is_good(segment))
    return 0;
  if (strcmp(segment, KEDGE_FILE_POSTURE) == 0)
    return KEDGE_SEGMENT_POSTURE;
  if (strcmp(segment, KEDGE_FILE_TABLES) == 0)
    return KEDGE_SEGMENT_TABLES;
  if (strncmp(segment, KEDGE_FILE_PARTICIPANT_PREFIX, p) == 0 && segment[p] != '\0')
    return KEDGE_SEGMENT_PARTICIPANT;
  if (strncmp(segment, KEDGE_FILE_DATAPLANE_PREFIX, d) == 0 && segment[d] != '\0')
    return KEDGE_SEGMENT_DATAPLANE;
  return 0;
}

static unsigned distance(const char *a, const char *b)
{
  unsigned row[33];
  size_t n = strlen(b);
  if (n > 32 || strlen(a) > 64)
    return 99;
  for (size_t j = 0; j <= n; j++)
    row[j] = (unsigned)j;
  for (size_t i = 1; a[i - 1] != '\0'; i++) {
    unsigned diagonal = row[0];
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= n; j++) {
      unsigned above = row[j];
      unsigned best = diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u);
      best = above + 1 < best ? above + 1 : best;
      best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
      row[j] = best;
      diagonal = above;
    }
  }
  return row[n];
}

static unsigned scope_of(const struct kedge_unit *unit)
{
  if (unit == NULL)
    return GLOBAL;
  return unit->kind == KEDGE_UNIT_ONESHOT ? ONESHOT : unit->kind == KEDGE_UNIT_SERVICE ? SERVICE : WATCH;
}

static const char *scope_text(unsigned scope)
{
  return scope == GLOBAL ? "before the first section"
         : scope == ONESHOT ? "in a [oneshot] section"
         : scope == SERVICE ? "in a [service] section" : "in a [watch] section";
}

static bool unknown_key(struct parser *p, const char *name)
{
  const char *nearest = NULL;
  unsigned best = 99, scope = scope_of(p->unit);
  for (size_t i = 0; i < KEYS; i++) {
    if ((keys[i].scopes & scope) == 0)
      continue;
    unsigned d = distance(name, keys[i].name);
    if (d < best) {
      best = d;
      nearest = keys[i].name;
    }
  }
  bool near = nearest != NULL && (best <= 2 || best * 3 <= strlen(name)); /* a slip of the pen, not another word */
  return wrong(p, p->line, name, "expected a key that is known %s%s%s%s", scope_text(scope),
               near ? ", such as \"" : "", near ? nearest : "", near ? "\"" : "");
}

/* ------------------------------------------------------------------ values */

/* True: a number and a unit, at most the longest duration of all. */
static bool duration_of(const char *value, uint64_t *ns)
{
  static const struct { const char *unit; uint64_t ns; } units[] = {
    {"us", UINT64_C(1000)}, {"ms", UINT64_C(1000000)}, {"s", UINT64_C(1000000000)}, {"min", UINT64_C(60000000000)}};
  uint64_t n = 0;
  const char *c = value;
  for (; *c >= '0' && *c <= '9' && n <= CONFIG_DURATION_MAX_NS; c++)
    n = n * 10 + (uint64_t)(*c - '0');
  for (size_t i = 0; c != value && i < sizeof(units) / sizeof(units[0]); i++)
    if (strcmp(c, units[i].unit) == 0 && n <= CONFIG_DURATION_MAX_NS / units[i].ns) {
      *ns = n * units[i].ns;
      return true;
    }
  return false;
}

static bool read_duration(struct parser *p, const char *field, const char *value, uint64_t *ns)
{
  if (duration_of(value, ns) && *ns >= CONFIG_DURATION_MIN_NS)
    return true;
  return wrong(p, p->line, field, "expected a duration from 1us to 60min such as 1ms or 5s, got \"%s\"", value);
}

static bool read_latency(struct parser *p, const char *field, const char *value, uint64_t *ns)
{
  if (duration_of(value, ns) && *ns <= CONFIG_CPU_LATENCY_MAX_NS)
    return true;
  return wrong(p, p->line, field, "expected a duration from 0us to 1s such as 0us or 10us, got \"%s\"", value);
}

/*
 * Splits at blanks. A part between double quotes is kept as it stands, but for \" and \\. There is no shell:
 * nothing else means anything.
 */
static bool read_words(struct parser *p, const char *field, const char *value, struct kedge_words *words)
{
  size_t length = strlen(value);
  char *out = take(p, length + 1);
  char **list = take(p, (length / 2 + 2) * sizeof(char *));
  if (out == NULL || list == NULL)
    return wrong(p, p->line, field, "expected a shorter value");
  size_t count = 0;
  const char *c = value;
  for (;;) {
    while (*c == ' ' || *c == '\t')
      c++;
    if (*c == '\0')
      break;
    list[count++] = out;
    bool quoted = false;
    for (; *c != '\0' && (quoted || (*c != ' ' && *c != '\t')); c++) {
      if (*c == '"') {
        quoted = !quoted;
        continue;
      }
      if (quoted && *c == '\\' && (c[1] == '"' || c[1] == '\\'))
        c++;
      *out++ = *c;
    }
    if (quoted)
      return wrong(p, p->line, field, "expected a closing double quote");
    /* The blank that ends a word, or the quotes around it, leave room for its end. */
    *out++ = '\0';
  }
  list[count] = NULL;
  if (count == 0)
    return wrong(p, p->line, field, "expected a value");
  words->word = list;
  words->count = count;
  return true;
}

static bool read_segments(struct parser *p, const char *field, const char *value, struct kedge_words *words)
{
  unsigned kind = strcmp(field, "dataplanes") == 0 ? KEDGE_SEGMENT_DATAPLANE : KEDGE_SEGMENT_PARTICIPANT;
  size_t most = kind == KEDGE_SEGMENT_DATAPLANE ? CONFIG_MAX_DATAPLANES : CONFIG_MAX_PARTICIPANTS;
  if (!read_words(p, field, value, words))
    return false;
  if (words->count > most)
    return wrong(p, p->line, field, "expected at most %zu names, got %zu", most, words->count);
  for (size_t i = 0; i < words->count; i++) {
    if (kedge_config_kind(words->word[i]) != kind)
      return wrong(p, p->line, field, "expected names such as %s, got \"%s\"",
                   kind == KEDGE_SEGMENT_DATAPLANE ? "dataplane-reference" : "participant-overlay", words->word[i]);
    for (size_t j = 0; j < i; j++)
      if (strcmp(words->word[i], words->word[j]) == 0)
        return wrong(p, p->line, field, "expected each name once, got \"%s\" twice", words->word[i]);
  }
  return true;
}

static bool read_id(struct parser *p, const char *field, const char *value, uint64_t *id)
{
  uint64_t n = 0;
  size_t digits = strspn(value, "0123456789");
  for (size_t i = 0; i < digits && i < 11; i++)
    n = n * 10 + (uint64_t)(value[i] - '0');
  if (digits == 0 || digits > 10 || value[digits] != '\0' || n >= UINT32_MAX)
    return wrong(p, p->line, field, "expected a number from 0 to 4294967294, got \"%s\"", value);
  *id = n;
  return true;
}

static bool read_value(struct parser *p, const struct key *key, const char *value)
{
  void *at = (char *)(p->unit == NULL ? (void *)p->config : (void *)p->unit) + key->offset;
  const char *field = key->name;
  struct kedge_words words;
  char *copy;
  switch (key->type) {
  case T_DURATION:
    return read_duration(p, field, value, at);
  case T_LATENCY:
    return read_latency(p, field, value, at);
  case T_ID:
    return read_id(p, field, value, at);
  case T_SEGMENTS:
    return read_segments(p, field, value, at);
  case T_COMMAND:
    if (!read_words(p, field, value, at))
      return false;
    if (((struct kedge_words *)at)->word[0][0] != '/')
      return wrong(p, p->line, field, "expected the absolute path of a program, got \"%s\"",
                   ((struct kedge_words *)at)->word[0]);
    return true;
  case T_ENVIRONMENT:
    if (!read_words(p, field, value, at))
      return false;
    for (char **w = ((struct kedge_words *)at)->word; *w != NULL; w++)
      if (strchr(*w, '=') == NULL || **w == '=')
        return wrong(p, p->line, field, "expected NAME=VALUE, got \"%s\"", *w);
    return true;
  case T_CAPABILITIES:
    p->unit->capabilities_given = true;
    if (strcmp(value, "none") == 0)
      return true;
    if (!read_words(p, field, value, &words))
      return false;
    for (size_t i = 0; i < words.count; i++) {
      int number = kedge_capability_number(words.word[i]);
      if (number < 0)
        return wrong(p, p->line, field, "expected \"none\" or names such as CAP_NET_RAW, got \"%s\"", words.word[i]);
      p->unit->capabilities |= UINT64_C(1) << number;
    }
    return true;
  case T_PATH:
  case T_NETNS:
  case T_SEGMENT:
    if (key->type == T_PATH) {
      if (!read_words(p, field, value, &words))
        return false;
      if (words.count != 1 || words.word[0][0] != '/' || strlen(words.word[0]) >= 1024)
        return wrong(p, p->line, field, "expected one absolute path, got \"%s\"", value);
      *(const char **)at = words.word[0];
      return true;
    }
    if (key->type == T_SEGMENT && kedge_config_kind(value) == 0)
      return wrong(p, p->line, field, "expected posture, tables, participant-NAME or dataplane-NAME, got \"%s\"", value);
    if (key->type == T_NETNS &&
        (strlen(value) > 64 || value[0] == '.' || value[0] == '\0' ||
         value[strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] != '\0'))
      return wrong(p, p->line, field, "expected the name of a network namespace, got \"%s\"", value);
    copy = take(p, strlen(value) + 1);
    if (copy == NULL)
      return wrong(p, p->line, field, "expected a shorter value");
    *(const char **)at = strcpy(copy, value);
    return true;
  }
  return false;
}

static bool read_owner(struct parser *p, const char *key, const char *value)
{
  const char *name = key + strlen("owner.");
  uint64_t uid;
  if (kedge_config_kind(name) == 0 && strcmp(name, KEDGE_FILE_WARDEN) != 0)
    return wrong(p, p->line, key, "expected owner.SEGMENT, a segment being posture, tables, participant-NAME or dataplane-NAME");
  for (size_t i = 0; i < p->config->owners; i++)
    if (strcmp(p->config->owner[i].name, name) == 0)
      return wrong(p, p->line, key, "expected each key once, this one was given before");
  if (p->config->owners == CONFIG_MAX_OWNERS)
    return wrong(p, p->line, key, "expected at most %u owners", CONFIG_MAX_OWNERS);
  if (!read_id(p, key, value, &uid))
    return false;
  char *copy = take(p, strlen(name) + 1);
  if (copy == NULL)
    return wrong(p, p->line, key, "expected a shorter value");
  p->config->owner[p->config->owners++] = (struct kedge_owner){strcpy(copy, name), (uid_t)uid};
  return true;
}

/* ---------------------------------------------------------------- sections */

/* What has to be there once a section, or the part before the first, ends. */
static bool close_section(struct parser *p)
{
  unsigned scope = scope_of(p->unit);
  unsigned line = p->unit == NULL ? 0 : p->unit->line;
  for (size_t i = 0; i < KEYS; i++)
    if ((keys[i].scopes & scope) != 0 && (keys[i].scopes & REQUIRED) != 0 && (p->seen & (1u << i)) == 0)
      return wrong(p, line, keys[i].name, "expected this key %s, it is missing", scope_text(scope));
  if (p->unit == NULL)
    return true;
  if (p->unit->uid != 0 && p->unit->gid == UINT64_MAX)
    return wrong(p, line, "gid", "expected this key beside uid, it is missing");
  if (p->unit->gid == UINT64_MAX)
    p->unit->gid = 0;
  if (p->unit->restart_min_ns > p->unit->restart_max_ns)
    return wrong(p, line, "restart.max", "expected no less than restart.min");
  return true;
}

static bool open_section(struct parser *p, char *text)
{
  size_t length = strlen(text);
  if (!close_section(p))
    return false;
  if (length < 2 || text[length - 1] != ']')
    return wrong(p, p->line, "section", "expected [oneshot NAME], [service NAME] or [watch NAME], got \"%s\"", text);
  text[length - 1] = '\0';
  char *kind = text + 1, *name = strchr(kind, ' ');
  if (name != NULL)
    *name++ = '\0';
  struct kedge_config *c = p->config;
  enum kedge_unit_kind k;
  if (strcmp(kind, "oneshot") == 0)
    k = KEDGE_UNIT_ONESHOT;
  else if (strcmp(kind, "service") == 0)
    k = KEDGE_UNIT_SERVICE;
  else if (strcmp(kind, "watch") == 0)
    k = KEDGE_UNIT_WATCH;
  else
    return wrong(p, p->line, "section", "expected [oneshot NAME], [service NAME] or [watch NAME], got \"[%s]\"", kind);
  if (name == NULL || !name_is_good(name))
    return wrong(p, p->line, kind, "expected a name of at most 31 of a-z, 0-9 and -, got \"%s\"", name == NULL ? "" : name);
  struct kedge_unit *list = k == KEDGE_UNIT_ONESHOT ? c->oneshot : c->service;
  size_t *count = k == KEDGE_UNIT_ONESHOT ? &c->oneshots : &c->services;
  for (size_t i = 0; i < *count; i++)
    if (strcmp(list[i].name, name) == 0)
      return wrong(p, p->line, kind, "expected each name once, \"%s\" was given in line %u", name, list[i].line);
  if (*count == CONFIG_MAX_UNITS)
    return wrong(p, p->line, kind, "expected at most %u sections", CONFIG_MAX_UNITS);
  p->unit = &list[(*count)++];
  *p->unit = (struct kedge_unit){.kind = k, .line = p->line, .gid = UINT64_MAX, .group = UINT64_MAX,
                                 .start_grace_ns = UINT64_C(10000000000), .restart_min_ns = UINT64_C(20000000),
                                 .restart_max_ns = UINT64_C(2000000000)};
  strcpy(p->unit->name, name);
  p->seen = 0;
  return true;
}

static bool read_line(struct parser *p, char *text)
{
  /* A comment begins at the start of a line or after a blank. */
  for (char *c = text; *c != '\0'; c++)
    if (*c == '#' && (c == text || c[-1] == ' ' || c[-1] == '\t')) {
      *c = '\0';
      break;
    }
  while (*text == ' ' || *text == '\t')
    text++;
  for (size_t n = strlen(text); n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'); n--)
    text[n - 1] = '\0';
  if (*text == '\0')
    return true;
  if (*text == '[')
    return open_section(p, text);
  char *equals = strchr(text, '=');
  if (equals == NULL)
    return wrong(p, p->line, "line", "expected \"key = value\", got \"%s\"", text);
  char *value = equals + 1, *end = equals;
  while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
    end--;
  *end = '\0';
  while (*value == ' ' || *value == '\t')
    value++;
  if (*text == '\0')
    return wrong(p, p->line, "line", "expected a key before \"=\"");
  if (*value == '\0')
    return wrong(p, p->line, text, "expected a value");
  if (p->unit == NULL && strncmp(text, "owner.", 6) == 0)
    return read_owner(p, text, value);
  for (size_t i = 0; i < KEYS; i++) {
    if ((keys[i].scopes & scope_of(p->unit)) == 0 || strcmp(keys[i].name, text) != 0)
      continue;
    if ((p->seen & (1u << i)) != 0)
      return wrong(p, p->line, text, "expected each key once, this one was given before");
    p->seen |= 1u << i;
    return read_value(p, &keys[i], value);
  }
  return unknown_key(p, text);
}

/* What the keys have to be for each other. */
static bool check_whole(struct parser *p)
{
  struct kedge_config *c = p->config;
  uid_t uid;
  if (!kedge_config_owner(c, KEDGE_FILE_POSTURE, &uid))
    return wrong(p, 0, "owner.posture", "expected this key, it is missing");
  const struct kedge_words *lists[] = {&c->dataplanes, &c->participants[KEDGE_PATH_OVERLAY], &c->participants[KEDGE_PATH_UNDERLAY]};
  for (size_t l = 0; l < 3; l++)
    for (size_t i = 0; i < lists[l]->count; i++)
      if (!kedge_config_owner(c, lists[l]->word[i], &uid)) {
        char field[64];
        snprintf(field, sizeof(field), "owner.%s", lists[l]->word[i]);
        return wrong(p, 0, field, "expected this key, it is missing");
      }
  for (unsigned path = KEDGE_PATH_OVERLAY; path <= KEDGE_PATH_UNDERLAY; path++)
    if (c->participants[path].count > 0 && c->fail_closed[path].count == 0)
      return wrong(p, 0, path == KEDGE_PATH_OVERLAY ? "fail-closed.overlay" : "fail-closed.underlay",
                   "expected this key beside the path's participants, it is missing");
  for (size_t i = 0; i < c->services; i++) {
    struct kedge_unit *u = &c->service[i];
    if (u->stale_ns == 0)
      u->stale_ns = c->stale_ns;
    if (u->segment != NULL && !kedge_config_owner(c, u->segment, &uid)) {
      char field[64];
      snprintf(field, sizeof(field), "owner.%s", u->segment);
      return wrong(p, u->line, field, "expected this key for a watched segment, it is missing");
    }
    for (size_t j = 0; u->segment != NULL && j < i; j++)
      if (c->service[j].segment != NULL && strcmp(c->service[j].segment, u->segment) == 0)
        return wrong(p, u->line, "segment", "expected each segment once, \"%s\" is watched for %s", u->segment,
                     c->service[j].name);
  }
  return true;
}

bool kedge_config_owner(const struct kedge_config *config, const char *segment, uid_t *uid)
{
  for (size_t i = 0; i < config->owners; i++)
    if (strcmp(config->owner[i].name, segment) == 0) {
      *uid = config->owner[i].uid;
      return true;
    }
  for (size_t i = 0; i < config->services; i++) {
    const struct kedge_unit *u = &config->service[i];
    if (u->kind == KEDGE_UNIT_SERVICE && u->segment != NULL && strcmp(u->segment, segment) == 0) {
      *uid = (uid_t)u->uid;
      return true;
    }
  }
  return false;
}

bool kedge_config_parse(struct kedge_config *config, const char *file, const char *text, size_t length,
                        char *error, size_t error_size)
{
  memset(config, 0, sizeof(*config));
  config->cpu_latency_ns = UINT64_MAX;
  struct parser p = {.config = config, .file = file, .error = error, .error_size = error_size};
  if (length > CONFIG_MAX_BYTES)
    return wrong(&p, 0, "file", "expected at most %u bytes, got %zu", CONFIG_MAX_BYTES, length);
  /* The copy of the text; behind it, per line, at most its words, a pointer for each and some rounding. */
  p.size = length * 10 + 4096;
  p.memory = malloc(p.size);
  if (p.memory == NULL)
    return wrong(&p, 0, "file", "expected memory for it, there is none");
  config->memory = p.memory;
  char *copy = take(&p, length + 1);
  bool good = copy != NULL;
  if (good) {
    if (length > 0)
      memcpy(copy, text, length);
    copy[length] = '\0';
  }
  for (size_t at = 0; good && at < length;) {
    size_t end = at;
    p.line++;
    while (end < length && copy[end] != '\n') {
      unsigned char c = (unsigned char)copy[end];
      if (c != '\t' && (c < 0x20 || c == 0x7f)) {
        good = wrong(&p, p.line, "line", "expected text, got the control character 0x%02x", c);
        break;
      }
      end++;
    }
    if (!good)
      break;
    copy[end] = '\0';
    good = read_line(&p, copy + at);
    at = end + 1;
  }
  good = good && close_section(&p);
  good = good && check_whole(&p);
  if (!good)
    kedge_config_free(config);
  return good;
}

int kedge_config_load(struct kedge_config *config, const char *file, char *error, size_t error_size)
{
  memset(config, 0, sizeof(*config));
  struct stat st;
  int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 || fstat(fd, &st) != 0) {
    snprintf(error, error_size, "%s: file: expected a readable configuration: %s", file, strerror(errno));
    if (fd >= 0)
      close(fd);
    return 4;
  }
  if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0) {
    snprintf(error, error_size, "%s: file: expected a regular file that belongs to root and that only root may write, "
             "got owner %u, mode %04o", file, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
    close(fd);
    return 3;
  }
  char *text = malloc(CONFIG_MAX_BYTES + 1);
  size_t length = 0;
  ssize_t n = 0;
  while (text != NULL && length <= CONFIG_MAX_BYTES && (n = read(fd, text + length, CONFIG_MAX_BYTES + 1 - length)) > 0)
    length += (size_t)n;
  int why = text == NULL ? ENOMEM : errno;
  close(fd);
  if (text == NULL || n < 0) {
    snprintf(error, error_size, "%s: file: expected a readable configuration: %s", file, strerror(why));
    free(text);
    return 4;
  }
  bool good = kedge_config_parse(config, file, text, length, error, error_size);
  free(text);
  return good ? 0 : 2;
}

void kedge_config_free(struct kedge_config *config)
{
  free(config->memory);
  memset(config, 0, sizeof(*config));
}
