import { stat } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Applied, Participant, Plan, Step, Verification } from '@kedge/contracts';
import { DEFAULT_GATE_RULES, PostureGate } from '@kedge/reconcile';
import {
  createPostureSegment,
  createSegment,
  enums,
  layout,
  monotonicNs,
  openSegment,
  type PostureWriter,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import type { Clock, Epoch, Level } from '@kedge/units';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { gateViewOf } from './participant-binding.js';
import { type HostedParticipant, type HostOptions, hostParticipant } from './participant-host.js';
import { ParticipantSlot } from './participant-slot.js';
import { PostureBoard } from './posture-board.js';
import { wordOf } from './posture-word.js';

const uid = process.getuid?.() ?? 0;
const clock: Clock = { monotonicNs, wallMs: () => Date.now() };
let directory: string;
let closing: (() => void | Promise<void>)[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-host-'));
  await chmod(directory, 0o1775);
  closing = [];
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  await rm(directory, { recursive: true, force: true });
});
function keep<T extends { close(): void }>(thing: T): T {
  closing.push(() => {
    thing.close();
  });
  return thing;
}

/* ------------------------------------------------------------- the others */

interface Stage {
  readonly posture: PostureWriter;
  readonly warden: SegmentWriter;
  readonly dataplane: SegmentWriter;
  /** Whose heartbeats go on. */
  readonly beats: { posture: boolean; warden: boolean };
}

const MS = 1_000_000n;

/** Coordinator, warden and one data-plane worker, as they stand on the board. */
function stageOf({
  overlayMs = 5000,
  dataplaneMs = 1,
}: { overlayMs?: number; dataplaneMs?: number } = {}): Stage {
  const posture = keep(createPostureSegment({ directory }));
  const warden = keep(createSegment({ directory, name: 'warden', kind: 'warden' }));
  warden.store64(layout.warden.budgetNs, BigInt(dataplaneMs) * MS);
  warden.store64(layout.warden.budgetNs + 8, BigInt(overlayMs) * MS);
  warden.store64(layout.warden.budgetNs + 16, BigInt(overlayMs) * MS);
  warden.store64(layout.warden.staleNs, 300n * MS);
  const dataplane = keep(createSegment({ directory, name: 'dataplane-reference', kind: 'dataplane' }));
  dataplane.store32(layout.dataplane.workers, 1);
  dataplane.store32(layout.dataplane.worker + layout.worker.live, 1);
  const beats = { posture: true, warden: true };
  const beat = () => {
    if (beats.posture) posture.beat(true);
    if (beats.warden) warden.beat(true);
    dataplane.beat(true);
  };
  beat();
  const timer = setInterval(beat, 20);
  closing.push(() => {
    clearInterval(timer);
  });
  return { posture, warden, dataplane, beats };
}

/** The worker has applied `epoch`. */
function answer({ dataplane }: Stage, epoch: bigint, level: number): void {
  const now = monotonicNs();
  dataplane.writeAck(layout.dataplane.worker + layout.worker.ack, {
    epoch,
    startedAtNs: now - 10n,
    finishedAtNs: now,
    stage: enums.stage.TIGHTEN,
    outcome: enums.outcome.APPLIED,
    level,
    changes: 0,
  });
  dataplane.ring();
}

/** Decides a tightening; the data plane answers at once unless it is told not to. */
function tighten(stage: Stage, epoch: bigint, from: number, to: number, answered = true): void {
  stage.posture.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });
  if (answered) answer(stage, epoch, to);
}

type StageName = 'LOOSEN_DECIDED' | 'LOOSEN_PATHS' | 'LOOSEN_SESSIONS' | 'COMPLETE';
function loosen({ posture }: Stage, epoch: bigint, from: number, to: number, at: StageName): void {
  if (at === 'COMPLETE') posture.storeWord(epoch, to);
  posture.writeTransition({
    epoch,
    from,
    to,
    stage: enums.stage[at],
    flags: 0,
    receivedAtNs: monotonicNs(),
    decidedAtNs: monotonicNs(),
    stageAtNs: monotonicNs(),
    budgetNs: [0n, 0n, 0n],
  });
  posture.ring();
}

function failClosedLine({ warden }: Stage, epoch: bigint, level: number | undefined): void {
  const at = layout.warden.failClosed + layout.failClosed.size; // the overlay's
  warden.store64(at + layout.failClosed.count, warden.load64(at + layout.failClosed.count) + 1n);
  warden.store64(at + layout.failClosed.word, level === undefined ? 0n : wordOf(epoch, level));
  warden.ring();
}

/* ------------------------------------------------------------ the participant */

