/*
 * Fuzz target: the warden's passes over a board whose segments are broken, cut, replaced and mended as the input
 * says. Fail-closed lines are levels and never loosen by themselves, nobody is killed but who is held, and after
 * all of it a tightening that nobody acknowledges still closes its path.
 *
 *   input: steps of one byte each, with what they need behind them
 *
 * It must kill nothing: signals are counted here and not sent.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "damage.h"
#include "scratch.h"
#include "watch.c"

#define STEPS_MOST 40u
#define VICTIMS 4u

static struct victim victim[VICTIMS];
static uint8_t *whole[VICTIMS]; /* the bytes of each file as they were, up to KEPT */
#define KEPT ((size_t)8192)
static bool cut[VICTIMS];
static struct warden warden;
static struct kedge_config config;
static pid_t writer;
static uint64_t clock_now;
static unsigned kills;

uint64_t __wrap_kedge_now_ns(void);
uint64_t __wrap_kedge_now_ns(void) { return clock_now; }

int __wrap_act_kill(int pidfd);
int __wrap_act_kill(int pidfd)
{
  bool held = pidfd < 0;
  for (unsigned i = 0; i < warden.board.slots; i++)
    held = held || warden.board.slot[i].pidfd == pidfd;
  HOLDS(held);
  kills++;
  return 0;
}

void log_line(const char *format, ...) { (void)format; }

static void end_writer(void) { kill(writer, SIGKILL); }

/* A process that is there to be named as the writer of segments; it ends with this one. */
static void start_writer(void)
{
  pid_t parent = getpid();
  writer = fork();
  HOLDS(writer >= 0);
  if (writer == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent)
      pause();
    _exit(0);
  }
  atexit(end_writer);
}

static char *names[] = {"dataplane-reference", "participant-overlay", "participant-underlay"};

static void configure(void)
{
  static char *overlay[] = {"participant-overlay", NULL}, *underlay[] = {"participant-underlay", NULL};
  static char *dataplanes[] = {"dataplane-reference", NULL};
  config.board = scratch;
  config.dataplanes = (struct kedge_words){dataplanes, 1};
  config.participants[KEDGE_PATH_OVERLAY] = (struct kedge_words){overlay, 1};
  config.participants[KEDGE_PATH_UNDERLAY] = (struct kedge_words){underlay, 1};
  config.owner[config.owners++] = (struct kedge_owner){KEDGE_FILE_POSTURE, geteuid()};
  for (unsigned i = 0; i < 3; i++)
    config.owner[config.owners++] = (struct kedge_owner){names[i], geteuid()};
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    config.budget_ns[path] = UINT64_C(1000000) << path;
  config.silence_kill_ns = UINT64_C(50000000);
  config.stale_ns = UINT64_C(1000000000);
  struct kedge_unit *unit = &config.service[config.services++];
  *unit = (struct kedge_unit){.kind = KEDGE_UNIT_WATCH, .name = "reference", .segment = "dataplane-reference",
                              .stale_ns = UINT64_C(1000000000), .start_grace_ns = UINT64_C(1000000000)};
}

static void prepare(void)
{
  clock_now = UINT64_C(1000000000000);
  scratch_make();
  start_writer();
  configure();
  victim_make(&victim[0], KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE);
  victim_make(&victim[1], names[0], KEDGE_SEGMENT_DATAPLANE);
  victim_make(&victim[2], names[1], KEDGE_SEGMENT_PARTICIPANT);
  victim_make(&victim[3], names[2], KEDGE_SEGMENT_PARTICIPANT);
  for (unsigned i = 0; i < VICTIMS; i++) {
    struct kedge_segment_header *header = victim[i].own.base;
    header->writer_pid = (uint32_t)writer;
    header->writer_start = board_start_time(writer);
    header->checksum = kedge_crc32(0, header, offsetof(struct kedge_segment_header, checksum));
    whole[i] = copy_of(victim[i].bytes, victim[i].own.size < KEPT ? victim[i].own.size : KEPT);
  }
  warden.config = &config;
  warden.news = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  HOLDS(board_init(&warden.board, &config) == 0 && warden.board.slots == VICTIMS);
  HOLDS(kedge_segment_create(&warden.own, scratch, KEDGE_FILE_WARDEN, KEDGE_SEGMENT_WARDEN, NULL) == KEDGE_REFUSAL_NONE);
}

