/**
 * Malformed frames through the real forwarder: none comes out, each is counted under its reason, and the forwarder
 * goes on forwarding what is whole.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { buildLevelTable, forwarderPath } from '../src/index.js';
import { BROADCAST, ethernet, IP4, ip4, mac, udp } from './frames.js';
import { CARRIED, MALFORMATIONS, REASON } from './malformations.js';
import { levelSpec } from './rules.js';
import { make, Scenario } from './scenario.js';

const ZONES = ['management', 'branch', 'servers', 'uplink', 'guest'] as const;
/** Whoever else could receive a broadcast of the branch. */
const OTHERS = ['servers', 'uplink', 'guest', 'management'] as const;

let world: Scenario;
let scratch: string;
let pid: number;

const copies = async (to: string, frame: Buffer): Promise<number> =>
  (await world.do(`raw branch ${to} ${frame.toString('hex')}`))['copies'] ?? -1;

const whole = ethernet(
  { to: mac(3), type: IP4 },
  ip4({ protocol: 17 }, udp(4000, 443, Array<number>(20).fill(1))),
);

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'kedge-malformed-'));
  make('build/test/scenario', 'build/kedge-forwarder');
  world = await Scenario.start();
  for (const name of ['posture', 'warden', 'tables']) await world.do(`create ${name}`);
  const tables = join(scratch, 'tables');
  for (let level = 1; level <= 5; level++)
    writeFileSync(`${tables}-${level}`, buildLevelTable(levelSpec(level, 1n)));
  await world.do(`sh mkdir ${tables} && for n in 1 2 3 4 5; do mv ${tables}-$n ${tables}/$n; done`);
  const ports = ZONES.map((zone, i) => `--port kp-${zone}=${i + 1}`).join(' ');
  const own = '--owner posture=0 --owner warden=0 --owner tables=0';
  ({ pid } = await world.do<{ pid: number }>(
    `start ${forwarderPath} --board /run/kedge/board --name reference ${own} ${ports}`,
  ));
  await world.do(`load 1 ${tables}`);
  await world.do('word 1 5');
  await world.do('await 1 5 5000');
  for (let i = 0; i < 200 && (await world.do('state'))['generation'] !== 1; i++) await world.do('sleep 10');
  expect(await copies('servers', whole)).toBe(1);
}, 120_000);

afterAll(async () => {
  await world.end();
  rmSync(scratch, { recursive: true, force: true });
});

describe('malformed frames', () => {
  it('DP-6 lets none of ninety-one kinds out by any port, and counts each under its reason', async () => {
    const layers: Record<string, number> = {};
    const wrong: unknown[] = [];
    for (const [i, { layer, name, reason, frame }] of MALFORMATIONS.entries()) {
      const counter = `${REASON[reason]}:1`;
      const before = (await world.do('counters'))[counter] ?? 0;
      // Half of them to one station, the others to every port.
      const everywhere = i % 2 === 1;
      const other = OTHERS[(i >> 1) % OTHERS.length] ?? 'servers';
      const out = await (everywhere ? copies(other, frame(BROADCAST)) : copies('servers', frame(mac(3))));
      const counted = ((await world.do('counters'))[counter] ?? 0) - before;
      if (out !== 0 || counted < (everywhere ? OTHERS.length : 1)) wrong.push({ layer, name, out, counted });
      layers[layer] = (layers[layer] ?? 0) + 1;
      if (i % 20 === 0) expect(await copies('servers', whole)).toBe(1);
    }
    expect(wrong).toEqual([]);
    expect(layers).toEqual({
      ethernet: 6,
      vlan: 4,
      arp: 7,
      ip4: 17,
      ip6: 16,
      fragment: 17,
      tcp: 6,
      udp: 6,
      icmp: 9,
      other: 3,
    });
    expect(new Set(MALFORMATIONS.map(({ layer, name }) => `${layer}: ${name}`)).size).toBe(91);
  }, 120_000);

  it('DP-6 carries what is wrong for its receiver alone just as it was sent', async () => {
    let carried = 0;
    for (const [name, frame] of CARRIED) {
      const seen = await world.do<{ copies: number; frame: string }>(
        `raw branch servers ${frame.toString('hex')}`,
      );
      expect({ name, ...seen }).toMatchObject({ name, copies: 1, frame: frame.toString('hex') });
      carried++;
    }
    expect(carried).toBe(6);
  });

  it('DP-6 goes on forwarding afterwards, the same process that began', async () => {
    expect(await copies('servers', whole)).toBe(1);
    expect(await world.do(`sh kill -0 ${pid}`)).not.toHaveProperty('error');
    expect((await world.do('state'))['serving']).toBe(1);
  });
});
