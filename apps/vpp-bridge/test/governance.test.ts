/**
 * The bridge as a whole, without its process: which accords are in force when, what is refused and what stays.
 */
import type { PlanReply } from '@kedge/bus';
import { layout, openSegment } from '@kedge/shared-memory-ipc';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { planOf } from '../src/plan.js';
import { type Actor, Place, until } from './actor.js';

interface AccordsFile {
  'kedge-accords:accords': {
    level: {
      number: number;
      arp: boolean;
      'default-verdict': string;
      entry: { name: string; verdict: string }[];
    }[];
  };
}
interface ZonesFile {
  'kedge-zones:zones': { zone: { name: string; id: number; description?: string }[] };
  'kedge-zones:allowlist': { entry: Record<string, unknown>[] };
}

let place: Place;
beforeEach(() => {
  place = new Place();
});
afterEach(async () => {
  await place.remove();
});

const patient = new AbortController().signal;

/** The whole tables segment but header and heartbeat. */
function tablesBytes(): Buffer {
  const reader = openSegment({ directory: place.board, name: 'tables', kind: 'tables', owner: 'any' });
  const bytes = reader.bytes(layout.tables.generation, layout.tables.size - layout.tables.generation);
  reader.close();
  return bytes;
}

/** Accords that differ from those in force without a fault. */
function another(): void {
  place.edit<ZonesFile>('zones', (zones) => {
    const [zone] = zones['kedge-zones:zones'].zone;
    if (zone !== undefined) zone.description = `changed at ${String(process.hrtime.bigint())}`;
  });
}

