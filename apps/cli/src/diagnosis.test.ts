/**
 * Every finding of the doctor: a healthy appliance with one thing wrong.
 * Must not need an appliance.
 */
import type { BoardFile, BoardSnapshot, PostureState, TransitionReport, Violation } from '@kedge/bus';
import type { Epoch } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { diagnosisOf, diagnosisText, type FindingId, FINDINGS, findingsOf, SEVERITIES } from './diagnosis.js';
import type { Examination } from './examination.js';

const S = 1_000_000_000n;
const NOW = 100_000n * S;
const EPOCH = 17n as Epoch;
const GIB = 1024 ** 3;

const file = (name: string): BoardFile => ({
  file: name,
  state: 'open',
  pid: 7,
  incarnation: 1n,
  alive: true,
  beatAgeNs: 40_000_000n,
  stale: false,
  serving: true,
});
const word = { value: 0n, epoch: EPOCH, level: 5, valid: true, flags: 0 } as const;
const perPath = <T>(value: T) => ({ dataplane: value, overlay: value, underlay: value });
const ack = {
  epoch: EPOCH,
  stage: 'complete',
  startedAtNs: 1n,
  finishedAtNs: 2n,
  outcome: 'applied',
  level: 5,
  changes: 0,
} as const;
const worker = {
  index: 0,
  ack,
  live: true,
  generation: 3n,
  received: 0n,
  sent: 0n,
  failClosedSeen: undefined,
};

const BOARD: BoardSnapshot = {
  atNs: NOW,
  word,
  storedAtNs: NOW - S,
  transition: undefined,
  levels: perPath(5),
  level: 5,
  gateLevels: perPath(5),
  gateLevel: 5,
  failClosed: {},
  budgetNs: perPath(1_000_000n),
  wardenFresh: true,
  postureReadable: true,
  files: ['posture', 'warden', 'tables', 'dataplane-reference', 'participant-overlay'].map(file),
  participants: [{ name: 'overlay', file: file('participant-overlay'), path: 'overlay', ack }],
  dataplanes: [
    { name: 'reference', file: file('dataplane-reference'), workers: [worker], safeLevel: undefined },
  ],
  disagreements: [],
  faults: [],
};

const TRANSITION: TransitionReport = {
  epoch: EPOCH,
  from: 4,
  to: 5,
  outcome: 'completed',
  receivedAtNs: NOW - 3n * S,
  decidedAtNs: NOW - 3n * S,
  storedAtNs: NOW - 3n * S,
  journaledAtNs: NOW - 3n * S,
  completedAtNs: NOW - 2n * S,
  durable: true,
  decidedAtWallMs: 1n,
  paths: [
    { path: 'dataplane', budgetNs: 1_000_000n, startNs: 1n, endNs: 2n, outcome: 'applied', participants: [] },
    { path: 'underlay', budgetNs: 10n * S, startNs: 1n, endNs: 2n, outcome: 'applied', participants: [] },
  ],
};

const STATE: PostureState = {
  epoch: EPOCH,
  level: 5,
  target: 5,
  transition: TRANSITION,
  failClosed: [],
  services: [],
  atNs: NOW,
  alarms: [],
  disagreements: [],
  violations: [],
};

const DEVICE = {
  ...{ device: 'access-1', driver: 'linux', state: 'accorded', why: '', revision: 7, drifts: 0 },
  ...{ readAtWallMs: 1n, nextAtWallMs: 2n, refusals: [], dormant: [], complete: true },
};

