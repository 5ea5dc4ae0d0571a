/**
 * Starts and leads a data-plane actor, and makes what tests of the bridge need: boards, documents, spools.
 * Must not be used by shipped code.
 */
import { openSpool } from '@kedge/ledger';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import type { Level } from '@kedge/units';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';

import type { BridgeConfig } from '../src/config.js';
import { configSchema } from '../src/config.js';
import { Governance } from '../src/governance.js';

export const YANG = join(import.meta.dirname, '../../../yang');

/** A data-plane process under a test's control. */
export class Actor {
  readonly process: ChildProcess;
  readonly #lines: Interface;

  static async start(directory: string, name = 'reference'): Promise<Actor> {
    const actor = new Actor(
      spawn(process.execPath, [join(import.meta.dirname, 'dataplane-actor.mjs'), directory, name], {
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    );
    await actor.tell('workers', 1);
    return actor;
  }

  private constructor(child: ChildProcess) {
    this.process = child;
    if (child.stdout === null) throw new Error('the actor has no standard output');
    this.#lines = createInterface({ input: child.stdout });
  }

  /** Sends a command and waits until it is done. */
  async tell(command: string, ...parameters: readonly unknown[]): Promise<void> {
    const done = once(this.#lines, 'line');
    const dead = once(this.process, 'exit').then(() => {
      throw new Error(`the actor died of ${command}`);
    });
    this.process.stdin?.write(`${JSON.stringify([command, ...parameters])}\n`);
    dead.catch(() => undefined);
    await Promise.race([done, dead]);
  }

  /** Kills it, also when it is stopped, and waits until it is gone. */
  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
  }
}

/** A generator with a seed (xorshift), so that what was found can be found again. */
export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Waits until something is so, at most twenty seconds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A place with a board, the default accords and a configuration for one bridge. */
export class Place {
  readonly root = mkdtempSync(join(tmpdir(), 'kedge-bridge-'));
  readonly board = join(this.root, 'board');
  readonly config: BridgeConfig;
  /** What the board's posture word would say. */
  level: Level = 5;
  readonly complaints: string[] = [];
  readonly #ends: (() => Promise<void> | void)[] = [];

  constructor(over: Partial<BridgeConfig> = {}) {
    mkdirSync(this.board);
    mkdirSync(join(this.root, 'sock/internal'), { recursive: true });
    for (const name of ['accords.json', 'zones.json'])
      cpSync(join(YANG, 'defaults', name), join(this.root, name));
    this.config = configSchema.parse({
      appliance: 'test',
      board: this.board,
      sockets: join(this.root, 'sock'),
      accords: join(this.root, 'accords.json'),
      zones: join(this.root, 'zones.json'),
      spool: join(this.root, 'spool'),
      owners: { posture: process.getuid?.() ?? 0, warden: 0, 'dataplane-reference': process.getuid?.() ?? 0 },
      bankRetryMs: 5,
      reloadWaitMs: 300,
      probeFlows: 200,
      sampleMs: 60_000,
      ...over,
    });
  }

  /** Changes one of the two files. */
  edit<Document>(file: 'accords' | 'zones', change: (document: Document) => void): void {
    const path = this.config[file];
    const document = JSON.parse(readFileSync(path, 'utf8')) as Document;
    change(document);
    writeFileSync(path, JSON.stringify(document));
  }

  /** A bridge without its process around it. */
  async bridge(): Promise<Governance> {
    const spool = await openSpool({ directory: this.config.spool });
    const complain = (_fields: object, text: string): void => {
      this.complaints.push(text);
    };
    const governance = new Governance({
      config: this.config,
      board: { snapshot: () => ({ level: this.level, word: { epoch: 7n } }) as never },
      records: spool,
      clock: { monotonicNs, wallMs: () => Date.now() },
      random: randomOf(7),
      log: { info: () => undefined, warn: complain, error: complain },
    });
    this.atEnd(async () => {
      await governance.close();
      await spool.close();
    });
    return governance;
  }

  async actor(name = 'reference'): Promise<Actor> {
    const actor = await Actor.start(this.board, name);
    this.atEnd(() => actor.kill());
    return actor;
  }

  /** Ends what is open now, in the order opposite to its opening, and keeps the files. */
  async end(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }

  atEnd(end: () => Promise<void> | void): void {
    this.#ends.push(end);
  }

  async remove(): Promise<void> {
    await this.end();
    rmSync(this.root, { recursive: true, force: true });
  }
}
