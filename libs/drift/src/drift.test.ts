/**
 * Drift over random pairs of states, and case by case: what differs, since when, how bad, why, and what is done.
 * Must not take a judgement from the code that makes it.
 */
import { differencesBetween } from '@kedge/compiler';
import {
  type DeviceObjects,
  interfacePath,
  madeTree,
  type MadeFeatures,
  objectsOf,
  picksFrom,
} from '@kedge/driver-kit';
import type { accordsTree, siteTree } from '@kedge/intent-model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  type DeviceEvent,
  driftData,
  driftIntervalMs,
  driftOf,
  type DriftKnowledge,
  type DriftPolicy,
  isAtOrBelow,
  isNodePath,
  remedied,
  severityOf,
} from './index.js';

const FEATURES: MadeFeatures = {
  ports: ['port1', 'port2'],
  bridges: 2,
  vlans: true,
  routes: true,
  tunnels: ['gre'],
  filters: true,
  details: true,
};
const states = fc.integer().map((seed) => objectsOf(madeTree(picksFrom(seed), FEATURES)));
const SEVERITIES = ['info', 'minor', 'major', 'critical'] as const;
const NOW = Date.parse('2026-11-29T12:00:00Z');
const KNOWN: DriftKnowledge = { device: 'switch-1', last: [], history: [] };

const remedies = fc.uniqueArray(
  fc.record({
    severity: fc.constantFrom(...SEVERITIES),
    remediation: fc.constantFrom('none', 'proposed', 'automatic'),
  }),
  { selector: ({ severity }) => severity },
);
const policies: fc.Arbitrary<DriftPolicy> = fc.record({
  site: fc.record({
    classification: fc.record({
      'default-severity': fc.constantFrom(...SEVERITIES),
      rule: fc.constant([
        { name: 'ports', path: `${interfacePath('port1')}`, severity: 'critical' as const },
        {
          name: 'members',
          path: '/ietf-interfaces:interfaces/interface/kedge-bridging:bridge-port/vlan',
          severity: 'major' as const,
        },
      ]),
    }),
  }),
  underlay: fc.record({
    gate: fc.record({ mode: fc.constantFrom('frozen', 'emergency-only', 'tiers', 'open') }),
    drift: fc.record({ interval: fc.integer({ min: 10, max: 86_400 }), remedy: remedies }),
  }),
});
const open = (remedy: readonly accordsTree.AccordsLevelUnderlayDriftRemedy[] = []): DriftPolicy => ({
  site: undefined,
  underlay: { gate: { mode: 'open' }, drift: { remedy } },
});

