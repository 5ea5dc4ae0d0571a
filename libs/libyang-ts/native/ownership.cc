/*
 * Lifetimes of contexts and trees.
 * It must not know JavaScript: it is the same under the addon, under a fuzzer and in a test.
 */
#include "ownership.h"

namespace kedge_yang {

Context::~Context()
{
  drain();
  /* This thread's messages are cleaned before: libyang keeps them for each thread by itself. */
  ly_err_clean(ctx_, nullptr);
  ly_ctx_destroy(ctx_);
}

void Context::condemn(lyd_node *root)
{
  std::lock_guard<std::mutex> guard(mutex_);
  condemned_.push_back(root);
}

void Context::drain()
{
  std::unique_lock<std::mutex> lock(mutex_);
  draining_++;
  while (!condemned_.empty()) {
    lyd_node *root = condemned_.back();
    condemned_.pop_back();
    lock.unlock();
    lyd_free_all(root);
    lock.lock();
  }
  draining_--;
  idle_.notify_all();
  idle_.wait(lock, [this] { return draining_ == 0; });
}

Tree::Tree(std::shared_ptr<Context> context_, lyd_node *root_, Kind kind_)
    : context(std::move(context_)), root(root_), kind(kind_)
{
  context->trees++;
}

Tree::~Tree()
{
  lyd_free_all(root);
  lyd_free_all(back);
  context->trees--;
}

void Tree::condemn()
{
  for (lyd_node *each : {root, back})
    if (each != nullptr)
      context->condemn(each);
  root = back = nullptr;
}

size_t count_nodes(const lyd_node *root)
{
  size_t count = 0;
  const lyd_node *top, *node;
  LY_LIST_FOR(root, top)
  {
    LYD_TREE_DFS_BEGIN(top, node)
    {
      count++;
      LYD_TREE_DFS_END(top, node)
    }
  }
  return count;
}

} // namespace kedge_yang
