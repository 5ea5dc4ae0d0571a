/**
 * Power cuts and crashes at every write of a coordinator's life: a real one is driven through transitions while
 * every call to its storage is logged, then recovery is started from each state that could have been left.
 */
import { BOOT_BINARY } from '@kedge/boot';
import {
  type Cut,
  CUTS,
  Disk,
  type DiskState,
  parseLog,
  seeded,
  type StorageCall,
  writeDisk,
} from '@kedge/faults';
import { recoverJournal } from '@kedge/posture';
import { layout, monotonicNs, openSegment } from '@kedge/shared-memory-ipc';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { identityOf } from '../src/idempotency.js';
import { Appliance } from './appliance.js';
import { inside } from './inside.js';

const COMPLETE = layout.enums.stage.COMPLETE;
const JOURNAL = 'decisions.journal';
const FIRST_LEVEL = 5;
/** Every way from level to level once at least, and enough of them that the journal is written anew. */
const COURSE = [
  ...[3, 5, 2, 4, 1, 5, 4, 2, 1, 3, 2, 5, 1, 2, 3, 4, 3, 1, 4, 5],
  ...[4, 3, 2, 1, 5, 3, 4, 2, 5, 1, 4],
] as const;

/** A request that the coordinator was given. */
interface Asked {
  readonly key: string;
  readonly level: number;
  readonly askedAtNs: bigint;
  /** When its answer was in the requester's hands. */
  answeredAtNs: bigint;
  epoch: bigint;
  from: number;
  to: number;
}

/** What the board said. */
interface Seen {
  readonly epoch: bigint;
  readonly level: number;
  readonly line: {
    readonly epoch: bigint;
    readonly from: number;
    readonly to: number;
    readonly complete: boolean;
  };
}

const asked: Asked[] = [];
let calls: readonly StorageCall[] = [];
let root = '';
let work = '';
let boots = 0;

function seenOn(directory: string): Seen | undefined {
  const reader = openSegment({ directory, name: 'posture', kind: 'posture', owner: 'any' });
  try {
    const word = reader.load64(layout.posture.word);
    const line = reader.transition();
    return {
      epoch: word >> 16n,
      level: Number(word & 7n),
      line: {
        epoch: line?.epoch ?? 0n,
        from: line?.from ?? 0,
        to: line?.to ?? 0,
        complete: line?.stage === COMPLETE,
      },
    };
  } finally {
    reader.close();
  }
}

const boardWith = (segment: Buffer | undefined): string => {
  const board = join(work, `board-${(boots += 1)}`);
  mkdirSync(board, { mode: 0o755 });
  if (segment !== undefined && segment.length > 0)
    writeFileSync(join(board, 'posture'), segment, { mode: 0o644 });
  return board;
};
const stateWith = (disk: DiskState): string => {
  const state = join(work, `state-${(boots += 1)}`);
  mkdirSync(state, { mode: 0o700 });
  writeDisk(disk, state);
  return state;
};

/** The loosest level that a start may take: what was answered, and what was asked and not answered yet. */
function allowedByAnswers(cutNs: bigint, seen: Seen | undefined): number {
  const last = asked.filter(({ answeredAtNs }) => answeredAtNs < cutNs).at(-1);
  const open = asked.find(({ askedAtNs, answeredAtNs }) => askedAtNs < cutNs && answeredAtNs >= cutNs);
  const settled = (each: Asked): boolean =>
    seen !== undefined &&
    (seen.epoch > each.epoch ? true : seen.line.epoch === each.epoch && seen.line.complete);
  const levelOf = (each: Asked): number => (settled(each) ? each.to : Math.min(each.from, each.to));
  return Math.max(last === undefined ? FIRST_LEVEL : levelOf(last), open === undefined ? 0 : levelOf(open));
}

/** What may still become of it: never more than was asked for. */
const askedBefore = (cutNs: bigint): number =>
  Math.max(
    asked.filter(({ answeredAtNs }) => answeredAtNs < cutNs).at(-1)?.to ?? FIRST_LEVEL,
    asked.find(({ askedAtNs, answeredAtNs }) => askedAtNs < cutNs && answeredAtNs >= cutNs)?.level ?? 0,
  );

/** The loosest level that a start may take where the word survived. */
function allowedByWord({ epoch, level, line }: Seen): number {
  if (epoch === 0n) return FIRST_LEVEL;
  return line.epoch === epoch && !line.complete ? Math.min(line.from, line.to) : level;
}

/** What a start came to. */
interface Came {
  readonly level: number;
  readonly epoch: bigint;
  readonly nextEpoch: bigint;
  readonly resumeTo: number | undefined;
  readonly alarms: readonly string[];
  readonly keys: ReadonlySet<string>;
}

