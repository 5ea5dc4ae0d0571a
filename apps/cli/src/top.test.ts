/**
 * The live view: rates out of two readings, and screens that fit, as golden text.
 * Must not need an appliance or a terminal.
 */
import type {
  DataPlaneReport,
  FlowReport,
  PlanReply,
  PostureState,
  ShowReply,
  WorkerReport,
} from '@kedge/bus';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { jsonText } from './render.js';
import {
  type Baseline,
  type Reading,
  SORTS,
  sortedEntries,
  sortedPairs,
  type Top,
  topOf,
} from './top-model.js';
import { MAX_NAMES, namesAfter, NO_NAMES, printable } from './top-names.js';
import { frameText } from './top-terminal.js';
import { amountText, type Look, screenOf, shares } from './top-view.js';

const MS = 1_000_000n;
const S = 1_000n * MS;
const NOW = 100_000n * S;
const AT = Date.UTC(2026, 2, 1, 3, 14, 15);

const flow = (more: Partial<FlowReport> = {}): FlowReport => ({
  dataplane: 'reference',
  worker: 0,
  firstAtNs: NOW - S,
  lastAtNs: NOW,
  packets: 10n,
  bytes: 1_000n,
  epoch: 17n,
  level: 4,
  source: '10.77.0.20',
  destination: '10.77.0.40',
  sourcePort: 40_000,
  destinationPort: 443,
  protocol: 6,
  fromZone: 'branch',
  toZone: 'uplink',
  verdict: 'pass',
  reason: 'pair',
  entry: '',
  application: 'tls',
  name: 'www.example.com',
  end: 'detected',
  tcpFlags: 27,
  dscp: 0,
  ...more,
});

const worker = (index: number, more: Partial<WorkerReport> = {}): WorkerReport => ({
  index,
  epoch: 17n,
  level: 4,
  generation: 3n,
  received: 10_000n,
  sent: 9_000n,
  dropped: 1_000n,
  deprioritised: 400n,
  reasons: { 'pair-pass': 5_000n, 'entry-pass': 4_000n, 'pair-drop': 990n, 'ethertype-drop': 10n },
  applications: { tls: { packets: 500n, bytes: 400_000n }, dns: { packets: 40n, bytes: 4_000n } },
  queues: {
    ordinary: { sent: 9_000n, waited: 10n, lost: 0n, withdrawn: 0n, waiting: 0n },
    deprioritised: { sent: 400n, waited: 300n, lost: 20n, withdrawn: 5n, waiting: 12n },
  },
  pairs: [
    { fromZone: 2, toZone: 4, verdict: 'pass', packets: 4_600n },
    { fromZone: 2, toZone: 4, verdict: 'deprioritise', packets: 400n },
    { fromZone: 5, toZone: 3, verdict: 'drop', packets: 990n },
  ],
  flows: { live: 6n, begun: 100n, evicted: 0n, written: 90n },
  ...more,
});

/** The same worker after so many seconds of steady traffic. */
const later = (before: WorkerReport, seconds: bigint, more: Partial<WorkerReport> = {}): WorkerReport => ({
  ...before,
  received: before.received + 1_000n * seconds,
  sent: before.sent + 900n * seconds,
  dropped: before.dropped + 100n * seconds,
  deprioritised: before.deprioritised + 40n * seconds,
  reasons: {
    ...before.reasons,
    'pair-drop': (before.reasons['pair-drop'] ?? 0n) + 99n * seconds,
    'ethertype-drop': (before.reasons['ethertype-drop'] ?? 0n) + 1n * seconds,
  },
  applications: {
    tls: { packets: 500n + 50n * seconds, bytes: 400_000n + 40_000n * seconds },
    dns: { packets: 40n + 4n * seconds, bytes: 4_000n + 400n * seconds },
  },
  queues: {
    ordinary: { sent: 9_000n + 860n * seconds, waited: 10n, lost: 0n, withdrawn: 0n, waiting: 0n },
    deprioritised: {
      sent: 400n + 40n * seconds,
      waited: 300n + 30n * seconds,
      lost: 20n + 2n * seconds,
      withdrawn: 5n,
      waiting: 14n,
    },
  },
  pairs: [
    { fromZone: 2, toZone: 4, verdict: 'pass', packets: 4_600n + 460n * seconds },
    { fromZone: 2, toZone: 4, verdict: 'deprioritise', packets: 400n + 40n * seconds },
    { fromZone: 5, toZone: 3, verdict: 'drop', packets: 990n + 99n * seconds },
  ],
  flows: { live: 7n, begun: 100n + 3n * seconds, evicted: 0n, written: 90n + 2n * seconds },
  ...more,
});

