/*
 * Fuzz target: a governor with one worker on a board whose posture, warden and tables segments are broken and
 * mended as the input says. It obeys nothing looser than what stands there, and level 1 where it cannot be read.
 *
 *   input: steps of one byte each, with what they need behind them
 *
 * It must compare with the board as it is, never with what the governor remembers of it.
 */
#define _GNU_SOURCE
#include "damage.h"
#include "loader.h"
#include "rule-input.h"
#include "scratch.h"

#define STEPS_MOST 48u
#define RULES 24u
#define SAFE_LEVEL 2u
#define RETIRED_MOST 8u /* as the loader has it */
#define HEADER_KEPT 104u /* bytes of a header that count: up to and with `opening` */

static struct victim victim[KEDGE_SOURCES];
static struct kedge_segment_header header_before[KEDGE_SOURCES];
static struct kedge_rule rules[RULES];
static struct places places;
static struct kedge_governor *governor;
static uint64_t now;

uint64_t __wrap_kedge_now_ns(void);
uint64_t __wrap_kedge_now_ns(void) { return now; }

/* Pages come when they are touched; an input touches few of them. */
int __wrap_kedge_segment_lock_memory(const struct kedge_segment *segment);
int __wrap_kedge_segment_lock_memory(const struct kedge_segment *segment) { return segment->base == NULL ? EINVAL : 0; }

static void *posture_bytes(void) { return victim[KEDGE_SOURCE_POSTURE].bytes; }
static void *warden_bytes(void) { return victim[KEDGE_SOURCE_WARDEN].bytes; }
static void *tables_bytes(void) { return victim[KEDGE_SOURCE_TABLES].bytes; }

static void prepare(void)
{
  scratch_make();
  victim_make(&victim[KEDGE_SOURCE_POSTURE], KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE);
  victim_make(&victim[KEDGE_SOURCE_WARDEN], KEDGE_FILE_WARDEN, KEDGE_SEGMENT_WARDEN);
  victim_make(&victim[KEDGE_SOURCE_TABLES], KEDGE_FILE_TABLES, KEDGE_SEGMENT_TABLES);
  struct kedge_tables_segment *tables = tables_bytes();
  struct kedge_build_report report;
  rules_fixed(rules, RULES);
  for (uint64_t generation = 2; generation <= 3; generation++) {
    for (unsigned level = 1; level <= KEDGE_LEVELS; level++) {
      struct kedge_rules set;
      rule_set_of(&set, rules, RULES, level, generation);
      HOLDS(kedge_table_build(&set, &tables->bank[generation % KEDGE_BANKS].level[level - 1], &report) == KEDGE_BUILD_OK);
    }
    tables->bank[generation % KEDGE_BANKS].generation = generation;
  }
  places_find(&places, &tables->bank[0].level[0], sizeof(tables->bank[0].level[0]));
  for (unsigned s = 0; s < KEDGE_SOURCES; s++)
    memcpy(&header_before[s], victim[s].bytes, sizeof(header_before[s]));
  governor = malloc(sizeof(*governor));
  HOLDS(governor != NULL);
}

/* Silent for both: nothing heard since the governor listens, and not for the limit. */
static bool is_silent(const struct kedge_beat *beat)
{
  uint64_t at = beat == NULL || beat->at_ns > now + UINT64_C(1000000000) ? 0 : beat->at_ns;
  if (at < governor->opened_at_ns)
    at = governor->opened_at_ns;
  return now > at && now - at > KEDGE_DEFAULT_SILENCE_NS;
}

static void obeys(const struct kedge_governor_worker *w)
{
  const struct kedge_posture_segment *posture = governor->mapping[KEDGE_SOURCE_POSTURE] == NULL ? NULL : posture_bytes();
  const struct kedge_warden_segment *warden = governor->mapping[KEDGE_SOURCE_WARDEN] == NULL ? NULL : warden_bytes();
  const struct kedge_mapping *tables = governor->mapping[KEDGE_SOURCE_TABLES];
  HOLDS(w->level >= 1 && w->level <= 5);
  HOLDS((posture != NULL && warden != NULL) || w->level == 1);
  HOLDS(posture == NULL || w->level <= kedge_word_level(posture->word));
  kedge_word line = warden == NULL ? 0 : warden->fail_closed[KEDGE_PATH_DATAPLANE].word;
  HOLDS(line == 0 || w->level <= kedge_word_level(line));
  HOLDS(!w->safe || w->level <= SAFE_LEVEL);
  HOLDS(w->safe || !is_silent(posture == NULL ? NULL : &posture->beat) || !is_silent(warden == NULL ? NULL : &warden->beat));
  if (w->table == NULL)
    return;
  const struct kedge_tables_segment *base = tables == NULL ? NULL : tables->segment.base;
  HOLDS(base != NULL && w->use.generation != 0 && w->shared->generation == w->use.generation);
  HOLDS(w->table == &base->bank[w->use.generation % KEDGE_BANKS].level[w->level - 1]);
}

/*
 * What the loader has just looked at is taken where its header is as its writer wrote it, and refused otherwise;
 * unless so many mappings wait for a worker that has not begun since that it looks at none.
 */
