/**
 * A place for a quartermaster: board, sockets, state, and records to give it.
 * Must not be used by shipped code.
 */
import { type Batch, intakeClient, type Kept, ledgerClient } from '@kedge/bus';
import type { ForensicPart, LedgerRecord, SessionTransit } from '@kedge/contracts';
import { bundledService } from '@kedge/lab';
import { encodeRecord } from '@kedge/ledger';
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

export const MAIN = bundledService('quartermaster');
export const SOURCES = ['posture-coordinator', 'vpp-bridge', 'overlay', 'underlay'] as const;
export const TIERS = ['site_owner', 'master', 'journeyman', 'apprentice'] as const;
export const CALL = { deadlineMs: 10_000 };

/** A process that was started, and all that it said. */
export interface Started {
  readonly child: ChildProcess;
  readonly output: () => string;
}

/** Everything that one test has; `remove` once. */
export class Stage {
  readonly root = mkdtempSync(join(tmpdir(), 'kedge-quartermaster-'));
  readonly board = join(this.root, 'board');
  readonly sockets = join(this.root, 'sock');
  readonly directory = join(this.root, 'state/ledger');
  readonly posture: PostureWriter;
  readonly #ends: (() => void | Promise<void>)[] = [];

  constructor() {
    const ways = ['console', ...TIERS.map((tier) => `local/${tier}`)];
    for (const name of [
      ...['board', 'state', 'sock', 'sock/internal', 'sock/metrics', 'sock/sources', 'sock/local'],
      ...SOURCES.map((source) => `sock/sources/${source}`),
      ...ways.flatMap((way) => [`sock/${way}`, `sock/${way}/ledger`]),
    ]) {
      mkdirSync(join(this.root, name), { recursive: true });
      chmodSync(join(this.root, name), 0o755);
    }
    chmodSync(this.root, 0o755);
    this.posture = createPostureSegment({ directory: this.board });
    this.posture.storeWord(1n, 5);
    const warden = createSegment({ directory: this.board, name: 'warden', kind: 'warden' });
    warden.store64(layout.warden.staleNs, 3_600_000_000_000n);
    warden.beat(true);
    this.atEnd(() => {
      warden.close();
      this.posture.close();
    });
  }

  get config() {
    const owner = process.getuid?.() ?? 0;
    return {
      appliance: 'box-7',
      board: { directory: this.board, owners: { posture: owner, warden: owner } },
      sockets: this.sockets,
      directory: this.directory,
      origin: 'kedge.example/box-7',
      key: join(this.root, 'state/ledger.key'),
      sources: SOURCES,
      metrics: { socket: join(this.sockets, 'metrics/quartermaster.sock') },
    };
  }

  atEnd(end: () => void | Promise<void>): void {
    this.#ends.push(end);
  }

  /** Starts the process that is shipped. */
  start(over: object = {}): Started {
    const config = join(this.root, `config-${String(Math.random()).slice(2)}.json`);
    writeFileSync(config, JSON.stringify({ ...this.config, ...over }));
    const child = spawn(process.execPath, [MAIN, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    this.atEnd(() => this.end(child, 'SIGKILL'));
    return { child, output: () => said };
  }

  /** Starts it and waits until it serves. */
  async serve(over: object = {}): Promise<Started> {
    const started = this.start(over);
    const ledger = this.ledger();
    await until(
      'the quartermaster serves',
      async () => {
        if (started.child.exitCode !== null) throw new Error(`it ended: ${started.output()}`);
        return (await ledger.health({ deadlineMs: 1_000 }).catch(() => '')) === 'SERVING';
      },
      started.output,
    );
    return started;
  }

  async end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  ledger(way = 'internal') {
    const path = way === 'internal' ? 'internal/ledger.sock' : `${way}/ledger/ledger.sock`;
    const client = ledgerClient(join(this.sockets, path));
    this.atEnd(() => {
      client.close();
    });
    return client;
  }

  intake(source: (typeof SOURCES)[number]) {
    const client = intakeClient(join(this.sockets, `sources/${source}/ledger.sock`));
    this.atEnd(() => {
      client.close();
    });
    return client;
  }

  /** Delivers batches on a stream of its own; every answer. */
  async deliver(source: (typeof SOURCES)[number], batches: readonly Batch[]): Promise<readonly Kept[]> {
    const client = this.intake(source);
    const kept: Kept[] = [];
    for await (const each of client.deliver(given(batches), CALL)) kept.push(each);
    return kept;
  }

  /** What a series says now, NaN where there is none: `name`, or `name{label="value"}`. */
  async metric(series: string): Promise<number> {
    const socketPath = join(this.sockets, 'metrics/quartermaster.sock');
    await until('metrics are served', () => existsSync(socketPath));
    const text = await new Promise<string>((resolve, reject) => {
      request({ socketPath, path: '/metrics', headers: { host: 'localhost' } }, (response) => {
        let said = '';
        response.on('data', (chunk: Buffer) => (said += chunk.toString()));
        response.on('end', () => {
          resolve(said);
        });
      })
        .on('error', reject)
        .end();
    });
    const line = text.split('\n').find((each) => each.startsWith(`${series} `));
    return Number(line?.slice(series.length + 1).split(' ')[0]);
  }

  /** The decision that every service would see. */
  tighten(epoch: bigint, from: number, to: number): void {
    this.posture.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });
  }

