/**
 * Typed gRPC clients over Unix sockets, every call with its deadline, failures as KedgeErrors.
 * It must not retry: whether a call may be made twice is known to the caller alone.
 */
import * as grpc from '@grpc/grpc-js';
import { KedgeError } from '@kedge/units';
import { service as healthService } from 'grpc-health-check';

import type { CallOptions, Calls, MethodDefinition, ServiceDefinition, StreamOptions } from './api.js';
import { unlessAborted } from './abort.js';
import { type GovernanceApi, governanceService } from './governance-api.js';
import { intentPostureService, type PostureApi, postureService } from './posture-api.js';
import { ERROR_METADATA, MAX_REPLY_BYTES } from './unix-server.js';

const MAX_DEADLINE_MS = 600_000;

/** What every client can do besides the calls of its service. */
export interface Connection {
  /** The socket it speaks to. */
  readonly socket: string;
  /**
   * What grpc.health.v1 says about the service, or about the whole server when it is "".
   *
   * @throws KedgeError as any call; `BUS_UNIMPLEMENTED` for a service that the server does not know.
   */
  health(
    options: CallOptions & { readonly service?: string },
  ): Promise<'SERVING' | 'NOT_SERVING' | 'UNKNOWN'>;
  /** Cancels what is under way and closes the connection. */
  close(): void;
}

/** A client of a service. */
export type Client<Api> = Calls<Api> & Connection;
export type PostureClient = Client<PostureApi>;
export type GovernanceClient = Client<GovernanceApi>;

/** A client of the posture coordinator. Connects with its first call. */
export function postureClient(socket: string): PostureClient {
  return dialUnix(socket, postureService);
}

/** A client of the posture coordinator on the socket of the intent. Connects with its first call. */
export function intentPostureClient(socket: string): PostureClient {
  return dialUnix(socket, intentPostureService);
}

/** A client of the governance bridge. Connects with its first call. */
export function governanceClient(socket: string): GovernanceClient {
  return dialUnix(socket, governanceService);
}

/**
 * A client of any service. Nothing is connected before the first call, and a connection that was lost is made
 * again by the next one. Calls reject with a KedgeError:
 * `BUS_DEADLINE_MISSING` (no or a senseless deadline given), `BUS_MESSAGE_INVALID`, `BUS_UNREACHABLE` (nobody
 * listens), `BUS_FORBIDDEN` (the socket may not be opened), `BUS_DEADLINE`, `BUS_CANCELLED`, `BUS_TOO_LARGE`,
 * `BUS_UNIMPLEMENTED`, `BUS_FAILED`, or the code that the service gave.
 */
export function dialUnix<Api>(socket: string, service: ServiceDefinition<Api>): Client<Api> {
  const client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': MAX_REPLY_BYTES,
    'grpc.max_send_message_length': service.maxRequestBytes,
    // Clients of one process share no connection: a stuck one must not hold up another.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 500,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    // A peer that is stopped and not dead closes nothing; only this shows it to a quiet stream.
    'grpc.keepalive_time_ms': 5_000,
    'grpc.keepalive_timeout_ms': 2_000,
  });
  const calls = Object.fromEntries(
    service.methods.map((method) => [
      method.name,
      method.streaming
        ? (request: unknown, options: StreamOptions) =>
            method.requestStream
              ? callDuplex(client, socket, method, request as AsyncIterable<unknown>, options)
              : callStreaming(client, socket, method, request, options)
        : (request: unknown, options: CallOptions) => callUnary(client, socket, method, request, options),
    ]),
  );
  const connection: Connection = {
    socket,
    health: async ({ service: name = '', ...options }) => {
      const check = healthService['Check'];
      if (check === undefined)
        throw new KedgeError({ code: 'BUS_API_UNKNOWN', message: 'no health service' });
      const reply = (await callUnary(
        client,
        socket,
        {
          path: check.path,
          encodeRequest: (request) => check.requestSerialize(request as object),
          decodeReply: check.responseDeserialize,
        },
        { service: name },
        options,
      )) as { status: string };
      return reply.status === 'SERVING' || reply.status === 'NOT_SERVING' ? reply.status : 'UNKNOWN';
    },
    close: () => {
      client.close();
    },
  };
  return { ...(calls as unknown as Calls<Api>), ...connection };
}

