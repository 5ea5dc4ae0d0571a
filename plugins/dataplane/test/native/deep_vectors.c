/*
 * Recognition held against what the protocols look like on the wire: every vector whole, shortened to every length,
 * cut at every place, over records and segments, against all others, mutated, and random bytes; for
 * AddressSanitizer and UndefinedBehaviorSanitizer. Usage: deep_vectors RANDOM SEED; prints what it saw as JSON.
 *
 * Every piece of input is an allocation of exactly its length, so that one byte read too far is found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vectors.h"

static uint64_t state;
static uint64_t next(void)
{
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
static unsigned below(unsigned n) { return (unsigned)(next() >> 33) % n; }

static unsigned long failures;
#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition) && failures++ < 20) {                                                                             \
      fprintf(stderr, "%s does not hold: ", #condition);                                                               \
      fprintf(stderr, __VA_ARGS__);                                                                                    \
      fputc('\n', stderr);                                                                                             \
    }                                                                                                                  \
  } while (0)

struct finding {
  unsigned application;
  enum kedge_deep_result result;
  struct kedge_deep_name name;
};

/* Reads the next piece of a stream from memory that ends where the piece ends. */
static enum kedge_deep_result read_piece(struct kedge_deep_stream *s, const uint8_t *at, size_t n, struct kedge_deep_name *name)
{
  uint8_t *copy = malloc(n == 0 ? 1 : n);
  memcpy(copy, at, n);
  enum kedge_deep_result result = kedge_deep_read(s, copy, n, name);
  free(copy);
  return result;
}

/* A whole vector or the beginning of one, a stream cut into pieces at two places or, with `step`, everywhere. */
static struct finding read_all(bool stream, const uint8_t *bytes, size_t n, size_t first, size_t second, size_t step)
{
  struct finding f;
  memset(&f, 0, sizeof(f));
  if (!stream) {
    uint8_t *copy = malloc(n == 0 ? 1 : n);
    memcpy(copy, bytes, n);
    f.application = kedge_deep_datagram(copy, n, &f.name);
    f.result = f.application != 0 ? KEDGE_DEEP_YES : KEDGE_DEEP_NO;
    free(copy);
    return f;
  }
  struct kedge_deep_stream s = {0};
  f.result = KEDGE_DEEP_MORE;
  for (size_t at = 0; at < n && f.result == KEDGE_DEEP_MORE;) {
    size_t end = step != 0 ? at + step : at < first ? first : at < second ? second : n;
    if (end > n)
      end = n;
    f.result = read_piece(&s, bytes + at, end - at, &f.name);
    at = end;
  }
  f.application = s.certain != 0 ? s.application : KEDGE_APPLICATION_UNKNOWN;
  return f;
}

static bool named(const struct kedge_deep_name *name, const struct vector *v)
{
  return name->bytes == strlen(v->name) && memcmp(name->text, v->name, name->bytes) == 0 && name->cut == v->cut;
}

static void check_whole(const struct vector *v, struct finding f, const char *how, size_t at)
{
  CHECK(f.application == v->application, "%s, %s %zu: %u", v->title, how, at, f.application);
  CHECK(named(&f.name, v), "%s, %s %zu: '%.*s'", v->title, how, at, f.name.bytes, f.name.text);
}

/* One conversation fed with segments; what it knows at the end. */
struct talk {
  struct kedge_deep deep;
  struct kedge_deep_name name;
};

static void say(struct talk *t, unsigned side, uint32_t sequence, const uint8_t *at, size_t n)
{
  uint8_t *copy = malloc(n == 0 ? 1 : n);
  memcpy(copy, at, n);
  kedge_deep_segment(&t->deep, side, sequence, false, copy, n, &t->name);
  free(copy);
}

static void greet(struct talk *t, uint32_t sequence)
{
  memset(t, 0, sizeof(*t));
  kedge_deep_segment(&t->deep, 1, sequence, true, NULL, 0, &t->name);
  kedge_deep_segment(&t->deep, 0, 77, true, NULL, 0, &t->name);
}

static void check_talk(const struct vector *v, const struct talk *t, const char *how, size_t at)
{
  CHECK(t->deep.application == v->application && t->deep.done != 0, "%s, %s %zu: %u", v->title, how, at, t->deep.application);
  CHECK(named(&t->name, v), "%s, %s %zu: '%.*s'", v->title, how, at, t->name.bytes, t->name.text);
}