const HEALTHY: Examination = {
  atWallMs: 1_800_000_000_000,
  target: 'this appliance',
  coordinator: { seen: true, value: STATE },
  history: { seen: true, value: [TRANSITION] },
  bridge: {
    seen: true,
    value: {
      generation: 3n,
      builtAtNs: 1n,
      accordsHash: new Uint8Array(32),
      levels: [{ level: 2, valid: true, entries: 1, shapesIp4: 1, shapesIp6: 1, classify: false }],
      dataplanes: [
        { name: 'reference', alive: true, safeLevel: 0, workers: [], telemetryGaps: 0n, flowGaps: 0n },
      ],
      zones: [],
      waiting: '',
      alarms: [],
    },
  },
  ledger: {
    seen: true,
    value: {
      origin: 'kedge.example/box',
      verifier: 'key',
      size: 60_000n,
      keptFrom: 0n,
      flush: 'batched',
      level: 5,
      refusing: false,
      why: '',
      indexed: 59_000n,
      sources: [],
      alarms: [],
      keptOut: 0n,
    },
  },
  intent: {
    status: {
      seen: true,
      value: {
        ...{ phase: 'settled', level: 5, frozen: false, running: 7, startup: 7, intended: 7, modules: '' },
        ...{ validity: 'valid', revisions: 7, bytes: 900n, alarms: [] },
      },
    },
    devices: { seen: true, value: [DEVICE, { ...DEVICE, device: 'core-1', state: 'retired' }] },
  },
  others: [{ name: 'overlay', health: { seen: true, value: 'SERVING' } }],
  board: { seen: true, value: BOARD },
  foreign: [],
  violations: [],
  journal: {
    seen: true,
    value: {
      damage: undefined,
      last: { epoch: EPOCH, from: 4, to: 5, completed: true },
      reservedUpTo: 1_000n,
    },
  },
  accords: { seen: true, value: [] },
  disks: [
    { place: 'state', path: '/s', sizeBytes: 8 * GIB, freeBytes: 4 * GIB, inodes: 1_000, freeInodes: 900 },
  ],
  scheduling: [{ name: 'kedge-warden', pid: 1, realtime: true }],
};

const unseen = (code: string) => ({ seen: false, code, message: 'cannot' }) as const;
const board = (change: Partial<BoardSnapshot>): Partial<Examination> => ({
  board: { seen: true, value: { ...BOARD, ...change } },
});
const files = (name: string, change: Partial<BoardFile>): Partial<Examination> =>
  board({ files: BOARD.files.map((each) => (each.file === name ? { ...each, ...change } : each)) });
const state = (change: Partial<PostureState>): Partial<Examination> => ({
  coordinator: { seen: true, value: { ...STATE, ...change } },
});
const transition = (change: Partial<TransitionReport>): Partial<Examination> =>
  state({ transition: { ...TRANSITION, ...change } });
const bridge = (
  change: Partial<Extract<Examination['bridge'], { seen: true }>['value']>,
): Partial<Examination> =>
  HEALTHY.bridge.seen ? { bridge: { seen: true, value: { ...HEALTHY.bridge.value, ...change } } } : {};
const ledger = (
  change: Partial<Extract<Examination['ledger'], { seen: true }>['value']>,
): Partial<Examination> =>
  HEALTHY.ledger.seen ? { ledger: { seen: true, value: { ...HEALTHY.ledger.value, ...change } } } : {};
const witness = (state: string, why: string): Partial<Examination> =>
  ledger({ witness: { url: 'http://witness', state, size: 3n, why }, alarms: [why] });
type IntentSeen = NonNullable<Examination['intent']>;
const intent = (change: Partial<IntentSeen>): Partial<Examination> =>
  HEALTHY.intent === undefined ? {} : { intent: { ...HEALTHY.intent, ...change } };
const alarming = (alarm: string): IntentSeen['status'] => {
  const status = HEALTHY.intent?.status;
  return status?.seen === true ? { seen: true, value: { ...status.value, alarms: [alarm] } } : unseen('X_Y');
};
const device = (change: Partial<typeof DEVICE>): Partial<Examination> =>
  intent({ devices: { seen: true, value: [{ ...DEVICE, ...change }] } });
