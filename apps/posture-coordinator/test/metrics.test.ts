/**
 * What the real coordinator counts of what it is made to do.
 * It must not know how metrics are served; libs/runtime has tests of that.
 */
import { mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Appliance } from './appliance.js';

describe('metrics of the coordinator', () => {
  let box: Appliance;
  let socketPath: string;
  beforeAll(async () => {
    const config: Record<string, unknown> = {};
    box = new Appliance(config);
    socketPath = join(box.sockets, 'metrics', 'posture-coordinator.sock');
    mkdirSync(join(box.sockets, 'metrics'), { mode: 0o755 });
    config['metrics'] = { socket: socketPath };
    box.startWarden();
    await box.start();
  });
  afterAll(() => box.close());

  function told(): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath, path: '/metrics' }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => {
          resolve(text.split('\n'));
        });
      });
      call.on('error', reject);
      call.end();
    });
  }
  const lines = () => expect.poll(() => told().catch(() => []), { timeout: 10_000 });
  const includes = (...expected: string[]) => expect.arrayContaining(expected) as unknown as string[];

  it('FW-7 tell the level, each transition against its budgets, and each refusal by its code', async () => {
    const mesh = box.participant('mesh', 'overlay');
    mesh.beat(true);
    const beating = setInterval(() => {
      mesh.beat(true);
    }, 50);
    try {
      await expect
        .poll(async () => (await box.get()).services.find(({ name }) => name === 'participant-mesh'))
        .toMatchObject({ serving: true });
      // Done a second after the 5 s that this warden gives to the overlay.
      expect(await box.set(3)).toMatchObject({ outcome: 'decision' });
      const running = await box.get();
      mesh.acknowledge({
        epoch: running.epoch,
        level: 3,
        stage: 'tighten',
        outcome: 'applied',
        startedAtNs: running.atNs,
        finishedAtNs: running.atNs + 6_000_000_000n,
        changes: 1,
      });
      expect((await box.ended(running.epoch)).outcome).toBe('late');
    } finally {
      clearInterval(beating);
    }
    expect(await box.set(9)).toMatchObject({ outcome: 'refusal', refusal: { code: 'POSTURE_LEVEL' } });
    await lines().toEqual(
      includes(
        'kedge_posture_level 3',
        'kedge_posture_decided_level 3',
        'kedge_transitions_total{direction="tighten",outcome="late"} 1',
        'kedge_budget_missed_total{path="overlay"} 1',
        'kedge_budget_missed_total{path="underlay"} 0',
        'kedge_transition_seconds_count{path="overlay",direction="tighten"} 1',
        'kedge_transition_seconds_bucket{le="5",path="overlay",direction="tighten"} 0',
        'kedge_transition_seconds_bucket{le="10",path="overlay",direction="tighten"} 1',
        'kedge_requests_refused_total{code="POSTURE_LEVEL"} 1',
        'kedge_fail_closed{path="overlay"} 0',
        'kedge_journal_durable 1',
      ),
    );
  });
});
