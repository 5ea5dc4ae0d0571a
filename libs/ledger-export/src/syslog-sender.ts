/**
 * Syslog messages on their way to one receiver over TLS (RFC 5425): in order, again after a lost connection, within
 * a bound.
 * It must not send anything to a receiver that has not proven its name, nor keep more than it may.
 */
import { KedgeError } from '@kedge/units';
import { isIP } from 'node:net';
import { checkServerIdentity, connect, type TLSSocket } from 'node:tls';

import { framed } from './syslog.js';

/** Where messages go. */
export interface SyslogSenderOptions {
  readonly host: string;
  /** 6514 where nothing is said. */
  readonly port?: number;
  /** Name that the certificate has to be for; the host where nothing is said. */
  readonly name?: string;
  /** Certificates of the authorities that may vouch for the receiver, in PEM; those of the system where nothing is said. */
  readonly authorities?: string;
  /** What this sender proves itself by, in PEM, where the receiver asks for it. */
  readonly identity?: { readonly certificate: string; readonly key: string };
  /** Bytes that wait or are on their way, at most; 4 MiB where nothing is said. */
  readonly pendingBytes?: number;
  /** Milliseconds from a lost or refused connection to the next; doubled each time up to a minute. */
  readonly retryMs?: number;
  /** Told of each connection that stands (true), and of each that was lost or refused (false). */
  readonly onConnection?: (connected: boolean) => void;
}

/** How it stands. */
export interface SyslogStatus {
  readonly connected: boolean;
  /** Messages that were handed to the system, on a connection that stood. */
  readonly sent: number;
  readonly pending: number;
  readonly pendingBytes: number;
  /** The system's or TLS's word for the last failure: "ECONNREFUSED"; empty while there was none. */
  readonly reason: string;
}

const PENDING_BYTES = 4 * 1024 * 1024;
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 60_000;
/** For the handshake, and for the end of a connection. */
const CONNECT_MS = 10_000;
const CLOSE_MS = 1_000;
/** A connection on which nothing goes is asked for after so long. */
const KEEP_ALIVE_MS = 30_000;

interface Pending {
  readonly bytes: Buffer;
  readonly resolve: () => void;
  readonly reject: (error: KedgeError) => void;
}

/**
 * `send` messages, `close` once. Syslog knows no receipts: what was handed to the system when a connection is lost
 * may be lost with it, and what was not is sent again. Receivers tell repeated messages by their id.
 */
export class SyslogSender {
  readonly #options: SyslogSenderOptions;
  readonly #pendingBytesMax: number;
  /** In order; what is on its way stands at the front until it has left. */
  readonly #pending: Pending[] = [];
  #pendingBytes = 0;
  /** How many of them were given to the connection that stands. */
  #onTheWay = 0;
  #socket: TLSSocket | undefined;
  #isConnected = false;
  #isClosed = false;
  #closing: Promise<boolean> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs: number;
  #sent = 0;
  #reason = '';

  constructor(options: SyslogSenderOptions) {
    this.#options = options;
    this.#pendingBytesMax = options.pendingBytes ?? PENDING_BYTES;
    this.#retryMs = options.retryMs ?? RETRY_MS;
    this.#connect();
  }

  get status(): SyslogStatus {
    return {
      connected: this.#isConnected,
      sent: this.#sent,
      pending: this.#pending.length,
      pendingBytes: this.#pendingBytes,
      reason: this.#reason,
    };
  }

  /**
   * Resolves when the message was handed to the system. Whoever waits for that goes as fast as the receiver takes.
   *
   * @throws KedgeError `EXPORT_FULL` (more would wait than may), `EXPORT_CLOSED`.
   */
  send(message: string): Promise<void> {
    if (this.#isClosed) return Promise.reject(this.#closed());
    const bytes = framed(message);
    if (this.#pendingBytes + bytes.length > this.#pendingBytesMax) return Promise.reject(this.#full());
    return new Promise((resolve, reject) => {
      this.#pending.push({ bytes, resolve, reject });
      this.#pendingBytes += bytes.length;
      this.#give();
    });
  }

  /**
   * Gives the connection back. What still waits then is refused with `EXPORT_CLOSED`.
   *
   * @param withinMs How long the receiver may take to read to the end and take leave. Twice is once, with the shorter time.
   * @returns True where the connection stood and the receiver took leave in order: it has read everything that was
   *   sent over it, for a system that closes a connection with something unread breaks it off instead.
   */
  close(withinMs = CLOSE_MS): Promise<boolean> {
    const socket = this.#socket;
    // A receiver that does not take leave is not waited for.
    const limit = setTimeout(() => socket?.destroy(), withinMs);
    this.#closing ??= this.#close(socket);
    return this.#closing.finally(() => {
      clearTimeout(limit);
    });
  }