  /** The word alone: a level that everybody has reached. */
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

async function* given(batches: readonly Batch[]): AsyncGenerator<Batch> {
  await Promise.resolve();
  yield* batches;
}

/** Waits until something is so, at most twenty seconds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  more: () => string = () => '',
): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}; ${more()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const spoolOf = (number: number): string => String(number).padStart(32, '0');

/** Records as a batch of a spool. */
export function batchOf(spool: string, first: bigint, records: readonly LedgerRecord[]): Batch {
  return { spool, first, records: records.map((record) => encodeRecord(record).bytes) };
}

const head = (kind: string, number: number) => ({
  id: `${kind}/box-7/${String(number).padStart(8, '0')}`,
  appliance: 'box-7',
  at: new Date(1_790_000_000_000 + number * 1_000).toISOString(),
  epoch: '7',
});

export function transit(number: number, over: Partial<SessionTransit> = {}): SessionTransit {
  return {
    schema: 'kedge.session-transit/1',
    ...head('transit', number),
    session: `session-${number % 50}`,
    kind: (['admitted', 'ended', 'cut', 'refused'] as const)[number % 4] ?? 'cut',
    peer: `user:peer-${number % 7}`,
    tier: 'master',
    sessionType: 'operator',
    critical: false,
    posture_level_at_transit: ((number % 5) + 1) as 1 | 2 | 3 | 4 | 5,
    sampledPercent: 100,
    reason: '',
    seenAtNs: String(number),
    frames: null,
    ...over,
  };
}

/** Records of several kinds, by number. */
export function recordOf(number: number): LedgerRecord {
  const level = ((number % 5) + 1) as 1 | 2 | 3 | 4 | 5;
  if (number % 3 === 0) return transit(number);
  if (number % 3 === 1) {
    return {
      schema: 'kedge.authorisation-decision/1',
      ...head('decision', number),
      allow: number % 2 === 0,
      rule: 'a-rule',
      reason: number % 2 === 0 ? '' : 'not allowed',
      principal: `user:peer-${number % 7}`,
      tier: 'master',
      channel: 'local',
      action: 'posture.set',
      resource: `posture/${level}`,
      level,
      askedAtNs: String(number),
    };
  }
  return {
    schema: 'kedge.network-mutation/1',
    ...head('mutation', number),
    mutation: `mutation-${number}`,
    part: 1,
    parts: 1,
    principal: `user:peer-${number % 7}`,
    tier: 'master',
    channel: 'local',
    kind: 'ordinary',
    level,
    target: `device/access-${number % 4}`,
    planId: `plan-${number}`,
    base: 'ab'.repeat(32),
    stepsSha256: 'cd'.repeat(32),
    steps: [],
    result: number % 2 === 0 ? 'applied' : 'unchanged',
    failure: null,
    startedAtNs: '1',
    finishedAtNs: '2',
  };
}

/** A part of a forensic snapshot. */
export function part(
  epoch: bigint,
  source: string,
  section: ForensicPart['section'],
  over: Partial<ForensicPart> = {},
): ForensicPart {
  return {
    schema: 'kedge.posture-forensic-part/1',
    id: `forensic-part/box-7/${epoch}/${source}/${section}/${over.part ?? 1}`,
    appliance: 'box-7',
    at: '2026-11-22T18:00:00.000Z',
    epoch: String(epoch),
    snapshot: `forensic-snapshot/box-7/${epoch}`,
    section,
    source,
    part: 1,
    parts: 1,
    takenAtNs: '1',
    reason: '',
    items: [{ name: `${section} of ${source}`, state: 'up', facts: 1 }],
    ...over,
  };
}
