/**
 * The rig: a source and a sink of frames, and between them what is to be measured, with a processor of its own: the
 * shipped forwarder on a board that this process writes, a bridge of the kernel, or nothing.
 *
 *   source ─── in [ device ] out ─── sink
 *
 * Must not measure, and must leave nothing behind, whenever it ends.
 */
import type { ChildProcess } from 'node:child_process';
import { forwarderPath } from '@kedge/dataplane';
import {
  createPostureSegment,
  createSegment,
  layout,
  monotonicNs,
  openSegment,
  type PostureWriter,
  type SegmentReader,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import { type Level, LEVELS } from '@kedge/units';

import { Namespace } from './namespace.js';
import { Packets } from './packets.js';
import { RIG_ZONES, rigTable } from './rig-rules.js';

/** Generator, sink and whoever decides; what is measured. */
export const RIG_CPU = { ends: 0, device: 1 } as const;

const BOARD = '/run/board';
const NAME = 'bench';
const BEAT_MS = 100;
const WITHIN_MS = 10_000;
const GENERATION = 1n;
const WORKER = layout.dataplane.worker;

/** One decision as it was stamped on both sides; CLOCK_MONOTONIC in nanoseconds. */
export interface Decided {
  readonly from: Level;
  readonly to: Level;
  readonly decidedNs: number;
  readonly acknowledgedNs: number;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until<T>(what: () => string, look: () => T | undefined): Promise<T> {
  for (const giveUp = performance.now() + WITHIN_MS; performance.now() < giveUp; await pause(1)) {
    const seen = look();
    if (seen !== undefined) return seen;
  }
  throw new Error(`bench: ${what()} did not happen within ${String(WITHIN_MS)} ms`);
}

/** The board's writers: what coordinator, warden and bridge are elsewhere. */
class RigBoard {
  readonly #posture: PostureWriter;
  readonly #warden: SegmentWriter;
  readonly #tables: SegmentWriter;
  readonly #beat: NodeJS.Timeout;
  #epoch = 1n;
  #level: Level = 5;

  constructor(directory: string) {
    this.#posture = createPostureSegment({ directory });
    this.#warden = createSegment({ directory, name: 'warden', kind: 'warden' });
    this.#tables = createSegment({ directory, name: 'tables', kind: 'tables' });
    const bank = layout.tables.bank + Number(GENERATION) * layout.bank.size;
    for (const level of LEVELS)
      this.#tables.write(
        bank + layout.bank.level + (level - 1) * layout.levelTable.size,
        rigTable(level, GENERATION),
      );
    this.#tables.store64(bank + layout.bank.generation, GENERATION);
    this.#tables.store64(layout.tables.generation, GENERATION);
    this.#beatOnce();
    this.#beat = setInterval(() => {
      this.#beatOnce();
    }, BEAT_MS);
    this.#posture.storeWord(this.#epoch, this.#level);
  }

  get level(): Level {
    return this.#level;
  }

  get epoch(): bigint {
    return this.#epoch;
  }

  #beatOnce(): void {
    for (const segment of [this.#posture, this.#warden, this.#tables]) segment.beat(true);
  }

  /** Stores a decision as the coordinator does; when it was decided. */
  decide(to: Level): bigint {
    this.#epoch += 1n;
    const from = this.#level;
    const receivedAtNs = monotonicNs();
    const decision = { epoch: this.#epoch, from, to, receivedAtNs };
    this.#level = to;
    if (to <= from) return this.#posture.tighten(decision).decidedAtNs;
    return this.#posture.loosen({ ...decision, decidedAtNs: receivedAtNs }).stageAtNs;
  }

  close(): void {
    clearInterval(this.#beat);
    for (const segment of [this.#posture, this.#warden, this.#tables]) segment.close();
  }
}

/** How the forwarder waits for frames. */
export type Waiting = 'sleeping' | 'realtime' | 'polling';
const WAITING: Readonly<Record<Waiting, readonly string[]>> = {
  sleeping: [],
  realtime: ['--fifo', '20'],
  polling: ['--poll'],
};

export class Rig {
  readonly #device: Namespace;
  readonly #outside: Namespace;
  readonly #board: RigBoard;
  readonly #ends: Packets[] = [];
  #forwarder: { readonly child: ChildProcess; readonly segment: SegmentReader } | undefined;
  /** Of the forwarder's segment, when it was last looked at: a predecessor's says what was true for that one. */
  #incarnation = 0n;
  #bridged = false;

  private constructor(device: Namespace, outside: Namespace) {
    this.#device = device;
    this.#outside = outside;
    device.run(['mkdir', '-m', '755', BOARD]);
    this.#board = new RigBoard(device.reach(BOARD));
  }

  /** Both wires up, nothing between them. */
  static async build(): Promise<Rig> {
    const device = await Namespace.start({ apart: true });
    const outside = await Namespace.start();
    for (const namespace of [device, outside]) {
      namespace.set('ipv4.ip_forward', 0);
      namespace.set('ipv6.conf.all.forwarding', 0);
      namespace.set('ipv6.conf.default.disable_ipv6', 1);
    }
    for (const [far, near] of [
      ['source', 'in'],
      ['sink', 'out'],
    ] as const) {
      outside.ip(`link add name ${far} type veth peer name ${near} netns ${String(device.pid)}`);
      outside.ip(`link set dev ${far} up`);
      device.ip(`link set dev ${near} up`);
    }
    return new Rig(device, outside);
  }

  /** Frames from the source through whatever there is to the sink. */
  async through(): Promise<Packets> {
    return this.#join({ network: this.#outside.network, name: 'sink' });
  }

  /** Frames over the first wire alone: what source, wire and sink take themselves. */
  async wire(): Promise<Packets> {
    return this.#join({ network: this.#device.network, name: 'in' });
  }

  async #join(to: { readonly network: string; readonly name: string }): Promise<Packets> {
    const from = { network: this.#outside.network, name: 'source' };
    const packets = await Packets.start({ from, to, cpu: RIG_CPU.ends });
    this.#ends.push(packets);
    return packets;
  }

  /** A bridge of the kernel between both wires, or none any more; what arrives is handed to the device's processor. */
  bridge(on: boolean): void {
    if (on === this.#bridged) return;
    this.#bridged = on;
    const steer = on ? (1 << RIG_CPU.device).toString(16) : '0';
    this.#device.run(['sh', '-c', `echo ${steer} > /sys/class/net/in/queues/rx-0/rps_cpus`]);
    if (on) {
      this.#device.ip('link add name bridge type bridge stp_state 0 mcast_snooping 0');
      for (const port of ['in', 'out']) this.#device.ip(`link set dev ${port} master bridge`);
      this.#device.ip('link set dev bridge up');
    } else this.#device.ip('link delete dev bridge');
  }

  /** Starts the shipped forwarder between both wires, and waits until it serves at the level in force. */
  async forward(waiting: Waiting): Promise<void> {
    const child = this.#device.spawn([
      ...[forwarderPath, '--board', BOARD, '--name', NAME],
      ...['--owner', 'posture=0', '--owner', 'warden=0', '--owner', 'tables=0'],
      ...['--port', `in=${String(RIG_ZONES.in)}`, '--port', `out=${String(RIG_ZONES.out)}`],
      ...['--cpu', String(RIG_CPU.device), ...WAITING[waiting]],
    ]);
    let said = '';
    child.stderr.on('data', (text: Buffer) => {
      said = (said + text.toString()).slice(-4_000);
    });
    const segment = await until(
      () => `the start of the forwarder (it says: ${said.trim()})`,
      () => this.#successor(),
    );
    this.#forwarder = { child, segment };
    await until(
      () => `serving (it says: ${said.trim()})`,
      () => {
        const serves = segment.load32(layout.dataplane.beat + layout.beat.serving) === 1;
        const tables = segment.load64(WORKER + layout.worker.generation) === GENERATION;
        return serves && tables ? true : undefined;
      },
    );
    await this.#acknowledged();
  }

  /** The segment of a forwarder that was not there before, once there is one. */
  #successor(): SegmentReader | undefined {
    let segment: SegmentReader;
    let incarnation: bigint;
    try {
      const directory = this.#device.reach(BOARD);
      segment = openSegment({ directory, name: `dataplane-${NAME}`, kind: 'dataplane', owner: 0 });
      ({ incarnation } = segment.header);
    } catch {
      return undefined; // not there yet, or just being taken over
    }
    if (incarnation > this.#incarnation) {
      this.#incarnation = incarnation;
      return segment;
    }
    segment.close();
    return undefined;
  }

  /** Ends the forwarder. */
  async stop(): Promise<void> {
    const running = this.#forwarder;
    if (running === undefined) return;
    this.#forwarder = undefined;
    const gone = new Promise((resolve) => running.child.once('exit', resolve));
    this.#device.run(['kill', '-TERM', String(running.segment.header.writerPid)]);
    running.segment.close();
    await gone;
  }

  async #acknowledged(): Promise<bigint> {
    const segment = this.#forwarder?.segment;
    if (segment === undefined) throw new Error('bench: nobody there to acknowledge');
    const { epoch, level } = this.#board;
    return until(
      () => `the acknowledgement of epoch ${String(epoch)}`,
      () => {
        const line = segment.ack(WORKER);
        return line !== undefined && line.epoch === epoch && line.level === level
          ? line.finishedAtNs
          : undefined;
      },
    );
  }

  /** Decides a level and waits for the forwarder's acknowledgement. */
  async decide(to: Level): Promise<Decided> {
    const from = this.#board.level;
    const decided = this.#board.decide(to);
    const acknowledged = await this.#acknowledged();
    return { from, to, decidedNs: Number(decided), acknowledgedNs: Number(acknowledged) };
  }

  /** Lets everything go; what still runs between the wires dies with its namespace. */
  end(): void {
    for (const packets of this.#ends) packets.end();
    this.#forwarder?.segment.close();
    this.#board.close();
    this.#outside.end();
    this.#device.end();
  }
}
