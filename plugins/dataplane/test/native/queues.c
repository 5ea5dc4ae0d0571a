/*
 * The queues of the reference forwarder against a model of them, and the meter. Usage:
 *   queues STEPS SEED     random steps, order, contents and counters compared after each; prints JSON
 *   queues judge ROUNDS   what it takes to judge a full pool again by a table of 16 shapes; prints JSON
 *
 * The model is arrays of frame ids: it must share nothing with what it is compared with.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/builder.h"
#include "../../core/classify.h"
#include "../../reference/queues.h"
#include "kedge/segment.h"

#define PORTS 3u

static struct kedge_queues queues;
static struct kedge_queue_counters counters[KEDGE_QUEUES];
static unsigned long long steps, pushed, moved, withdrawn, refused, fullest;

struct model_frame {
  uint64_t id;
  uint32_t length;
  bool marked;
};
struct model_line {
  struct model_frame frame[KEDGE_QUEUE_FRAMES];
  unsigned count;
};
static struct model_line model[PORTS][KEDGE_QUEUES];
static struct {
  uint64_t sent, waited, lost, withdrawn;
} expected[KEDGE_QUEUES];

static uint64_t random_state;
static uint64_t next_random(void)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}
static unsigned below(unsigned n) { return (unsigned)(next_random() % n); }

static void wrong(const char *what)
{
  fprintf(stderr, "step %llu: %s\n", steps, what);
  exit(1);
}

/* ------------------------------------------------------------------ frames */

static uint8_t scratch[(KEDGE_FRAME_CELLS + 1) * KEDGE_CELL_BYTES]; /* also for one that no queue takes */

static uint8_t byte_of(uint64_t id, uint32_t at) { return (uint8_t)(id * 31 + at * 7 + (at >> 11)); }

static struct kedge_frame frame_of(uint64_t id, uint32_t length)
{
  static const uint8_t ip[20] = {0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 77, 0, 20, 10, 77, 0, 30};
  struct kedge_frame f = {.at = scratch, .length = length, .offload = {.gso_size = (uint16_t)id}};
  for (uint32_t i = 0; i < length; i++)
    scratch[i] = byte_of(id, i);
  memcpy(scratch + 14, ip, sizeof(ip));
  return f;
}

static struct kedge_packet packet_of(uint64_t id)
{
  struct kedge_packet p = {.kind = KEDGE_PACKET_FLOW, .family = KEDGE_FAMILY_IP4, .network = 14, .transport = 34};
  p.key.protocol = 17;
  p.key.source_port = (uint16_t)id;
  return p;
}

/* Every byte stands where it stood, but for the mark. */
static void same_bytes(const struct kedge_waiting *w, const struct model_frame *m)
{
  struct iovec part[KEDGE_FRAME_PARTS];
  unsigned parts = kedge_queues_parts(&queues, w, part);
  const struct kedge_offload *offload = part[0].iov_base;
  if (w->length != m->length || part[0].iov_len != 10 || offload->gso_size != (uint16_t)m->id ||
      w->packet.key.source_port != (uint16_t)m->id)
    wrong("another frame");
  uint32_t at = 0;
  for (unsigned i = 1; i < parts; i++)
    for (size_t n = 0; n < part[i].iov_len; n++, at++)
      if ((at < 14 || at >= 34) && ((uint8_t *)part[i].iov_base)[n] != byte_of(m->id, at))
        wrong("a byte differs");
  if (at != m->length)
    wrong("another length");
  if ((((uint8_t *)part[1].iov_base)[15] >> 2 == 1) != m->marked)
    wrong("the mark");
}

/* ------------------------------------------------------------------- model */

static unsigned cells_of(uint32_t length) { return (length + KEDGE_CELL_BYTES - 1) / KEDGE_CELL_BYTES; }

static void usage(unsigned port, int class, unsigned *frames, unsigned *cells)
{
  for (unsigned i = 0; i < model[port][class].count; i++)
    *cells += cells_of(model[port][class].frame[i].length);
  *frames += model[port][class].count;
}

static bool fits(unsigned port, uint32_t length, bool lower_too)
{
  unsigned pf = 1, pc = cells_of(length), af = 1, ac = pc;
  for (int class = 0; class < (lower_too ? 2 : 1); class++) {
    usage(port, class, &pf, &pc);
    for (unsigned p = 0; p < PORTS; p++)
      usage(p, class, &af, &ac);
  }
  return pf <= KEDGE_QUEUE_PORT_FRAMES && pc <= KEDGE_QUEUE_PORT_CELLS && af <= KEDGE_QUEUE_FRAMES && ac <= KEDGE_QUEUE_CELLS;
}

