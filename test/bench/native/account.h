/*
 * The account of one class of numbered frames: what came, what did not and when, what came twice or out of order,
 * and how long it took.
 *
 * It must know neither frames nor clocks: numbers go in, numbers come out.
 */
#ifndef KEDGE_BENCH_ACCOUNT_H
#define KEDGE_BENCH_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Buckets of a thirty-second to a sixty-fourth of their value: percentiles are too high by at most 3 %. */
#define HISTOGRAM_BITS 5u
#define HISTOGRAM_TOP 40u /* bits of the largest value that is told from larger ones: 18 minutes in nanoseconds */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_TOP - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
  uint64_t bucket[HISTOGRAM_BUCKETS];
  uint64_t n, max;
};

void histogram_add(struct histogram *histogram, uint64_t value);
/* By nearest rank, the upper end of its bucket and never above the maximum; 0 for none. `per_mille` 1..1000. */
uint64_t histogram_at(const struct histogram *histogram, unsigned per_mille);

/* A frame that is further behind than this cannot be told from one that comes again. A power of two. */
#define ACCOUNT_WINDOW 65536u
#define ACCOUNT_GAPS 65536u

/* Frames of consecutive numbers that did not come between two that did. */
struct gap {
  uint64_t first, span;  /* numbers */
  uint64_t missing;      /* of these, still */
  uint64_t after_ns;     /* when the one before was sent; 0 = there was none */
  uint64_t before_ns;    /* when the one behind was sent, or the sending ended */
  uint64_t from_ns;      /* the caller's: by then the first of them would have come; 0 = not known */
  uint64_t until_ns;     /* the caller's: not before then the last */
};

struct account {
  uint64_t late_ns;      /* the caller's: from here on a frame counts as late */
  uint64_t next;         /* the number that comes next if nothing happens */
  uint64_t last_ns;      /* when the newest was sent */
  uint64_t received;     /* different ones */
  uint64_t reordered;    /* of these, behind one with a higher number (RFC 4737) */
  uint64_t late;         /* of these */
  uint64_t duplicates;   /* came once more */
  uint64_t stale;        /* too far behind to be told; not among received */
  uint64_t gaps, gaps_unkept;
  struct histogram latency;
  struct gap gap[ACCOUNT_GAPS];
  uint64_t seen[ACCOUNT_WINDOW / 64];
};

void account_start(struct account *account, uint64_t late_ns);
void account_take(struct account *account, uint64_t sequence, uint64_t sent_ns, uint64_t received_ns);
/* So many were sent, until then: what is missing at the end is missing from now on. */
void account_end(struct account *account, uint64_t sent, uint64_t ended_ns);
/* As one JSON object. `sent` as at the end. */
void account_print(const struct account *account, uint64_t sent, FILE *to);

#endif
