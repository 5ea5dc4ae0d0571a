/*
 * The Node addon over segment.h: handles, loads and stores, lines, and the listener thread.
 *
 * It must stay thin: arguments were validated with sentences in TypeScript; what is checked again here is
 * only what memory safety hangs on (type tags, bounds, alignment, closed handles). No process-wide state,
 * so that it works in any number of worker threads.
 */
#define NAPI_VERSION 8
/* A thread that is being terminated cannot be thrown at; the process must not end for it. */
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "kedge/bpf_map.h"
#include "kedge/segment.h"

namespace {

constexpr napi_type_tag SEGMENT_TAG = {0x6b65646765736567, 0x8d1f6f0b5c2e4a71};
constexpr napi_type_tag BPF_MAP_TAG = {0x6b656467656d6170, 0x51c0a7d2e94f3b68};
constexpr napi_type_tag BPF_WATCH_TAG = {0x6b65646765776368, 0x2e8f5a1b7c06d943};
constexpr napi_type_tag LISTENER_TAG = {0x6b656467656c7374, 0x93b0d7e81a6c4f25};

/* The listener's thread stands above ordinary work and below whatever an operator pins higher. */
constexpr int LISTENER_PRIORITY = 20;
constexpr int COMMIT_PRIORITY = 15; /* below the listeners, the data plane and the warden */

[[noreturn]] void fail(Napi::Env env, const char *code, const std::string &message)
{
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  throw error;
}

/* ---------------------------------------------------------------- handles */

template <typename T> Napi::Object wrap(Napi::Env env, std::unique_ptr<T> owned, const napi_type_tag &tag)
{
  Napi::Object object = Napi::Object::New(env);
  if (napi_type_tag_object(env, object, &tag) != napi_ok ||
      napi_wrap(
          env, object, owned.get(), [](napi_env, void *data, void *) { delete static_cast<T *>(data); }, nullptr,
          nullptr) != napi_ok)
    fail(env, "SEGMENT_ADDON", "the addon could not make a handle");
  owned.release();
  return object;
}

template <typename T> T &unwrap(Napi::Env env, const Napi::Value &value, const napi_type_tag &tag)
{
  bool good = false;
  void *data = nullptr;
  if (!value.IsObject() || napi_check_object_type_tag(env, value, &tag, &good) != napi_ok || !good ||
      napi_unwrap(env, value, &data) != napi_ok)
    fail(env, "SEGMENT_ARGUMENT", "the addon was given something else than its handle");
  return *static_cast<T *>(data);
}

struct Segment {
  kedge_segment segment{};
  ~Segment() { kedge_segment_close(&segment); }
};

kedge_segment &opened(const Napi::CallbackInfo &info)
{
  kedge_segment &segment = unwrap<Segment>(info.Env(), info[0], SEGMENT_TAG).segment;
  if (segment.base == nullptr)
    fail(info.Env(), "SEGMENT_CLOSED", "the segment is closed");
  return segment;
}

kedge_segment &writable(const Napi::CallbackInfo &info)
{
  kedge_segment &segment = opened(info);
  if (!segment.writable)
    fail(info.Env(), "SEGMENT_ARGUMENT", "the segment is mapped read-only");
  return segment;
}

uint64_t u64(const Napi::CallbackInfo &info, size_t at)
{
  bool lossless = false;
  if (!info[at].IsBigInt())
    fail(info.Env(), "SEGMENT_ARGUMENT", "the addon expected a bigint");
  uint64_t value = info[at].As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless)
    fail(info.Env(), "SEGMENT_ARGUMENT", "the addon expected a bigint of 0..2^64-1");
  return value;
}

/* An integer of 0..limit. */
uint64_t whole(const Napi::CallbackInfo &info, size_t at, double limit)
{
  if (!info[at].IsNumber())
    fail(info.Env(), "SEGMENT_ARGUMENT", "the addon expected a number");
  double value = info[at].As<Napi::Number>().DoubleValue();
  if (!(value >= 0 && value <= limit) || value != static_cast<double>(static_cast<uint64_t>(value)))
    fail(info.Env(), "SEGMENT_RANGE", "the addon expected a whole number in range");
  return static_cast<uint64_t>(value);
}

uint32_t u32(const Napi::CallbackInfo &info, size_t at)
{
  return static_cast<uint32_t>(whole(info, at, 4294967295.0));
}

/* The address of `length` bytes at the offset in argument 1, which must lie inside and be aligned. */
void *place(const Napi::CallbackInfo &info, const kedge_segment &segment, uint64_t length, uint64_t alignment,
            uint64_t first = 0)
{
  uint64_t offset = whole(info, 1, 9007199254740991.0);
  if (offset < first || offset > segment.size || length > segment.size - offset || offset % alignment != 0)
    fail(info.Env(), "SEGMENT_RANGE", "the offset lies outside of the segment or is not aligned");
  return static_cast<char *>(segment.base) + offset;
}

/* Where a writer's stores may go: never into the header. */
void *place_to_write(const Napi::CallbackInfo &info, const kedge_segment &segment, uint64_t length, uint64_t alignment)
{
  return place(info, segment, length, alignment, sizeof(kedge_segment_header));
}

std::string text(const Napi::CallbackInfo &info, size_t at)
{
  if (!info[at].IsString())
    fail(info.Env(), "SEGMENT_ARGUMENT", "the addon expected a string");
  return info[at].As<Napi::String>().Utf8Value();
}

struct kedge_beat &beat_of(const kedge_segment &segment)
{
  return static_cast<kedge_participant_segment *>(segment.base)->beat; /* the same place in every kind */
}
static_assert(offsetof(kedge_posture_segment, beat) == 128 && offsetof(kedge_warden_segment, beat) == 128 &&
                  offsetof(kedge_tables_segment, beat) == 128 && offsetof(kedge_participant_segment, beat) == 128 &&
                  offsetof(kedge_dataplane_segment, beat) == 128,
              "every kind beats at the same place");

kedge_posture_segment &posture(const Napi::CallbackInfo &info, const kedge_segment &segment)
{
  if (segment.kind != KEDGE_SEGMENT_POSTURE)
    fail(info.Env(), "SEGMENT_KIND", "the segment is not of kind posture");
  return *static_cast<kedge_posture_segment *>(segment.base);
}

Napi::BigInt big(Napi::Env env, uint64_t value) { return Napi::BigInt::New(env, value); }

/* ------------------------------------------------------ opening and closing */

/* { refusal, errno, text, replaced, handle? }: TypeScript makes the sentence. */
Napi::Value outcome(Napi::Env env, kedge_refusal refusal, int why, kedge_refusal replaced, std::unique_ptr<Segment> owned)
{
  Napi::Object result = Napi::Object::New(env);
  result.Set("refusal", Napi::Number::New(env, refusal));
  result.Set("errno", Napi::Number::New(env, refusal == KEDGE_REFUSAL_SYSTEM ? why : 0));
  result.Set("text", Napi::String::New(env, kedge_refusal_text(refusal)));
  result.Set("replaced", Napi::Number::New(env, replaced));
  if (refusal == KEDGE_REFUSAL_NONE && owned != nullptr)
    result.Set("handle", wrap(env, std::move(owned), SEGMENT_TAG));
  return result;
}

Napi::Value verify_directory(const Napi::CallbackInfo &info)
{
  kedge_refusal refusal = kedge_directory_verify(text(info, 0).c_str());
  return outcome(info.Env(), refusal, errno, KEDGE_REFUSAL_NONE, nullptr);
}

