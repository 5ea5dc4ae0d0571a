/*
 * Fuzz target: any bytes as a stream in segments or as datagrams. However an ordered stream is cut, the answer is the
 * one of reading it byte by byte; what was recognised once stays so; names are printable, bounded, and of the input.
 *
 *   input: kind, sequence (4 bytes), number of steps, the steps, and behind them the bytes
 *
 * It must know of the protocols only where a name stands, for the question "is it one that was there".
 */
#include "input.h"
#include "deep.h"

#define STEPS 31u

/* What reading the beginning of a stream byte by byte comes to. */
struct answer {
  enum kedge_deep_result result;
  unsigned application;
  struct kedge_deep_name name;
};

static void name_is_good(const struct kedge_deep_name *name)
{
  HOLDS(name->bytes <= KEDGE_FLOW_NAME_BYTES && name->cut <= 1);
  for (unsigned i = 0; i < name->bytes; i++)
    HOLDS(name->text[i] >= '!' && name->text[i] <= '~');
}

static bool names_are_equal(const struct kedge_deep_name *a, const struct kedge_deep_name *b)
{
  return a->bytes == b->bytes && a->cut == b->cut && memcmp(a->text, b->text, a->bytes) == 0;
}

static bool has_name(unsigned application)
{
  return application == KEDGE_APPLICATION_DNS || application == KEDGE_APPLICATION_TLS || application == KEDGE_APPLICATION_HTTP;
}

/* Feeds one piece from memory of exactly its length; what is certain stays. */
static enum kedge_deep_result read_piece(struct kedge_deep_stream *s, const uint8_t *at, size_t n, struct kedge_deep_name *name)
{
  struct kedge_deep_stream before = *s;
  uint8_t *piece = copy_of(at, n);
  enum kedge_deep_result result = kedge_deep_read(s, piece, n, name);
  free(piece);
  HOLDS(s->application < KEDGE_APPLICATIONS && s->certain <= 1 && s->got <= 16);
  HOLDS(before.certain == 0 || (s->certain == 1 && s->application == before.application && result != KEDGE_DEEP_NO));
  HOLDS(result != KEDGE_DEEP_YES || s->certain == 1);
  HOLDS(result != KEDGE_DEEP_NO || s->certain == 0);
  name_is_good(name);
  HOLDS(result != KEDGE_DEEP_YES || name->bytes == 0 || has_name(s->application));
  return result;
}

static struct answer answer_of(const uint8_t *bytes, size_t n)
{
  struct kedge_deep_stream s = {0};
  struct answer a = {.result = KEDGE_DEEP_MORE};
  for (size_t i = 0; i < n && a.result == KEDGE_DEEP_MORE; i++)
    a.result = read_piece(&s, bytes + i, 1, &a.name);
  a.application = s.certain != 0 ? s.application : KEDGE_APPLICATION_UNKNOWN;
  return a;
}

static bool contains(const uint8_t *bytes, size_t n, const struct kedge_deep_name *name)
{
  for (size_t i = 0; i + name->bytes <= n; i++)
    if (memcmp(bytes + i, name->text, name->bytes) == 0)
      return true;
  return false;
}

/* Names of TLS and HTTP stand in the stream as they are, in TLS perhaps over several records. */
static void name_was_there(const uint8_t *bytes, size_t n, const struct answer *a)
{
  if (a->application == KEDGE_APPLICATION_HTTP)
    HOLDS(contains(bytes, n, &a->name));
  if (a->application != KEDGE_APPLICATION_TLS)
    return;
  uint8_t *content = copy_of(bytes, n);
  size_t length = 0;
  for (size_t at = 0; at + 5 <= n;) {
    size_t record = (size_t)bytes[at + 3] << 8 | bytes[at + 4];
    at += 5;
    if (record > n - at)
      record = n - at;
    memcpy(content + length, bytes + at, record);
    length += record;
    at += record;
  }
  HOLDS(contains(content, length, &a->name));
  free(content);
}

/* What holds of a conversation whatever it was told. `before` is what it was, with its name. */
static void conversation_holds(const struct kedge_deep *d, const struct kedge_deep_name *name, const struct kedge_deep *before,
                               const struct kedge_deep_name *name_before, unsigned tries)
{
  name_is_good(name);
  HOLDS(d->application < KEDGE_APPLICATIONS && d->reading <= 2 && d->follows[0] <= 1 && d->follows[1] <= 1);
  HOLDS(d->tries <= tries && d->gaps <= KEDGE_DEEP_GAPS && d->done <= 1 && d->reserved == 0);
  HOLDS(d->tries < tries || d->done == 1);
  HOLDS(before->application == KEDGE_APPLICATION_UNKNOWN || d->application == before->application);
  HOLDS(before->done == 0 || (d->done == 1 && d->application == before->application && names_are_equal(name, name_before)));
  HOLDS(d->done == 0 || d->reading == 0);
  HOLDS(d->done == 0 || name->bytes == 0 || has_name(d->application));
  HOLDS(d->reading != 0 || d->done == 1 || name->bytes == 0);
}

