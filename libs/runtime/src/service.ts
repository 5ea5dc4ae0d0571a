/**
 * The life of a service process: start, heartbeat, serve, stop; and a clear end when anything of it fails.
 * It must not know what the service does.
 */
import 'reflect-metadata';

import { KedgeError } from '@kedge/units';
import type { DynamicModule, INestMicroservice, RpcExceptionFilter, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type MessageHandler, Server } from '@nestjs/microservices';
import { fstatSync } from 'node:fs';
import { throwError } from 'rxjs';

import { leadsToJournal } from './journal-line.js';
import { createLogger, type Logger, nestLogger } from './logging.js';
import type { OpenMetrics } from './metrics.js';
import { type MetricsServer, serveMetrics } from './metrics-server.js';

/** Where a service beats: its own segment, or its participant's slot. */
export interface Heart {
  beat(serving: boolean): void;
}

/** What a service is made of, as its `start` tells. */
export interface ServiceParts {
  /** The root module of the Nest application. */
  readonly module: Type | DynamicModule;
  /** What brings messages in: {@link BoardTransport}, {@link UnixGrpcTransport}. */
  readonly transports: readonly Server[];
  /** Beaten every 100 ms from the event loop, so that a stuck loop shows (PO-12). */
  readonly heart: Heart;
  /** Whether the service is at the current posture and serves (PO-19); asked at each beat. Default: once started. */
  readonly serving?: () => boolean;
  /** Once it serves: what takes time and is not needed to serve. Must not throw; nobody waits for it. */
  readonly afterServing?: () => void | Promise<void>;
  /** What the service measures and where that is served; absent where nobody asked for it. */
  readonly metrics?: OpenMetrics | undefined;
  /** After the application has stopped: closes what `start` opened. */
  readonly close?: () => void | Promise<void>;
}

/** How a service is run. */
export interface ServiceOptions {
  readonly name: string;
  /** Reads configuration, opens what is needed. Whatever it throws ends the process with one line and a status. */
  readonly start: (context: {
    readonly argv: readonly string[];
    readonly logger: Logger;
  }) => Promise<ServiceParts> | ServiceParts;
  /** Between beats, milliseconds; default 100. */
  readonly heartbeatMs?: number;
  /** Longest time that stopping may take before the process ends anyway; default 3000. */
  readonly stopMs?: number;
  /** Arguments without node and script; default `process.argv.slice(2)`. */
  readonly argv?: readonly string[];
  readonly logger?: Logger;
}

/** Exit statuses of a service: ended as asked, failed, started wrongly, not available to it (somebody else runs). */
const EXIT = { ok: 0, failed: 1, usage: 2, unavailable: 4 } as const;

/**
 * Runs a service until SIGTERM or SIGINT. Never rejects: a start that fails prints one line (`CODE: message`) on
 * standard error and ends the process with status 2 (configuration), 4 (something it needs is held by another
 * process) or 1; an exception or rejection that nobody handled is logged and ends it with status 1, because a
 * service in an unknown state must not go on — the supervisor starts it anew.
 */
export async function runService(options: ServiceOptions): Promise<void> {
  const { name, heartbeatMs = 100, stopMs = 3_000 } = options;
  const logger = options.logger ?? createLogger({ name });
  let parts: ServiceParts | undefined;
  let app: INestMicroservice | undefined;
  let beating: NodeJS.Timeout | undefined;
  let scraped: MetricsServer | undefined;
  let state: 'starting' | 'serving' | 'stopping' = 'starting';

  process.on('uncaughtException', (error) => {
    logger.error({ err: error }, 'nobody handled an error; ending');
    process.exit(EXIT.failed);
  });
  process.on('unhandledRejection', (reason) => {
    logger.error({ err: reason }, 'nobody handled a rejection; ending');
    process.exit(EXIT.failed);
  });

  const stop = async (signal: string): Promise<void> => {
    if (state === 'stopping') return;
    state = 'stopping';
    logger.info({ signal }, 'stopping');
    setTimeout(() => {
      logger.error({ stopMs }, 'stopping took too long; ending');
      process.exit(EXIT.failed);
    }, stopMs).unref();
    try {
      // Health first, so that callers go elsewhere; beats go on until the end.
      announceServing(parts?.transports ?? [], false);
      await scraped?.close();
      await app?.close();
      await parts?.close?.();
    } catch (error) {
      logger.error({ err: error }, 'stopping failed; ending');
      process.exit(EXIT.failed);
    }
    clearInterval(beating);
    logger.info('stopped');
    process.exit(EXIT.ok);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal));

  try {
    parts = await options.start({ argv: options.argv ?? process.argv.slice(2), logger });
    const { module, transports, heart, serving = () => true } = parts;
    const beat = (): void => {
      try {
        heart.beat(state === 'serving' && serving());
      } catch (error) {
        // While stopping, `close` may have closed the heart before what takes longer.
        if (state !== 'stopping') throw error;
      }
    };
    beat();
    beating = setInterval(beat, heartbeatMs);
    app = await NestFactory.createMicroservice(module, {
      strategy: new JoinedTransport(transports),
      logger: nestLogger(logger),
      abortOnError: false,
    });
    app.useGlobalFilters(new PassOnFilter());
    await app.listen();
    if ((state as string) === 'stopping') return;
    state = 'serving';
    announceServing(transports, true);
    beat();
    logger.info({ pid: process.pid }, 'serving');
    void parts.afterServing?.();
    if (parts.metrics !== undefined) scraped = serveMetrics(parts.metrics, logger);
  } catch (error) {
    logger.debug({ err: error }, 'the start failed');
    const { JOURNAL_STREAM: stream } = process.env;
    const journal = leadsToJournal(stream, fstatSync(2, { bigint: true }));
    process.stderr.write(`${journal ? '<3>' : ''}${startFailure(name, error)}\n`);
    process.exit(startStatus(error));
  }
}

