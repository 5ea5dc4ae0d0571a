/**
 * One lab, spoken to through the command as people do: posture, authority, plan, drill.
 * Must not measure; budgets are the warden's business, figures the benches'.
 */
import {
  CLASS_NAMES,
  connectLab,
  type DrillReport,
  EXPECTED,
  expectedRoutes,
  type Lab,
  labDown,
  labUp,
  ROUTE_MODES,
} from '@kedge/lab';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { kedge, kedgeBegun, kedgeError, kedgeJson } from './run-command.js';

const NAME = 'scenario';
const LAB = ['--lab', NAME];

interface StateJson {
  readonly epoch: string;
  readonly level: number;
  readonly target: number;
  readonly alarms: readonly string[];
  readonly services: readonly { readonly name: string; readonly serving: boolean }[];
}
interface DecisionJson {
  readonly outcome: 'decision';
  readonly decision: {
    readonly epoch: string;
    readonly from: number;
    readonly to: number;
    readonly durable: boolean;
  };
}
interface ReportJson {
  readonly epoch: string;
  readonly from: number;
  readonly to: number;
  readonly outcome: string;
  readonly durable: boolean;
  readonly source: {
    readonly channel: string;
    readonly tier: string;
    readonly principal: string;
    readonly reason: string;
  };
  readonly paths: readonly {
    readonly path: string;
    readonly outcome: string;
    readonly participants: readonly { readonly name: string }[];
  }[];
}

let lab: Lab;

const state = (): Promise<StateJson> => kedgeJson<StateJson>(['posture', 'get', ...LAB]);
const set = (level: number, ...more: readonly string[]): Promise<DecisionJson> =>
  kedgeJson<DecisionJson>(['posture', 'set', String(level), '--reason', 'a test', ...more, ...LAB]);

beforeAll(async () => {
  await labDown(NAME);
  lab = await labUp({ name: NAME, foreground: true });
}, 120_000);

afterEach(async () => {
  const { level } = await state();
  if (level !== 5)
    await kedgeJson([
      'posture',
      'set',
      '5',
      '--reason',
      'end of a test',
      '--as',
      'console',
      '--wait',
      ...LAB,
    ]);
});

afterAll(async () => {
  await lab.down();
});

