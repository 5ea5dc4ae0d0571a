/*
 * Handles, arguments and jobs.
 * It must not let two threads at one tree, nor a handle of one kind stand for another.
 */
#include "handles.h"

namespace kedge_yang {

namespace {

/* Bytes that a node takes with libyang, its values, its hash tables and its share of the dictionary; an estimate. */
constexpr size_t NODE_BYTES = 256;
/* Freeing fewer nodes than these takes less time than handing them to another thread. */
constexpr size_t FREED_AT_ONCE = 2000;

struct ContextHandle {
  std::shared_ptr<Context> context;
};

struct TreeHandle {
  std::shared_ptr<Tree> tree;
};

template <typename T> T &unwrapped(Napi::Env env, const Napi::Value &value, const napi_type_tag &tag)
{
  bool good = false;
  void *data = nullptr;
  if (!value.IsObject() || napi_check_object_type_tag(env, value, &tag, &good) != napi_ok || !good ||
      napi_unwrap(env, value, &data) != napi_ok)
    fail(env, "YANG_ARGUMENT", "the addon was given something else than its handle");
  return *static_cast<T *>(data);
}

template <typename T>
Napi::Object wrapped(Napi::Env env, std::unique_ptr<T> owned, const napi_type_tag &tag, napi_finalize finalize)
{
  Napi::Object object = Napi::Object::New(env);
  if (napi_type_tag_object(env, object, &tag) != napi_ok ||
      napi_wrap(env, object, owned.get(), finalize, nullptr, nullptr) != napi_ok)
    fail(env, "YANG_ADDON", "the addon could not make a handle");
  owned.release();
  return object;
}

/* Tells V8 how much memory hangs on the tree now. */
void account(napi_env env, Tree &tree, size_t bytes)
{
  int64_t total;
  napi_adjust_external_memory(env, static_cast<int64_t>(bytes) - static_cast<int64_t>(tree.accounted), &total);
  tree.accounted = bytes;
}

/* Frees condemned nodes on a thread of the pool; nobody waits for it but Context::drain. */
struct Freeing {
  std::shared_ptr<Context> context;
  napi_async_work work = nullptr;
};

void free_elsewhere(napi_env env, const std::shared_ptr<Context> &context)
{
  auto freeing = std::make_unique<Freeing>();
  freeing->context = context;
  napi_value name;
  if (napi_create_string_utf8(env, "kedge:yang:free", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(
          env, nullptr, name, [](napi_env, void *data) { static_cast<Freeing *>(data)->context->drain(); },
          [](napi_env env, napi_status, void *data) {
            std::unique_ptr<Freeing> freeing(static_cast<Freeing *>(data));
            napi_delete_async_work(env, freeing->work);
          },
          freeing.get(), &freeing->work) != napi_ok) {
    context->drain();
    return;
  }
  if (napi_queue_async_work(env, freeing->work) != napi_ok) {
    napi_delete_async_work(env, freeing->work);
    context->drain();
    return;
  }
  freeing.release();
}

/* Lets go of a tree; the last to do so frees a large one off the event loop. */
void let_go(napi_env env, std::shared_ptr<Tree> tree)
{
  if (tree == nullptr || tree.use_count() > 1)
    return;
  account(env, *tree, 0);
  if (tree->nodes < FREED_AT_ONCE)
    return;
  tree->condemn();
  std::shared_ptr<Context> context = tree->context;
  tree.reset();
  free_elsewhere(env, context);
}

struct RunningJob {
  explicit RunningJob(Job job_) : job(std::move(job_)) {}

  Job job;
  napi_deferred deferred = nullptr;
  std::unique_ptr<Failure> failure;
  napi_async_work work = nullptr;
};

void execute(napi_env, void *data)
{
  auto *running = static_cast<RunningJob *>(data);
  try {
    running->job.work();
  } catch (const Failure &failure) {
    running->failure = std::make_unique<Failure>(failure);
  } catch (const std::exception &error) {
    running->failure = std::make_unique<Failure>("YANG_LIBRARY", error.what());
  }
}

void done(napi_env raw, napi_status, void *data)
{
  std::unique_ptr<RunningJob> running(static_cast<RunningJob *>(data));
  Napi::Env env(raw);
  Napi::HandleScope scope(env);
  Job &job = running->job;
  job.context->jobs--;
  for (const std::shared_ptr<Tree> &tree : job.trees) {
    tree->lent = false;
    if (tree->accounted != 0)
      account(env, *tree, tree->nodes * NODE_BYTES);
  }
  /* A thread that is being ended takes no result: what these calls return then does not matter. */
  try {
    if (running->failure != nullptr)
      napi_reject_deferred(env, running->deferred, error_of(env, *running->failure).Value());
    else
      napi_resolve_deferred(env, running->deferred, job.result(env));
  } catch (const Napi::Error &error) {
    napi_value value = error.Value();
    if (value != nullptr)
      napi_reject_deferred(env, running->deferred, value);
  }
  napi_delete_async_work(env, running->work);
  job.work = nullptr;
  job.result = nullptr;
  for (std::shared_ptr<Tree> &tree : job.trees)
    let_go(env, std::move(tree));
}

} // namespace

void fail(Napi::Env env, const std::string &code, const std::string &message)
{
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  throw error;
}

Napi::Error error_of(Napi::Env env, const Failure &failure)
{
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  if (failure.problems.empty())
    return error;
  Napi::Array problems = Napi::Array::New(env, failure.problems.size());
  for (size_t i = 0; i < failure.problems.size(); i++) {
    const Problem &problem = failure.problems[i];
    Napi::Object one = Napi::Object::New(env);
    one.Set("message", problem.message);
    one.Set("location", problem.location);
    one.Set("path", problem.path);
    one.Set("schemaPath", problem.schema_path);
    one.Set("appTag", problem.app_tag);
    one.Set("line", Napi::Number::New(env, static_cast<double>(problem.line)));
    one.Set("kind", Napi::Number::New(env, problem.kind));
    problems.Set(static_cast<uint32_t>(i), one);
  }
  error.Set("problems", problems);
  error.Set("complete", Napi::Boolean::New(env, failure.complete));
  return error;
}

std::string text(const Napi::CallbackInfo &info, size_t at)
{
  if (!info[at].IsString())
    fail(info.Env(), "YANG_ARGUMENT", "the addon expected a string");
  return info[at].As<Napi::String>().Utf8Value();
}

std::optional<std::string> optional_text(const Napi::CallbackInfo &info, size_t at)
{
  return info[at].IsUndefined() ? std::nullopt : std::optional(text(info, at));
}

uint32_t whole(const Napi::CallbackInfo &info, size_t at, uint32_t limit)
{
  if (!info[at].IsNumber())
    fail(info.Env(), "YANG_ARGUMENT", "the addon expected a number");
  double value = info[at].As<Napi::Number>().DoubleValue();
  if (!(value >= 0 && value <= limit) || value != static_cast<double>(static_cast<uint32_t>(value)))
    fail(info.Env(), "YANG_ARGUMENT", "the addon expected a whole number in range");
  return static_cast<uint32_t>(value);
}

bool flag(const Napi::CallbackInfo &info, size_t at)
{
  if (!info[at].IsBoolean())
    fail(info.Env(), "YANG_ARGUMENT", "the addon expected a boolean");
  return info[at].As<Napi::Boolean>().Value();
}

std::string document(const Napi::CallbackInfo &info, size_t at)
{
  if (info[at].IsString())
    return info[at].As<Napi::String>().Utf8Value();
  if (!info[at].IsTypedArray() || info[at].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    fail(info.Env(), "YANG_ARGUMENT", "the addon expected a string or a Uint8Array");
  auto bytes = info[at].As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char *>(bytes.Data()), bytes.ByteLength());
}

std::shared_ptr<Context> context_of(const Napi::CallbackInfo &info, size_t at)
{
  auto &handle = unwrapped<ContextHandle>(info.Env(), info[at], CONTEXT_TAG);
  if (handle.context == nullptr)
    fail(info.Env(), "YANG_DISPOSED", "the context was disposed of");
  return handle.context;
}

std::shared_ptr<Tree> tree_of(const Napi::CallbackInfo &info, size_t at)
{
  auto &handle = unwrapped<TreeHandle>(info.Env(), info[at], TREE_TAG);
  if (handle.tree == nullptr)
    fail(info.Env(), "YANG_DISPOSED", "the tree was disposed of");
  if (handle.tree->lent)
    fail(info.Env(), "YANG_BUSY", "a job works on the tree");
  return handle.tree;
}

std::shared_ptr<Tree> optional_tree(const Napi::CallbackInfo &info, size_t at)
{
  return info[at].IsUndefined() ? nullptr : tree_of(info, at);
}

void same_context(Napi::Env env, const std::shared_ptr<Context> &context, const std::shared_ptr<Tree> &tree)
{
  if (tree != nullptr && tree->context != context)
    fail(env, "YANG_OTHER_CONTEXT", "the tree belongs to another context");
}

Napi::Object wrap(Napi::Env env, std::shared_ptr<Context> context)
{
  auto owned = std::make_unique<ContextHandle>();
  owned->context = std::move(context);
  return wrapped(env, std::move(owned), CONTEXT_TAG,
                 [](napi_env, void *data, void *) { delete static_cast<ContextHandle *>(data); });
}

Napi::Object wrap(Napi::Env env, std::shared_ptr<Tree> tree)
{
  auto owned = std::make_unique<TreeHandle>();
  owned->tree = tree;
  Napi::Object object = wrapped(env, std::move(owned), TREE_TAG, [](napi_env env, void *data, void *) {
    std::unique_ptr<TreeHandle> handle(static_cast<TreeHandle *>(data));
    /* A finalizer may run while the environment ends, when no work can be queued: freed here. */
    if (handle->tree != nullptr && handle->tree.use_count() == 1)
      account(env, *handle->tree, 0);
  });
  account(env, *tree, (tree->nodes + 1) * NODE_BYTES);
  return object;
}

Napi::Value close_context(const Napi::CallbackInfo &info)
{
  unwrapped<ContextHandle>(info.Env(), info[0], CONTEXT_TAG).context.reset();
  return info.Env().Undefined();
}

Napi::Value close_tree(const Napi::CallbackInfo &info)
{
  auto &handle = unwrapped<TreeHandle>(info.Env(), info[0], TREE_TAG);
  let_go(info.Env(), std::move(handle.tree));
  handle.tree = nullptr;
  return info.Env().Undefined();
}

void set_text(Napi::Object &object, const char *name, const char *value)
{
  if (value != nullptr)
    object.Set(name, Napi::String::New(object.Env(), value));
}

Napi::Value describe(Napi::Env env, const NodeValue &node)
{
  Napi::Object object = Napi::Object::New(env);
  object.Set("path", node.path);
  object.Set("kind", node.kind);
  object.Set("isDefault", Napi::Boolean::New(env, node.is_default));
  if (node.value) {
    object.Set("value", *node.value);
    object.Set("type", Napi::Number::New(env, node.type));
  }
  return object;
}

std::shared_ptr<Tree> adopt(const std::shared_ptr<Context> &context, lyd_node *root, Kind kind, bool with_defaults,
                            size_t nodes)
{
  auto tree = std::make_shared<Tree>(context, root, kind);
  tree->nodes = nodes;
  tree->with_defaults = with_defaults;
  return tree;
}

Napi::Value begin(Napi::Env env, Job job)
{
  for (const std::shared_ptr<Tree> &tree : job.trees)
    if (tree->lent)
      fail(env, "YANG_BUSY", "a job works on the tree");
  auto running = std::make_unique<RunningJob>(std::move(job));
  napi_value promise = nullptr;
  if (napi_create_promise(env, &running->deferred, &promise) != napi_ok)
    fail(env, "YANG_ADDON", "the addon could not make a promise");
  napi_value name = Napi::String::New(env, "kedge:yang");
  if (napi_create_async_work(env, nullptr, name, execute, done, running.get(), &running->work) != napi_ok)
    fail(env, "YANG_ADDON", "the addon could not make a job");
  /* The thread may be at work before the next call returns: whoever asks from here on finds the trees lent. */
  auto lend = [&running](bool lent) {
    for (const std::shared_ptr<Tree> &tree : running->job.trees)
      tree->lent = lent;
    running->job.context->jobs += lent ? 1 : static_cast<size_t>(-1);
  };
  lend(true);
  if (napi_queue_async_work(env, running->work) != napi_ok) {
    lend(false);
    napi_delete_async_work(env, running->work);
    fail(env, "YANG_ADDON", "the addon could not begin a job");
  }
  running.release();
  return Napi::Value(env, promise);
}

} // namespace kedge_yang
