/**
 * The deadlines of the three paths, driven by real segments: what is set, killed, recorded and cleared.
 * It must not assert speed: nothing is done before its deadline; how soon after it is what the benches measure.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { millisOf } from '@kedge/units';
import {
  ACTOR,
  buildTests,
  IN_PROGRESS,
  KIND,
  OUTCOME,
  STAGE,
  Stage,
  until,
  type Actor,
  type Line,
  type Shown,
  type Violation,
} from './stage.js';

const MS = 1_000_000n;
/** errno ESRCH. */
const NO_SUCH_PROCESS = 3;
/** errno ETIMEDOUT. */
const TIMED_OUT = 110;
/** Enough for an actor of ordinary priority on a busy machine. */
const WIDE_MS = 2_000;
const WIDE = { dataplane: millisOf(WIDE_MS), overlay: millisOf(WIDE_MS), underlay: millisOf(WIDE_MS) };

let stage: Stage;
beforeAll(() => buildTests(), 120_000);
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

/**
 * Coordinator and one data plane on the board, at level 5 and acknowledged, and the warden over them. The first
 * decision is there before the data plane: however slow the machine, it owes nothing for it.
 */
async function settled(
  changes: Parameters<Stage['warden']>[0] = {},
  workers = 2,
): Promise<{ posture: Actor; plane: Actor; warden: Line }> {
  const warden = await stage.warden(changes);
  const posture = await stage.actor('posture');
  await posture.tell('tighten', 1, 5, 5, 0);
  await stage.seen();
  const plane = await stage.actor('dataplane', 'a', workers);
  for (let worker = 0; worker < workers; worker++) {
    const end = Date.now() + 10_000;
    while ((await plane.tell('acked', worker)) < 1n) {
      if (Date.now() > end) throw new Error(`worker ${worker} acknowledges nothing: ${plane.log}`);
      await sleep(2);
    }
  }
  await stage.seen();
  return { posture, plane, warden };
}

/** The warden beats: five times more, which it would not do by standing still. */
async function beatsOn(): Promise<Shown> {
  const { beats } = stage.show();
  return await until('its beats', () => {
    const now = stage.show();
    return now.beats >= beats + 5n ? now : undefined;
  });
}

/** Acted and told at the deadline, not before it. */
function atDeadline(v: Violation, deadline: bigint): void {
  expect(v.whole).toBe(true);
  expect(v.deadlineNs).toBe(deadline);
  expect(v.actedAtNs).toBeGreaterThanOrEqual(deadline);
  expect(v.atNs).toBeGreaterThanOrEqual(deadline);
}

