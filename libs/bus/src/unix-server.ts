/**
 * gRPC services on a Unix socket: a verified directory, a lock, a socket that appears whole and with its
 * final mode, calls that end when their deadline passes.
 * It must not decide who may call; the directory of the socket does.
 */
import * as grpc from '@grpc/grpc-js';
import { KedgeError } from '@kedge/units';
import { HealthImplementation } from 'grpc-health-check';

import { unlessAborted } from './abort.js';
import type { CallContext, Handlers, MethodDefinition, ServiceDefinition } from './api.js';
import { type SocketLock, takeLock } from './socket-lock.js';
import { placeSocket, verifySocketPlace } from './socket-place.js';

/** Largest reply that a client takes, in bytes. */
export const MAX_REPLY_BYTES = 4 * 1024 * 1024;
/** Trailer of a failed call that carries the KedgeError as JSON: code, message, field, expected, help. */
export const ERROR_METADATA = 'kedge-error-bin';
/** What a unary call without a deadline gets; nothing waits for ever. */
const DEFAULT_DEADLINE_MS = 10_000;
/** Longest deadline that means anything; more is treated as this. */
const MAX_DEADLINE_MS = 600_000;

/** A service with its handlers, as {@link serveUnix} takes it. Made by {@link provide}. */
export interface ProvidedService {
  readonly name: string;
  readonly methods: readonly MethodDefinition[];
  readonly maxRequestBytes: number;
  readonly handlers: Readonly<Record<string, (request: unknown, call: CallContext) => unknown>>;
}

/** Binds handlers to a service, with types. */
export function provide<Api>(service: ServiceDefinition<Api>, handlers: Handlers<Api>): ProvidedService {
  const { name, methods, maxRequestBytes } = service;
  return { name, methods, maxRequestBytes, handlers: handlers as ProvidedService['handlers'] };
}

/** How a socket is served. */
export interface ServeOptions {
  /** Absolute path of the socket, at most 107 bytes with room for a temporary name. */
  readonly path: string;
  readonly services: readonly ProvidedService[];
  /** Permission bits of the socket; default 0660. Others may only be let in by more than this on purpose. */
  readonly mode?: number;
  /** A lock that is held already, shared by several sockets of one service; default: `PATH.lock` is taken. */
  readonly lock?: SocketLock;
  /** Told about requests that are no message of their method (PO-5) and about handlers that failed. */
  readonly onFault?: (fault: CallFault) => void;
}

/** A call that went wrong. */
export interface CallFault {
  readonly kind: 'malformed' | 'handler';
  /** "/kedge.posture.v1.Posture/Set". */
  readonly method: string;
  readonly socket: string;
  readonly error: unknown;
}

/** A socket that is being served. */
export interface UnixServer {
  readonly path: string;
  /** Sets what grpc.health.v1 says; "" is the whole server. Everything starts as NOT_SERVING. */
  setServing(serving: boolean, service?: string): void;
  /** Ends streams, lets running calls finish for `graceMs`, then cuts them, removes the socket, drops its own lock. */
  close(graceMs: number): Promise<void>;
}

/**
 * Serves gRPC on a Unix socket, together with grpc.health.v1. A leftover socket file of a killed service is
 * replaced atomically, after the lock was taken and nobody was found to listen on it.
 *
 * @throws KedgeError `BUS_SOCKET_PATH` (relative, too long, strange characters), `BUS_DIRECTORY` (missing, a
 *   symbolic link, foreign owner, writable for others), `BUS_BUSY` (served already), `BUS_LOCK_FAILED`,
 *   `BUS_SOCKET_FAILED`.
 */
export async function serveUnix(options: ServeOptions): Promise<UnixServer> {
  const { path, services, mode = 0o660, onFault } = options;
  await verifySocketPlace(path);

  const lock = options.lock ?? (await takeLock(`${path}.lock`));
  const server = new grpc.Server({
    'grpc.max_receive_message_length': Math.max(...services.map((each) => each.maxRequestBytes)),
    'grpc.max_send_message_length': MAX_REPLY_BYTES,
  });
  try {
    const closing = new AbortController();
    for (const service of services) addService(server, service, path, closing.signal, onFault);
    const health = new HealthImplementation({
      '': 'NOT_SERVING',
      ...Object.fromEntries(services.map(({ name }) => [name, 'NOT_SERVING' as const])),
    });
    health.addToServer(server);
    const placed = await placeSocket(path, mode, (staging) => bind(server, staging));
    return {
      path,
      setServing: (serving, service) => {
        const names = service === undefined ? ['', ...services.map(({ name }) => name)] : [service];
        for (const name of names) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
      },
      close: async (graceMs) => {
        // Its name goes first: who comes now shall wait for the next instance, not queue at this one.
        await placed.remove();
        closing.abort(new KedgeError({ code: 'BUS_CLOSING', message: `the service at ${path} is closing` }));
        await shutDown(server, graceMs);
        if (options.lock === undefined) await lock.release();
      },
    };
  } catch (error) {
    server.forceShutdown();
    if (options.lock === undefined) await lock.release();
    if (error instanceof KedgeError) throw error;
    throw new KedgeError({ code: 'BUS_SOCKET_FAILED', message: `cannot serve ${path}`, cause: error });
  }
}

