/*
 * The safe level over processes that are killed one after the other, each a fork that ends without closing anything.
 * Usage: governor_restart DIRECTORY; prints in JSON what each of them obeyed.
 *
 * It is coordinator and warden at once, and it beats only when it means to.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../core/loader.h"

#define WORKERS 2u
#define SILENCE_NS UINT64_C(1000000)

static const char *board;
static struct kedge_segment posture, warden;
static bool heard;

static void beat(void)
{
  uint64_t at = heard ? kedge_now_ns() : 1;
  kedge_beat(&((struct kedge_posture_segment *)posture.base)->beat, at);
  kedge_beat(&((struct kedge_warden_segment *)warden.base)->beat, at);
}

static void hear(bool on)
{
  heard = on;
  beat();
}

static void decide(uint64_t epoch, unsigned level)
{
  struct kedge_transition_view line = {.epoch = epoch, .from = level, .to = level};
  kedge_posture_tighten(posture.base, &line, 0);
}

static struct kedge_segment create(const char *name, enum kedge_segment_kind kind)
{
  struct kedge_segment s;
  if (kedge_segment_create(&s, board, name, kind, NULL) != KEDGE_REFUSAL_NONE)
    exit(2);
  return s;
}

/* A torn acknowledgement, as a worker leaves it that is killed while it writes one. */
static void tear(struct kedge_ack *ack)
{
  atomic_fetch_add(&ack->sequence, 1);
}

enum deed { OBEY, OPEN_ONLY, ONE_OF_TWO, TORN };

/* One life of a data plane; the level that its last worker obeyed, 0 = none did. */
static unsigned live(enum deed deed, uint64_t silence_ns)
{
  pid_t pid = fork();
  if (pid == 0) {
    static struct kedge_governor governor;
    struct kedge_governor_options options = {.board = board,
                                             .name = "restart",
                                             .owner = {geteuid(), geteuid(), geteuid()},
                                             .workers = WORKERS,
                                             .safe_level = 2,
                                             .silence_ns = silence_ns};
    unsigned level = 0;
    if (kedge_governor_open(&governor, &options) != KEDGE_REFUSAL_NONE)
      _exit(255);
    usleep(5000); /* silence is counted from when one listens */
    unsigned workers = deed == OPEN_ONLY ? 0 : deed == ONE_OF_TWO ? 1 : WORKERS;
    for (unsigned i = 0; i < workers; i++) {
      struct kedge_governor_worker *w = kedge_governor_worker_start(&governor, i);
      /* The second look finds what the first one noted. */
      for (unsigned look = 0; look < 2; look++) {
        kedge_governor_begin(w, kedge_now_ns());
        kedge_governor_acknowledge(w);
      }
      level = w->level;
    }
    for (unsigned i = 0; deed == TORN && i < WORKERS; i++)
      tear(&governor.shared->worker[i].ack);
    _exit((int)level);
  }
  int status;
  pid_t ended = 0;
  for (; pid > 0 && ended == 0; ended = waitpid(pid, &status, WNOHANG)) {
    beat();
    usleep(1000);
  }
  if (pid < 0 || ended != pid || !WIFEXITED(status))
    exit(2);
  return (unsigned)WEXITSTATUS(status);
}

/* The safe level at an epoch, the lives that end badly, and what is obeyed then when everybody is heard again. */
static void play(const char *name, uint64_t epoch, const enum deed *deed, unsigned deeds, bool last)
{
  decide(epoch, 5);
  hear(false);
  unsigned silent = live(OBEY, SILENCE_NS);
  hear(true);
  for (unsigned i = 0; i < deeds; i++)
    live(deed[i], UINT64_C(60000000000));
  unsigned same = live(OBEY, UINT64_C(60000000000));
  decide(epoch + 1, 5);
  unsigned newer = live(OBEY, UINT64_C(60000000000));
  printf("\"%s\":[%u,%u,%u]%s", name, silent, same, newer, last ? "}\n" : ",");
}

int main(int argc, char **argv)
{
  board = argc > 1 ? argv[1] : "/tmp";
  posture = create("posture", KEDGE_SEGMENT_POSTURE);
  warden = create("warden", KEDGE_SEGMENT_WARDEN);
  printf("{");
  play("acknowledged", 10, (const enum deed[]){OBEY}, 1, false);
  play("never acknowledged", 20, (const enum deed[]){OPEN_ONLY, OPEN_ONLY}, 2, false);
  play("torn", 30, (const enum deed[]){TORN}, 1, false);
  play("one of two", 40, (const enum deed[]){OPEN_ONLY, ONE_OF_TWO}, 2, true);
  return 0;
}