Napi::Value open_segment(const Napi::CallbackInfo &info)
{
  auto owned = std::make_unique<Segment>();
  std::string directory = text(info, 0), name = text(info, 1);
  auto kind = static_cast<kedge_segment_kind>(whole(info, 2, 5));
  uid_t owner = info[3].IsNumber() ? u32(info, 3) : KEDGE_ANY_OWNER;
  kedge_refusal refusal = kedge_segment_open(&owned->segment, directory.c_str(), name.c_str(), kind, owner);
  int why = errno;
  return outcome(info.Env(), refusal, why, KEDGE_REFUSAL_NONE, std::move(owned));
}

Napi::Value create_segment(const Napi::CallbackInfo &info)
{
  auto owned = std::make_unique<Segment>();
  std::string directory = text(info, 0), name = text(info, 1);
  auto kind = static_cast<kedge_segment_kind>(whole(info, 2, 5));
  kedge_refusal replaced = KEDGE_REFUSAL_NONE;
  kedge_refusal refusal = kedge_segment_create(&owned->segment, directory.c_str(), name.c_str(), kind, &replaced);
  int why = errno;
  return outcome(info.Env(), refusal, why, replaced, std::move(owned));
}

Napi::Value close_segment(const Napi::CallbackInfo &info)
{
  kedge_segment_close(&unwrap<Segment>(info.Env(), info[0], SEGMENT_TAG).segment);
  return info.Env().Undefined();
}

/* The header as it stands now; a refusal object without `name` when it is no longer good. */
Napi::Value header(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  const kedge_segment &segment = opened(info);
  kedge_segment_header h;
  kedge_refusal refusal = kedge_segment_header_read(&segment, &h);
  Napi::Object result = outcome(env, refusal, errno, KEDGE_REFUSAL_NONE, nullptr).As<Napi::Object>();
  if (refusal != KEDGE_REFUSAL_NONE)
    return result;
  result.Set("version", Napi::Number::New(env, h.version));
  result.Set("kind", Napi::Number::New(env, h.kind));
  result.Set("size", Napi::Number::New(env, static_cast<double>(h.size)));
  result.Set("bootId", Napi::Buffer<uint8_t>::Copy(env, h.boot_id, sizeof(h.boot_id)));
  result.Set("incarnation", big(env, h.incarnation));
  result.Set("writerStart", big(env, h.writer_start));
  result.Set("writerPid", Napi::Number::New(env, h.writer_pid));
  result.Set("writerUid", Napi::Number::New(env, h.writer_uid));
  result.Set("name", Napi::String::New(env, h.name, strnlen(h.name, sizeof(h.name))));
  return result;
}

Napi::Value current(const Napi::CallbackInfo &info)
{
  return Napi::Boolean::New(info.Env(), kedge_segment_current(&opened(info)));
}

Napi::Value lock_memory(const Napi::CallbackInfo &info)
{
  return Napi::Number::New(info.Env(), kedge_segment_lock_memory(&opened(info)));
}

/* --------------------------------------------------------- loads and stores */

Napi::Value load64(const Napi::CallbackInfo &info)
{
  auto *at = static_cast<std::atomic<uint64_t> *>(place(info, opened(info), 8, 8));
  return big(info.Env(), at->load(std::memory_order_acquire));
}

Napi::Value load32(const Napi::CallbackInfo &info)
{
  auto *at = static_cast<std::atomic<uint32_t> *>(place(info, opened(info), 4, 4));
  return Napi::Number::New(info.Env(), at->load(std::memory_order_acquire));
}

Napi::Value bytes(const Napi::CallbackInfo &info)
{
  const kedge_segment &segment = opened(info);
  uint64_t length = whole(info, 2, 9007199254740991.0);
  const void *from = place(info, segment, length, 1);
  return Napi::Buffer<uint8_t>::Copy(info.Env(), static_cast<const uint8_t *>(from), length);
}

Napi::Value store64(const Napi::CallbackInfo &info)
{
  auto *at = static_cast<std::atomic<uint64_t> *>(place_to_write(info, writable(info), 8, 8));
  at->store(u64(info, 2), std::memory_order_release);
  return info.Env().Undefined();
}

Napi::Value store32(const Napi::CallbackInfo &info)
{
  auto *at = static_cast<std::atomic<uint32_t> *>(place_to_write(info, writable(info), 4, 4));
  at->store(u32(info, 2), std::memory_order_release);
  return info.Env().Undefined();
}

Napi::Value write(const Napi::CallbackInfo &info)
{
  const kedge_segment &segment = writable(info);
  if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    fail(info.Env(), "SEGMENT_ARGUMENT", "the addon expected a Uint8Array");
  auto source = info[2].As<Napi::Uint8Array>();
  size_t length = source.ByteLength();
  void *to = place_to_write(info, segment, length, 1);
  if (length > 0)
    std::memcpy(to, source.Data(), length);
  return info.Env().Undefined();
}

/* ------------------------------------------------------------------- lines */

Napi::Value transition(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  kedge_transition_view v;
  if (!kedge_transition_read(&posture(info, opened(info)).transition, &v))
    return env.Undefined();
  Napi::Object line = Napi::Object::New(env);
  line.Set("epoch", big(env, v.epoch));
  line.Set("from", Napi::Number::New(env, v.from));
  line.Set("to", Napi::Number::New(env, v.to));
  line.Set("stage", Napi::Number::New(env, v.stage));
  line.Set("flags", Napi::Number::New(env, v.flags));
  line.Set("receivedAtNs", big(env, v.received_at_ns));
  line.Set("decidedAtNs", big(env, v.decided_at_ns));
  line.Set("stageAtNs", big(env, v.stage_at_ns));
  Napi::Array budget = Napi::Array::New(env, KEDGE_PATHS);
  for (uint32_t p = 0; p < KEDGE_PATHS; p++)
    budget.Set(p, big(env, v.budget_ns[p]));
  line.Set("budgetNs", budget);
  return line;
}

/* (handle, epoch, from, to, stage, flags, received, decided, stageAt, b0, b1, b2) */
Napi::Value write_transition(const Napi::CallbackInfo &info)
{
  kedge_posture_segment &segment = posture(info, writable(info));
  kedge_transition_view v{};
  v.epoch = u64(info, 1);
  v.from = u32(info, 2);
  v.to = u32(info, 3);
  v.stage = u32(info, 4);
  v.flags = u32(info, 5);
  v.received_at_ns = u64(info, 6);
  v.decided_at_ns = u64(info, 7);
  v.stage_at_ns = u64(info, 8);
  for (size_t p = 0; p < KEDGE_PATHS; p++)
    v.budget_ns[p] = u64(info, 9 + p);
  kedge_transition_write(&segment.transition, &v);
  kedge_bell_ring(&segment.beat.bell);
  return info.Env().Undefined();
}

/*
 * Lifts the calling thread above ordinary work for as long as it lives, where that is allowed. Between the
 * decision's stamp and the wake lie a few hundred nanoseconds; on a busy CPU losing it just there would cost
 * milliseconds of a budget that has one. JavaScript itself never runs raised.
 */
class Raised {
public:
  Raised()
  {
    sched_param priority{};
    priority.sched_priority = COMMIT_PRIORITY;
    policy_ = sched_getscheduler(0);
    if (policy_ != SCHED_FIFO && policy_ != SCHED_RR && sched_getparam(0, &before_) == 0)
      raised_ = sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) == 0;
  }
  ~Raised()
  {
    if (raised_)
      sched_setscheduler(0, policy_, &before_);
  }
  Raised(const Raised &) = delete;
  Raised &operator=(const Raised &) = delete;

