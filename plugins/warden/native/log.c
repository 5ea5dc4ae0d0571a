/*
 * The implementation of log.h: one write per line, or piece of a text, only when it cannot block.
 *
 * It must not buffer: what was said before a crash has been said.
 */
#include "log.h"

#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static unsigned dropped;

/* A pipe that is writable takes PIPE_BUF bytes without blocking; lines are shorter. */
static bool writable(void)
{
  struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
  bool good = poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
  dropped += !good;
  return good;
}

void log_text(const char *text, size_t length)
{
  bool ended = length == 0 || text[length - 1] == '\n';
  while (length > 0 && writable()) {
    ssize_t n = write(STDERR_FILENO, text, length < PIPE_BUF ? length : PIPE_BUF);
    if (n <= 0)
      return;
    text += n;
    length -= (size_t)n;
  }
  if (!ended && length == 0 && writable() && write(STDERR_FILENO, "\n", 1) != 1)
    dropped++;
}

void log_line(const char *format, ...)
{
  if (!writable())
    return;
  char line[1600], what[1500];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof(what), format, args);
  va_end(args);
  int n = dropped > 0 ? snprintf(line, sizeof(line), "kedge-warden: (%u lines lost) %s\n", dropped, what)
                      : snprintf(line, sizeof(line), "kedge-warden: %s\n", what);
  if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == n)
    dropped = 0;
}