describe('the command on a lab', () => {
  it('PO-1 PO-19 shows level, epoch and every service at work', async () => {
    const seen = await state();
    expect(seen).toMatchObject({ level: 5, target: 5, alarms: [] });
    expect(seen.services.map(({ name }) => name).sort()).toEqual([
      'dataplane-reference',
      'participant-intent',
      'participant-overlay',
      'participant-quartermaster',
      'participant-underlay',
      'posture-coordinator',
      'vpp-bridge',
      'warden',
    ]);
    expect(seen.services.every(({ serving }) => serving)).toBe(true);
    const { out } = await kedge(['posture', 'get', ...LAB]);
    expect(out).toMatch(/^level 5 normal, epoch \d+\n/);
  });

  it('PO-8 a change is answered when it is durable, and its report names source, paths and participants', async () => {
    const before = await state();
    const { decision } = await set(4, '--principal', 'user:ada');
    expect(decision).toMatchObject({ from: 5, to: 4, durable: true });
    expect(BigInt(decision.epoch)).toBeGreaterThan(BigInt(before.epoch));
    await kedgeJson(['posture', 'set', '5', '--reason', 'and back', '--wait', ...LAB]);
    const report = await kedgeJson<ReportJson>(['transition', 'show', decision.epoch, ...LAB]);
    expect(report).toMatchObject({
      epoch: decision.epoch,
      from: 5,
      to: 4,
      outcome: 'completed',
      durable: true,
      source: { channel: 'local', tier: 'site_owner', principal: 'user:ada', reason: 'a test' },
    });
    expect(report.paths.find(({ path }) => path === 'dataplane')).toMatchObject({
      outcome: 'applied',
      participants: [{ name: 'reference/0' }],
    });
    const { out } = await kedge(['transition', 'show', decision.epoch, ...LAB]);
    for (const mark of [
      'received',
      'decided',
      'stored',
      'seen by reference/0',
      'acknowledged by reference/0',
      'journaled',
      'verified',
    ]) {
      expect(out).toContain(mark);
    }
    const history = await kedgeJson<{ transitions: ReportJson[] }>([
      'posture',
      'history',
      '--limit',
      '2',
      ...LAB,
    ]);
    expect(history.transitions.map(({ from, to }) => [from, to])).toEqual([
      [4, 5],
      [5, 4],
    ]);
  });

  it('PO-3 PO-4 what a request may do follows from its socket directory, whatever it says of itself', async () => {
    await set(3);
    for (const [way, level, rule] of [
      ['local/apprentice', 5, 'apprentice'],
      ['local/apprentice', 2, 'apprentice'],
      ['local/journeyman', 5, ''],
    ] as const) {
      const error = await kedgeError([
        'posture',
        'set',
        String(level),
        '--reason',
        'x',
        '--principal',
        'site_owner',
        '--as',
        way,
        ...LAB,
      ]);
      expect(error, way).toMatchObject({ code: 'POSTURE_NOT_AUTHORISED', status: 3 });
      expect(error.message).toContain(rule);
    }
    expect((await state()).level).toBe(3);
    await set(1);
    expect(await kedgeError(['posture', 'set', '2', '--reason', 'x', ...LAB])).toMatchObject({
      code: 'POSTURE_NOT_AUTHORISED',
      status: 3,
    });
    expect((await state()).level).toBe(1);
    expect((await set(2, '--as', 'console')).decision).toMatchObject({ from: 1, to: 2 });
  });

  it('PO-5 a refused request changes nothing: stale, replayed with other content, malformed', async () => {
    const before = await state();
    expect(
      await kedgeError([
        'posture',
        'set',
        '4',
        '--reason',
        'x',
        '--if-epoch',
        String(BigInt(before.epoch) + 7n),
        ...LAB,
      ]),
    ).toMatchObject({ code: 'POSTURE_STALE', status: 3 });
    expect(
      await kedgeError(['posture', 'set', '4', '--reason', 'x', '--idempotency-key', 'short', ...LAB]),
    ).toMatchObject({ field: expect.stringMatching(/idempotency/i) as string });
    expect(
      await kedgeError(['posture', 'set', '4', '--reason', 'x', '--principal', 'p'.repeat(129), ...LAB]),
    ).toMatchObject({ field: expect.stringMatching(/principal/i) as string });
    expect(await state()).toMatchObject({ epoch: before.epoch, level: 5 });
    const key = ['--idempotency-key', 'the-same-key-twice'];
    const first = await set(4, ...key);
    expect((await set(4, ...key)).decision.epoch).toBe(first.decision.epoch);
    const replayed = await kedgeError(['posture', 'set', '2', '--reason', 'a test', ...key, ...LAB]);
    expect(replayed.status).not.toBe(0);
    expect(await state()).toMatchObject({ epoch: first.decision.epoch, level: 4 });
  });

  it('PO-23 a plan tells what would be cut by the traffic that flows, and changes nothing', async () => {
    const before = await state();
    const plan = await kedgeJson<{
      from: number;
      to: number;
      rows: { fromZone: string; toZone: string; effect: string; verdictThen: string }[];
    }>(['posture', 'plan', '2', ...LAB]);
    expect(plan).toMatchObject({ from: 5, to: 2 });
    const effects = new Map(
      plan.rows.map(({ fromZone, toZone, effect }) => [`${fromZone} → ${toZone}`, effect]),
    );
    expect(effects.get('branch → uplink')).toBe('cut');
    expect(effects.get('guest → servers')).toBe('cut');
    expect(effects.get('branch → servers')).toBe('unchanged');
    expect(effects.get('management → servers')).toBe('unchanged');
    const three = await kedgeJson<{ rows: { fromZone: string; effect: string }[] }>([
      'posture',
      'plan',
      '3',
      ...LAB,
    ]);
    expect(three.rows.find(({ fromZone }) => fromZone === 'guest')?.effect).toBe('deprioritised');
    expect(await state()).toMatchObject({ epoch: before.epoch, level: 5 });
  });

  it('PO-15 a watch shows the present state at once and then what changes', async () => {
    const { spoke, ended } = kedgeBegun(['posture', 'watch', '--json', '--count', '2', ...LAB]);
    await spoke;
    await set(4);
    const { status, out } = await ended;
    expect(status).toBe(0);
    const levels = out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as StateJson).level);
    expect(levels[0]).toBe(5);
    expect(levels).toHaveLength(2);
  });

  it('governance shows a valid table of every level and a worker on the posture in force', async () => {
    const shown = await kedgeJson<{
      generation: string;
      levels: { level: number; valid: boolean }[];
      dataplanes: { name: string; alive: boolean; workers: { level: number; epoch: string }[] }[];
    }>(['governance', 'show', ...LAB]);
    expect(Number(shown.generation)).toBeGreaterThan(0);
    expect(shown.levels.map(({ level, valid }) => [level, valid])).toEqual(
      [5, 4, 3, 2, 1].map((level) => [level, true]),
    );
    const { epoch } = await state();
    expect(shown.dataplanes).toMatchObject([
      { name: 'reference', alive: true, workers: [{ level: 5, epoch }] },
    ]);
  });

  it('a second lab of the same name is refused, one of another name runs beside it', async () => {
    expect(await kedgeError(['lab', 'up', '--name', NAME])).toMatchObject({ code: 'LAB_RUNNING', status: 4 });
    const other = await labUp({ name: 'beside', foreground: true });
    try {
      await kedgeJson(['posture', 'set', '2', '--reason', 'only there', '--lab', 'beside']);
      expect((await kedgeJson<StateJson>(['posture', 'get', '--lab', 'beside'])).level).toBe(2);
      expect((await state()).level).toBe(5);
    } finally {
      await other.down();
    }
  });

  it('PO-1 PO-8 PO-9 PO-12 PO-21 OV-13 OV-14 OV-15 UN-14 DP-3 DP-6 DP-11 the drill passes: every level down and up, then 5→1→5, judged at the receivers', async () => {
    const report = await kedgeJson<DrillReport>(['drill', '--dwell', '250', ...LAB], 60_000);
    expect(report.violations).toEqual([]);
    expect(report).toMatchObject({ ok: true, dataplane: 'reference' });
    const { before, after, identical } = report.routes;
    expect({ after, identical }).toEqual({ after: before, identical: true });
    for (const mode of ROUTE_MODES) expect(before[mode]).toMatch(/^[0-9a-f]{64}$/);
    // Two steps to each level, and at each of them eight who ask the gate: all of it is in the ledger.
    expect(report.ledger).toEqual({
      levels: [1, 2, 3, 4, 5].map((level) => ({ level, seen: 18, held: 18, ok: true })),
      ok: true,
    });
    expect(report.steps.map(({ from, to }) => `${from}→${to}`)).toEqual([
      '5→4',
      '4→3',
      '3→2',
      '2→1',
      '1→2',
      '2→3',
      '3→4',
      '4→5',
      '5→1',
      '1→5',
    ]);
    let compared = 0;
    const BUDGETS = { dataplane: 1, overlay: 5_000, underlay: 10_000 };
    for (const { to, traffic, paths, routes, gate } of report.steps) {
      for (const [path, budgetMs] of Object.entries(BUDGETS)) {
        expect(paths[path]).toMatchObject({ ok: true, budgetMs });
        expect(paths[path]?.participants).toHaveLength(1);
      }
      expect(gate.ok).toBe(true);
      for (const mode of ROUTE_MODES) {
        expect(routes[mode]).toMatchObject({ ok: true, there: expectedRoutes(mode, to).length });
        expect(routes[mode].asked).toBeGreaterThan(32);
      }
      for (const name of CLASS_NAMES) {
        const { sent, received, allowed, deprioritised } = traffic[name];
        expect(allowed).toBe(EXPECTED[name][to]);
        expect(sent).toBeGreaterThan(0);
        if (allowed === 'drop') expect(received).toBe(0);
        else expect(received).toBeGreaterThan(sent * 0.9);
        expect(deprioritised).toBe(allowed === 'deprioritise' ? received : 0);
        compared += 1;
      }
    }
    expect(compared).toBe(40);
    const [, last] = report.steps.slice(-2);
    expect(last?.routes.overlay.restored).toHaveLength(256);
    expect(last?.routes.underlay.restored).toHaveLength(112);
    const shown = connectLab(NAME);
    shown.close();
    expect((await state()).level).toBe(5);
  }, 90_000);
});