static void tell(struct kedge_deep *d, unsigned side, uint32_t sequence, bool synchronises, const uint8_t *at, size_t n,
                 struct kedge_deep_name *name)
{
  struct kedge_deep before = *d;
  struct kedge_deep_name name_before = *name;
  uint8_t *piece = copy_of(at, n);
  kedge_deep_segment(d, side, sequence, synchronises, piece, n, name);
  free(piece);
  conversation_holds(d, name, &before, &name_before, KEDGE_DEEP_SEGMENT_TRIES);
}

/*
 * A stream in order, cut as the input says: by itself as a stream, and as a conversation, which begins anew at the
 * segment behind one that was nothing.
 */
static void stream_in_order(struct input *in, uint32_t sequence, unsigned cuts)
{
  uint16_t length[STEPS];
  for (unsigned i = 0; i < cuts; i++)
    length[i] = (uint16_t)take(in, 2);
  const uint8_t *bytes = in->at;
  size_t n = in->left;
  struct answer whole = answer_of(bytes, n);
  if (whole.result == KEDGE_DEEP_YES && whole.name.bytes > 0)
    name_was_there(bytes, n, &whole);

  struct kedge_deep_stream s = {0}, model = {0};
  struct kedge_deep d = {0};
  struct kedge_deep_name name = {0}, told = {0}, expected = {0};
  enum kedge_deep_result result = KEDGE_DEEP_MORE, state = KEDGE_DEEP_NO;
  unsigned tries = 0, application = KEDGE_APPLICATION_UNKNOWN;
  tell(&d, 1, sequence - 1, true, NULL, 0, &told);
  for (size_t at = 0, i = 0; at < n; i++) {
    size_t piece = i < cuts ? length[i] % 512u : n - at;
    if (piece > n - at)
      piece = n - at;
    if (result == KEDGE_DEEP_MORE)
      result = read_piece(&s, bytes + at, piece, &name);
    tell(&d, 1, sequence + (uint32_t)at, false, bytes + at, piece, &told);
    if (state == KEDGE_DEEP_NO && piece > 0 && tries < KEDGE_DEEP_SEGMENT_TRIES)
      model = (struct kedge_deep_stream){0}, expected.bytes = expected.cut = 0, state = KEDGE_DEEP_MORE;
    for (size_t k = 0; k < piece && state == KEDGE_DEEP_MORE; k++) {
      state = read_piece(&model, bytes + at + k, 1, &expected);
      tries += state == KEDGE_DEEP_NO;
    }
    if (model.certain != 0)
      application = model.application;
    HOLDS(d.application == application);
    HOLDS((d.done != 0) == (state == KEDGE_DEEP_YES || tries == KEDGE_DEEP_SEGMENT_TRIES));
    HOLDS(state == KEDGE_DEEP_NO ? told.bytes == 0 : names_are_equal(&told, &expected));
    at += piece;
  }
  HOLDS(result == whole.result);
  HOLDS((s.certain != 0 ? s.application : KEDGE_APPLICATION_UNKNOWN) == whole.application);
  HOLDS(result == KEDGE_DEEP_NO || names_are_equal(&name, &whole.name));
}

/*
 * Segments of one stream in any order, from both sides and with jumps in their numbers. As long as only one side spoke
 * as it had to, and nothing was given up as missing, what is known is what lies before the next byte expected.
 */
static void segments_in_any_order(struct input *in, uint32_t sequence, unsigned steps)
{
  struct {
    unsigned how;
    size_t at, n;
  } step[STEPS];
  for (unsigned i = 0; i < steps; i++)
    step[i].how = (unsigned)take(in, 1), step[i].at = take(in, 2), step[i].n = take(in, 1) * 2;
  struct kedge_deep d = {0};
  struct kedge_deep_name name = {0};
  bool orderly = true;
  unsigned looks = 0;
  tell(&d, 0, sequence - 1, true, NULL, 0, &name);
  for (unsigned i = 0; i < steps; i++) {
    unsigned how = step[i].how, side = how & 1u;
    size_t at = in->left == 0 ? 0 : step[i].at % in->left, n = step[i].n < in->left - at ? step[i].n : in->left - at;
    uint32_t number = sequence + (uint32_t)at;
    if ((how & 2u) != 0) {
      /* Where it went on last. */
      at = (uint32_t)(d.next[side] - sequence) <= in->left ? d.next[side] - sequence : 0;
      number = sequence + (uint32_t)at;
      n = n < in->left - at ? n : in->left - at;
    }
    if ((how & 0xc0u) == 0xc0u)
      number += (how & 0x20u) != 0 ? UINT32_C(0x80000000) >> (how >> 2 & 7u) : how >> 2 & 7u;
    bool synchronises = (how & 0xe0u) == 0xa0u;
    bool early = d.follows[side] != 0 && (int32_t)(number - d.next[side]) > 0 && d.gaps == KEDGE_DEEP_GAPS;
    if (side != 0 || synchronises || (how & 0xc0u) == 0xc0u || early)
      orderly = false;
    /* Whether a beginning is looked for in this one. */
    int32_t ahead = d.follows[side] == 0 ? 0 : (int32_t)(number - d.next[side]);
    bool new = n > 0 && d.done == 0 && !synchronises && (ahead > 0 ? early : (uint64_t)-(int64_t)ahead < n);
    /* What was read so far ends as a try without success; unless it was the last, this is the next. */
    bool gives_up = early && d.reading == side + 1u && d.application == KEDGE_APPLICATION_UNKNOWN &&
                    d.tries + 1u < KEDGE_DEEP_SEGMENT_TRIES;
    looks += new && (d.reading == 0 || gives_up);
    HOLDS(looks <= KEDGE_DEEP_SEGMENT_TRIES);
    tell(&d, side, number, synchronises, in->at + at, n, &name);
    if (!orderly)
      continue;
    struct answer known = answer_of(in->at, d.next[0] - sequence);
    if (known.result != KEDGE_DEEP_NO) {
      HOLDS(d.application == known.application && (d.done != 0) == (known.result == KEDGE_DEEP_YES));
      HOLDS(names_are_equal(&name, &known.name));
    }
  }
}

