/*
 * Lines for people on standard error: constant sentences with values, one line each.
 *
 * It must never wait for whoever reads them, and must not be called by the real-time thread.
 */
#ifndef KEDGE_WARDEN_LOG_H
#define KEDGE_WARDEN_LOG_H

#include <stddef.h>

/* Writes "kedge-warden: ..." and a line end. Dropped, and counted, while the reader does not read. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* Writes `text` as it is, and a line end where it has none. What the reader does not take at once is dropped. */
void log_text(const char *text, size_t length);

#endif