/** Routes in a world of names; the digit of a name is the tightest level that allows it. */
class World implements Participant<ReadonlySet<string>> {
  readonly name: string;
  readonly path = 'overlay';
  readonly log: string[] = [];
  desired: readonly string[] = ['a1', 'b2', 'c3', 'd4', 'e5'];
  there = new Set<string>();
  /** What the next applications do before they go to work. */
  before: ((plan: Plan, signal: AbortSignal) => Promise<void> | void)[] = [];
  closes: (level: Level) => Promise<void> | void = (level) => {
    for (const each of this.there) if (Number(each[1]) > level) this.there.delete(each);
  };

  constructor(name = 'overlay') {
    this.name = name;
  }

  wanted(level: Level): string[] {
    return this.desired.filter((each) => Number(each[1]) <= level);
  }
  read(): Promise<ReadonlySet<string>> {
    this.log.push('read');
    return Promise.resolve(new Set(this.there));
  }
  plan(actual: ReadonlySet<string>, level: Level, epoch: Epoch): Plan {
    const wanted = this.wanted(level);
    const step = (id: string, kind: 'add' | 'remove'): Step => ({
      id,
      kind,
      path: `/routes/route[name='${id}']`,
      before: kind === 'add' ? null : id,
      after: kind === 'add' ? id : null,
      inverse: {
        kind: kind === 'add' ? 'remove' : 'add',
        before: kind === 'add' ? id : null,
        after: kind === 'add' ? null : id,
      },
      dependsOn: [],
      safePoint: true,
    });
    return {
      id: `plan-${epoch}`,
      epoch,
      target: 'routes/main',
      base: '0'.repeat(64),
      steps: [
        ...[...actual].filter((each) => !wanted.includes(each)).map((each) => step(each, 'remove')),
        ...wanted.filter((each) => !actual.has(each)).map((each) => step(each, 'add')),
      ],
    };
  }
  async apply(plan: Plan, signal: AbortSignal): Promise<Applied> {
    this.log.push(
      `apply ${plan.steps.map(({ id, kind }) => `${kind === 'add' ? '+' : '-'}${id}`).join(' ')}`,
    );
    try {
      await this.before.shift()?.(plan, signal);
    } catch (error) {
      return { outcome: 'failed', done: [], failure: { code: 'ROUTES_X', message: String(error) } };
    }
    const done: string[] = [];
    for (const { id, kind } of plan.steps) {
      if (signal.aborted) return { outcome: 'cancelled', done };
      if (kind === 'add') this.there.add(id);
      else this.there.delete(id);
      done.push(id);
    }
    return { outcome: 'applied', done };
  }
  verify(level: Level): Promise<Verification> {
    this.log.push(`verify ${level}`);
    const differences = [
      ...[...this.there]
        .filter((each) => !this.wanted(level).includes(each))
        .map((each) => `${each} is there`),
      ...this.wanted(level)
        .filter((each) => !this.there.has(each))
        .map((each) => `${each} is missing`),
    ];
    return Promise.resolve({ ok: differences.length === 0, differences });
  }
  async failClosed(level: Level): Promise<void> {
    this.log.push(`fail closed ${level}`);
    await this.closes(level);
  }
}

interface Hosted {
  readonly host: HostedParticipant;
  readonly world: World;
  readonly board: PostureBoard;
  readonly slot: ParticipantSlot;
  readonly ack: () => { epoch: bigint; outcome: string; level: number; stage: string; changes: number };
  readonly serving: () => number;
  readonly logged: string[];
}

function hosted(world = new World(), more: Partial<HostOptions<ReadonlySet<string>>> = {}): Hosted {
  const slot = keep(ParticipantSlot.create({ directory, name: world.name, path: 'overlay' }));
  const reader = keep(
    openSegment({ directory, name: `participant-${world.name}`, kind: 'participant', owner: uid }),
  );
  const board = keep(
    new PostureBoard({
      directory,
      owners: { posture: uid, warden: uid, 'dataplane-reference': uid },
      realtime: false,
      rescanMs: 20,
    }),
  );
  const logged: string[] = [];
  const log = (_fields: object, message: string) => logged.push(message);
  const host = hostParticipant({
    board,
    slot,
    participant: world,
    reconcileEveryMs: 0,
    clock,
    log: { info: log, warn: log, error: log },
    budgetMs: 5000,
    backoff: { firstMs: 10, mostMs: 50 },
    heartbeatMs: 20,
    graceMs: 30,
    ...more,
  });
  closing.push(() => host.close());
  const outcomes = ['none', 'applied', 'unchanged', 'failed', 'cancelled'];
  const stages = ['none', 'tighten', 'loosen-decided', 'loosen-paths', 'loosen-sessions'];
  return {
    host,
    world,
    board,
    slot,
    logged,
    ack: () => {
      const line = reader.ack(layout.participant.ack);
      return {
        epoch: line?.epoch ?? -1n,
        outcome: outcomes[line?.outcome ?? 0] ?? '?',
        level: line?.level ?? -1,
        stage: stages[line?.stage ?? 0] ?? '?',
        changes: line?.changes ?? -1,
      };
    },
    serving: () => reader.load32(layout.participant.beat + layout.beat.serving),
  };
}
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const at = (level: number) => new World().wanted(level as Level);

