/**
 * The log of a service: one JSON object a line, one child per component, ids in fields.
 * It must not decide where a log goes beyond the file descriptor it is given.
 */
import type { LoggerService } from '@nestjs/common';
import { fstatSync } from 'node:fs';
import { type DestinationStream, pino } from 'pino';

import { journalLine, leadsToJournal } from './journal-line.js';

/**
 * What services log with. info = state changed, warn = degraded but working, error = somebody must act.
 * Sentences are constant and in lower case; what varies stands in the fields.
 */
export type Logger = pino.Logger;

/** How a log is opened. */
export interface LogOptions {
  /** Name of the service. */
  readonly name: string;
  readonly level?: 'debug' | 'info' | 'warn' | 'error';
  /** Where lines go; default: standard output, written synchronously so that the last line of a crash is there. */
  readonly destination?: DestinationStream;
}

/** Opens the log of a service. bigint fields are written as strings, errors under `err` with cause and code. */
export function createLogger({ name, level = 'info', destination }: LogOptions): Logger {
  return pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => plain(fields, 0) as Record<string, unknown>,
      },
    },
    destination ?? standardOutput(),
  );
}

/** Standard output as its reader wants it: the journal takes the level of a line from a prefix. */
function standardOutput(): DestinationStream {
  const output = pino.destination({ fd: 1, sync: true });
  const { JOURNAL_STREAM: stream } = process.env;
  if (!leadsToJournal(stream, fstatSync(1, { bigint: true }))) return output;
  return {
    write: (line: string) => {
      output.write(journalLine(line));
    },
  };
}

const MAX_DEPTH = 6;

function plain(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return value;
  // Errors keep their own form for pino's serializer, and what knows how to print itself (a Secret) does.
  if (value instanceof Error || 'toJSON' in value) return value;
  if (Array.isArray(value)) return value.map((item) => plain(item, depth + 1));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part, depth + 1)]));
}

/** What Nest says about itself, in the log of the service; its start-up chatter only at debug. */
export function nestLogger(logger: Logger): LoggerService {
  const child = logger.child({ component: 'nest' });
  const text = (message: unknown): string =>
    message instanceof Error
      ? message.message
      : typeof message === 'string'
        ? message
        : JSON.stringify(message);
  const write =
    (level: 'debug' | 'warn' | 'error') =>
    (message: unknown, ...rest: unknown[]) => {
      child[level](message instanceof Error ? { err: message } : { rest }, text(message));
    };
  return {
    log: write('debug'),
    debug: write('debug'),
    verbose: write('debug'),
    warn: write('warn'),
    error: write('error'),
    fatal: write('error'),
  };
}
