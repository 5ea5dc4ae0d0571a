/*
 * The native tests of segment.c: threads on one mapping (under ThreadSanitizer too), damaged and hostile
 * files, and crashed writers. Also the other process that the TypeScript tests need.
 *
 * It must contain no copy of what it tests: it links the same object that everybody links.
 *
 *   segment_test               every test; one line "ok NAME: what was seen" each, exit 1 at the first failure
 *   segment_test NAME          one of them
 *   segment_test --create DIRECTORY NAME KIND    creates, prints "refusal replaced incarnation", holds it until stdin ends
 *   segment_test --open DIRECTORY NAME KIND OWNER   opens, prints "refusal", and for a posture segment its word
 *   segment_test --store DIRECTORY EPOCH LEVEL   as --create of posture, with a tightening store
 *   segment_test --poke DIRECTORY NAME KIND OWNER   opens and stores through the mapping: must die by SIGSEGV
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kedge/segment.h"

namespace {

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      std::printf("failed %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                             \
      std::fflush(stdout);                                                                                             \
      _exit(1);                                                                                                        \
    }                                                                                                                  \
  } while (0)

/* A board directory that is gone at the end of the test. */
struct Board {
  std::string path;
  Board()
  {
    char name[] = "/tmp/kedge-segment-XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Board() { CHECK(std::system(("rm -rf '" + path + "'").c_str()) == 0); }
  std::string file(const char *name) const { return path + "/" + name; }
};

struct Segment : kedge_segment {
  Segment() : kedge_segment{} {}
  ~Segment() { kedge_segment_close(this); }
  Segment(const Segment &) = delete;
  kedge_posture_segment &posture() { return *static_cast<kedge_posture_segment *>(base); }
  kedge_participant_segment &participant() { return *static_cast<kedge_participant_segment *>(base); }
  kedge_segment_header &head() { return *static_cast<kedge_segment_header *>(base); }
};

kedge_refusal create(Segment &segment, const Board &board, kedge_refusal *replaced = nullptr)
{
  return kedge_segment_create(&segment, board.path.c_str(), "posture", KEDGE_SEGMENT_POSTURE, replaced);
}

kedge_refusal open(Segment &segment, const Board &board)
{
  return kedge_segment_open(&segment, board.path.c_str(), "posture", KEDGE_SEGMENT_POSTURE, geteuid());
}

/* A small generator, so that a failure can be repeated. */
struct Random {
  uint64_t state;
  uint64_t next()
  {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
};

/* A transition whose every field follows from its epoch: any mixture shows. */
kedge_transition_view view_of(uint64_t epoch)
{
  kedge_transition_view v{};
  v.epoch = epoch;
  v.from = 1 + epoch % 5;
  v.to = 1 + (epoch / 5) % 5;
  v.stage = 1 + epoch % 7;
  v.received_at_ns = epoch * 3;
  v.decided_at_ns = epoch * 5;
  v.stage_at_ns = epoch * 7;
  for (unsigned p = 0; p < KEDGE_PATHS; p++)
    v.budget_ns[p] = epoch * (11 + p);
  return v;
}

bool whole(const kedge_transition_view &v)
{
  if (v.stage == KEDGE_STAGE_NONE)
    return v.epoch == 0;
  kedge_transition_view e = view_of(v.epoch);
  return v.from == e.from && v.to == e.to && v.stage == e.stage && v.received_at_ns == e.received_at_ns &&
         v.decided_at_ns == e.decided_at_ns && v.stage_at_ns == e.stage_at_ns && v.budget_ns[0] == e.budget_ns[0] &&
         v.budget_ns[1] == e.budget_ns[1] && v.budget_ns[2] == e.budget_ns[2];
}

constexpr uint64_t ROUNDS = 40000;
constexpr uint64_t ENOUGH = 500; /* different values that readers must have met before a test may end */
constexpr unsigned READERS = 2;

/* ------------------------------------------------------------ sequence lock */

void transition_is_never_torn()
{
  Board board;
  Segment segment;
  CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
  kedge_transition &line = segment.posture().transition;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> seen{0};
  std::vector<std::thread> readers;
  for (unsigned r = 0; r < READERS; r++)
    readers.emplace_back([&] {
      uint64_t last = 0;
      while (!done.load()) {
        kedge_transition_view v;
        if (!kedge_transition_read(&line, &v))
          continue;
        CHECK(whole(v));
        CHECK(v.epoch >= last);
        seen += v.epoch != last;
        last = v.epoch;
      }
    });
  uint64_t e = 0;
  while (++e <= ROUNDS || seen.load() < ENOUGH) {
    kedge_transition_view v = view_of(e);
    kedge_transition_write(&line, &v);
    if (e % 64 == 0)
      std::this_thread::yield();
  }
  done = true;
  for (auto &t : readers)
    t.join();
  std::printf("%" PRIu64 " lines written, %" PRIu64 " different ones read whole\n", e - 1, seen.load());
}

void ack_is_never_torn()
{
  Board board;
  Segment segment;
  CHECK(kedge_segment_create(&segment, board.path.c_str(), "participant-x", KEDGE_SEGMENT_PARTICIPANT, nullptr) ==
        KEDGE_REFUSAL_NONE);
  kedge_ack &slot = segment.participant().ack;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> seen{0};
  std::thread reader([&] {
    uint64_t last = 0;
    while (!done.load()) {
      kedge_ack_view v;
      if (!kedge_ack_read(&slot, &v))
        continue;
      CHECK(v.started_at_ns == v.epoch * 3 && v.finished_at_ns == v.epoch * 5 && v.changes == (uint32_t)v.epoch);
      CHECK(v.epoch == 0 || (v.stage == v.epoch % 8 && v.outcome == v.epoch % 5 && v.level == 1 + v.epoch % 5));
      CHECK(v.epoch >= last);
      seen += v.epoch != last;
      last = v.epoch;
    }
  });
  uint64_t e = 0;
  while (++e <= ROUNDS || seen.load() < ENOUGH) {
    kedge_ack_view v{e, e * 3, e * 5, (uint32_t)(e % 8), (uint32_t)(e % 5), (uint32_t)(1 + e % 5), (uint32_t)e};
    kedge_ack_write(&slot, &v);
    if (e % 64 == 0)
      std::this_thread::yield();
  }
  done = true;
  reader.join();
  std::printf("%" PRIu64 " acknowledgements written, %" PRIu64 " different ones read whole\n", e - 1, seen.load());
}

void stuck_writer_is_bounded()
{
  Board board;
  Segment segment;
  CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
  kedge_transition &line = segment.posture().transition;
  kedge_transition_view v = view_of(7), out = view_of(9);
  kedge_transition_write(&line, &v);
  uint64_t odd = line.sequence.load() + 1;
  line.sequence.store(odd); /* a writer that died in the middle */
  uint64_t before = kedge_now_ns();
  CHECK(!kedge_transition_read(&line, &out));
  uint64_t took = kedge_now_ns() - before;
  CHECK(whole(out) && out.epoch == 9); /* untouched */
  CHECK(took < 1000000000);
  /* Its successor takes the odd value over and the line is readable again. */
  v = view_of(8);
  kedge_transition_write(&line, &v);
  CHECK(line.sequence.load() == odd + 1);
  CHECK(kedge_transition_read(&line, &out) && out.epoch == 8 && whole(out));
  std::printf("gave up after %" PRIu64 " ns\n", took);
}

void values_out_of_range_are_refused()
{
  Board board;
  Segment segment;
  CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
  kedge_transition &line = segment.posture().transition;
  unsigned refused = 0;
  std::function<void(kedge_transition_view &)> damage[] = {
      [](kedge_transition_view &v) { v.from = 9; },
      [](kedge_transition_view &v) { v.from = 0; },
      [](kedge_transition_view &v) { v.to = 6; },
      [](kedge_transition_view &v) { v.to = UINT32_MAX; },
      [](kedge_transition_view &v) { v.stage = 99; },
      [](kedge_transition_view &v) { v.stage = 8; },
      [](kedge_transition_view &v) { v.flags = 1; },
      [](kedge_transition_view &v) { v.epoch = KEDGE_EPOCH_MAX + 1; },
      [](kedge_transition_view &v) { v.stage = KEDGE_STAGE_NONE, v.to = 6; },
  };
  for (auto &wrong : damage) {
    kedge_transition_view v = view_of(12), out;
    kedge_transition_write(&line, &v);
    CHECK(kedge_transition_read(&line, &out));
    wrong(v);
    kedge_transition_write(&line, &v);
    CHECK(!kedge_transition_read(&line, &out));
    refused++;
  }
  auto *slot = reinterpret_cast<kedge_ack *>(&line); /* a line of memory is a line of memory */
  std::function<void(kedge_ack_view &)> hurt[] = {
      [](kedge_ack_view &v) { v.epoch = KEDGE_EPOCH_MAX + 1; }, [](kedge_ack_view &v) { v.stage = 8; },
      [](kedge_ack_view &v) { v.outcome = 5; },                 [](kedge_ack_view &v) { v.level = 6; },
      [](kedge_ack_view &v) { v.level = 0; },
  };
  for (auto &wrong : hurt) {
    kedge_ack_view v{5, 1, 2, 1, 1, 2, 3}, out;
    kedge_ack_write(slot, &v);
    CHECK(kedge_ack_read(slot, &out) && out.epoch == 5 && out.changes == 3);
    wrong(v);
    kedge_ack_write(slot, &v);
    CHECK(!kedge_ack_read(slot, &out));
    refused++;
  }
  CHECK(refused == 14);
  std::printf("%u wrong fields refused\n", refused);
}

/* ------------------------------------------------------------ order of the store */

void line_stands_before_word()
{
  Board board;
  Segment segment;
  CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
  kedge_posture_segment &posture = segment.posture();
  std::atomic<bool> done{false};
  std::atomic<uint64_t> judged{0};
  std::vector<std::thread> readers;
  for (unsigned r = 0; r < READERS; r++)
    readers.emplace_back([&] {
      uint64_t last = 0;
      while (!done.load()) {
        kedge_word word = atomic_load_explicit(&posture.word, memory_order_acquire);
        uint64_t epoch = kedge_word_epoch(word);
        CHECK(epoch >= last);
        if (epoch == last)
          continue;
        last = epoch;
        /* Whoever sees the word finds the line of this epoch or a newer one, unless the writer never lets go. */
        kedge_transition_view v;
        if (kedge_transition_read(&posture.transition, &v)) {
          CHECK(v.epoch >= epoch);
          CHECK(v.stage == KEDGE_STAGE_TIGHTEN);
          CHECK(v.decided_at_ns > 0 && v.decided_at_ns <= kedge_now_ns());
          CHECK(v.received_at_ns <= v.decided_at_ns);
          if (v.epoch == epoch)
            CHECK(v.to == kedge_word_raw_level(word));
          judged++;
        }
      }
    });
  uint64_t before = 0;
  uint64_t e = 0;
  while (++e <= ROUNDS || judged.load() < ENOUGH) {
    kedge_transition_view v{};
    v.epoch = e;
    v.from = 5;
    v.to = 1 + e % 5;
    v.received_at_ns = kedge_now_ns();
    uint64_t decided = kedge_posture_tighten(&posture, &v, 3);
    uint64_t stored = posture.stored_at_ns.load();
    CHECK(decided >= v.received_at_ns && stored >= decided && decided >= before);
    CHECK(v.stage == KEDGE_STAGE_TIGHTEN && v.stage_at_ns == decided);
    CHECK(posture.word.load() == kedge_word_of(e, 3, v.to));
    before = decided;
    if (e % 64 == 0)
      std::this_thread::yield();
  }
  done = true;
  for (auto &t : readers)
    t.join();
  CHECK(segment.posture().beat.bell.load() == e - 1);
  std::printf("%" PRIu64 " stores, %" PRIu64 " words judged beside their line\n", e - 1, judged.load());
}

/* ------------------------------------------------------------------ bells */

void bells_lose_nothing()
{
  Board board;
  Segment a, b;
  CHECK(create(a, board) == KEDGE_REFUSAL_NONE);
  CHECK(kedge_segment_create(&b, board.path.c_str(), "participant-b", KEDGE_SEGMENT_PARTICIPANT, nullptr) ==
        KEDGE_REFUSAL_NONE);
  /* The waiter looks through read-only mappings, as a reader of another user does. */
  Segment ra, rb;
  CHECK(open(ra, board) == KEDGE_REFUSAL_NONE);
  CHECK(kedge_segment_open(&rb, board.path.c_str(), "participant-b", KEDGE_SEGMENT_PARTICIPANT, geteuid()) ==
        KEDGE_REFUSAL_NONE);
  constexpr uint32_t RINGS = 3000;
  const std::atomic<uint32_t> *bells[] = {&ra.posture().beat.bell, &rb.participant().beat.bell};
  for (unsigned count = 1; count <= 2; count++) {
    uint32_t seen[] = {bells[0]->load(), bells[1]->load()};
    uint32_t from = seen[count - 1];
    std::atomic<uint32_t> heard{from};
    std::thread waiter([&] {
      while (seen[count - 1] - from < RINGS) {
        int r = kedge_bells_wait(bells, seen, count, UINT64_MAX);
        CHECK(r == 0);
        for (unsigned i = 0; i < count; i++)
          seen[i] = bells[i]->load(std::memory_order_acquire);
        heard.store(seen[count - 1]);
      }
    });
    std::atomic<uint32_t> *own = count == 1 ? &a.posture().beat.bell : &b.participant().beat.bell;
    for (uint32_t i = 0; i < RINGS; i++) {
      kedge_bell_ring(own);
      if (i % 3 == 0)
        while (heard.load() - from != i + 1)
          std::this_thread::yield();
    }
    waiter.join();
    /* Nothing rings: the wait ends by its timeout, one bell or two. */
    uint64_t before = kedge_now_ns();
    CHECK(kedge_bells_wait(bells, seen, count, 2000000) == ETIMEDOUT);
    CHECK(kedge_now_ns() - before >= 2000000);
  }
  CHECK(kedge_bells_wait(bells, nullptr, KEDGE_MAX_BELLS + 1, 0) == EINVAL);
  CHECK(kedge_bells_wait(nullptr, nullptr, 0, UINT64_MAX) == EINVAL);
  CHECK(kedge_bells_wait(nullptr, nullptr, 0, 1000) == ETIMEDOUT);
  std::printf("%u rings on one bell and on one of two, each heard\n", RINGS);
}

/* ------------------------------------------------------ opening and creating */

void one_writer_per_name()
{
  Board board;
  for (unsigned round = 0; round < 50; round++) {
    std::atomic<unsigned> won{0}, busy{0}, go{0}, judged{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; t++)
      threads.emplace_back([&] {
        Segment segment;
        go++;
        while (go.load() < 4)
          std::this_thread::yield();
        kedge_refusal r = create(segment, board);
        (r == KEDGE_REFUSAL_NONE ? won : busy)++;
        CHECK(r == KEDGE_REFUSAL_NONE || r == KEDGE_REFUSAL_BUSY);
        judged++;
        while (judged.load() < 4) /* nobody lets go before everybody tried */
          std::this_thread::yield();
      });
    for (auto &t : threads)
      t.join();
    CHECK(won.load() == 1 && busy.load() == 3);
  }
  Segment segment;
  CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
  CHECK(segment.head().incarnation == 51);
  std::printf("50 races of 4, one winner each, incarnation 51\n");
}

void readers_survive_renewal()
{
  Board board;
  {
    Segment first;
    CHECK(create(first, board) == KEDGE_REFUSAL_NONE);
  }
  std::atomic<bool> done{false};
  std::atomic<unsigned> opened{0};
  std::thread reader([&] {
    uint64_t last = 0;
    while (!done.load()) {
      Segment segment;
      kedge_refusal r = open(segment, board);
      CHECK(r == KEDGE_REFUSAL_NONE);
      kedge_segment_header h;
      CHECK(kedge_segment_header_read(&segment, &h) == KEDGE_REFUSAL_NONE);
      CHECK(h.incarnation >= last);
      last = h.incarnation;
      opened++;
    }
  });
  for (unsigned i = 0; i < 400 || opened.load() < 20; i++) {
    Segment writer;
    CHECK(create(writer, board) == KEDGE_REFUSAL_NONE);
  }
  done = true;
  reader.join();
  std::printf("header renewed over and over, %u times opened meanwhile\n", opened.load());
}

void readers_cannot_hold_off_the_writer()
{
  Board board;
  {
    Segment segment;
    CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
  }
  int fd = ::open(board.file("posture").c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0); /* anybody may */
  Segment segment;
  CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
  close(fd);
  struct stat st;
  CHECK(stat(board.file(".posture.lock").c_str(), &st) == 0 && (st.st_mode & 07777) == 0600);
  std::printf("a flock on the segment itself is without effect\n");
}

void removed_file_still_keeps_a_second_writer_out()
{
  Board board;
  Segment first, second;
  CHECK(create(first, board) == KEDGE_REFUSAL_NONE);
  CHECK(unlink(board.file("posture").c_str()) == 0);
  CHECK(!kedge_segment_current(&first));
  CHECK(create(second, board) == KEDGE_REFUSAL_BUSY);
  kedge_segment_close(&first);
  CHECK(create(second, board) == KEDGE_REFUSAL_NONE);
  CHECK(kedge_segment_current(&second));
  std::printf("busy while the first writer lives\n");
}

void mapping_is_read_only()
{
  Board board;
  Segment writer, reader;
  CHECK(create(writer, board) == KEDGE_REFUSAL_NONE);
  CHECK(open(reader, board) == KEDGE_REFUSAL_NONE);
  /* Not even the owner's own reader can make it writable again: the descriptor is read-only. */
  CHECK(mprotect(reader.base, reader.size, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    reader.posture().word.store(1);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  CHECK(writer.posture().word.load() == 0);
  std::printf("a store through a reader's mapping ends in SIGSEGV\n");
}

void crashed_writers_leave_a_usable_board()
{
  Board board;
  Random random{0x5eed};
  uint64_t epoch = 0;
  unsigned kept = 0;
  for (unsigned i = 0; i < 60; i++) {
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      close(pipes[0]);
      for (;;) { /* opens, stores, closes without end, until it is killed anywhere in it */
        Segment segment;
        if (create(segment, board) != KEDGE_REFUSAL_NONE)
          _exit(3);
        kedge_transition_view v{};
        v.epoch = kedge_word_epoch(segment.posture().word.load()) + 1;
        v.from = 5;
        v.to = 2;
        kedge_posture_tighten(&segment.posture(), &v, 0);
        if (write(pipes[1], &v.epoch, sizeof(v.epoch)) != (ssize_t)sizeof(v.epoch))
          _exit(4);
      }
    }
    close(pipes[1]);
    uint64_t told;
    CHECK(read(pipes[0], &told, sizeof(told)) == (ssize_t)sizeof(told));
    usleep((useconds_t)(random.next() % 1500));
    kill(child, SIGKILL);
    uint64_t next;
    while (read(pipes[0], &next, sizeof(next)) == (ssize_t)sizeof(next))
      told = next;
    close(pipes[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    Segment segment;
    kedge_refusal replaced;
    CHECK(create(segment, board, &replaced) == KEDGE_REFUSAL_NONE);
    CHECK(replaced == KEDGE_REFUSAL_NONE); /* whatever it was killed in, its word is kept */
    uint64_t found = kedge_word_epoch(segment.posture().word.load());
    CHECK(found == told || found == told + 1); /* killed between the store and telling */
    CHECK(found > epoch);
    CHECK(kedge_word_level(segment.posture().word.load()) == 2);
    epoch = found;
    kept++;
  }
  std::printf("%u writers killed, last epoch %" PRIu64 " kept\n", kept, epoch);
}

void interrupted_renewal_keeps_contents()
{
  Board board;
  {
    Segment segment;
    CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
    segment.posture().word.store(kedge_word_of(77, 0, 2));
    segment.head().opening.store(1);
    segment.head().writer_pid = 1; /* the checksum is now wrong too */
  }
  Segment reader, writer;
  CHECK(open(reader, board) == KEDGE_REFUSAL_OPENING);
  kedge_refusal replaced;
  CHECK(create(writer, board, &replaced) == KEDGE_REFUSAL_NONE && replaced == KEDGE_REFUSAL_NONE);
  CHECK(writer.posture().word.load() == kedge_word_of(77, 0, 2));
  CHECK(writer.head().incarnation == 2);
  CHECK(open(reader, board) == KEDGE_REFUSAL_NONE);
  std::printf("refused for readers, repaired by the next writer\n");
}

void random_bytes_are_refused_or_in_range()
{
  Board board;
  Random random{0xf00d};
  unsigned refused = 0, read = 0, unreadable = 0;
  for (unsigned round = 0; round < 150; round++) {
    uint8_t noise[sizeof(kedge_posture_segment)];
    {
      Segment segment;
      CHECK(create(segment, board) == KEDGE_REFUSAL_NONE);
      auto *bytes = static_cast<uint8_t *>(segment.base);
      if (round % 3 == 0) { /* anything anywhere behind the header: opens, and every read is whole or refused */
        for (size_t i = sizeof(kedge_segment_header); i < segment.size; i++)
          bytes[i] = (uint8_t)random.next();
        kedge_transition &line = segment.posture().transition;
        if (round % 2 == 0) { /* nearly right, so that some come through */
          line.sequence.store(2);
          line.epoch.store(random.next() >> 15);
          line.from.store((uint32_t)random.next() % 7);
          line.to.store((uint32_t)random.next() % 7);
          line.stage.store((uint32_t)random.next() % 9);
          line.flags.store(0);
        }
        Segment reader;
        CHECK(open(reader, board) == KEDGE_REFUSAL_NONE);
        kedge_transition_view v;
        if (kedge_transition_read(&reader.posture().transition, &v)) {
          CHECK(v.epoch <= KEDGE_EPOCH_MAX && v.to <= 5 && v.from <= 5 && v.stage <= 7);
          read++;
        } else {
          unreadable++;
        }
        unsigned level = kedge_word_level(reader.posture().word.load());
        CHECK(level >= 1 && level <= 5);
        continue;
      }
      if (round % 3 == 1) { /* one damaged byte that the header's checks cover */
        bytes[random.next() % 100] ^= (uint8_t)(1 + random.next() % 255);
      } else { /* noise all over */
        for (auto &b : noise)
          b = (uint8_t)random.next();
        std::memcpy(segment.base, noise, sizeof(noise));
      }
    }
    Segment reader;
    CHECK(open(reader, board) != KEDGE_REFUSAL_NONE);
    refused++;
  }
  CHECK(refused == 100 && read > 0 && unreadable > 0 && read + unreadable == 50);
  std::printf("%u files refused, %u lines refused, %u lines in range\n", refused, unreadable, read);
}

void directory_rules()
{
  Board board;
  auto judge = [&](mode_t mode) {
    CHECK(chmod(board.path.c_str(), mode) == 0);
    Segment segment;
    kedge_refusal a = kedge_directory_verify(board.path.c_str());
    kedge_refusal b = create(segment, board);
    CHECK((a == KEDGE_REFUSAL_NONE) == (b == KEDGE_REFUSAL_NONE));
    kedge_segment_close(&segment);
    kedge_refusal c = open(segment, board);
    CHECK(a == KEDGE_REFUSAL_NONE ? c == KEDGE_REFUSAL_NONE : c == KEDGE_REFUSAL_DIRECTORY);
    return a;
  };
  CHECK(judge(0755) == KEDGE_REFUSAL_NONE);
  CHECK(judge(01775) == KEDGE_REFUSAL_NONE);
  CHECK(judge(0775) == KEDGE_REFUSAL_DIRECTORY);
  CHECK(judge(01777) == KEDGE_REFUSAL_DIRECTORY);
  CHECK(judge(0757) == KEDGE_REFUSAL_DIRECTORY);
  CHECK(judge(0700) == KEDGE_REFUSAL_NONE);
  std::string link = board.path + "-link";
  CHECK(symlink(board.path.c_str(), link.c_str()) == 0);
  CHECK(kedge_directory_verify(link.c_str()) == KEDGE_REFUSAL_DIRECTORY);
  CHECK(kedge_directory_verify((link + "/").c_str()) == KEDGE_REFUSAL_DIRECTORY);
  CHECK(unlink(link.c_str()) == 0);
  CHECK(kedge_directory_verify((board.path + "/").c_str()) == KEDGE_REFUSAL_NONE);
  CHECK(kedge_directory_verify("/nonexistent") == KEDGE_REFUSAL_SYSTEM && errno == ENOENT);
  CHECK(kedge_directory_verify("") == KEDGE_REFUSAL_SYSTEM);
  CHECK(kedge_directory_verify("/proc/self/stat") == KEDGE_REFUSAL_DIRECTORY);
  std::printf("6 modes, 2 links, 4 paths\n");
}

void nothing_leaks()
{
  Board board;
  auto open_files = [] {
    unsigned n = 0;
    for (int fd = 0; fd < 20000; fd++)
      n += fcntl(fd, F_GETFD) != -1;
    return n;
  };
  unsigned before = open_files();
  unsigned refused = 0;
  for (unsigned i = 0; i < 20; i++) {
    Segment a, b, c, d;
    CHECK(create(a, board) == KEDGE_REFUSAL_NONE);
    CHECK(create(b, board) == KEDGE_REFUSAL_BUSY);
    CHECK(open(c, board) == KEDGE_REFUSAL_NONE);
    refused += kedge_segment_open(&d, board.path.c_str(), "posture", KEDGE_SEGMENT_WARDEN, geteuid()) != KEDGE_REFUSAL_NONE;
    refused += kedge_segment_open(&d, board.path.c_str(), "none", KEDGE_SEGMENT_POSTURE, geteuid()) == KEDGE_REFUSAL_MISSING;
    refused += kedge_segment_open(&d, board.path.c_str(), "posture", KEDGE_SEGMENT_POSTURE, 4242) == KEDGE_REFUSAL_OWNER;
    refused += kedge_segment_open(&d, board.path.c_str(), "../etc", KEDGE_SEGMENT_POSTURE, 0) == KEDGE_REFUSAL_NAME;
    CHECK(fcntl(a.fd, F_GETFD) == FD_CLOEXEC && fcntl(a.lock, F_GETFD) == FD_CLOEXEC);
    CHECK(kedge_segment_lock_memory(&a) == 0 || errno != 0);
    kedge_segment_close(&c);
    kedge_segment_close(&c);
  }
  CHECK(refused == 80);
  CHECK(open_files() == before);
  std::printf("no descriptor left after %u refusals\n", refused);
}

void crc_agrees_with_the_bitwise_one()
{
  Random random{42};
  uint8_t bytes[700];
  for (auto &b : bytes)
    b = (uint8_t)random.next();
  unsigned compared = 0;
  for (size_t start = 0; start < 9; start++)
    for (size_t length = 0; length < 600; length += 7, compared++) {
      uint32_t c = ~UINT32_C(0);
      for (size_t i = 0; i < length; i++) {
        c ^= bytes[start + i];
        for (int k = 0; k < 8; k++)
          c = (c & 1) != 0 ? (c >> 1) ^ UINT32_C(0xedb88320) : c >> 1;
      }
      CHECK(kedge_crc32(0, bytes + start, length) == ~c);
      size_t half = length / 2; /* and it can be continued */
      CHECK(kedge_crc32(kedge_crc32(0, bytes + start, half), bytes + start + half, length - half) == ~c);
    }
  CHECK(kedge_crc32(0, "123456789", 9) == UINT32_C(0xcbf43926));
  std::printf("%u lengths and alignments\n", compared);
}

struct Test {
  const char *name;
  void (*run)();
};

const Test tests[] = {
    {"transition-is-never-torn", transition_is_never_torn},
    {"ack-is-never-torn", ack_is_never_torn},
    {"stuck-writer-is-bounded", stuck_writer_is_bounded},
    {"values-out-of-range-are-refused", values_out_of_range_are_refused},
    {"line-stands-before-word", line_stands_before_word},
    {"bells-lose-nothing", bells_lose_nothing},
    {"one-writer-per-name", one_writer_per_name},
    {"readers-survive-renewal", readers_survive_renewal},
    {"readers-cannot-hold-off-the-writer", readers_cannot_hold_off_the_writer},
    {"removed-file-still-keeps-a-second-writer-out", removed_file_still_keeps_a_second_writer_out},
    {"mapping-is-read-only", mapping_is_read_only},
    {"crashed-writers-leave-a-usable-board", crashed_writers_leave_a_usable_board},
    {"interrupted-renewal-keeps-contents", interrupted_renewal_keeps_contents},
    {"random-bytes-are-refused-or-in-range", random_bytes_are_refused_or_in_range},
    {"directory-rules", directory_rules},
    {"nothing-leaks", nothing_leaks},
    {"crc-agrees-with-the-bitwise-one", crc_agrees_with_the_bitwise_one},
};

void hold()
{
  std::fflush(stdout);
  char c;
  while (read(0, &c, 1) > 0) {
  }
}

int helper(int argc, char **argv)
{
  std::string what = argv[1];
  Segment segment;
  if (what == "--create" && argc == 5) {
    kedge_refusal replaced;
    kedge_refusal r = kedge_segment_create(&segment, argv[2], argv[3], (kedge_segment_kind)std::atoi(argv[4]), &replaced);
    std::printf("%d %d %" PRIu64 "\n", r, replaced, r == KEDGE_REFUSAL_NONE ? segment.head().incarnation : 0);
    hold();
    return 0;
  }
  if (what == "--store" && argc == 5) {
    kedge_refusal r = kedge_segment_create(&segment, argv[2], "posture", KEDGE_SEGMENT_POSTURE, nullptr);
    if (r == KEDGE_REFUSAL_NONE) {
      kedge_transition_view v{};
      v.epoch = std::strtoull(argv[3], nullptr, 10);
      v.from = 5;
      v.to = (uint32_t)std::atoi(argv[4]);
      kedge_posture_tighten(&segment.posture(), &v, 0);
    }
    std::printf("%d\n", r);
    hold();
    return 0;
  }
  if ((what == "--open" || what == "--poke") && argc == 6) {
    auto kind = (kedge_segment_kind)std::atoi(argv[4]);
    kedge_refusal r = kedge_segment_open(&segment, argv[2], argv[3], kind, (uid_t)std::atoi(argv[5]));
    std::printf("%d %" PRIu64 "\n", r, r == KEDGE_REFUSAL_NONE && kind == KEDGE_SEGMENT_POSTURE ? segment.posture().word.load() : 0);
    std::fflush(stdout);
    if (what == "--poke" && r == KEDGE_REFUSAL_NONE)
      segment.posture().word.store(1);
    return 0;
  }
  std::printf("unknown: %s\n", argv[1]);
  return 2;
}

} // namespace

int main(int argc, char **argv)
{
  if (argc > 1 && std::strncmp(argv[1], "--", 2) == 0)
    return helper(argc, argv);
  unsigned run = 0;
  for (const Test &test : tests) {
    if (argc > 1 && std::strcmp(argv[1], test.name) != 0)
      continue;
    std::printf("ok %s: ", test.name);
    std::fflush(stdout);
    test.run();
    run++;
  }
  std::printf("%u tests passed\n", run);
  return run > 0 ? 0 : 2;
}
