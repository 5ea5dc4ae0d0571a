/**
 * PO-2 over real processes: a change of accords is a transition from the level in force to itself, ordered by the
 * coordinator and followed by the bridge.
 */
import { governanceClient } from '@kedge/bus';
import type { Tier } from '@kedge/contracts';
import { parseLog, type StorageCall } from '@kedge/faults';
import { bundledService } from '@kedge/lab';
import { layout } from '@kedge/shared-memory-ipc';
import type { Level } from '@kedge/units';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Appliance, type Entrance, until } from './appliance.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const BRIDGE = bundledService('vpp-bridge');

interface AccordsFile {
  'kedge-accords:accords': {
    'lockdown-exit': { channel: string[] };
    level: {
      number: Level;
      authority?: { 'minimum-tier': Tier };
      arp?: boolean;
      'default-verdict': string;
      entry?: { name: string; verdict: string }[];
    }[];
  };
}

/** An appliance with a bridge beside its coordinator, and accords of its own. */
class Governed extends Appliance {
  readonly offered = join(this.directory, 'offered');
  /** Where the fault layer looks, too. */
  readonly kept = join(this.state, 'accords');
  bridge: ChildProcess | undefined;

  constructor() {
    super();
    cpSync(join(root, 'yang/defaults'), this.offered, { recursive: true });
    mkdirSync(join(this.sockets, 'internal'), { mode: 0o755 });
    Object.assign(this.config, {
      board: {
        directory: this.board,
        owners: { warden: 0, tables: 0, 'dataplane-reference': 0, 'participant-mesh': 0 },
      },
      accords: join(this.offered, 'accords.json'),
      zones: join(this.offered, 'zones.json'),
      accordsInForce: this.kept,
      verifyMs: 4_000,
    });
  }

  edit(change: (level: AccordsFile['kedge-accords:accords']['level'][number]) => void): void {
    const path = join(this.offered, 'accords.json');
    const document = JSON.parse(readFileSync(path, 'utf8')) as AccordsFile;
    for (const level of document['kedge-accords:accords'].level) change(level);
    writeFileSync(path, JSON.stringify(document));
  }

  async startBridge(): Promise<void> {
    const config = join(this.directory, 'bridge.json');
    writeFileSync(
      config,
      JSON.stringify({
        appliance: 'test',
        board: this.board,
        sockets: this.sockets,
        accords: join(this.kept, 'tables/accords.json'),
        zones: join(this.kept, 'tables/zones.json'),
        spool: join(this.directory, 'spool'),
        owners: { posture: 0, warden: 0, 'dataplane-reference': 0 },
      }),
    );
    this.bridge = spawn(process.execPath, [BRIDGE, '--config', config], { stdio: 'ignore' });
    await until('the bridge serves', async () =>
      (await this.tables().catch(() => undefined)) === undefined ? undefined : true,
    );
  }

  async killBridge(): Promise<void> {
    const { bridge } = this;
    if (bridge === undefined || bridge.exitCode !== null || bridge.signalCode !== null) return;
    const gone = once(bridge, 'exit');
    bridge.kill('SIGKILL');
    await gone;
  }

  /** What the bridge has in force: its generation, and the hash that it was made of. */
  async tables(): Promise<{ generation: bigint; hash: string } | undefined> {
    const client = governanceClient(join(this.sockets, 'internal/governance.sock'));
    try {
      const { generation, accordsHash } = await client.show({}, { deadlineMs: 3_000 });
      return generation === 0n ? undefined : { generation, hash: Buffer.from(accordsHash).toString('hex') };
    } finally {
      client.close();
    }
  }

  pointers(): { tables: string; paths: string } {
    const at = (name: string): string => readlinkSync(join(this.kept, name));
    return { tables: at('tables'), paths: at('paths') };
  }

  reload(by: Entrance = 'local/site_owner', key = `reload-${String(Math.random()).slice(2)}`) {
    return this.client(by).reloadAccords(
      { reason: 'a test wants it', principal: 'user:ada', idempotencyKey: key },
      { deadlineMs: 8_000 },
    );
  }

  override async close(): Promise<void> {
    await this.killBridge();
    await super.close();
  }
}

let box: Governed;
beforeEach(async () => {
  box = new Governed();
  box.startWarden();
  await box.start();
  await box.ended();
  await box.startBridge();
});
afterEach(() => box.close());

const tighter = (): void => {
  box.edit((level) => {
    delete level.arp;
  });
};