/** A participant that stands at `level` of epoch 1. */
async function standingAt(level: number, stage: Stage, more: Partial<HostOptions<ReadonlySet<string>>> = {}) {
  if (level === 5) stage.posture.storeWord(1n, 5);
  else tighten(stage, 1n, 5, level);
  answer(stage, 1n, level);
  const all = hosted(new World(), more);
  await expect.poll(all.ack).toMatchObject({ epoch: 1n, level });
  expect([...all.world.there]).toEqual(at(level));
  all.world.log.length = 0;
  return all;
}

/* ------------------------------------------------------------------- tests */

describe('a tightening', () => {
  it('PO-7 begins by itself when the data plane has acknowledged, and not before', async () => {
    const stage = stageOf({ dataplaneMs: 60_000 });
    const { world, host, ack } = await standingAt(5, stage);
    tighten(stage, 2n, 5, 2, false);
    await expect
      .poll(() => host.status().loop)
      .toMatchObject({ state: 'inert', why: 'the data plane tightens first' });
    await sleep(60);
    expect(world.log).toEqual([]);
    answer(stage, 2n, 2);
    await expect.poll(ack).toEqual({ epoch: 2n, outcome: 'applied', level: 2, stage: 'tighten', changes: 3 });
    expect([...world.there]).toEqual(['a1', 'b2']);
    expect(world.log).toEqual(['read', 'apply -c3 -d4 -e5', 'verify 2']);
  });

  it('PO-7 begins without a silent data plane when its deadline has passed', async () => {
    const stage = stageOf({ dataplaneMs: 150 });
    const { world, ack } = await standingAt(5, stage);
    const decided = monotonicNs();
    tighten(stage, 2n, 5, 1, false);
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 1 });
    expect(monotonicNs() - decided).toBeGreaterThanOrEqual(150n * MS);
    expect([...world.there]).toEqual(['a1']);
  });

  it('PO-7 PO-15 needs nothing of a coordinator that hangs right after the store, not even its bell', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(5, stage);
    stage.beats.posture = false;
    // The stores of a tightening by hand, without the wake.
    stage.posture.writeTransition({
      epoch: 2n,
      from: 5,
      to: 2,
      stage: enums.stage.TIGHTEN,
      flags: 0,
      receivedAtNs: monotonicNs(),
      decidedAtNs: monotonicNs(),
      stageAtNs: monotonicNs(),
      budgetNs: [0n, 0n, 0n],
    });
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 2, outcome: 'applied' });
    expect([...world.there]).toEqual(['a1', 'b2']);
  });

  it('PO-15 a moment of decision that lies in the future holds nothing back', async () => {
    const stage = stageOf();
    const { ack } = await standingAt(5, stage);
    stage.posture.writeTransition({
      epoch: 2n,
      from: 5,
      to: 1,
      stage: enums.stage.TIGHTEN,
      flags: 0,
      receivedAtNs: 0n,
      decidedAtNs: monotonicNs() + 3_600_000n * MS,
      stageAtNs: 0n,
      budgetNs: [0n, 0n, 0n],
    });
    stage.posture.ring();
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 1 });
  });

  it('PO-12 is cut off at its deadline and fails closed; it stays so, and is acknowledged when it verifies', async () => {
    const stage = stageOf({ overlayMs: 120 });
    const { world, ack, host, logged } = await standingAt(5, stage);
    let aborted: unknown;
    world.before = [
      (_plan, signal) =>
        new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => {
            aborted = signal.reason;
            resolve();
          });
        }),
      () => sleep(80),
    ];
    const decided = monotonicNs();
    tighten(stage, 2n, 5, 2);
    await expect.poll(ack, { interval: 5 }).toMatchObject({ epoch: 2n, outcome: 'failed', level: 2 });
    expect(monotonicNs() - decided).toBeGreaterThanOrEqual(120n * MS);
    expect(aborted).toMatchObject({ code: 'RECONCILE_DEADLINE' });
    expect(world.log).toContain('fail closed 2');
    expect([...world.there]).toEqual(['a1', 'b2']);
    expect(logged).toContain('failed closed');
    expect(host.status().failures).toBeGreaterThan(0);
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'unchanged', level: 2 });
    expect(host.status()).toMatchObject({ failures: 0, standing: { epoch: 2n, level: 2 } });
  });

  it('PO-12 that fails is tried again at once, then fails closed; what is left is repaired afterwards', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(5, stage);
    const no = () => {
      throw new Error('no');
    };
    world.before = [no, no, no];
    world.closes = () => {
      world.there.clear();
    };
    tighten(stage, 2n, 5, 3);
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'applied', level: 3, changes: 3 });
    expect(world.log.filter((each) => !/^read|^verify/.test(each))).toEqual([
      'apply -d4 -e5',
      'apply -d4 -e5',
      'apply -d4 -e5',
      'fail closed 3',
      'apply +a1 +b2 +c3',
    ]);
  });

  it('PO-12 on the way from 5 to 4, which only watches more, enforces nothing', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(5, stage);
    world.before = [
      () => {
        throw new Error('no');
      },
    ];
    tighten(stage, 2n, 5, 4);
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'applied', level: 4 });
    expect(world.log.join()).not.toContain('fail closed');
  });

  it('PO-12 a step that came back while the thread was busy was late, and is not stuck', async () => {
    const stage = stageOf({ overlayMs: 60 });
    const failures = new Set<string>();
    const { world, ack } = await standingAt(5, stage, {
      onStatus: ({ last }) => {
        if (last?.outcome === 'failed') failures.add(last.failure.code);
      },
    });
    world.before = [
      (_plan, signal) =>
        new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => {
            setImmediate(() => {
              stat(directory, () => {
                resolve();
              });
              // Longer than the grace, whose timer is due before anybody hears of the answer.
              Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
            });
          });
        }),
    ];
    tighten(stage, 2n, 5, 3);
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 3 });
    await expect.poll(() => [...failures]).toEqual(['RECONCILE_DEADLINE']);
  });

  it('PO-12 a step that never returns does not keep the level from being enforced, nor a tighter one after it', async () => {
    const stage = stageOf({ overlayMs: 60 });
    const { world, ack, host } = await standingAt(5, stage);
    let release: (() => void) | undefined;
    world.before = [() => new Promise<void>((resolve) => (release = resolve))];
    tighten(stage, 2n, 5, 3);
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'failed', level: 3 });
    expect(host.status().last).toMatchObject({ failure: { code: 'RECONCILE_STUCK' } });
    tighten(stage, 3n, 3, 1);
    await expect.poll(ack).toMatchObject({ epoch: 3n, outcome: 'failed', level: 1 });
    expect(world.log.filter((each) => each.startsWith('apply'))).toHaveLength(1);
    expect([...world.there]).toEqual(['a1']);
    release?.();
    await expect.poll(ack).toMatchObject({ epoch: 3n, outcome: 'unchanged', level: 1 });
  });
});