type Callable = Pick<MethodDefinition, 'path' | 'encodeRequest' | 'decodeReply'>;

function checkDeadline(path: string, deadlineMs: unknown): number {
  if (typeof deadlineMs !== 'number' || !(deadlineMs >= 1 && deadlineMs <= MAX_DEADLINE_MS)) {
    throw new KedgeError({
      code: 'BUS_DEADLINE_MISSING',
      message: `cannot call ${path} without a deadline`,
      field: 'deadlineMs',
      expected: `1 to ${MAX_DEADLINE_MS} milliseconds`,
    });
  }
  return deadlineMs;
}

async function callUnary(
  client: grpc.Client,
  socket: string,
  method: Callable,
  request: unknown,
  options: CallOptions,
): Promise<unknown> {
  const deadlineMs = checkDeadline(method.path, options.deadlineMs);
  const bytes = method.encodeRequest(request);
  options.signal?.throwIfAborted();
  return await new Promise((resolve, reject) => {
    let cancelled = false;
    const cancel = (): void => {
      cancelled = true;
      call.cancel();
    };
    const call = client.makeUnaryRequest<Buffer, unknown>(
      method.path,
      (ready) => ready,
      method.decodeReply,
      bytes,
      new grpc.Metadata(),
      { deadline: Date.now() + deadlineMs },
      (error, reply) => {
        options.signal?.removeEventListener('abort', cancel);
        if (error === null) resolve(reply);
        else reject(errorOf(error, method.path, socket, cancelled ? options.signal?.reason : undefined));
      },
    );
    options.signal?.addEventListener('abort', cancel, { once: true });
  });
}

async function* callStreaming(
  client: grpc.Client,
  socket: string,
  method: Callable,
  request: unknown,
  options: StreamOptions,
): AsyncGenerator<unknown, void, undefined> {
  const deadlineMs = checkDeadline(method.path, options.deadlineMs);
  const bytes = method.encodeRequest(request);
  options.signal?.throwIfAborted();
  const call = client.makeServerStreamRequest<Buffer, unknown>(
    method.path,
    (ready) => ready,
    method.decodeReply,
    bytes,
    new grpc.Metadata(),
    {},
  );
  yield* repliesOf(call, socket, method, deadlineMs, options.signal);
}