const plane = (workers: readonly WorkerReport[], more: Partial<DataPlaneReport> = {}): DataPlaneReport => ({
  name: 'reference',
  alive: true,
  safeLevel: 0,
  workers,
  telemetryGaps: 0n,
  flowGaps: 0n,
  ...more,
});

const show = (dataplanes: readonly DataPlaneReport[], more: Partial<ShowReply> = {}): ShowReply => ({
  generation: 3n,
  builtAtNs: 1n,
  accordsHash: new Uint8Array(32),
  levels: [5, 4, 3, 2, 1].map((level) => ({
    level,
    valid: true,
    entries: 16,
    shapesIp4: 2,
    shapesIp6: 2,
    classify: level === 4,
  })),
  dataplanes,
  zones: ['management', 'branch', 'servers', 'uplink', 'guest'].map((name, at) => ({ id: at + 1, name })),
  waiting: '',
  alarms: [],
  ...more,
});

const state = (more: Partial<PostureState> = {}): PostureState => ({
  epoch: 17n,
  level: 4,
  target: 4,
  transition: {
    epoch: 17n,
    from: 5,
    to: 4,
    outcome: 'completed',
    source: {
      channel: 'local',
      tier: 'site_owner',
      principal: 'user:ada',
      reason: 'guests scan the servers',
    },
    receivedAtNs: NOW - S,
    decidedAtNs: NOW - S,
    storedAtNs: NOW - S,
    journaledAtNs: NOW - S,
    completedAtNs: NOW - S + 20n * MS,
    durable: true,
    decidedAtWallMs: BigInt(AT - 75_000),
    paths: (
      [
        ['dataplane', 41_200n, MS],
        ['overlay', 12_300_000n, 5n * S],
        ['underlay', 10_100_000n, 10n * S],
      ] as const
    ).map(([path, took, budgetNs]) => ({
      path,
      budgetNs,
      startNs: NOW - S,
      endNs: NOW - S + took,
      outcome: 'applied',
      participants: [],
    })),
  },
  failClosed: [],
  services: ['warden', 'posture-coordinator', 'vpp-bridge', 'overlay', 'underlay'].map((name, at) => ({
    name,
    beatAgeNs: BigInt(at + 1) * 12n * MS,
    stale: false,
    serving: true,
    pid: 100 + at,
    epoch: 17n,
    level: 4,
  })),
  atNs: NOW,
  alarms: [],
  disagreements: [],
  violations: [],
  ...more,
});

const plan: PlanReply = {
  from: 4,
  to: 5,
  windowS: 10,
  rows: (
    [
      ['branch', 'uplink', '', 'pass', 4_600n],
      ['management', 'servers', 'management-snmp', 'pass', 5_000n],
      ['servers', 'management', 'management-snmp', 'pass', 2_500n],
      ['branch', 'servers', 'critical-voice', 'pass', 3_000n],
      ['guest', 'servers', 'known-scanner', 'drop', 120n],
    ] as const
  ).map(([fromZone, toZone, entry, verdictNow, packets]) => ({
    fromZone,
    toZone,
    entry,
    verdictNow,
    verdictThen: verdictNow,
    effect: 'unchanged',
    packets,
  })),
};