private:
  int policy_ = 0;
  sched_param before_{};
  bool raised_ = false;
};

using Store = uint64_t (*)(kedge_posture_segment *, kedge_transition_view *, unsigned);

/*
 * Line and word of a decision in one call. Arguments (handle, epoch, from, to, received, …, b0, b1, b2, flags),
 * the budgets from `budgets` on. → { [stamp], storedAtNs }
 */
Napi::Value commit(const Napi::CallbackInfo &info, uint64_t decided_at_ns, size_t budgets, Store store, const char *stamp)
{
  Napi::Env env = info.Env();
  kedge_posture_segment &segment = posture(info, writable(info));
  kedge_transition_view v{};
  v.epoch = u64(info, 1);
  v.from = u32(info, 2);
  v.to = u32(info, 3);
  v.received_at_ns = u64(info, 4);
  v.decided_at_ns = decided_at_ns;
  for (size_t p = 0; p < KEDGE_PATHS; p++)
    v.budget_ns[p] = u64(info, budgets + p);
  uint32_t flags = u32(info, budgets + KEDGE_PATHS);
  uint64_t stamped;
  {
    Raised raised;
    stamped = store(&segment, &v, flags);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set(stamp, big(env, stamped));
  result.Set("storedAtNs", big(env, segment.stored_at_ns.load(std::memory_order_relaxed)));
  return result;
}

/* (handle, epoch, from, to, received, b0, b1, b2, flags) → { decidedAtNs, storedAtNs } */
Napi::Value tighten(const Napi::CallbackInfo &info)
{
  return commit(info, 0, 5, kedge_posture_tighten, "decidedAtNs");
}

/* (handle, epoch, from, to, received, decided, b0, b1, b2, flags) → { stageAtNs, storedAtNs } */
Napi::Value loosen(const Napi::CallbackInfo &info)
{
  return commit(info, u64(info, 5), 6, kedge_posture_loosen, "stageAtNs");
}

/* (handle, epoch, level, flags) → storedAtNs */
Napi::Value store_word(const Napi::CallbackInfo &info)
{
  kedge_posture_segment &segment = posture(info, writable(info));
  kedge_word word = kedge_word_of(u64(info, 1), u32(info, 3), u32(info, 2));
  segment.word.store(word, std::memory_order_release);
  uint64_t stored = kedge_now_ns();
  segment.stored_at_ns.store(stored, std::memory_order_release);
  kedge_bell_ring(&segment.beat.bell);
  return big(info.Env(), stored);
}

Napi::Value ack(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  kedge_ack_view v;
  const auto *slot = static_cast<const kedge_ack *>(place_to_write(info, opened(info), sizeof(kedge_ack), KEDGE_CACHE_LINE));
  if (!kedge_ack_read(slot, &v))
    return env.Undefined();
  Napi::Object line = Napi::Object::New(env);
  line.Set("epoch", big(env, v.epoch));
  line.Set("startedAtNs", big(env, v.started_at_ns));
  line.Set("finishedAtNs", big(env, v.finished_at_ns));
  line.Set("stage", Napi::Number::New(env, v.stage));
  line.Set("outcome", Napi::Number::New(env, v.outcome));
  line.Set("level", Napi::Number::New(env, v.level));
  line.Set("changes", Napi::Number::New(env, v.changes));
  return line;
}

/* (handle, offset, epoch, started, finished, stage, outcome, level, changes) */
Napi::Value write_ack(const Napi::CallbackInfo &info)
{
  const kedge_segment &segment = writable(info);
  auto *slot = static_cast<kedge_ack *>(place_to_write(info, segment, sizeof(kedge_ack), KEDGE_CACHE_LINE));
  kedge_ack_view v{};
  v.epoch = u64(info, 2);
  v.started_at_ns = u64(info, 3);
  v.finished_at_ns = u64(info, 4);
  v.stage = u32(info, 5);
  v.outcome = u32(info, 6);
  v.level = u32(info, 7);
  v.changes = u32(info, 8);
  kedge_ack_write(slot, &v);
  kedge_bell_ring(&beat_of(segment).bell);
  return info.Env().Undefined();
}

Napi::Value beat(const Napi::CallbackInfo &info)
{
  struct kedge_beat &line = beat_of(writable(info));
  line.serving.store(info[1].ToBoolean() ? 1 : 0, std::memory_order_release);
  kedge_beat(&line, kedge_now_ns());
  return info.Env().Undefined();
}

Napi::Value ring(const Napi::CallbackInfo &info)
{
  kedge_bell_ring(&beat_of(writable(info)).bell);
  return info.Env().Undefined();
}

// What the wall clock is ahead of the monotonic one: read between two readings of that, halved.
Napi::Value wall_offset(const Napi::CallbackInfo &info) {
  const uint64_t before = kedge_now_ns();
  timespec wall{};
  clock_gettime(CLOCK_REALTIME, &wall);
  const uint64_t after = kedge_now_ns();
  const int64_t at = static_cast<int64_t>(before + (after - before) / 2);
  return Napi::BigInt::New(info.Env(), static_cast<int64_t>(wall.tv_sec) * 1000000000 + wall.tv_nsec - at);
}

Napi::Value monotonic(const Napi::CallbackInfo &info) { return big(info.Env(), kedge_now_ns()); }

Napi::Value crc32(const Napi::CallbackInfo &info)
{
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    fail(info.Env(), "SEGMENT_ARGUMENT", "the addon expected a Uint8Array");
  auto source = info[0].As<Napi::Uint8Array>();
  return Napi::Number::New(info.Env(), kedge_crc32(u32(info, 1), source.Data(), source.ByteLength()));
}

/* ---------------------------------------------------------------- listener */

/*
 * One native thread that waits on the bells of several segments. It holds mappings of its own of their
 * first pages, so that it shares no life time with the segment handles.
 *
 * At most one delivery is on its way to JavaScript. While it is, the thread sleeps on `taken` and not on
 * the bells: a busy event loop costs no wake-ups, and a writer that rings without end cannot make a
 * real-time thread spin. What rings meanwhile is counted from the bells' values and delivered together.
 */
class Listener {
public:
  ~Listener() { stop(); }

  std::vector<void *> pages;
  std::vector<const std::atomic<uint32_t> *> bells; /* the last one is `control` */
  std::vector<uint32_t> seen;
  std::atomic<uint32_t> control{0};
  std::atomic<bool> stopping{false};
  std::atomic<bool> waiting_for_js{false};
  bool realtime = false;
  uint64_t timeout_ns = UINT64_MAX;
  std::thread thread;
  napi_threadsafe_function deliver = nullptr;
  napi_ref self = nullptr;

  std::mutex guard; /* of what follows */
  uint64_t changed = 0;
  uint64_t pending = 0; /* rings not yet delivered */
  uint64_t rings = 0, delivered = 0, coalesced = 0;

  void run()
  {
    /* One snapshot of the bells was taken by the caller, before listen() returned: nothing rung since is missed. */
    while (!stopping.load(std::memory_order_acquire)) {
      bool news = look();
      if (!news) {
        int r = wait(bells.size(), timeout_ns);
        if (r == 0)
          continue;
        if (r != ETIMEDOUT)
          break; /* cannot happen with bells of our own making; never spin on it */
        look();
      }
      waiting_for_js.store(true, std::memory_order_release);
      if (napi_call_threadsafe_function(deliver, nullptr, napi_tsfn_nonblocking) != napi_ok)
        break; /* the environment is closing */
      while (waiting_for_js.load(std::memory_order_acquire) && !stopping.load(std::memory_order_acquire)) {
        uint32_t value = control.load(std::memory_order_acquire);
        if (!waiting_for_js.load(std::memory_order_acquire) || stopping.load(std::memory_order_acquire))
          break;
        const std::atomic<uint32_t> *one[] = {&control};
        kedge_bells_wait(one, &value, 1, UINT64_MAX);
      }
    }
  }

  /* On the JavaScript thread: takes what has changed since, and lets the thread go on. */
  uint64_t take(bool &rang)
  {
    uint64_t mask;
    {
      std::lock_guard<std::mutex> hold(guard);
      mask = changed;
      rang = pending > 0;
      if (rang) {
        delivered++;
        coalesced += pending - 1;
      }
      changed = 0;
      pending = 0;
    }
    waiting_for_js.store(false, std::memory_order_release);
    kedge_bell_ring(&control);
    return mask;
  }

  /* Stops the thread and gives everything back. On the JavaScript thread only; a second call does nothing. */
  void stop()
  {
    if (!stopping.exchange(true)) {
      kedge_bell_ring(&control);
      if (thread.joinable())
        thread.join();
      for (void *page : pages)
        munmap(page, PAGE);
      pages.clear();
    }
  }

  static constexpr size_t PAGE = 4096;

private:
  /* Folds the bells' present values into what waits for delivery; true when anything rang. */
  bool look()
  {
    uint64_t mask = 0, count = 0;
    for (size_t i = 0; i + 1 < bells.size(); i++) {
      uint32_t value = bells[i]->load(std::memory_order_acquire);
      if (value != seen[i]) {
        mask |= UINT64_C(1) << i;
        count += static_cast<uint32_t>(value - seen[i]);
        seen[i] = value;
      }
    }
    seen.back() = control.load(std::memory_order_acquire);
    if (mask == 0)
      return false;
    std::lock_guard<std::mutex> hold(guard);
    changed |= mask;
    pending += count;
    rings += count;
    return true;
  }

  int wait(size_t count, uint64_t timeout)
  {
    if (stopping.load(std::memory_order_acquire))
      return 0;
    return kedge_bells_wait(bells.data(), seen.data(), static_cast<unsigned>(count), timeout);
  }
};

/* What has a thread that calls JavaScript (a listener, a watch of a map) ends it; a second call does nothing. */
template <class Teller> void end_teller(void *data)
{
  auto *teller = static_cast<Teller *>(data);
  teller->stop();
  if (teller->deliver != nullptr) {
    napi_release_threadsafe_function(teller->deliver, napi_tsfn_abort);
    teller->deliver = nullptr;
  }
}

/* Starts its thread. Signals are for the threads that Node knows: the new thread inherits a full mask. */
template <class Teller> void start_teller(Napi::Env env, Teller *teller, const char *name, const char *what)
{
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  try {
    teller->thread = std::thread([teller, name] {
      pthread_setname_np(pthread_self(), name);
      teller->run();
    });
  } catch (const std::system_error &error) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    napi_release_threadsafe_function(teller->deliver, napi_tsfn_abort);
    teller->deliver = nullptr;
    fail(env, "SEGMENT_SYSTEM", std::string(what) + " could not be started: " + error.what());
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/* True when its thread runs with real-time priority now. */
template <class Teller> bool lift_teller(Teller &teller, int level)
{
  sched_param priority{};
  priority.sched_priority = level;
  return pthread_setschedparam(teller.thread.native_handle(), SCHED_FIFO, &priority) == 0;
}

/* The handle in JavaScript. Nobody has to hold on to it for the thread to be heard: it lives until it is closed. */
template <class Teller> Napi::Object keep_teller(Napi::Env env, std::unique_ptr<Teller> owned, const napi_type_tag &tag)
{
  Teller *teller = owned.get();
  Napi::Object handle = wrap(env, std::move(owned), tag);
  napi_create_reference(env, handle, 1, &teller->self);
  napi_add_env_cleanup_hook(env, end_teller<Teller>, teller);
  return handle;
}

/* True when it was open. */
template <class Teller> bool close_teller(Napi::Env env, Teller &teller)
{
  if (teller.deliver == nullptr)
    return false;
  napi_remove_env_cleanup_hook(env, end_teller<Teller>, &teller);
  end_teller<Teller>(&teller);
  napi_delete_reference(env, teller.self);
  teller.self = nullptr;
  return true;
}

/*
 * Calls JavaScript from the event loop, in plain C calls each of which may fail when this thread is just being
 * terminated: then nobody is left to be told, and an exception thrown through here would end the whole process.
 */
template <size_t N> void tell(napi_env raw, napi_value callback, napi_value (&arguments)[N])
{
  napi_value undefined, result;
  if (napi_get_undefined(raw, &undefined) != napi_ok ||
      napi_call_function(raw, undefined, callback, N, arguments, &result) != napi_pending_exception)
    return;
  bool pending = false;
  napi_value thrown;
  if (napi_is_exception_pending(raw, &pending) == napi_ok && pending &&
      napi_get_and_clear_last_exception(raw, &thrown) == napi_ok)
    napi_fatal_exception(raw, thrown); /* like any throw in an event handler: uncaughtException */
}

void listener_deliver(napi_env raw, napi_value callback, void *context, void *)
{
  auto *listener = static_cast<Listener *>(context);
  if (raw == nullptr || callback == nullptr || listener->stopping.load(std::memory_order_acquire))
    return;
  bool rang = false;
  uint64_t mask = listener->take(rang);
  napi_handle_scope scope;
  if (napi_open_handle_scope(raw, &scope) != napi_ok)
    return;
  napi_value changed[1], index;
  bool good = napi_create_array(raw, &changed[0]) == napi_ok;
  for (uint32_t i = 0, n = 0; good && i < KEDGE_MAX_BELLS; i++)
    if ((mask >> i & 1) != 0)
      good = napi_create_uint32(raw, i, &index) == napi_ok && napi_set_element(raw, changed[0], n++, index) == napi_ok;
  if (good)
    tell(raw, callback, changed);
  napi_close_handle_scope(raw, scope);
}

/* (handles, onRing, timeoutMs | -1, realtime) → handle */
Napi::Value listen(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  if (!info[0].IsArray() || !info[1].IsFunction() || !info[2].IsNumber())
    fail(env, "SEGMENT_ARGUMENT", "the addon expected segments, a function and a number");
  auto handles = info[0].As<Napi::Array>();
  if (handles.Length() == 0 || handles.Length() >= KEDGE_MAX_BELLS)
    fail(env, "SEGMENT_ARGUMENT", "the addon expected 1 to 63 segments");
  auto owned = std::make_unique<Listener>();
  for (uint32_t i = 0; i < handles.Length(); i++) {
    const kedge_segment &segment = unwrap<Segment>(env, handles.Get(i), SEGMENT_TAG).segment;
    if (segment.base == nullptr)
      fail(env, "SEGMENT_CLOSED", "the segment is closed");
    void *page = mmap(nullptr, Listener::PAGE, PROT_READ, MAP_SHARED, segment.fd, 0);
    if (page == MAP_FAILED)
      fail(env, "SEGMENT_SYSTEM", "the bell could not be mapped: " + std::string(strerror(errno)));
    owned->pages.push_back(page);
    const auto *line = reinterpret_cast<const struct kedge_beat *>(static_cast<char *>(page) + offsetof(kedge_participant_segment, beat));
    owned->bells.push_back(&line->bell);
    owned->seen.push_back(line->bell.load(std::memory_order_acquire));
  }
  owned->bells.push_back(&owned->control);
  owned->seen.push_back(0);
  double timeout = info[2].As<Napi::Number>().DoubleValue();
  if (timeout >= 0)
    owned->timeout_ns = static_cast<uint64_t>(timeout * 1e6);

  Listener *listener = owned.get();
  if (napi_create_threadsafe_function(env, info[1], nullptr, Napi::String::New(env, "kedge listener"), 2, 1, nullptr,
                                      nullptr, listener, listener_deliver, &listener->deliver) != napi_ok)
    fail(env, "SEGMENT_ADDON", "the addon could not make a thread-safe function");
  bool want_realtime = info[3].ToBoolean();
  start_teller(env, listener, "kedge-listener", "the listener thread");
  if (want_realtime) {
    for (void *page : listener->pages)
      mlock(page, Listener::PAGE); /* as far as limits allow: a fault would cost what the priority gains */
    listener->realtime = lift_teller(*listener, LISTENER_PRIORITY);
  }
  return keep_teller(env, std::move(owned), LISTENER_TAG);
}

Napi::Value close_listener(const Napi::CallbackInfo &info)
{
  close_teller(info.Env(), unwrap<Listener>(info.Env(), info[0], LISTENER_TAG));
  return info.Env().Undefined();
}

Napi::Value listener_counts(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  Listener &listener = unwrap<Listener>(env, info[0], LISTENER_TAG);
  std::lock_guard<std::mutex> hold(listener.guard);
  Napi::Object counts = Napi::Object::New(env);
  counts.Set("rings", Napi::Number::New(env, static_cast<double>(listener.rings)));
  counts.Set("delivered", Napi::Number::New(env, static_cast<double>(listener.delivered)));
  counts.Set("coalesced", Napi::Number::New(env, static_cast<double>(listener.coalesced)));
  counts.Set("pending", Napi::Number::New(env, static_cast<double>(listener.pending)));
  return counts;
}

Napi::Value listener_realtime(const Napi::CallbackInfo &info)
{
  return Napi::Boolean::New(info.Env(), unwrap<Listener>(info.Env(), info[0], LISTENER_TAG).realtime);
}

/* (listener, keep): whether it keeps the process alive. */
Napi::Value listener_keep(const Napi::CallbackInfo &info)
{
  Listener &listener = unwrap<Listener>(info.Env(), info[0], LISTENER_TAG);
  if (listener.deliver != nullptr) {
    if (info[1].ToBoolean())
      napi_ref_threadsafe_function(info.Env(), listener.deliver);
    else
      napi_unref_threadsafe_function(info.Env(), listener.deliver);
  }
  return info.Env().Undefined();
}

/* ---------------------------------------------------------------- BPF maps */

/* The mapping is shared with a watch, which may outlive the handle. */
struct BpfMap {
  kedge_bpf_map map{};
  BpfMap() { map.fd = -1; }
  ~BpfMap() { kedge_bpf_map_close(&map); }
};
using SharedBpfMap = std::shared_ptr<BpfMap>;

kedge_bpf_map &opened_bpf(const Napi::CallbackInfo &info)
{
  SharedBpfMap &shared = unwrap<SharedBpfMap>(info.Env(), info[0], BPF_MAP_TAG);
  if (shared == nullptr)
    fail(info.Env(), "SEGMENT_CLOSED", "the map is closed");
  return shared->map;
}

/* { refusal, errno, text, handle?, id? } */
Napi::Value bpf_outcome(Napi::Env env, kedge_bpf_refusal refusal, int why, SharedBpfMap map)
{
  Napi::Object result = Napi::Object::New(env);
  bool system = refusal == KEDGE_BPF_SYSTEM || refusal == KEDGE_BPF_UNAVAILABLE;
  result.Set("refusal", Napi::Number::New(env, refusal));
  result.Set("errno", Napi::Number::New(env, system ? why : 0));
  result.Set("text", Napi::String::New(env, kedge_bpf_refusal_text(refusal)));
  if (refusal == KEDGE_BPF_NONE) {
    result.Set("id", Napi::Number::New(env, map->map.id));
    result.Set("handle", wrap(env, std::make_unique<SharedBpfMap>(std::move(map)), BPF_MAP_TAG));
  }
  return result;
}

kedge_bpf_shape bpf_shape(const Napi::CallbackInfo &info, size_t at)
{
  kedge_bpf_shape shape{};
  shape.value_size = static_cast<uint32_t>(whole(info, at, 4096));
  shape.entries = static_cast<uint32_t>(whole(info, at + 1, 1024));
  shape.programs_only_read = info[at + 2].ToBoolean();
  if (shape.value_size == 0 || shape.value_size % 8 != 0 || shape.entries == 0)
    fail(info.Env(), "SEGMENT_RANGE", "the addon expected values of whole words");
  return shape;
}

/* (path, valueSize, entries, programsOnlyRead, owner | undefined, access) */
Napi::Value open_bpf(const Napi::CallbackInfo &info)
{
  auto owned = std::make_shared<BpfMap>();
  kedge_bpf_shape shape = bpf_shape(info, 1);
  uid_t owner = info[4].IsNumber() ? u32(info, 4) : KEDGE_BPF_ANY_OWNER;
  std::string path = text(info, 0);
  kedge_bpf_refusal refusal = kedge_bpf_map_open(&owned->map, path.c_str(), &shape, owner,
                                                 static_cast<kedge_bpf_access>(whole(info, 5, KEDGE_BPF_WRITE)));
  int why = errno;
  return bpf_outcome(info.Env(), refusal, why, std::move(owned));
}

/* (path, valueSize, entries, programsOnlyRead, name, uid, gid, mode) */
Napi::Value create_bpf(const Napi::CallbackInfo &info)
{
  auto owned = std::make_shared<BpfMap>();
  kedge_bpf_shape shape = bpf_shape(info, 1);
  std::string path = text(info, 0), name = text(info, 4);
  kedge_bpf_refusal refusal = kedge_bpf_map_create(&owned->map, path.c_str(), name.c_str(), &shape, u32(info, 5),
                                                   u32(info, 6), static_cast<mode_t>(whole(info, 7, 0777)));
  int why = errno;
  return bpf_outcome(info.Env(), refusal, why, std::move(owned));
}

Napi::Value close_bpf(const Napi::CallbackInfo &info)
{
  unwrap<SharedBpfMap>(info.Env(), info[0], BPF_MAP_TAG).reset();
  return info.Env().Undefined();
}

/* The offset in argument 1, of a word in all values. */
uint64_t bpf_offset(const Napi::CallbackInfo &info, const kedge_bpf_map &map)
{
  uint64_t offset = whole(info, 1, 9007199254740991.0);
  if (offset % 8 != 0 || map.size < 8 || offset > map.size - 8)
    fail(info.Env(), "SEGMENT_RANGE", "the offset lies outside of the map or is not aligned");
  return offset;
}

const std::atomic<uint64_t> &bpf_word(const kedge_bpf_map &map, uint64_t offset)
{
  return *reinterpret_cast<const std::atomic<uint64_t> *>(static_cast<const char *>(map.base) + offset);
}

Napi::Value bpf_load64(const Napi::CallbackInfo &info)
{
  const kedge_bpf_map &map = opened_bpf(info);
  uint64_t offset = bpf_offset(info, map);
  if (map.base != nullptr)
    return big(info.Env(), bpf_word(map, offset).load(std::memory_order_acquire));
  std::vector<uint64_t> value(map.value_size / 8);
  if (kedge_bpf_map_look_up(&map, static_cast<uint32_t>(offset / map.value_size), value.data()) != 0)
    fail(info.Env(), "BPFMAP_SYSTEM", std::string("the map could not be read: ") + strerror(errno));
  return big(info.Env(), value[offset % map.value_size / 8]);
}

/* (handle, index, bytes) → errno, 0 when it was written */
Napi::Value bpf_update(const Napi::CallbackInfo &info)
{
  const kedge_bpf_map &map = opened_bpf(info);
  uint32_t index = u32(info, 1);
  if (map.fd < 0 || map.base == nullptr)
    fail(info.Env(), "SEGMENT_ARGUMENT", "the map was opened for reading");
  if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array ||
      info[2].As<Napi::Uint8Array>().ByteLength() != map.value_size || index >= map.size / map.value_size)
    fail(info.Env(), "SEGMENT_RANGE", "the addon expected a value of the map's size and one of its indices");
  int done = kedge_bpf_map_update(&map, index, info[2].As<Napi::Uint8Array>().Data());
  return Napi::Number::New(info.Env(), done == 0 ? 0 : errno);
}

/*
 * A thread that looks at one word of a map every period and calls JavaScript when it has changed. It always sleeps in
 * between: at real-time priority a thread that spins starves everybody. What was seen while JavaScript was busy is
 * kept in order, up to a bound; beyond it the newest takes the place of the last and is counted.
 */
class BpfWatch {
public:
  ~BpfWatch() { stop(); }

  static constexpr size_t KEPT = 1024; /* a second of changes at every look */
  SharedBpfMap map;
  const std::atomic<uint64_t> *word = nullptr;
  uint64_t last = 0;
  uint64_t period_ns = 0;
  std::atomic<bool> stopping{false};
  bool realtime = false;
  std::thread thread;
  napi_threadsafe_function deliver = nullptr;
  napi_ref self = nullptr;

  std::mutex guard; /* of what follows */
  std::vector<std::pair<uint64_t, uint64_t>> seen; /* value, when */
  bool under_way = false;
  uint64_t changes = 0, overrun = 0;

  void run()
  {
    timespec next{};
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (!stopping.load(std::memory_order_acquire)) {
      uint64_t value = word->load(std::memory_order_acquire);
      if (value != last) {
        last = value;
        if (!tell(value))
          break; /* the environment is closing */
      }
      clock_gettime(CLOCK_MONOTONIC, &next);
      uint64_t at = static_cast<uint64_t>(next.tv_nsec) + period_ns;
      next.tv_sec += static_cast<time_t>(at / 1000000000u);
      next.tv_nsec = static_cast<long>(at % 1000000000u);
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
    }
  }

  void stop()
  {
    if (!stopping.exchange(true) && thread.joinable())
      thread.join();
  }

private:
  bool tell(uint64_t value)
  {
    std::lock_guard<std::mutex> hold(guard);
    changes++;
    if (seen.size() < KEPT) {
      seen.emplace_back(value, kedge_now_ns());
    } else {
      overrun++;
      seen.back() = {value, kedge_now_ns()};
    }
    if (under_way)
      return true;
    under_way = true;
    return napi_call_threadsafe_function(deliver, nullptr, napi_tsfn_nonblocking) == napi_ok;
  }
};

/* Calls onChange(values, seenAtNs): two arrays of bigints of the same length. */
void bpf_watch_deliver(napi_env raw, napi_value callback, void *context, void *)
{
  auto *watch = static_cast<BpfWatch *>(context);
  if (raw == nullptr || callback == nullptr || watch->stopping.load(std::memory_order_acquire))
    return;
  std::vector<std::pair<uint64_t, uint64_t>> seen;
  {
    std::lock_guard<std::mutex> hold(watch->guard);
    seen.swap(watch->seen);
    watch->under_way = false;
  }
  napi_handle_scope scope;
  if (napi_open_handle_scope(raw, &scope) != napi_ok)
    return;
  napi_value arguments[2], value;
  bool good = napi_create_array(raw, &arguments[0]) == napi_ok && napi_create_array(raw, &arguments[1]) == napi_ok;
  for (uint32_t i = 0; good && i < seen.size(); i++)
    good = napi_create_bigint_uint64(raw, seen[i].first, &value) == napi_ok &&
           napi_set_element(raw, arguments[0], i, value) == napi_ok &&
           napi_create_bigint_uint64(raw, seen[i].second, &value) == napi_ok &&
           napi_set_element(raw, arguments[1], i, value) == napi_ok;
  if (good)
    tell(raw, callback, arguments);
  napi_close_handle_scope(raw, scope);
}

/* (map, offset, last, onChange, periodUs, realtime) → handle; tells what differs from `last` */
Napi::Value watch_bpf(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  auto owned = std::make_unique<BpfWatch>();
  const kedge_bpf_map &map = opened_bpf(info);
  if (map.base == nullptr)
    fail(env, "SEGMENT_ARGUMENT", "the map is not mapped");
  owned->word = &bpf_word(map, bpf_offset(info, map));
  owned->map = unwrap<SharedBpfMap>(env, info[0], BPF_MAP_TAG);
  owned->last = u64(info, 2);
  if (!info[3].IsFunction())
    fail(env, "SEGMENT_ARGUMENT", "the addon expected a function");
  owned->period_ns = whole(info, 4, 1000000.0) * 1000;
  if (owned->period_ns < 100000)
    fail(env, "SEGMENT_RANGE", "the addon expected a period of at least 100 microseconds");
  BpfWatch *watch = owned.get();
  if (napi_create_threadsafe_function(env, info[3], nullptr, Napi::String::New(env, "kedge bpf watch"), 2, 1, nullptr,
                                      nullptr, watch, bpf_watch_deliver, &watch->deliver) != napi_ok)
    fail(env, "SEGMENT_ADDON", "the addon could not make a thread-safe function");
  start_teller(env, watch, "kedge-bpf", "the watching thread");
  if (info[5].ToBoolean())
    watch->realtime = lift_teller(*watch, COMMIT_PRIORITY);
  napi_unref_threadsafe_function(env, watch->deliver); /* it keeps no process alive */
  return keep_teller(env, std::move(owned), BPF_WATCH_TAG);
}

Napi::Value close_bpf_watch(const Napi::CallbackInfo &info)
{
  BpfWatch &watch = unwrap<BpfWatch>(info.Env(), info[0], BPF_WATCH_TAG);
  if (close_teller(info.Env(), watch))
    watch.map.reset();
  return info.Env().Undefined();
}

/* { changes, overrun, realtime } */
Napi::Value bpf_watch_counts(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  BpfWatch &watch = unwrap<BpfWatch>(env, info[0], BPF_WATCH_TAG);
  std::lock_guard<std::mutex> hold(watch.guard);
  Napi::Object counts = Napi::Object::New(env);
  counts.Set("changes", Napi::Number::New(env, static_cast<double>(watch.changes)));
  counts.Set("overrun", Napi::Number::New(env, static_cast<double>(watch.overrun)));
  counts.Set("realtime", Napi::Boolean::New(env, watch.realtime));
  return counts;
}

/* ------------------------------------------------------------------ layout */

Napi::Object layout(Napi::Env env)
{
  Napi::Object all = Napi::Object::New(env);
  Napi::Object group;
  auto begin = [&](const char *name) {
    group = Napi::Object::New(env);
    all.Set(name, group);
  };
  auto put = [&](const char *name, double value) { group.Set(name, Napi::Number::New(env, value)); };
#define STRUCT(name, type)                                                                                             \
  {                                                                                                                    \
    using S = type;                                                                                                    \
    begin(name);                                                                                                       \
    put("size", sizeof(S));
#define FIELD(name, field) put(name, offsetof(S, field));
#define END }
  STRUCT("header", kedge_segment_header)
    FIELD("magic", magic) FIELD("version", version) FIELD("kind", kind) FIELD("bytes", size) FIELD("bootId", boot_id)
    FIELD("incarnation", incarnation) FIELD("writerStart", writer_start) FIELD("writerPid", writer_pid)
    FIELD("writerUid", writer_uid) FIELD("name", name) FIELD("checksum", checksum) FIELD("opening", opening)
  END
  STRUCT("beat", struct kedge_beat)
    FIELD("atNs", at_ns) FIELD("count", count) FIELD("bell", bell) FIELD("serving", serving)
  END
  STRUCT("posture", kedge_posture_segment)
    FIELD("header", header) FIELD("beat", beat) FIELD("word", word) FIELD("storedAtNs", stored_at_ns)
    FIELD("transition", transition)
  END
  STRUCT("transition", kedge_transition)
    FIELD("sequence", sequence) FIELD("epoch", epoch) FIELD("from", from) FIELD("to", to) FIELD("stage", stage)
    FIELD("flags", flags) FIELD("receivedAtNs", received_at_ns) FIELD("decidedAtNs", decided_at_ns)
    FIELD("stageAtNs", stage_at_ns) FIELD("budgetNs", budget_ns)
  END
  STRUCT("warden", kedge_warden_segment)
    FIELD("header", header) FIELD("beat", beat) FIELD("failClosed", fail_closed) FIELD("budgetNs", budget_ns)
    FIELD("silenceKillNs", silence_kill_ns) FIELD("staleNs", stale_ns) FIELD("violations", violations)
    FIELD("realtime", realtime) FIELD("violation", violation)
  END
  STRUCT("failClosed", kedge_fail_closed)
    FIELD("word", word) FIELD("setAtNs", set_at_ns) FIELD("clearedAtNs", cleared_at_ns) FIELD("count", count)
  END
  STRUCT("violation", kedge_violation)
    FIELD("sequence", sequence) FIELD("atNs", at_ns) FIELD("epoch", epoch) FIELD("deadlineNs", deadline_ns)
    FIELD("kind", kind) FIELD("path", path) FIELD("level", level) FIELD("outcome", outcome)
    FIELD("actedAtNs", acted_at_ns) FIELD("subject", subject)
  END
  STRUCT("participant", kedge_participant_segment)
    FIELD("header", header) FIELD("beat", beat) FIELD("path", path) FIELD("ack", ack)
  END
  STRUCT("ack", kedge_ack)
    FIELD("sequence", sequence) FIELD("epoch", epoch) FIELD("startedAtNs", started_at_ns)
    FIELD("finishedAtNs", finished_at_ns) FIELD("stage", stage) FIELD("outcome", outcome) FIELD("level", level)
    FIELD("changes", changes)
  END
  STRUCT("flowKey", kedge_flow_key)
    FIELD("source", source) FIELD("destination", destination) FIELD("sourcePort", source_port)
    FIELD("destinationPort", destination_port) FIELD("protocol", protocol) FIELD("sourceZone", source_zone)
    FIELD("destinationZone", destination_zone)
  END
  STRUCT("shape", kedge_shape)
    FIELD("sourcePrefix", source_prefix) FIELD("destinationPrefix", destination_prefix)
    FIELD("matchProtocol", match_protocol) FIELD("matchSourcePort", match_source_port)
    FIELD("matchDestinationPort", match_destination_port) FIELD("matchSourceZone", match_source_zone)
    FIELD("matchDestinationZone", match_destination_zone)
  END
  STRUCT("entry", kedge_entry)
    FIELD("key", key) FIELD("id", id) FIELD("verdict", verdict) FIELD("shape", shape) FIELD("rank", rank)
  END
  STRUCT("familyTable", kedge_family_table)
    FIELD("shapes", shapes) FIELD("shape", shape) FIELD("mask", mask) FIELD("highest", highest)
    FIELD("sieved", sieved) FIELD("sieve", sieve)
  END
  STRUCT("levelTable", kedge_level_table)
    FIELD("checksum", checksum) FIELD("valid", valid) FIELD("level", level) FIELD("flags", flags)
    FIELD("generation", generation) FIELD("entries", entries) FIELD("seed", seed) FIELD("slots", slots)
    FIELD("pair", pair) FIELD("family", family) FIELD("entry", entry) FIELD("slot", slot)
  END
  STRUCT("bank", kedge_bank)
    FIELD("generation", generation) FIELD("builtAtNs", built_at_ns) FIELD("accordsHash", accords_hash)
    FIELD("level", level)
  END
  STRUCT("tables", kedge_tables_segment)
    FIELD("header", header) FIELD("beat", beat) FIELD("generation", generation) FIELD("bank", bank)
  END
  STRUCT("telemetry", kedge_telemetry)
    FIELD("sequence", sequence) FIELD("atNs", at_ns) FIELD("epoch", epoch) FIELD("value", value)
    FIELD("droppedPair", dropped_pair) FIELD("droppedEntry", dropped_entry) FIELD("kind", kind)
    FIELD("oldLevel", old_level) FIELD("newLevel", new_level) FIELD("seenAtNs", seen_at_ns)
  END
  STRUCT("workerCounters", kedge_worker_counters)
    FIELD("reason", reason) FIELD("pair", pair) FIELD("hit", hit) FIELD("application", application)
    FIELD("queue", queue)
  END
  STRUCT("queueCounters", kedge_queue_counters)
    FIELD("sent", sent) FIELD("waited", waited) FIELD("lost", lost) FIELD("withdrawn", withdrawn)
    FIELD("waiting", waiting)
  END
  STRUCT("flowRecord", kedge_flow_record)
    FIELD("firstAtNs", first_at_ns) FIELD("lastAtNs", last_at_ns) FIELD("packets", packets) FIELD("bytes", bytes)
    FIELD("epoch", epoch) FIELD("key", key) FIELD("entry", entry) FIELD("level", level) FIELD("verdict", verdict)
    FIELD("reason", reason) FIELD("application", application) FIELD("end", end) FIELD("tcpFlags", tcp_flags)
    FIELD("dscp", dscp) FIELD("nameBytes", name_bytes) FIELD("nameCut", name_cut) FIELD("name", name)
  END
  STRUCT("flowSlot", kedge_flow_slot)
    FIELD("sequence", sequence) FIELD("record", word)
  END
  STRUCT("worker", kedge_worker)
    FIELD("ack", ack) FIELD("generation", generation) FIELD("loopAtNs", loop_at_ns) FIELD("received", received)
    FIELD("sent", sent) FIELD("switches", switches) FIELD("telemetryWritten", telemetry_written) FIELD("tid", tid)
    FIELD("live", live) FIELD("failClosedSeen", fail_closed_seen)
    FIELD("flowsWritten", flows_written) FIELD("flowsBegun", flows_begun) FIELD("flowsEvicted", flows_evicted)
    FIELD("flowsLive", flows_live) FIELD("telemetry", telemetry) FIELD("flow", flow) FIELD("counters", counters)
  END
  STRUCT("dataplane", kedge_dataplane_segment)
    FIELD("header", header) FIELD("beat", beat) FIELD("workers", workers) FIELD("safeLevel", safe_level)
    FIELD("worker", worker)
  END
#undef STRUCT
#undef FIELD
#undef END
  begin("limits");
  put("layoutVersion", KEDGE_LAYOUT_VERSION);
  put("cacheLine", KEDGE_CACHE_LINE);
  put("levels", KEDGE_LEVELS);
  put("paths", KEDGE_PATHS);
  put("nameBytes", KEDGE_NAME_BYTES);
  put("maxWorkers", KEDGE_MAX_WORKERS);
  put("maxZones", KEDGE_MAX_ZONES);
  put("zoneNone", KEDGE_ZONE_NONE);
  put("zoneManagement", KEDGE_ZONE_MANAGEMENT);
  put("maxEntries", KEDGE_MAX_ENTRIES);
  put("maxShapes", KEDGE_MAX_SHAPES);
  put("banks", KEDGE_BANKS);
  put("families", KEDGE_FAMILIES);
  put("slots", KEDGE_SLOTS);
  put("sieves", KEDGE_SIEVES);
  put("maxProbes", KEDGE_MAX_PROBES);
  put("violationSlots", KEDGE_VIOLATION_SLOTS);
  put("telemetrySlots", KEDGE_TELEMETRY_SLOTS);
  put("reasons", KEDGE_REASONS);
  put("applications", KEDGE_APPLICATIONS);
  put("flowSlots", KEDGE_FLOW_SLOTS);
  put("flowNameBytes", KEDGE_FLOW_NAME_BYTES);
  put("queues", KEDGE_QUEUES);
  put("maxBells", KEDGE_MAX_BELLS);
  put("seqlockTries", KEDGE_SEQLOCK_TRIES);
  put("pathNone", KEDGE_PATH_NONE);

  Napi::Object enums = Napi::Object::New(env);
  all.Set("enums", enums);
  auto names = [&](const char *name) {
    group = Napi::Object::New(env);
    enums.Set(name, group);
  };
#define E(prefix, name) put(#name, KEDGE_##prefix##_##name);
  names("segmentKind");
  E(SEGMENT, POSTURE) E(SEGMENT, WARDEN) E(SEGMENT, TABLES) E(SEGMENT, PARTICIPANT) E(SEGMENT, DATAPLANE)
  names("path");
  E(PATH, DATAPLANE) E(PATH, OVERLAY) E(PATH, UNDERLAY)
  names("level");
  E(LEVEL, LOCKDOWN) E(LEVEL, EMERGENCY) E(LEVEL, RESTRICTED) E(LEVEL, WATCH) E(LEVEL, NORMAL)
  names("stage");
  E(STAGE, NONE) E(STAGE, TIGHTEN) E(STAGE, LOOSEN_DECIDED) E(STAGE, LOOSEN_PATHS) E(STAGE, LOOSEN_SESSIONS)
  E(STAGE, LOOSEN_DATAPLANE) E(STAGE, VERIFY) E(STAGE, COMPLETE)
  names("outcome");
  E(OUTCOME, NONE) E(OUTCOME, APPLIED) E(OUTCOME, UNCHANGED) E(OUTCOME, FAILED) E(OUTCOME, CANCELLED)
  names("violationKind");
  E(VIOLATION, BUDGET) E(VIOLATION, LATE_LOOSENING) E(VIOLATION, STALE_SERVICE) E(VIOLATION, DATAPLANE_KILLED)
  E(VIOLATION, SERVICE_DIED) E(VIOLATION, ALARM) E(VIOLATION, FAIL_CLOSED_CLEARED)
  names("verdict");
  E(VERDICT, NONE) E(VERDICT, DROP) E(VERDICT, DEPRIORITISE) E(VERDICT, PASS)
  names("family");
  E(FAMILY, IP4) E(FAMILY, IP6)
  names("levelFlag");
  E(LEVEL, CLASSIFY) E(LEVEL, ARP) E(LEVEL, ND) E(LEVEL, ICMP_ERROR)
  names("telemetryKind");
  E(TELEMETRY, POSTURE) E(TELEMETRY, TABLES) E(TELEMETRY, SAFE_LEVEL) E(TELEMETRY, SEGMENT)
  names("reason");
  E(REASON, PAIR) E(REASON, ENTRY) E(REASON, MINIMUM) E(REASON, NEIGHBOUR) E(REASON, MALFORMED) E(REASON, ETHERTYPE)
  E(REASON, FRAGMENT) E(REASON, ZONE)
  names("application");
  E(APPLICATION, UNKNOWN) E(APPLICATION, DNS) E(APPLICATION, TLS) E(APPLICATION, HTTP) E(APPLICATION, SSH)
  E(APPLICATION, WIREGUARD) E(APPLICATION, NTP) E(APPLICATION, SNMP) E(APPLICATION, BGP) E(APPLICATION, QUIC)
  names("flowEnd");
  E(FLOW_END, IDLE) E(FLOW_END, ACTIVE) E(FLOW_END, DETECTED) E(FLOW_END, FORCED) E(FLOW_END, RESOURCES)
  names("queue");
  E(QUEUE, ORDINARY) E(QUEUE, DEPRIORITISED)
  names("refusal");
  E(REFUSAL, NONE) E(REFUSAL, MISSING) E(REFUSAL, NOT_REGULAR) E(REFUSAL, OWNER) E(REFUSAL, MODE) E(REFUSAL, SIZE)
  E(REFUSAL, MAGIC) E(REFUSAL, VERSION) E(REFUSAL, KIND) E(REFUSAL, CHECKSUM) E(REFUSAL, BOOT) E(REFUSAL, OPENING)
  E(REFUSAL, NAME) E(REFUSAL, DIRECTORY) E(REFUSAL, BUSY) E(REFUSAL, SYSTEM)
#undef E
  return all;
}

Napi::Object start(Napi::Env env, Napi::Object exports)
{
  auto method = [&](const char *name, Napi::Value (*call)(const Napi::CallbackInfo &)) {
    exports.Set(name, Napi::Function::New(env, call, name));
  };
  method("verifyDirectory", verify_directory);
  method("open", open_segment);
  method("create", create_segment);
  method("close", close_segment);
  method("header", header);
  method("current", current);
  method("lockMemory", lock_memory);
  method("load64", load64);
  method("load32", load32);
  method("bytes", bytes);
  method("store64", store64);
  method("store32", store32);
  method("write", write);
  method("transition", transition);
  method("writeTransition", write_transition);
  method("tighten", tighten);
  method("loosen", loosen);
  method("storeWord", store_word);
  method("ack", ack);
  method("writeAck", write_ack);
  method("beat", beat);
  method("ring", ring);
  method("monotonicNs", monotonic);
  method("wallOffsetNs", wall_offset);
  method("crc32", crc32);
  method("listen", listen);
  method("closeListener", close_listener);
  method("listenerCounts", listener_counts);
  method("listenerRealtime", listener_realtime);
  method("listenerKeep", listener_keep);
  method("openBpf", open_bpf);
  method("createBpf", create_bpf);
  method("closeBpf", close_bpf);
  method("loadBpf64", bpf_load64);
  method("updateBpf", bpf_update);
  method("watchBpf", watch_bpf);
  method("closeBpfWatch", close_bpf_watch);
  method("bpfWatchCounts", bpf_watch_counts);
  exports.Set("layout", layout(env));
  return exports;
}

} // namespace

NODE_API_MODULE(shared_memory_ipc, start)
