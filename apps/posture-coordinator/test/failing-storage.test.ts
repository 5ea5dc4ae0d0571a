/**
 * Storage that fails at every single call of a coordinator's life: what is tightened stays in force and is said not
 * to be durable, nothing loosens, and nothing that was answered as durable is lost.
 */
import { FaultLayer, type FaultRule, parseLog } from '@kedge/faults';
import { type ChildProcess, fork } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { Appliance, until } from './appliance.js';
import { inside, insideConfig } from './inside.js';

/** Tighter, looser, tighter, looser beyond, tightest: both ways after every fault. */
const COURSE = [3, 5, 2, 4, 1] as const;

interface Answer {
  readonly level: number;
  readonly before: number;
  readonly atOnce: number;
  readonly after: number;
  readonly kind: string;
  readonly durable: boolean;
  readonly code: string;
  readonly epoch: string;
}
interface Life {
  readonly answers: readonly Answer[];
  readonly alarms: readonly string[];
  readonly nextEpoch: string;
  readonly obeyed: number;
}

describe('storage that fails at every call', () => {
  let work = '';
  let disks = '';
  let layer: FaultLayer;
  let child: ChildProcess;
  let lives = 0;
  beforeAll(async () => {
    work = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kedge-storage-'));
    disks = join(work, 'disks');
    mkdirSync(disks);
    layer = new FaultLayer({ control: join(work, 'control'), prefix: disks, log: join(work, 'log') });
    child = fork(fileURLToPath(new URL('fault-sweep.mjs', import.meta.url)), [], {
      env: { PATH: process.env['PATH'], ...layer.environment() },
      execArgv: [],
    });
    await new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', () => {
        reject(new Error('the sweep did not start'));
      });
    });
  });
  afterAll(() => {
    child.disconnect();
    layer.close();
    rmSync(work, { recursive: true, force: true });
  });

  /** One life under a rule; `path` of the rule is below the state of that life. */
  async function live(
    rule: FaultRule | undefined,
  ): Promise<Life & { readonly name: string; readonly struck: number }> {
    const name = `life-${(lives += 1)}`;
    const [board, state] = [join(work, `board-${name}`), join(disks, name)];
    const { path = '*', ...rest } = rule ?? { ops: [], action: 'short' as const };
    const placed = rule === undefined ? undefined : layer.add({ ...rest, path: `${name}/${path}` });
    const told = new Promise<Life | { failed: string }>((resolve) => {
      child.once('message', resolve as (value: unknown) => void);
    });
    child.send({ name, board, state, config: insideConfig(board, state), course: COURSE });
    const life = await told;
    const struck = placed?.counts().struck ?? 0;
    placed?.remove();
    if ('failed' in life) throw new Error(life.failed);
    return { ...life, name, struck };
  }

  /** What must hold whatever failed. */
  async function judge(life: Life & { readonly name: string }, where: string): Promise<boolean> {
    let broken = false;
    let durable = 5;
    for (const answer of life.answers) {
      const { level, before, atOnce, after, kind, code } = answer;
      if (level < before) {
        // It was stored before anything was waited for, it stays, and it is answered as what it is.
        expect([kind, atOnce, after], where).toEqual(['decision', level, level]);
      } else if (level > before) {
        expect(atOnce, where).toBe(before);
        if (kind === 'refusal') {
          expect([code, after <= before], where).toEqual(['POSTURE_NOT_DURABLE', true]);
          broken = true;
        } else {
          expect([answer.durable, after], where).toEqual([true, level]);
        }
      }
      if (kind === 'decision' && !answer.durable) broken = true;
      // Once is for ever, in this process.
      if (broken && kind === 'decision') expect(answer.durable, where).toBe(false);
      if (kind === 'decision' && answer.durable) durable = level;
    }
    if (broken) expect(life.alarms.join(), where).toContain('journal takes no records');
    // Start again on storage that works: with the word that survived, and without.
    const highest = life.answers.reduce(
      (most, { epoch }) => (BigInt(epoch) > most ? BigInt(epoch) : most),
      0n,
    );
    for (const survives of [true, false]) {
      // Each start writes: the next one is to find what the life left, not what a start made of it.
      const [board, state] = ['board', 'state'].map((part) =>
        join(work, `${part}-${life.name}-${String(survives)}`),
      );
      if (board === undefined || state === undefined) throw new Error('nowhere to start');
      mkdirSync(board, { mode: 0o700 });
      if (survives) cpSync(join(work, `board-${life.name}`, 'posture'), join(board, 'posture'));
      cpSync(join(disks, life.name), state, { recursive: true });
      const again = await inside(board, state);
      try {
        const { level, epoch } = again.obeyed();
        expect(level, `${where}, word ${survives}`).toBeLessThanOrEqual(survives ? life.obeyed : durable);
        expect(again.plan.resumeTo ?? 0, where).toBeLessThanOrEqual(durable);
        // What was only in memory went with it; what was durable, or stands in the word, is not issued again.
        if (survives) expect(again.driver.machine.nextEpoch, where).toBeGreaterThan(highest);
        expect(again.driver.machine.nextEpoch > epoch, where).toBe(true);
      } finally {
        await again.close();
      }
    }
    return broken;
  }

  /** Lets the n-th matching call fail, for every n that there is. */
  async function sweep(ruleAt: (skip: number) => FaultRule): Promise<{ lives: number; broken: number }> {
    let broken = 0;
    for (let skip = 0; ; skip += 1) {
      const rule = ruleAt(skip);
      const life = await live(rule);
      if (life.struck === 0) return { lives: skip, broken };
      const where = `${rule.action} of ${rule.ops.join()} ${rule.path ?? '*'} number ${skip + 1} (${life.name})`;
      if (await judge(life, where)) broken += 1;
    }
  }

  it('PO-17 nothing fails where nothing is made to', async () => {
    const life = await live(undefined);
    expect(life.answers.map(({ kind, durable, after }) => [kind, durable, after])).toEqual(
      COURSE.map((level) => ['decision', true, level]),
    );
    expect(await judge(life, 'no fault')).toBe(false);
  });

  it('PO-17 PO-22 every flush fails once, and every flush from the n-th on', async () => {
    for (const more of [{ limit: 1 }, {}]) {
      const { lives: played, broken } = await sweep((skip) => ({
        ops: ['sync'],
        action: 'fail',
        error: 'EIO',
        skip,
        ...more,
      }));
      // What waits together is flushed together: how many there are depends on the machine.
      expect(played).toBeGreaterThan(10);
      expect(broken).toBeGreaterThan(5);
    }
  });

  it('PO-17 PO-22 the disk is full at every write of the journal, and of everything', async () => {
    for (const path of ['decisions.journal*', '*']) {
      const { lives: played, broken } = await sweep((skip) => ({
        ops: ['write'],
        path,
        action: 'fail',
        error: 'ENOSPC',
        skip,
      }));
      expect(played).toBeGreaterThan(6);
      expect(broken).toBeGreaterThan(5);
    }
  });

  it('PO-17 every name that cannot be made, moved or removed', async () => {
    const { lives: played } = await sweep((skip) => ({
      ops: ['open', 'rename', 'unlink', 'link', 'mkdir', 'truncate'],
      action: 'fail',
      error: 'EROFS',
      skip,
      limit: 1,
    }));
    expect(played).toBeGreaterThan(5);
  });

  it('PO-17 short writes are finished, and change nothing', async () => {
    const life = await live({ ops: ['write'], action: 'short' });
    expect(life.struck).toBeGreaterThan(10);
    expect(await judge(life, 'short writes')).toBe(false);
  });

  it('PO-22 records and reports that cannot be kept cost no decision its durability', async () => {
    for (const path of ['records/*', 'records', 'reports.jsonl', 'provisioned']) {
      const life = await live({
        ops: ['sync', 'write', 'open', 'mkdir'],
        path,
        action: 'fail',
        error: 'EIO',
      });
      expect(life.struck, path).toBeGreaterThan(0);
      expect(
        life.answers.every(({ durable }) => durable),
        path,
      ).toBe(true);
      await judge(life, path);
    }
  });

  it('PO-17 a file whose flush failed is never written again, by anybody', async () => {
    const calls = parseLog(readFileSync(join(work, 'log')));
    const failed = new Map<bigint, string>();
    let seen = 0;
    for (const { op, error, inode, path, offset } of calls) {
      if (op === 'open' && offset === 1) failed.delete(inode);
      if (op === 'sync' && error !== 0 && !path.endsWith('/records') && inode !== 0n) {
        if (/\.(journal|journal\.new|log)$/.test(path)) {
          failed.set(inode, path);
          seen += 1;
        }
      } else if (op === 'write' && error === 0) {
        expect(failed.get(inode), path).toBeUndefined();
      }
    }
    expect(seen).toBeGreaterThan(10);
  });
});

