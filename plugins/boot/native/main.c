/*
 * kedge-boot: puts the posture word on the board before any service of Kedge runs (PO-17).
 *
 * It must decide nothing that the journal does not say, issue no epoch, and loosen nothing that stands.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kedge/segment.h"
#include "recovery.h"
#include "state.h"

#define BOOT_VERSION "0.1.0"

/* As in docs/errors.md. */
enum { EXIT_OK = 0, EXIT_UNEXPECTED = 1, EXIT_WRONG_USAGE = 2, EXIT_REFUSED = 3, EXIT_UNAVAILABLE = 4, EXIT_DAMAGED = 7 };

static const char help[] =
  "NAME\n"
  "    kedge-boot - put the last posture, or a stricter one, on the board before any service of Kedge runs\n"
  "\n"
  "SYNOPSIS\n"
  "    kedge-boot --board DIRECTORY --state DIRECTORY [--uid N --gid N] [--provisioning-level N]\n"
  "    kedge-boot --check --board DIRECTORY --state DIRECTORY [--uid N --gid N] [--provisioning-level N]\n"
  "    kedge-boot --help | --version\n"
  "\n"
  "DESCRIPTION\n"
  "    Reads the decision journal of the posture coordinator, creates the segment `posture` on the board and\n"
  "    stores the posture word in it, so that packets obey the last decision from the first one on. The\n"
  "    coordinator takes the segment over when it starts.\n"
  "\n"
  "    A decision whose transition was completed is put there as it was, under its own epoch. Otherwise boot\n"
  "    stores a level under epoch 0, which is no decision: the stricter level of a transition that was\n"
  "    interrupted; level 2 or stricter where the journal is damaged, cannot be believed, or is gone from a\n"
  "    box that had one; the provisioning level where nothing was ever decided. The coordinator decides what\n"
  "    follows, under an epoch of its own.\n"
  "\n"
  "    A word that stands already (boot is run a second time) is made stricter or left, never looser. A\n"
  "    posture segment that is damaged is left to the coordinator: until it has replaced it, nobody obeys it\n"
  "    and everything is fail-closed.\n"
  "\n"
  "OPTIONS\n"
  "    --board DIRECTORY   the posture board: of root or the caller, sticky where its group may write\n"
  "    --state DIRECTORY   the coordinator's state directory, with decisions.journal and the mark provisioned\n"
  "    --uid N, --gid N    become this user first, that of the coordinator, who has to own the segment. Needed\n"
  "                        when run by root, and of no use otherwise\n"
  "    --provisioning-level N\n"
  "                        1 to 5, level of the very first start (default 2)\n"
  "    --check             change nothing; say what would be stored\n"
  "    --help, --version   say so and end\n"
  "\n"
  "OUTPUT\n"
  "    One line of JSON on standard output:\n"
  "        {\"stored\":true,\"level\":3,\"epoch\":\"41\",\"because\":\"decision\",\"stood\":false,\"us\":812}\n"
  "    because: decision, unfinished, doubt, provisioning; or damaged-segment, where nothing was stored.\n"
  "    stood: the board said so already. us: microseconds since the start of the program's main function.\n"
  "    Doubts and errors are lines on standard error: kedge-boot: CODE: what is wrong. Doubts do not fail the\n"
  "    boot of the box, which then comes up strict; --check ends with 7 for them.\n"
  "\n"
  "FILES\n"
  "    STATE/decisions.journal   a regular file of the coordinator or root that nobody else may write, of at\n"
  "                              most 1048576 records; kedge/journal.h describes it. Links are not followed\n"
  "    STATE/provisioned         is there when a decision was ever durable on this box\n"
  "    BOARD/posture             kedge/layout.h describes it; mode 0644\n"
  "\n"
  "EXIT STATUS\n"
  "    0  the word is stored, or a stricter one stands, or a damaged segment keeps everything fail-closed\n"
  "    1  the system refused something: no space, no memory\n"
  "    2  wrong usage\n"
  "    3  the board is refused, or somebody else owns the posture segment\n"
  "    4  a coordinator runs and has the posture, or the user cannot be taken\n"
  "    7  with --check: there is a doubt\n"
  "\n"
  "EXAMPLE\n"
  "    kedge-boot --board /run/kedge/board --state /var/lib/kedge/posture-coordinator --uid 64701 --gid 64700\n";

