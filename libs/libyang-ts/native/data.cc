/*
 * Reading, checking, printing, finding and changing data with libyang.
 * It must not know JavaScript, nor return while an error of libyang is still stored for this thread.
 */
#include "data.h"

#include <cstdlib>
#include <cstring>
#include <memory>

#include "values.h"

namespace kedge_yang {

namespace {

struct FreeText {
  void operator()(char *text) const { std::free(text); }
};
using Text = std::unique_ptr<char, FreeText>;

struct FreeForest {
  void operator()(lyd_node *root) const { lyd_free_all(root); }
};
using Forest = std::unique_ptr<lyd_node, FreeForest>;

struct FreeInput {
  void operator()(ly_in *in) const { ly_in_free(in, 0); }
};
using Input = std::unique_ptr<ly_in, FreeInput>;

struct FreeSet {
  void operator()(ly_set *set) const { ly_set_free(set, nullptr); }
};
using Set = std::unique_ptr<ly_set, FreeSet>;

LYD_FORMAT format_of(Format format) { return format == Format::json ? LYD_JSON : LYD_XML; }

bool stateless(Kind kind) { return kind == Kind::configuration; }

uint32_t validation_of(Kind kind, Check check)
{
  return VALIDATE_EVERY_ERROR | (stateless(kind) ? LYD_VALIDATE_NO_STATE : 0) |
         (check == Check::present ? LYD_VALIDATE_PRESENT : 0);
}

lyd_type type_of(Kind kind)
{
  switch (kind) {
  case Kind::rpc:
    return LYD_TYPE_RPC_YANG;
  case Kind::reply:
    return LYD_TYPE_REPLY_YANG;
  default:
    return LYD_TYPE_NOTIF_YANG;
  }
}

bool is_operation(Kind kind) { return kind == Kind::rpc || kind == Kind::reply || kind == Kind::notification; }

lyd_node *top_of(lyd_node *node)
{
  while (node->parent != nullptr)
    node = lyd_parent(node);
  return lyd_first_sibling(node);
}

/* The node of the operation in the tree of one: an action and a notification may stand below lists. */
lyd_node *operation_in(lyd_node *root)
{
  lyd_node *top, *node;
  LY_LIST_FOR(root, top)
  {
    LYD_TREE_DFS_BEGIN(top, node)
    {
      if (node->schema != nullptr && (node->schema->nodetype & (LYS_RPC | LYS_ACTION | LYS_NOTIF)) != 0)
        return node;
      LYD_TREE_DFS_END(top, node)
    }
  }
  return nullptr;
}

/* Takes the nodes away that stand there only because a module says so. */
void strip_defaults(lyd_node **root)
{
  lyd_node *node = *root;
  while (node != nullptr) {
    lyd_node *next = node->next;
    if ((node->flags & LYD_DEFAULT) != 0) {
      if (node == *root)
        *root = next;
      lyd_free_tree(node);
    } else if (lyd_node *child = lyd_child_no_keys(node)) {
      strip_defaults(&child);
    }
    node = next;
  }
}

/* The node at an exact path; nullptr when there is none. Throws where the path is none of the modules. */
lyd_node *node_at(lyd_node *root, Context &context, const std::string &path, bool output)
{
  Listening listening(context.get());
  if (root == nullptr) {
    if (lys_find_path(context.get(), nullptr, path.c_str(), output) == nullptr)
      throw listening.failure("YANG_PATH", "cannot find the path in the modules", LY_EVALID, false);
    return nullptr;
  }
  lyd_node *match = nullptr;
  LY_ERR error = lyd_find_path(root, path.c_str(), output, &match);
  if (error == LY_ENOTFOUND || error == LY_EINCOMPLETE)
    return nullptr;
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_PATH", "cannot find the path in the modules", error, false);
  return match;
}

} // namespace

void inspect_or_throw(const std::string &document, Format format, uint32_t depth)
{
  Inspection found = inspect(document.data(), document.size(), format, depth);
  const std::string at = " at byte " + std::to_string(found.at);
  switch (found.objection) {
  case Objection::none:
    return;
  case Objection::encoding:
    throw Failure("YANG_ENCODING", "the document is not UTF-8" + at);
  case Objection::depth:
    throw Failure("YANG_TOO_DEEP", "the document is nested too deeply" + at);
  case Objection::malformed:
    throw Failure("YANG_MALFORMED", "the document is not one whole JSON object" + at);
  case Objection::trailing:
    throw Failure("YANG_MALFORMED", "something stands behind the end of the document" + at);
  }
}

lyd_node *parse_data(Context &context, const std::string &document, Format format, Kind kind, Check check)
{
  Listening listening(context.get());
  uint32_t options = LYD_PARSE_STRICT | (stateless(kind) ? LYD_PARSE_NO_STATE : 0) |
                     (check == Check::none ? LYD_PARSE_ONLY : 0);
  uint32_t validation = check == Check::none ? 0 : validation_of(kind, check);
  lyd_node *root = nullptr;
  LY_ERR error = lyd_parse_data_mem(context.get(), document.c_str(), format_of(format), options, validation, &root);
  if (error != LY_SUCCESS) {
    Forest nothing(root);
    throw listening.failure("YANG_INVALID", "the document does not hold", error, check != Check::none);
  }
  return root;
}

namespace {

/*
 * Refuses an operation on an entry that the data has not: libyang checks everything of it but that. Containers without
 * presence are always there.
 */
void check_target(const lyd_node *operation, const Reference &reference, Context &context)
{
  if (!reference.given)
    return;
  for (const lyd_node *node = lyd_parent(operation); node != nullptr; node = lyd_parent(node)) {
    if (lysc_is_np_cont(node->schema))
      continue;
    std::string path = path_of(node);
    if (node_at(const_cast<lyd_node *>(reference.root), context, path, false) != nullptr)
      return;
    Failure failure("YANG_INVALID", "the message does not hold");
    Problem problem;
    problem.message = "There is no such node in the data for the operation";
    problem.path = path;
    problem.kind = LYVE_DATA;
    failure.problems.push_back(problem);
    failure.complete = false;
    throw failure;
  }
}

} // namespace

lyd_node *parse_operation_data(Context &context, const std::string &document, Format format, Kind kind,
                               const Reference &reference)
{
  Listening listening(context.get());
  ly_in *raw = nullptr;
  LY_ERR error = ly_in_new_memory(document.c_str(), &raw);
  Input in(raw);
  lyd_node *root = nullptr, *operation = nullptr;
  if (error == LY_SUCCESS)
    error = parse_operation(context.get(), nullptr, raw, format_of(format), type_of(kind), &root, &operation);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_INVALID", "the message does not hold", error, false);
  Forest owned(root);
  if (root == nullptr || operation == nullptr) {
    Failure failure("YANG_INVALID", "the message does not hold");
    Problem problem;
    problem.message = "there is no operation in the document";
    problem.kind = LYVE_DATA;
    failure.problems.push_back(problem);
    failure.complete = false;
    throw failure;
  }
  check_target(operation, reference, context);
  error = lyd_validate_op(root, reference.root, type_of(kind), nullptr);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_INVALID", "the message does not hold", error, false);
  return owned.release();
}

void validate(Tree &tree, Check check, const Reference &reference)
{
  Listening listening(tree.context->get());
  Forest copy(duplicate(tree.root, *tree.context));
  LY_ERR error;
  if (is_operation(tree.kind)) {
    lyd_node *operation = operation_in(copy.get());
    if (operation != nullptr)
      check_target(operation, reference, *tree.context);
    error = operation == nullptr ? LY_EINVAL : lyd_validate_op(copy.get(), reference.root, type_of(tree.kind), nullptr);
    if (error != LY_SUCCESS)
      throw listening.failure("YANG_INVALID", "the message does not hold", error, false);
  } else {
    lyd_node *root = copy.release();
    error = lyd_validate_all(&root, tree.context->get(), validation_of(tree.kind, check), nullptr);
    copy.reset(root);
    if (error != LY_SUCCESS)
      throw listening.failure("YANG_INVALID", "the data does not hold", error, true);
    tree.with_defaults = true;
  }
  lyd_node *before = tree.root;
  tree.root = copy.release();
  lyd_free_all(before);
}

std::string print(const lyd_node *root, Context &context, Format format, bool pretty, Defaults defaults,
                  bool empty_containers)
{
  if (root == nullptr)
    return format == Format::xml ? "" : pretty ? "{}\n" : "{}";
  Listening listening(context.get());
  uint32_t options = PRINT_SIBLINGS | (pretty ? 0 : LYD_PRINT_SHRINK) | (empty_containers ? PRINT_EMPTY_CONTAINERS : 0);
  switch (defaults) {
  case Defaults::explicitly:
    options |= LYD_PRINT_WD_EXPLICIT;
    break;
  case Defaults::trim:
    options |= LYD_PRINT_WD_TRIM;
    break;
  case Defaults::all:
    options |= LYD_PRINT_WD_ALL;
    break;
  case Defaults::tagged:
    /* Without the module of the mark libyang prints none, and says nothing. */
    if (ly_ctx_get_module_implemented(context.get(), "ietf-netconf-with-defaults") == nullptr)
      throw Failure("YANG_NOT_FOUND", "the module ietf-netconf-with-defaults, which has the mark, is not loaded");
    options |= LYD_PRINT_WD_ALL_TAG;
    break;
  }
  char *raw = nullptr;
  LY_ERR error = lyd_print_mem(&raw, root, format_of(format), options);
  Text printed(raw);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_LIBRARY", "the data could not be printed", error, false);
  /* Nothing to be printed is nothing at all. */
  return raw == nullptr ? "" : raw;
}

std::vector<NodeValue> find(const lyd_node *root, Context &context, const std::string &xpath, size_t limit)
{
  Listening listening(context.get());
  ly_set *raw = nullptr;
  if (root == nullptr) {
    LY_ERR error = lys_find_xpath(context.get(), nullptr, xpath.c_str(), 0, &raw);
    Set atoms(raw);
    if (error != LY_SUCCESS)
      throw listening.failure("YANG_PATH", "the XPath expression does not hold", error, false);
    return {};
  }
  LY_ERR error = find_xpath(root, xpath.c_str(), &raw);
  Set found(raw);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_PATH", "the XPath expression does not hold", error, false);
  if (found->count > limit)
    throw Failure("YANG_TOO_MANY", "the XPath expression selects " + std::to_string(found->count) + " nodes");
  std::vector<NodeValue> nodes;
  nodes.reserve(found->count);
  for (uint32_t i = 0; i < found->count; i++)
    nodes.push_back(value_of(found->dnodes[i]));
  return nodes;
}

std::optional<NodeValue> get(const lyd_node *root, Context &context, const std::string &path, bool output)
{
  const lyd_node *node = node_at(const_cast<lyd_node *>(root), context, path, output);
  return node == nullptr ? std::nullopt : std::optional(value_of(node));
}

bool set(Tree &tree, const std::string &path, const std::optional<std::string> &value)
{
  Context &context = *tree.context;
  Listening listening(context.get());
  bool output = tree.kind == Kind::reply;
  const lysc_node *schema = lys_find_path(context.get(), nullptr, path.c_str(), output);
  if (schema == nullptr)
    throw listening.failure("YANG_PATH", "cannot find the path in the modules", LY_EVALID, false);
  if (stateless(tree.kind) && (schema->flags & LYS_CONFIG_R) != 0)
    throw Failure("YANG_STATE", "the path is state, and the tree is configuration");
  if (lysc_is_key(schema))
    throw Failure("YANG_KEY", "the path is a key of a list entry");
  lyd_node *created = nullptr;
  LY_ERR error = lyd_new_path(tree.root, context.get(), path.c_str(), value ? value->c_str() : nullptr,
                              LYD_NEW_PATH_UPDATE | (output ? NEW_PATH_OUTPUT : 0), &created);
  if (error == LY_EEXIST || error == LY_ENOT)
    return false;
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_INVALID", "the value cannot be set", error, false);
  if (created == nullptr)
    return false;
  tree.root = top_of(tree.root == nullptr ? created : tree.root);
  return true;
}

bool remove(Tree &tree, const std::string &path)
{
  lyd_node *node = node_at(tree.root, *tree.context, path, tree.kind == Kind::reply);
  if (node == nullptr || (node->flags & LYD_DEFAULT) != 0)
    return false;
  if (lysc_is_key(node->schema))
    throw Failure("YANG_KEY", "the path is a key of a list entry");
  Listening listening(tree.context->get());
  if (node == tree.root)
    tree.root = node->next;
  lyd_free_tree(node);
  return true;
}

void move(Tree &tree, const std::string &path, const std::string &beside, bool before)
{
  lyd_node *node = node_at(tree.root, *tree.context, path, false);
  lyd_node *other = node_at(tree.root, *tree.context, beside, false);
  if (node == nullptr || other == nullptr)
    throw Failure("YANG_NOT_FOUND", node == nullptr ? "there is no such entry" : "there is no such entry to stand beside");
  if (node == other)
    return;
  if (!lysc_is_userordered(node->schema) || node->schema != other->schema || node->parent != other->parent)
    throw Failure("YANG_ORDER", "the entries are not of one list that its user orders");
  Listening listening(tree.context->get());
  LY_ERR error = before ? lyd_insert_before(other, node) : lyd_insert_after(other, node);
  tree.root = top_of(other);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_ORDER", "the entry could not be moved", error, false);
}

lyd_node *duplicate(const lyd_node *root, Context &context)
{
  if (root == nullptr)
    return nullptr;
  Listening listening(context.get());
  lyd_node *copy = nullptr;
  LY_ERR error = lyd_dup_siblings(root, nullptr, LYD_DUP_RECURSIVE | LYD_DUP_WITH_FLAGS, &copy);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_LIBRARY", "the data could not be copied", error, false);
  return copy;
}

namespace {

/* The defaults of the modules, as validation would add them, where the tree had them before. */
void complete(Tree &tree, Forest &forest, Listening &listening)
{
  if (!tree.with_defaults)
    return;
  lyd_node *root = forest.release();
  LY_ERR error = lyd_new_implicit_all(&root, tree.context->get(), stateless(tree.kind) ? LYD_IMPLICIT_NO_STATE : 0,
                                      nullptr);
  forest.reset(root);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_LIBRARY", "the defaults could not be added", error, false);
}

void replace(Tree &tree, Forest &forest)
{
  lyd_node *before = tree.root;
  tree.root = forest.release();
  lyd_free_all(before);
}

} // namespace

void merge(Tree &into, const lyd_node *from)
{
  if (from == nullptr)
    return;
  Listening listening(into.context->get());
  lyd_node *copy = duplicate(into.root, *into.context);
  LY_ERR error = lyd_merge_siblings(&copy, from, 0);
  Forest owned(copy);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_INVALID", "the data could not be merged", error, false);
  replace(into, owned);
}

namespace {

bool says_something(const lyd_node *root)
{
  const lyd_node *node;
  LYD_TREE_DFS_BEGIN(root, node)
  {
    if (lyd_find_meta(node->meta, nullptr, "yang:operation") != nullptr)
      return true;
    LYD_TREE_DFS_END(root, node)
  }
  return false;
}

/*
 * An entry that only moved carries all its content in the diff, and applying it stumbles over what stands there without
 * an operation: it is taken away.
 */
void lighten_moves(lyd_node *first)
{
  for (lyd_node *node = first, *next; node != nullptr; node = next) {
    next = node->next;
    const lyd_meta *meta = lyd_find_meta(node->meta, nullptr, "yang:operation");
    bool moved = node->schema->nodetype == LYS_LIST && lysc_is_userordered(node->schema) && meta != nullptr &&
                 std::strcmp(lyd_get_meta_value(meta), "replace") == 0;
    for (lyd_node *child = moved ? lyd_child_no_keys(node) : nullptr, *after; child != nullptr; child = after) {
      after = child->next;
      if (!says_something(child))
        lyd_free_tree(child);
    }
    lighten_moves(lyd_child_no_keys(node));
  }
}

lyd_node *one_way(const lyd_node *before, const lyd_node *after, Context &context)
{
  Listening listening(context.get());
  lyd_node *found = nullptr;
  LY_ERR error = lyd_diff_siblings(before, after, 0, &found);
  Forest owned(found);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_LIBRARY", "the trees could not be compared", error, false);
  lighten_moves(owned.get());
  return owned.release();
}

bool orders_matter(const lyd_node *root)
{
  const lyd_node *top, *node;
  LY_LIST_FOR(root, top)
  {
    LYD_TREE_DFS_BEGIN(top, node)
    {
      if (lysc_is_userordered(node->schema))
        return true;
      LYD_TREE_DFS_END(top, node)
    }
  }
  return false;
}

} // namespace

Ways diff(const lyd_node *before, const lyd_node *after, Context &context)
{
  Forest there(one_way(before, after, context)), back;
  if (orders_matter(there.get()))
    back.reset(one_way(after, before, context));
  return {there.release(), back.release()};
}

void apply(Tree &to, const lyd_node *diff)
{
  if (diff == nullptr)
    return;
  Listening listening(to.context->get());
  lyd_node *copy = duplicate(to.root, *to.context);
  /* A container that is there by default would stand beside the one that the diff creates. */
  strip_defaults(&copy);
  LY_ERR error = lyd_diff_apply_all(&copy, diff);
  Forest owned(copy == nullptr ? nullptr : lyd_first_sibling(copy));
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_DIFF", "the diff does not fit the tree", error, false);
  complete(to, owned, listening);
  replace(to, owned);
}

Ways reverse(const Tree &diff)
{
  Context &context = *diff.context;
  if (diff.root == nullptr)
    return {};
  if (diff.back != nullptr) {
    Forest there(duplicate(diff.back, context)), back(duplicate(diff.root, context));
    return {there.release(), back.release()};
  }
  Listening listening(context.get());
  lyd_node *reversed = nullptr;
  LY_ERR error = lyd_diff_reverse_all(diff.root, &reversed);
  Forest owned(reversed);
  if (error != LY_SUCCESS)
    throw listening.failure("YANG_DIFF", "the diff cannot be reverted", error, false);
  return {owned.release(), nullptr};
}

} // namespace kedge_yang