static void put_in_model(unsigned port, enum kedge_queue class, uint64_t id, uint32_t length, bool marked)
{
  struct model_line *line = &model[port][class];
  line->frame[line->count++] = (struct model_frame){id, length, marked};
}

static void put(unsigned port, enum kedge_queue class, uint64_t id, uint32_t length)
{
  struct kedge_frame f = frame_of(id, length);
  struct kedge_packet p = packet_of(id);
  if (class == KEDGE_QUEUE_DEPRIORITISED)
    kedge_packet_mark_le(f.at, &p);
  bool room = length <= KEDGE_FRAME_CELLS * KEDGE_CELL_BYTES && fits(port, length, class == KEDGE_QUEUE_DEPRIORITISED);
  /* The youngest go first: of this port while there are any, then of all, by their ids, which only rise. */
  while (room && class == KEDGE_QUEUE_ORDINARY && !fits(port, length, true)) {
    struct model_line *line = &model[port][1];
    for (unsigned o = 0; model[port][1].count == 0 && o < PORTS; o++)
      if (model[o][1].count != 0 &&
          (line->count == 0 || model[o][1].frame[model[o][1].count - 1].id > line->frame[line->count - 1].id))
        line = &model[o][1];
    line->count--;
    expected[1].lost++;
    pushed++;
  }
  if (room)
    put_in_model(port, class, id, length, class == KEDGE_QUEUE_DEPRIORITISED);
  else
    expected[class].lost++, refused++;
  if (kedge_queues_put(&queues, port, class, &f, &p, 2, 3) != room)
    wrong("room");
}

static void gone(unsigned port, enum kedge_queue class, unsigned left, unsigned lost)
{
  struct model_line *line = &model[port][class];
  line->count -= left + lost;
  memmove(line->frame, line->frame + left + lost, line->count * sizeof(line->frame[0]));
  expected[class].sent += left;
  expected[class].waited += left;
  expected[class].lost += lost;
  kedge_queues_gone(&queues, port, class, left, lost);
}

static unsigned salt;
static enum kedge_verdict verdict_of(uint64_t id)
{
  unsigned n = (unsigned)((uint16_t)id * 2654435761u + salt * 40503u) >> 8 & 15;
  return n < 2 ? KEDGE_VERDICT_DROP : n < 6 ? KEDGE_VERDICT_DEPRIORITISE : KEDGE_VERDICT_PASS;
}

static unsigned asked;
static enum kedge_verdict judge(void *context, const struct kedge_waiting *w)
{
  (void)context;
  asked++;
  if (w->source_zone != 2 || w->destination_zone != 3)
    wrong("zones");
  return verdict_of(w->packet.key.source_port);
}

static void judge_again(void)
{
  unsigned out = 0, all = 0;
  for (unsigned p = 0; p < PORTS; p++)
    for (int class = 1; class >= 0; class--) {
      struct model_line *line = &model[p][class];
      unsigned kept = 0, count = line->count;
      all += count;
      for (unsigned i = 0; i < count; i++) {
        struct model_frame m = line->frame[i];
        enum kedge_verdict v = verdict_of(m.id);
        if (v == KEDGE_VERDICT_DROP)
          out++, expected[class].withdrawn++;
        else if (v == KEDGE_VERDICT_DEPRIORITISE && class == 0)
          put_in_model(p, KEDGE_QUEUE_DEPRIORITISED, m.id, m.length, true), moved++;
        else
          line->frame[kept++] = m;
      }
      line->count = kept;
    }
  asked = 0;
  if (kedge_queues_judge(&queues, judge, NULL) != out)
    wrong("withdrawn");
  if (asked != all)
    wrong("not judged once each");
  withdrawn += out;
}

static void compare(bool bytes)
{
  unsigned long long waiting[KEDGE_QUEUES] = {0};
  for (unsigned p = 0; p < PORTS; p++)
    for (unsigned class = 0; class < KEDGE_QUEUES; class++) {
      const struct kedge_waiting *w = kedge_queues_first(&queues, p, (enum kedge_queue)class);
      for (unsigned i = 0; i < model[p][class].count; i++, w = kedge_queues_behind(&queues, w)) {
        if (w == NULL || w->packet.key.source_port != (uint16_t)model[p][class].frame[i].id)
          wrong("order");
        if (bytes)
          same_bytes(w, &model[p][class].frame[i]);
      }
      if (w != NULL)
        wrong("more than there should be");
      waiting[class] += model[p][class].count;
    }
  if (waiting[0] + waiting[1] > fullest)
    fullest = waiting[0] + waiting[1];
  for (unsigned class = 0; class < KEDGE_QUEUES; class++)
    if (atomic_load(&counters[class].sent) != expected[class].sent ||
        atomic_load(&counters[class].waited) != expected[class].waited ||
        atomic_load(&counters[class].lost) != expected[class].lost ||
        atomic_load(&counters[class].withdrawn) != expected[class].withdrawn ||
        atomic_load(&counters[class].waiting) != waiting[class])
      wrong("counters");
}