describe('storage that hangs', () => {
  let box: Appliance;
  afterEach(() => box.close());

  it('PO-22 a tightening is in force while every flush hangs, is answered when one is done, and the beat goes on', async () => {
    box = new Appliance();
    box.startWarden();
    const faults = box.faults();
    await box.start();
    await box.ended();
    const rule = faults.add({ ops: ['sync', 'write', 'rename'], action: 'hang' });
    let answered = false;
    const reply = box.set(2).then((decision) => {
      answered = true;
      return decision;
    });
    await until('the store', () => (box.read().level === 2 ? true : undefined));
    const beats = box.beats();
    await until('three more beats', () => (box.beats() > beats + 3n ? true : undefined));
    // Nobody has been told anything, and a second one is not held up by the first.
    const second = box.set(1);
    await until('the second store', () => (box.read().level === 1 ? true : undefined));
    expect(answered).toBe(false);
    rule.remove();
    expect(await reply).toMatchObject({ decision: { to: 2, durable: true } });
    expect(await second).toMatchObject({ decision: { to: 1, durable: true } });
  });

  it('PO-4 what the console tightened is held after a kill -9 before the flush, until the console loosens', async () => {
    box = new Appliance();
    box.startWarden();
    const faults = box.faults();
    await box.start();
    await box.ended();
    const rule = faults.add({ ops: ['sync', 'write', 'rename'], action: 'hang' });
    const lost = box.set(2, { by: 'console' }).catch(() => 'nobody was told');
    await until('the store', () => (box.read().level === 2 ? true : undefined));
    await box.kill();
    expect(await lost).toBe('nobody was told');
    rule.remove();
    await box.start();
    await box.ended();
    expect((await box.get()).alarms.join()).toContain('only the console may loosen it');
    expect(await box.set(3, { by: 'local/site_owner' })).toMatchObject({ refusal: { code: 'POSTURE_HELD' } });
    // The hold is in the journal now: neither another restart nor a power cut forgets it.
    await box.kill();
    await box.start();
    expect(await box.set(3, { by: 'local/site_owner' })).toMatchObject({ refusal: { code: 'POSTURE_HELD' } });
    expect(await box.set(3, { by: 'console' })).toMatchObject({ decision: { to: 3, durable: true } });
    await box.ended();
    expect((await box.get()).alarms).toEqual([]);
    expect(await box.set(4, { by: 'local/site_owner' })).toMatchObject({ decision: { to: 4 } });
  });
});