describe('a change of accords', { timeout: 60_000 }, () => {
  it('PO-2 a tighter set is a tightening from the level in force to itself, complete when the data plane has it', async () => {
    const before = await box.tables();
    const { epoch } = box.read();
    expect(box.pointers()).toEqual({ tables: before?.hash, paths: before?.hash });
    tighter();
    const reply = await box.reload('local/journeyman');
    expect(reply).toMatchObject({ decision: { from: 5, to: 5, durable: true } });
    expect(box.read()).toMatchObject({ level: 5, epoch: epoch + 1n });
    expect(await box.ended(epoch + 1n)).toMatchObject({ outcome: 'completed', from: 5, to: 5 });
    const after = await box.tables();
    expect(after?.generation).toBe(2n);
    expect(after?.hash).not.toBe(before?.hash);
    expect(box.pointers()).toEqual({ tables: after?.hash, paths: after?.hash });
    expect((await box.get()).alarms).toEqual([]);
    // The same again does nothing; sets that nobody goes by any more are let go.
    expect(await box.reload()).toMatchObject({ decision: { epoch: epoch + 1n } });
    expect(box.read().epoch).toBe(epoch + 1n);
    await until('the old set is let go', () =>
      readdirSync(box.kept).sort().join() === [after?.hash, 'paths', 'tables'].sort().join()
        ? true
        : undefined,
    );
  });

  it('PO-2 a looser set needs the tier of its level; refused, nothing changes', async () => {
    tighter();
    await box.reload();
    await box.ended();
    const before = { tables: await box.tables(), pointers: box.pointers(), word: box.read().word };
    cpSync(join(root, 'yang/defaults/accords.json'), join(box.offered, 'accords.json'));
    for (const by of ['local/apprentice', 'local/journeyman'] as const)
      expect(await box.reload(by)).toMatchObject({ refusal: { code: 'POSTURE_NOT_AUTHORISED' } });
    await pause(200);
    expect({ tables: await box.tables(), pointers: box.pointers(), word: box.read().word }).toEqual(before);
  });

  it('PO-2 a looser set reaches the paths first and the data plane last', async () => {
    const mesh = box.participant('mesh', 'overlay');
    mesh.beat(true);
    const beating = setInterval(() => {
      mesh.beat(true);
    }, 50);
    try {
      const acknowledge = (): void => {
        const { epoch } = box.read();
        const line = box.read().line;
        mesh.acknowledge({
          epoch: line > epoch ? line : epoch,
          level: 5,
          stage: 'tighten',
          outcome: 'unchanged',
          changes: 0,
          startedAtNs: 0n,
          finishedAtNs: 0n,
        });
      };
      acknowledge();
      tighter();
      const tightening = await box.reload('console');
      acknowledge();
      expect(tightening).toMatchObject({ decision: { to: 5 } });
      await box.ended(tightening.outcome === 'decision' ? tightening.decision.epoch : -1n);
      const before = box.pointers();
      cpSync(join(root, 'yang/defaults/accords.json'), join(box.offered, 'accords.json'));
      const reply = await box.reload('console');
      expect(reply).toMatchObject({ decision: { from: 5, to: 5 } });
      const on = await until('the paths', () => {
        const now = box.pointers();
        return now.paths === before.paths ? undefined : now;
      });
      await pause(150);
      expect(on.tables).toBe(before.tables);
      expect(await box.tables()).toMatchObject({ hash: before.tables });
      acknowledge();
      const epoch = reply.outcome === 'decision' ? reply.decision.epoch : -1n;
      expect(await box.ended(epoch)).toMatchObject({ outcome: 'completed' });
      expect(await box.tables()).toMatchObject({ hash: on.paths });
      expect(box.pointers()).toEqual({ tables: on.paths, paths: on.paths });
    } finally {
      clearInterval(beating);
    }
  });

  it('PO-2 a broken set is refused by path and reason, and the last valid one stays, also over kill -9 of each', async () => {
    tighter();
    await box.reload();
    await box.ended();
    const before = { tables: await box.tables(), pointers: box.pointers() };
    // What is looser at a lower level, and what is no set at all.
    box.edit((level) => {
      if (level.number === 1) level['default-verdict'] = 'pass';
    });
    expect(await box.reload()).toMatchObject({
      refusal: {
        code: 'ACCORD_LOOSENS',
        field: "/kedge-accords:accords/level[number='1']/default-verdict",
        message: expect.stringContaining('is pass at level 1'),
      },
    });
    writeFileSync(join(box.offered, 'accords.json'), '{ "kedge-accords:accords": ');
    expect(await box.reload()).toMatchObject({ refusal: { code: 'ACCORD_SYNTAX' } });
    await box.kill();
    await box.killBridge();
    await box.start();
    await box.startBridge();
    await until('the tables again', async () => ((await box.tables()) === undefined ? undefined : true));
    expect({ tables: await box.tables(), pointers: box.pointers() }).toEqual(before);
    expect((await box.get()).alarms).toEqual([]);
    // Who may loosen is still what the set in force says.
    await box.set(4);
    await box.ended();
    expect(await box.set(5, { by: 'local/journeyman' })).toMatchObject({
      refusal: { rule: 'loosening-tier' },
    });
    expect(await box.set(5, { by: 'local/master' })).toMatchObject({ decision: { to: 5 } });
  });

  it('PO-2 a tighter set is decided when every live worker uses its tables, and not before', async () => {
    const at = layout.dataplane.worker + layout.worker.generation;
    const plane = box.dataplane();
    plane.store64(at, 1n);
    plane.beat(true);
    box.acknowledge(plane, box.read().epoch, 5);
    await until('the data plane', async () =>
      (await box.get()).services.some(({ name }) => name === 'dataplane-reference') ? true : undefined,
    );
    const before = { word: box.read().word, paths: box.pointers().paths };
    tighter();
    const reply = box.reload();
    await until('the tables', async () => ((await box.tables())?.generation === 2n ? true : undefined));
    await pause(150);
    expect({ word: box.read().word, paths: box.pointers().paths }).toEqual(before);
    plane.store64(at, 2n);
    expect(await reply).toMatchObject({ decision: { from: 5, to: 5, durable: true } });
    box.acknowledge(plane, box.read().epoch, 5);
    expect(await box.ended()).toMatchObject({ outcome: 'completed' });
  });

  it('PO-2 a tighter set that the data plane does not take up is refused, and nothing changed', async () => {
    box.config['accordsPublishMs'] = 400;
    await box.kill();
    await box.start();
    const before = { tables: await box.tables(), pointers: box.pointers(), word: box.read().word };
    box.bridge?.kill('SIGSTOP');
    tighter();
    const reply = box.reload('local/journeyman', 'in-vain-1');
    await until('the set is prepared', () =>
      box.pointers().tables === before.pointers.tables ? undefined : true,
    );
    expect([box.read().word, box.pointers().paths]).toEqual([before.word, before.pointers.paths]);
    // No escalation waits for it (PO-22).
    const escalated = await box.set(4);
    expect(escalated).toMatchObject({ decision: { to: 4 } });
    expect(await reply).toMatchObject({
      refusal: { code: 'ACCORD_NOT_PUBLISHED', rule: 'tables-before-epoch' },
    });
    expect(box.pointers()).toEqual(before.pointers);
    expect(escalated.outcome === 'decision' && box.read().epoch === escalated.decision.epoch).toBe(true);
    box.bridge?.kill('SIGCONT');
    await box.ended();
    // The bridge may have seen both ways of the pointer, or neither.
    await until('the tables as before', async () =>
      (await box.tables())?.hash === before.tables?.hash ? true : undefined,
    );
    expect((await box.get()).alarms).toEqual([]);
    expect(await box.reload('local/journeyman')).toMatchObject({ decision: { to: 4, durable: true } });
    expect(await box.records()).toContainEqual(
      expect.objectContaining({ allow: false, action: 'governance.reload', rule: 'tables-before-epoch' }),
    );
  });

  it('PO-2 a tighter set is on stable storage before its epoch is decided, a looser one before that is completed', async () => {
    const log = join(box.directory, 'storage.log');
    await box.kill();
    box.faults({ log });
    await box.start();
    await box.ended();
    tighter();
    expect(await box.reload()).toMatchObject({ decision: { durable: true } });
    await box.ended();
    // The pointer that moved last, then its flush, then the next record: the decision, or that it is completed.
    const lasts = (pointer: string): boolean | undefined => {
      const calls = parseLog(readFileSync(log)).filter(({ error }) => error === 0);
      const moved = calls.findLastIndex(
        ({ op, path2 }) => op === 'rename' && path2.startsWith(`${box.kept}/`),
      );
      const after = (what: (call: StorageCall) => boolean): number =>
        calls.findIndex((call, index) => index > moved && what(call));
      const flushed = after(({ op, path }) => op === 'sync' && path === box.kept);
      const written = after(({ op, path }) => op === 'write' && path === box.journalPath);
      if (calls[moved]?.path2 !== join(box.kept, pointer) || written < 0) return undefined;
      return flushed > moved && written > flushed;
    };
    expect(lasts('paths')).toBe(true);
    cpSync(join(root, 'yang/defaults/accords.json'), join(box.offered, 'accords.json'));
    expect(await box.reload('console')).toMatchObject({ decision: { durable: true } });
    expect(await box.ended()).toMatchObject({ outcome: 'completed' });
    expect(await until('the record that it is completed', () => lasts('tables') ?? undefined)).toBe(true);
  });

  it('PO-2 whoever may not tighten prepares nothing', async () => {
    const before = box.pointers();
    box.bridge?.kill('SIGSTOP');
    tighter();
    expect(await box.reload('local/apprentice')).toMatchObject({
      refusal: { code: 'POSTURE_NOT_AUTHORISED' },
    });
    expect(box.pointers()).toEqual(before);
    box.bridge?.kill('SIGCONT');
  });

  it('PO-2 a pointer that cannot be moved refuses the tighter set, and the other one goes back', async () => {
    const before = { tables: box.pointers().tables, word: box.read().word };
    rmSync(join(box.kept, 'paths'));
    mkdirSync(join(box.kept, 'paths/in-the-way'), { recursive: true });
    tighter();
    expect(await box.reload()).toMatchObject({ refusal: { code: 'POSTURE_ACCORDS_NOT_KEPT' } });
    expect({ tables: readlinkSync(join(box.kept, 'tables')), word: box.read().word }).toEqual(before);
  });

  it('PO-12 a looser set leaves the paths when its release is taken back, or something tighter comes', async () => {
    const mesh = box.participant('mesh', 'overlay');
    const beating = setInterval(() => {
      mesh.beat(true);
    }, 50);
    const acknowledge = (level: Level): void => {
      const { epoch, line } = box.read();
      const ends = { changes: 0, startedAtNs: 0n, finishedAtNs: 0n } as const;
      mesh.acknowledge({
        epoch: line > epoch ? line : epoch,
        level,
        stage: 'tighten',
        outcome: 'unchanged',
        ...ends,
      });
    };
    try {
      acknowledge(5);
      tighter();
      await box.reload('console');
      acknowledge(5);
      await box.ended();
      const before = box.pointers();
      cpSync(join(root, 'yang/defaults/accords.json'), join(box.offered, 'accords.json'));
      const { paths: onPaths } = before;
      expect(await box.reload('console')).toMatchObject({ decision: { from: 5, to: 5 } });
      await until('the looser set', () => (box.pointers().paths === onPaths ? undefined : true));
      box.beatWarden(false);
      await until('it is taken back', () => (box.pointers().paths === onPaths ? true : undefined));
      box.beatWarden(true);
      await until('it is released again', () => (box.pointers().paths === onPaths ? undefined : true));
      expect(await box.set(4)).toMatchObject({ decision: { to: 4 } });
      expect(box.pointers()).toEqual(before);
      // Who was woken by the store before the pointer went back is told to look again.
      const { stage, stageAtNs, storedAtNs, line, epoch } = box.read();
      expect({ stage, line, again: stageAtNs > storedAtNs }).toEqual({
        stage: layout.enums.stage.TIGHTEN,
        line: epoch,
        again: true,
      });
      acknowledge(4);
    } finally {
      clearInterval(beating);
    }
  });

  it('PO-15 a crash while a tighter set is prepared leaves the tighter set in force', async () => {
    const before = box.pointers();
    box.bridge?.kill('SIGSTOP');
    tighter();
    const reply = box.reload().catch(() => undefined);
    await until('the set is prepared', () => (box.pointers().tables === before.tables ? undefined : true));
    const { tables } = box.pointers();
    await box.kill();
    await reply;
    box.bridge?.kill('SIGCONT');
    await box.start();
    expect(box.pointers()).toEqual({ tables, paths: tables });
    await until('the tables follow', async () => ((await box.tables())?.hash === tables ? true : undefined));
  });

  it('PO-2 a loosening that a crash interrupted is taken back to what packets are judged by', async () => {
    const before = box.pointers();
    await box.kill();
    const other = join(box.kept, 'f'.repeat(64));
    cpSync(join(box.kept, before.tables), other, { recursive: true });
    symlinkSync('f'.repeat(64), join(box.kept, 'next'));
    renameSync(join(box.kept, 'next'), join(box.kept, 'paths'));
    await box.start();
    expect(box.pointers()).toEqual(before);
  });
});