const known = new Map<string, Promise<Came>>();
/** Starts from a state, once for each that differs in anything that recovery reads. */
function start(disk: DiskState, segment: Buffer | undefined, boot = false): Promise<Came> {
  const hash = createHash('sha256');
  hash.update(boot ? 'boot' : '');
  for (const name of [JOURNAL, 'provisioned']) {
    const bytes = disk.get(name);
    hash.update(`\0${bytes === undefined ? 'none' : bytes.length}\0`).update(bytes ?? '');
  }
  // Beats and times differ all the while; word and line count.
  const seen = segment === undefined || segment.length === 0 ? undefined : seenOn(boardWith(segment));
  hash.update(
    JSON.stringify(seen, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}` : value)) ?? '',
  );
  const key = hash.digest('hex');
  const before = known.get(key);
  if (before !== undefined) return before;
  const came = startAnew(disk, segment, boot);
  known.set(key, came);
  return came;
}

async function startAnew(disk: DiskState, segment: Buffer | undefined, boot: boolean): Promise<Came> {
  const [board, state] = [boardWith(segment), stateWith(disk)];
  if (boot) {
    execFileSync(
      BOOT_BINARY,
      [
        '--board',
        board,
        '--state',
        state,
        '--uid',
        '0',
        '--gid',
        '0',
        '--provisioning-level',
        String(FIRST_LEVEL),
      ],
      {
        stdio: 'ignore',
      },
    );
  }
  const booted = boot ? seenOn(board) : undefined;
  const coordinator = await inside(board, state);
  try {
    const { epoch, level } = coordinator.obeyed();
    // Boot stands before the coordinator: it may be tighter, never looser.
    if (booted !== undefined && booted.level > level)
      throw new Error(`boot stored ${booted.level}, recovery ${level}`);
    const keys = new Set(
      asked
        .filter(
          ({ key, level: wanted }) =>
            coordinator.idempotency.lookUp(
              identityOf('console', 'site_owner', {
                idempotencyKey: key,
                level: wanted,
                reason: 'a test wants it',
                principal: 'user:ada',
              }),
            ).kind === 'same',
        )
        .map(({ key }) => key),
    );
    return {
      level,
      epoch,
      nextEpoch: coordinator.driver.machine.nextEpoch,
      resumeTo: coordinator.plan.resumeTo,
      alarms: coordinator.plan.alarms,
      keys,
    };
  } finally {
    await coordinator.close();
    rmSync(board, { recursive: true });
    rmSync(state, { recursive: true });
  }
}

/** Every state that could have been left: before each call, by each cut. */
function* states(cuts: readonly Cut[]): Generator<{
  readonly index: number;
  readonly cut: Cut;
  readonly atNs: bigint;
  readonly disk: DiskState;
  readonly segment: Buffer;
  readonly seen: Seen | undefined;
}> {
  const disk = new Disk(root);
  for (const [index, call] of calls.entries()) {
    const segment = call.snapshot;
    let seen: Seen | undefined;
    if (segment.length > 0) {
      const board = boardWith(segment);
      seen = seenOn(board);
      rmSync(board, { recursive: true });
    }
    for (const cut of cuts) {
      yield { index, cut, atNs: call.beginNs, disk: disk.state(cut, seeded(index)), segment, seen };
    }
    disk.apply(call);
  }
}

const issuedBefore = (atNs: bigint, seen: Seen | undefined): bigint =>
  [
    ...asked.filter(({ answeredAtNs }) => answeredAtNs < atNs).map(({ epoch }) => epoch),
    seen?.epoch ?? 0n,
    seen?.line.epoch ?? 0n,
  ].reduce((a, b) => (a > b ? a : b));

describe('power cuts and crashes at every write', () => {
  let box: Appliance;
  beforeAll(async () => {
    // Thousands of small directories: in memory, where there is such a place.
    work = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'kedge-power-cut-'));
    box = new Appliance({ journalRecords: 64 });
    root = box.state;
    const log = join(work, 'log');
    box.faults({ log, snapshot: join(box.board, 'posture') });
    box.startWarden();
    await box.start();
    for (const [index, level] of COURSE.entries()) {
      await box.ended();
      const one: Asked = {
        key: `power-cut-${index}`,
        level,
        askedAtNs: monotonicNs(),
        answeredAtNs: 1n << 62n,
        epoch: 0n,
        from: 0,
        to: 0,
      };
      const reply = await box.set(level, { by: 'console', idempotencyKey: one.key });
      one.answeredAtNs = monotonicNs();
      if (reply.outcome !== 'decision') throw new Error(`${level} was refused`);
      asked.push(
        Object.assign(one, { epoch: reply.decision.epoch, from: reply.decision.from, to: reply.decision.to }),
      );
      // The recovery of a crash, and that of a power cut, are writes of its life as well.
      if (index === 6) await box.kill();
      if (index === 12) {
        await box.kill();
        rmSync(join(box.board, 'posture'));
      }
      if (index === 6 || index === 12) await box.start();
    }
    await box.ended();
    await box.kill('SIGTERM');
    calls = parseLog(readFileSync(log));
  });
  afterAll(async () => {
    await box.close();
    rmSync(work, { recursive: true, force: true });
  });

  it('the log of the storage is whole: played again it gives what lies on the disk', () => {
    const disk = new Disk(root);
    for (const call of calls) disk.apply(call);
    const kept = disk.state('kept');
    expect(kept.get(JOURNAL)).toEqual(readFileSync(box.journalPath));
    expect([...kept.keys()].some((path) => path.startsWith('records/'))).toBe(true);
    expect(
      calls.filter(({ op, path2 }) => op === 'rename' && path2.endsWith(JOURNAL)).length,
    ).toBeGreaterThan(1);
    expect(calls.length).toBeGreaterThan(200);
  });

  it('PO-17 power cut at every write, un-flushed writes kept, lost, torn: never looser than answered, no epoch twice', async () => {
    const visited = new Map<Cut, number>();
    for (const { index, cut, atNs, disk, seen } of states(CUTS)) {
      const came = await start(disk, undefined);
      const where = `before call ${index} (${calls[index]?.op} ${calls[index]?.path}), ${cut}`;
      expect(came.level, where).toBeLessThanOrEqual(allowedByAnswers(atNs, seen));
      expect(came.nextEpoch, where).toBeGreaterThan(issuedBefore(atNs, seen));
      // A new memory gets a word of its own: what an earlier one was acknowledged with counts for nothing.
      expect(came.epoch, where).toBeGreaterThan(issuedBefore(atNs, seen));
      expect(came.resumeTo ?? 0, where).toBeLessThanOrEqual(askedBefore(atNs));
      const journal = disk.get(JOURNAL);
      const damaged = journal !== undefined && recoverJournal(journal).damage !== undefined;
      if (damaged) {
        expect(cut, where).toBe('torn');
        expect(came.level, where).toBeLessThanOrEqual(2);
        expect(came.alarms.length, where).toBeGreaterThan(0);
        expect(came.resumeTo, where).toBeUndefined();
      } else {
        // Nor stricter than what is written down.
        const last = journal === undefined ? undefined : recoverJournal(journal).last;
        if (last !== undefined) {
          expect(came.level, where).toBe(last.completed ? last.to : Math.min(last.from, last.to));
        }
        for (const { key } of asked.filter(({ answeredAtNs }) => answeredAtNs < atNs)) {
          expect(came.keys.has(key), `${key} ${where}`).toBe(true);
        }
      }
      visited.set(cut, (visited.get(cut) ?? 0) + 1);
    }
    expect([...visited]).toEqual(CUTS.map((cut) => [cut, calls.length]));
  });

  it('PO-17 kill -9 at every write: the surviving word counts, never looser, no epoch twice', async () => {
    let survived = 0;
    for (const { index, atNs, disk, segment, seen } of states(['kept'])) {
      if (seen === undefined) continue;
      const came = await start(disk, segment);
      const where = `before call ${index}`;
      expect(came.level, where).toBeLessThanOrEqual(allowedByWord(seen));
      expect(came.nextEpoch, where).toBeGreaterThan(issuedBefore(atNs, seen));
      // It goes on under the epoch that stands, or under one that nobody ever saw.
      if (came.epoch !== seen.epoch && came.epoch !== seen.line.epoch) {
        expect(came.epoch, where).toBeGreaterThan(issuedBefore(atNs, seen));
      }
      survived += 1;
    }
    expect(survived).toBeGreaterThan(calls.length / 2);
  });

  it('PO-17 kedge-boot from every power cut: never looser than answered, and the coordinator after it neither', async () => {
    let visited = 0;
    for (const { index, cut, atNs, disk, seen } of states(['kept', 'lost'])) {
      const came = await start(disk, undefined, true);
      const where = `before call ${index}, ${cut}`;
      expect(came.level, where).toBeLessThanOrEqual(allowedByAnswers(atNs, seen));
      expect(came.nextEpoch, where).toBeGreaterThan(issuedBefore(atNs, seen));
      visited += 1;
    }
    expect(visited).toBe(calls.length * 2);
  });

  it('PO-17 PO-19 the service itself, started from a sample of them, serves what recovery says', async () => {
    const sample: { readonly disk: DiskState; readonly came: Came; readonly where: string }[] = [];
    for (const { index, cut, disk } of states(['lost', 'torn'])) {
      const came = await start(disk, undefined);
      const isNew = !sample.some((each) => each.came.level === came.level);
      // What goes on to loosen does not stay where it was started.
      if (isNew && came.resumeTo === undefined)
        sample.push({ disk, came, where: `before call ${index}, ${cut}` });
    }
    expect(sample.length).toBeGreaterThanOrEqual(4);
    for (const { disk, came, where } of sample) {
      const other = new Appliance({ journalRecords: 64 });
      try {
        writeDisk(disk, other.state);
        other.startWarden();
        await other.start();
        expect(other.read().level, where).toBe(came.level);
        const alarms = (await other.get()).alarms.join();
        expect(alarms.includes('was taken'), where).toBe(came.alarms.length > 0);
      } finally {
        await other.close();
      }
    }
  });
});
