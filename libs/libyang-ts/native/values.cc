/*
 * Nodes as values, and diffs as lists of changes.
 * It must not change a node.
 */
#include "values.h"

#include <cstdlib>
#include <cstring>

namespace kedge_yang {

namespace {

/* The type that a value really has: of a union the member, of a leafref what it points at. */
LY_DATA_TYPE real_type(const lyd_node_term &term)
{
  const lyd_value *value = &term.value;
  while (value->realtype->basetype == LY_TYPE_UNION)
    value = &value->subvalue->value;
  return value->realtype->basetype;
}

std::string path_without_last_predicate(const lyd_node *node)
{
  char *raw = lyd_path(node, LYD_PATH_STD_NO_LAST_PRED, nullptr, 0);
  std::string path = raw == nullptr ? "" : raw;
  std::free(raw);
  return path;
}

const char *metadata(const lyd_node *node, const char *name)
{
  const lyd_meta *meta = lyd_find_meta(node->meta, nullptr, name);
  return meta == nullptr ? nullptr : lyd_get_meta_value(meta);
}

/* The entry that libyang names by its keys, its value or its position, as a path; "" for none. */
std::string entry(const lyd_node *node, const char *named)
{
  if (named == nullptr || named[0] == '\0')
    return "";
  std::string predicate = named;
  if (lysc_is_dup_inst_list(node->schema))
    predicate = "[" + predicate + "]";
  else if (node->schema->nodetype == LYS_LEAFLIST) {
    const char *quote = std::strchr(named, '\'') == nullptr ? "'" : "\"";
    predicate = std::string("[.=") + quote + named + quote + "]";
  }
  return path_without_last_predicate(node) + predicate;
}

const char *order_name(const lyd_node *node, bool original)
{
  if (lysc_is_dup_inst_list(node->schema))
    return original ? "yang:orig-position" : "yang:position";
  if (node->schema->nodetype == LYS_LIST)
    return original ? "yang:orig-key" : "yang:key";
  return original ? "yang:orig-value" : "yang:value";
}

/* The value that a leaf had, with the type that it had then. */
std::optional<NodeValue> original(const lyd_node *node)
{
  const char *text = metadata(node, "yang:orig-value");
  if (text == nullptr || node->schema->nodetype != LYS_LEAF)
    return std::nullopt;
  NodeValue value = value_of(node);
  value.value = text;
  lyd_node *copy = nullptr;
  if (lyd_dup_single(node, nullptr, LYD_DUP_NO_META, &copy) == LY_SUCCESS) {
    LY_ERR error = lyd_change_term(copy, text);
    if (error == LY_SUCCESS || error == LY_EEXIST || error == LY_ENOT)
      value.type = real_type(*reinterpret_cast<const lyd_node_term *>(copy));
    lyd_free_tree(copy);
  }
  return value;
}

/* A container that means nothing by itself, and a key, which stands in the path of its entry. */
bool says_nothing(const lyd_node *node)
{
  return (node->flags & LYD_DEFAULT) != 0 || lysc_is_np_cont(node->schema) || lysc_is_key(node->schema);
}

class Reading {
public:
  std::vector<Change> changes;

  void read(const lyd_node *first, char inherited)
  {
    const lyd_node *node;
    LY_LIST_FOR(first, node)
    {
      if (node->schema == nullptr)
        continue;
      const char *said = metadata(node, "yang:operation");
      char op = said == nullptr ? inherited : said[0];
      /* A move, or a new value, is of the node alone. */
      char below = op == 'r' ? inherited : op;
      /* What is taken away goes before what it stands in; what is added comes after it. */
      if (op != 'd')
        add(node, op);
      read(lyd_child(node), below);
      if (op == 'd')
        add(node, op);
    }
  }

private:
  void add(const lyd_node *node, char op)
  {
    if (op == 'n' || says_nothing(node))
      return;
    Change change;
    change.node = value_of(node);
    bool ordered = lysc_is_userordered(node->schema);
    if (op == 'c') {
      change.op = "create";
      if (change.node.value)
        change.after = change.node;
      if (ordered)
        change.behind_after = entry(node, metadata(node, order_name(node, false)));
    } else if (op == 'd') {
      change.op = "delete";
      if (change.node.value)
        change.before = change.node;
    } else if (ordered) {
      change.op = "move";
      change.behind_before = entry(node, metadata(node, order_name(node, true)));
      change.behind_after = entry(node, metadata(node, order_name(node, false)));
    } else {
      change.op = "replace";
      if (change.node.value)
        change.after = change.node;
      change.before = original(node);
    }
    changes.push_back(std::move(change));
  }
};

} // namespace

const char *kind_name(uint16_t nodetype)
{
  switch (nodetype) {
  case LYS_CONTAINER:
    return "container";
  case LYS_CHOICE:
    return "choice";
  case LYS_LEAF:
    return "leaf";
  case LYS_LEAFLIST:
    return "leaf-list";
  case LYS_LIST:
    return "list";
  case LYS_ANYXML:
    return "anyxml";
  case LYS_ANYDATA:
    return "anydata";
  case LYS_CASE:
    return "case";
  case LYS_RPC:
    return "rpc";
  case LYS_ACTION:
    return "action";
  case LYS_NOTIF:
    return "notification";
  case LYS_INPUT:
    return "input";
  case LYS_OUTPUT:
    return "output";
  default:
    return "unknown";
  }
}

const char *type_name(LY_DATA_TYPE type)
{
  switch (type) {
  case LY_TYPE_BINARY:
    return "binary";
  case LY_TYPE_UINT8:
    return "uint8";
  case LY_TYPE_UINT16:
    return "uint16";
  case LY_TYPE_UINT32:
    return "uint32";
  case LY_TYPE_UINT64:
    return "uint64";
  case LY_TYPE_STRING:
    return "string";
  case LY_TYPE_BITS:
    return "bits";
  case LY_TYPE_BOOL:
    return "boolean";
  case LY_TYPE_DEC64:
    return "decimal64";
  case LY_TYPE_EMPTY:
    return "empty";
  case LY_TYPE_ENUM:
    return "enumeration";
  case LY_TYPE_IDENT:
    return "identityref";
  case LY_TYPE_INST:
    return "instance-identifier";
  case LY_TYPE_LEAFREF:
    return "leafref";
  case LY_TYPE_UNION:
    return "union";
  case LY_TYPE_INT8:
    return "int8";
  case LY_TYPE_INT16:
    return "int16";
  case LY_TYPE_INT32:
    return "int32";
  case LY_TYPE_INT64:
    return "int64";
  default:
    return "unknown";
  }
}

std::string path_of(const lyd_node *node)
{
  char *raw = lyd_path(node, LYD_PATH_STD, nullptr, 0);
  std::string path = raw == nullptr ? "" : raw;
  std::free(raw);
  return path;
}

NodeValue value_of(const lyd_node *node)
{
  NodeValue value;
  value.path = path_of(node);
  value.is_default = (node->flags & LYD_DEFAULT) != 0;
  if (node->schema == nullptr)
    return value;
  value.kind = kind_name(node->schema->nodetype);
  if ((node->schema->nodetype & LYD_NODE_TERM) != 0) {
    value.value = lyd_get_value(node);
    value.type = real_type(*reinterpret_cast<const lyd_node_term *>(node));
  }
  return value;
}

std::vector<Change> changes(const lyd_node *diff, Context &context)
{
  Listening listening(context.get());
  Reading reading;
  reading.read(diff, 'n');
  return std::move(reading.changes);
}

} // namespace kedge_yang
