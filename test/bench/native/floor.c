/*
 * The floor: what the primitive of the posture path costs in bare C between two processes.
 *
 * One process stamps, stores an aligned 64-bit word, and wakes; the other sleeps on the bell (or polls the
 * word), stamps and answers. It must do nothing that the product's path does besides: no line, no packets.
 *
 *   floor [--poll] [--samples N] [--writer-cpu N] [--reader-cpu N] [--fifo PRIORITY]
 *
 * Prints one nanosecond figure per line: decided -> seen by the reader.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
  _Alignas(64) _Atomic uint64_t word;
  _Alignas(64) _Atomic uint32_t bell;
  _Alignas(64) _Atomic uint64_t answered;
  _Atomic uint64_t seen_at_ns;
};

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pin(int cpu)
{
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    perror("floor: pin");
}

static void read_for_ever(struct shared *s, bool poll)
{
  uint64_t last = 0;
  for (;;) {
    uint32_t bell = atomic_load_explicit(&s->bell, memory_order_acquire);
    uint64_t word = atomic_load_explicit(&s->word, memory_order_acquire);
    if (word != last) {
      last = word;
      atomic_store_explicit(&s->seen_at_ns, now_ns(), memory_order_relaxed);
      atomic_store_explicit(&s->answered, word, memory_order_release);
      continue;
    }
    if (!poll)
      syscall(SYS_futex, &s->bell, FUTEX_WAIT, bell, NULL, NULL, 0);
  }
}

int main(int argc, char **argv)
{
  bool poll = false;
  long samples = 20000;
  int writer_cpu = 0, reader_cpu = 1, fifo = 0;
  static const struct option options[] = {{"poll", no_argument, 0, 'p'},
                                          {"samples", required_argument, 0, 'n'},
                                          {"writer-cpu", required_argument, 0, 'w'},
                                          {"reader-cpu", required_argument, 0, 'r'},
                                          {"fifo", required_argument, 0, 'f'},
                                          {0, 0, 0, 0}};
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (c) {
    case 'p': poll = true; break;
    case 'n': samples = atol(optarg); break;
    case 'w': writer_cpu = atoi(optarg); break;
    case 'r': reader_cpu = atoi(optarg); break;
    case 'f': fifo = atoi(optarg); break;
    default: return 2;
    }
  }
  if (samples < 1 || samples > 10000000) {
    fprintf(stderr, "floor: --samples: expected 1 to 10000000\n");
    return 2;
  }
  struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (s == MAP_FAILED)
    return perror("floor: mmap"), 1;
  pid_t reader = fork();
  if (reader < 0)
    return perror("floor: fork"), 1;
  if (reader == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(reader_cpu);
    if (fifo > 0) {
      struct sched_param p = {.sched_priority = fifo};
      if (sched_setscheduler(0, SCHED_FIFO, &p) != 0)
        perror("floor: SCHED_FIFO");
    }
    read_for_ever(s, poll);
  }
  pin(writer_cpu);
  struct timespec pause = {.tv_nsec = 500 * 1000};
  for (long i = 1; i <= samples; i++) {
    nanosleep(&pause, NULL);
    uint64_t decided = now_ns();
    atomic_store_explicit(&s->word, (uint64_t)i, memory_order_release);
    atomic_fetch_add_explicit(&s->bell, 1, memory_order_release);
    if (!poll)
      syscall(SYS_futex, &s->bell, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    uint64_t give_up = decided + UINT64_C(1000000000);
    while (atomic_load_explicit(&s->answered, memory_order_acquire) != (uint64_t)i) {
      if (now_ns() > give_up) {
        fprintf(stderr, "floor: the reader did not answer within a second\n");
        kill(reader, SIGKILL);
        return 1;
      }
    }
    printf("%llu\n", (unsigned long long)(atomic_load_explicit(&s->seen_at_ns, memory_order_relaxed) - decided));
  }
  kill(reader, SIGKILL);
  waitpid(reader, NULL, 0);
  return 0;
}
