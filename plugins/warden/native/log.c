/*
 * The implementation of log.h: one write per line, only when it cannot block.
 *
 * It must not buffer: what was said before a crash has been said.
 */
#include "log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static unsigned dropped;

void log_line(const char *format, ...)
{
  /* A pipe that is writable takes PIPE_BUF bytes without blocking; lines are shorter. */
  struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
  if (poll(&writable, 1, 0) != 1 || (writable.revents & POLLOUT) == 0) {
    dropped++;
    return;
  }
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
