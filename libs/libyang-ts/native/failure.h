/*
 * What libyang has to say about a call that failed: everything that it stored for this thread, in its order.
 * It must not print anything, nor leave a message behind for the next call.
 */
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "library.h"

namespace kedge_yang {

/* One message. `path` and `line` are as libyang wrote them; versions before 3 wrote them as one sentence. */
struct Problem {
  std::string message;
  std::string location;      /* 2.1: the sentence that says where */
  std::string path;          /* 3: the data path */
  std::string schema_path;   /* 3: the schema path */
  std::string app_tag;
  uint64_t line = 0;         /* 0 where it is not known */
  int kind = 0;              /* LY_VECODE */
  int error = 0;             /* LY_ERR */
};

/* Thrown by whatever libyang, or a limit of ours, refuses. */
struct Failure : std::exception {
  Failure(std::string code_, std::string what_) : code(std::move(code_)), message(std::move(what_)) {}
  const char *what() const noexcept override { return message.c_str(); }

  std::string code; /* a row of docs/errors.md */
  std::string message;
  std::vector<Problem> problems;
  bool complete = true; /* false where libyang stopped at the first */
};

/*
 * Makes libyang keep what it has to say and print nothing, in the whole process: it has no other way. An option of the
 * thread it sets back by itself in the middle of a call. Done once more, it changes nothing.
 */
void keep_messages();

/* For as long as it lives, this thread's messages of `ctx` are those of one call; none is left behind. */
class Listening {
public:
  explicit Listening(ly_ctx *ctx);
  ~Listening();
  Listening(const Listening &) = delete;
  Listening &operator=(const Listening &) = delete;

  /* What was said since; warnings only where `warnings`. */
  std::vector<Problem> problems(bool warnings = false) const;
  /* A failure that says all of it. `every`: libyang was asked to go on after the first error. */
  Failure failure(const char *code, const std::string &message, LY_ERR error, bool every) const;

private:
  ly_ctx *ctx_;
};

} // namespace kedge_yang