static void loader_saw(void)
{
  unsigned waiting = 0;
  for (const struct kedge_mapping *m = governor->retired; m != NULL; m = m->next)
    waiting++;
  if (waiting > RETIRED_MOST)
    return;
  for (unsigned s = 0; s < KEDGE_SOURCES; s++) {
    bool whole = memcmp(victim[s].bytes, &header_before[s], HEADER_KEPT) == 0 && access(scratch_path(victim[s].name), F_OK) == 0;
    HOLDS((governor->mapping[s] != NULL) == whole);
  }
}

static void judge(struct kedge_governor_worker *w, struct input *in)
{
  struct kedge_packet packet = {.kind = KEDGE_PACKET_FLOW};
  struct kedge_judgement judgement;
  unsigned pick = (unsigned)take(in, 2);
  packet.family = pick & 1u;
  packet.later_fragment = pick >> 1 & 1u;
  address_of(packet.key.source, packet.family, pick >> 2 & 63u);
  address_of(packet.key.destination, packet.family, (pick >> 4 & 7u) * 10);
  packet.key.protocol = (pick >> 8 & 1u) != 0 ? 6 : 17;
  packet.key.destination_port = (pick >> 9 & 1u) != 0 ? 443 : 161;
  kedge_governor_judge(w, &packet, pick >> 10 & 15u, pick >> 12 & 15u, &judgement);
  judgement_is_in_range(&judgement);
}

static void step(struct kedge_governor_worker *w, struct input *in, struct damage *damage, uint64_t *acknowledged)
{
  struct kedge_posture_segment *posture = posture_bytes();
  struct kedge_warden_segment *warden = warden_bytes();
  struct kedge_tables_segment *tables = tables_bytes();
  unsigned what = (unsigned)take(in, 1);
  switch (what & 15u) {
  case 0: poke(damage, victim[KEDGE_SOURCE_POSTURE].bytes + take(in, 1) % 376, take(in, 4), 4); break;
  case 1: poke(damage, victim[KEDGE_SOURCE_WARDEN].bytes + take(in, 1) % 248, take(in, 4), 4); break;
  case 2: poke(damage, victim[KEDGE_SOURCE_TABLES].bytes + take(in, 1) % 248, take(in, 2), 2); break;
  case 3: {
    unsigned pick = (unsigned)take(in, 2);
    struct kedge_level_table *t = &tables->bank[what >> 4 & 1u].level[(what >> 5) % KEDGE_LEVELS];
    size_t place = place_of(&places, pick);
    if (place + 4 <= sizeof(*t))
      poke(damage, (uint8_t *)t + place, take(in, 2), 4);
    break;
  }
  case 4: poke(damage, &tables->generation, what >> 4, 8); break;
  case 5: poke(damage, &posture->word, kedge_word_of(take(in, 1), 0, what >> 4), 8); break;
  case 6: poke(damage, &warden->fail_closed[KEDGE_PATH_DATAPLANE].word, (what >> 4) == 0 ? 0 : kedge_word_of(1, 0, what >> 4), 8); break;
  case 7: poke(damage, &posture->beat.at_ns, now, 8); break;
  case 8: poke(damage, &warden->beat.at_ns, now, 8); break;
  case 9: now += UINT64_C(1000000) << (what >> 4); break;
  case 10:
    HOLDS(rename(scratch_path(victim[(what >> 4) % KEDGE_SOURCES].name), scratch_path("away")) == 0);
    kedge_loader_step(governor);
    loader_saw();
    HOLDS(rename(scratch_path("away"), scratch_path(victim[(what >> 4) % KEDGE_SOURCES].name)) == 0);
    break;
  case 11: repair(damage); break;
  case 12:
    kedge_governor_acknowledge(w);
    {
      struct kedge_ack_view ack;
      HOLDS(kedge_ack_read(&w->shared->ack, &ack) && ack.epoch >= *acknowledged && !w->due);
      *acknowledged = ack.epoch;
    }
    break;
  case 13: judge(w, in); break;
  case 14:
    kedge_loader_step(governor);
    loader_saw();
    break;
  default:
    kedge_governor_begin(w, now);
    obeys(w);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input in = {data, size};
  struct damage damage = {.count = 0};
  uint64_t acknowledged = 0;
  now = UINT64_C(1000000000000);
  if (governor == NULL)
    prepare();
  const struct kedge_governor_options options = {.board = scratch, .name = "fuzz", .owner = {geteuid(), geteuid(), geteuid()},
                                                 .workers = 1, .safe_level = SAFE_LEVEL, .silence_ns = KEDGE_DEFAULT_SILENCE_NS};
  HOLDS(kedge_governor_open(governor, &options) == KEDGE_REFUSAL_NONE);
  struct kedge_governor_worker *w = kedge_governor_worker_start(governor, 0);
  HOLDS(w != NULL && kedge_governor_worker_start(governor, 1) == NULL);
  kedge_governor_begin(w, now);
  obeys(w);
  for (unsigned i = 0; i < STEPS_MOST && in.left > 0; i++)
    step(w, &in, &damage, &acknowledged);
  /* Whatever it went through: what is whole again is found again, and the newest tightening obeyed. */
  repair(&damage);
  kedge_governor_begin(w, now);
  kedge_loader_step(governor);
  loader_saw();
  kedge_governor_begin(w, now);
  obeys(w);
  kedge_governor_close(governor);
  HOLDS(unlink(scratch_path("dataplane-fuzz")) == 0);
  return 0;
}