describe('the data plane', () => {
  it('PO-12 a tightening that every live worker acknowledges in time leaves no trace', async () => {
    const { posture } = await settled({ budgets: WIDE });
    await posture.tell('tighten', 2, 5, 2, 0);
    await sleep(WIDE_MS + 100);
    const { failClosed, violations } = stage.show();
    expect(violations).toEqual([]);
    expect(failClosed[0].level).toBe(0);
  });

  it('PO-12 PO-13 at the deadline the fail-closed line is set and the late worker recorded', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b10);
    const decided = await posture.tell('tighten', 7, 5, 2, 0);
    const [late] = await stage.violations(KIND.BUDGET);
    const { failClosed, violations } = stage.show();
    expect(failClosed[0]).toMatchObject({ level: 2, epoch: 7n, count: 1n });
    expect(late).toMatchObject({ subject: 'a/1', epoch: 7n, path: 0, level: 2, outcome: 0 });
    atDeadline(late as Violation, decided + 20n * MS);
    // The line is set before it is told.
    expect(failClosed[0].setAtNs).toBeLessThanOrEqual((late as Violation).atNs);
    expect(failClosed[0].setAtNs).toBeGreaterThanOrEqual(decided + 20n * MS);
    expect(violations).toHaveLength(1);
  });

  it('PO-12 a data plane that obeys the fail-closed line is left alive, and the line ends when it acknowledges', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    await posture.tell('tighten', 7, 5, 2, 0);
    await stage.violations(KIND.BUDGET, 2);
    await sleep(450);
    expect(plane.status).toBeUndefined();
    expect(stage.show().failClosed[0].level).toBe(2);
    await plane.tell('mute', 0b01); // one of two is not enough
    await sleep(100);
    expect(stage.show().failClosed[0].level).toBe(2);
    await plane.tell('mute', 0);
    const [cleared] = await stage.violations(KIND.CLEARED);
    expect(cleared).toMatchObject({ subject: 'dataplane', epoch: 7n, path: 0 });
    expect(stage.show().failClosed[0]).toMatchObject({ level: 0 });
    expect(stage.show().violations.map((v) => v.kind)).toEqual([KIND.BUDGET, KIND.BUDGET, KIND.CLEARED]);
  });

  it('PO-12 DP-7 a data plane that stays silent is killed after its deadline, and its line stays', async () => {
    const { posture, plane } = await settled();
    await plane.stop();
    const decided = await posture.tell('tighten', 7, 5, 1, 0);
    expect(await plane.end()).toBe('SIGKILL');
    const [killed] = await stage.violations(KIND.DATAPLANE_KILLED);
    expect(killed).toMatchObject({ subject: 'a', epoch: 7n, path: 0, level: 1, outcome: 0 });
    expect((killed as Violation).actedAtNs).toBeGreaterThanOrEqual(decided + 320n * MS);
    await sleep(150);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 1, epoch: 7n });
    // A new process on the same board acknowledges before anything ends.
    await stage.actor('dataplane', 'a', 1);
    await stage.violations(KIND.CLEARED);
    expect(stage.show().failClosed[0].level).toBe(0);
  });

  it('PO-12 DP-7 a data plane that stays silent is killed when its first miss says so, however many decisions follow', async () => {
    const { posture, plane } = await settled({}, 1);
    await plane.stop();
    const decided = await posture.tell('tighten', 7, 5, 2, 0);
    // More misses than one path has places for, before the first one's time is over.
    for (let epoch = 8; plane.status === undefined && epoch < 1_000; epoch++) {
      await posture.tell('tighten', epoch, 2, 2, 0);
      await sleep(10);
    }
    expect(plane.status).toBe('SIGKILL');
    const [killed] = await stage.violations(KIND.DATAPLANE_KILLED);
    expect(killed).toMatchObject({ subject: 'a', epoch: 7n, level: 2, outcome: 0 });
    expect(killed?.actedAtNs).toBeGreaterThanOrEqual(decided + 320n * MS);
  });

  it('PO-12 a coordinator that is stopped right after the store changes nothing', async () => {
    const { posture, plane } = await settled();
    await plane.stop();
    const decided = await posture.tell('tighten', 7, 5, 2, 0);
    await posture.stop();
    const late = await stage.violations(KIND.BUDGET, 2);
    atDeadline(late[0] as Violation, decided + 20n * MS);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 2, epoch: 7n });
    expect(await plane.end()).toBe('SIGKILL');
  });

  it('PO-12 a coordinator that is stopped between line and word is held to the line', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    const decided = await posture.tell('line', 7, 5, 2, STAGE.TIGHTEN, 0);
    const late = await stage.violations(KIND.BUDGET, 2);
    expect(late[0]?.deadlineNs).toBe(decided + 20n * MS);
    await sleep(450);
    // Nobody could acknowledge an epoch that the word does not carry: obeying the line is answer enough.
    expect(plane.status).toBeUndefined();
    expect(stage.show().failClosed[0]).toMatchObject({ level: 2, epoch: 7n });
    await posture.tell('word', 7, 2);
    await stage.violations(KIND.CLEARED);
  });

  it('PO-12 PO-15 a deadline in the line shortens the budget and never lengthens it', async () => {
    const { posture, plane } = await settled({ budgets: { ...WIDE, dataplane: millisOf(300) } });
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    const wished = await posture.tell('tighten', 7, 5, 3, 5_000_000);
    const [shortened] = await stage.violations(KIND.BUDGET, 2);
    expect(shortened?.deadlineNs).toBe(wished + 5n * MS);
    const longer = await posture.tell('tighten', 8, 3, 2, 60_000_000_000);
    const recorded = await stage.violations(KIND.BUDGET, 4);
    expect(recorded[2]?.deadlineNs).toBe(longer + 300n * MS);
  });

  it('PO-12 PO-15 the fail-closed line persists through later tightenings, gets tighter and never looser', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    await posture.tell('tighten', 7, 5, 3, 0);
    await stage.violations(KIND.BUDGET, 2);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 3, epoch: 7n });
    await posture.tell('tighten', 8, 3, 1, 0);
    await until('the tighter line', () => stage.show().failClosed[0].level === 1);
    await stage.violations(KIND.BUDGET, 4);
    await posture.tell('tighten', 9, 2, 2, 0);
    await stage.violations(KIND.BUDGET, 6);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 1, epoch: 9n });
    await plane.tell('mute', 0);
    await stage.violations(KIND.CLEARED);
    expect(stage.show().failClosed[0].level).toBe(0);
  });

  it('PO-12 a miss on the way from 5 to 4 is an alarm only', async () => {
    const { posture, plane } = await settled({}, 1);
    await plane.tell('mute', 1);
    await posture.tell('tighten', 7, 5, 4, 0);
    const [alarm] = await stage.violations(KIND.ALARM);
    expect(alarm).toMatchObject({ subject: 'a/0', epoch: 7n, level: 0, actedAtNs: 0n });
    await sleep(450);
    expect(plane.status).toBeUndefined();
    const { failClosed, violations } = stage.show();
    expect(failClosed[0]).toMatchObject({ level: 0, count: 0n });
    expect(violations).toHaveLength(1);
  });

  it('PO-12 a level to itself has the order of a tightening', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    await posture.tell('tighten', 7, 4, 4, 0);
    await stage.violations(KIND.BUDGET, 2);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 4, epoch: 7n });
  });

  it('PO-12 a late loosening is recorded and nothing else', async () => {
    const { posture, plane } = await settled({ budgets: { ...WIDE, dataplane: millisOf(1_000) } });
    await posture.tell('tighten', 2, 5, 2, 0);
    while ((await plane.tell('acked', 1)) < 2n) await sleep(2);
    await sleep(1_100);
    await plane.tell('mute', 0b11);
    await posture.tell('line', 3, 2, 5, STAGE.DECIDED, 0);
    await posture.tell('line', 3, 2, 5, STAGE.PATHS, 0);
    await sleep(1_100);
    expect(stage.show().violations).toEqual([]);
    const released = await posture.tell('line', 3, 2, 5, STAGE.DATAPLANE, 0);
    await posture.tell('word', 3, 5);
    const late = await stage.violations(KIND.LATE_LOOSENING, 2);
    expect(late[0]).toMatchObject({ epoch: 3n, level: 0, actedAtNs: 0n, deadlineNs: released + 1_000n * MS });
    await sleep(400);
    expect(plane.status).toBeUndefined();
    expect(stage.show().failClosed[0].count).toBe(0n);
    expect(stage.show().violations).toHaveLength(2);
  });

  it('PO-12 PO-15 a word without a readable line is a decision too, from when it was seen', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    await posture.tell('torn');
    const stored = await posture.tell('word', 9, 2);
    const late = await stage.violations(KIND.BUDGET, 2);
    expect(late[0]?.epoch).toBe(9n);
    expect(late[0]?.deadlineNs).toBeGreaterThanOrEqual(stored + 20n * MS);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 2, epoch: 9n });
  });

  it('PO-15 of word and line the stricter is obeyed', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await posture.tell('line', 7, 5, 2, STAGE.TIGHTEN, 0);
    await posture.tell('word', 7, 4); // acknowledged at level 4: not what was decided
    await stage.violations(KIND.BUDGET, 2);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 2, epoch: 7n });
  });

  it('PO-15 a word that is no level is lockdown', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    await posture.tell('torn');
    await posture.tell('word', 9, 6);
    await stage.violations(KIND.BUDGET, 2);
    expect(stage.show().failClosed[0].level).toBe(1);
  });

  it('PO-12 a word that goes back or loosens in place is held by the fail-closed line at once', async () => {
    const { posture, plane } = await settled({ budgets: WIDE });
    await posture.tell('tighten', 7, 5, 2, 0);
    while ((await plane.tell('acked', 1)) < 7n) await sleep(2);
    await posture.tell('word', 7, 5);
    await until('the line', () => stage.show().failClosed[0].level === 2);
    await sleep(150);
    expect(stage.show().failClosed[0]).toMatchObject({ level: 2, epoch: 7n });
    expect((await stage.violations(KIND.ALARM))[0]).toMatchObject({
      subject: 'posture',
      epoch: 7n,
      level: 2,
    });
    await posture.tell('word', 3, 5);
    await sleep(150);
    expect(stage.show().failClosed[0].level).toBe(2);
    await posture.tell('tighten', 8, 2, 2, 0);
    await until('the end of the line', () => stage.show().failClosed[0].level === 0);
  });

  it('PO-14 a worker that finished after its deadline is recorded by its own stamp, though nothing is left to enforce', async () => {
    const { posture, plane, warden } = await settled({}, 1);
    await plane.tell('delay', 30);
    await warden.stop(); // it looks when all is over
    const decided = await posture.tell('tighten', 7, 5, 2, 0);
    while ((await plane.tell('acked', 0)) < 7n) await sleep(2);
    warden.kill('SIGCONT');
    const [late] = await stage.violations(KIND.BUDGET);
    expect(late).toMatchObject({ subject: 'a/0', epoch: 7n, level: 0, actedAtNs: 0n });
    expect(late?.deadlineNs).toBe(decided + 20n * MS);
    expect(stage.show().failClosed[0].count).toBe(0n);
  });

  it('PO-12 a dead, absent or starting data plane passes nothing and owes nothing', async () => {
    const { posture, plane } = await settled({ budgets: WIDE, dataplanes: ['dataplane-a', 'dataplane-b'] });
    const starting = await stage.actor('dataplane', 'b', 0);
    await stage.seen();
    await posture.tell('tighten', 7, 5, 2, 0);
    await sleep(WIDE_MS + 100);
    expect(starting.status).toBeUndefined();
    expect(stage.show().violations).toEqual([]);
    plane.kill('SIGKILL');
    await plane.end();
    await posture.tell('tighten', 8, 2, 1, 0);
    await sleep(WIDE_MS + 100);
    expect(stage.show().violations).toEqual([]);
  });

  it('PO-12 DP-2 a worker that was live owes until its process has ended, whatever the segment says', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    await plane.tell('live', 0, 0);
    await plane.tell('live', 1, 0);
    await plane.tell('workers', 1);
    await posture.tell('tighten', 7, 5, 2, 0);
    const late = await stage.violations(KIND.BUDGET, 2);
    expect(late.map((v) => v.subject)).toEqual(['a/0', 'a/1']);
    expect(stage.show().failClosed[0].level).toBe(2);
  });

  for (const child of ['alive', 'dead'])
    it(`PO-12 a data plane that names a child of its own that is ${child} as its process is killed itself`, async () => {
      const output = join(stage.board, 'pids');
      const pids = (): number[] => readFileSync(output, 'utf8').trim().split('\n').map(Number);
      await stage.warden({
        services: [
          { name: 'liar', exec: [ACTOR, 'liar', stage.board, 'a', child], segment: 'dataplane-a', output },
        ],
      });
      const posture = await stage.actor('posture');
      await sleep(1000);
      expect(pids()).toHaveLength(1);
      await posture.tell('tighten', 7, 5, 2, 0);
      expect((await stage.violations(KIND.BUDGET))[0]).toMatchObject({ subject: 'a/0', level: 2 });
      expect((await stage.violations(KIND.DATAPLANE_KILLED))[0]).toMatchObject({ subject: 'a', outcome: 0 });
      await until('its next life', () => pids().length >= 2);
      expect(existsSync(`/proc/${pids()[0] ?? 0}`)).toBe(false);
    });

  it('PO-12 of two data planes each is held on its own', async () => {
    const { posture, plane } = await settled({ budgets: WIDE, dataplanes: ['dataplane-a', 'dataplane-b'] });
    const other = await stage.actor('dataplane', 'b', 1);
    await stage.seen();
    await other.stop();
    await posture.tell('tighten', 7, 5, 2, 0);
    expect(await other.end()).toBe('SIGKILL');
    expect(plane.status).toBeUndefined();
    expect((await stage.violations(KIND.DATAPLANE_KILLED)).map((v) => v.subject)).toEqual(['b']);
  });

  it('PO-12 a storm of bells neither starves the machine nor a deadline', async () => {
    const { posture, plane } = await settled();
    await plane.tell('obey', 1);
    await plane.tell('mute', 0b11);
    const storm = plane.tell('storm', 600);
    const decided = await posture.tell('tighten', 7, 5, 2, 0);
    const [late] = await stage.violations(KIND.BUDGET, 2);
    atDeadline(late as Violation, decided + 20n * MS);
    await storm;
    await beatsOn();
  });
});