describe('a tighter epoch', () => {
  it('PO-10 aborts a loosening that runs, and the participant goes to the tighter level', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(1, stage);
    const reasons: unknown[] = [];
    world.before = [
      (_plan, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason);
            resolve();
          });
        }),
    ];
    loosen(stage, 2n, 1, 4, 'LOOSEN_PATHS');
    await expect.poll(() => world.log).toContain('apply +b2 +c3 +d4');
    // Part of it was done by then.
    world.there.add('b2');
    tighten(stage, 3n, 4, 1);
    await expect.poll(ack).toMatchObject({ epoch: 3n, outcome: 'applied', level: 1 });
    expect(reasons).toEqual([expect.objectContaining({ code: 'RECONCILE_PREEMPTED' })]);
    expect([...world.there]).toEqual(['a1']);
    expect(world.log.at(-2)).toBe('apply -b2');
  });

  it('PO-10 aborts at once, and waits for the data plane before anything tightens', async () => {
    const stage = stageOf({ dataplaneMs: 60_000 });
    const { world, host, ack } = await standingAt(5, stage);
    world.before = [
      (_plan, signal) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            resolve();
          }),
        ),
    ];
    tighten(stage, 2n, 5, 4);
    await expect.poll(() => world.log).toContain('apply -e5');
    tighten(stage, 3n, 4, 2, false);
    await expect.poll(() => host.status().last).toMatchObject({ outcome: 'cancelled' });
    expect(ack()).toMatchObject({ epoch: 1n, outcome: 'cancelled', level: 5 });
    expect([...world.there]).toEqual(at(5));
    answer(stage, 3n, 2);
    await expect.poll(ack).toMatchObject({ epoch: 3n, outcome: 'applied', level: 2, changes: 3 });
  });

  it('PO-10 what it makes void no more is not begun again: work that is tight enough ends first', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(5, stage);
    let release: (() => void) | undefined;
    let aborted = false;
    world.before = [
      (_plan, signal) =>
        new Promise<void>((resolve) => {
          release = resolve;
          signal.addEventListener('abort', () => (aborted = true));
        }),
    ];
    tighten(stage, 2n, 5, 2);
    await expect.poll(() => world.log).toContain('apply -c3 -d4 -e5');
    tighten(stage, 3n, 2, 2);
    await sleep(50);
    release?.();
    await expect.poll(ack).toMatchObject({ epoch: 3n, outcome: 'unchanged', level: 2 });
    expect(aborted).toBe(false);
    expect(world.log.filter((each) => each.startsWith('apply'))).toHaveLength(1);
  });
});

