/**
 * Takes spans and lets them leave: to a file of OTLP JSON lines, to a collector on loopback, or both.
 * It must not hold up whoever says a span: what cannot leave is counted, said once, and let go.
 */
import type { Span } from '@kedge/contracts';
import { readFileSync } from 'node:fs';
import { appendFile, rename, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { z } from 'zod';

import type { Logger } from './logging.js';
import { otlpOf } from './otlp.js';

/** Where spans go; one of the two at least. */
export const tracesSchema = z
  .strictObject({
    /** A file of JSON lines, one ExportTraceServiceRequest each, in a directory of this service's own. */
    file: z
      .string()
      .regex(/^\/[^\0]*$/, 'expected an absolute path')
      .optional(),
    /** OTLP/HTTP with JSON, usually http://127.0.0.1:4318/v1/traces. Beyond this box a collector passes it on. */
    collector: z
      .string()
      .regex(
        /^http:\/\/(127\.0\.0\.1|\[::1\]|localhost)(:\d{1,5})?\/[!-~]*$/,
        'expected an http URL on loopback, like http://127.0.0.1:4318/v1/traces',
      )
      .optional(),
  })
  .refine(
    ({ file, collector }) => file !== undefined || collector !== undefined,
    'expected a file or a collector',
  );

/** See {@link tracesSchema}. */
export type TracesSettings = z.output<typeof tracesSchema>;

/** Spans that may wait. */
const MAX_WAITING = 512;
/** What is said together leaves together, milliseconds. */
const GATHER_MS = 100;
const COLLECTOR_MS = 2_000;
/** The file is put aside at this size; the one before it goes. */
const FILE_MAX_BYTES = 4 * 1024 * 1024;

/** How spans are let go. */
export interface TracesOptions {
  readonly settings: TracesSettings;
  readonly service: string;
  readonly appliance: string;
  /** From CLOCK_MONOTONIC to the wall clock, nanoseconds; read when spans leave. */
  readonly wallOffsetNs: () => bigint;
  readonly logger: Logger;
}

/** Traces by the configuration of a service; undefined where it has none. */
export function openTraces(
  {
    traces: settings,
    appliance,
  }: { readonly traces?: TracesSettings | undefined; readonly appliance: string },
  by: Pick<TracesOptions, 'service' | 'wallOffsetNs' | 'logger'>,
): Traces | undefined {
  return settings && new Traces({ ...by, settings, appliance });
}

/** The traces of one process. */
export class Traces {
  readonly #options: TracesOptions;
  readonly #bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  #waiting: Span[] = [];
  #timer: NodeJS.Timeout | undefined;
  #leaving: Promise<void> = Promise.resolve();
  #lost = 0;
  #troubled = false;

  constructor(options: TracesOptions) {
    this.#options = options;
  }

  /** Spans that did not leave. */
  get lost(): number {
    return this.#lost;
  }

  /** Says that something of a transition is done. Never waits, never fails. */
  say(...spans: readonly Span[]): void {
    const room = MAX_WAITING - this.#waiting.length;
    this.#waiting.push(...spans.slice(0, room));
    this.#lost += Math.max(0, spans.length - room);
    this.#timer ??= setTimeout(() => {
      void this.#leave();
    }, GATHER_MS).unref();
  }

  /** Lets what waits leave. */
  async close(): Promise<void> {
    await this.#leave();
  }

  #leave(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // One batch at a time: what comes meanwhile waits, and what waits is bounded.
    this.#leaving = this.#leaving.then(async () => {
      const spans = this.#waiting.splice(0);
      if (spans.length === 0) return;
      const { settings, service, appliance, wallOffsetNs, logger } = this.#options;
      const source = { service, appliance, bootId: this.#bootId };
      const text = JSON.stringify(otlpOf(source, spans, wallOffsetNs()));
      const results = await Promise.allSettled([
        settings.file === undefined ? undefined : appendLine(settings.file, text),
        settings.collector === undefined ? undefined : post(settings.collector, text),
      ]);
      const failed = results.find((result) => result.status === 'rejected');
      if (failed === undefined) {
        this.#troubled = false;
        return;
      }
      this.#lost += spans.length;
      if (!this.#troubled)
        logger.warn({ err: failed.reason as unknown, lost: this.#lost }, 'spans do not leave');
      this.#troubled = true;
    });
    return this.#leaving;
  }
}

async function appendLine(path: string, text: string): Promise<void> {
  const size = await stat(path).then(
    (status) => status.size,
    () => 0,
  );
  if (size > FILE_MAX_BYTES) await rename(path, `${path}.1`);
  await appendFile(path, `${text}\n`, { mode: 0o640 });
}

function post(url: string, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      url,
      {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) },
        // The whole of it, the answer included: who answers a byte a minute is let go, too.
        signal: AbortSignal.timeout(COLLECTOR_MS),
      },
      (response) => {
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode = 0 } = response;
          if (statusCode >= 200 && statusCode < 300) resolve();
          else reject(new Error(`the collector answered with status ${String(statusCode)}`));
        });
        response.resume();
      },
    );
    call.on('error', reject);
    call.end(text);
  });
}
