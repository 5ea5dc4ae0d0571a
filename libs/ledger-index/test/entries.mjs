/**
 * Entries of every kind for tests of the index: the same ones for the same numbers, their people sealed.
 * It must not know how they are indexed.
 */
import { sealEntry, subjectKeyOf } from '@kedge/ledger';

const pick = (list, number, stride) => list[Math.imul(number + 1, stride) % list.length] ?? list[0];
/** Small, and spread over its range by the number. */
const spread = (number, range) => (Math.imul(number + 7, 0x9e37_79b1) >>> 8) % range;

const PEOPLE = ['user:ada', 'user:bob', 'user:eve', ''];
const keys = new Map(PEOPLE.map((name, at) => [name, subjectKeyOf(new Uint8Array(32).fill(at + 1))]));
export const keyOf = (subject) => keys.get(subject);
export const keyBy = (id) => [...keys.values()].find((key) => key.id === id);
export const BEGIN_MS = Date.parse('2026-11-22T18:00:00.000Z');

const zeros = '0'.repeat(64);
const SECTIONS = ['mesh', 'tunnels', 'routes', 'sessions', 'devices', 'processes'];

/** By how often a kind is there; the level changes every 5,000 entries, so that whole blocks have one. */
const KINDS = [
  ...Array.from({ length: 9 }, () => 'session-transit'),
  ...['posture-transition', 'budget-violation', 'authorisation-decision', 'dataplane-event'],
  ...['network-mutation', 'drift-event', 'posture-forensic-snapshot', 'posture-forensic-part'],
  'intent-change',
];

const FIELDS = {
  'session-transit': (number, level) => ({
    session: `session-${number >> 3}`,
    kind: pick(['admitted', 'resumed', 'ended', 'refused', 'drained', 'cut', 'restricted'], number, 5),
    peer: pick(PEOPLE, number, 3),
    tier: null,
    sessionType: 'operator',
    critical: false,
    posture_level_at_transit: level,
    sampledPercent: 10,
    reason: '',
    seenAtNs: String(number),
    frames: null,
  }),
  'posture-transition': (number, level) => ({
    from: 5,
    to: level,
    outcome: pick(['completed', 'late', 'preempted', 'recovered'], number, 3),
    source: { channel: 'console', tier: 'site_owner', principal: pick(PEOPLE, number, 3), reason: 'drill' },
    receivedAtNs: '1',
    decidedAtNs: '2',
    storedAtNs: '3',
    journaledAtNs: '4',
    completedAtNs: '9',
    durable: true,
    paths: [],
  }),
  'budget-violation': (number, level) => ({
    kind: pick(['budget', 'late-loosening', 'stale-service', 'alarm'], number, 3),
    path: null,
    subject: `part-${spread(number, 9)}`,
    seenAtNs: '1',
    deadlineNs: '0',
    actedAtNs: '0',
    level: number % 2 === 0 ? level : null,
    outcome: 0,
  }),
  'authorisation-decision': (number, level) => ({
    allow: spread(number, 3) > 0,
    rule: 'console-may-tighten',
    reason: '',
    principal: pick(PEOPLE, number, 3),
    tier: 'master',
    channel: 'console',
    action: 'posture.set',
    resource: 'posture/2',
    level,
    askedAtNs: String(number),
  }),
  'dataplane-event': (number, level) => ({
    dataplane: `plane-${spread(number, 3)}`,
    worker: 0,
    kind: pick(['posture', 'tables', 'safe-level', 'segment'], number, 3),
    oldLevel: null,
    newLevel: level,
    value: '0',
    seenAtNs: '1',
    toldAtNs: '2',
    droppedByPair: '0',
    droppedByEntry: '0',
    gap: '0',
  }),
  'network-mutation': (number, level) => ({
    mutation: `mutation-${number}`,
    part: 1,
    parts: 1,
    principal: pick(PEOPLE, number, 3),
    tier: 'master',
    channel: 'local',
    kind: 'ordinary',
    level,
    target: spread(number, 2) === 0 ? `device/sw${spread(number, 5)}` : `routes/west`,
    planId: `plan-${number}`,
    base: zeros,
    stepsSha256: zeros,
    steps: [],
    result: pick(['applied', 'unchanged', 'failed', 'cancelled', 'refused'], number, 3),
    failure: null,
    startedAtNs: '1',
    finishedAtNs: '2',
  }),
  'drift-event': (number, level) => ({
    device: `sw${spread(number, 5)}`,
    kind: pick(['appeared', 'changed', 'cleared'], number, 5),
    path: '/interfaces',
    intended: null,
    actual: 1,
    severity: 'minor',
    cause: 'unknown',
    remediation: 'none',
    level,
    sinceNs: '1',
    seenAtNs: '2',
  }),
  'intent-change': (number, level) => ({
    kind: pick(['commit', 'rollback', 'expired', 'confirmed', 'refused'], number, 5),
    request: null,
    principal: pick(PEOPLE, number, 3),
    tier: 'master',
    channel: 'local',
    level,
    revision: number + 1,
    was: null,
    of: null,
    revisionId: null,
    documentSha256: null,
    confirmSeconds: null,
    comment: '',
    failure: null,
    happenedAtNs: '1',
  }),
  'posture-forensic-snapshot': (number) => ({
    startedAtNs: '1',
    finishedAtNs: '2',
    complete: number % 2 === 0,
    sections: SECTIONS.map((section) => ({
      section,
      complete: true,
      reason: '',
      items: 0,
      parts: 0,
      sha256: zeros,
    })),
  }),
  'posture-forensic-part': (number) => ({
    snapshot: `posture-forensic-snapshot/box/${number}`,
    section: pick(SECTIONS, number, 5),
    source: 'overlay',
    part: 1,
    parts: 1,
    takenAtNs: '1',
    reason: '',
    items: [],
  }),
};

/** The record of a number. Its time is a second or two off its place, and a day off behind a step of the clock. */
export function recordAt(number) {
  const kind = pick(KINDS, spread(number, 1_000), 1);
  const stepMs = number % 20_000 > 19_000 ? -86_400_000 : 0;
  return {
    schema: `kedge.${kind}/1`,
    id: `${kind}/box/${String(number).padStart(8, '0')}`,
    appliance: 'box',
    at: new Date(BEGIN_MS + 1_000 * number + spread(number, 2_000) + stepMs).toISOString(),
    epoch: String(1 + Math.floor(number / 5_000)),
    ...FIELDS[kind](number, 5 - (Math.floor(number / 5_000) % 5)),
  };
}

export const entryAt = (number) => sealEntry(recordAt(number), keyOf);