  async #close(socket: TLSSocket | undefined): Promise<boolean> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#pendingBytes = 0;
    for (const { reject } of this.#pending.splice(0)) reject(this.#closed());
    if (socket === undefined || socket.closed) return false;
    if (!this.#isConnected || socket.readableEnded) {
      socket.destroy();
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
      return false;
    }
    return await new Promise<boolean>((resolve) => {
      let [hasSaid, hasHeard, isBroken] = [false, false, false];
      socket.once('error', () => {
        isBroken = true;
      });
      // One that leaves before it was told to has not read to the end.
      socket.once('end', () => {
        hasHeard = hasSaid;
      });
      socket.once('close', (hadError: boolean) => {
        resolve(hasHeard && !isBroken && !hadError);
      });
      socket.end(() => {
        hasSaid = true;
      });
    });
  }

  #connect(): void {
    const { host, port = 6514, name = host, authorities, identity } = this.#options;
    const socket = connect({
      host,
      port,
      // An address cannot be asked for; it is checked all the same.
      ...(isIP(name) === 0 ? { servername: name } : {}),
      checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      ...(authorities === undefined ? {} : { ca: authorities }),
      ...(identity === undefined ? {} : { cert: identity.certificate, key: identity.key }),
    });
    this.#socket = socket;
    this.#onTheWay = 0;
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    const limit = setTimeout(() => socket.destroy(new Error('no handshake in time')), CONNECT_MS);
    socket.on('secureConnect', () => {
      clearTimeout(limit);
      this.#isConnected = true;
      this.#retryMs = this.#options.retryMs ?? RETRY_MS;
      this.#options.onConnection?.(true);
      this.#give();
    });
    // Receivers say nothing; what they say all the same is read and forgotten, so that their end is seen.
    socket.resume();
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason = error.code ?? error.message;
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(limit);
      this.#isConnected = false;
      this.#onTheWay = 0;
      if (this.#isClosed) return;
      this.#options.onConnection?.(false);
      if (this.#isClosed) return;
      this.#retry = setTimeout(() => this.#connect(), this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX);
    });
  }

  /** Gives what waits to the connection, as long as that takes it. */
  #give(): void {
    const socket = this.#socket;
    if (socket === undefined || !this.#isConnected) return;
    while (this.#onTheWay < this.#pending.length && !socket.writableNeedDrain) {
      const next = this.#pending[this.#onTheWay];
      if (next === undefined) return;
      this.#onTheWay += 1;
      socket.write(next.bytes, (error) => {
        // A connection that was lost says so by itself, and begins anew with the first that has not left.
        if (error instanceof Error) return;
        if (socket !== this.#socket || this.#pending[0] !== next) return;
        this.#pending.shift();
        this.#onTheWay -= 1;
        this.#pendingBytes -= next.bytes.length;
        this.#sent += 1;
        next.resolve();
        this.#give();
      });
    }
  }

  #full(): KedgeError {
    return new KedgeError({
      code: 'EXPORT_FULL',
      message: `cannot send to the syslog receiver ${this.#options.host}: as much waits for it as may`,
      expected: `at most ${this.#pendingBytesMax} bytes at once`,
      ...(this.#reason === '' ? {} : { help: `the last failure was ${this.#reason}` }),
    });
  }

  #closed(): KedgeError {
    return new KedgeError({
      code: 'EXPORT_CLOSED',
      message: `cannot send to the syslog receiver ${this.#options.host}: the sender is closed`,
    });
  }
}
