/*
 * The addon's calls on contexts: making one, loading modules, looking at them.
 * It must not change a context while a tree of it is alive: the nodes point into its modules.
 */
#include "handles.h"

namespace kedge_yang {

namespace {

/* (directories, options) → handle */
Napi::Value new_context(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  if (!info[0].IsArray())
    fail(env, "YANG_ARGUMENT", "the addon expected a list of directories");
  Napi::Array directories = info[0].As<Napi::Array>();
  uint32_t chosen = whole(info, 1, 7);
  uint16_t options = LY_CTX_DISABLE_SEARCHDIR_CWD | ((chosen & 1) != 0 ? LY_CTX_REF_IMPLEMENTED : 0) |
                     ((chosen & 2) != 0 ? LY_CTX_ALL_IMPLEMENTED : 0) | ((chosen & 4) != 0 ? 0 : LY_CTX_NO_YANGLIBRARY);
  return guarded(env, [&]() -> Napi::Value {
    Listening making(nullptr);
    ly_ctx *made = nullptr;
    LY_ERR error = ly_ctx_new(OWN_MODULES, options, &made);
    if (error != LY_SUCCESS)
      throw Failure("YANG_LIBRARY", "libyang could not make a context, error " + std::to_string(error));
    auto context = std::make_shared<Context>(made);
    Listening listening(made);
    for (uint32_t i = 0; i < directories.Length(); i++) {
      std::string directory = directories.Get(i).ToString().Utf8Value();
      error = ly_ctx_set_searchdir(made, directory.c_str());
      if (error != LY_SUCCESS && error != LY_EEXIST)
        throw listening.failure("YANG_DIRECTORY", "libyang cannot search the directory " + directory, error, false);
    }
    return wrap(env, std::move(context));
  });
}

/* The context, which nothing may be using now. */
std::shared_ptr<Context> changeable(const Napi::CallbackInfo &info)
{
  std::shared_ptr<Context> context = context_of(info, 0);
  if (context->trees != 0 || context->jobs != 0)
    fail(info.Env(), "YANG_CONTEXT_IN_USE",
         std::to_string(context->trees) + " trees and " + std::to_string(context->jobs) + " jobs of the context are alive");
  context->drain();
  return context;
}

/* Features to turn on as libyang takes them: nullptr for none, "*" for all. */
class Features {
public:
  Features(const Napi::CallbackInfo &info, size_t at)
  {
    if (info[at].IsUndefined())
      return;
    if (!info[at].IsArray())
      fail(info.Env(), "YANG_ARGUMENT", "the addon expected a list of features");
    Napi::Array names = info[at].As<Napi::Array>();
    for (uint32_t i = 0; i < names.Length(); i++)
      names_.push_back(names.Get(i).ToString().Utf8Value());
    for (const std::string &name : names_)
      pointers_.push_back(name.c_str());
    pointers_.push_back(nullptr);
  }
  const char **get() { return pointers_.empty() ? nullptr : pointers_.data(); }

private:
  std::vector<std::string> names_;
  std::vector<const char *> pointers_;
};

/* (context, name, revision?, features?) → info */
Napi::Value load_module(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Context> context = changeable(info);
  std::string name = text(info, 1);
  std::optional<std::string> revision = optional_text(info, 2);
  Features features(info, 3);
  return guarded(env, [&] {
    Listening listening(context->get());
    const lys_module *module =
        ly_ctx_load_module(context->get(), name.c_str(), revision ? revision->c_str() : nullptr, features.get());
    if (module == nullptr)
      throw listening.failure("YANG_MODULE", "the module could not be loaded", LY_EVALID, false);
    return module_info(env, module);
  });
}

/* (context, text, yin, features?) → info */
Napi::Value parse_module(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Context> context = changeable(info);
  std::string source = text(info, 1);
  bool yin = flag(info, 2);
  Features features(info, 3);
  return guarded(env, [&] {
    if (first_bad_byte(source.data(), source.size()) < source.size())
      throw Failure("YANG_ENCODING", "the module is not UTF-8 without NUL");
    Listening listening(context->get());
    ly_in *in = nullptr;
    lys_module *module = nullptr;
    LY_ERR error = ly_in_new_memory(source.c_str(), &in);
    if (error == LY_SUCCESS)
      error = lys_parse(context->get(), in, yin ? LYS_IN_YIN : LYS_IN_YANG, features.get(), &module);
    ly_in_free(in, 0);
    if (error != LY_SUCCESS)
      throw listening.failure("YANG_MODULE", "the module could not be loaded", error, false);
    return module_info(env, module);
  });
}

Napi::Value modules(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Context> context = context_of(info, 0);
  Napi::Array all = Napi::Array::New(env);
  uint32_t at = 0;
  while (const lys_module *module = ly_ctx_get_module_iter(context->get(), &at))
    all.Set(all.Length(), module_info(env, module));
  return all;
}

/* (context, name) → { data, rpcs, notifications } of the implemented module; undefined when there is none */
Napi::Value schema(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Context> context = context_of(info, 0);
  const lys_module *module = ly_ctx_get_module_implemented(context->get(), text(info, 1).c_str());
  return module == nullptr ? env.Undefined() : schema_nodes(env, module);
}

/* (context, path, output) → one node with all below it */
Napi::Value schema_at(const Napi::CallbackInfo &info)
{
  Napi::Env env = info.Env();
  std::shared_ptr<Context> context = context_of(info, 0);
  std::string path = text(info, 1);
  bool output = flag(info, 2);
  return guarded(env, [&] {
    Listening listening(context->get());
    const lysc_node *node = lys_find_path(context->get(), nullptr, path.c_str(), output);
    if (node == nullptr)
      throw listening.failure("YANG_PATH", "cannot find the path in the modules", LY_EVALID, false);
    return schema_node(env, node);
  });
}

} // namespace

void add_contexts(Napi::Env env, Napi::Object exports)
{
  exports.Set("newContext", Napi::Function::New(env, new_context));
  exports.Set("closeContext", Napi::Function::New(env, close_context));
  exports.Set("loadModule", Napi::Function::New(env, load_module));
  exports.Set("parseModule", Napi::Function::New(env, parse_module));
  exports.Set("modules", Napi::Function::New(env, modules));
  exports.Set("schema", Napi::Function::New(env, schema));
  exports.Set("schemaAt", Napi::Function::New(env, schema_at));
}

} // namespace kedge_yang
