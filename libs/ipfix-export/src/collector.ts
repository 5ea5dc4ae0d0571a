/**
 * One collector behind a connected UDP socket: only a connected one is told that nobody listens.
 * It must not wait for the collector, and not keep more than it may.
 */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

/** Messages on their way to the kernel at once, or waiting for the socket. */
export const PENDING_MAX = 256;

/** `send` what there is, `close` once. */
export class UdpCollector {
  /** "10.0.0.5:4739", "[fd77::5]:4739". */
  readonly name: string;
  readonly #host: string;
  readonly #port: number;
  #socket: Socket | undefined;
  /** Until the socket is connected. */
  #waiting: Uint8Array[] | undefined;
  #pending = 0;
  #sent = 0;
  #failed = 0;
  #reason = '';

  constructor({ host, port }: { readonly host: string; readonly port: number }) {
    this.#host = host;
    this.#port = port;
    this.name = isIPv6(host) ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
  }

  /** Messages that the kernel took. */
  get sent(): number {
    return this.#sent;
  }

  /** Messages that it did not take, or that were refused at the other end, as far as that is known. */
  get failed(): number {
    return this.#failed;
  }

  /** The system's word for the last failure: "ECONNREFUSED"; empty while there was none. */
  get reason(): string {
    return this.#reason;
  }

  /** Sends a message, or counts it as failed. Makes the socket anew where it was lost. */
  send(message: Uint8Array): void {
    const socket = this.#socket ?? this.#open();
    if (this.#pending >= PENDING_MAX) {
      this.#fail('ENOBUFS');
      return;
    }
    this.#pending += 1;
    if (this.#waiting === undefined) this.#give(socket, message);
    else this.#waiting.push(message);
  }

  /** Gives the socket back when what is on its way has left. */
  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#waiting = undefined;
    if (socket === undefined) return;
    await new Promise<void>((resolve) => {
      socket.close(resolve);
    });
  }

  #open(): Socket {
    const socket = createSocket(isIPv6(this.#host) ? 'udp6' : 'udp4');
    this.#socket = socket;
    this.#waiting = [];
    this.#pending = 0;
    const lost = (error: NodeJS.ErrnoException): void => {
      if (this.#socket !== socket) return;
      this.#fail(error.code ?? 'unknown');
      // A socket that never was connected is made anew with the next message.
      if (this.#waiting === undefined) return;
      this.#failed += this.#waiting.length;
      this.#socket = undefined;
      socket.close();
    };
    socket.on('error', lost);
    socket.connect(this.#port, this.#host, () => {
      if (this.#socket !== socket) return;
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      for (const message of waiting) this.#give(socket, message);
    });
    // An exporter alone keeps no process alive.
    socket.unref();
    return socket;
  }

  #give(socket: Socket, message: Uint8Array): void {
    socket.send(message, (error) => {
      if (this.#socket === socket) this.#pending -= 1;
      if (error === null) this.#sent += 1;
      else this.#fail((error as NodeJS.ErrnoException).code ?? 'unknown');
    });
  }

  #fail(reason: string): void {
    this.#failed += 1;
    this.#reason = reason;
  }
}
