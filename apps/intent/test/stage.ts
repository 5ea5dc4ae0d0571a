/**
 * A place for an intent: board, sockets and state, and a process to talk to.
 * Must not be used by shipped code.
 */
import { intentClient, type IntentClient, intentDevicesClient, type IntentDevicesClient } from '@kedge/bus';
import type { LedgerRecord } from '@kedge/contracts';
import { openSpool } from '@kedge/ledger';
import {
  createPostureSegment,
  createSegment,
  layout,
  monotonicNs,
  type PostureWriter,
} from '@kedge/shared-memory-ipc';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The process with the small strict schema. */
const SERVE = join(import.meta.dirname, 'serve.mjs');
/** The same with devices. */
const SERVE_DEVICES = join(import.meta.dirname, 'serve-devices.mjs');
export const TIERS = ['site_owner', 'master', 'journeyman', 'apprentice'] as const;
export const CALL = { deadlineMs: 10_000 };

/** A process that was started, and all that it said. */
export interface Started {
  readonly child: ChildProcess;
  readonly output: () => string;
}

/** Everything that one test has; `remove` once. */
export class Stage {
  readonly root = mkdtempSync(join(tmpdir(), 'kedge-intent-'));
  readonly sockets = join(this.root, 'sock');
  readonly state = join(this.root, 'state/intent');
  /** The file of the devices (device-shelf.mjs). */
  readonly shelf = join(this.root, 'devices.json');
  readonly posture: PostureWriter;
  readonly #ends: (() => void | Promise<void>)[] = [];

  /** @param program what is started. */
  constructor(public program = SERVE) {
    const ways = ['console', ...TIERS.map((tier) => `local/${tier}`)];
    for (const name of [
      ...['board', 'state', 'sock', 'sock/internal', 'sock/metrics', 'sock/local'],
      ...ways.flatMap((way) => [`sock/${way}`, `sock/${way}/intent`]),
    ]) {
      mkdirSync(join(this.root, name), { recursive: true });
      chmodSync(join(this.root, name), 0o755);
    }
    chmodSync(this.root, 0o755);
    const directory = join(this.root, 'board');
    this.posture = createPostureSegment({ directory });
    this.posture.storeWord(1n, 5);
    const warden = createSegment({ directory, name: 'warden', kind: 'warden' });
    warden.store64(layout.warden.staleNs, 3_600_000_000_000n);
    warden.beat(true);
    this.#ends.push(() => {
      warden.close();
      this.posture.close();
    });
  }

  get config() {
    const owner = process.getuid?.() ?? 0;
    return {
      appliance: 'box-7',
      board: { directory: join(this.root, 'board'), owners: { posture: owner, warden: owner } },
      sockets: this.sockets,
      state: this.state,
      metrics: { socket: join(this.sockets, 'metrics/intent.sock') },
    };
  }

  /** Starts the process and waits until it serves. */
  async serve(over: object = {}): Promise<Started> {
    const started = this.start(over);
    const client = this.client('internal');
    await until(
      'the intent serves',
      async () => {
        if (started.child.exitCode !== null) throw new Error(`it ended: ${started.output()}`);
        return (await client.health({ deadlineMs: 1_000 }).catch(() => '')) === 'SERVING';
      },
      started.output,
    );
    return started;
  }

  start(over: object = {}): Started {
    const config = join(this.root, `config-${String(Math.random()).slice(2)}.json`);
    writeFileSync(config, JSON.stringify({ ...this.config, ...over }));
    // Devices are there once a test has put some on the shelf.
    const program = existsSync(this.shelf) ? SERVE_DEVICES : this.program;
    const child = spawn(process.execPath, [program, '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, KEDGE_TEST_DEVICES: this.shelf },
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    }
    this.#ends.push(() => this.end(child, 'SIGKILL'));
    return { child, output: () => said };
  }

  async end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  /** @param way `internal`, `console`, `local/TIER`. */
  client(way: string): IntentClient {
    const path = way === 'internal' ? 'internal/intent.sock' : `${way}/intent/intent.sock`;
    const client = intentClient(join(this.sockets, path));
    this.#ends.push(() => client.close());
    return client;
  }

  /** Puts devices on the shelf; before `serve`, and again to change them. */
  put(level: number, devices: object): void {
    writeFileSync(this.shelf, JSON.stringify({ level, devices }));
  }

  /** @param way `internal`, `console`, `local/TIER`. */
  devices(way: string): IntentDevicesClient {
    const path = way === 'internal' ? 'internal/intent.sock' : `${way}/intent/intent.sock`;
    const client = intentDevicesClient(join(this.sockets, path));
    this.#ends.push(() => client.close());
    return client;
  }

  /** What was recorded; the process has ended. */
  async records(): Promise<LedgerRecord[]> {
    const spool = await openSpool({ directory: join(this.state, 'records') });
    const found: LedgerRecord[] = [];
    for await (const { record } of spool.drain()) found.push(record);
    await spool.close();
    return found;
  }

  /** What a series says now. */
  async metric(series: string): Promise<number> {
    const socketPath = join(this.sockets, 'metrics/intent.sock');
    await until('metrics are served', () => existsSync(socketPath));
    const text = await new Promise<string>((resolve, reject) => {
      request({ socketPath, path: '/metrics', headers: { host: 'localhost' } }, (response) => {
        let said = '';
        response.on('data', (chunk: Buffer) => (said += chunk.toString()));
        response.on('end', () => resolve(said));
      })
        .on('error', reject)
        .end();
    });
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return Number(line?.slice(series.length + 1).split(' ')[0]);
  }

  /** The decision to tighten that every service sees. */
  tighten(epoch: bigint, from: number, to: number): void {
    this.posture.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });
  }

  /** A level that everybody has reached. */
  reach(epoch: bigint, from: number, to: number): void {
    const [receivedAtNs, decidedAtNs, stageAtNs] = [monotonicNs(), monotonicNs(), monotonicNs()];
    this.posture.writeTransition({
      ...{ epoch, from, to, stage: layout.enums.stage.COMPLETE, flags: 0 },
      ...{ receivedAtNs, decidedAtNs, stageAtNs, budgetNs: [0n, 0n, 0n] },
    });
    this.posture.storeWord(epoch, to);
  }

  async remove(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Waits until something is so, at most a minute: a start takes long where much else runs. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  more: () => string = () => '',
): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}; ${more()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
