/*
 * The addon's door: which calls there are.
 * It must not hold state of its own.
 */
#include "handles.h"
#include "values.h"

namespace kedge_yang {

namespace {

Napi::Object init(Napi::Env env, Napi::Object exports)
{
  keep_messages();
  add_contexts(env, exports);
  add_trees(env, exports);
  add_diffs(env, exports);
  Napi::Object library = Napi::Object::New(env);
  library.Set("interface", LY_VERSION);
  library.Set("everyError", Napi::Boolean::New(env, EVERY_ERROR));
  exports.Set("library", library);
  Napi::Array types = Napi::Array::New(env);
  for (uint32_t type = LY_TYPE_UNKNOWN; type <= LY_TYPE_INT64; type++)
    types.Set(type, type_name(static_cast<LY_DATA_TYPE>(type)));
  exports.Set("types", types);
  return exports;
}

NODE_API_MODULE(yang, init)

} // namespace

} // namespace kedge_yang