const reading = (dataplanes: readonly DataPlaneReport[], more: Partial<Reading> = {}): Reading => ({
  atMs: 1_000,
  atWallMs: AT,
  target: 'the lab "lab"',
  coordinator: { seen: true, value: state() },
  bridge: { seen: true, value: show(dataplanes) },
  hits: { seen: true, value: plan },
  names: {
    seen: true,
    value: namesAfter(NO_NAMES, {
      lost: 0n,
      flows: [
        flow(),
        flow({
          application: 'dns',
          name: 'tracker.example.net',
          fromZone: 'guest',
          toZone: 'servers',
          verdict: 'drop',
        }),
        flow({
          application: 'http',
          name: 'updates.a-vendor-with-a-long-name.example.org',
          verdict: 'deprioritise',
        }),
      ],
    }),
  },
  ...more,
});
const silent = { seen: false, code: 'BUS_UNREACHABLE', message: 'nobody listens' } as const;

const withoutColour = (line: string): string =>
  line
    .split('\u001b[')
    .map((part, at) => (at === 0 ? part : part.replace(/^[0-9;]*m/, '')))
    .join('');

/** What is told of the last of several readings. */
function after(...readings: readonly Reading[]): Top {
  let baseline: Baseline | undefined;
  let top: Top | undefined;
  for (const each of readings) ({ top, baseline } = topOf(each, baseline));
  if (top === undefined) throw new Error('no reading');
  return top;
}
const dataplane = (top: Top) => {
  if (!top.dataplane.seen) throw new Error(top.dataplane.message);
  return top.dataplane.value;
};

const [first, second] = [worker(0), worker(1)];
const before = reading([plane([first, second])]);
const now = reading([plane([later(first, 2n), later(second, 2n)])], { atMs: 3_000 });
const LOOK: Look = {
  columns: 80,
  rows: 24,
  colour: false,
  ascii: false,
  paused: false,
  sort: 'packets',
  pace: 'every 2 s',
};