describe('overlay and underlay', () => {
  async function withOverlay(
    script: string,
  ): Promise<{ posture: Actor; overlay: Actor; warden: Line; mark: string }> {
    const mark = join(stage.board, 'mark');
    const warden = await stage.warden({
      dataplanes: [],
      participants: { overlay: ['participant-o'] },
      failClosed: { overlay: ['/bin/sh', '-c', script.replace('MARK', mark)] },
    });
    const posture = await stage.actor('posture');
    const overlay = await stage.actor('participant', 'o', 1);
    await stage.seen();
    await posture.tell('tighten', 1, 5, 5, 0);
    await overlay.tell('ack', 1, 5, OUTCOME.UNCHANGED);
    await sleep(150);
    return { posture, overlay, warden, mark };
  }

  it('PO-12 PO-13 at the deadline the fixed command runs, and its outcome is recorded', async () => {
    const { posture, overlay } = await withOverlay(
      'test "$KEDGE_PATH $KEDGE_LEVEL $KEDGE_EPOCH" = "overlay 2 7" && exit 42',
    );
    const decided = await posture.tell('tighten', 7, 5, 2, 0);
    const [late, done] = await stage.violations(KIND.BUDGET, 2);
    atDeadline(late as Violation, decided + 100n * MS);
    expect(late).toMatchObject({ subject: 'o', path: 1, epoch: 7n, level: 2, outcome: IN_PROGRESS });
    expect(done).toMatchObject({ subject: 'o', path: 1, epoch: 7n, level: 2, outcome: 42 });
    expect((done as Violation).actedAtNs).toBeGreaterThanOrEqual((late as Violation).actedAtNs);
    expect(stage.show().failClosed[1]).toMatchObject({ level: 2, epoch: 7n });
    // FAILED is no acknowledgement; APPLIED at the current epoch ends the line.
    await overlay.tell('ack', 7, 2, OUTCOME.FAILED);
    await sleep(100);
    expect(stage.show().failClosed[1].level).toBe(2);
    await overlay.tell('ack', 7, 2, OUTCOME.APPLIED);
    expect((await stage.violations(KIND.CLEARED))[0]).toMatchObject({ subject: 'overlay', path: 1 });
    expect(stage.show().failClosed[1].level).toBe(0);
  });

  it('PO-12 a command that hangs holds up neither the data plane nor the watch', async () => {
    const { posture } = await withOverlay('echo begun > MARK; sleep 30');
    await posture.tell('tighten', 7, 5, 2, 0);
    await until('the fail-closed line', () => stage.show().failClosed[1].level === 2);
    await beatsOn();
  });

  it('PO-12 a command whose output nobody reads runs to its end', async () => {
    const { posture, warden } = await withOverlay('head -c 1000000 /dev/zero | tr "\\0" x >&2; exit 42');
    warden.child.stderr.pause();
    await posture.tell('tighten', 7, 5, 2, 0);
    const [, done] = await stage.violations(KIND.BUDGET, 2);
    expect(done).toMatchObject({ outcome: 42 });
    warden.child.stderr.resume();
    await until('what it said', () => /command of the overlay failed with 42, and said: x+/.test(warden.log));
  });

  it('PO-12 a command that hangs gives way to the order of a tighter level', async () => {
    const { posture, mark } = await withOverlay(
      'echo $KEDGE_LEVEL >> MARK; test $KEDGE_LEVEL = 1 || sleep 30',
    );
    const ran = (): string => (existsSync(mark) ? readFileSync(mark, 'utf8') : '');
    await posture.tell('tighten', 7, 5, 2, 0);
    await until('the first command', () => ran() === '2\n');
    await posture.tell('tighten', 8, 2, 1, 0);
    await until('the second command', () => ran() === '2\n1\n', 5_000);
    const outcomes = (await stage.violations(KIND.BUDGET, 4)).map((v) => v.outcome);
    expect(outcomes.filter((outcome) => outcome !== IN_PROGRESS)).toEqual([TIMED_OUT, 0]);
  });

  it('PO-12 PO-19 a participant that is away counts as not applied', async () => {
    const { posture, overlay } = await withOverlay('exit 0');
    overlay.kill('SIGKILL');
    await overlay.end();
    await posture.tell('tighten', 7, 5, 2, 0);
    const [, done] = await stage.violations(KIND.BUDGET, 2);
    expect(done).toMatchObject({ outcome: 0, level: 2 });
  });

  it('PO-12 a late loosening of a path runs from its own stage and is only recorded', async () => {
    const { posture } = await withOverlay('touch MARK');
    await posture.tell('line', 2, 3, 5, STAGE.DECIDED, 0);
    await sleep(200);
    expect(stage.show().violations).toEqual([]);
    const released = await posture.tell('line', 2, 3, 5, STAGE.PATHS, 0);
    const [late] = await stage.violations(KIND.LATE_LOOSENING);
    expect(late).toMatchObject({ subject: 'o', path: 1, deadlineNs: released + 100n * MS, level: 0 });
    await posture.tell('line', 2, 3, 5, STAGE.DATAPLANE, 0);
    await sleep(200);
    expect(stage.show().violations).toHaveLength(1);
    expect(stage.show().failClosed[1].count).toBe(0n);
  });

  it('PO-13 the miss of one path blocks no other', async () => {
    await stage.warden({
      participants: { overlay: ['participant-o'] },
      failClosed: { overlay: ['/bin/sleep', '30'] },
    });
    const posture = await stage.actor('posture');
    const plane = await stage.actor('dataplane', 'a', 1);
    await stage.seen();
    await plane.tell('obey', 1);
    await plane.tell('mute', 1);
    await posture.tell('tighten', 7, 5, 2, 0);
    await until('the overlay line', () => stage.show().failClosed[1].level === 2);
    const later = await posture.tell('tighten', 8, 2, 1, 0);
    const recorded = await until('the second miss', () =>
      stage.show().violations.find((v) => v.epoch === 8n && v.path === 0),
    );
    atDeadline(recorded, later + 20n * MS);
  });
});

