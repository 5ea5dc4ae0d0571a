/*
 * Fuzz target: any document, message, path or XPath through the binding's own code, by a module with every kind of node.
 * What is refused is refused with a reason, and leaves no message behind; what is taken is no deeper than allowed, prints
 * to what reads as the same, and comes out of a diff with another tree as it went in, there and back.
 *
 *   input: what, limit of depth, then a document; for paths the expression after a line break
 *
 * It must not take libyang's word for how deep a tree is. What goes on inside libyang, which has no sanitizers, shows
 * where it frees twice, leaks, or dies.
 */
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include "data.h"

extern "C" {
#include "input.h"
}

#include <sanitizer/lsan_interface.h>

using namespace kedge_yang;

namespace {

std::shared_ptr<Context> context;
/* What everything is compared with. */
std::unique_ptr<Tree> other;

const char OTHER[] = R"({"everything:all":{"i8":5,"tags":["x","y"],"order":["b","a"],"loud":{},
  "peer":[{"host":"h","port":1,"label":"l"}],
  "rule":[{"name":"z","step":[{"at":1},{"at":0,"what":"w"}]},{"name":"a"}]}})";

void prepare()
{
  keep_messages();
  std::ifstream file(MODULE);
  std::stringstream text;
  text << file.rdbuf();
  ly_ctx *made = nullptr;
  HOLDS(ly_ctx_new(nullptr, LY_CTX_DISABLE_SEARCHDIR_CWD | LY_CTX_NO_YANGLIBRARY, &made) == LY_SUCCESS);
  HOLDS(lys_parse_mem(made, text.str().c_str(), LYS_IN_YANG, nullptr) == LY_SUCCESS);
  context = std::make_shared<Context>(made);
  other = std::make_unique<Tree>(context, parse_data(*context, OTHER, Format::json, Kind::configuration, Check::all),
                                 Kind::configuration);
  other->with_defaults = true;
}

/* Levels of nodes that the document has: what the module adds by itself is none of its nesting. */
uint32_t depth_of(const lyd_node *first)
{
  uint32_t deepest = 0;
  for (const lyd_node *node = first; node != nullptr; node = node->next) {
    if ((node->flags & LYD_DEFAULT) != 0)
      continue;
    uint32_t below = 1 + depth_of(lyd_child(node));
    deepest = below > deepest ? below : deepest;
  }
  return deepest;
}

std::string printed(const lyd_node *root, Format format)
{
  return print(root, *context, format, false, Defaults::explicitly, false);
}

void reads_as_itself(const Tree &tree, Check check)
{
  for (Format format : {Format::json, Format::xml}) {
    std::string text = printed(tree.root, format);
    inspect_or_throw(text, format, 500);
    Tree again(context, parse_data(*context, text, format, tree.kind, check), tree.kind);
    HOLDS(printed(again.root, format) == text);
  }
}

void goes_there_and_back(Tree &tree)
{
  std::string from = printed(tree.root, Format::xml);
  Ways ways = diff(other->root, tree.root, *context);
  Tree between(context, ways.there, Kind::diff);
  between.back = ways.back;
  changes(between.root, *context);
  Tree copy(context, duplicate(other->root, *context), Kind::configuration);
  apply(copy, between.root);
  Ways none = diff(copy.root, tree.root, *context);
  HOLDS(changes(none.there, *context).empty());
  lyd_free_all(none.there);
  lyd_free_all(none.back);
  Ways turned = reverse(between);
  Tree home(context, turned.there, Kind::diff);
  home.back = turned.back;
  apply(copy, home.root);
  none = diff(copy.root, other->root, *context);
  HOLDS(changes(none.there, *context).empty());
  lyd_free_all(none.there);
  lyd_free_all(none.back);
  HOLDS(printed(tree.root, Format::xml) == from);
}

void data(const std::string &text, Format format, Kind kind, Check check, uint32_t depth)
{
  inspect_or_throw(text, format, depth);
  Tree tree(context, parse_data(*context, text, format, kind, check), kind);
  tree.with_defaults = check != Check::none;
  HOLDS(depth_of(tree.root) <= depth + 1); /* a leaf is a level of nodes, and none of brackets */
  HOLDS(count_nodes(tree.root) >= depth_of(tree.root));
  if (check == Check::none || kind != Kind::configuration)
    return;
  reads_as_itself(tree, check);
  goes_there_and_back(tree);
  validate(tree, Check::all, {});
}

/* libyang 2.1 leaks the nodes of messages that it refuses, and of nothing else: leaks of what it takes are looked for. */
class LeaksAreLibyangs {
public:
  LeaksAreLibyangs() { __lsan_disable(); }
  ~LeaksAreLibyangs() { __lsan_enable(); }
};

void message(const std::string &text, Format format, Kind kind, uint32_t depth)
{
  inspect_or_throw(text, format, depth);
  Reference reference;
  reference.given = true;
  reference.root = other->root;
  {
    LeaksAreLibyangs leaks;
    lyd_free_all(parse_operation_data(*context, text, format, kind, reference));
  }
  Tree tree(context, parse_operation_data(*context, text, format, kind, reference), kind);
  HOLDS(tree.root != nullptr);
  printed(tree.root, Format::json);
}

void expression(const std::string &text, bool xpath)
{
  if (first_bad_byte(text.data(), text.size()) < text.size() || text.empty())
    return;
  if (xpath) {
    find(other->root, *context, text, 1000);
    return;
  }
  size_t end = text.find('\n');
  std::string path = text.substr(0, end);
  if (path.empty() || path[0] != '/')
    return;
  get(other->root, *context, path, false);
  Tree tree(context, duplicate(other->root, *context), Kind::configuration);
  bool changed = set(tree, path, end == std::string::npos ? std::nullopt : std::optional(text.substr(end + 1)));
  HOLDS(get(tree.root, *context, path, false).has_value());
  remove(tree, path);
  HOLDS(!changed || tree.root == nullptr || tree.root->prev->next == nullptr);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
  if (context == nullptr)
    prepare();
  struct input in = {bytes, size};
  uint64_t what = take(&in, 1);
  uint32_t depth = 1 + take(&in, 1) % 16;
  std::string text(reinterpret_cast<const char *>(in.at), in.left);
  Format format = (what & 1) != 0 ? Format::xml : Format::json;
  std::string before = printed(other->root, Format::xml);
  try {
    switch (what / 2 % 8) {
    case 0:
    case 1:
      data(text, format, Kind::configuration, Check::all, depth);
      break;
    case 2:
      data(text, format, Kind::configuration, Check::none, depth);
      break;
    case 3:
      data(text, format, Kind::operational, Check::present, depth);
      break;
    case 4:
    case 5:
    case 6:
      message(text, format, static_cast<Kind>(static_cast<int>(Kind::rpc) + (what / 2 % 8 - 4)), depth);
      break;
    default:
      expression(text, (what & 1) != 0);
    }
  } catch (const Failure &failure) {
    HOLDS(!failure.code.empty() && !failure.message.empty());
    bool asked = failure.code == "YANG_INVALID" || failure.code == "YANG_PATH" || failure.code == "YANG_DIFF";
    HOLDS(!asked || !failure.problems.empty());
    HOLDS(failure.code != "YANG_DIFF" && failure.code != "YANG_LIBRARY");
  }
  HOLDS(ly_err_first(context->get()) == nullptr);
  HOLDS(printed(other->root, Format::xml) == before);
  HOLDS(context->trees == 1);
  return 0;
}