describe('a loosening', () => {
  it('PO-7 PO-15 begins when its stage is released, not when it is decided', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(2, stage);
    loosen(stage, 2n, 2, 5, 'LOOSEN_DECIDED');
    await sleep(80);
    expect(world.log).toEqual([]);
    expect(ack()).toMatchObject({ epoch: 1n, level: 2 });
    loosen(stage, 2n, 2, 5, 'LOOSEN_PATHS');
    await expect
      .poll(ack)
      .toEqual({ epoch: 2n, outcome: 'applied', level: 5, stage: 'loosen-paths', changes: 3 });
    expect([...world.there].sort()).toEqual(at(5));
  });

  it('PO-7 of the session layer waits for its own stage', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(2, stage, { layer: 'session' });
    loosen(stage, 2n, 2, 3, 'LOOSEN_PATHS');
    await sleep(80);
    expect(world.log).toEqual([]);
    loosen(stage, 2n, 2, 3, 'LOOSEN_SESSIONS');
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 3, stage: 'loosen-sessions' });
  });

  it.each([
    ['PO-12 waits while the warden does not beat', 'warden'],
    ['PO-15 is released by a live coordinator only', 'posture'],
  ] as const)('%s', async (_title, silent) => {
    const stage = stageOf();
    const { world, ack, host, board } = await standingAt(2, stage);
    stage.beats[silent] = false;
    await expect.poll(() => board.snapshot().files.find(({ file }) => file === silent)?.stale).toBe(true);
    loosen(stage, 2n, 2, 5, 'LOOSEN_PATHS');
    await expect
      .poll(() => host.status().wanted)
      .toMatchObject({ level: 2, decided: 5, limits: ['not-released'] });
    await sleep(60);
    expect([...world.there]).toEqual(at(2));
    expect(ack()).toMatchObject({ epoch: 1n, level: 2 });
    stage.beats[silent] = true;
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'applied', level: 5 });
  });

  it('PO-12 that runs when the warden falls silent is taken back, and the slot keeps the epoch before', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(2, stage);
    world.before = [
      (_plan, signal) =>
        new Promise((resolve) => {
          world.there.add('c3');
          signal.addEventListener('abort', () => {
            resolve();
          });
        }),
    ];
    loosen(stage, 2n, 2, 5, 'LOOSEN_PATHS');
    await expect.poll(() => world.there.has('c3')).toBe(true);
    stage.beats.warden = false;
    await expect.poll(() => [...world.there]).toEqual(at(2));
    await expect.poll(ack).toMatchObject({ epoch: 1n, level: 2, outcome: 'applied' });
    stage.beats.warden = true;
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 5, outcome: 'applied' });
  });

  it('PO-12 that fails cuts nothing: it is late, is not acknowledged, and is tried until it is done', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(3, stage);
    let fails = 3;
    const no = () => {
      if (fails-- > 0) throw new Error('no');
    };
    world.before = [no, no, no, no];
    loosen(stage, 2n, 3, 5, 'LOOSEN_PATHS');
    await expect.poll(() => fails).toBeLessThan(3);
    expect(ack()).toMatchObject({ epoch: 1n, level: 3 });
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'applied', level: 5 });
    expect(world.log.join()).not.toContain('fail closed');
  });
});

describe('a looser accord at the level in force', () => {
  it('PO-12 waits for its release, and one that fails is late and cuts nothing', async () => {
    const stage = stageOf();
    const { world, ack, host } = await standingAt(5, stage);
    loosen(stage, 2n, 5, 5, 'LOOSEN_DECIDED');
    await sleep(60);
    expect(ack().epoch).toBe(1n);
    let fails = 4;
    world.desired = [...world.desired, 'f5'];
    world.before = Array.from({ length: fails }, () => () => {
      if (fails-- > 0) throw new Error('no');
    });
    loosen(stage, 2n, 5, 5, 'LOOSEN_PATHS');
    await expect.poll(() => fails).toBeLessThan(3);
    expect(ack().epoch).toBe(1n);
    loosen(stage, 2n, 5, 5, 'COMPLETE');
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'applied', level: 5 });
    expect(world.log.join()).not.toContain('fail closed');
    expect(host.status().wanted.limits).toEqual([]);
  });

  it('PO-12 is not taken up before its release, nor when that was lost before it was acknowledged', async () => {
    const stage = stageOf();
    let follows = 0;
    const { world, ack, host, board } = await standingAt(5, stage, {
      follow: () => {
        follows++;
      },
    });
    stage.beats.warden = false;
    await expect.poll(() => board.snapshot().wardenFresh).toBe(false);
    follows = 0;
    loosen(stage, 2n, 5, 5, 'LOOSEN_PATHS');
    await expect.poll(() => host.status().wanted.limits).toEqual(['not-released']);
    await expect.poll(() => world.log.includes('verify 5')).toBe(true);
    expect([follows, ack().epoch]).toEqual([0, 1n]);
    stage.beats.warden = true;
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 5 });
    expect(follows).toBeGreaterThan(0);
  });

  it('PO-12 that runs is taken back with its release, and goes on when it is released again', async () => {
    const stage = stageOf();
    let offered = ['a1', 'b2', 'c3', 'd4', 'e5'];
    let take = (): void => undefined;
    const { world, ack } = await standingAt(5, stage, {
      follow: () => {
        take();
      },
    });
    take = () => {
      world.desired = offered;
    };
    offered = [...offered, 'f5'];
    world.before = [
      (_plan, signal) =>
        new Promise((resolve) => {
          world.there.add('f5');
          signal.addEventListener('abort', () => {
            resolve();
          });
        }),
    ];
    loosen(stage, 2n, 5, 5, 'LOOSEN_PATHS');
    await expect.poll(() => world.there.has('f5')).toBe(true);
    offered = offered.slice(0, 5);
    loosen(stage, 2n, 5, 5, 'LOOSEN_DECIDED');
    await expect.poll(() => [...world.there]).toEqual(at(5));
    expect(ack()).toMatchObject({ epoch: 1n });
    offered = [...offered, 'f5'];
    loosen(stage, 2n, 5, 5, 'LOOSEN_PATHS');
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 5 });
    expect(world.there.has('f5')).toBe(true);
  });
});

