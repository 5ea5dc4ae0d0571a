/*
 * What is done with data: reading, checking, printing, finding, changing. Every call works on what it is given,
 * on the calling thread, and throws Failure with everything that libyang said.
 * It must not know JavaScript, nor leave a tree half changed: what fails leaves it as it was, but for validation's own
 * additions where that is said.
 */
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "document.h"
#include "ownership.h"

namespace kedge_yang {

/* How much of the modules has to hold: everything, the modules that have data, nothing. */
enum class Check { all, present, none };

enum class Defaults { explicitly, trim, all, tagged };

/* A node as values. */
struct NodeValue {
  std::string path;
  const char *kind = "";
  std::optional<std::string> value; /* canonical; of leaves and leaf-list entries */
  LY_DATA_TYPE type = LY_TYPE_UNKNOWN;
  bool is_default = false;
};

/* One change of a diff. */
struct Change {
  const char *op = "";
  NodeValue node;
  std::optional<NodeValue> before, after; /* values of leaves, as far as there are */
  /* Where the entry of a user-ordered list stood and stands: behind which, "" for the first. */
  std::optional<std::string> behind_before, behind_after;
};

/* The data that a message refers to, which may be an empty tree. */
struct Reference {
  bool given = false;
  const lyd_node *root = nullptr;
};

/* Refuses what libyang should not see. */
void inspect_or_throw(const std::string &document, Format format, uint32_t depth);

/* Both take a document that was inspected. */
lyd_node *parse_data(Context &context, const std::string &document, Format format, Kind kind, Check check);
lyd_node *parse_operation_data(Context &context, const std::string &document, Format format, Kind kind,
                               const Reference &reference);

/* In place, with defaults added; a tree that does not hold stays as it was. */
void validate(Tree &tree, Check check, const Reference &reference);

std::string print(const lyd_node *root, Context &context, Format format, bool pretty, Defaults defaults,
                  bool empty_containers);

std::vector<NodeValue> find(const lyd_node *root, Context &context, const std::string &xpath, size_t limit);
std::optional<NodeValue> get(const lyd_node *root, Context &context, const std::string &path, bool output);
/* True when something changed. */
bool set(Tree &tree, const std::string &path, const std::optional<std::string> &value);
bool remove(Tree &tree, const std::string &path);
/* Puts an entry of a user-ordered list before or behind another entry of the same list. */
void move(Tree &tree, const std::string &path, const std::string &beside, bool before);

lyd_node *duplicate(const lyd_node *root, Context &context);
void merge(Tree &into, const lyd_node *from);

/* There and back: libyang can turn a diff around only where no list is involved that its user orders. */
struct Ways {
  lyd_node *there = nullptr;
  lyd_node *back = nullptr; /* nullptr where `there` can be turned around */
};
Ways diff(const lyd_node *before, const lyd_node *after, Context &context);
Ways reverse(const Tree &diff);
void apply(Tree &to, const lyd_node *diff);
std::vector<Change> changes(const lyd_node *diff, Context &context);

} // namespace kedge_yang