function announceServing(transports: readonly Server[], serving: boolean): void {
  for (const transport of transports) {
    if ('setServing' in transport && typeof transport.setServing === 'function') {
      (transport as Server & { setServing(serving: boolean): void }).setServing(serving);
    }
  }
}

/** One line about why a service did not start: name, code, message, what to do. */
function startFailure(name: string, error: unknown): string {
  const code = codeOf(error) ?? 'RUNTIME_START_FAILED';
  const message = error instanceof Error ? error.message : String(error);
  const help = error instanceof KedgeError && error.help !== undefined ? ` (${error.help})` : '';
  const expected =
    error instanceof KedgeError && error.expected !== undefined ? `, expected ${error.expected}` : '';
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${name}: ${code}: ${message}${expected}${cause}${help}`.replaceAll(/\s*\n\s*/g, ' ');
}

function startStatus(error: unknown): number {
  const code = codeOf(error) ?? '';
  if (code.startsWith('CONFIG_')) return EXIT.usage;
  return code.endsWith('_BUSY') ? EXIT.unavailable : EXIT.failed;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Hands errors of handlers on as they are; the transports know what to do with them. */
class PassOnFilter implements RpcExceptionFilter {
  catch(exception: unknown) {
    return throwError(() => exception);
  }
}

/** Several transports as the one that a Nest microservice takes: events go to the board, calls to gRPC. */
class JoinedTransport extends Server {
  override readonly propagatesEventHandlerErrors = true;
  readonly #transports: readonly Server[];

  constructor(transports: readonly Server[]) {
    super();
    this.#transports = transports;
  }

  override addHandler(
    pattern: unknown,
    callback: MessageHandler,
    isEventHandler = false,
    extras: Record<string, unknown> = {},
  ): void {
    const transport = this.#transports.find((each) => each.propagatesEventHandlerErrors === isEventHandler);
    if (transport === undefined) {
      throw new KedgeError({
        code: 'RUNTIME_HANDLER_UNHEARD',
        message: `cannot listen to ${JSON.stringify(pattern)}: the service has no transport for it`,
        expected: isEventHandler ? 'a BoardTransport' : 'a UnixGrpcTransport',
      });
    }
    transport.addHandler(pattern, callback, isEventHandler, extras);
  }

  override listen(callback: (error?: unknown) => void): void {
    // In the order given: the board first, so that a service knows the posture before it is asked about it.
    void (async () => {
      for (const transport of this.#transports) {
        await new Promise<void>((resolve, reject) => {
          transport.listen((error: unknown) => {
            if (error === undefined) resolve();
            else reject(error instanceof Error ? error : new Error('a transport failed', { cause: error }));
          });
        });
      }
    })().then(() => {
      callback();
    }, callback);
  }

  override async close(): Promise<void> {
    for (const transport of [...this.#transports].reverse()) await transport.close();
  }

  /** Not offered: handlers are declared, not added. */
  override on(): never {
    throw new KedgeError({ code: 'RUNTIME_NOT_OFFERED', message: 'a service takes no listeners of its own' });
  }

  override unwrap<T>(): T {
    return this.#transports as T;
  }
}