describe('rates out of two readings', () => {
  it('are of all workers together, per second of the time that passed', () => {
    const plane = dataplane(after(before, now));
    expect(plane).toMatchObject({
      received: 2_000,
      sent: 1_800,
      dropped: 200,
      deprioritised: 80,
      flowsLive: 14n,
    });
    expect(plane.pairs).toContainEqual({
      from: 'branch',
      to: 'uplink',
      pass: 920,
      deprioritise: 80,
      drop: 0,
    });
    expect(plane.pairs).toContainEqual({ from: 'guest', to: 'servers', pass: 0, deprioritise: 0, drop: 198 });
    expect(plane.drops).toEqual([
      { reason: 'pair', perSecond: 198, packets: 2_376n },
      { reason: 'ethertype', perSecond: 2, packets: 24n },
    ]);
    expect(plane.queues).toContainEqual(
      expect.objectContaining({ name: 'deprioritised', waiting: 28n, waited: 60, lost: 4, withdrawn: 0 }),
    );
    expect(plane.applications[0]).toMatchObject({
      name: 'tls',
      packetsPerSecond: 100,
      bytesPerSecond: 80_000,
    });
  });

  it('are not known after a first reading, and nothing is made up', () => {
    const top = after(before);
    expect(top.intervalMs).toBeUndefined();
    expect(dataplane(top)).toMatchObject({ received: undefined, sent: undefined, flowsBegun: undefined });
    expect(screenOf(top, LOOK).join('\n')).not.toMatch(/NaN|undefined|Infinity/);
  });

  it('count a worker that was restarted from nothing, and say that it was', () => {
    const anew = worker(1, {
      received: 50n,
      sent: 40n,
      dropped: 10n,
      deprioritised: 0n,
      reasons: { 'pair-drop': 10n },
      pairs: [],
    });
    const top = after(before, reading([plane([later(first, 2n), anew])], { atMs: 3_000 }));
    expect(dataplane(top)).toMatchObject({ received: 1_025, sent: 920, dropped: 105 });
    expect(dataplane(top).planes[0]).toMatchObject({ workers: 2, restarted: 1 });
    expect(screenOf(top, LOOK).join('\n')).toContain('1 RESTARTED');
  });

  it('leave out what a worker had counted before it was seen', () => {
    const top = after(
      reading([plane([first])]),
      reading([plane([later(first, 1n), second])], { atMs: 2_000 }),
    );
    expect(dataplane(top)).toMatchObject({ received: 1_000, dropped: 100 });
    expect(dataplane(top).planes[0]?.restarted).toBe(0);
  });

  it('go on over the time in which the bridge was silent', () => {
    const gap = reading([], { atMs: 2_000, bridge: silent, hits: silent });
    const top = after(before, gap, now);
    expect(dataplane(top).received).toBe(2_000);
    expect(top.intervalMs).toBe(2_000);
    const screen = screenOf(after(before, gap), LOOK).join('\n');
    expect(screen).toContain('the governance bridge does not answer: nobody listens [BUS_UNREACHABLE]');
    expect(screen).toContain('level 4 watch');
  });

  it('are finite and never below 0, whatever the counters do', () => {
    const count = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const counters = fc
      .record({ received: count, sent: count, dropped: count, drop: count, pair: count, live: count })
      .map(({ received, sent, dropped, drop, pair, live }) =>
        worker(0, {
          received,
          sent,
          dropped,
          reasons: { 'pair-drop': drop },
          pairs: [{ fromZone: 0, toZone: 15, verdict: 'drop', packets: pair }],
          flows: { live, begun: drop, evicted: pair, written: sent },
        }),
      );
    const readings = fc.array(fc.tuple(fc.array(counters, { maxLength: 2 }), fc.nat(5_000)), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(readings, (given) => {
        let atMs = 0;
        const top = after(...given.map(([workers, ms]) => reading([plane(workers)], { atMs: (atMs += ms) })));
        const { received, dropped, flowsBegun, pairs, drops } = dataplane(top);
        for (const rate of [
          received,
          dropped,
          flowsBegun,
          ...pairs.map(({ drop }) => drop),
          ...drops.map(({ perSecond }) => perSecond),
        ])
          expect(rate === undefined || (Number.isFinite(rate) && rate >= 0)).toBe(true);
      }),
    );
  });
});