describe('accords in force', () => {
  it('PO-2 the accords on disk are put in force at the start, and shown', async () => {
    const bridge = await place.bridge();
    expect(bridge.serving).toBe(false);
    bridge.start();
    expect(bridge.serving).toBe(true);
    const shown = bridge.show();
    expect(shown).toMatchObject({ generation: 1n, waiting: '', alarms: [] });
    expect(shown.levels).toEqual(
      [5, 4, 3, 2, 1].map((level) => ({
        level,
        valid: true,
        entries: 24,
        shapesIp4: 3,
        shapesIp6: 3,
        classify: level < 5,
      })),
    );
    expect(shown.zones.map(({ id, name }) => `${String(id)} ${name}`)).toEqual([
      '1 management',
      '2 branch',
      '3 servers',
      '4 uplink',
      '5 guest',
    ]);
  });

  it(
    'PO-2 every refused example is refused by a reload with path and reason, and not one byte of the tables changes',
    { timeout: 60_000 },
    async () => {
      const bridge = await place.bridge();
      bridge.start();
      const before = tablesBytes();
      const yang = join(import.meta.dirname, '../../../yang/examples');
      let visited = 0;
      for (const kind of ['invalid', 'refused'])
        for (const name of readdirSync(join(yang, kind, 'accords'))) {
          // Both files get the whole example but the part that belongs to the other.
          for (const file of ['accords', 'zones'] as const) {
            copyFileSync(join(yang, kind, 'accords', name), place.config[file]);
            place.edit<Record<string, unknown>>(file, (document) => {
              for (const member of Object.keys(document))
                if (member.startsWith('kedge-zones:') !== (file === 'zones'))
                  Reflect.deleteProperty(document, member);
            });
          }
          const reply = await bridge.reload(patient);
          const code = kind === 'invalid' ? 'ACCORD_INVALID' : name.split('.')[1];
          expect([name, reply.code, reply.generation]).toEqual([name, code, 1n]);
          expect([name, reply.path]).toEqual([name, expect.stringMatching(/^\/kedge-/)]);
          expect(reply.message.length).toBeGreaterThan(reply.path.length);
          expect(bridge.show().alarms).toEqual([expect.stringContaining(`${String(code)}: `)]);
          visited++;
        }
      expect(visited).toBe(117);
      expect(tablesBytes().equals(before)).toBe(true);
      expect(bridge.serving).toBe(true);
    },
  );

  it('PO-2 files that are missing, no JSON or too large are refused and named', async () => {
    const bridge = await place.bridge();
    bridge.start();
    writeFileSync(place.config.accords, '{ "kedge-accords:accords": ');
    expect(await bridge.reload(patient)).toMatchObject({
      code: 'ACCORD_SYNTAX',
      generation: 1n,
      message: expect.stringContaining(place.config.accords),
    });
    writeFileSync(place.config.accords, Buffer.alloc(33 * 1024 * 1024, 0x20));
    expect(await bridge.reload(patient)).toMatchObject({ code: 'ACCORD_UNREADABLE', generation: 1n });
    const absent = new Place({ zones: '/nonexistent/zones.json' });
    try {
      const other = await absent.bridge();
      other.start();
      expect(other.show().alarms[0]).toMatch(/^ACCORD_UNREADABLE: .*\/nonexistent\/zones\.json/);
    } finally {
      await absent.remove();
    }
  });

  it('PO-2 a reload of good accords is the next generation, a reload of the same ones is none', async () => {
    const bridge = await place.bridge();
    bridge.start();
    expect(await bridge.reload(patient)).toEqual({ generation: 1n, code: '', message: '', path: '' });
    another();
    expect(await bridge.reload(patient)).toEqual({ generation: 2n, code: '', message: '', path: '' });
    expect(bridge.show().generation).toBe(2n);
  });

  it('PO-12 the event loop turns while a reload compiles: once for every level at least', async () => {
    const bridge = await place.bridge();
    bridge.start();
    another();
    let [turns, done] = [0, false];
    const turn = (): void => {
      turns++;
      if (!done) setImmediate(turn);
    };
    setImmediate(turn);
    expect(await bridge.reload(patient)).toMatchObject({ code: '', generation: 2n });
    done = true;
    expect(turns).toBeGreaterThan(5);
  });

  it('PO-2 a refused reload is an alarm until good accords are loaded', async () => {
    const bridge = await place.bridge();
    bridge.start();
    place.edit<AccordsFile>('accords', (accords) => {
      for (const level of accords['kedge-accords:accords'].level)
        if (level.number === 1) level['default-verdict'] = 'pass';
    });
    const refused = await bridge.reload(patient);
    expect(refused).toMatchObject({
      code: 'ACCORD_LOOSENS',
      path: "/kedge-accords:accords/level[number='1']/default-verdict",
      message: expect.stringContaining(
        'traffic from management to management is pass at level 1 but drop at level 2',
      ),
    });
    expect(bridge.show().alarms).toHaveLength(1);
    place.edit<AccordsFile>('accords', (accords) => {
      for (const level of accords['kedge-accords:accords'].level)
        if (level.number === 1) level['default-verdict'] = 'drop';
    });
    expect(await bridge.reload(patient)).toMatchObject({ code: '' });
    expect(bridge.show().alarms).toEqual([]);
  });

  it('DP-7 a bridge that comes back keeps the surviving tables when they are made of the same accords', async () => {
    const first = await place.bridge();
    first.start();
    const before = tablesBytes();
    await place.end();
    const second = await place.bridge();
    expect(second.serving).toBe(true);
    second.start();
    expect(tablesBytes().equals(before)).toBe(true);
    expect(second.show()).toMatchObject({ generation: 1n, alarms: [] });
    expect(second.plan({ level: 1, windowS: 0 }).rows).toEqual([]);
  });

  it('PO-2 invalid accords at a start: the surviving tables stay in force, with an alarm', async () => {
    const first = await place.bridge();
    first.start();
    const before = tablesBytes();
    await place.end();
    writeFileSync(place.config.accords, '[]');
    const second = await place.bridge();
    second.start();
    expect(tablesBytes().equals(before)).toBe(true);
    expect(second.serving).toBe(true);
    expect(second.show()).toMatchObject({
      generation: 1n,
      alarms: [expect.stringMatching(/^ACCORD_INVALID/)],
    });
    expect(place.complaints).toContain('accords refused, the surviving tables stay');
    expect(() => second.plan({ level: 1, windowS: 0 })).toThrow(
      expect.objectContaining({ code: 'GOVERNANCE_NO_ACCORDS' }),
    );
  });

  it('PO-2 invalid accords at a start without tables: none are in force, with an alarm, and a reload helps', async () => {
    const good = structuredClone(place.config);
    place.edit<AccordsFile>('accords', (accords) => {
      accords['kedge-accords:accords'].level.pop();
    });
    const bridge = await place.bridge();
    bridge.start();
    expect(bridge.serving).toBe(false);
    expect(bridge.show()).toMatchObject({
      generation: 0n,
      levels: expect.arrayContaining([expect.objectContaining({ level: 1, valid: false })]),
      alarms: [expect.stringMatching(/^ACCORD_INVALID/), expect.stringMatching(/^no tables are in force/)],
    });
    copyFileSync(join(import.meta.dirname, '../../../yang/defaults/accords.json'), good.accords);
    expect(await bridge.reload(patient)).toMatchObject({ code: '', generation: 1n });
    expect(bridge.serving).toBe(true);
  });

  it('DP-2 a segment without a next generation is an alarm, what is in force stays, and the bridge goes on', async () => {
    const first = await place.bridge();
    first.start();
    await place.end();
    const path = join(place.board, 'tables');
    const file = readFileSync(path);
    // The bank that is not in force holds the last generation that there can be.
    file.writeBigUInt64LE((1n << 56n) - 1n, layout.tables.bank + layout.bank.generation);
    writeFileSync(path, file);
    const second = await place.bridge();
    second.start();
    another();
    expect(await second.reload(patient)).toMatchObject({ code: 'GOVERNANCE_GENERATIONS', generation: 1n });
    expect(second.show()).toMatchObject({
      generation: 1n,
      waiting: '',
      alarms: [expect.stringMatching(/^GOVERNANCE_GENERATIONS/)],
    });
  });

  it('DP-2 a level whose surviving table is damaged is an alarm until it is built again', async () => {
    const first = await place.bridge();
    first.start();
    await place.end();
    const path = join(place.board, 'tables');
    const file = readFileSync(path);
    const at = layout.tables.bank + layout.bank.size + layout.bank.level + 2 * layout.levelTable.size;
    file.writeUInt32LE((file.readUInt32LE(at) ^ 1) >>> 0, at);
    writeFileSync(path, file);
    const good = readFileSync(place.config.accords);
    writeFileSync(place.config.accords, '{}');
    const second = await place.bridge();
    second.start();
    expect(second.serving).toBe(false);
    expect(second.show().alarms).toEqual([
      expect.stringMatching(/^ACCORD_INVALID/),
      'the table of level 3 is damaged: there only the management minimum passes',
    ]);
    writeFileSync(place.config.accords, good);
    expect(await second.reload(patient)).toMatchObject({ code: '', generation: 2n });
    expect(second.show().alarms).toEqual([]);
  });

  it('DP-2 a reload that must wait for a worker says so, shows so, and is published once the worker is gone', async () => {
    const bridge = await place.bridge();
    bridge.start();
    const actor = await place.actor();
    await actor.tell('generation', 0, 1);
    another();
    expect(await bridge.reload(patient)).toMatchObject({ code: '', generation: 2n });
    another();
    const reply = await bridge.reload(patient);
    expect(reply).toMatchObject({
      code: 'GOVERNANCE_WAITING',
      generation: 2n,
      message: expect.stringContaining('reference/0 (uses generation 1'),
    });
    expect(bridge.show().waiting).toBe(reply.message);
    await actor.kill();
    await until('the third generation', () => bridge.show().generation === 3n);
    expect(bridge.show().waiting).toBe('');
  });

  it('DP-2 newer accords take the place of those that wait', async () => {
    const patientPlace = new Place({ reloadWaitMs: 5_000 });
    try {
      const bridge = await patientPlace.bridge();
      bridge.start();
      const actor = await patientPlace.actor();
      await actor.tell('generation', 0, 1);
      const mark = (text: string): void => {
        patientPlace.edit<ZonesFile>('zones', (zones) => {
          const [zone] = zones['kedge-zones:zones'].zone;
          if (zone !== undefined) zone.description = text;
        });
      };
      mark('second');
      await bridge.reload(patient);
      mark('third');
      const third = bridge.reload(patient);
      mark('fourth');
      const fourth = bridge.reload(patient);
      expect(await third).toMatchObject({ code: 'GOVERNANCE_SUPERSEDED', generation: 2n });
      await actor.tell('generation', 0, 2);
      expect(await fourth).toMatchObject({ code: '', generation: 3n });
    } finally {
      await patientPlace.remove();
    }
  });
});

