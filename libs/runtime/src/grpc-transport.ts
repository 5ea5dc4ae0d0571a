/**
 * gRPC services on several Unix sockets as a NestJS transport: `@GrpcMethod('Posture', 'Set')` answers calls and
 * is told by which socket, and so by which channel and tier, they came (PO-3).
 * It must not decide who may do what.
 */
import {
  type CallContext,
  type CallFault,
  provide,
  type ServiceDefinition,
  serveUnix,
  type SocketLock,
  type UnixServer,
} from '@kedge/bus';
import { type Channel, type Tier, TIERS } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';
import { type MessageHandler, Server, Transport } from '@nestjs/microservices';
import { isObservable, lastValueFrom } from 'rxjs';

/** A socket, and what it proves about whoever can open it. */
export interface SocketEntrance {
  /** Absolute path. */
  readonly path: string;
  readonly channel: Channel;
  readonly tier: Tier;
  /** Permission bits; default 0660. */
  readonly mode?: number;
  /** The services that are served here; default: all. */
  readonly services?: readonly ServiceDefinition<unknown>[];
}

/** What a handler is told about a call: `@Ctx() context: CallAuthority`. */
export interface CallAuthority extends CallContext {
  /** Proven by the directory of the socket, never by a field. */
  readonly channel: Channel;
  /** Proven by the directory of the socket, never by a field. */
  readonly tier: Tier;
}

/**
 * The entrances of the posture API under a socket root: `console/NAME` and `local/TIER/NAME`. The console
 * counts as site_owner.
 */
export function postureEntrances(root: string, name = 'posture.sock'): readonly SocketEntrance[] {
  return [
    { path: `${root}/console/${name}`, channel: 'console', tier: 'site_owner' },
    ...TIERS.map((tier): SocketEntrance => ({
      path: `${root}/local/${tier}/${name}`,
      channel: 'local',
      tier,
    })),
  ];
}

/** How gRPC is offered to Nest. */
export interface UnixGrpcOptions {
  /** Every call of these services must have a handler. */
  readonly services: readonly ServiceDefinition<unknown>[];
  /** Every service is served on every entrance that does not say which. */
  readonly entrances: readonly SocketEntrance[];
  /** A lock that is held already, e.g. the writer's lock of the service's segment; default: one per socket. */
  readonly lock?: SocketLock;
  /** How long running calls may finish when the service closes, milliseconds; default 1000. */
  readonly graceMs?: number;
  /** Told about malformed requests (PO-5) and failed handlers. */
  readonly onFault?: (fault: CallFault & Pick<SocketEntrance, 'channel' | 'tier'>) => void;
}

/**
 * Serves gRPC for a Nest application. Handlers are declared with `@GrpcMethod('Posture', 'Set')` and take
 * `(@Payload() request, @Ctx() context: CallAuthority)`; a streaming call returns an async iterable, and is given one
 * where its requests are a stream.
 * A KedgeError that a handler throws reaches the caller with its code.
 *
 * Its `listen` fails with a KedgeError: `RUNTIME_CALL_UNKNOWN` (a handler for a call that no service has),
 * `RUNTIME_CALL_UNANSWERED` (a call without a handler), or whatever `serveUnix` says.
 */
export class UnixGrpcTransport extends Server {
  override readonly transportId = Transport.GRPC;
  readonly #options: UnixGrpcOptions;
  #servers: UnixServer[] = [];

  constructor(options: UnixGrpcOptions) {
    super();
    this.#options = options;
  }

  override listen(callback: (error?: unknown) => void): void {
    this.#serve().then(
      () => {
        callback();
      },
      (error: unknown) => {
        callback(error);
      },
    );
  }

  async #serve(): Promise<void> {
    const handlers = this.#handlers();
    const { entrances, services, lock, onFault } = this.#options;
    try {
      for (const { path, channel, tier, mode, services: served = services } of entrances) {
        const server = await serveUnix({
          path,
          ...(mode === undefined ? {} : { mode }),
          ...(lock === undefined ? {} : { lock }),
          onFault: (fault) => onFault?.({ ...fault, channel, tier }),
          services: served.map((service) =>
            provide(
              service,
              Object.fromEntries(
                service.methods.map((method) => {
                  const handler = handlers.get(method.path);
                  const answer = (request: unknown, call: CallContext) =>
                    answerOf(handler, request, { ...call, channel, tier });
                  return [
                    method.name,
                    method.streaming
                      ? (request: unknown, call: CallContext) => streamOf(answer(request, call), method.path)
                      : answer,
                  ];
                }),
              ) as never,
            ),
          ),
        });
        this.#servers.push(server);
      }
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Handlers by the path of their call. */
  #handlers(): ReadonlyMap<string, MessageHandler> {
    const found = new Map<string, MessageHandler>();
    for (const [pattern, handler] of this.messageHandlers) {
      const { service, rpc } = parsePattern(pattern);
      const method = this.#options.services
        .filter(({ name }) => name === service || name.endsWith(`.${service}`))
        .flatMap(({ methods }) => methods)
        .find((each) => each.rpc === rpc);
      if (method === undefined) {
        throw new KedgeError({
          code: 'RUNTIME_CALL_UNKNOWN',
          message: `cannot answer ${pattern}: no service that is served has such a call`,
          expected: `one of ${this.#options.services.flatMap((each) => each.methods.map(({ path }) => path)).join(', ')}`,
        });
      }
      found.set(method.path, handler);
    }
    for (const { path } of this.#options.services.flatMap(({ methods }) => methods)) {
      if (!found.has(path)) {
        throw new KedgeError({
          code: 'RUNTIME_CALL_UNANSWERED',
          message: `cannot serve ${path}: no handler answers it`,
          expected: 'a @GrpcMethod of a controller',
        });
      }
    }
    return found;
  }

  /** Sets what health checks hear on every entrance. */
  setServing(serving: boolean): void {
    for (const server of this.#servers) server.setServing(serving);
  }

  override async close(): Promise<void> {
    const servers = this.#servers.splice(0);
    await Promise.all(servers.map((server) => server.close(this.#options.graceMs ?? 1_000)));
  }

  /** Not offered: handlers are declared, not added. */
  override on(): never {
    throw new KedgeError({
      code: 'RUNTIME_NOT_OFFERED',
      message: 'the gRPC transport takes no listeners of its own',
    });
  }

  override unwrap<T>(): T {
    return this.#servers as T;
  }
}

function parsePattern(pattern: string): { readonly service?: string; readonly rpc?: string } {
  try {
    return JSON.parse(pattern) as { service?: string; rpc?: string };
  } catch {
    return {};
  }
}

/** What a handler came to. Nest hands an error over as a stream that ends with it. */
async function answerOf(
  handler: MessageHandler | undefined,
  request: unknown,
  context: CallAuthority,
): Promise<unknown> {
  const result: unknown = await handler?.(request, context);
  return isObservable(result) ? await lastValueFrom(result) : result;
}

async function* streamOf(answer: Promise<unknown>, path: string): AsyncGenerator<unknown, void, undefined> {
  const messages = await answer;
  if (typeof messages !== 'object' || messages === null || !(Symbol.asyncIterator in messages)) {
    throw new KedgeError({
      code: 'RUNTIME_NOT_A_STREAM',
      message: `cannot answer ${path}: its handler returned no stream`,
      expected: 'an async iterable',
    });
  }
  yield* messages as AsyncIterable<unknown>;
}
