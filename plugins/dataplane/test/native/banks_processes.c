/*
 * The two-bank rule between two processes, each with its own mapping of one file, with the tables' own
 * checksum as the oracle (DP-2). Usage: banks_processes MILLISECONDS. Built once as shipped and once without
 * the second read.
 *
 * ThreadSanitizer sees nothing here; a torn bank shows as a checksum that does not match while it is in use.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "kedge/segment.h"

static void widen(void);
#define KEDGE_BETWEEN_READS() widen()
#include "../../core/banks.c"
#include "../../core/builder.h"

/* What the two processes share beside the tables. */
struct line {
  KEDGE_ATOMIC(uint64_t) published;
  kedge_bank_finding finding[KEDGE_BANKS];
  KEDGE_ATOMIC(uint64_t) uses, torn;
  KEDGE_ATOMIC(int) stop;
};

static void pause_us(long us)
{
  struct timespec t = {0, us * 1000};
  nanosleep(&t, NULL);
}

static void widen(void)
{
  static unsigned n;
  if (n++ % 2 == 0)
    pause_us(300 + 100 * (n % 7));
}

static void *map(int fd, size_t size, int protection)
{
  void *at = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return at;
}

static int read_tables(int tables_fd, int line_fd)
{
  const struct kedge_tables_segment *tables = map(tables_fd, sizeof(*tables), PROT_READ);
  struct line *line = map(line_fd, sizeof(*line), PROT_READ | PROT_WRITE);
  struct kedge_bank_use use = {0};
  for (unsigned n = 0; !atomic_load(&line->stop); n++) {
    kedge_bank_leave(&use, &line->published);
    kedge_bank_follow(&use, &line->published, tables, line->finding);
    const struct kedge_level_table *table = kedge_bank_table(&use, tables, 1);
    if (table == NULL) {
      sched_yield();
      continue;
    }
    bool whole = table->generation == use.generation && kedge_table_checksum(table) == table->checksum &&
                 table->generation == use.generation;
    atomic_fetch_add(&line->uses, 1);
    if (!whole)
      atomic_fetch_add(&line->torn, 1);
  }
  return 0;
}

int main(int argc, char **argv)
{
  uint64_t ms = argc > 1 ? strtoull(argv[1], NULL, 10) : 1500;
  int tables_fd = memfd_create("tables", MFD_CLOEXEC), line_fd = memfd_create("line", MFD_CLOEXEC);
  if (ftruncate(tables_fd, sizeof(struct kedge_tables_segment)) != 0 || ftruncate(line_fd, sizeof(struct line)) != 0)
    return 1;
  struct kedge_tables_segment *tables = map(tables_fd, sizeof(*tables), PROT_READ | PROT_WRITE);
  struct line *line = map(line_fd, sizeof(*line), PROT_READ | PROT_WRITE);
  pid_t reader = fork();
  if (reader == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(read_tables(tables_fd, line_fd));
  }
  uint64_t end = kedge_now_ns() + ms * 1000000, g = 0;
  while (kedge_now_ns() < end) {
    g++;
    for (;;) {
      uint64_t used = atomic_load_explicit(&line->published, memory_order_seq_cst);
      if (used == 0 || used % KEDGE_BANKS != g % KEDGE_BANKS)
        break;
      sched_yield();
    }
    struct kedge_bank *bank = &tables->bank[g % KEDGE_BANKS];
    atomic_store_explicit(&bank->generation, 0, memory_order_seq_cst);
    struct kedge_level_table *table = &bank->level[0];
    memset(table->slot, (int)(uint8_t)g, sizeof(table->slot));
    memset(table->entry, (int)(uint8_t)(g >> 3), sizeof(table->entry));
    table->valid = 1;
    table->level = 1;
    kedge_table_stamp(table, g);
    atomic_store_explicit(&bank->generation, g, memory_order_seq_cst);
    atomic_store_explicit(&line->finding[g % KEDGE_BANKS], KEDGE_FINDING_OF(g, 1u << 1), memory_order_release);
    atomic_store_explicit(&tables->generation, g, memory_order_seq_cst);
  }
  atomic_store(&line->stop, 1);
  int status = 0;
  waitpid(reader, &status, 0);
  unsigned long long torn = atomic_load(&line->torn);
  printf("{\"generations\":%llu,\"uses\":%llu,\"torn\":%llu}\n", (unsigned long long)g,
         (unsigned long long)atomic_load(&line->uses), torn);
  return torn != 0 || status != 0;
}