static uint32_t any_length(unsigned mood)
{
  switch (mood) {
  case 0: return 60 + below(1455);
  case 1: return below(4) == 0 ? 60000 + below(6000) : 60 + below(9000);
  default: return below(500) == 0 ? KEDGE_FRAME_CELLS * KEDGE_CELL_BYTES + below(3) : 60;
  }
}

static void run(unsigned long long most)
{
  uint64_t id = 0;
  unsigned mood = 0, fill = 90;
  for (steps = 0; steps < most; steps++) {
    unsigned port = below(PORTS);
    enum kedge_queue class = (enum kedge_queue)below(KEDGE_QUEUES);
    if (steps % 3000 == 0) {
      mood = below(3);
      fill = 80 + below(20);
    }
    unsigned what = below(1000);
    if (what == 0) {
      salt++;
      judge_again();
      /* What came down is the youngest of its queue: ids tell ages again from here on. */
      for (unsigned p = 0; p < PORTS; p++)
        gone(p, KEDGE_QUEUE_DEPRIORITISED, model[p][1].count, 0);
    } else if (what < fill * 10) {
      put(port, class, ++id, any_length(mood));
    } else {
      unsigned count = model[port][class].count, take = count == 0 ? 0 : 1 + below(count < 8 ? count : 8);
      unsigned lost = take == 0 ? 0 : below(4) == 0;
      gone(port, class, take - lost, lost);
    }
    compare(steps % 500 == 0);
  }
  compare(true);
}

/* ------------------------------------------------------------------- meter */

static unsigned meters(void)
{
  unsigned good = 0;
  /* One second of 20 Mbit/s in frames of 1,000 bytes, asked for every millisecond. */
  struct kedge_meter m = {.rate = 20000000};
  struct kedge_frame f = frame_of(1, 1000);
  struct kedge_packet p = packet_of(1);
  uint64_t bits = kedge_wire_bits(&f, &p), frames = 0, start = 5000000000;
  good += bits == 1024 * 8;
  for (uint64_t now = start; now < start + 1000000000; now += 1000000)
    for (; kedge_meter_open(&m, now); frames++)
      kedge_meter_charge(&m, bits, now);
  uint64_t burst = m.rate / 500, most = (m.rate + burst) / bits + 2;
  good += frames * bits >= m.rate && frames <= most;
  good += kedge_meter_opens_at(&m) >= start + 999000000;
  /* A pause is not made up for; without a rate it is always open. */
  uint64_t later = start + 9000000000;
  unsigned at_once = 0;
  for (; kedge_meter_open(&m, later); at_once++)
    kedge_meter_charge(&m, bits, later);
  good += at_once == burst / bits + 1;
  struct kedge_meter none = {0};
  kedge_meter_charge(&none, UINT64_C(1) << 60, later);
  good += kedge_meter_open(&none, later) && kedge_meter_opens_at(&none) == 0;
  /* No rounding that adds up: 67.2 ns a frame at 10 Gbit/s. */
  struct kedge_meter fast = {.rate = 10000000000};
  for (unsigned i = 0; i < 1000; i++)
    kedge_meter_charge(&fast, 84 * 8, 1);
  good += fast.free_at_ns == 1 + 67200;
  /* Short frames are padded; what segmentation cuts counts with the headers of every piece. */
  f = frame_of(1, 42);
  good += kedge_wire_bits(&f, &p) == 84 * 8;
  f = frame_of(1, 54 + 14480);
  f.at[34 + 12] = 0x50;
  f.offload = (struct kedge_offload){.gso_type = 1, .gso_size = 1448, .header_length = 9999};
  p.key.protocol = 6;
  good += kedge_wire_bits(&f, &p) == (14480 + 10 * (54 + 24)) * 8;
  return good;
}

/* ----------------------------------------------------------- judged again */

static struct kedge_level_table table;
static enum kedge_verdict classify(void *context, const struct kedge_waiting *w)
{
  (void)context;
  struct kedge_judgement j;
  kedge_classify(&table, &w->packet, w->source_zone, w->destination_zone, &j);
  return (enum kedge_verdict)j.verdict;
}

