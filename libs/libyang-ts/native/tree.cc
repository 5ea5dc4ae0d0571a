/*
 * The addon's calls on trees: what takes long as jobs, what does not at once.
 * It must not touch a tree that is lent to a job.
 */
#include "handles.h"

namespace kedge_yang {

namespace {

Format format_at(const Napi::CallbackInfo &info, size_t at)
{
  return whole(info, at, 1) == 0 ? Format::json : Format::xml;
}

/* About how many nodes a document makes, the defaults of its modules included. */
size_t nodes_of(const std::string &document, Format format) { return document.size() / (format == Format::json ? 24 : 40); }

/* (context, document, format, kind, check, depth) → promise of a tree */
Napi::Value parse(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Context> context = context_of(info, 0);
  auto content = std::make_shared<std::string>(document(info, 1));
  Format format = format_at(info, 2);
  auto kind = static_cast<Kind>(whole(info, 3, 1));
  auto check = static_cast<Check>(whole(info, 4, 2));
  uint32_t depth = whole(info, 5, 100000);
  auto made = std::make_shared<std::shared_ptr<Tree>>();
  Job job;
  job.context = context;
  job.work = [=] {
    inspect_or_throw(*content, format, depth);
    *made = adopt(context, parse_data(*context, *content, format, kind, check), kind, check != Check::none,
                  nodes_of(*content, format));
    content->clear();
    content->shrink_to_fit();
  };
  job.result = [made](Napi::Env env) -> Napi::Value { return wrap(env, *made); };
  return begin(env, std::move(job));
}

Reference reference_to(const std::shared_ptr<Tree> &tree)
{
  Reference reference;
  reference.given = tree != nullptr;
  reference.root = tree == nullptr ? nullptr : tree->root;
  return reference;
}

/* (context, document, format, kind, depth, reference?) → promise of a tree */
Napi::Value parse_message(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Context> context = context_of(info, 0);
  auto content = std::make_shared<std::string>(document(info, 1));
  Format format = format_at(info, 2);
  uint32_t number = whole(info, 3, 4);
  if (number < static_cast<uint32_t>(Kind::rpc))
    fail(env, "YANG_ARGUMENT", "the addon expected the kind of a message");
  auto kind = static_cast<Kind>(number);
  uint32_t depth = whole(info, 4, 100000);
  std::shared_ptr<Tree> reference = optional_tree(info, 5);
  same_context(env, context, reference);
  auto made = std::make_shared<std::shared_ptr<Tree>>();
  Job job;
  job.context = context;
  if (reference != nullptr)
    job.trees.push_back(reference);
  job.work = [=] {
    inspect_or_throw(*content, format, depth);
    *made = adopt(context,
                  parse_operation_data(*context, *content, format, kind, reference_to(reference)), kind, true,
                  nodes_of(*content, format));
  };
  job.result = [made](Napi::Env env) -> Napi::Value { return wrap(env, *made); };
  return begin(env, std::move(job));
}

/* (context, kind) → an empty tree */
Napi::Value empty(const Napi::CallbackInfo &info)
{
  std::shared_ptr<Context> context = context_of(info, 0);
  return wrap(info.Env(), adopt(context, nullptr, static_cast<Kind>(whole(info, 1, 1)), false, 0));
}

/* (tree, check, reference?) → promise */
Napi::Value validate_tree(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  auto check = static_cast<Check>(whole(info, 1, 1));
  std::shared_ptr<Tree> reference = optional_tree(info, 2);
  same_context(env, tree->context, reference);
  if (reference == tree)
    fail(env, "YANG_ARGUMENT", "the addon expected another tree as reference");
  Job job;
  job.context = tree->context;
  job.trees = {tree};
  if (reference != nullptr)
    job.trees.push_back(reference);
  job.work = [=] {
    validate(*tree, check, reference_to(reference));
    tree->nodes = count_nodes(tree->root);
  };
  job.result = [](Napi::Env env) { return env.Undefined(); };
  return begin(env, std::move(job));
}

/* (tree, format, pretty, defaults, empty containers) → promise of text */
Napi::Value print_tree(const Napi::CallbackInfo &info)
{
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  Format format = format_at(info, 1);
  bool pretty = flag(info, 2);
  auto defaults = static_cast<Defaults>(whole(info, 3, 3));
  bool containers = flag(info, 4);
  auto printed = std::make_shared<std::string>();
  Job job;
  job.context = tree->context;
  job.trees = {tree};
  job.work = [=] { *printed = print(tree->root, *tree->context, format, pretty, defaults, containers); };
  job.result = [printed](Napi::Env env) -> Napi::Value { return Napi::String::New(env, *printed); };
  return begin(info.Env(), std::move(job));
}

/* (tree, xpath, limit) → promise of nodes */
Napi::Value find_in_tree(const Napi::CallbackInfo &info)
{
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  std::string xpath = text(info, 1);
  uint32_t limit = whole(info, 2, UINT32_MAX);
  auto found = std::make_shared<std::vector<NodeValue>>();
  Job job;
  job.context = tree->context;
  job.trees = {tree};
  job.work = [=] { *found = find(tree->root, *tree->context, xpath, limit); };
  job.result = [found](Napi::Env env) -> Napi::Value {
    Napi::Array nodes = Napi::Array::New(env, found->size());
    for (size_t i = 0; i < found->size(); i++)
      nodes.Set(static_cast<uint32_t>(i), describe(env, (*found)[i]));
    return nodes;
  };
  return begin(info.Env(), std::move(job));
}

/* (tree, path) → node or undefined */
Napi::Value get_from_tree(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  std::string path = text(info, 1);
  return guarded(env, [&] {
    std::optional<NodeValue> node = get(tree->root, *tree->context, path, tree->kind == Kind::reply);
    return node ? describe(env, *node) : env.Undefined();
  });
}

/* (tree, path, value?) → whether something changed */
Napi::Value set_in_tree(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  std::string path = text(info, 1);
  std::optional<std::string> value = optional_text(info, 2);
  return guarded(env, [&] { return Napi::Boolean::New(env, set(*tree, path, value)); });
}

/* (tree, path) → whether something changed */
Napi::Value remove_from_tree(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  std::string path = text(info, 1);
  return guarded(env, [&] { return Napi::Boolean::New(env, remove(*tree, path)); });
}

/* (tree, path, beside, before) */
Napi::Value move_in_tree(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  std::string path = text(info, 1), beside = text(info, 2);
  bool before = flag(info, 3);
  return guarded(env, [&] {
    move(*tree, path, beside, before);
    return env.Undefined();
  });
}

/* (tree) → promise of a tree */
Napi::Value duplicate_tree(const Napi::CallbackInfo &info)
{
  std::shared_ptr<Tree> tree = tree_of(info, 0);
  auto made = std::make_shared<std::shared_ptr<Tree>>();
  Job job;
  job.context = tree->context;
  job.trees = {tree};
  job.work = [=] {
    *made = adopt(tree->context, duplicate(tree->root, *tree->context), tree->kind, tree->with_defaults, tree->nodes);
  };
  job.result = [made](Napi::Env env) -> Napi::Value { return wrap(env, *made); };
  return begin(info.Env(), std::move(job));
}

/* (into, from) → promise */
Napi::Value merge_trees(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Tree> into = tree_of(info, 0), from = tree_of(info, 1);
  same_context(env, into->context, from);
  Job job;
  job.context = into->context;
  job.trees = {into, from};
  job.work = [=] {
    if (into == from)
      return;
    merge(*into, from->root);
    into->nodes = count_nodes(into->root);
  };
  job.result = [](Napi::Env env) { return env.Undefined(); };
  return begin(env, std::move(job));
}

} // namespace

void add_trees(Napi::Env env, Napi::Object exports)
{
  exports.Set("closeTree", Napi::Function::New(env, close_tree));
  exports.Set("parse", Napi::Function::New(env, parse));
  exports.Set("parseMessage", Napi::Function::New(env, parse_message));
  exports.Set("emptyTree", Napi::Function::New(env, empty));
  exports.Set("validate", Napi::Function::New(env, validate_tree));
  exports.Set("print", Napi::Function::New(env, print_tree));
  exports.Set("find", Napi::Function::New(env, find_in_tree));
  exports.Set("get", Napi::Function::New(env, get_from_tree));
  exports.Set("set", Napi::Function::New(env, set_in_tree));
  exports.Set("remove", Napi::Function::New(env, remove_from_tree));
  exports.Set("move", Napi::Function::New(env, move_in_tree));
  exports.Set("duplicate", Napi::Function::New(env, duplicate_tree));
  exports.Set("merge", Napi::Function::New(env, merge_trees));
}

} // namespace kedge_yang