describe("the path's fail-closed line", () => {
  it('PO-15 is obeyed where it is tighter, acknowledged at the current epoch, and its end gives back what the level allows', async () => {
    const stage = stageOf();
    const { world, ack, host } = await standingAt(4, stage);
    failClosedLine(stage, 1n, 2);
    await expect.poll(ack).toMatchObject({ epoch: 1n, outcome: 'applied', level: 2 });
    expect([...world.there]).toEqual(at(2));
    expect(host.status().wanted).toMatchObject({ level: 2, decided: 4, limits: ['fail-closed'] });
    // A looser line than what was decided changes nothing.
    tighten(stage, 2n, 4, 1);
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 1 });
    loosen(stage, 3n, 1, 3, 'LOOSEN_PATHS');
    await expect.poll(ack).toMatchObject({ epoch: 3n, level: 2 });
    failClosedLine(stage, 1n, undefined);
    await expect.poll(ack).toMatchObject({ epoch: 3n, level: 3, outcome: 'applied' });
    expect([...world.there].sort()).toEqual(at(3));
  });
});

describe('reconciliation', () => {
  it('PO-11 changes nothing that is right, repairs what is not, and leaves the acknowledgement as it was', async () => {
    const stage = stageOf();
    const { world, host, ack } = await standingAt(3, stage);
    const before = ack();
    expect(await host.reconcileNow()).toMatchObject({ outcome: 'unchanged', changes: 0 });
    expect(world.log).toEqual(['read', 'verify 3']);
    world.there.delete('b2');
    world.there.add('e5');
    expect(await host.reconcileNow()).toMatchObject({ outcome: 'applied', changes: 2 });
    expect([...world.there].sort()).toEqual(at(3));
    expect(ack()).toEqual(before);
  });

  it('PO-11 comes when the level in force is asked for again', async () => {
    const stage = stageOf();
    const { world, host, ack } = await standingAt(3, stage, { reconcileEveryMs: 0 });
    loosen(stage, 1n, 5, 3, 'COMPLETE');
    await expect.poll(() => host.status().loop.state).toBe('idle');
    const before = ack();
    world.there.delete('b2');
    await sleep(250);
    expect(world.there.has('b2')).toBe(false);
    loosen(stage, 1n, 5, 3, 'COMPLETE');
    await expect.poll(() => world.there.has('b2')).toBe(true);
    expect(host.status().last).toMatchObject({ because: 'request', outcome: 'applied' });
    expect(ack()).toEqual(before);
  });

  it('PO-11 comes by itself from time to time', async () => {
    const stage = stageOf();
    const { world, host } = await standingAt(5, stage, { reconcileEveryMs: 30 });
    world.there.delete('c3');
    await expect.poll(() => world.there.has('c3')).toBe(true);
    expect(host.status().last).toMatchObject({ because: 'interval' });
  });

  it('PO-11 a decision for the level in force is acknowledged and changes nothing', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(3, stage);
    tighten(stage, 2n, 3, 3);
    await expect
      .poll(ack)
      .toEqual({ epoch: 2n, outcome: 'unchanged', level: 3, stage: 'tighten', changes: 0 });
    expect(world.log).toEqual(['read', 'verify 3']);
  });

  it('PO-11 that fails outside a tightening enforces nothing, and the loop goes on', async () => {
    const stage = stageOf();
    const { world, host } = await standingAt(3, stage);
    const { read } = world;
    let fails = 3;
    world.read = () => {
      if (fails-- > 0) throw new Error('the world is away');
      return read.call(world);
    };
    world.there.delete('a1');
    expect(await host.reconcileNow()).toMatchObject({
      outcome: 'failed',
      failure: { code: 'RECONCILE_RUN_FAILED', message: 'the world is away' },
    });
    await expect.poll(() => world.there.has('a1')).toBe(true);
    expect(world.log.join()).not.toContain('fail closed');
    expect(host.status().failures).toBe(0);
  });
});

