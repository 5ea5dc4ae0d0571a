/*
 * Collects libyang's messages of one call.
 * It must not interpret them; TypeScript does.
 */
#include "failure.h"

namespace kedge_yang {

namespace {

std::string text(const char *from) { return from == nullptr ? std::string() : std::string(from); }

Problem problem_of(const ly_err_item &item)
{
  Problem problem;
  problem.message = text(item.msg);
  problem.app_tag = text(item.apptag);
  problem.kind = item.vecode;
#if LY_VERSION_MAJOR >= 3
  problem.path = text(item.data_path);
  problem.schema_path = text(item.schema_path);
  problem.line = item.line;
  problem.error = item.err;
#else
  problem.location = text(item.path);
  problem.error = item.no;
#endif
  return problem;
}

/* Of these libyang gives the first even where it was asked for all: it cannot read on. */
bool ends_reading(int kind)
{
  return kind == LYVE_SYNTAX || kind == LYVE_SYNTAX_YANG || kind == LYVE_SYNTAX_YIN || kind == LYVE_SYNTAX_XML ||
         kind == LYVE_SYNTAX_JSON;
}

} // namespace

void keep_messages() { ly_log_options(LY_LOSTORE); }

Listening::Listening(ly_ctx *ctx) : ctx_(ctx)
{
  if (ctx_ != nullptr)
    ly_err_clean(ctx_, nullptr);
}

Listening::~Listening()
{
  if (ctx_ != nullptr)
    ly_err_clean(ctx_, nullptr);
}

std::vector<Problem> Listening::problems(bool warnings) const
{
  std::vector<Problem> found;
  if (ctx_ == nullptr)
    return found;
  for (const ly_err_item *item = ly_err_first(ctx_); item != nullptr; item = item->next)
    if (item->level == LY_LLERR || (warnings && item->level == LY_LLWRN))
      found.push_back(problem_of(*item));
  return found;
}

Failure Listening::failure(const char *code, const std::string &message, LY_ERR error, bool every) const
{
  Failure failure(error == LY_EMEM ? "YANG_LIBRARY" : code, message);
  failure.problems = problems();
  failure.complete = every && EVERY_ERROR;
  for (const Problem &problem : failure.problems)
    if (ends_reading(problem.kind))
      failure.complete = false;
  if (failure.problems.empty()) {
    Problem problem;
    problem.message = error == LY_EMEM ? "out of memory" : "libyang gave no reason, error " + std::to_string(error);
    problem.error = error;
    problem.kind = LYVE_OTHER;
    failure.problems.push_back(problem);
    failure.complete = false;
  }
  return failure;
}

} // namespace kedge_yang