describe('what is wrong', () => {
  it('comes before what is merely degraded, and leaves the posture on the screen', () => {
    const wrong = state({
      target: 3,
      alarms: ['the journal is slow'],
      failClosed: [{ path: 'overlay', level: 2, epoch: 16n, setAtNs: 1n }],
      services: [
        { name: 'overlay', beatAgeNs: 12n * S, stale: true, serving: false, pid: 1, epoch: 16n, level: 5 },
      ],
      violations: [
        {
          number: 4n,
          atNs: NOW - 90n * S,
          epoch: 16n,
          kind: 'silence',
          path: 'overlay',
          subject: 'overlay',
          deadlineNs: 0n,
          actedAtNs: 0n,
          level: 2,
        },
        {
          number: 3n,
          atNs: NOW - 7_200n * S,
          epoch: 12n,
          kind: 'budget',
          path: '',
          subject: '',
          deadlineNs: 0n,
          actedAtNs: 0n,
          level: 0,
        },
      ],
    });
    const top = after(
      reading(
        [plane([worker(0, { epoch: 16n })], { safeLevel: 2 }), plane([], { name: 'vpp', alive: false })],
        {
          coordinator: { seen: true, value: wrong },
        },
      ),
    );
    expect(top.concerns.map(({ severity, text }) => `${severity}: ${text}`)).toEqual([
      'bad: FAIL-CLOSED overlay at level 2 since epoch 16',
      'bad: STALE overlay: no beat for 12000 ms',
      'bad: SAFE LEVEL 2: data plane reference obeys its own',
      'bad: DEAD data plane vpp: nothing passes',
      'warn: ALARM the journal is slow',
      'warn: WARDEN silence overlay overlay, epoch 16, 90 s ago',
    ]);
    const lines = screenOf(top, LOOK);
    expect(lines.slice(0, 12)).toMatchInlineSnapshot(`
      [
        "kedge top  the lab "lab"                        by packets  every 2 s  03:14:15Z",
        "level 4 watch  epoch 17  decided: 3 restricted",
        "last 5 → 4 completed at 03:13:00Z by user:ada: guests scan the servers",
        "dataplane 41.2 µs/1.00 ms  overlay 12.3 ms/5.00 s  underlay 10.1 ms/10.0 s",
        "overlay 12.0 s STALE",
        "FAIL-CLOSED overlay at level 2 since epoch 16",
        "STALE overlay: no beat for 12000 ms",
        "… 4 more: kedge doctor tells all",
        "reference alive  1 of 1 worker BEHIND epoch 17  gaps events 0 flows 0",
        "vpp DEAD  0 workers  gaps events 0 flows 0",
        "in -/s  out -/s  low -/s  drop -/s  flows 6 live  begun -/s",
        "ZONE PAIR/s           pass   low  drop │ DROPPED BY                    /s  total",
      ]
    `);
  });

  it('a coordinator that is silent hides nothing of the traffic', () => {
    const text = screenOf(after(before, { ...now, coordinator: silent }), LOOK).join('\n');
    expect(text).toContain('the posture coordinator does not answer: nobody listens [BUS_UNREACHABLE]');
    expect(text).toMatch(/branch → uplink +920 +80 +0/);
  });

  it('an older bridge that tells no flows says so where names would stand', () => {
    const names = { seen: false, code: 'BUS_UNIMPLEMENTED', message: 'unknown method' } as const;
    expect(screenOf(after(before, { ...now, names }), LOOK).join('\n')).toContain(
      'this release of the bridge has no names',
    );
  });
});

describe('names from the network', () => {
  const hostile = '\u001b[2J\u001b]0;owned\u0007a\r\n\u009b31mb\u202e\u{1f600}é';

  it('reach nobody with anything but printable ASCII in them', () => {
    expect(printable(hostile)).toBe('?[2J?]0;owned?a???31mb???');
    const list = namesAfter(NO_NAMES, {
      lost: 0n,
      flows: [
        flow({ name: hostile, application: hostile, fromZone: hostile, toZone: hostile, entry: hostile }),
      ],
    });
    const top = after(before, { ...now, names: { seen: true, value: list } });
    // Of itself: what JSON.stringify does not escape would reach a terminal as well.
    expect(jsonText(top, 0)).toMatch(/^[\x20-\x7e]*$/);
    expect(screenOf(top, { ...LOOK, ascii: true }).join('')).toMatch(/^[\x20-\x7e]*$/);
  });

  it('keep the mark of a name that was cut', () => {
    const { latest } = namesAfter(NO_NAMES, { lost: 0n, flows: [flow({ name: '…long.example.com' })] });
    expect(latest[0]?.name).toBe('...long.example.com');
  });

  it('stand once, newest first, and not without end', () => {
    const batch = (from: number, count: number) => ({
      lost: 1n,
      flows: Array.from({ length: count }, (_, at) => flow({ name: `host-${from + at}` })),
    });
    let list = namesAfter(NO_NAMES, batch(0, 3));
    list = namesAfter(list, { lost: 2n, flows: [flow({ name: 'host-0' }), flow({ name: '' })] });
    expect(list.latest.map(({ name }) => name)).toEqual(['host-0', 'host-2', 'host-1']);
    expect(list.lost).toBe(3n);
    list = namesAfter(list, batch(100, 1_000));
    expect(list.latest).toHaveLength(MAX_NAMES);
    expect(list.latest[0]?.name).toBe('host-1099');
  });
});