describe('the pre-escalation snapshot', () => {
  it('PO-18 is shown the world once, before anything is taken from it, however often the tightening is tried', async () => {
    const stage = stageOf();
    const shown: unknown[] = [];
    const { world, ack } = await standingAt(5, stage, {
      beforeEscalation: (actual, move) => {
        shown.push([[...actual], move]);
        throw new Error('cannot be written down');
      },
    });
    world.there.delete('b2');
    world.before = [
      () => {
        world.there.delete('e5');
        throw new Error('half');
      },
    ];
    tighten(stage, 2n, 5, 2);
    await expect.poll(ack).toMatchObject({ epoch: 2n, outcome: 'applied', level: 2 });
    expect(shown).toEqual([[['a1', 'c3', 'd4', 'e5'], { from: 5, to: 2, epoch: 2n }]]);
    // Going on to a tighter level is another moment; coming back is none.
    tighten(stage, 3n, 2, 1);
    await expect.poll(ack).toMatchObject({ epoch: 3n, level: 1 });
    loosen(stage, 4n, 1, 5, 'LOOSEN_PATHS');
    await expect.poll(ack).toMatchObject({ epoch: 4n, level: 5 });
    expect(shown).toHaveLength(2);
    expect([...world.there].sort()).toEqual(at(5));
  });

  it('PO-18 every level is a filter: any way through the levels ends where the last one alone ends', async () => {
    const stage = stageOf();
    const { world, ack } = await standingAt(5, stage);
    let epoch = 1n;
    let level = 5;
    for (const to of [3, 1, 4, 2, 5, 1, 5]) {
      epoch += 1n;
      if (to < level) tighten(stage, epoch, level, to);
      else loosen(stage, epoch, level, to, 'COMPLETE');
      level = to;
      await expect.poll(ack).toMatchObject({ epoch, level });
      expect([...world.there].sort()).toEqual(at(to));
    }
  });

  it('PO-18 a damaged desired set leaves the participant at the stricter level, and the slot says so', async () => {
    const stage = stageOf();
    stage.posture.storeWord(1n, 5);
    let damaged = true;
    const { world, ack, host } = hosted(new World(), {
      limit: () =>
        damaged ? { level: 1, code: 'RECONCILE_DESIRED_DAMAGED', message: 'the set is damaged' } : undefined,
    });
    await expect.poll(ack).toMatchObject({ epoch: 1n, level: 1 });
    expect([...world.there]).toEqual(at(1));
    expect(host.status()).toMatchObject({
      wanted: { level: 1, decided: 5, limits: ['own-limit'] },
      ownLimit: { code: 'RECONCILE_DESIRED_DAMAGED' },
    });
    damaged = false;
    await expect.poll(ack).toMatchObject({ epoch: 1n, level: 5 });
  });
});

