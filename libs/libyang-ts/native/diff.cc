/*
 * The addon's calls on diffs, which are trees of libyang's own annotations: all of them jobs.
 * It must not let a diff stand where a tree of data is expected, nor the other way round.
 */
#include "handles.h"

namespace kedge_yang {

namespace {

std::shared_ptr<Tree> diff_of(const Napi::CallbackInfo &info, size_t at)
{
  std::shared_ptr<Tree> tree = tree_of(info, at);
  if (tree->kind != Kind::diff)
    fail(info.Env(), "YANG_ARGUMENT", "the addon expected a diff");
  return tree;
}

std::shared_ptr<Tree> adopt(const std::shared_ptr<Context> &context, Ways ways)
{
  size_t nodes = count_nodes(ways.there) + count_nodes(ways.back);
  std::shared_ptr<Tree> tree = adopt(context, ways.there, Kind::diff, false, nodes);
  tree->back = ways.back;
  return tree;
}

/* (before, after) → promise of a diff */
Napi::Value diff_trees(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> before = tree_of(info, 0), after = tree_of(info, 1);
  same_context(env, before->context, after);
  if (before->kind == Kind::diff || after->kind == Kind::diff)
    fail(env, "YANG_ARGUMENT", "the addon expected trees of data");
  auto made = std::make_shared<std::shared_ptr<Tree>>();
  Job job;
  job.context = before->context;
  job.trees = {before, after};
  job.work = [=] {
    *made = adopt(before->context, diff(before->root, after->root, *before->context));
  };
  job.result = [made](Napi::Env env) -> Napi::Value { return wrap(env, *made); };
  return begin(env, std::move(job));
}

/* (diff, tree) → promise */
Napi::Value apply_diff(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> diff = diff_of(info, 0), tree = tree_of(info, 1);
  same_context(env, diff->context, tree);
  if (tree->kind == Kind::diff)
    fail(env, "YANG_ARGUMENT", "the addon expected a tree of data");
  Job job;
  job.context = diff->context;
  job.trees = {diff, tree};
  job.work = [=] {
    apply(*tree, diff->root);
    tree->nodes = count_nodes(tree->root);
  };
  job.result = [](Napi::Env env) { return env.Undefined(); };
  return begin(env, std::move(job));
}

/* (diff) → promise of a diff */
Napi::Value reverse_diff(const Napi::CallbackInfo &info)
{
  std::shared_ptr<Tree> diff = diff_of(info, 0);
  auto made = std::make_shared<std::shared_ptr<Tree>>();
  Job job;
  job.context = diff->context;
  job.trees = {diff};
  job.work = [=] { *made = adopt(diff->context, reverse(*diff)); };
  job.result = [made](Napi::Env env) -> Napi::Value { return wrap(env, *made); };
  return begin(info.Env(), std::move(job));
}

/* What a job found, kept outside of JavaScript until it is asked for in pieces. */
struct Changes {
  std::vector<Change> all;
};
constexpr napi_type_tag CHANGES_TAG = {0x6b65646763686e67, 0x85e9164fa07d3b2c};

Napi::Value describe_change(Napi::Env env, const Change &change)
{
  Napi::Object object = describe(env, change.node).As<Napi::Object>();
  object.Set("op", change.op);
  if (change.before)
    object.Set("before", describe(env, *change.before));
  if (change.after)
    object.Set("after", describe(env, *change.after));
  if (change.behind_before)
    object.Set("behindBefore", *change.behind_before);
  if (change.behind_after)
    object.Set("behindAfter", *change.behind_after);
  return object;
}

/* (diff) → promise of { count, handle } */
Napi::Value read_changes(const Napi::CallbackInfo &info)
{
  std::shared_ptr<Tree> diff = diff_of(info, 0);
  auto found = std::make_shared<std::unique_ptr<Changes>>(std::make_unique<Changes>());
  Job job;
  job.context = diff->context;
  job.trees = {diff};
  job.work = [=] { (*found)->all = changes(diff->root, *diff->context); };
  job.result = [found](Napi::Env env) -> Napi::Value {
    Napi::Object object = Napi::Object::New(env);
    object.Set("count", Napi::Number::New(env, static_cast<double>((*found)->all.size())));
    Napi::Object handle = Napi::Object::New(env);
    if (napi_type_tag_object(env, handle, &CHANGES_TAG) != napi_ok ||
        napi_wrap(
            env, handle, found->get(), [](napi_env, void *data, void *) { delete static_cast<Changes *>(data); },
            nullptr, nullptr) != napi_ok)
      fail(env, "YANG_ADDON", "the addon could not make a handle");
    found->release();
    object.Set("handle", handle);
    return object;
  };
  return begin(info.Env(), std::move(job));
}

/* (changes, from, count) → list of changes */
Napi::Value take_changes(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  bool good = false;
  void *data = nullptr;
  if (!info[0].IsObject() || napi_check_object_type_tag(env, info[0], &CHANGES_TAG, &good) != napi_ok || !good ||
      napi_unwrap(env, info[0], &data) != napi_ok)
    fail(env, "YANG_ARGUMENT", "the addon was given something else than its handle");
  const std::vector<Change> &all = static_cast<Changes *>(data)->all;
  size_t from = whole(info, 1, UINT32_MAX), count = whole(info, 2, UINT32_MAX);
  Napi::Array changes = Napi::Array::New(env);
  for (size_t i = from; i < all.size() && i - from < count; i++)
    changes.Set(static_cast<uint32_t>(i - from), describe_change(env, all[i]));
  return changes;
}

} // namespace

void add_diffs(Napi::Env env, Napi::Object exports)
{
  exports.Set("diff", Napi::Function::New(env, diff_trees));
  exports.Set("apply", Napi::Function::New(env, apply_diff));
  exports.Set("reverse", Napi::Function::New(env, reverse_diff));
  exports.Set("readChanges", Napi::Function::New(env, read_changes));
  exports.Set("takeChanges", Napi::Function::New(env, take_changes));
}

} // namespace kedge_yang
