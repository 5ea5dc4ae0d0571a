/**
 * Accords compiled to tables and asked through the core that judges packets.
 */
import { classifyKey, type FlowKey, levelTableHolds, VERDICTS } from '@kedge/dataplane';
import { compileAccords, parseAccords, TABLE_LIMITS, type Verdict } from '@kedge/posture';
import { layout } from '@kedge/shared-memory-ipc';
import { hasCode, type Level, LEVELS } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { buildTables, findLooseFlow, type LevelTables } from '../src/tables.js';
import { opinion, randomSet } from './accord-sets.js';
import { randomOf, YANG } from './actor.js';

const NO_PROBE = { flows: 0, random: randomOf(1) };
const json = (name: string): unknown =>
  JSON.parse(readFileSync(join(YANG, 'defaults', `${name}.json`), 'utf8'));
const defaults = parseAccords(json('accords'), json('zones'));

function flowOf(random: (below: number) => number): FlowKey {
  const family = random(2) === 0 ? 4 : 6;
  const bytes = (first: readonly number[], length: number): Uint8Array =>
    Uint8Array.from({ length }, (_, index) => (random(6) === 0 ? random(256) : (first[index] ?? 0)));
  const address = (): Uint8Array => (family === 4 ? bytes([10, 1, 2, 3], 4) : bytes([0xfd, 1, 0, 2], 16));
  const port = (): number => [22, 53, 443, random(65536)][random(4)] ?? 0;
  return {
    family,
    source: address(),
    destination: address(),
    protocol: [1, 6, 17, 50, 58][random(5)] ?? 6,
    sourcePort: port(),
    destinationPort: port(),
    sourceZone: random(6),
    destinationZone: random(6),
    laterFragment: random(10) === 0,
  };
}