describe('plan', () => {
  async function counted(): Promise<{ actor: Actor; plan: (level: number) => PlanReply }> {
    const bridge = await place.bridge();
    bridge.start();
    const actor = await place.actor();
    await actor.tell('generation', 0, 1);
    bridge.sample();
    // Entry ids in the order of the default allowlist: IPv4 and its mirror, IPv6 and its mirror.
    const voice = 4 * 4;
    const web = 5 * 4;
    await actor.tell('hit', 0, 0, 10);
    await actor.tell('hit', 0, voice, 20);
    await actor.tell('hit', 0, voice + 2, 5);
    await actor.tell('hit', 0, web, 30);
    await actor.tell('pair', 0, 5, 3, layout.enums.verdict.PASS, 40);
    await actor.tell('reason', 0, layout.enums.reason.PAIR, layout.enums.verdict.DROP, 6);
    await actor.tell('reason', 0, layout.enums.reason.PAIR, layout.enums.verdict.DEPRIORITISE, 7);
    bridge.sample();
    return { actor, plan: (level) => bridge.plan({ level, windowS: 0 }) };
  }
  const text = ({ rows }: PlanReply): string[] =>
    rows.map(
      ({ effect, packets, fromZone, toZone, entry, verdictNow, verdictThen }) =>
        `${effect} ${String(packets)} ${fromZone}>${toZone} ${entry || '-'} ${verdictNow}>${verdictThen}`,
    );

  it('PO-23 tells what each level would do to the traffic seen, and changes nothing', async () => {
    const { plan } = await counted();
    const before = tablesBytes();
    expect(text(plan(5))).toEqual([
      'unchanged 40 guest>servers - pass>pass',
      'unchanged 30 branch>uplink ordinary-web pass>pass',
      'unchanged 25 branch>servers critical-voice pass>pass',
      'unchanged 10 management>servers management-snmp pass>pass',
    ]);
    expect(text(plan(3))[0]).toBe('deprioritised 40 guest>servers - pass>deprioritise');
    expect(text(plan(2))).toEqual([
      'cut 40 guest>servers - pass>drop',
      'cut 30 branch>uplink ordinary-web pass>drop',
      'unchanged 25 branch>servers critical-voice pass>pass',
      'unchanged 10 management>servers management-snmp pass>pass',
    ]);
    place.level = 2;
    expect(text(plan(1))[0]).toBe('cut 25 branch>servers critical-voice pass>drop');
    expect(text(plan(3)).slice(0, 2)).toEqual([
      'restored 40 guest>servers - drop>deprioritise',
      'restored 30 branch>uplink ordinary-web drop>pass',
    ]);
    expect(plan(3)).toMatchObject({ from: 2, to: 3 });
    expect(tablesBytes().equals(before)).toBe(true);
  });

  it('a level or a window that is none is refused and named', async () => {
    const bridge = await place.bridge();
    bridge.start();
    for (const level of [0, 6, 2.5])
      expect(() => bridge.plan({ level, windowS: 0 })).toThrow(
        expect.objectContaining({ code: 'UNITS_LEVEL' }),
      );
    for (const windowS of [3_601, 4_000_000_000])
      expect(() => bridge.plan({ level: 1, windowS })).toThrow(
        expect.objectContaining({ code: 'GOVERNANCE_WINDOW', field: 'window_s' }),
      );
    expect(bridge.plan({ level: 1, windowS: 3_600 }).rows).toEqual([]);
  });

  it('traffic of an entry that is gone counts as its pair’s', async () => {
    const { buildTables, readAccords } = await import('../src/tables.js');
    const { set, compiled } = buildTables(readAccords(place.config), { flows: 0, random: () => 0 });
    const rows = planOf({
      counted: [
        { fromZone: 5, toZone: 3, entry: 'forgotten', packets: 3n },
        { fromZone: 5, toZone: 3, entry: '', packets: 4n },
        { fromZone: 0, toZone: 3, entry: '', packets: 1n },
      ],
      compiled,
      zones: set.zones,
      from: 5,
      to: 1,
    });
    expect(rows.map(({ fromZone, entry, effect, packets }) => [fromZone, entry, effect, packets])).toEqual([
      ['guest', '', 'cut', 7n],
      ['none', '', 'unchanged', 1n],
    ]);
  });

  it('workers are shown with what they dropped and why', async () => {
    const { actor } = await counted();
    await place.end();
    const bridge = await place.bridge();
    bridge.start();
    const [dataplane] = bridge.show().dataplanes;
    expect(dataplane).toMatchObject({ name: 'reference', alive: false, telemetryGaps: 0n });
    expect(dataplane?.workers).toEqual([
      expect.objectContaining({
        index: 0,
        generation: 1n,
        dropped: 6n,
        deprioritised: 7n,
        reasons: { 'pair-drop': 6n, 'pair-deprioritise': 7n },
      }),
    ]);
    expect(actor.process.signalCode).toBe('SIGKILL');
  });
});