describe('the warden’s own segment', () => {
  it('PO-12 publishes the budgets in force and beats', async () => {
    await stage.warden();
    const began = process.hrtime.bigint();
    const first = stage.show();
    expect(first.budgetNs).toEqual([20n * MS, 100n * MS, 200n * MS]);
    expect(first).toMatchObject({ silenceKillNs: 300n * MS, staleNs: 1000n * MS, serving: 1 });
    await sleep(400);
    const second = await beatsOn();
    // It does not spin: by itself it looks every 50 ms.
    expect((second.beats - first.beats) * 10n * MS).toBeLessThan(process.hrtime.bigint() - began);
  });

  it('PO-12 a fail-closed line outlives the warden', async () => {
    const warden = await stage.warden();
    const posture = await stage.actor('posture');
    const plane = await stage.actor('dataplane', 'a', 1);
    await stage.seen();
    await plane.tell('obey', 1);
    await plane.tell('mute', 1);
    await posture.tell('tighten', 7, 5, 2, 0);
    await stage.violations(KIND.BUDGET);
    warden.kill('SIGKILL');
    await warden.end();
    await stage.warden();
    await stage.seen();
    expect(stage.show().failClosed[0].level).toBe(2);
    await plane.tell('mute', 0);
    await until('the end of the line', () => stage.show().failClosed[0].level === 0);
  });

  it('PO-12 what was decided before the warden saw the board has its whole budget from then', async () => {
    const first = await stage.warden({ budgets: WIDE });
    const posture = await stage.actor('posture');
    const plane = await stage.actor('dataplane', 'a', 1);
    await plane.tell('obey', 1);
    await plane.tell('mute', 1);
    first.kill('SIGKILL');
    await first.end();
    const decided = await posture.tell('tighten', 7, 5, 2, 0);
    await sleep(1000);
    await stage.warden({ budgets: WIDE });
    const [late] = await stage.violations(KIND.BUDGET);
    expect(late?.deadlineNs).toBeGreaterThanOrEqual(decided + BigInt(1_000 + WIDE_MS) * MS);
  });

  it('PO-16 a second warden on the same board is refused', async () => {
    await stage.warden();
    const second = stage.run(join(import.meta.dirname, '../build/kedge-warden'), [
      '--config',
      join(stage.board, 'warden.conf'),
    ]);
    expect(await second.end()).toBe(3);
    expect(second.log).toContain('another live writer holds the segment');
  });
});

