/*
 * Fuzz target: lines of any bytes are read whole or not at all; a file of any header, size and mode is opened
 * exactly when every rule of layout.h holds for it; its own writer takes it, repairs it or replaces it.
 *
 *   input: what, then either the bytes of a line, or pieces of damage to a header of 3 bytes each
 *
 * It must judge a header by its own reading of layout.h.
 */
#define _GNU_SOURCE
#include "damage.h"
#include "scratch.h"

static struct victim posture, participant;
static uint8_t good[2][sizeof(struct kedge_posture_segment)];
static uint8_t boot[16];

static void prepare(void)
{
  scratch_make();
  victim_make(&posture, KEDGE_FILE_POSTURE, KEDGE_SEGMENT_POSTURE);
  victim_make(&participant, "participant-overlay", KEDGE_SEGMENT_PARTICIPANT);
  memcpy(good[0], posture.bytes, posture.own.size);
  memcpy(good[1], participant.bytes, participant.own.size);
  memcpy(boot, ((struct kedge_segment_header *)(void *)good[0])->boot_id, sizeof(boot));
  kedge_segment_close(&posture.own);
  kedge_segment_close(&participant.own);
}

static void lines_are_whole_or_not(struct input *in)
{
  struct kedge_transition line;
  struct kedge_ack ack;
  struct kedge_transition_view t, t_before;
  struct kedge_ack_view a, a_before;
  memset(&t, 0x5a, sizeof(t));
  memset(&a, 0x5a, sizeof(a));
  t_before = t, a_before = a;
  memset(&line, 0, sizeof(line));
  memset(&ack, 0, sizeof(ack));
  size_t n = in->left < sizeof(line) ? in->left : sizeof(line);
  memcpy(&line, in->at, n);
  memcpy(&ack, in->at, n < sizeof(ack) ? n : sizeof(ack));
  bool whole = kedge_transition_read(&line, &t);
  HOLDS(whole || memcmp(&t, &t_before, sizeof(t)) == 0);
  if (whole) {
    HOLDS((line.sequence & 1u) == 0 && t.epoch == line.epoch && t.from == line.from && t.to == line.to);
    HOLDS(t.epoch <= KEDGE_EPOCH_MAX && t.from <= 5 && t.to <= 5 && t.stage <= KEDGE_STAGE_COMPLETE && t.flags == 0);
    HOLDS(t.stage == KEDGE_STAGE_NONE || (t.from >= 1 && t.to >= 1));
    kedge_transition_write(&line, &t);
    HOLDS(kedge_transition_read(&line, &t_before) && memcmp(&t, &t_before, sizeof(t)) == 0);
  }
  whole = kedge_ack_read(&ack, &a);
  HOLDS(whole || memcmp(&a, &a_before, sizeof(a)) == 0);
  if (whole) {
    HOLDS((ack.sequence & 1u) == 0 && a.epoch == ack.epoch && a.level == ack.level && a.outcome == ack.outcome);
    HOLDS(a.epoch <= KEDGE_EPOCH_MAX && a.level <= 5 && (a.level >= 1 || a.epoch == 0));
    HOLDS(a.stage <= KEDGE_STAGE_COMPLETE && a.outcome <= KEDGE_OUTCOME_CANCELLED);
    kedge_ack_write(&ack, &a);
    HOLDS(kedge_ack_read(&ack, &a_before) && memcmp(&a, &a_before, sizeof(a)) == 0);
  }
}

/* Everything that layout.h says of a header but `opening`. */
static bool header_is_good(const struct kedge_segment_header *h, const struct victim *v)
{
  return h->magic == UINT64_C(0x316567644b) && h->version == KEDGE_LAYOUT_VERSION && h->kind == (uint32_t)v->kind &&
         h->size == kedge_segment_size(v->kind) && memcmp(h->boot_id, boot, sizeof(boot)) == 0 &&
         h->writer_uid == geteuid() && strnlen(h->name, sizeof(h->name)) < sizeof(h->name) &&
         strcmp(h->name, v->name) == 0;
}

static bool sum_is_good(const struct kedge_segment_header *h) { return kedge_crc32(0, h, 96) == h->checksum; }