describe('the screen', () => {
  it('has all of it at 80 by 24', () => {
    expect(screenOf(after(before, now), LOOK)).toMatchInlineSnapshot(`
      [
        "kedge top  the lab "lab"                        by packets  every 2 s  03:14:15Z",
        "level 4 watch  epoch 17",
        "last 5 → 4 completed at 03:13:00Z by user:ada: guests scan the servers",
        "dataplane 41.2 µs/1.00 ms  overlay 12.3 ms/5.00 s  underlay 10.1 ms/10.0 s",
        "warden 12.0 ms  posture-coordinator 24.0 ms  vpp-bridge 36.0 ms  overlay 48.0 ms",
        "underlay 60.0 ms",
        "reference alive  2 workers at epoch 17  gaps events 0 flows 0",
        "in 2000/s  out 1800/s  low 80/s  drop 200/s  flows 14 live  begun 6.0/s",
        "ZONE PAIR/s           pass   low  drop │ DROPPED BY                    /s  total",
        "branch → uplink        920    80     0 │ pair                         198   2376",
        "guest → servers          0     0   198 │ ethertype                    2.0     24",
        "ENTRY, last 10 s                    /s │ QUEUE           waiting waited/s lost/s",
        "management-snmp (manageme…  pass   500 │ ordinary              0        0      0",
        "critical-voice (branch → …  pass   300 │ deprioritised        28       60    4.0",
        "management-snmp (servers …  pass   250 │ NAME",
        "known-scanner (guest → se…  drop    12 │ low  http …with-a-long-name.example.org",
        "                                       │ drop dns  tracker.example.net",
        "                                       │ pass tls  www.example.com",
        "                                       │ APPLICATION                  /s bytes/s",
        "                                       │ tls                         100   80.0k",
        "                                       │ dns                         8.0     800",
      ]
    `);
  });

  it('names both directions of a conversation on one line where there is no room for zones', () => {
    const there = flow({ name: 'news.example.com', fromZone: 'branch', toZone: 'uplink' });
    const back = flow({ name: 'news.example.com', fromZone: 'uplink', toZone: 'branch' });
    const names = { seen: true, value: namesAfter(NO_NAMES, { lost: 0n, flows: [there, back] }) } as const;
    const linesAt = (columns: number) =>
      screenOf(after({ ...before, names }, { ...now, names }), { ...LOOK, columns, rows: 40 }).filter(
        (line) => line.includes('news.example.com'),
      );
    expect(linesAt(80)).toHaveLength(1);
    expect(linesAt(120)).toHaveLength(2);
  });

  it('has more of it at 120 by 40', () => {
    expect(screenOf(after(before, now), { ...LOOK, columns: 120, rows: 40 })).toMatchInlineSnapshot(`
      [
        "kedge top  the lab "lab"                                                                by packets  every 2 s  03:14:15Z",
        "level 4 watch  epoch 17",
        "last 5 → 4 completed at 03:13:00Z by user:ada: guests scan the servers",
        "dataplane 41.2 µs/1.00 ms  overlay 12.3 ms/5.00 s  underlay 10.1 ms/10.0 s",
        "warden 12.0 ms  posture-coordinator 24.0 ms  vpp-bridge 36.0 ms  overlay 48.0 ms  underlay 60.0 ms",
        "reference alive  2 workers at epoch 17  gaps events 0 flows 0",
        "in 2000/s  out 1800/s  low 80/s  drop 200/s  flows 14 live  begun 6.0/s",
        "ZONE PAIR/s                               pass   low  drop │ DROPPED BY                                        /s  total",
        "branch → uplink                            920    80     0 │ pair                                             198   2376",
        "guest → servers                              0     0   198 │ ethertype                                        2.0     24",
        "ENTRY, last 10 s                                        /s │ QUEUE                   waiting waited/s lost/s withdrawn/s",
        "management-snmp (management → servers)          pass   500 │ ordinary                      0        0      0           0",
        "critical-voice (branch → servers)               pass   300 │ deprioritised                28       60    4.0           0",
        "management-snmp (servers → management)          pass   250 │ NAME",
        "known-scanner (guest → servers)                 drop    12 │ low  http …h-a-long-name.example.org branch → uplink",
        "                                                           │ drop dns  tracker.example.net        guest → servers",
        "                                                           │ pass tls  www.example.com            branch → uplink",
        "                                                           │ APPLICATION                                      /s bytes/s",
        "                                                           │ tls                                             100   80.0k",
        "                                                           │ dns                                             8.0     800",
      ]
    `);
  });

  it('keeps the posture and what is most urgent where there is hardly room', () => {
    expect(screenOf(after(before, now), { ...LOOK, columns: 40, rows: 12, ascii: true }))
      .toMatchInlineSnapshot(`
        [
          "kedge top  the lab "lab"  by packets  e~",
          "level 4 watch  epoch 17",
          "last 5 > 4 completed at 03:13:00Z by us~",
          "dataplane 41.2 us/1.00 ms",
          "5 of 5 services serve",
          "reference alive  2 workers at epoch 17",
          "gaps events 0 flows 0",
          "in 2000/s  out 1800/s  low 80/s",
          "drop 200/s  flows 14 live  begun 6.0/s",
          "ZONE PAIR/s             pass   low  drop",
          "branch > uplink          920    80     0",
          "guest > servers            0     0   198",
        ]
      `);
  });

  it('fits, whatever the size and whatever is in it, and shows nothing that a terminal obeys', () => {
    const text = fc.string({ unit: 'binary', maxLength: 60 });
    const count = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const many = fc.array(fc.tuple(text, text, text, count), { maxLength: 30 });
    const look = fc.record({
      columns: fc.integer({ min: 1, max: 200 }),
      rows: fc.integer({ min: 1, max: 70 }),
      ascii: fc.boolean(),
      paused: fc.boolean(),
      sort: fc.constantFrom(...SORTS),
    });
    let longest = 0;
    fc.assert(
      fc.property(
        look,
        many,
        text,
        count,
        ({ columns, rows, ascii, paused, sort }, table, foreign, wallMs) => {
          const workers = [
            worker(0, {
              reasons: Object.fromEntries(table.map(([name, , , packets]) => [`${name}-drop`, packets])),
              applications: Object.fromEntries(
                table.map(([name, , , packets]) => [name, { packets, bytes: packets }]),
              ),
              pairs: table.map(([, , , packets], at) => ({
                fromZone: at % 16,
                toZone: 3,
                verdict: 'drop',
                packets,
              })),
            }),
          ];
          const list = namesAfter(NO_NAMES, {
            lost: 1n,
            flows: table.map(([name, application, verdict]) => flow({ name, application, verdict })),
          });
          const top = after(
            reading([plane(workers, { name: foreign })], {
              target: foreign,
              coordinator: {
                seen: true,
                value: state({
                  alarms: table.map(([alarm]) => alarm),
                  transition: {
                    ...state().transition,
                    paths: [],
                    decidedAtWallMs: wallMs,
                    source: { channel: '', tier: '', principal: foreign, reason: foreign },
                  } as NonNullable<PostureState['transition']>,
                }),
              },
              bridge: {
                seen: true,
                value: show([plane(workers, { name: foreign })], {
                  zones: [{ id: 3, name: foreign }],
                  waiting: foreign,
                }),
              },
              hits: {
                seen: true,
                value: {
                  ...plan,
                  rows: table.map(([entry, fromZone, toZone, packets]) => ({
                    fromZone,
                    toZone,
                    entry,
                    verdictNow: 'drop',
                    verdictThen: 'drop',
                    effect: 'unchanged',
                    packets,
                  })),
                },
              },
              names: { seen: true, value: list },
            }),
          );
          const plain = screenOf(top, { ...LOOK, columns, rows, ascii, paused, sort });
          expect(plain.length).toBeLessThanOrEqual(rows);
          for (const line of plain) {
            longest = Math.max(longest, line.length);
            expect(line.length).toBeLessThanOrEqual(columns);
            expect(line).toMatch(ascii ? /^[\x20-\x7e]*$/ : /^[\x20-\x7e→…µ│]*$/);
          }
          const coloured = screenOf(top, { ...LOOK, columns, rows, ascii, paused, sort, colour: true });
          // Colours are all that differs; blanks at the end of a line may be inside of one.
          expect(coloured.map((line) => withoutColour(line).trimEnd())).toEqual(plain);
        },
      ),
      { numRuns: 300 },
    );
    expect(longest).toBeGreaterThan(100);
  });

  it('sorts by packets, by drops and by name', () => {
    const { pairs } = dataplane(after(before, now));
    expect(SORTS.map((sort) => sortedPairs(pairs, sort).map(({ from }) => from))).toEqual([
      ['branch', 'guest'],
      ['guest', 'branch'],
      ['branch', 'guest'],
    ]);
    const top = after(before, now);
    if (!top.entries.seen) throw new Error(top.entries.message);
    const { rows } = top.entries.value;
    expect(SORTS.map((sort) => sortedEntries(rows, sort).map(({ entry }) => entry))).toEqual([
      ['management-snmp', 'critical-voice', 'management-snmp', 'known-scanner'],
      ['known-scanner', 'management-snmp', 'critical-voice', 'management-snmp'],
      ['critical-voice', 'known-scanner', 'management-snmp', 'management-snmp'],
    ]);
  });

  it('shares rows out so that every panel has its first line before one has its second', () => {
    expect(shares(10, [9, 3, 4])).toEqual([4, 3, 3]);
    expect(shares(5, [9, 3, 4])).toEqual([3, 2, 0]);
    expect(shares(1, [9])).toEqual([0]);
    expect(shares(100, [9, 3, 4])).toEqual([9, 3, 4]);
  });

  it('has numbers of at most five characters', () => {
    const shown = [undefined, 0, 0.3, 9.94, 9.96, 42, 9_999, 9_999.6, 123_456, 1.5e6, 3.2e9, 7n, 2n ** 64n];
    expect(shown.map(amountText)).toEqual([
      '-',
      '0',
      '0.3',
      '9.9',
      '10',
      '42',
      '9999',
      '10.0k',
      '123k',
      '1.50M',
      '3.20G',
      '7',
      'many',
    ]);
  });

  it('sends only the lines that changed', () => {
    expect(frameText(['a', 'b', 'c'], ['a', 'x'])).toBe('\u001b[2;1H\u001b[2Kx\u001b[3;1H\u001b[2K');
    expect(frameText(['a'], ['a'])).toBe('');
  });
});

describe('one object per interval', () => {
  it('is one line of JSON with 64-bit numbers as strings', () => {
    const line = jsonText(after(before, now), 0);
    expect(line).not.toContain('\n');
    expect(JSON.parse(line)).toMatchObject({
      at: '2026-03-01T03:14:15.000Z',
      intervalMs: 2_000,
      posture: {
        seen: true,
        value: {
          level: 4,
          epoch: '17',
          transition: {
            paths: [{ path: 'dataplane', tookNs: '41200', budgetNs: '1000000', late: false }, {}, {}],
          },
        },
      },
      dataplane: {
        seen: true,
        value: { received: 2_000, drops: [{ reason: 'pair', perSecond: 198, packets: '2376' }, {}] },
      },
      entries: { seen: true, value: { windowS: 10 } },
      names: { seen: true, value: { lost: '0' } },
    });
  });
});