describe('a start', () => {
  it('PO-19 brings the world to the current posture before it acknowledges and before it serves', async () => {
    const stage = stageOf();
    tighten(stage, 4n, 5, 2);
    const world = new World();
    // What an earlier process left behind.
    for (const each of at(5)) world.there.add(each);
    let release: (() => void) | undefined;
    world.before = [() => new Promise<void>((resolve) => (release = resolve))];
    const { host, ack, serving } = hosted(world);
    await expect.poll(() => world.log).toContain('apply -c3 -d4 -e5');
    await sleep(50);
    expect([host.serving, serving(), ack().epoch]).toEqual([false, 0, 0n]);
    release?.();
    await expect.poll(ack).toMatchObject({ epoch: 4n, level: 2 });
    expect(host.serving).toBe(true);
    await expect.poll(serving).toBe(1);
  });

  it('PO-19 again after a restart: what was acknowledged before does not make it serve', async () => {
    const stage = stageOf();
    const first = await standingAt(2, stage);
    await first.host.close();
    first.slot.close();
    tighten(stage, 2n, 2, 1);
    const world = new World();
    for (const each of first.world.there) world.there.add(each);
    let release: (() => void) | undefined;
    world.before = [() => new Promise<void>((resolve) => (release = resolve))];
    const { host, ack } = hosted(world);
    await expect.poll(() => world.log).toContain('apply -b2');
    expect([host.serving, ack().epoch]).toEqual([false, 1n]);
    release?.();
    await expect.poll(ack).toMatchObject({ epoch: 2n, level: 1 });
    expect(host.serving).toBe(true);
  });

  it('PO-19 that cannot bring the world down fails closed', async () => {
    const stage = stageOf();
    tighten(stage, 4n, 5, 2);
    const world = new World();
    for (const each of at(5)) world.there.add(each);
    const no = () => {
      throw new Error('no');
    };
    world.before = [no, no, no];
    const { ack } = hosted(world);
    await expect.poll(ack).toMatchObject({ epoch: 4n, level: 2, outcome: 'unchanged' });
    expect(world.log).toContain('fail closed 2');
  });

  it('PO-15 a board that cannot be read counts as lockdown, and nobody serves', async () => {
    const world = new World();
    for (const each of at(5)) world.there.add(each);
    const { host, ack, serving } = hosted(world);
    await expect.poll(() => [...world.there]).toEqual(at(1));
    expect(host.status().wanted).toMatchObject({ epoch: 0n, level: 1, limits: ['board-unreadable'] });
    expect([host.serving, serving(), ack().epoch]).toEqual([false, 0, 0n]);
    const stage = stageOf();
    stage.posture.storeWord(3n, 4);
    await expect.poll(ack).toMatchObject({ epoch: 3n, level: 4 });
    expect([...world.there].sort()).toEqual(at(4));
    // Lost again: down at once, without waiting for anybody.
    await rm(join(directory, 'posture'));
    await expect.poll(ack).toMatchObject({ epoch: 3n, level: 1 });
    expect([...world.there]).toEqual(at(1));
    await expect.poll(serving).toBe(0);
  });

  it('PO-12 nothing is given back before the warden beats', async () => {
    const stage = stageOf();
    stage.beats.warden = false;
    stage.warden.beat(true);
    await sleep(320);
    stage.posture.storeWord(1n, 5);
    const { world, host } = hosted();
    await expect.poll(() => [...world.there]).toEqual(at(1));
    expect(host.status().wanted.limits).toEqual(['not-released']);
    stage.beats.warden = true;
    await expect.poll(() => [...world.there].sort()).toEqual(at(5));
  });
});

describe('the slot', () => {
  it('PO-12 beats from the event loop, and serves only while the service around it does', async () => {
    const stage = stageOf();
    const { host, serving } = await standingAt(5, stage);
    const reader = keep(
      openSegment({ directory, name: 'participant-overlay', kind: 'participant', owner: uid }),
    );
    const beat = () => reader.load64(layout.participant.beat + layout.beat.atNs);
    const first = beat();
    await expect.poll(beat).toBeGreaterThan(first);
    expect(serving()).toBe(1);
    host.beat(false);
    await sleep(50);
    expect(serving()).toBe(0);
    host.beat(true);
    expect(serving()).toBe(1);
  });

  it('UN-14 says an epoch only when no permit of an older one is open; one that is never released fails closed', async () => {
    const stage = stageOf({ overlayMs: 150 });
    const held: { board?: PostureBoard } = {};
    const gate = new PostureGate({
      view: () => (held.board === undefined ? undefined : gateViewOf(held.board.snapshot(), 'overlay')),
      ruleOf: (level) => DEFAULT_GATE_RULES[level],
      nowNs: monotonicNs,
    });
    const all = await standingAt(5, stage, { acknowledgeable: (epoch, signal) => gate.quiet(epoch, signal) });
    held.board = all.board;
    const enter = (id: string) => {
      const answered = gate.enter({
        id,
        planId: 'plan-1',
        target: 'routes/main',
        principal: 'user:ada',
        tier: 'site_owner',
        channel: 'local',
        kind: 'ordinary',
      });
      if (!answered.granted) throw new Error(answered.code);
      return answered;
    };
    const permit = enter('mutation-1');
    tighten(stage, 2n, 5, 3);
    await expect.poll(() => permit.signal.aborted).toBe(true);
    await expect.poll(() => [...all.world.there]).toEqual(at(3));
    expect(all.ack()).toMatchObject({ epoch: 1n });
    permit.release();
    await expect.poll(all.ack).toMatchObject({ epoch: 2n, level: 3, outcome: 'applied' });
    const kept = enter('mutation-2');
    tighten(stage, 3n, 3, 1);
    await expect.poll(all.ack).toMatchObject({ epoch: 3n, level: 1, outcome: 'failed' });
    kept.release();
    await expect.poll(all.ack).toMatchObject({ epoch: 3n, level: 1, outcome: 'unchanged' });
  });

  it('closes by cancelling what runs; who waits for a reconciliation is told', async () => {
    const stage = stageOf();
    const { world, host } = await standingAt(3, stage);
    world.there.delete('a1');
    world.before = [
      (_plan, signal) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            resolve();
          }),
        ),
    ];
    const asked = host.reconcileNow();
    const told = expect(asked).rejects.toMatchObject({ code: 'RECONCILE_STOPPED' });
    await expect.poll(() => world.log).toContain('apply +a1');
    await host.close();
    await told;
    await expect(host.reconcileNow()).rejects.toMatchObject({ code: 'RECONCILE_STOPPED' });
    expect(host.serving).toBe(false);
  });
});
