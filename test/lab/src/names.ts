/**
 * Conversations with names: somebody who asks for the address of a host and then speaks TLS with it, over and over,
 * and the one who answers both.
 * It must not hurry: one conversation at a time, and after one that failed longer and longer pauses, up to a bound.
 */
import { addressBytes } from '@kedge/ipfix';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as pauseOf } from 'node:timers/promises';
import { connect, createServer } from 'node:tls';

import { answerTo, DNS_CLASS_IN, DNS_TYPES, questionOf } from './dns-message.js';

/** Between two conversations, milliseconds; doubles with each in a row that failed. */
const PAUSE_MS = 500;
const MOST_PAUSE_MS = 5_000;
/** For an answer to a question, and for everything that is said over TLS. */
const PATIENCE_MS = 2_000;
const MOST_CONNECTIONS = 16;
const MOST_REPLY_BYTES = 256;

export interface AnsweringOptions {
  /** Where it listens; `::` takes both families. */
  readonly address: string;
  /** 0 = any. */
  readonly dnsPort: number;
  readonly tlsPort: number;
  readonly hosts: readonly string[];
  /** What every one of the hosts has as its address. */
  readonly ip4: string;
  readonly ip6: string;
  /** PEM, for all of the hosts. */
  readonly certificate: string;
  readonly key: string;
}

export interface Answering {
  readonly dnsPort: number;
  readonly tlsPort: number;
  /** Ends it and every connection. */
  close(): Promise<void>;
}

/** Answers questions for the hosts over UDP, and over TLS says to whom it was spoken. */
export async function answerNames(options: AnsweringOptions): Promise<Answering> {
  const hosts = new Set(options.hosts);
  const addresses = new Map<number, Uint8Array>();
  for (const [type, text] of [
    [DNS_TYPES.a, options.ip4],
    [DNS_TYPES.aaaa, options.ip6],
  ] as const) {
    const bytes = addressBytes(text);
    if (bytes === undefined) throw new TypeError(`${text} is no address`);
    addresses.set(type, bytes);
  }
  const dns = createSocket(options.address.includes(':') ? 'udp6' : 'udp4');
  dns.on('message', (message, { port, address }) => {
    const question = questionOf(message);
    if (question?.class !== DNS_CLASS_IN) return;
    const found = addresses.get(question.type);
    const known = found === undefined ? [] : [found];
    // Who asked may be out of reach by now: then it asks again.
    dns.send(
      answerTo(question, hosts.has(question.name) ? known : undefined),
      port,
      address,
      () => undefined,
    );
  });
  const open = new Set<Socket>();
  const tls = createServer({ cert: options.certificate, key: options.key, handshakeTimeout: PATIENCE_MS });
  tls.maxConnections = MOST_CONNECTIONS;
  tls.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    // Below TLS, so that it also ends who never says anything.
    socket.setTimeout(PATIENCE_MS, () => socket.destroy());
  });
  tls.on('secureConnection', (socket) => {
    socket.on('error', () => socket.destroy()).resume();
    socket.end(`${socket.servername === false ? '' : (socket.servername ?? '')}\n`);
  });
  tls.on('tlsClientError', () => undefined);
  dns.bind(options.dnsPort, options.address);
  await once(dns, 'listening');
  tls.listen(options.tlsPort, options.address);
  await once(tls, 'listening');
  return {
    dnsPort: dns.address().port,
    tlsPort: (tls.address() as AddressInfo).port,
    close: async () => {
      const closed = [once(dns, 'close'), once(tls, 'close')];
      dns.close();
      tls.close();
      for (const socket of open) socket.destroy();
      await Promise.all(closed);
    },
  };
}

export interface AskingOptions {
  /** Where questions are answered, asked in turn, one round of all hosts each. */
  readonly resolvers: readonly { readonly family: 4 | 6; readonly address: string; readonly port: number }[];
  readonly tlsPort: number;
  readonly hosts: readonly string[];
  /** PEM; nobody else is believed to be one of the hosts. */
  readonly certificate: string;
  /** Told of every conversation: the name, and why it failed. */
  readonly told?: (host: string, failure: unknown) => void;
}

/** How long to wait after so many conversations in a row that failed, milliseconds. */
export function pauseAfter(failures: number): number {
  return Math.min(MOST_PAUSE_MS, PAUSE_MS * 2 ** Math.min(failures, 16));
}

/** Asks for one host after the other and speaks with it, until `signal`; never rejects. */
export async function askForNames(options: AskingOptions, signal: AbortSignal): Promise<void> {
  const { resolvers, hosts, told = () => undefined } = options;
  let failures = 0;
  for (let turn = 0; !signal.aborted; turn += 1) {
    const host = hosts[turn % hosts.length];
    const resolver = resolvers[Math.floor(turn / hosts.length) % resolvers.length];
    if (host === undefined || resolver === undefined) return;
    try {
      await converse(host, resolver, options, signal);
      failures = 0;
      told(host, undefined);
    } catch (failure) {
      failures += 1;
      told(host, failure);
    }
    await pauseOf(pauseAfter(failures), undefined, { signal }).catch(() => undefined);
  }
}

async function converse(
  host: string,
  { family, address, port }: AskingOptions['resolvers'][number],
  { tlsPort, certificate }: AskingOptions,
  signal: AbortSignal,
): Promise<void> {
  // One of its own each time: every question comes from another port, as those of different people do.
  const resolver = new Resolver({ timeout: PATIENCE_MS, tries: 1 });
  resolver.setServers([family === 4 ? `${address}:${port}` : `[${address}]:${port}`]);
  const found = await (family === 4 ? resolver.resolve4(host) : resolver.resolve6(host));
  signal.throwIfAborted();
  const socket = connect({ host: found[0] ?? address, port: tlsPort, servername: host, ca: certificate });
  // It is read to its end below; what comes after that is nobody's.
  socket.on('error', () => undefined);
  const patience = setTimeout(() => {
    socket.destroy(new Error(`${host} did not answer within ${PATIENCE_MS} ms`));
  }, PATIENCE_MS);
  try {
    let reply = '';
    for await (const part of socket.setEncoding('utf8') as AsyncIterable<string>) {
      reply += part;
      if (reply.length > MOST_REPLY_BYTES) break;
    }
    if (reply !== `${host}\n`) throw new Error(`asked for ${host}, and somebody else answered`);
  } finally {
    clearTimeout(patience);
    socket.destroy();
  }
}
