/*
 * The implementation of account.h.
 *
 * It must take any numbers in any order, and never more than a bounded piece of work for one.
 */
#include "account.h"

#include <string.h>

/* ---------------------------------------------------------------- histogram */

static unsigned bucket_of(uint64_t value)
{
  if (value >> HISTOGRAM_TOP != 0)
    return HISTOGRAM_BUCKETS - 1;
  if (value >> HISTOGRAM_BITS == 0)
    return (unsigned)value;
  unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
  return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

/* The largest value of a bucket. */
static uint64_t top_of(unsigned bucket)
{
  if (bucket >> HISTOGRAM_BITS == 0)
    return bucket;
  unsigned shift = (bucket >> HISTOGRAM_BITS) - 1;
  uint64_t within = (bucket & ((1u << HISTOGRAM_BITS) - 1)) + (1u << HISTOGRAM_BITS);
  return (within << shift) + (UINT64_C(1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
  h->bucket[bucket_of(value)]++;
  h->n++;
  if (value > h->max)
    h->max = value;
}

uint64_t histogram_at(const struct histogram *h, unsigned per_mille)
{
  uint64_t rank = (h->n * per_mille + 999) / 1000, below = 0;
  for (unsigned b = 0; b < HISTOGRAM_BUCKETS && rank != 0; b++) {
    below += h->bucket[b];
    /* What is above all buckets is known by the maximum alone. */
    if (below >= rank)
      return b == HISTOGRAM_BUCKETS - 1 || top_of(b) > h->max ? h->max : top_of(b);
  }
  return 0;
}

/* ------------------------------------------------------------------ account */

static inline bool bit(const struct account *a, uint64_t sequence)
{
  return (a->seen[sequence % ACCOUNT_WINDOW / 64] >> sequence % 64 & 1) != 0;
}

static inline void bit_set(struct account *a, uint64_t sequence, bool to)
{
  uint64_t *word = &a->seen[sequence % ACCOUNT_WINDOW / 64], mask = UINT64_C(1) << sequence % 64;
  *word = to ? *word | mask : *word & ~mask;
}

void account_start(struct account *a, uint64_t late_ns)
{
  memset(a, 0, sizeof(*a));
  a->late_ns = late_ns;
}

static void gap_keep(struct account *a, uint64_t first, uint64_t span, uint64_t before_ns)
{
  if (a->gaps == ACCOUNT_GAPS)
    a->gaps_unkept++;
  else
    a->gap[a->gaps++] = (struct gap){first, span, span, a->last_ns, before_ns, 0, 0};
}

/* One that was missing has come after all. */
static void gap_fill(struct account *a, uint64_t sequence)
{
  uint64_t low = 0, high = a->gaps;
  while (high - low > 1) {
    uint64_t middle = low + (high - low) / 2;
    if (a->gap[middle].first <= sequence)
      low = middle;
    else
      high = middle;
  }
  struct gap *g = &a->gap[low];
  if (low < high && g->first <= sequence && sequence - g->first < g->span && g->missing != 0)
    g->missing--;
}

void account_take(struct account *a, uint64_t sequence, uint64_t sent_ns, uint64_t received_ns)
{
  if (sequence >= a->next) {
    uint64_t span = sequence - a->next;
    if (span >= ACCOUNT_WINDOW)
      memset(a->seen, 0, sizeof(a->seen));
    else
      for (uint64_t n = a->next; n < sequence; n++)
        bit_set(a, n, false);
    if (span != 0)
      gap_keep(a, a->next, span, sent_ns);
    a->next = sequence + 1;
    a->last_ns = sent_ns;
  } else if (a->next - sequence > ACCOUNT_WINDOW) {
    a->stale++;
    return;
  } else if (bit(a, sequence)) {
    a->duplicates++;
    return;
  } else {
    a->reordered++;
    gap_fill(a, sequence);
  }
  bit_set(a, sequence, true);
  a->received++;
  uint64_t took = received_ns > sent_ns ? received_ns - sent_ns : 0;
  a->late += took >= a->late_ns;
  histogram_add(&a->latency, took);
}

void account_end(struct account *a, uint64_t sent, uint64_t ended_ns)
{
  if (sent > a->next)
    gap_keep(a, a->next, sent - a->next, ended_ns);
}

void account_print(const struct account *a, uint64_t sent, FILE *to)
{
  bool first = true;
  fprintf(to,
          "{\"sent\":%llu,\"received\":%llu,\"lost\":%llu,\"late\":%llu,\"reordered\":%llu,\"duplicates\":%llu,"
          "\"stale\":%llu,\"latencyNs\":{\"p50\":%llu,\"p99\":%llu,\"p999\":%llu,\"max\":%llu},\"gapsUnkept\":%llu,"
          "\"gaps\":[",
          (unsigned long long)sent, (unsigned long long)a->received,
          (unsigned long long)(sent > a->received ? sent - a->received : 0), (unsigned long long)a->late,
          (unsigned long long)a->reordered, (unsigned long long)a->duplicates, (unsigned long long)a->stale,
          (unsigned long long)histogram_at(&a->latency, 500), (unsigned long long)histogram_at(&a->latency, 990),
          (unsigned long long)histogram_at(&a->latency, 999), (unsigned long long)a->latency.max,
          (unsigned long long)a->gaps_unkept);
  for (uint64_t g = 0; g < a->gaps; g++)
    if (a->gap[g].missing != 0) {
      fprintf(to, "%s[%llu,%llu,%llu,%llu,%llu]", first ? "" : ",", (unsigned long long)a->gap[g].after_ns,
              (unsigned long long)a->gap[g].before_ns, (unsigned long long)a->gap[g].missing,
              (unsigned long long)a->gap[g].from_ns, (unsigned long long)a->gap[g].until_ns);
      first = false;
    }
  fputs("]}", to);
}