const disk = (freeBytes: number, freeInodes = 900): Partial<Examination> => ({
  disks: HEALTHY.disks.map((each) => ({ ...each, freeBytes, freeInodes })),
});
const violation = (change: Partial<Violation>): Violation => ({
  number: 0n,
  kind: 'budget',
  path: 'overlay',
  atNs: NOW - 90n * S,
  epoch: EPOCH,
  deadlineNs: NOW - 91n * S,
  level: 2,
  outcome: 0,
  actedAtNs: NOW - 89n * S,
  subject: 'participant-overlay',
  ...change,
});
const behind = (overdue: boolean): Partial<Examination> =>
  board({
    disagreements: [
      {
        who: 'overlay',
        path: 'overlay',
        believes: { epoch: 16n as Epoch, level: 5 },
        inForce: { epoch: EPOCH, level: 2 },
        ageNs: 6n * S,
        overdue,
      },
    ],
  });

/** One thing wrong; the finding; what has to be said about it. */
const CASES: readonly (readonly [id: FindingId, wrong: Partial<Examination>, said: RegExp])[] = [
  ['coordinator-unreachable', { coordinator: unseen('BUS_DEADLINE') }, /cannot \[BUS_DEADLINE\]/],
  ['bridge-unreachable', { bridge: unseen('BUS_UNREACHABLE') }, /BUS_UNREACHABLE/],
  ['ledger-unreachable', { ledger: unseen('BUS_UNREACHABLE') }, /BUS_UNREACHABLE/],
  ['ledger-refuses', ledger({ refusing: true, why: 'LEDGER_FULL: no room' }), /no room/],
  ['ledger-contradicted', witness('older', 'it was put back'), /put back/],
  ['ledger-contradicted', witness('fork', 'another history'), /another history/],
  ['ledger-index-behind', ledger({ indexed: 9_999n }), /50001 of 60000/],
  ['alarm', witness('unreachable', 'the witness is away'), /is away/],
  ['intent-unreachable', intent({ status: unseen('BUS_UNREACHABLE') }), /BUS_UNR/],
  ['alarm', intent({ status: alarming('revision 7 was not confirmed') }), /revision 7 was not/],
  ['device-unreachable', device({ state: 'unreachable', why: 'no answer by SSH' }), /by SSH/],
  ['device-refused', device({ state: 'refused', why: 'VLAN 20 is none of the site' }), /VLAN 20/],
  ['device-drifted', device({ state: 'drifted', drifts: 2 }), /^2 differences$/],
  ['service-unreachable', { others: [{ name: 'underlay', health: unseen('BUS_UNREACHABLE') }] }, /BUS_UNR/],
  [
    'service-not-serving',
    { others: [{ name: 'underlay', health: { seen: true, value: 'NOT_SERVING' } }] },
    /NOT_SERVING/,
  ],
  ['service-not-serving', files('tables', { serving: false }), /does not serve yet/],
  ['service-stale', files('tables', { stale: true, beatAgeNs: 4n * S }), /no heartbeat for 4\.00 s/],
  ['service-stale', files('posture', { stale: true, beatAgeNs: undefined }), /never beat/],
  ['warden-silent', files('warden', { stale: true, beatAgeNs: 2n * S }), /2\.00 s/],
  ['board-unreadable', { board: unseen('SEGMENT_DIRECTORY') }, /SEGMENT_DIRECTORY/],
  [
    'board-file-missing',
    files('tables', { state: 'missing', why: { code: 'SEGMENT_OWNER', message: 'owned by 1' } }),
    /"tables" is missing: owned by 1 \[SEGMENT_OWNER\]/,
  ],
  ['board-file-foreign', { foreign: ['participant-guest'] }, /no configuration names it/],
  ['board-fault', board({ faults: [{ file: 'posture', field: 'level', found: '9' }] }), /level: 9/],
  ['no-decision', board({ word: { ...word, valid: false, epoch: 0n as Epoch } }), /epoch 0/],
  [
    'fail-closed',
    board({ failClosed: { overlay: { ...word, level: 2, setAtNs: NOW - 5n * S } } }),
    /2 emergency since epoch 17, for 5\.00 s/,
  ],
  ['safe-level', board({ dataplanes: BOARD.dataplanes.map((each) => ({ ...each, safeLevel: 2 })) }), /2 em/],
  [
    'dataplane-dead',
    board({
      dataplanes: BOARD.dataplanes.map((each) => ({ ...each, workers: [{ ...worker, live: false }] })),
    }),
    /none of its 1 workers/,
  ],
  ['epochs-disagree', behind(true), /applied 5 normal of epoch 16; in force is 2 emergency of epoch 17/],
  ['epochs-disagree', state({ epoch: 18n }), /answers epoch 18, and the posture word says 17/],
  ['participant-behind', behind(false), /for 6\.00 s/],
  [
    'participant-failed',
    board({
      participants: BOARD.participants.map((each) => ({ ...each, ack: { ...ack, outcome: 'failed' } })),
    }),
    /epoch 17, stage complete/,
  ],
  ['transition-overdue', transition({ outcome: 'running', decidedAtNs: NOW - 16n * S }), /16\.0 s/],
  [
    'transition-late',
    transition({ outcome: 'late', paths: TRANSITION.paths.map((each) => ({ ...each, outcome: 'late' })) }),
    /dataplane late, underlay late/,
  ],
  ['not-durable', transition({ durable: false }), /journal could not be written/],
  [
    'violation',
    { violations: [violation({})] },
    /missed the budget of overlay; 2 emergency was enforced, last at epoch 17, 90\.0 s ago/,
  ],
  [
    'violation',
    { violations: [violation({ kind: 'service-died', path: undefined, level: undefined, actedAtNs: 0n })] },
    /died and was started again; no line was set/,
  ],
  [
    'violations-past',
    { violations: [violation({ atNs: NOW - 3_601n * S })] },
    /1 events, all more than an hour/,
  ],
  ['alarm', state({ alarms: ['the wall clock went back'] }), /the wall clock went back/],
  ['alarm', bridge({ alarms: ['the spool is full'] }), /the spool is full/],
  [
    'journal-damaged',
    {
      journal: {
        seen: true,
        value: { damage: { offset: 256, why: 'checksum' }, last: undefined, reservedUpTo: 0n },
      },
    },
    /byte 256: checksum/,
  ],
  ['journal-missing', { journal: unseen('ENOENT') }, /ENOENT/],
  [
    'journal-behind',
    {
      journal: {
        seen: true,
        value: {
          damage: undefined,
          last: { epoch: 16n, from: 5, to: 4, completed: true },
          reservedUpTo: 1_000n,
        },
      },
    },
    /ends with epoch 16, in force is epoch 17/,
  ],
  ['accords-invalid', { accords: { seen: true, value: ['/level[2]: unknown zone'] } }, /unknown zone/],
  ['accords-invalid', { accords: unseen('ENOENT') }, /ENOENT/],
  [
    'tables-invalid',
    bridge({
      levels: [{ level: 2, valid: false, entries: 0, shapesIp4: 0, shapesIp6: 0, classify: false }],
    }),
    /not valid/,
  ],
  ['tables-waiting', bridge({ waiting: 'worker 0 still uses generation 2' }), /generation 2/],
  ['disk-full', disk(20 * 1024 ** 2), /20 MiB of 8\.0 GiB free at \/s/],
  ['disk-full', disk(4 * GIB, 3), /3 of 1000 files left/],
  ['disk-low', disk(300 * 1024 ** 2), /300 MiB of 8\.0 GiB/],
  ['realtime-missing', { scheduling: [{ name: 'kedge-forwarder', pid: 9, realtime: false }] }, /process 9/],
  [
    'telemetry-gaps',
    bridge({
      dataplanes: [
        { name: 'reference', alive: true, safeLevel: 0, workers: [], telemetryGaps: 5n, flowGaps: 0n },
      ],
    }),
    /5 events/,
  ],
  ['not-looked-at', { journal: unseen('EACCES') }, /cannot/],
  ['not-looked-at', { accords: unseen('EACCES') }, /cannot/],
];