describe('tables', () => {
  it('PO-1 the default accords do with each class of traffic what the levels promise, in both families', () => {
    const { levels } = buildTables(defaults, { flows: 2_000, random: randomOf(3) });
    const P = 'pass';
    const classes: [
      string,
      Pick<FlowKey, 'sourceZone' | 'destinationZone' | 'protocol' | 'sourcePort' | 'destinationPort'>,
      string[],
    ][] = [
      [
        'management',
        { sourceZone: 1, destinationZone: 3, protocol: 17, destinationPort: 161 },
        [P, P, P, P, P],
      ],
      ['its answers', { sourceZone: 3, destinationZone: 1, protocol: 17, sourcePort: 161 }, [P, P, P, P, P]],
      [
        'incident response',
        { sourceZone: 1, destinationZone: 3, protocol: 6, destinationPort: 22 },
        [P, P, P, P, P],
      ],
      ['its answers', { sourceZone: 3, destinationZone: 1, protocol: 6, sourcePort: 22 }, [P, P, P, P, P]],
      [
        'critical',
        { sourceZone: 2, destinationZone: 3, protocol: 17, destinationPort: 5060 },
        [P, P, P, P, 'drop'],
      ],
      [
        'ordinary',
        { sourceZone: 2, destinationZone: 4, protocol: 17, destinationPort: 443 },
        [P, P, P, 'drop', 'drop'],
      ],
      [
        'unapproved',
        { sourceZone: 5, destinationZone: 3, protocol: 17, destinationPort: 7777 },
        [P, P, 'deprioritise', 'drop', 'drop'],
      ],
      [
        'without a zone',
        { sourceZone: 0, destinationZone: 3, protocol: 17, destinationPort: 161 },
        ['drop', 'drop', 'drop', 'drop', 'drop'],
      ],
    ];
    let asked = 0;
    for (const [name, flow, expected] of classes)
      for (const family of [4, 6] as const) {
        const ends =
          family === 4
            ? { source: '10.77.0.10', destination: '10.77.0.30' }
            : { source: 'fd77::10', destination: 'fd77::30' };
        const found = LEVELS.map(
          (level) => classifyKey(levels[level].table, { family, ...ends, ...flow }).verdict,
        );
        expect([name, family, found]).toEqual([name, family, expected]);
        asked++;
      }
    expect(asked).toBe(16);
    expect(LEVELS.map((level) => levels[level].classify)).toEqual([false, true, true, true, true]);
  });

  it('PO-2 compiled tables say about random flows what the accords say, and tighten from level to level', () => {
    const random = randomOf(42);
    const verdicts = new Map<Verdict, number>();
    let sets = 0;
    let flows = 0;
    while (sets < 20) {
      const set = randomSet(random, 14);
      let tables;
      try {
        tables = buildTables(set, { flows: 200, random });
      } catch (error) {
        // Random entries may mean the same flow twice, or need too many shapes: refused, and drawn again.
        if (hasCode(error, 'ACCORD_AMBIGUOUS') || hasCode(error, 'ACCORD_TOO_MANY_SHAPES')) continue;
        throw error;
      }
      sets++;
      for (let count = 0; count < 150; count++) {
        const flow = flowOf(random);
        let below = 0;
        for (const level of [...LEVELS].reverse()) {
          const { verdict } = classifyKey(tables.levels[level].table, flow);
          expect({ flow, level, verdict }).toEqual({ flow, level, verdict: opinion(set, level, flow) });
          expect(VERDICTS.indexOf(verdict)).toBeGreaterThanOrEqual(below);
          below = VERDICTS.indexOf(verdict);
          verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        }
        flows++;
      }
    }
    expect(flows).toBe(3_000);
    for (const verdict of VERDICTS) expect(verdicts.get(verdict)).toBeGreaterThan(500);
  });

  it('PO-2 the probe with random flows finds a table that loosens, whichever level it is planted at', () => {
    const { compiled, levels } = buildTables(defaults, NO_PROBE);
    let planted = 0;
    for (const [from, to] of [
      [5, 2],
      [4, 2],
      [5, 1],
      [3, 1],
    ] as const satisfies (readonly [Level, Level])[]) {
      // The mutant: a lower level gets the rules of a higher one.
      const mutant: LevelTables = { ...levels, [to]: levels[from] };
      const found = findLooseFlow({ compiled, levels: mutant }, { flows: 2_000, random: randomOf(5) });
      expect(found?.lower.level).toBe(to);
      planted++;
    }
    expect(planted).toBe(4);
    expect(findLooseFlow({ compiled, levels }, { flows: 2_000, random: randomOf(5) })).toBeUndefined();
  });

  it('DP-9 4,096 entries of each family compile, and each is found', { timeout: 60_000 }, () => {
    const entry = Array.from({ length: 8_192 }, (_, n) => {
      const [high, low] = [(n >> 8) & 0x1f, n & 0xff];
      return n < 4_096
        ? {
            name: `f-${String(n)}`,
            'from-zone': 'branch',
            'to-zone': 'servers',
            'source-prefix': [`10.${String(high)}.${String(low)}.0/24`],
            protocol: 'tcp',
            'destination-port': [443],
          }
        : {
            name: `s-${String(n)}`,
            'from-zone': 'branch',
            'to-zone': 'servers',
            'source-prefix': [`fd00:${n.toString(16)}::/48`],
            protocol: 'tcp',
            'destination-port': [443],
          };
    });
    const zones = structuredClone(json('zones')) as Record<string, { entry: unknown[] }>;
    zones['kedge-zones:allowlist']?.entry.push(...entry);
    const accords = structuredClone(json('accords')) as {
      'kedge-accords:accords': { level: { number: number; entry: unknown[] }[] };
    };
    for (const level of accords['kedge-accords:accords'].level)
      if (level.number > 1) level.entry.push(...entry.map(({ name }) => ({ name, verdict: 'pass' })));
    const { compiled, levels } = buildTables(parseAccords(accords, zones), {
      flows: 500,
      random: randomOf(9),
    });
    expect(compiled.labels).toHaveLength(24 + 8_192);
    const probes = new Set<number>();
    let found = 0;
    for (const { id, family, sourcePrefix } of compiled.levels[2].entries.slice(24)) {
      const source = sourcePrefix.replace(family === 4 ? /0\/24$/ : /\/48$/, '7');
      const flow: FlowKey = {
        family,
        source,
        destination: family === 4 ? '192.0.2.1' : '2001:db8::1',
        protocol: 6,
        sourcePort: 9,
        destinationPort: 443,
        sourceZone: 2,
        destinationZone: 3,
      };
      const judged = classifyKey(levels[2].table, flow);
      expect([id, judged.entryId, judged.verdict]).toEqual([id, id, 'pass']);
      expect(classifyKey(levels[1].table, flow).verdict).toBe('drop');
      probes.add(judged.probes);
      found++;
    }
    expect(found).toBe(8_192);
    expect(Math.max(...probes)).toBeLessThanOrEqual(layout.limits.maxShapes * layout.limits.maxProbes);
  });

  it('DP-9 a seventeenth mask shape is refused and the entry that needs it is named', () => {
    const withShapes = (shapes: number): unknown => {
      const zones = structuredClone(json('zones')) as Record<string, { entry: unknown[] }>;
      const more = Array.from({ length: shapes }, (_, n) => ({
        name: `shape-${String(n)}`,
        'from-zone': 'guest',
        'to-zone': 'uplink',
        'source-prefix': [`10.0.0.0/${String(8 + n)}`],
      }));
      zones['kedge-zones:allowlist']?.entry.push(...more);
      return zones;
    };
    const shapesOf = (count: number): number =>
      buildTables(parseAccords(json('accords'), withShapes(count)), NO_PROBE).levels[5].shapes.ip4;
    const own = shapesOf(0);
    expect(shapesOf(TABLE_LIMITS.shapes - own)).toBe(16);
    expect(() => shapesOf(TABLE_LIMITS.shapes - own + 1)).toThrow(
      expect.objectContaining({
        code: 'ACCORD_TOO_MANY_SHAPES',
        field: `/kedge-zones:allowlist/entry[name='shape-${String(16 - own)}']`,
      }),
    );
  });

  it('the limits that accords are compiled under are those of the layout', () => {
    const { maxEntries, maxShapes, maxZones } = layout.limits;
    expect(TABLE_LIMITS).toEqual({ entries: maxEntries, shapes: maxShapes, zones: maxZones });
  });

  it('every level holds every entry under the same id, and what was built holds for the data plane', () => {
    const compiled = compileAccords(defaults.accords, defaults.zones);
    for (const level of LEVELS)
      expect(compiled.levels[level].entries.map(({ verdict: _verdict, ...rest }) => rest)).toEqual(
        compiled.levels[5].entries.map(({ verdict: _verdict, ...rest }) => rest),
      );
    const { levels } = buildTables(defaults, NO_PROBE);
    for (const level of LEVELS) expect(levelTableHolds(levels[level].table, level, 0n)).toBe(true);
  });
});