/* Everything as at the start but the time: mappings are found again, nothing is known of any decision. */
static void restore(struct damage *damage)
{
  for (unsigned i = 0; i < VICTIMS; i++) {
    size_t size = victim[i].own.size;
    if (!cut[i])
      continue;
    HOLDS(ftruncate(victim[i].own.fd, (off_t)size) == 0);
    HOLDS(pwrite(victim[i].own.fd, whole[i], size < KEPT ? size : KEPT, 0) > 0);
    cut[i] = false;
  }
  repair(damage);
  for (unsigned turn = 0; turn < 3; turn++) {
    atomic_fetch_add(&warden.board.passes, 2);
    board_refresh(&warden.board);
  }
  for (unsigned i = 0; i < VICTIMS; i++)
    HOLDS(board_read(&warden.board.slot[i]) != NULL && board_writer(&warden.board.slot[i]) == WRITER_ALIVE);
}

static void begin(void)
{
  int slots[VICTIMS];
  memset(&watch, 0, sizeof(watch));
  memset(warden_segment(&warden)->fail_closed, 0, sizeof(warden_segment(&warden)->fail_closed));
  for (unsigned i = 0; i < VICTIMS; i++)
    slots[i] = board_find(&warden.board, victim[i].name);
  watch.w = &warden;
  watch.posture = slots[0];
  watch.dataplane[watch.dataplanes++] = slots[1];
  watch.participant[KEDGE_PATH_OVERLAY][watch.participants[KEDGE_PATH_OVERLAY]++] = slots[2];
  watch.participant[KEDGE_PATH_UNDERLAY][watch.participants[KEDGE_PATH_UNDERLAY]++] = slots[3];
  warden.service[0] = (struct service_state){.pidfd = -1, .slot = slots[1], .started_at_ns = clock_now};
  for (unsigned i = 0; i < warden.board.slots; i++)
    warden.board.slot[i].seen_at_ns = clock_now;
}

static void passes(void)
{
  const struct kedge_warden_segment *own = warden_segment(&warden);
  uint64_t before[KEDGE_PATHS], events = own->violations;
  for (unsigned path = 0; path < KEDGE_PATHS; path++)
    before[path] = own->fail_closed[path].word;
  atomic_fetch_add(&warden.board.passes, 1);
  pass(clock_now);
  for (unsigned path = 0; path < KEDGE_PATHS; path++) {
    kedge_word line = own->fail_closed[path].word;
    HOLDS(line == 0 || (kedge_word_raw_level(line) >= 1 && kedge_word_raw_level(line) <= 5 && kedge_word_flags(line) == 0));
    HOLDS(line == 0 || before[path] == 0 || kedge_word_level(line) <= kedge_word_level(before[path]));
  }
  HOLDS(own->violations >= events && own->violations - events <= 4096);
  for (uint64_t n = events; n < own->violations && n < events + 8; n++) {
    const struct kedge_violation *v = &own->violation[(own->violations - 1 - (n - events)) % KEDGE_VIOLATION_SLOTS];
    HOLDS((v->sequence & 1u) == 0 && v->kind >= KEDGE_VIOLATION_BUDGET && v->kind <= KEDGE_VIOLATION_FAIL_CLOSED_CLEARED);
    HOLDS(v->level <= 5 && memchr(v->subject, '\0', sizeof(v->subject)) != NULL);
  }
}

static void break_bytes(struct damage *damage, unsigned i, size_t at, uint64_t value)
{
  if (!cut[i])
    poke(damage, victim[i].bytes + at % (victim[i].own.size < KEPT ? victim[i].own.size - 8 : KEPT - 8), value, 4);
}

static void acknowledge(struct damage *damage, struct input *in, struct kedge_ack *ack)
{
  if (cut[1] || cut[2] || cut[3])
    return;
  unsigned pick = (unsigned)take(in, 1);
  poke(damage, &ack->epoch, take(in, 1), 8);
  poke(damage, &ack->level, pick & 7u, 4);
  poke(damage, &ack->outcome, pick >> 3 & 3u, 4);
  poke(damage, &ack->finished_at_ns, clock_now, 8);
}