/* A question's name as RFC 4343 writes it, in full; false where it is none. */
static bool question_name(const uint8_t *p, size_t n, char *text, size_t *length)
{
  size_t at = 12;
  *length = 0;
  while (at < n && p[at] != 0) {
    size_t label = p[at++];
    if (label > 63 || label > n - at)
      return false;
    if (*length > 0)
      text[(*length)++] = '.';
    for (; label > 0; label--, at++) {
      uint8_t c = p[at];
      if (c < '!' || c > '~') {
        char digits[5];
        snprintf(digits, sizeof(digits), "\\%03u", c);
        memcpy(text + *length, digits, 4);
        *length += 4;
        continue;
      }
      if (c == '.' || c == '\\')
        text[(*length)++] = '\\';
      text[(*length)++] = (char)c;
    }
    if (at > 12 + 255)
      return false;
  }
  if (*length == 0)
    text[(*length)++] = '.';
  return at < n;
}

static unsigned datagram(const uint8_t *at, size_t n)
{
  struct kedge_deep_name name;
  memset(&name, 0x7f, sizeof(name));
  uint8_t *bytes = copy_of(at, n);
  unsigned application = kedge_deep_datagram(bytes, n, &name);
  HOLDS(application == KEDGE_APPLICATION_UNKNOWN || application == KEDGE_APPLICATION_DNS ||
        application == KEDGE_APPLICATION_SNMP || application == KEDGE_APPLICATION_QUIC ||
        application == KEDGE_APPLICATION_WIREGUARD || application == KEDGE_APPLICATION_NTP);
  name_is_good(&name);
  if (application == KEDGE_APPLICATION_DNS) {
    char text[4 * 320];
    size_t length;
    HOLDS(question_name(bytes, n, text, &length));
    size_t least = length < KEDGE_FLOW_NAME_BYTES ? length : KEDGE_FLOW_NAME_BYTES;
    HOLDS(name.bytes == least && name.cut == (length > least));
    HOLDS(memcmp(name.text, text + length - least, least) == 0);
  } else {
    HOLDS(name.bytes == 0 && name.cut == 0);
  }
  free(bytes);
  return application;
}

/* Datagrams of one conversation: the first that is something says what it is, of the first few. */
static void datagrams(struct input *in, unsigned cuts)
{
  uint16_t length[STEPS];
  for (unsigned i = 0; i < cuts; i++)
    length[i] = (uint16_t)take(in, 2);
  struct kedge_deep d = {0};
  struct kedge_deep_name name = {0};
  unsigned expected = KEDGE_APPLICATION_UNKNOWN, tried = 0;
  for (size_t at = 0, i = 0; i <= cuts; i++) {
    size_t n = i < cuts && length[i] < in->left - at ? length[i] : in->left - at;
    struct kedge_deep before = d;
    struct kedge_deep_name name_before = name;
    unsigned application = datagram(in->at + at, n);
    if (n > 0 && expected == KEDGE_APPLICATION_UNKNOWN && tried++ < KEDGE_DEEP_DATAGRAM_TRIES)
      expected = application;
    uint8_t *bytes = copy_of(in->at + at, n);
    kedge_deep_message(&d, bytes, n, &name);
    free(bytes);
    conversation_holds(&d, &name, &before, &name_before, KEDGE_DEEP_DATAGRAM_TRIES);
    HOLDS(d.application == expected);
    at += n;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct input in = {data, size};
  unsigned kind = (unsigned)take(&in, 1) % 3;
  uint32_t sequence = (uint32_t)take(&in, 4);
  unsigned steps = (unsigned)take(&in, 1) % (STEPS + 1u);
  if (kind == 0)
    stream_in_order(&in, sequence, steps);
  else if (kind == 1)
    datagrams(&in, steps);
  else
    segments_in_any_order(&in, sequence, steps);
  return 0;
}
