/**
 * The door of a witness: HTTP or HTTPS with bounded bodies, times and connections.
 * It must not judge anything.
 */
import { KedgeError } from '@kedge/units';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import { type Answer, MAX_REQUEST_BYTES, refusal } from './add-checkpoint.js';
import type { Witness } from './witness.js';

/** How a witness is served. */
export interface WitnessServerOptions {
  readonly witness: Witness;
  readonly host: string;
  /** 0 = one that is free. */
  readonly port: number;
  /** Certificate chain and key as PEM; without them it is plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** A whole request has to be there within this time; default 10 s. */
  readonly requestMs?: number;
  /** Default 256. */
  readonly connectionsMax?: number;
  /** Told what could not be answered as it should. */
  readonly onError?: (error: unknown) => void;
}

/** A witness that is served. */
export interface WitnessServer {
  readonly url: string;
  /** Ends connections, and resolves when none is left. The witness stays open. */
  close(): Promise<void>;
}

/** Serves a witness. @throws KedgeError `WITNESS_ADDRESS`, `WITNESS_TLS` */
export async function serveWitness(options: WitnessServerOptions): Promise<WitnessServer> {
  const { host, port, tls, requestMs = 10_000, connectionsMax = 256, onError } = options;
  const limits = {
    requestTimeout: requestMs,
    headersTimeout: requestMs,
    keepAliveTimeout: 30_000,
    connectionsCheckingInterval: Math.max(100, Math.floor(requestMs / 4)),
    maxHeaderSize: 8_192,
  };
  const listener: RequestListener = (request, response) => {
    answerTo(request, options.witness).then(
      (answer) => {
        send(response, answer);
      },
      (error: unknown) => {
        onError?.(error);
        send(response, refusal(500, 'it could not be kept'));
      },
    );
  };
  const server = serverOf(limits, tls, listener);
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new KedgeError({ code: 'WITNESS_ADDRESS', message: `cannot listen at ${host} port ${port}`, cause }),
      );
    });
    server.listen(port, host, resolve);
  });
  const { address, family, port: bound } = server.address() as AddressInfo;
  const shown = family === 'IPv6' ? `[${address}]` : address;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${shown}:${bound}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeIdleConnections();
        // What is under way may end; who only sends slowly may not hold the door.
        setTimeout(() => {
          server.closeAllConnections();
        }, 1_000).unref();
      }),
  };
}

function serverOf(
  limits: object,
  tls: { readonly cert: string; readonly key: string } | undefined,
  listener: RequestListener,
): Server {
  if (tls === undefined) return createServer(limits, listener);
  try {
    return createTlsServer({ ...limits, ...tls, minVersion: 'TLSv1.3' }, listener);
  } catch (cause) {
    throw new KedgeError({
      code: 'WITNESS_TLS',
      message: 'cannot serve with this certificate and key',
      expected: 'a certificate chain and its key as PEM',
      cause,
    });
  }
}

async function answerTo(request: IncomingMessage, witness: Witness): Promise<Answer> {
  const { method, url = '' } = request;
  if (url === '/add-checkpoint') {
    if (method !== 'POST') return refusal(405, 'POST is expected');
    const body = await bodyOf(request);
    return body === undefined ? refusal(413, 'too large') : await witness.addCheckpoint(body);
  }
  const [, hash] = /^\/([0-9a-f]{64})\/checkpoint$/.exec(url) ?? [];
  if (hash === undefined) return refusal(404, 'nothing is here');
  return method === 'GET' ? witness.checkpoint(hash) : refusal(405, 'GET is expected');
}

/** Undefined where it is larger than any request. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_REQUEST_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function send(response: ServerResponse, { status, type, body }: Answer): void {
  if (response.destroyed) return;
  const headers = { 'content-type': type, 'content-length': Buffer.byteLength(body) };
  // Of a request that was too large the rest is not read.
  response.writeHead(status, status === 413 ? { ...headers, connection: 'close' } : headers).end(body);
}