describe('drift', () => {
  it('UN-6 is there exactly where the device is not as intended, with both values', () => {
    let seen = 0;
    fc.assert(
      fc.property(states, states, policies, (intended, actual, policy) => {
        expect(driftOf(intended, intended, KNOWN, policy, NOW)).toEqual([]);
        const drifts = driftOf(intended, actual, KNOWN, policy, NOW);
        seen += drifts.length;
        const wrong = [...new Set([...intended.keys(), ...actual.keys()])].filter(
          (path) => JSON.stringify(intended.get(path)?.value) !== JSON.stringify(actual.get(path)?.value),
        );
        for (const path of wrong)
          expect(
            drifts.some((each) => isAtOrBelow(path, each.path)),
            path,
          ).toBe(true);
        for (const { path, intended: is, actual: was } of drifts) {
          expect(
            wrong.some((each) => isAtOrBelow(each, path)),
            path,
          ).toBe(true);
          expect(is === null && was === null).toBe(false);
          expect(is === null).toBe(!intended.has(path));
          expect(was === null).toBe(!actual.has(path));
        }
        expect(new Set(drifts.map(({ path }) => path)).size).toBe(drifts.length);
      }),
      { numRuns: 150 },
    );
    expect(seen).toBeGreaterThan(500);
  });

  it('UN-6 is there since it was seen first, as long as it is seen', () => {
    fc.assert(
      fc.property(states, states, fc.array(fc.boolean(), { maxLength: 6 }), (intended, actual, passes) => {
        let last: DriftKnowledge['last'] = [];
        const began = new Map<string, number>();
        for (const [place, differs] of passes.entries()) {
          const at = NOW + place * 60_000;
          const drifts = driftOf(intended, differs ? actual : intended, { ...KNOWN, last }, open(), at);
          const paths = new Set(drifts.map(({ path }) => path));
          for (const path of began.keys()) if (!paths.has(path)) began.delete(path);
          for (const { path, sinceMs, seenMs } of drifts) {
            if (!began.has(path)) began.set(path, at);
            expect([sinceMs, seenMs]).toEqual([began.get(path), at]);
          }
          last = drifts;
        }
      }),
      { numRuns: 60 },
    );
  });

  it('UN-7 is remedied as accord and severity say, and the rest is left as it is', () => {
    fc.assert(
      fc.property(states, states, policies, (intended, actual, policy) => {
        const drifts = driftOf(intended, actual, KNOWN, policy, NOW);
        for (const { severity, remediation } of drifts) {
          const said = policy.underlay.drift?.remedy?.find((each) => each.severity === severity)?.remediation;
          const isShut = ['frozen', 'emergency-only'].includes(policy.underlay.gate.mode);
          expect(remediation).toBe(isShut ? 'none' : (said ?? 'none'));
        }
        for (const how of ['automatic', 'proposed'] as const) {
          const left = differencesBetween(intended, remedied(intended, actual, drifts, how));
          const others = drifts.filter(({ remediation }) => remediation !== how);
          expect(left.map(({ path }) => path)).toEqual(others.map(({ path }) => path));
        }
      }),
      { numRuns: 150 },
    );
  });

  it('UN-7 is tolerated until the exception ends, and not a moment longer', () => {
    const intended = objectsOf({
      'ietf-interfaces:interfaces': {
        interface: [{ name: 'port1', type: 'iana-if-type:ethernetCsmacd', description: 'a' }],
      },
    });
    const actual = objectsOf({
      'ietf-interfaces:interfaces': {
        interface: [{ name: 'port1', type: 'iana-if-type:ethernetCsmacd', enabled: false }],
      },
    });
    const exception: siteTree.DriftException = {
      ...{ name: 'cable', device: 'switch-1', path: `${interfacePath('port1')}/enabled` },
      ...{ reason: 'the cable is being changed', 'granted-by': 'ines', until: '2026-11-29T13:00:00+01:00' },
    };
    const policy: DriftPolicy = {
      ...open([{ severity: 'minor', remediation: 'automatic' }]),
      site: { exception: [exception] },
    };
    const at = (ms: number, device = 'switch-1') =>
      driftOf(intended, actual, { ...KNOWN, device }, policy, ms).map(
        ({ path, remediation, exception: by }) => [path.split('/').at(-1), remediation, by],
      );
    const free = [
      ['description', 'automatic', undefined],
      ['enabled', 'automatic', undefined],
    ];
    expect(at(NOW - 1)).toEqual([
      ['description', 'automatic', undefined],
      ['enabled', 'none', 'cable'],
    ]);
    expect(at(NOW)).toEqual(free);
    expect(at(NOW - 1, 'switch-2')).toEqual(free);
  });

  it('UN-6 has a probable cause: somebody else, a plan that failed, another device, or none that can be told', () => {
    const path = `${interfacePath('port1')}/enabled`;
    const [intended, actual] = [true, false].map((enabled) =>
      objectsOf({
        'ietf-interfaces:interfaces': {
          interface: [{ name: 'port1', type: 'iana-if-type:ethernetCsmacd', enabled }],
        },
      }),
    ) as unknown as [DeviceObjects, DeviceObjects];
    const cause = (history: readonly DeviceEvent[], more: Partial<DriftKnowledge> = {}) =>
      driftOf(
        intended,
        actual,
        { ...KNOWN, history, ...more },
        open([{ severity: 'minor', remediation: 'automatic' }]),
        NOW,
      ).map((each) => [each.cause, each.remediation]);
    const accorded: DeviceEvent = { kind: 'accorded', atMs: NOW - 2000 };
    const failed = (atMs: number, ...paths: string[]): DeviceEvent => ({ kind: 'failed', atMs, paths });
    expect(cause([])).toEqual([['unknown', 'automatic']]);
    expect(cause([accorded])).toEqual([['unmanaged-change', 'automatic']]);
    expect(cause([accorded, failed(NOW - 1000, path)])).toEqual([['failed-commit', 'automatic']]);
    expect(cause([accorded, failed(NOW - 1000, interfacePath('port1'))])).toEqual([
      ['failed-commit', 'automatic'],
    ]);
    expect(cause([accorded, failed(NOW - 1000, interfacePath('port2'))])).toEqual([
      ['unmanaged-change', 'automatic'],
    ]);
    expect(cause([failed(NOW - 3000, path), accorded])).toEqual([['unmanaged-change', 'automatic']]);
    // It was there before the plan that failed.
    expect(cause([failed(NOW - 1000, path)], { last: [{ path, sinceMs: NOW - 5000 }] })).toEqual([
      ['unknown', 'automatic'],
    ]);
    expect(cause([accorded], { serial: { accepted: 'A', read: 'B' } })).toEqual([
      ['device-replaced', 'proposed'],
    ]);
    expect(cause([accorded], { serial: { accepted: 'A', read: 'A' } })).toEqual([
      ['unmanaged-change', 'automatic'],
    ]);
    expect(cause([accorded], { serial: { read: 'B' } })).toEqual([['unmanaged-change', 'automatic']]);
  });

  it('UN-6 is as bad as the first rule that fits says', () => {
    const of = (path: string, severity: (typeof SEVERITIES)[number], device?: readonly string[]) => ({
      ...{ name: 'rule', path, severity },
      ...(device === undefined ? {} : { device }),
    });
    const severity = (path: string, ...rule: ReturnType<typeof of>[]) =>
      severityOf(path, 'switch-1', { rule });
    const port = interfacePath('port1');
    expect(severityOf(port, 'switch-1', undefined)).toBe('minor');
    expect(severity(port, of('/ietf-interfaces:interfaces/interface', 'major'), of(port, 'info'))).toBe(
      'major',
    );
    expect(
      severity(port, of('/ietf-interfaces:interfaces/interface', 'major', ['switch-2']), of(port, 'info')),
    ).toBe('info');
    expect(severity(port, of(`${port}/enabled`, 'critical'))).toBe('minor');
    expect(severity(`${port}/enabled`, of(port, 'critical'))).toBe('critical');
    expect(severity(interfacePath('port10'), of(port, 'critical'))).toBe('minor');
    expect(
      severity(
        `${port}/kedge-bridging:bridge-port/vlan[id='10']`,
        of(`${port}/kedge-bridging:bridge-port/kedge-bridging:vlan`, 'info'),
      ),
    ).toBe('info');
    expect(isNodePath('no path')).toBe(false);
    expect(isAtOrBelow(port, 'no path')).toBe(false);
  });

  it('UN-6 is looked for as often as the accord of the level says', () => {
    expect(driftIntervalMs({ gate: { mode: 'open' } })).toBe(60_000);
    expect(driftIntervalMs({ gate: { mode: 'open' }, drift: { interval: 300 } })).toBe(300_000);
  });

  it('UN-6 stands in a datastore as kedge-drift describes it', () => {
    const intended = objectsOf({
      'ietf-interfaces:interfaces': {
        interface: [
          { name: 'br0', type: 'iana-if-type:bridge', 'kedge-bridging:bridge': { vlan: [{ id: 10 }] } },
        ],
      },
    });
    const actual = objectsOf({
      'ietf-interfaces:interfaces': { interface: [{ name: 'br0', type: 'iana-if-type:bridge' }] },
    });
    expect(driftOf(intended, actual, KNOWN, open(), NOW).map(driftData)).toEqual([
      {
        device: 'switch-1',
        path: "/ietf-interfaces:interfaces/interface[name='br0']/kedge-bridging:bridge/vlan[id='10']",
        intended: { 'kedge-bridging:vlan': [{ id: 10 }] },
        since: '2026-11-29T12:00:00.000Z',
        seen: '2026-11-29T12:00:00.000Z',
        severity: 'minor',
        cause: 'unknown',
        remediation: 'none',
      },
    ]);
  });
});
