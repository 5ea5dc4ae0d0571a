/**
 * What a gRPC service of Kedge looks like from TypeScript: typed calls, handlers and clients, all derived
 * from its .proto file.
 * It must not know sockets; servers and clients are in files of their own.
 */
import { KedgeError } from '@kedge/units';

import { loadProto, MessageCodec } from './message-codec.js';

/** Largest request that a server takes of a service that says nothing else, in bytes. */
export const MAX_REQUEST_BYTES = 64 * 1024;

/** A call with one request and one reply. */
export interface Unary<Request, Reply> {
  readonly kind: 'unary';
  readonly request: Request;
  readonly reply: Reply;
}

/** A call with one request and a stream of replies. */
export interface Streaming<Request, Reply> {
  readonly kind: 'streaming';
  readonly request: Request;
  readonly reply: Reply;
}

/** A call with a stream of requests and a stream of replies, both open at once. */
export interface Duplex<Request, Reply> {
  readonly kind: 'duplex';
  readonly request: Request;
  readonly reply: Reply;
}

/** What a handler is told about a call besides its request. */
export interface CallContext {
  /** Path of the socket that the call came in by: the proof of channel and tier (PO-3). */
  readonly socket: string;
  /**
   * Aborts when the caller has gone, its deadline has passed, or the server closes; the reason is a KedgeError
   * (`BUS_CANCELLED`, `BUS_DEADLINE`, `BUS_CLOSING`). Work for nobody stops there.
   */
  readonly signal: AbortSignal;
  /** Milliseconds that were left when the call came in; undefined for a stream without a deadline. */
  readonly deadlineMs: number | undefined;
  /** CLOCK_MONOTONIC nanoseconds when the request was taken from the transport. */
  readonly receivedAtNs: bigint;
}

/** How a unary call is made. */
export interface CallOptions {
  /** Milliseconds, 1 to 600,000. When it passes, the call is cancelled at both ends (PO-15). */
  readonly deadlineMs: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
}

/** How a stream is opened. */
export interface StreamOptions {
  /** Milliseconds, 1 to 600,000, until the first message has to be there; after it the stream may be quiet. */
  readonly deadlineMs: number;
  /** Ends the stream. Leaving the loop over it ends it as well. */
  readonly signal?: AbortSignal;
}

/** The handlers of a service. */
export type Handlers<Api> = {
  readonly [Method in keyof Api]: Api[Method] extends Unary<infer Request, infer Reply>
    ? (request: Request, call: CallContext) => Promise<Reply> | Reply
    : Api[Method] extends Streaming<infer Request, infer Reply>
      ? (request: Request, call: CallContext) => AsyncIterable<Reply>
      : Api[Method] extends Duplex<infer Request, infer Reply>
        ? (requests: AsyncIterable<Request>, call: CallContext) => AsyncIterable<Reply>
        : never;
};

/** The calls of a service as its clients see them. */
export type Calls<Api> = {
  readonly [Method in keyof Api]: Api[Method] extends Unary<infer Request, infer Reply>
    ? (request: Request, options: CallOptions) => Promise<Reply>
    : Api[Method] extends Streaming<infer Request, infer Reply>
      ? (request: Request, options: StreamOptions) => AsyncIterable<Reply>
      : Api[Method] extends Duplex<infer Request, infer Reply>
        ? (requests: AsyncIterable<Request>, options: StreamOptions) => AsyncIterable<Reply>
        : never;
};

/** One call of a service, ready for the wire. */
export interface MethodDefinition {
  /** Name in TypeScript: "set". */
  readonly name: string;
  /** Name in the .proto: "Set". */
  readonly rpc: string;
  /** "/kedge.posture.v1.Posture/Set". */
  readonly path: string;
  /** Replies are a stream. */
  readonly streaming: boolean;
  /** Requests are a stream; replies are one as well, then. */
  readonly requestStream: boolean;
  /** @throws KedgeError `BUS_MESSAGE_INVALID` */
  readonly encodeRequest: (request: unknown) => Buffer;
  /** @throws Error on bytes that are no such message. */
  readonly decodeRequest: (bytes: Buffer) => unknown;
  /** @throws KedgeError `BUS_MESSAGE_INVALID` */
  readonly encodeReply: (reply: unknown) => Buffer;
  /** @throws Error on bytes that are no such message. */
  readonly decodeReply: (bytes: Buffer) => unknown;
}

/**
 * A service: its full name and its calls. `Api` maps call names to {@link Unary}, {@link Streaming} and
 * {@link Duplex}.
 */
export interface ServiceDefinition<Api> {
  /** "kedge.posture.v1.Posture". */
  readonly name: string;
  readonly methods: readonly MethodDefinition[];
  readonly codec: MessageCodec;
  /** Largest request of it, in bytes. */
  readonly maxRequestBytes: number;
  /** Never there; it carries the type. */
  readonly api?: Api;
}

/**
 * A service of a .proto file of this package. The file is read when its calls are first looked at: a process
 * that starts pays for the services that it has to do with, not for all that there are.
 *
 * @throws KedgeError `BUS_API_UNKNOWN` then, when the file has no such service.
 */
export function defineService<Api>(
  file: string,
  name: string,
  { maxRequestBytes = MAX_REQUEST_BYTES }: { readonly maxRequestBytes?: number } = {},
): ServiceDefinition<Api> {
  let loaded: Pick<ServiceDefinition<Api>, 'methods' | 'codec'> | undefined;
  return {
    name,
    maxRequestBytes,
    get methods() {
      return (loaded ??= loadService(file, name)).methods;
    },
    get codec() {
      return (loaded ??= loadService(file, name)).codec;
    },
  };
}

function loadService(file: string, name: string): Pick<ServiceDefinition<unknown>, 'methods' | 'codec'> {
  const definition = loadProto(file);
  const codec = new MessageCodec(definition);
  const service = definition[name];
  if (service === undefined || 'format' in service) {
    throw new KedgeError({ code: 'BUS_API_UNKNOWN', message: `cannot find the service ${name} in ${file}` });
  }
  const methods = Object.entries(service).map(([rpc, method]): MethodDefinition => {
    const requestName = (method.requestType.type as { name: string }).name;
    const replyName = (method.responseType.type as { name: string }).name;
    return {
      name: `${rpc.charAt(0).toLowerCase()}${rpc.slice(1)}`,
      rpc,
      path: method.path,
      streaming: method.responseStream,
      requestStream: method.requestStream,
      encodeRequest: (request) => method.requestSerialize(codec.toWire(requestName, request)),
      decodeRequest: (bytes) =>
        codec.fromWire(requestName, method.requestDeserialize(bytes) as Record<string, unknown>),
      encodeReply: (reply) => method.responseSerialize(codec.toWire(replyName, reply)),
      decodeReply: (bytes) =>
        codec.fromWire(replyName, method.responseDeserialize(bytes) as Record<string, unknown>),
    };
  });
  return { methods, codec };
}