describe('hostile segments', () => {
  it('PO-16 what is no segment is taken for absent, said once, and opened when it is good', async () => {
    const warden = await stage.warden({}, true);
    const place = join(stage.board, 'dataplane-a');
    for (const put of [
      () => writeFileSync(place, 'short', { mode: 0o644 }),
      () => writeFileSync(place, Buffer.alloc(256), { mode: 0o666 }),
      () => symlinkSync('/etc/passwd', place),
      () => {
        closeSync(openSync(place, 'w'));
        chmodSync(place, 0o644);
        truncateSync(place, 1 << 22);
      },
    ]) {
      put();
      await sleep(250);
      unlinkSync(place);
    }
    const said = warden.log.split('\n').filter((line) => line.includes('dataplane-a is taken for absent'));
    expect(said.length).toBeGreaterThanOrEqual(2);
    expect(said.length).toBeLessThanOrEqual(8);
    const posture = await stage.actor('posture');
    const plane = await stage.actor('dataplane', 'a', 1);
    await stage.seen();
    await plane.stop();
    await posture.tell('tighten', 7, 5, 2, 0);
    expect(await plane.end()).toBe('SIGKILL');
    expect(warden.status).toBeUndefined();
  });

  it('PO-16 a segment that is cut under the mapping does not end the warden, and its process still owes', async () => {
    const warden = await stage.warden({}, true);
    const posture = await stage.actor('posture');
    const plane = await stage.actor('dataplane', 'a', 1);
    await stage.seen();
    await posture.tell('tighten', 1, 5, 5, 0);
    await sleep(100);
    await plane.stop();
    await sleep(100); // stopped, or it would fault itself
    truncateSync(join(stage.board, 'dataplane-a'), 0);
    await sleep(200);
    await posture.tell('tighten', 7, 5, 2, 0);
    expect(await plane.end()).toBe('SIGKILL');
    expect(stage.show().failClosed[0].level).toBe(2);
    await posture.stop();
    await sleep(100);
    truncateSync(join(stage.board, 'posture'), 100);
    await sleep(300);
    expect(warden.status).toBeUndefined();
    await beatsOn();
  });

  it('PO-16 numbers out of range and torn acknowledgements are no acknowledgement', async () => {
    const warden = await stage.warden({}, true);
    const posture = await stage.actor('posture');
    const plane = await stage.actor('dataplane', 'a', 1);
    await stage.seen();
    await plane.tell('workers', 4_000_000_000);
    await plane.tell('mute', 1);
    await plane.tell('epoch', 0, (1n << 60n).toString());
    await posture.tell('tighten', 7, 5, 2, 0);
    expect((await stage.violations(KIND.BUDGET))[0]).toMatchObject({ subject: 'a/0', epoch: 7n });
    expect(await plane.end()).toBe('SIGKILL');
    expect(warden.status).toBeUndefined();
  });

  it('PO-16 a segment of another user than the configured one is taken for absent', async () => {
    await stage.warden({ owners: { posture: 0, 'dataplane-a': 64703 } });
    const posture = await stage.actor('posture');
    const plane = await stage.actor('dataplane', 'a', 1); // runs as root
    await stage.seen();
    await plane.stop();
    await posture.tell('tighten', 7, 5, 2, 0);
    await sleep(600);
    expect(plane.status).toBeUndefined();
    expect(stage.show().violations).toEqual([]);
  });

  it('PO-16 a data plane cannot have another user’s process killed in its place', async () => {
    chownSync(stage.board, 0, 64700);
    chmodSync(stage.board, 0o1775);
    const warden = await stage.warden({ owners: { posture: 0, 'dataplane-a': 64703 } }, true);
    const posture = await stage.actor('posture');
    const plane = await stage.actorAs(64703, 'dataplane', 'a', 1);
    const victim = await stage.actor('participant', 'o', 1);
    await stage.seen();
    const startOf = (pid: number): string => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')')).split(' ')[20] ?? '0';
    };
    await plane.tell('pose', victim.pid, startOf(victim.pid));
    await stage.seen();
    await plane.tell('mute', 1);
    await posture.tell('tighten', 7, 5, 2, 0);
    const [killed] = await stage.violations(KIND.DATAPLANE_KILLED);
    expect(killed).toMatchObject({ subject: 'a', outcome: NO_SUCH_PROCESS });
    // Tried again without a word for each time.
    await sleep(500);
    expect(stage.show().violations.filter((v) => v.kind === KIND.DATAPLANE_KILLED)).toHaveLength(1);
    expect(warden.log).toContain('it cannot be killed through it');
    expect(await victim.tell('beat', 1)).toBeGreaterThan(0n);
    expect(plane.status).toBeUndefined();
    expect(stage.show().failClosed[0].level).toBe(2);
    // As soon as it is known by what process it runs, the kill that is due is done.
    await plane.tell('pose', plane.pid, startOf(plane.pid));
    expect(await plane.end()).toBe('SIGKILL');
    const [, done] = await stage.violations(KIND.DATAPLANE_KILLED, 2);
    expect(done).toMatchObject({ subject: 'a', epoch: 7n, outcome: 0 });
  });
});