/** Requests are taken as fast as the other end takes them; those that come after the last reply go nowhere. */
async function* callDuplex(
  client: grpc.Client,
  socket: string,
  method: Callable,
  requests: AsyncIterable<unknown>,
  options: StreamOptions,
): AsyncGenerator<unknown, void, undefined> {
  const deadlineMs = checkDeadline(method.path, options.deadlineMs);
  options.signal?.throwIfAborted();
  const call = client.makeBidiStreamRequest<Buffer, unknown>(
    method.path,
    (ready) => ready,
    method.decodeReply,
    new grpc.Metadata(),
    {},
  );
  const source = requests[Symbol.asyncIterator]();
  const over = new AbortController();
  let wrong: unknown;
  const send = async (): Promise<void> => {
    for (;;) {
      const next = await unlessAborted(source.next(), over.signal);
      if (over.signal.aborted || next === undefined) return;
      if (next.done === true) break;
      if (!call.write(method.encodeRequest(next.value)))
        await unlessAborted(new Promise((resolve) => call.once('drain', resolve)), over.signal);
    }
    call.end();
  };
  const sending = send().catch((error: unknown) => {
    wrong = error;
    call.cancel();
  });
  try {
    yield* repliesOf(call, socket, method, deadlineMs, options.signal);
  } catch (error) {
    throw wrong ?? error;
  } finally {
    over.abort();
    await sending;
    // Who gives the requests may be waiting inside; its own end is its business.
    void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

/** What comes back on a stream, until it ends. */
async function* repliesOf(
  call: grpc.ClientReadableStream<unknown> | grpc.ClientDuplexStream<Buffer, unknown>,
  socket: string,
  method: Callable,
  deadlineMs: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<unknown, void, undefined> {
  let ended: 'cancelled' | 'deadline' | undefined;
  const cancel = (): void => {
    ended ??= 'cancelled';
    call.cancel();
  };
  const timer = setTimeout(() => {
    ended ??= 'deadline';
    call.cancel();
  }, deadlineMs);
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const message of call) {
      clearTimeout(timer);
      yield message;
    }
  } catch (error) {
    if (ended === 'deadline') throw deadlineError(method.path, socket, error);
    throw errorOf(error, method.path, socket, ended === 'cancelled' ? signal?.reason : undefined);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
    // Also where the loop was left early. What the cancelled call still says is of no interest.
    call.on('error', () => undefined);
    call.cancel();
  }
}

function deadlineError(path: string, socket: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'BUS_DEADLINE',
    message: `no answer from ${path} at ${socket} within its deadline`,
    help: 'the service is there but slow or stopped; look at its heartbeat and log',
    cause,
  });
}

function errorOf(error: unknown, path: string, socket: string, aborted: unknown): KedgeError {
  if (!isServiceError(error)) {
    return new KedgeError({ code: 'BUS_FAILED', message: `cannot call ${path} at ${socket}`, cause: error });
  }
  const given = error.metadata.get('kedge-code')[0];
  if (typeof given === 'string' && /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/.test(given)) {
    return new KedgeError({
      ...particulars(error.metadata),
      code: given,
      message: error.details,
      cause: error,
    });
  }
  const make = (code: string, message: string, help?: string): KedgeError =>
    new KedgeError({
      code,
      message,
      ...(help === undefined ? {} : { help }),
      cause: aborted ?? error,
    });
  switch (error.code) {
    case grpc.status.DEADLINE_EXCEEDED:
      return deadlineError(path, socket, error);
    case grpc.status.CANCELLED:
      return make('BUS_CANCELLED', `the call of ${path} at ${socket} was cancelled`);
    case grpc.status.UNAVAILABLE:
      return /EACCES|EPERM/.test(error.details)
        ? make('BUS_FORBIDDEN', `not allowed to open ${socket}`, 'use the socket of your own tier')
        : make(
            'BUS_UNREACHABLE',
            `nobody answers at ${socket}`,
            'is the service running? try: kedge lab status',
          );
    case grpc.status.RESOURCE_EXHAUSTED:
      return make('BUS_TOO_LARGE', `a message of ${path} at ${socket} is larger than allowed`);
    case grpc.status.UNIMPLEMENTED:
    case grpc.status.NOT_FOUND:
      return make('BUS_UNIMPLEMENTED', `${path} is not served at ${socket}`);
    default:
      return make('BUS_FAILED', `the call of ${path} at ${socket} failed: ${error.details}`);
  }
}

/** Field, expectation and help of an error that a service gave; nothing where it gave none that can be read. */
function particulars(metadata: grpc.Metadata): Partial<Record<'field' | 'expected' | 'help', string>> {
  let given: unknown;
  try {
    given = JSON.parse(String(metadata.get(ERROR_METADATA)[0]));
  } catch {
    return {};
  }
  if (typeof given !== 'object' || given === null) return {};
  const known: readonly string[] = ['field', 'expected', 'help'];
  return Object.fromEntries(
    Object.entries(given).filter(([name, text]) => known.includes(name) && typeof text === 'string'),
  );
}

function isServiceError(error: unknown): error is grpc.ServiceError {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'number' &&
    'metadata' in error &&
    error.metadata instanceof grpc.Metadata
  );
}