struct options {
  const char *board, *state;
  uint64_t uid, gid; /* UINT64_MAX = not given */
  unsigned provisioning_level;
  bool check;
};

static int complain(int status, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int complain(int status, const char *code, const char *format, ...)
{
  va_list arguments;
  fprintf(stderr, "kedge-boot: %s: ", code);
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  return status;
}

static int usage(const char *what, const char *option)
{
  return complain(EXIT_WRONG_USAGE, "BOOT_USAGE", "%s%s; see kedge-boot --help", what, option);
}

/* ---------------------------------------------------------------- arguments */

static bool read_number(const char *text, uint64_t most, uint64_t *value)
{
  char *end;
  if (text[0] < '0' || text[0] > '9' || strlen(text) > 10)
    return false;
  *value = strtoull(text, &end, 10);
  return *end == '\0' && *value <= most;
}

/* Returns -1 to go on, otherwise the exit status. */
static int read_options(int argc, char **argv, struct options *o)
{
  *o = (struct options){.uid = UINT64_MAX, .gid = UINT64_MAX, .provisioning_level = BOOT_DOUBT_LEVEL};
  bool level_given = false;
  for (int i = 1; i < argc; i++) {
    const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    uint64_t number;
    if (strcmp(option, "--help") == 0)
      return fputs(help, stdout) < 0;
    if (strcmp(option, "--version") == 0)
      return printf("kedge-boot %s (layout %u)\n", BOOT_VERSION, KEDGE_LAYOUT_VERSION) < 0;
    if (strcmp(option, "--check") == 0) {
      o->check = true;
      continue;
    }
    const char **path = strcmp(option, "--board") == 0 ? &o->board : strcmp(option, "--state") == 0 ? &o->state : NULL;
    uint64_t *id = strcmp(option, "--uid") == 0 ? &o->uid : strcmp(option, "--gid") == 0 ? &o->gid : NULL;
    bool level = strcmp(option, "--provisioning-level") == 0;
    if (path == NULL && id == NULL && !level)
      return usage("unknown argument ", option);
    if (value == NULL)
      return usage("expected a value after ", option);
    if ((path != NULL && *path != NULL) || (id != NULL && *id != UINT64_MAX) || (level && level_given))
      return usage("given twice: ", option);
    i++;
    if (path != NULL) {
      if (value[0] != '/')
        return usage("expected an absolute path after ", option);
      *path = value;
    } else if (!read_number(value, id != NULL ? UINT32_MAX - 1u : KEDGE_LEVEL_NORMAL, &number) || (level && number < 1)) {
      return usage(level ? "expected a level from 1 to 5 after " : "expected a number from 0 to 4294967294 after ", option);
    } else if (id != NULL) {
      *id = number;
    } else {
      o->provisioning_level = (unsigned)number;
      level_given = true;
    }
  }
  if (o->board == NULL || o->state == NULL)
    return usage("expected ", o->board == NULL ? "--board DIRECTORY" : "--state DIRECTORY");
  if ((o->uid == UINT64_MAX) != (o->gid == UINT64_MAX))
    return usage("expected --uid and --gid together", "");
  if (o->uid == UINT64_MAX && geteuid() == 0)
    return usage("run by root: expected --uid and --gid of the coordinator, who has to own the segment", "");
  return -1;
}

static int become(const struct options *o)
{
  if (o->uid == UINT64_MAX)
    return -1;
  gid_t gid = (gid_t)o->gid;
  uid_t uid = (uid_t)o->uid;
  if (geteuid() == 0 ? setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0
                     : geteuid() != uid || getegid() != gid)
    return complain(EXIT_UNAVAILABLE, "BOOT_USER", "cannot become user %u of group %u: expected to be root or that user",
                    (unsigned)uid, (unsigned)gid);
  return -1;
}

/* ------------------------------------------------------------------- doubts */

/* Says what makes the box come up strict; 0 when nothing does. */
static int tell_doubt(const struct options *o, const struct boot_plan *plan, const char *why)
{
  unsigned level = plan->level;
  switch (plan->doubt) {
  case BOOT_SURE:
    return EXIT_OK;
  case BOOT_DOUBT_STATE:
    return complain(EXIT_DAMAGED, "BOOT_STATE_REFUSED", "cannot read %s: %s; level %u is taken", o->state, why, level);
  case BOOT_DOUBT_REFUSED:
    return complain(EXIT_DAMAGED, "BOOT_JOURNAL_REFUSED", "cannot believe %s/" BOOT_JOURNAL_NAME ": %s; level %u is taken",
                    o->state, why, level);
  case BOOT_DOUBT_MISSING:
    return complain(EXIT_DAMAGED, "BOOT_JOURNAL_MISSING",
                    "there is no %s/" BOOT_JOURNAL_NAME " on a box that had one; level %u is taken", o->state, level);
  case BOOT_DOUBT_DAMAGED:
    return complain(EXIT_DAMAGED, "BOOT_JOURNAL_DAMAGED", "%s/" BOOT_JOURNAL_NAME " is damaged from byte %zu on; level %u is taken",
                    o->state, plan->damage_at, level);
  case BOOT_DOUBT_EMPTY:
    return complain(EXIT_DAMAGED, "BOOT_JOURNAL_EMPTY",
                    "%s/" BOOT_JOURNAL_NAME " holds no decision on a box that had one; level %u is taken", o->state, level);
  }
  return EXIT_UNEXPECTED;
}

static bool tell_result(bool stored, const struct boot_plan *plan, uint64_t begun)
{
  return printf("{\"stored\":%s,\"level\":%u,\"epoch\":\"%" PRIu64 "\",\"because\":\"%s\",\"stood\":%s,\"us\":%" PRIu64 "}\n",
                stored ? "true" : "false", kedge_word_level(plan->word), kedge_word_epoch(plan->word),
                boot_because_text(plan->because), plan->stands ? "true" : "false",
                (kedge_now_ns() - begun) / 1000u) > 0 &&
         fflush(stdout) == 0;
}

/* ---------------------------------------------------------------- the segment */

static int refuse_segment(const struct options *o, enum kedge_refusal refusal)
{
  int why = errno;
  switch (refusal) {
  case KEDGE_REFUSAL_DIRECTORY:
    return complain(EXIT_REFUSED, "BOOT_BOARD", "cannot use the board %s: %s", o->board, kedge_refusal_text(refusal));
  case KEDGE_REFUSAL_OWNER:
    return complain(EXIT_REFUSED, "BOOT_FOREIGN", "cannot store the posture in %s: %s", o->board, kedge_refusal_text(refusal));
  case KEDGE_REFUSAL_BUSY:
    return complain(EXIT_UNAVAILABLE, "BOOT_BUSY", "nothing to do on the board %s: a coordinator runs and has the posture", o->board);
  default:
    return complain(EXIT_UNEXPECTED, "BOOT_FAILED", "cannot store the posture in %s: %s%s%s", o->board, kedge_refusal_text(refusal),
                    refusal == KEDGE_REFUSAL_SYSTEM ? ": " : "", refusal == KEDGE_REFUSAL_SYSTEM ? strerror(why) : "");
  }
}

/* What stands on the board before boot touches it. */
enum standing { STANDING_GOOD, STANDING_NONE, STANDING_DAMAGED, STANDING_REFUSED };

static enum standing standing_of(enum kedge_refusal refusal)
{
  switch (refusal) {
  case KEDGE_REFUSAL_NONE: return STANDING_GOOD;
  case KEDGE_REFUSAL_MISSING: /* the usual boot */
  case KEDGE_REFUSAL_BOOT:    /* of another boot: says nothing about this one */
  case KEDGE_REFUSAL_OPENING: /* its writer died while it took it: what it holds is good, and creating repairs it */
    return STANDING_NONE;
  case KEDGE_REFUSAL_OWNER:
  case KEDGE_REFUSAL_DIRECTORY:
  case KEDGE_REFUSAL_BUSY:
  case KEDGE_REFUSAL_SYSTEM:
    return STANDING_REFUSED;
  default:
    return STANDING_DAMAGED;
  }
}

static bool file_is_ours(const char *board)
{
  char path[PATH_MAX];
  struct stat st;
  int n = snprintf(path, sizeof(path), "%s/" KEDGE_FILE_POSTURE, board);
  return n > 0 && (size_t)n < sizeof(path) && lstat(path, &st) == 0 && st.st_uid == geteuid();
}

static void look_at(const struct kedge_segment *segment, struct boot_findings *findings)
{
  const struct kedge_posture_segment *posture = segment->base;
  struct kedge_transition_view line;
  findings->word = atomic_load_explicit(&posture->word, memory_order_acquire);
  if (!kedge_transition_read(&posture->transition, &line))
    return;
  findings->line_epoch = line.epoch;
  findings->line_from = line.from;
  findings->line_to = line.to;
}

/* Line first, then the word, then whoever waits: as every store of a posture. */
static void publish(struct kedge_posture_segment *posture, const struct boot_plan *plan)
{
  if (plan->stands)
    return;
  uint64_t now = kedge_now_ns();
  if (plan->with_line) {
    struct kedge_transition_view line = {.epoch = plan->epoch, .from = plan->from, .to = plan->to,
                                         .stage = KEDGE_STAGE_COMPLETE, .decided_at_ns = now, .stage_at_ns = now};
    kedge_transition_write(&posture->transition, &line);
  }
  atomic_store_explicit(&posture->word, plan->word, memory_order_release);
  atomic_store_explicit(&posture->stored_at_ns, kedge_now_ns(), memory_order_release);
  kedge_bell_ring(&posture->beat.bell);
}

static int run(const struct options *o, uint64_t begun)
{
  struct boot_findings findings = {.provisioning_level = o->provisioning_level};
  struct boot_plan plan;
  struct kedge_segment segment;
  char why[256];

  enum kedge_refusal refusal = kedge_segment_open(&segment, o->board, KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE, geteuid());
  enum standing standing = standing_of(refusal);
  /* The header names another user than the file has: it lies. Damaged, not foreign. */
  if (refusal == KEDGE_REFUSAL_OWNER && file_is_ours(o->board))
    standing = STANDING_DAMAGED;
  if (standing == STANDING_REFUSED)
    return refuse_segment(o, refusal);
  if (standing == STANDING_DAMAGED) {
    /* Creating would replace it, and the coordinator would never know that there was a word to doubt. */
    int status = complain(EXIT_DAMAGED, "BOOT_SEGMENT_DAMAGED", "%s/" KEDGE_FILE_POSTURE " is left to the coordinator: %s; nobody obeys it",
                          o->board, kedge_refusal_text(refusal));
    bool told = printf("{\"stored\":false,\"level\":1,\"epoch\":\"0\",\"because\":\"damaged-segment\",\"stood\":false,\"us\":%" PRIu64 "}\n",
                       (kedge_now_ns() - begun) / 1000u) > 0;
    return o->check ? status : told ? EXIT_OK : EXIT_UNEXPECTED;
  }
  if (o->check) {
    if (standing == STANDING_GOOD)
      look_at(&segment, &findings);
  } else {
    if (standing == STANDING_GOOD)
      kedge_segment_close(&segment);
    refusal = kedge_segment_create(&segment, o->board, KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE, NULL);
    if (refusal != KEDGE_REFUSAL_NONE)
      return refuse_segment(o, refusal);
    look_at(&segment, &findings);
  }
  boot_state_read(o->state, &findings, why, sizeof(why));
  boot_plan_of(&findings, &plan);
  free((void *)(uintptr_t)findings.journal);
  if (!o->check)
    publish(segment.base, &plan);
  kedge_segment_close(&segment);
  int doubt = tell_doubt(o, &plan, why);
  if (!tell_result(!o->check, &plan, begun))
    return complain(EXIT_UNEXPECTED, "BOOT_FAILED", "cannot say what was done: %s", strerror(errno));
  return o->check ? doubt : EXIT_OK;
}

int main(int argc, char **argv)
{
  uint64_t begun = kedge_now_ns();
  struct options options;
  int status = read_options(argc, argv, &options);
  if (status >= 0)
    return status;
  umask(022);
  status = become(&options);
  if (status >= 0)
    return status;
  return run(&options, begun);
}