/* A decision with line and word, as a coordinator stores it; also one that no coordinator would. */
static void decide(struct damage *damage, struct input *in, unsigned how)
{
  struct kedge_posture_segment *posture = victim[0].own.base;
  if (cut[0])
    return;
  unsigned levels = (unsigned)take(in, 1);
  uint64_t epoch = take(in, 1);
  poke(damage, &posture->transition.epoch, epoch, 8);
  poke(damage, &posture->transition.from, 1 + (levels & 7u) % 5, 4);
  poke(damage, &posture->transition.to, 1 + (levels >> 3 & 7u) % 5, 4);
  poke(damage, &posture->transition.stage, how % 8, 4);
  poke(damage, &posture->transition.decided_at_ns, clock_now, 8);
  poke(damage, &posture->transition.stage_at_ns, clock_now, 8);
  if ((how & 8u) == 0)
    poke(damage, &posture->word, kedge_word_of(epoch, 0, 1 + (levels >> 3 & 7u) % 5), 8);
}

static void step(struct input *in, struct damage *damage)
{
  struct kedge_dataplane_segment *dataplane = victim[1].own.base;
  unsigned what = (unsigned)take(in, 1), i = what >> 4 & 3u;
  switch (what & 15u) {
  case 0:
  case 1: break_bytes(damage, i, take(in, 1), take(in, 4)); break;
  case 2: break_bytes(damage, 1, 192 + take(in, 1), take(in, 4)); break;
  case 3: decide(damage, in, what >> 4); break;
  case 4: acknowledge(damage, in, &dataplane->worker[what >> 4].ack); break;
  case 5:
    if (!cut[1])
      poke(damage, &dataplane->worker[what >> 4].live, 1, 4);
    break;
  case 6: acknowledge(damage, in, &((struct kedge_participant_segment *)victim[2 + (i & 1u)].own.base)->ack); break;
  case 7:
    if (!cut[i])
      poke(damage, &((struct kedge_participant_segment *)victim[i].own.base)->beat.at_ns, clock_now + (what >> 6) * UINT64_C(700000000), 8);
    break;
  case 8: clock_now += UINT64_C(10000) << (what >> 4); break;
  case 9:
    if (!cut[i])
      HOLDS(ftruncate(victim[i].own.fd, what >> 7 != 0 ? 0 : 64) == 0);
    cut[i] = true;
    break;
  case 10: board_refresh(&warden.board); break;
  case 11:
    HOLDS(rename(scratch_path(victim[i].name), scratch_path("away")) == 0);
    board_refresh(&warden.board);
    passes();
    HOLDS(rename(scratch_path("away"), scratch_path(victim[i].name)) == 0);
    break;
  default: passes();
  }
}

/* After anything at all, a tightening that nobody acknowledges closes the path of packets at its deadline. */
static void still_closes(struct damage *damage)
{
  struct kedge_posture_segment *posture = victim[0].own.base;
  struct kedge_dataplane_segment *dataplane = victim[1].own.base;
  uint64_t epoch = later(later(watch.word_epoch, watch.line_epoch), watch.decided_epoch) + 1;
  if (epoch > KEDGE_EPOCH_MAX)
    return;
  clock_now += UINT64_C(100000000);
  poke(damage, &dataplane->worker[0].live, 1, 4);
  poke(damage, &posture->transition.epoch, epoch, 8);
  poke(damage, &posture->transition.from, 5, 4);
  poke(damage, &posture->transition.to, 2, 4);
  poke(damage, &posture->transition.stage, KEDGE_STAGE_TIGHTEN, 4);
  poke(damage, &posture->transition.decided_at_ns, clock_now, 8);
  poke(damage, &posture->word, kedge_word_of(epoch, 0, 2), 8);
  passes();
  clock_now += config.budget_ns[KEDGE_PATH_DATAPLANE] + 1;
  passes();
  kedge_word line = warden_segment(&warden)->fail_closed[KEDGE_PATH_DATAPLANE].word;
  HOLDS(line != 0 && kedge_word_level(line) <= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct damage damage;
  struct input in = {data, size};
  if (warden.config == NULL)
    prepare();
  clock_now = UINT64_C(1000000000000);
  restore(&damage);
  begin();
  for (unsigned i = 0; i < STEPS_MOST && in.left > 0; i++)
    step(&in, &damage);
  restore(&damage);
  still_closes(&damage);
  restore(&damage);
  return 0;
}