static void put(int fd, const uint8_t *bytes, size_t size, mode_t mode)
{
  HOLDS(ftruncate(fd, 0) == 0 && pwrite(fd, bytes, size, 0) == (ssize_t)size && fchmod(fd, mode) == 0);
}

/* What was open is broken while it is: its reader notices when it asks. */
static void reader_notices(struct kedge_segment *segment, const struct victim *v, int fd, struct input *in)
{
  struct kedge_segment_header header, now;
  HOLDS(kedge_segment_current(segment));
  HOLDS(kedge_segment_header_read(segment, &header) == KEDGE_REFUSAL_NONE && header_is_good(&header, v));
  uint8_t byte[2] = {(uint8_t)take(in, 1), 0};
  off_t at = (off_t)take(in, 1) % 104;
  HOLDS(pwrite(fd, byte, 1, at) == 1 && pread(fd, &now, sizeof(now), 0) == sizeof(now));
  bool good_now = header_is_good(&now, v) && sum_is_good(&now) && now.opening == 0;
  HOLDS((kedge_segment_header_read(segment, &header) == KEDGE_REFUSAL_NONE) == good_now);
  HOLDS(kedge_segment_current(segment));
  HOLDS(ftruncate(fd, 4096 + byte[0]) == 0);
  HOLDS(kedge_segment_header_read(segment, &header) == KEDGE_REFUSAL_SIZE && !kedge_segment_current(segment));
}

static void file_is_judged(struct input *in, unsigned what)
{
  const struct victim *v = (what & 2u) != 0 ? &posture : &participant;
  uint8_t bytes[sizeof(good[0]) + 64] = {0};
  struct kedge_segment_header *header = (void *)bytes;
  struct kedge_segment segment;
  size_t size = kedge_segment_size(v->kind), long_by = 0;
  mode_t mode = 0644;
  memcpy(bytes, good[v == &posture ? 0 : 1], size);
  for (unsigned damages = what >> 5; damages > 0; damages--) {
    size_t at = take(in, 1) % sizeof(struct kedge_segment_header);
    bytes[at] = (uint8_t)take(in, 1);
  }
  if ((what & 4u) != 0)
    header->checksum = kedge_crc32(0, header, 96);
  if ((what & 8u) != 0)
    long_by = take(in, 1) % 64;
  if ((what & 16u) != 0)
    mode = (mode_t)take(in, 2) & 0777;
  size_t wanted = long_by == 63 ? take(in, 2) % size : size + long_by;
  int fd = open(scratch_path(v->name), O_RDWR | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);
  HOLDS(fd >= 0);
  put(fd, bytes, wanted, mode);
  bool sound = header_is_good(header, v) && mode == 0644 && wanted == size;
  enum kedge_refusal refusal = kedge_segment_open(&segment, scratch, v->name, v->kind, (what & 1u) != 0 ? geteuid() : KEDGE_ANY_OWNER);
  HOLDS((refusal == KEDGE_REFUSAL_NONE) == (sound && sum_is_good(header) && header->opening == 0));
  if (refusal == KEDGE_REFUSAL_NONE) {
    HOLDS(segment.size == size && memcmp(segment.base, bytes, size) == 0);
    reader_notices(&segment, v, fd, in);
    kedge_segment_close(&segment);
    put(fd, bytes, wanted, mode);
  } else {
    HOLDS(segment.base == NULL);
  }
  /* Its writer keeps what is good, repairs what it left in the middle, and replaces all else. */
  enum kedge_refusal replaced;
  bool kept = sound && (header->opening != 0 || sum_is_good(header));
  HOLDS(kedge_segment_create(&segment, scratch, v->name, v->kind, &replaced) == KEDGE_REFUSAL_NONE);
  HOLDS((replaced == KEDGE_REFUSAL_NONE) == kept);
  const struct kedge_segment_header *mine = segment.base;
  HOLDS(header_is_good(mine, v) && sum_is_good(mine) && mine->opening == 0);
  HOLDS(mine->incarnation == (kept ? header->incarnation + 1 : 1));
  kedge_segment_close(&segment);
  close(fd);
  HOLDS(unlink(scratch_path(v->name)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input in = {data, size};
  if (scratch[0] == '\0')
    prepare();
  unsigned what = (unsigned)take(&in, 1);
  if (what == 0)
    lines_are_whole_or_not(&in);
  else
    file_is_judged(&in, what);
  return 0;
}
