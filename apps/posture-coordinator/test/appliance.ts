/**
 * A board, sockets and state in a temporary directory, and the real coordinator running on it, for tests.
 * It must not know what a test wants to show.
 */
import { type Client, ParticipantSlot, type PostureApi, postureClient, type SetReply } from '@kedge/bus';
import type { LedgerRecord, PathName, Tier } from '@kedge/contracts';
import { FaultLayer } from '@kedge/faults';
import { bundledService } from '@kedge/lab';
import { openSpool } from '@kedge/ledger';
import {
  createSegment,
  layout,
  monotonicNs,
  openSegment,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import type { Level } from '@kedge/units';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const MAIN = bundledService('posture-coordinator');

export type Entrance = 'console' | `local/${Tier}`;

/** Waits until `look` gives something; @throws after `ms`. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  ms = 8_000,
): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await pause(5);
  }
}

/** One appliance; everything of it goes with `close`. */
export class Appliance {
  readonly directory = mkdtempSync(join(tmpdir(), 'kedge-coordinator-'));
  readonly board = join(this.directory, 'board');
  readonly sockets = join(this.directory, 'sock');
  readonly state: string;
  #mounted = false;
  #faults: FaultLayer | undefined;
  warden: SegmentWriter | undefined;
  child: ChildProcess | undefined;
  output = '';
  errors = '';
  #exit: Promise<number | null> = Promise.resolve(null);
  #beats: NodeJS.Timeout | undefined;
  readonly #clients = new Map<Entrance, Client<PostureApi>>();
  readonly slots: ParticipantSlot[] = [];
  readonly #owned: { close(): void }[] = [];
  #keys = 0;

  /** @param tmpfs size of a file system of its own for the state, e.g. "4m". */
  constructor(
    readonly config: Record<string, unknown> = {},
    tmpfs?: string,
  ) {
    mkdirSync(this.board, { mode: 0o755 });
    for (const entrance of [
      'console',
      'local/site_owner',
      'local/master',
      'local/journeyman',
      'local/apprentice',
    ]) {
      mkdirSync(join(this.sockets, entrance), { recursive: true, mode: 0o755 });
    }
    this.state = join(this.directory, 'state');
    mkdirSync(this.state, { mode: 0o700 });
    if (tmpfs !== undefined) {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${tmpfs},mode=0700`, 'tmpfs', this.state]);
      this.#mounted = true;
    }
  }

  /** A warden that beats and does nothing else. */
  startWarden(): SegmentWriter {
    const warden = createSegment({ directory: this.board, name: 'warden', kind: 'warden' });
    [1_000_000_000n, 5_000_000_000n, 10_000_000_000n].forEach((budget, index) => {
      warden.store64(layout.warden.budgetNs + 8 * index, budget);
    });
    warden.store64(layout.warden.staleNs, 400_000_000n);
    this.warden = warden;
    this.#owned.push(warden);
    this.beatWarden(true);
    return warden;
  }

  beatWarden(beating: boolean): void {
    clearInterval(this.#beats);
    if (!beating) return;
    this.warden?.beat(true);
    this.#beats = setInterval(() => this.warden?.beat(true), 50);
  }

  /** A participant's slot, written by this process. */
  participant(name: string, path: PathName): ParticipantSlot {
    const slot = ParticipantSlot.create({ directory: this.board, name, path });
    this.slots.push(slot);
    this.#owned.push(slot);
    return slot;
  }

  /** A data plane with one worker that acknowledges when told to. */
  dataplane(): SegmentWriter {
    const segment = createSegment({ directory: this.board, name: 'dataplane-reference', kind: 'dataplane' });
    segment.store32(layout.dataplane.workers, 1);
    segment.store32(layout.dataplane.worker + layout.worker.live, 1);
    this.#owned.push(segment);
    return segment;
  }

  /** The worker has applied the epoch. */
  acknowledge(dataplane: SegmentWriter, epoch: bigint, level: Level): void {
    const now = monotonicNs();
    dataplane.writeAck(layout.dataplane.worker + layout.worker.ack, {
      epoch,
      level,
      stage: layout.enums.stage.TIGHTEN,
      outcome: layout.enums.outcome.APPLIED,
      startedAtNs: now,
      finishedAtNs: now,
      changes: 0,
    });
  }

  /** The posture segment as everybody reads it: what packets obey, and the transition line. */
  read(): {
    word: bigint;
    level: number;
    epoch: bigint;
    stage: number;
    from: number;
    to: number;
    /** Epoch of the transition line; `epoch` is the word's. */
    line: bigint;
    /** When the line's stage was released, or said again. */
    stageAtNs: bigint;
    storedAtNs: bigint;
  } {
    const reader = openSegment({ directory: this.board, name: 'posture', kind: 'posture', owner: 'any' });
    try {
      const word = reader.load64(layout.posture.word);
      const line = reader.transition();
      return {
        word,
        level: Number(word & 7n),
        epoch: word >> 16n,
        stage: line?.stage ?? -1,
        from: line?.from ?? 0,
        to: line?.to ?? 0,
        line: line?.epoch ?? 0n,
        stageAtNs: line?.stageAtNs ?? 0n,
        storedAtNs: reader.load64(layout.posture.storedAtNs),
      };
    } finally {
      reader.close();
    }
  }

  /** How often the coordinator has beaten. */
  beats(): bigint {
    const reader = openSegment({ directory: this.board, name: 'posture', kind: 'posture', owner: 'any' });
    try {
      return reader.load64(layout.posture.beat + layout.beat.count);
    } finally {
      reader.close();
    }
  }

  get journalPath(): string {
    return join(this.state, 'decisions.journal');
  }

  /** The fault layer that every coordinator is started under from now on. */
  faults(options: { log?: string; snapshot?: string } = {}): FaultLayer {
    this.#faults ??= new FaultLayer({
      control: join(this.directory, 'faults'),
      prefix: this.state,
      ...options,
    });
    return this.#faults;
  }

  /** A program with its first arguments that every coordinator is started under; empty: none. */
  under: readonly string[] = [];

  /** Starts the coordinator. */
  spawn(): void {
    const file = join(this.directory, 'coordinator.json');
    writeFileSync(
      file,
      JSON.stringify({
        appliance: 'test',
        board: {
          directory: this.board,
          owners: Object.fromEntries(
            ['warden', 'dataplane-reference', 'participant-mesh', 'participant-shellstream'].map((name) => [
              name,
              0,
            ]),
          ),
        },
        sockets: this.sockets,
        state: this.state,
        accords: join(root, 'yang/defaults/accords.json'),
        zones: join(root, 'yang/defaults/zones.json'),
        provisioningLevel: 5,
        verifyMs: 600,
        journalRecords: 256,
        sessionParticipants: ['shellstream'],
        ...this.config,
      }),
    );
    this.output = '';
    this.errors = '';
    const [program = '', ...words] = [...this.under, process.execPath, MAIN, '--config', file];
    const child = spawn(program, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...this.#faults?.environment() },
    });
    child.stdout.on('data', (text: Buffer) => (this.output += text.toString()));
    child.stderr.on('data', (text: Buffer) => (this.errors += text.toString()));
    this.#exit = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
    this.child = child;
  }

  /** Starts it and waits until it serves. */
  async start(): Promise<void> {
    this.spawn();
    await this.serving();
  }

  async serving(): Promise<void> {
    await until(
      `serving: ${this.errors}`,
      async () => {
        if (this.child?.exitCode !== null)
          throw new Error(`the coordinator ended: ${this.errors}${this.output}`);
        const status = await this.client()
          .health({ deadlineMs: 1_000 })
          .catch(() => 'down');
        return status === 'SERVING' ? true : undefined;
      },
      60_000,
    );
  }

  exit(): Promise<number | null> {
    return this.#exit;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.child?.kill(signal);
    await this.#exit;
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  client(entrance: Entrance = 'local/site_owner'): Client<PostureApi> {
    const known = this.#clients.get(entrance);
    if (known !== undefined) return known;
    const client = postureClient(join(this.sockets, entrance, 'posture.sock'));
    this.#clients.set(entrance, client);
    return client;
  }

  set(
    level: number,
    {
      by = 'local/site_owner',
      ...fields
    }: { by?: Entrance; reason?: string; principal?: string; idempotencyKey?: string; ifEpoch?: bigint } = {},
  ): Promise<SetReply> {
    this.#keys += 1;
    return this.client(by).set(
      {
        level,
        reason: 'a test wants it',
        principal: 'user:ada',
        idempotencyKey: `key-${process.pid}-${this.#keys}`,
        ...fields,
      },
      { deadlineMs: 8_000 },
    );
  }

  async get() {
    return await this.client().get({}, { deadlineMs: 5_000 });
  }

  /** The report of an epoch (0 = newest) once it has ended. */
  async ended(epoch = 0n) {
    return await until(`the end of epoch ${epoch}`, async () => {
      const reply = await this.client().transition({ epoch }, { deadlineMs: 5_000 });
      return reply.outcome === 'report' && reply.report.outcome !== 'running' ? reply.report : undefined;
    });
  }

  /** Every record in the spool; ends the coordinator, which holds it. */
  async records(): Promise<readonly LedgerRecord[]> {
    await this.kill('SIGTERM');
    const spool = await openSpool({ directory: join(this.state, 'records') });
    try {
      const found: LedgerRecord[] = [];
      for await (const { record } of spool.drain()) found.push(record);
      return found;
    } finally {
      await spool.close();
    }
  }

  async close(): Promise<void> {
    this.beatWarden(false);
    if (this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGKILL');
      await this.#exit;
    }
    for (const client of this.#clients.values()) client.close();
    for (const each of this.#owned) each.close();
    this.#faults?.close();
    if (this.#mounted) execFileSync('umount', [this.state]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