/* A handshake record cut in two records at `at` of its content; the length. */
static size_t cut_record(const uint8_t *bytes, size_t at, uint8_t *out)
{
  size_t content = (size_t)bytes[3] << 8 | bytes[4];
  memcpy(out, bytes, 5 + at);
  out[3] = (uint8_t)(at >> 8), out[4] = (uint8_t)at;
  memcpy(out + 5 + at, bytes, 3);
  out[8 + at] = (uint8_t)((content - at) >> 8), out[9 + at] = (uint8_t)(content - at);
  memcpy(out + 10 + at, bytes + 5 + at, content - at);
  return content + 10;
}

int main(int argc, char **argv)
{
  unsigned long random = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
  state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
  static uint8_t bytes[VECTORS][4096];
  static size_t length[VECTORS];
  unsigned long vectors = 0, shortened = 0, cuts = 0, records = 0, crossed = 0, mutated = 0, survived = 0, taken = 0;
  unsigned seen[KEDGE_APPLICATIONS] = {0};
  for (size_t i = 0; i < VECTORS; i++)
    length[i] = vector_bytes(&VECTOR[i], bytes[i]);

  for (size_t i = 0; i < VECTORS; i++) {
    const struct vector *v = &VECTOR[i];
    size_t n = length[i];
    bool stream = v->stream != 0;
    vectors++;
    seen[v->application]++;
    check_whole(v, read_all(stream, bytes[i], n, n, n, 0), "whole", n);
    /* Shortened: nothing below what says enough, never something else, never a name that is not the whole one. */
    for (size_t k = 0; k < n; k++, shortened++) {
      struct finding f = read_all(stream, bytes[i], k, k, k, 0);
      CHECK(f.application == KEDGE_APPLICATION_UNKNOWN || f.application == v->application, "%s at %zu: %u", v->title, k, f.application);
      /* A datagram that lost its end may be whole by chance, one that lost more is not; a stream goes on. */
      CHECK(f.application == KEDGE_APPLICATION_UNKNOWN || k >= v->least, "%s at %zu: %u", v->title, k, f.application);
      CHECK(f.application != KEDGE_APPLICATION_UNKNOWN || k < v->least || !stream, "%s at %zu", v->title, k);
      CHECK(f.result != KEDGE_DEEP_YES || named(&f.name, v), "%s at %zu: '%.*s'", v->title, k, f.name.bytes, f.name.text);
    }
    /* Against the other kind of transport: a stream's beginning in a datagram and the other way round. */
    struct finding other = read_all(!stream, bytes[i], n, n, n, 0);
    CHECK(other.application == KEDGE_APPLICATION_UNKNOWN || other.application == v->application, "%s crossed: %u", v->title, other.application);
    crossed++;
    /* Behind the beginning of every other vector nothing else comes out than that other one. */
    for (size_t j = 0; j < VECTORS && stream; j++) {
      static uint8_t joined[8192];
      if (VECTOR[j].stream == 0)
        continue;
      memcpy(joined, bytes[j], length[j]);
      memcpy(joined + length[j], bytes[i], n);
      check_whole(&VECTOR[j], read_all(true, joined, length[j] + n, length[j] + n, 0, 0), "followed by", i);
      crossed++;
    }
    if (!stream)
      continue;
    check_whole(v, read_all(true, bytes[i], n, 0, 0, 1), "byte by byte", n);
    for (size_t k = 1; k < n; k++, cuts++) {
      check_whole(v, read_all(true, bytes[i], n, k, n, 0), "cut at", k);
      check_whole(v, read_all(true, bytes[i], n, k, k + 1 + below((unsigned)(n - k)), 0), "cut twice at", k);
      struct talk t;
      /* In order, over the end of the sequence numbers; the first comes twice; the second overlaps it. */
      uint32_t from = UINT32_MAX - (uint32_t)(k / 2);
      greet(&t, from);
      say(&t, 1, from + 1, bytes[i], k);
      say(&t, 1, from + 1, bytes[i], k);
      size_t back = k < 3 ? k : 3;
      say(&t, 1, from + 1 + (uint32_t)(k - back), bytes[i] + k - back, n - k + back);
      check_talk(v, &t, "segments cut at", k);
      /* The second comes first: it is waited for its turn, which comes with its repetition. */
      greet(&t, from);
      say(&t, 1, from + 1 + (uint32_t)k, bytes[i] + k, n - k);
      CHECK(t.deep.application == KEDGE_APPLICATION_UNKNOWN, "%s, second first %zu", v->title, k);
      say(&t, 1, from + 1, bytes[i], k);
      say(&t, 1, from + 1 + (uint32_t)k, bytes[i] + k, n - k);
      check_talk(v, &t, "second first, cut at", k);
      /* What is missing for good ends the wait: what was certain stays, without a name. */
      greet(&t, from);
      say(&t, 1, from + 1, bytes[i], k);
      bool was_done = t.deep.done != 0, certain = t.deep.application != KEDGE_APPLICATION_UNKNOWN;
      for (unsigned more = 0; more < 64; more++)
        say(&t, 1, from + 2 + (uint32_t)(n + 700 * more), (const uint8_t *)"~~~~~~~~~~~~~~~~", 16);
      CHECK(t.deep.done != 0, "%s, never told the rest at %zu", v->title, k);
      CHECK(t.deep.application == (certain ? v->application : KEDGE_APPLICATION_UNKNOWN), "%s, the rest missing at %zu: %u", v->title, k, t.deep.application);
      CHECK(was_done || t.name.bytes == 0, "%s, half a name at %zu", v->title, k);
    }
    if (v->application != KEDGE_APPLICATION_TLS)
      continue;
    size_t content = (size_t)bytes[i][3] << 8 | bytes[i][4];
    for (size_t k = 1; k < content; k++, records++) {
      static uint8_t two[8192];
      size_t both = cut_record(bytes[i], k, two);
      check_whole(v, read_all(true, two, both, both, 0, 0), "two records at", k);
      check_whole(v, read_all(true, two, both, 0, 0, 1), "two records byte by byte at", k);
      check_whole(v, read_all(true, two, both, below((unsigned)both) + 1, both, 0), "two records and segments at", k);
    }
  }

  /* Beginnings that never go on, because what follows is missing each time, are tries like any other. */
  struct talk lossy;
  greet(&lossy, 9);
  for (uint32_t more = 0; more < KEDGE_DEEP_GAPS + KEDGE_DEEP_SEGMENT_TRIES + 1; more++)
    say(&lossy, 1, 10 + 100 * more, (const uint8_t *)"GET /", 5);
  CHECK(lossy.deep.done != 0 && lossy.deep.application == KEDGE_APPLICATION_UNKNOWN, "tries %u", lossy.deep.tries);

  /* Mutated: anything may come out but a name with bytes that are not printable, and nothing may break. */
  for (unsigned long m = 0; m < random; m++, mutated++) {
    size_t i = below(VECTORS), n = length[i];
    uint8_t copy[4096];
    memcpy(copy, bytes[i], n);
    for (unsigned flips = 1 + below(6); flips > 0; flips--)
      copy[below((unsigned)n)] = (uint8_t)next();
    size_t first = below((unsigned)n), second = first + below((unsigned)(n - first));
    struct finding f = read_all(VECTOR[i].stream != 0, copy, below(4) == 0 ? first : n, first, second, 0);
    survived += f.application != KEDGE_APPLICATION_UNKNOWN;
    CHECK(f.name.bytes <= KEDGE_FLOW_NAME_BYTES, "mutant of %s", VECTOR[i].title);
    for (unsigned b = 0; b < f.name.bytes; b++)
      CHECK(f.name.text[b] >= '!' && f.name.text[b] <= '~', "mutant of %s", VECTOR[i].title);
  }
  /* Random: nothing is taken for anything, at lengths that protocols have too. */
  for (unsigned long m = 0; m < random; m++) {
    static const uint16_t LENGTHS[] = {12, 17, 20, 32, 48, 52, 64, 68, 72, 92, 100, 148, 300, 1200};
    size_t n = below(2) == 0 ? LENGTHS[below(sizeof(LENGTHS) / sizeof(LENGTHS[0]))] : below(1500);
    uint8_t *bytes_random = malloc(n + 8);
    for (size_t b = 0; b < n; b += 8) {
      uint64_t word = next();
      memcpy(bytes_random + b, &word, 8);
    }
    /* Half of them begin as something could. */
    static const uint8_t FIRST[] = {0x16, 0xff, 'G', 'S', 'H', 0, 1, 2, 3, 4, 0x30, 0x1b, 0x23, 0xc3};
    if (n > 0 && below(2) == 0)
      bytes_random[0] = FIRST[below(sizeof(FIRST))];
    taken += read_all(true, bytes_random, n, n, 0, 0).application != 0;
    taken += read_all(false, bytes_random, n, n, 0, 0).application != 0;
    free(bytes_random);
  }
  unsigned applications = 0;
  for (unsigned a = 1; a < KEDGE_APPLICATIONS; a++)
    applications += seen[a] != 0;
  printf("{\"vectors\":%lu,\"applications\":%u,\"shortened\":%lu,\"cuts\":%lu,\"records\":%lu,\"crossed\":%lu,"
         "\"mutated\":%lu,\"survived\":%lu,\"taken\":%lu,\"failures\":%lu}\n",
         vectors, applications, shortened, cuts, records, crossed, mutated, survived, taken, failures);
  return failures != 0;
}
