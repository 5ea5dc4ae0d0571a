/*
 * The addon's objects as JavaScript holds them: type-tagged, one shared owner each, and the jobs that borrow them.
 * It must not keep state of the process: everything hangs on an object of one environment.
 */
#pragma once

#define NAPI_VERSION 8
/* A thread that is being terminated cannot be thrown at; the process must not end for it. */
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data.h"

namespace kedge_yang {

constexpr napi_type_tag CONTEXT_TAG = {0x6b65646779616e67, 0x4a1f0c92be6d8357};
constexpr napi_type_tag TREE_TAG = {0x6b65646774726565, 0xd3527be8096f41ca};

/* Throws into JavaScript: an Error with `code`, and with `problems` and `complete` where libyang has spoken. */
[[noreturn]] void fail(Napi::Env env, const std::string &code, const std::string &message);
Napi::Error error_of(Napi::Env env, const Failure &failure);

/* Runs `work`, turning a Failure into an exception of JavaScript. */
template <typename Work> auto guarded(Napi::Env env, Work work) -> decltype(work())
{
  try {
    return work();
  } catch (const Failure &failure) {
    throw error_of(env, failure);
  } catch (const std::bad_alloc &) {
    fail(env, "YANG_LIBRARY", "out of memory");
  }
}

/* ---- arguments: checked again only for what memory safety hangs on; TypeScript has made the sentences */

std::string text(const Napi::CallbackInfo &info, size_t at);
uint32_t whole(const Napi::CallbackInfo &info, size_t at, uint32_t limit);
bool flag(const Napi::CallbackInfo &info, size_t at);
/* A document as its own copy, of a string or of bytes. */
std::string document(const Napi::CallbackInfo &info, size_t at);
std::optional<std::string> optional_text(const Napi::CallbackInfo &info, size_t at);

/* ---- handles */

std::shared_ptr<Context> context_of(const Napi::CallbackInfo &info, size_t at);
/* Closed, lent or of another context: refused. */
std::shared_ptr<Tree> tree_of(const Napi::CallbackInfo &info, size_t at);
std::shared_ptr<Tree> optional_tree(const Napi::CallbackInfo &info, size_t at);
void same_context(Napi::Env env, const std::shared_ptr<Context> &context, const std::shared_ptr<Tree> &tree);

Napi::Object wrap(Napi::Env env, std::shared_ptr<Context> context);
Napi::Object wrap(Napi::Env env, std::shared_ptr<Tree> tree);
Napi::Value close_context(const Napi::CallbackInfo &info);
Napi::Value close_tree(const Napi::CallbackInfo &info);

Napi::Value describe(Napi::Env env, const NodeValue &node);
void set_text(Napi::Object &object, const char *name, const char *value);

/* ---- jobs: work on a thread of the pool, with its trees lent to it until it is done */

struct Job {
  std::shared_ptr<Context> context;
  std::vector<std::shared_ptr<Tree>> trees;
  std::function<void()> work;                       /* on the thread; may throw Failure */
  std::function<Napi::Value(Napi::Env)> result;     /* afterwards, on JavaScript's */
};

/* A promise of the result. The job's trees must not be lent. */
Napi::Value begin(Napi::Env env, Job job);

/* A new tree with an owner; `nodes` is how many it has, about. */
std::shared_ptr<Tree> adopt(const std::shared_ptr<Context> &context, lyd_node *root, Kind kind, bool with_defaults,
                            size_t nodes);

/* ---- the rooms of the addon */

void add_contexts(Napi::Env env, Napi::Object exports);
void add_trees(Napi::Env env, Napi::Object exports);
void add_diffs(Napi::Env env, Napi::Object exports);

Napi::Value module_info(Napi::Env env, const lys_module *module);
Napi::Value schema_nodes(Napi::Env env, const lys_module *module);
Napi::Value schema_node(Napi::Env env, const lysc_node *node);

} // namespace kedge_yang