static int by_size(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static void fill(void)
{
  for (unsigned i = 0; i < KEDGE_QUEUE_FRAMES; i++) {
    struct kedge_frame f = frame_of(i, 1514);
    struct kedge_packet p = packet_of(below(65536));
    for (unsigned b = 0; b < 4; b++)
      p.key.source[b] = (uint8_t)next_random(), p.key.destination[b] = (uint8_t)next_random();
    p.key.destination_port = (uint16_t)below(65536);
    kedge_queues_put(&queues, i % 2, KEDGE_QUEUE_ORDINARY, &f, &p, 2, 3);
  }
}

static void measure(unsigned rounds)
{
  static struct kedge_rule rule[KEDGE_MAX_ENTRIES];
  static struct kedge_rules rules = {.level = 2, .rule = rule, .rules = KEDGE_MAX_ENTRIES};
  static uint64_t took[3][10000];
  static uint8_t other[64 << 20];
  struct kedge_build_report report;
  for (unsigned i = 0; i < KEDGE_MAX_ENTRIES; i++) {
    unsigned shape = i % 16;
    rule[i] = (struct kedge_rule){.id = i, .rank = 1, .family = KEDGE_FAMILY_IP4, .verdict = KEDGE_VERDICT_PASS};
    rule[i].shape = (struct kedge_shape){.source_prefix = (uint8_t)(17 + shape), .destination_prefix = 32, .match_protocol = 1,
                                         .match_destination_port = 1};
    rule[i].key.protocol = 17;
    rule[i].key.destination_port = (uint16_t)(1 + i);
    for (unsigned b = 0; b < 4; b++)
      rule[i].key.source[b] = (uint8_t)next_random(), rule[i].key.destination[b] = (uint8_t)next_random();
  }
  static const enum kedge_verdict PAIR[3] = {KEDGE_VERDICT_PASS, KEDGE_VERDICT_DEPRIORITISE, KEDGE_VERDICT_DROP};
  for (unsigned what = 0; what < 3; what++) {
    memset(rules.pair, PAIR[what], sizeof(rules.pair));
    if (kedge_table_build(&rules, &table, &report) != KEDGE_BUILD_OK)
      wrong("no table");
    for (unsigned i = 0; i < rounds && i < 10000; i++) {
      fill();
      memset(other, (int)i, sizeof(other)); /* nothing of it is left in the processor's caches */
      uint64_t from = kedge_now_ns();
      kedge_queues_judge(&queues, classify, NULL);
      took[what][i] = kedge_now_ns() - from;
      for (unsigned p = 0; p < 2; p++)
        for (unsigned class = 0; class < KEDGE_QUEUES; class++)
          kedge_queues_gone(&queues, p, (enum kedge_queue)class, queues.port[p].line[class].frames, 0);
    }
    qsort(took[what], rounds, sizeof(uint64_t), by_size);
  }
  printf("{\"frames\":%u,\"entries\":%u,\"shapes\":%u", KEDGE_QUEUE_FRAMES, report.entries, report.shapes[0]);
  static const char *const NAME[3] = {"stay", "moved", "withdrawn"};
  for (unsigned what = 0; what < 3; what++)
    printf(",\"%s\":{\"p50Us\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f}", NAME[what], (double)took[what][rounds / 2] / 1e3,
           (double)took[what][rounds * 99 / 100] / 1e3, (double)took[what][rounds - 1] / 1e3);
  printf("}\n");
}

int main(int argc, char **argv)
{
  if (argc != 3)
    return 2;
  /* What a predecessor left waiting counts as lost. */
  atomic_store(&counters[1].waiting, 5);
  expected[1].lost = 5;
  random_state = 88172645463325252ull;
  if (!kedge_queues_open(&queues, counters))
    return 2;
  if (strcmp(argv[1], "judge") == 0) {
    measure((unsigned)strtoul(argv[2], NULL, 10));
  } else {
    random_state ^= strtoull(argv[2], NULL, 10);
    run(strtoull(argv[1], NULL, 10));
    unsigned good = meters();
    printf("{\"steps\":%llu,\"pushed\":%llu,\"moved\":%llu,\"withdrawn\":%llu,\"refused\":%llu,\"fullest\":%llu,\"meters\":%u}\n",
           steps, pushed, moved, withdrawn, refused, fullest, good);
  }
  uint64_t waiting = 0, lost = 0, after = 0;
  for (unsigned class = 0; class < KEDGE_QUEUES; class++)
    waiting += atomic_load(&counters[class].waiting), lost += atomic_load(&counters[class].lost);
  kedge_queues_close(&queues);
  for (unsigned class = 0; class < KEDGE_QUEUES; class++)
    after += atomic_load(&counters[class].lost);
  return after == lost + waiting && atomic_load(&counters[0].waiting) + atomic_load(&counters[1].waiting) == 0 ? 0 : 1;
}
