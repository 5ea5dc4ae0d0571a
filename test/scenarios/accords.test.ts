/**
 * A change of accords in a whole lab: the command orders it, bridge, overlay and underlay follow, and it survives
 * every one of them.
 * Must not look into the services; it asks them, the board's reports and the kernel.
 */
import { kernelRoutes, type Lab, labDown, type LabService, labUp, PATIENT_BUDGETS } from '@kedge/lab';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { kedge, kedgeError, kedgeJson } from './run-command.js';

const NAME = 'accorded';
const LAB = ['--lab', NAME];
const CALL = { deadlineMs: 5_000 };
const OFFERED = '/run/kedge/etc/accords.json';

interface SetJson {
  readonly decision: { readonly epoch: string; readonly from: number; readonly to: number };
}
interface LevelJson {
  readonly number: number;
  underlay: { gate: Record<string, unknown>; drift: { interval: number; remedy?: unknown[] } };
  overlay: { routes: Record<string, Record<string, unknown>> };
}

let lab: Lab;
let original: string;
beforeAll(async () => {
  lab = await labUp({ name: NAME, budgets: PATIENT_BUDGETS, foreground: false, out: () => undefined });
  original = readFileSync(lab.reach(OFFERED), 'utf8');
}, 120_000);
afterAll(async () => {
  lab.close();
  await labDown(NAME);
});

async function until(what: string, holds: () => Promise<boolean>, ms = 20_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds().catch(() => false))) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The service's process; 0 while it has none. */
const pidOf = (service: LabService): number => lab.serviceProcesses(service)[0]?.pid ?? 0;

/** Sends a signal to the service, if it runs. */
function signal(service: LabService, name: NodeJS.Signals): void {
  const pid = pidOf(service);
  if (pid === 0) return;
  try {
    process.kill(pid, name);
  } catch {
    // It has just ended.
  }
}

/** Offers the defaults, with every level changed. */
function offer(change: (level: LevelJson) => void): void {
  const document = JSON.parse(original) as { 'kedge-accords:accords': { level: LevelJson[] } };
  for (const level of document['kedge-accords:accords'].level) change(level);
  writeFileSync(lab.reach(OFFERED), JSON.stringify(document));
}

/** No mutation of the underlay, so no remedy for drift either, and no route of the overlay, at any level. */
const frozen = (level: LevelJson): void => {
  level.underlay.gate = { mode: 'frozen' };
  delete level.underlay.drift.remedy;
  level.overlay.routes['overlay-mode'] = {};
};

/** How many routes of the overlay stand in its kernel. */
const routes = async (): Promise<number> => (await kernelRoutes(lab, 'overlay')).own.length;

async function reload(...more: readonly string[]): Promise<bigint> {
  const { decision } = await kedgeJson<SetJson>(['accords', 'reload', '--reason', 'a test', ...LAB, ...more]);
  expect([decision.from, decision.to]).toEqual([5, 5]);
  return BigInt(decision.epoch);
}

/** How the transition ended, and the participants that applied it. */
async function ended(epoch: bigint): Promise<string> {
  let outcome = 'running';
  await until(`the end of epoch ${epoch}`, async () => {
    ({ outcome } = await kedgeJson<{ outcome: string }>(['transition', 'show', String(epoch), ...LAB]));
    return outcome !== 'running';
  });
  return outcome;
}

const gate = async (): Promise<string> => (await lab.underlay().status({}, CALL)).gate;

const inForce = async (): Promise<string> =>
  (await kedgeJson<{ accordsHash: string }>(['governance', 'show', ...LAB])).accordsHash;

describe('other accords in a lab', { timeout: 120_000 }, () => {
  it('PO-2 come into force by a transition that everybody follows, and go back by a looser one with authority', async () => {
    const before = await inForce();
    expect(await gate()).toBe('open');
    const many = await routes();
    expect(many).toBeGreaterThan(0);
    offer(frozen);
    const tightened = await reload('--as', 'journeyman');
    expect(await ended(tightened)).toBe('completed');
    expect([await gate(), await routes()]).toEqual(['frozen', 0]);
    const tight = await inForce();
    expect(tight).not.toEqual(before);

    offer(() => undefined);
    const refused = await kedgeError([
      'accords',
      'reload',
      '--reason',
      'a test',
      ...LAB,
      '--as',
      'journeyman',
    ]);
    expect(refused).toMatchObject({ code: 'POSTURE_NOT_AUTHORISED', status: 3 });
    expect([await gate(), await inForce(), await routes()]).toEqual(['frozen', tight, 0]);

    const loosened = await reload('--as', 'console');
    expect(loosened).toBe(tightened + 1n);
    expect(await ended(loosened)).toBe('completed');
    expect([await gate(), await inForce(), await routes()]).toEqual(['open', before, many]);
  });

  it('PO-2 that are tighter are refused while the bridge is stopped, and nothing changed', async () => {
    const before = [await gate(), await inForce(), await routes()];
    const { epoch } = await lab.posture('local/site_owner').get({}, CALL);
    // The lab starts a bridge anew that does not beat: each one is stopped before it compiles anything.
    const stop = (): void => {
      signal('vpp-bridge', 'SIGSTOP');
    };
    stop();
    const stopping = setInterval(stop, 20);
    try {
      offer(frozen);
      const refused = await kedgeError(['accords', 'reload', '--reason', 'a test', ...LAB]);
      expect(refused).toMatchObject({ code: 'ACCORD_NOT_PUBLISHED', status: 3 });
      expect([await gate(), await routes()]).toEqual([before[0], before[2]]);
    } finally {
      clearInterval(stopping);
      signal('vpp-bridge', 'SIGCONT');
    }
    await until('the tables from before', async () => (await inForce()) === before[1]);
    expect([await gate(), await inForce(), await routes()]).toEqual(before);
    expect((await lab.posture('local/site_owner').get({}, CALL)).epoch).toBe(epoch);
    expect(await ended(await reload())).toBe('completed');
    offer(() => undefined);
    expect(await ended(await reload('--as', 'console'))).toBe('completed');
  });

  it('PO-2 that are broken stay out, also over kill -9 of every service', async () => {
    offer(frozen);
    expect(await ended(await reload())).toBe('completed');
    const tight = await inForce();
    writeFileSync(lab.reach(OFFERED), '{}');
    const refused = await kedgeError(['accords', 'reload', '--reason', 'a test', ...LAB]);
    expect(refused).toMatchObject({ code: 'ACCORD_INVALID', field: '/kedge-accords:accords', status: 3 });
    for (const name of ['posture-coordinator', 'vpp-bridge', 'overlay', 'underlay'] as const) {
      const pid = pidOf(name);
      process.kill(pid, 'SIGKILL');
      await until(`${name} again`, () => Promise.resolve(![0, pid].includes(pidOf(name))));
    }
    await until('everybody serves', async () => {
      const { services } = await lab.posture('local/site_owner').get({}, CALL);
      return services.every(({ serving, stale }) => serving && !stale);
    });
    expect([await gate(), await inForce(), await routes()]).toEqual(['frozen', tight, 0]);
    expect((await kedge(['posture', 'get', ...LAB])).out).not.toContain('accords');
  });
});
