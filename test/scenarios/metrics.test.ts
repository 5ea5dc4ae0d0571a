/**
 * Metrics of every service of a lab, as the command reads them: strictly, by the format of Prometheus.
 * Must not know how they are served; libs/runtime has tests of that.
 */
import { labDown, labUp, PATIENT_BUDGETS } from '@kedge/lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { kedge, kedgeError, kedgeJson } from './run-command.js';

const NAME = 'counted';
const LAB = ['--lab', NAME];
const SERVICES = ['intent', 'overlay', 'posture-coordinator', 'quartermaster', 'underlay', 'vpp-bridge'];

type Told = Record<
  string,
  readonly {
    readonly name: string;
    readonly type: string;
    readonly samples: readonly { name: string; labels: Record<string, string>; value: number }[];
  }[]
>;

const told = () => kedgeJson<Told>(['metrics', ...LAB]);
const valueOf = (all: Told, service: string, name: string, labels: Record<string, string> = {}) =>
  all[service]
    ?.flatMap(({ samples }) => samples)
    .find(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([label, is]) => sample.labels[label] === is),
    )?.value;

describe('metrics of a lab', () => {
  beforeAll(async () => {
    await labUp({ name: NAME, budgets: PATIENT_BUDGETS });
  }, 120_000);
  afterAll(async () => {
    await labDown(NAME);
  }, 60_000);

  it('FW-7 come from every service, and follow a transition through all of them', async () => {
    await expect.poll(async () => Object.keys(await told()), { timeout: 20_000 }).toEqual(SERVICES);
    const before = await told();
    const set = await kedge(['posture', 'set', '2', '--reason', 'a test wants it', '--wait', ...LAB]);
    expect(set.status).toBe(0);
    const after = await told();
    expect(valueOf(after, 'posture-coordinator', 'kedge_posture_level')).toBe(2);
    expect(valueOf(after, 'overlay', 'kedge_participant_level')).toBe(2);
    expect(valueOf(after, 'underlay', 'kedge_participant_level')).toBe(2);
    for (const path of ['dataplane', 'overlay', 'underlay']) {
      const of = { path, direction: 'tighten' };
      const count = (all: Told) =>
        valueOf(all, 'posture-coordinator', 'kedge_transition_seconds_count', of) ?? 0;
      expect(count(after)).toBe(count(before) + 1);
      expect(valueOf(after, 'posture-coordinator', 'kedge_fail_closed', { path })).toBe(0);
    }
    const dropped = (all: Told) =>
      valueOf(all, 'vpp-bridge', 'kedge_dataplane_packets_total', { verdict: 'drop', reason: 'pair' }) ?? 0;
    await expect
      .poll(async () => dropped(await told()), { timeout: 10_000 })
      .toBeGreaterThan(dropped(before));
    expect(valueOf(after, 'vpp-bridge', 'kedge_dataplane_up', { dataplane: 'reference' })).toBe(1);
    let families = 0;
    for (const service of SERVICES)
      families += after[service]?.filter(({ name }) => name.startsWith('kedge_')).length ?? 0;
    expect(families).toBeGreaterThanOrEqual(40);
  });

  it('FW-7 are printed as the service tells them, or the command says who tells none', async () => {
    const { out, status } = await kedge(['metrics', 'vpp-bridge', ...LAB]);
    expect(status).toBe(0);
    expect(out).toContain('# TYPE kedge_dataplane_packets_total counter');
    expect(await kedgeError(['metrics', 'nobody', ...LAB])).toMatchObject({
      code: 'CLI_METRICS_ABSENT',
      status: 4,
      expected: `one of ${SERVICES.join(', ')}`,
    });
  });
});
