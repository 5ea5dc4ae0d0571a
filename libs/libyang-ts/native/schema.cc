/*
 * Modules and their schema as plain values: copied out, so that nothing points into a context.
 * It must not follow a node that is not compiled.
 */
#include <cinttypes>
#include <cstdlib>

#include "handles.h"
#include "values.h"

namespace kedge_yang {

namespace {

Napi::Array list(Napi::Env env) { return Napi::Array::New(env); }

void push(Napi::Array &array, Napi::Value value) { array.Set(array.Length(), value); }

void push(Napi::Array &array, const char *value)
{
  array.Set(array.Length(), Napi::String::New(array.Env(), value == nullptr ? "" : value));
}

/* A bound as YANG writes it: 64 bits do not fit a JavaScript number, and decimals are kept as whole numbers. */
std::string bound(LY_DATA_TYPE type, int64_t value, uint8_t digits)
{
  switch (type) {
  case LY_TYPE_UINT8:
  case LY_TYPE_UINT16:
  case LY_TYPE_UINT32:
  case LY_TYPE_UINT64:
  case LY_TYPE_STRING:
  case LY_TYPE_BINARY:
    return std::to_string(static_cast<uint64_t>(value));
  case LY_TYPE_DEC64: {
    std::string sign = value < 0 ? "-" : "";
    uint64_t size = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    std::string figures = std::to_string(size);
    if (figures.size() <= digits)
      figures.insert(0, digits + 1 - figures.size(), '0');
    figures.insert(figures.size() - digits, ".");
    while (figures.back() == '0' && figures[figures.size() - 2] != '.')
      figures.pop_back();
    return sign + figures;
  }
  default:
    return std::to_string(value);
  }
}

void set_range(Napi::Object &object, const char *name, LY_DATA_TYPE type, const lysc_range *range, uint8_t digits = 0)
{
  if (range == nullptr)
    return;
  Napi::Array parts = list(object.Env());
  LY_ARRAY_COUNT_TYPE i;
  LY_ARRAY_FOR(range->parts, i)
  {
    Napi::Object part = Napi::Object::New(object.Env());
    part.Set("min", bound(type, range->parts[i].min_64, digits));
    part.Set("max", bound(type, range->parts[i].max_64, digits));
    push(parts, part);
  }
  object.Set(name, parts);
}

void add_derived(Napi::Array &names, const lysc_ident *identity)
{
  LY_ARRAY_COUNT_TYPE i;
  LY_ARRAY_FOR(identity->derived, i)
  {
    const lysc_ident *derived = identity->derived[i];
    /* An identity counts only where its module does, and where its feature is on. */
    if (derived->module->implemented && lys_identity_iffeature_value(derived) != LY_ENOT) {
      std::string name = std::string(derived->module->name) + ":" + derived->name;
      push(names, name.c_str());
    }
    add_derived(names, derived);
  }
}

Napi::Object type_info(Napi::Env env, const lysc_type *type);

void add_items(Napi::Object &object, const char *name, const char *number, const lysc_type_bitenum_item *items, bool bits)
{
  Napi::Env env = object.Env();
  Napi::Array all = list(env);
  LY_ARRAY_COUNT_TYPE i;
  LY_ARRAY_FOR(items, i)
  {
    Napi::Object item = Napi::Object::New(env);
    set_text(item, "name", items[i].name);
    item.Set(number, bits ? Napi::Number::New(env, items[i].position) : Napi::Number::New(env, items[i].value));
    push(all, item);
  }
  object.Set(name, all);
}

Napi::Object type_info(Napi::Env env, const lysc_type *type)
{
  Napi::Object object = Napi::Object::New(env);
  object.Set("base", type_name(type->basetype));
  LY_ARRAY_COUNT_TYPE i;
  switch (type->basetype) {
  case LY_TYPE_STRING: {
    const auto *of = reinterpret_cast<const lysc_type_str *>(type);
    set_range(object, "length", type->basetype, of->length);
    if (of->patterns != nullptr) {
      Napi::Array patterns = list(env);
      LY_ARRAY_FOR(of->patterns, i)
      {
        Napi::Object pattern = Napi::Object::New(env);
        set_text(pattern, "expression", of->patterns[i]->expr);
        pattern.Set("inverted", Napi::Boolean::New(env, of->patterns[i]->inverted));
        push(patterns, pattern);
      }
      object.Set("patterns", patterns);
    }
    break;
  }
  case LY_TYPE_BINARY:
    set_range(object, "length", type->basetype, reinterpret_cast<const lysc_type_bin *>(type)->length);
    break;
  case LY_TYPE_INT8:
  case LY_TYPE_INT16:
  case LY_TYPE_INT32:
  case LY_TYPE_INT64:
  case LY_TYPE_UINT8:
  case LY_TYPE_UINT16:
  case LY_TYPE_UINT32:
  case LY_TYPE_UINT64:
    set_range(object, "range", type->basetype, reinterpret_cast<const lysc_type_num *>(type)->range);
    break;
  case LY_TYPE_DEC64: {
    const auto *of = reinterpret_cast<const lysc_type_dec *>(type);
    object.Set("fractionDigits", Napi::Number::New(env, of->fraction_digits));
    set_range(object, "range", type->basetype, of->range, of->fraction_digits);
    break;
  }
  case LY_TYPE_ENUM:
    add_items(object, "enums", "value", reinterpret_cast<const lysc_type_enum *>(type)->enums, false);
    break;
  case LY_TYPE_BITS:
    add_items(object, "bits", "position", reinterpret_cast<const lysc_type_bits *>(type)->bits, true);
    break;
  case LY_TYPE_IDENT: {
    const auto *of = reinterpret_cast<const lysc_type_identityref *>(type);
    Napi::Array bases = list(env), identities = list(env);
    LY_ARRAY_FOR(of->bases, i)
    {
      std::string name = std::string(of->bases[i]->module->name) + ":" + of->bases[i]->name;
      push(bases, name.c_str());
      add_derived(identities, of->bases[i]);
    }
    object.Set("bases", bases);
    object.Set("identities", identities);
    break;
  }
  case LY_TYPE_LEAFREF: {
    const auto *of = reinterpret_cast<const lysc_type_leafref *>(type);
    set_text(object, "path", lyxp_get_expr(of->path));
    object.Set("requireInstance", Napi::Boolean::New(env, of->require_instance));
    if (of->realtype != nullptr)
      object.Set("target", type_info(env, of->realtype));
    break;
  }
  case LY_TYPE_INST:
    object.Set("requireInstance",
               Napi::Boolean::New(env, reinterpret_cast<const lysc_type_instanceid *>(type)->require_instance));
    break;
  case LY_TYPE_UNION: {
    const auto *of = reinterpret_cast<const lysc_type_union *>(type);
    Napi::Array types = list(env);
    LY_ARRAY_FOR(of->types, i) push(types, type_info(env, of->types[i]));
    object.Set("types", types);
    break;
  }
  default:
    break;
  }
  return object;
}

const char *status_name(uint16_t flags)
{
  return (flags & LYS_STATUS_OBSLT) != 0 ? "obsolete" : (flags & LYS_STATUS_DEPRC) != 0 ? "deprecated" : "current";
}

void add_bounds(Napi::Object &object, uint32_t min, uint32_t max)
{
  object.Set("minElements", Napi::Number::New(object.Env(), min));
  /* libyang writes "unbounded" as the largest number, or as 0. */
  if (max != 0 && max != UINT32_MAX)
    object.Set("maxElements", Napi::Number::New(object.Env(), max));
}

Napi::Array conditions(Napi::Env env, const lysc_node *node)
{
  Napi::Array musts = list(env);
  const lysc_must *all = lysc_node_musts(node);
  LY_ARRAY_COUNT_TYPE i;
  LY_ARRAY_FOR(all, i)
  {
    Napi::Object must = Napi::Object::New(env);
    set_text(must, "condition", lyxp_get_expr(all[i].cond));
    set_text(must, "message", all[i].emsg);
    set_text(must, "appTag", all[i].eapptag);
    push(musts, must);
  }
  return musts;
}

void add_children(Napi::Array &children, const lysc_node *first)
{
  const lysc_node *child;
  LY_LIST_FOR(first, child) push(children, schema_node(children.Env(), child));
}

/* The children as they stand in the module: a choice keeps its cases, an operation its input and output. */
Napi::Array children_of(Napi::Env env, const lysc_node *node)
{
  Napi::Array children = list(env);
  if ((node->nodetype & (LYS_RPC | LYS_ACTION)) != 0) {
    const auto *of = reinterpret_cast<const lysc_node_action *>(node);
    push(children, schema_node(env, &of->input.node));
    push(children, schema_node(env, &of->output.node));
    return children;
  }
  if (node->nodetype == LYS_CHOICE) {
    add_children(children, reinterpret_cast<const lysc_node *>(reinterpret_cast<const lysc_node_choice *>(node)->cases));
    return children;
  }
  if (node->nodetype == LYS_CASE) {
    /* Children of all cases are one list; whose they are is told by their parents. */
    const lysc_node *child;
    LY_LIST_FOR(reinterpret_cast<const lysc_node_case *>(node)->child, child)
    {
      if (child->parent != node)
        break;
      push(children, schema_node(env, child));
    }
    return children;
  }
  add_children(children, lysc_node_child(node));
  add_children(children, reinterpret_cast<const lysc_node *>(lysc_node_actions(node)));
  add_children(children, reinterpret_cast<const lysc_node *>(lysc_node_notifs(node)));
  return children;
}

void add_path(Napi::Object &object, const char *name, const lysc_node *node, LYSC_PATH_TYPE type)
{
  char *path = lysc_path(node, type, nullptr, 0);
  set_text(object, name, path);
  std::free(path);
}

void add_leaf(Napi::Object &object, const lysc_node *node)
{
  Napi::Env env = object.Env();
  const auto *leaf = reinterpret_cast<const lysc_node_leaf *>(node); /* the same beginning in a leaf-list */
  object.Set("type", type_info(env, leaf->type));
  set_text(object, "units", leaf->units);
  Napi::Array defaults = list(env);
  each_default(node->module->ctx, node, [&defaults](const char *value) { push(defaults, value); });
  object.Set("defaults", defaults);
  if (lysc_is_key(node))
    object.Set("key", Napi::Boolean::New(env, true));
}

void add_list(Napi::Object &object, const lysc_node *node)
{
  Napi::Env env = object.Env();
  object.Set("orderedBy", (node->flags & LYS_ORDBY_USER) != 0 ? "user" : "system");
  if (node->nodetype == LYS_LEAFLIST) {
    const auto *of = reinterpret_cast<const lysc_node_leaflist *>(node);
    add_bounds(object, of->min, of->max);
    return;
  }
  const auto *of = reinterpret_cast<const lysc_node_list *>(node);
  add_bounds(object, of->min, of->max);
  Napi::Array keys = list(env);
  for (const lysc_node *child = of->child; child != nullptr && lysc_is_key(child); child = child->next)
    push(keys, child->name);
  object.Set("keys", keys);
}

} // namespace

Napi::Value schema_node(Napi::Env env, const lysc_node *node)
{
  Napi::Object object = Napi::Object::New(env);
  object.Set("kind", kind_name(node->nodetype));
  set_text(object, "name", node->name);
  set_text(object, "module", node->module->name);
  add_path(object, "schemaPath", node, LYSC_PATH_LOG);
  if ((node->nodetype & (LYS_CHOICE | LYS_CASE | LYS_INPUT | LYS_OUTPUT)) == 0)
    add_path(object, "path", node, LYSC_PATH_DATA);
  if ((node->flags & (LYS_CONFIG_W | LYS_CONFIG_R)) != 0)
    object.Set("config", Napi::Boolean::New(env, (node->flags & LYS_CONFIG_W) != 0));
  object.Set("mandatory", Napi::Boolean::New(env, (node->flags & LYS_MAND_TRUE) != 0));
  object.Set("status", status_name(node->flags));
  set_text(object, "description", node->dsc);
  set_text(object, "reference", node->ref);
  if (node->nodetype == LYS_CONTAINER)
    object.Set("presence", Napi::Boolean::New(env, (node->flags & LYS_PRESENCE) != 0));
  if ((node->nodetype & LYD_NODE_TERM) != 0)
    add_leaf(object, node);
  if ((node->nodetype & (LYS_LIST | LYS_LEAFLIST)) != 0)
    add_list(object, node);
  object.Set("musts", conditions(env, node));
  Napi::Array whens = list(env);
  lysc_when **all = lysc_node_when(node);
  LY_ARRAY_COUNT_TYPE i;
  LY_ARRAY_FOR(all, i) push(whens, lyxp_get_expr(all[i]->cond));
  object.Set("whens", whens);
  object.Set("children", children_of(env, node));
  return object;
}

Napi::Value schema_nodes(Napi::Env env, const lys_module *module)
{
  Napi::Object object = Napi::Object::New(env);
  const lysc_module *compiled = module->compiled;
  auto of = [env](const lysc_node *first) {
    Napi::Array nodes = list(env);
    add_children(nodes, first);
    return nodes;
  };
  object.Set("data", of(compiled == nullptr ? nullptr : compiled->data));
  object.Set("rpcs", of(compiled == nullptr ? nullptr : reinterpret_cast<const lysc_node *>(compiled->rpcs)));
  object.Set("notifications", of(compiled == nullptr ? nullptr : reinterpret_cast<const lysc_node *>(compiled->notifs)));
  return object;
}

Napi::Value module_info(Napi::Env env, const lys_module *module)
{
  Napi::Object object = Napi::Object::New(env);
  set_text(object, "name", module->name);
  set_text(object, "revision", module->revision);
  set_text(object, "namespace", module->ns);
  set_text(object, "prefix", module->prefix);
  set_text(object, "file", module->filepath);
  set_text(object, "organization", module->org);
  set_text(object, "contact", module->contact);
  set_text(object, "description", module->dsc);
  object.Set("implemented", Napi::Boolean::New(env, module->implemented != 0));
  Napi::Array features = list(env), imports = list(env), identities = list(env);
  if (module->parsed != nullptr) {
    uint32_t at = 0;
    for (lysp_feature *feature = nullptr; (feature = lysp_feature_next(feature, module->parsed, &at)) != nullptr;) {
      Napi::Object one = Napi::Object::New(env);
      set_text(one, "name", feature->name);
      one.Set("enabled", Napi::Boolean::New(env, (feature->flags & LYS_FENABLED) != 0));
      push(features, one);
    }
    LY_ARRAY_COUNT_TYPE i;
    LY_ARRAY_FOR(module->parsed->imports, i)
    {
      const lysp_import &import = module->parsed->imports[i];
      if (import.module != nullptr)
        push(imports, import.module->name);
    }
  }
  LY_ARRAY_COUNT_TYPE i;
  LY_ARRAY_FOR(module->identities, i) push(identities, module->identities[i].name);
  object.Set("features", features);
  object.Set("imports", imports);
  object.Set("identities", identities);
  return object;
}

} // namespace kedge_yang
