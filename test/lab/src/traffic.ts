/**
 * Speaks to the senders and receivers of the lab over their control sockets (native/traffic.c).
 * It must not judge what they report.
 */
import { KedgeError } from '@kedge/units';
import { createConnection, type Socket } from 'node:net';

import {
  CLASSES,
  type ClassName,
  RECEIVING_ZONES,
  SENDING_ZONES,
  trafficSocket,
  type ZoneName,
} from './topology.js';

/** One flow as its sender or receiver accounts for it. */
export interface FlowReport {
  readonly class: ClassName;
  readonly family: 4 | 6;
  readonly packets: number;
  /** Receivers: how many arrived marked DSCP LE, and with any other mark. */
  readonly le: number;
  readonly otherMarks: number;
  /** Senders: packets per second now, and packets the kernel refused. */
  readonly rate: number;
  readonly failed: number;
}

export interface EndReport {
  /** Packets that the receiver's kernel had no room for; 0 or the account is incomplete. */
  readonly lost: number;
  readonly flows: readonly FlowReport[];
}

/** Packets of a class within a span of time, by the stamps of their sender. */
export interface CountReport {
  readonly packets: number;
  readonly le: number;
  readonly otherMarks: number;
  /** False when the log no longer reaches back that far. */
  readonly complete: boolean;
}

/** One packet that should not have arrived. Times are CLOCK_MONOTONIC nanoseconds. */
export interface Sighting {
  readonly family: 4 | 6;
  readonly sequence: number;
  readonly sentAtNs: bigint;
  readonly receivedAtNs: bigint;
  readonly dscp: number;
}

export interface ForbiddenReport {
  readonly packets: number;
  readonly complete: boolean;
  readonly first?: Sighting;
  readonly last?: Sighting;
}

/** A sender or receiver, one request at a time. */
class End {
  #socket: Socket | undefined;
  #pending: Promise<unknown> = Promise.resolve();

  constructor(private readonly path: string) {}

  ask(line: string): Promise<unknown> {
    const answer = this.#pending.then(() => this.#ask(line));
    this.#pending = answer.catch(() => undefined);
    return answer;
  }

