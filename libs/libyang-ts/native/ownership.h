/*
 * Who keeps what alive: a tree keeps its context, a job keeps its trees, and each is freed exactly once, by whoever
 * lets go last. It must not hand out a pointer to a node that outlives the call.
 */
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "failure.h"

namespace kedge_yang {

/* What a tree was read as: it says what may be in it and how it is validated. */
enum class Kind : int { configuration = 0, operational = 1, rpc = 2, reply = 3, notification = 4, diff = 5 };

/* A libyang context. Its modules may change only while no tree and no job of it is alive: nodes point into them. */
class Context {
public:
  explicit Context(ly_ctx *ctx) : ctx_(ctx) {}
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  ly_ctx *get() const { return ctx_; }

  /* Trees that somebody holds. */
  std::atomic<size_t> trees{0};
  /* Jobs that were begun; only the JavaScript thread counts them. */
  size_t jobs = 0;

  /* Nodes that nobody holds any more, to be freed by the next who has time: drain() frees them all. */
  void condemn(lyd_node *root);
  /* Frees what was condemned before the call, and waits for whoever is at it. */
  void drain();

private:
  ly_ctx *ctx_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<lyd_node *> condemned_;
  size_t draining_ = 0;
};

/* A forest of data nodes. Whoever has it lent is the only one to touch the nodes. */
class Tree {
public:
  Tree(std::shared_ptr<Context> context, lyd_node *root, Kind kind);
  ~Tree();
  Tree(const Tree &) = delete;
  Tree &operator=(const Tree &) = delete;

  /* Leaves its nodes to be freed off this thread. */
  void condemn();

  const std::shared_ptr<Context> context;
  lyd_node *root; /* first sibling, or nullptr: an empty tree */
  const Kind kind;
  /* Whether the defaults of the modules stand in it, as validation puts them there. */
  bool with_defaults = false;
  /* Of a diff: the way back, where libyang cannot make it of the way there. */
  lyd_node *back = nullptr;
  /* Touched on the JavaScript thread alone. */
  bool lent = false;
  size_t accounted = 0; /* bytes that V8 was told of */
  /* About how many it has: going through a large tree only to count would be felt. */
  size_t nodes = 0;
};

/* Nodes of a forest, all levels. */
size_t count_nodes(const lyd_node *root);

} // namespace kedge_yang