function bind(server: grpc.Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, grpc.ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

function shutDown(server: grpc.Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/* ------------------------------------------------------------------ calls */

/** Stands for a request that was no message of its method, so that the call can be answered with a typed error. */
class Malformed {
  constructor(readonly error: unknown) {}
}

function addService(
  server: grpc.Server,
  service: ProvidedService,
  socket: string,
  closing: AbortSignal,
  onFault: ServeOptions['onFault'],
): void {
  const definition: Record<string, grpc.MethodDefinition<unknown, unknown>> = {};
  const implementation: grpc.UntypedServiceImplementation = {};
  for (const method of service.methods) {
    definition[method.rpc] = {
      path: method.path,
      requestStream: method.requestStream,
      responseStream: method.streaming,
      requestSerialize: method.encodeRequest,
      requestDeserialize: (bytes) => {
        try {
          return method.decodeRequest(bytes);
        } catch (error) {
          return new Malformed(error);
        }
      },
      responseSerialize: method.encodeReply,
      responseDeserialize: method.decodeReply,
    };
    const handler = service.handlers[method.name];
    if (handler === undefined) continue; // answered UNIMPLEMENTED by grpc-js
    const report = (kind: CallFault['kind'], error: unknown): void => {
      onFault?.({ kind, method: method.path, socket, error });
    };
    implementation[method.rpc] = method.requestStream
      ? (call: grpc.ServerDuplexStream<unknown, unknown>) => {
          void answerStream(call, method, handler, socket, closing, report);
        }
      : method.streaming
        ? (call: grpc.ServerWritableStream<unknown, unknown>) => {
            void answerStream(call, method, handler, socket, closing, report);
          }
        : (call: grpc.ServerUnaryCall<unknown, unknown>, reply: grpc.sendUnaryData<unknown>) => {
            void answerUnary(call, reply, method, handler, socket, report);
          };
  }
  server.addService(definition, implementation);
}

type Handler = (request: unknown, call: CallContext) => unknown;
type Report = (kind: CallFault['kind'], error: unknown) => void;

async function answerUnary(
  call: grpc.ServerUnaryCall<unknown, unknown>,
  reply: grpc.sendUnaryData<unknown>,
  method: MethodDefinition,
  handler: Handler,
  socket: string,
  report: Report,
): Promise<void> {
  if (call.request instanceof Malformed) {
    report('malformed', call.request.error);
    reply(malformedStatus(method.path));
    return;
  }
  // A running call may finish while the server closes; only streams are ended by it.
  const context = contextOf(call, socket, undefined, DEFAULT_DEADLINE_MS);
  let answered = false;
  const answer = (error: grpc.ServerErrorResponse | null, value?: unknown): void => {
    if (answered) return;
    answered = true;
    context.end();
    if (error === null) reply(null, value);
    else reply(error);
  };
  context.call.signal.addEventListener('abort', () => {
    answer(statusOf(context.call.signal.reason));
  });
  try {
    const value = await handler(call.request, context.call);
    method.encodeReply(value);
    answer(null, value);
  } catch (error) {
    if (!context.call.signal.aborted) report('handler', error);
    answer(statusOf(error));
  }
}

async function answerStream(
  call: grpc.ServerWritableStream<unknown, unknown> | grpc.ServerDuplexStream<unknown, unknown>,
  method: MethodDefinition,
  handler: Handler,
  socket: string,
  closing: AbortSignal,
  report: Report,
): Promise<void> {
  if ('request' in call && call.request instanceof Malformed) {
    report('malformed', call.request.error);
    call.emit('error', malformedStatus(call.getPath()));
    return;
  }
  const context = contextOf(call, socket, closing, undefined);
  const { signal } = context.call;
  let messages: AsyncIterator<unknown> | undefined;
  try {
    const given = 'request' in call ? call.request : requestsOf(call, method.path, signal, report);
    messages = (handler(given, context.call) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
    for (;;) {
      const next = await unlessAborted(messages.next(), signal);
      if (next === undefined || next.done === true) break;
      // grpc-js would end the call without a code and without telling anybody here.
      method.encodeReply(next.value);
      if (!call.write(next.value)) {
        await unlessAborted(new Promise((resolve) => call.once('drain', resolve)), signal);
      }
      if (signal.aborted) break;
    }
    if (signal.aborted) call.emit('error', statusOf(signal.reason));
    else call.end();
  } catch (error) {
    report('handler', error);
    call.emit('error', statusOf(error));
  } finally {
    context.end();
    // The handler may be waiting inside; what it does about its own end is its business and its error nobody's.
    void Promise.resolve(messages?.return?.()).catch(() => undefined);
  }
}

/**
 * The requests of a stream as they are asked for: what nobody asks for waits at the caller. Ends with the caller's last
 * request, and when the call ends.
 *
 * @throws KedgeError `BUS_MESSAGE_INVALID` for what is no request.
 */
async function* requestsOf(
  call: grpc.ServerDuplexStream<unknown, unknown>,
  path: string,
  signal: AbortSignal,
  report: Report,
): AsyncGenerator<unknown, void, undefined> {
  // The end of the requests is not that of the replies: the stream must not be destroyed by it.
  const requests = call.iterator({ destroyOnReturn: false });
  for (;;) {
    const next = await unlessAborted(requests.next(), signal).catch(() => undefined);
    if (next === undefined || next.done === true) return;
    const request: unknown = next.value;
    if (request instanceof Malformed) {
      report('malformed', request.error);
      throw malformedError(path);
    }
    yield request;
  }
}

function contextOf(
  call:
    | grpc.ServerUnaryCall<unknown, unknown>
    | grpc.ServerWritableStream<unknown, unknown>
    | grpc.ServerDuplexStream<unknown, unknown>,
  socket: string,
  closing: AbortSignal | undefined,
  defaultMs: number | undefined,
): { readonly call: CallContext; readonly end: () => void } {
  const receivedAtNs = process.hrtime.bigint();
  const controller = new AbortController();
  const left = remainingMs(call.getDeadline());
  const deadlineMs = left === undefined ? defaultMs : Math.min(left, MAX_DEADLINE_MS);
  const cancel = (code: string, message: string) => (): void => {
    controller.abort(new KedgeError({ code, message: `${call.getPath()}: ${message}` }));
  };
  const timer =
    deadlineMs === undefined
      ? undefined
      : setTimeout(cancel('BUS_DEADLINE', 'the deadline of the call has passed'), deadlineMs);
  const onClosing = (): void => {
    controller.abort(closing?.reason);
  };
  closing?.addEventListener('abort', onClosing);
  if (closing?.aborted === true) onClosing();
  // grpc-js reports a caller that has gone and an expired deadline by this event alone.
  (call as NodeJS.EventEmitter).once('cancelled', () => {
    if (remainingMs(call.getDeadline()) === 0)
      cancel('BUS_DEADLINE', 'the deadline of the call has passed')();
    else cancel('BUS_CANCELLED', 'the caller has cancelled the call or is gone')();
  });
  return {
    call: { socket, signal: controller.signal, deadlineMs, receivedAtNs },
    end: () => {
      clearTimeout(timer);
      closing?.removeEventListener('abort', onClosing);
    },
  };
}

function remainingMs(deadline: grpc.Deadline): number | undefined {
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  if (!Number.isFinite(at)) return undefined;
  return Math.max(0, at - Date.now());
}

function malformedStatus(path: string): grpc.ServerErrorResponse {
  return statusOf(malformedError(path));
}

function malformedError(path: string): KedgeError {
  return new KedgeError({
    code: 'BUS_MESSAGE_INVALID',
    message: `cannot read the request of ${path}: it is no message of this method`,
    expected: 'the request message of the .proto file',
  });
}

/**
 * What a failed call tells its caller: what a KedgeError says, its code once more by itself for simple clients; of
 * anything else only that it failed.
 */
function statusOf(error: unknown): grpc.ServerErrorResponse {
  const metadata = new grpc.Metadata();
  if (!(error instanceof KedgeError)) {
    return Object.assign(new Error('failed'), {
      code: grpc.status.INTERNAL,
      details: 'the service failed to answer; its log says why',
      metadata,
    });
  }
  metadata.set('kedge-code', error.code);
  metadata.set(ERROR_METADATA, Buffer.from(JSON.stringify(error), 'utf8'));
  const code =
    {
      BUS_MESSAGE_INVALID: grpc.status.INVALID_ARGUMENT,
      BUS_DEADLINE: grpc.status.DEADLINE_EXCEEDED,
      BUS_CANCELLED: grpc.status.CANCELLED,
      BUS_CLOSING: grpc.status.UNAVAILABLE,
    }[error.code] ?? grpc.status.FAILED_PRECONDITION;
  return Object.assign(new Error(error.message), { code, details: error.message, metadata });
}