describe('the doctor', () => {
  it('finds nothing on a healthy appliance', () => {
    expect(findingsOf(HEALTHY)).toEqual([]);
    expect(diagnosisText(diagnosisOf(HEALTHY))).toBe(
      'this appliance: level 5 normal, epoch 17\nhealthy, nothing found',
    );
  });

  it.for(CASES)('PO-20 finds %s alone', ([id, wrong, said]) => {
    const findings = findingsOf({ ...HEALTHY, ...wrong });
    expect(findings.map((each) => each.id)).toEqual([id]);
    expect(findings[0]?.what).toMatch(said);
    expect(findings[0]?.severity).toBe(FINDINGS[id].severity);
  });

  it('every kind of finding has a case above and a row in docs/cli.md, and the other way round', () => {
    const known = Object.keys(FINDINGS).sort();
    expect([...new Set(CASES.map(([id]) => id))].sort()).toEqual(known);
    const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `([a-z-]+)` \| (failure|warning|notice) \|/gm)];
    expect(rows.map(([, id = '', severity = '']) => `${id} ${severity}`).sort()).toEqual(
      known.map((id) => `${id} ${FINDINGS[id as FindingId].severity}`),
    );
  });

  it('PO-13 the warden’s events are shown without a line set, counted together, and an action that failed is a failure', () => {
    const kinds = ['late-loosening', 'stale-service', 'dataplane-killed', 'alarm'] as const;
    const violations = [
      ...kinds.map((kind) => violation({ kind, level: undefined, actedAtNs: 0n })),
      violation({ number: 5n }),
      violation({ number: 6n, atNs: NOW - 2n * S }),
      violation({ number: 7n, kind: 'fail-closed-cleared' }),
      violation({ number: 8n, outcome: 2, subject: 'underlay', path: 'underlay' }),
    ];
    const findings = findingsOf({ ...HEALTHY, violations });
    expect(findings).toHaveLength(kinds.length + 2);
    expect(findings.filter(({ what }) => what.includes('no line was set'))).toHaveLength(kinds.length);
    expect(findings.filter(({ what }) => /2 times, last at epoch 17, 2\.00 s ago/.test(what))).toHaveLength(
      1,
    );
    expect(findings[0]).toMatchObject({ severity: 'failure', subject: 'underlay' });
    expect(findings[0]?.what).toContain('the action of the path FAILED with 2');
  });

  it('what is under way is no disagreement yet', () => {
    const running = { ...TRANSITION, epoch: 18n, outcome: 'running', durable: false };
    expect(findingsOf({ ...HEALTHY, ...state({ epoch: 18n, transition: running }) })).toEqual([]);
  });

  it('the worst comes first; only notices are healthy; nobody’s text moves the cursor', () => {
    const diagnosis = diagnosisOf({
      ...HEALTHY,
      ...state({ alarms: ['\u001b[2Jgone\u202e'] }),
      journal: unseen('EACCES'),
      bridge: unseen('BUS_UNREACHABLE'),
    });
    expect(diagnosis.findings.map(({ severity }) => severity)).toEqual(SEVERITIES);
    expect(diagnosis).toMatchObject({ healthy: false, count: { failure: 1, warning: 1, notice: 1 } });
    const text = diagnosisText(diagnosis);
    expect(text).toContain('\n1 failure, 1 warning, 1 notice\n');
    expect(text).toContain('WARNING  posture-coordinator: �[2Jgone�  [alarm]\n         means: ');
    expect(diagnosisOf({ ...HEALTHY, journal: unseen('EACCES') }).healthy).toBe(true);
  });
});