  async #ask(line: string): Promise<unknown> {
    const text = await new Promise<string>((resolve, reject) => {
      const socket = (this.#socket ??= createConnection(this.path).setEncoding('utf8'));
      let received = '';
      const finish = (error: Error | undefined): void => {
        clearTimeout(timer);
        socket.off('data', onData).off('error', onError).off('close', onClose);
        if (error === undefined) resolve(received);
        else {
          socket.on('error', () => undefined).destroy();
          this.#socket = undefined;
          reject(error);
        }
      };
      const fail = (cause: unknown): void => {
        finish(
          new KedgeError({
            code: 'LAB_TRAFFIC',
            message: `cannot ask the traffic at ${this.path} for "${line}"`,
            help: 'is the lab up? try: kedge lab status',
            cause,
          }),
        );
      };
      const onData = (chunk: string): void => {
        received += chunk;
        if (received.endsWith('\n')) finish(undefined);
      };
      const onError = (cause: Error): void => {
        fail(cause);
      };
      const onClose = (): void => {
        fail(undefined);
      };
      const timer = setTimeout(() => {
        fail(undefined);
      }, 5_000);
      socket.on('data', onData).on('error', onError).on('close', onClose);
      socket.write(`${line}\n`);
    });
    const answer = JSON.parse(text) as Record<string, unknown>;
    if ('error' in answer) {
      throw new KedgeError({
        code: 'LAB_TRAFFIC',
        message: `the traffic at ${this.path} refused "${line}": ${String(answer['error'])}`,
      });
    }
    return answer;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

interface RawFlow {
  readonly class: ClassName;
  readonly family: 4 | 6;
  readonly packets: string;
  readonly le?: string;
  readonly otherMarks?: string;
  readonly rate?: number;
  readonly failed?: string;
}

function endReport(raw: unknown): EndReport {
  const { lost, flows } = raw as { lost: string; flows: RawFlow[] };
  return {
    lost: Number(lost),
    flows: flows.map((flow) => ({
      class: flow.class,
      family: flow.family,
      packets: Number(flow.packets),
      le: Number(flow.le ?? 0),
      otherMarks: Number(flow.otherMarks ?? 0),
      rate: flow.rate ?? 0,
      failed: Number(flow.failed ?? 0),
    })),
  };
}

function countReport(raw: unknown): CountReport {
  const { packets, le, otherMarks, complete } = raw as Record<string, string | boolean>;
  return {
    packets: Number(packets),
    le: Number(le),
    otherMarks: Number(otherMarks),
    complete: complete === true,
  };
}

interface RawSighting {
  readonly family: 4 | 6;
  readonly sequence: number;
  readonly sentAt: string;
  readonly receivedAt: string;
  readonly dscp: number;
}

function sighting(raw: RawSighting): Sighting {
  return {
    family: raw.family,
    sequence: raw.sequence,
    sentAtNs: BigInt(raw.sentAt),
    receivedAtNs: BigInt(raw.receivedAt),
    dscp: raw.dscp,
  };
}

function ends(className: ClassName): { from: ZoneName; to: ZoneName } {
  const found = CLASSES.find(({ name }) => name === className);
  if (found === undefined) throw new TypeError(`no class ${className}`);
  return found;
}

/** The traffic of one lab. `reach` turns a path inside the lab into one that this process can open. */
export class Traffic {
  readonly #ends: ReadonlyMap<ZoneName, End>;

  constructor(reach: (path: string) => string) {
    this.#ends = new Map(
      [...SENDING_ZONES, ...RECEIVING_ZONES].map((zone) => [zone, new End(reach(trafficSocket(zone)))]),
    );
  }

  #end(zone: ZoneName): End {
    const end = this.#ends.get(zone);
    if (end === undefined) throw new TypeError(`zone ${zone} neither sends nor receives`);
    return end;
  }

  /** Totals of every zone that sends or receives. */
  async report(): Promise<ReadonlyMap<ZoneName, EndReport>> {
    return new Map(
      await Promise.all(
        [...this.#ends].map(async ([zone, end]) => [zone, endReport(await end.ask('report'))] as const),
      ),
    );
  }

  /** Packets of a class sent at `after` < t <= `until`. */
  async sent(name: ClassName, afterNs: bigint, untilNs: bigint): Promise<CountReport> {
    return countReport(await this.#end(ends(name).from).ask(`count ${name} ${afterNs} ${untilNs}`));
  }

  /** Packets of a class that arrived and were sent at `after` < t <= `until`. */
  async received(name: ClassName, afterNs: bigint, untilNs: bigint): Promise<CountReport> {
    return countReport(await this.#end(ends(name).to).ask(`count ${name} ${afterNs} ${untilNs}`));
  }

  /** Packets of a class that were sent after one moment and arrived before another. */
  async forbidden(name: ClassName, afterNs: bigint, beforeNs: bigint): Promise<ForbiddenReport> {
    const raw = (await this.#end(ends(name).to).ask(`forbidden ${name} ${afterNs} ${beforeNs}`)) as {
      packets: string;
      complete: boolean;
      first?: RawSighting;
      last?: RawSighting;
    };
    return {
      packets: Number(raw.packets),
      complete: raw.complete,
      ...(raw.first === undefined ? {} : { first: sighting(raw.first) }),
      ...(raw.last === undefined ? {} : { last: sighting(raw.last) }),
    };
  }

  /** Sets the packets per second of both flows of a class. */
  async rate(name: ClassName, packetsPerSecond: number): Promise<void> {
    await this.#end(ends(name).from).ask(`rate ${name} ${packetsPerSecond}`);
  }

  close(): void {
    for (const end of this.#ends.values()) end.close();
  }
}
