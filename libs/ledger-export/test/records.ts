/**
 * One record of each kind, with what formats find hard, and its entry.
 * It must not know a format.
 */
import type { LedgerRecord } from '@kedge/contracts';
import { sealEntry, type SubjectKey, subjectKeyOf } from '@kedge/ledger';

const keys = new Map<string, SubjectKey>();
/** The same key for the same subject in every run. */
export function keyOf(subject: string): SubjectKey {
  const key = keys.get(subject) ?? subjectKeyOf(new Uint8Array(32).fill(keys.size + 1));
  keys.set(subject, key);
  return key;
}
export const keyBy = (id: string): SubjectKey | undefined => [...keys.values()].find((key) => key.id === id);

const head = (id: string, second: number) => ({
  id,
  appliance: 'box-7',
  at: `2026-11-22T18:00:0${second}.250Z`,
  epoch: '281474976710655',
});
const zeros = '0'.repeat(64);
const SECTIONS = ['mesh', 'tunnels', 'routes', 'sessions', 'devices', 'processes'] as const;

export const RECORDS: readonly LedgerRecord[] = [
  {
    schema: 'kedge.posture-transition/1',
    ...head('posture-transition/box-7/9', 0),
    from: 5,
    to: 2,
    outcome: 'completed',
    source: {
      channel: 'console',
      tier: 'site_owner',
      principal: '=cmd|"calc"!A1',
      reason: 'drill, with "quotes" and Ümlaut 🙂',
    },
    receivedAtNs: '1',
    decidedAtNs: '2',
    storedAtNs: '3',
    journaledAtNs: '0',
    completedAtNs: '18446744073709551615',
    durable: false,
    paths: [],
  },
  {
    schema: 'kedge.budget-violation/1',
    ...head('budget-violation/box-7/1', 1),
    kind: 'dataplane-killed',
    path: 'dataplane',
    subject: 'reference/0',
    seenAtNs: '5',
    deadlineNs: '4',
    actedAtNs: '6',
    level: 1,
    outcome: 0,
  },
  {
    schema: 'kedge.authorisation-decision/1',
    ...head('authorisation/box-7/2', 2),
    allow: false,
    rule: 'default-deny',
    reason: 'no rule allows it',
    principal: 'user:"ada"]\\',
    tier: 'apprentice',
    channel: 'local',
    action: 'posture.set',
    resource: 'posture/5',
    level: 3,
    askedAtNs: '7',
  },
  {
    schema: 'kedge.dataplane-event/1',
    ...head('dataplane-event/box-7/3', 3),
    dataplane: 'reference',
    worker: 0,
    kind: 'segment',
    oldLevel: null,
    newLevel: null,
    value: '4',
    seenAtNs: '1',
    toldAtNs: '2',
    droppedByPair: '3',
    droppedByEntry: '4',
    gap: '0',
  },
  {
    schema: 'kedge.session-transit/1',
    ...head('session-transit/box-7/s-1/4', 4),
    session: '@session]1',
    kind: 'cut',
    peer: 'user:bob',
    tier: null,
    sessionType: 'operator',
    critical: true,
    posture_level_at_transit: 3,
    sampledPercent: 100,
    reason: '-2+3',
    seenAtNs: '9',
    frames: null,
  },
  {
    schema: 'kedge.network-mutation/1',
    ...head('network-mutation/box-7/5', 5),
    mutation: 'mutation-5',
    part: 1,
    parts: 1,
    principal: 'user:bob',
    tier: 'master',
    channel: 'fleet',
    kind: 'emergency',
    level: 2,
    target: 'device/+switch',
    planId: 'plan-5',
    base: zeros,
    stepsSha256: zeros,
    steps: [{ step: 'vlan', kind: 'set', path: '/vlans/vlan', before: null, after: { id: 7 }, done: false }],
    result: 'failed',
    failure: { code: 'ROUTES_STEP', message: 'cannot' },
    startedAtNs: '1',
    finishedAtNs: '2',
  },
  {
    schema: 'kedge.drift-event/1',
    ...head('drift-event/box-7/6', 6),
    device: '-core',
    kind: 'changed',
    path: '/interfaces',
    intended: ['a,b'],
    actual: 'x\r\ny',
    severity: 'critical',
    cause: 'unmanaged-change',
    remediation: 'proposed',
    level: 4,
    sinceNs: '1',
    seenAtNs: '2',
  },
  {
    schema: 'kedge.intent-change/1',
    ...head('intent-change/box-7/9', 9),
    kind: 'expired',
    request: null,
    principal: '',
    tier: null,
    channel: null,
    level: 3,
    revision: 8,
    was: 7,
    of: 6,
    revisionId: zeros,
    documentSha256: zeros,
    confirmSeconds: null,
    comment: '',
    failure: null,
    happenedAtNs: '3',
  },
  {
    schema: 'kedge.posture-forensic-snapshot/1',
    ...head('posture-forensic-snapshot/box-7/7', 7),
    startedAtNs: '1',
    finishedAtNs: '2',
    complete: false,
    sections: SECTIONS.map((section) => ({
      section,
      complete: section !== 'mesh',
      reason: section === 'mesh' ? 'it did not answer' : '',
      items: 0,
      parts: 0,
      sha256: zeros,
    })),
  },
  {
    schema: 'kedge.posture-forensic-part/1',
    ...head('posture-forensic-part/box-7/8', 8),
    snapshot: 'posture-forensic-snapshot/box-7/7',
    section: 'tunnels',
    source: 'overlay',
    part: 1,
    parts: 1,
    takenAtNs: '8',
    reason: '',
    items: [{ name: 'wg0', state: 'connected', facts: { peers: 3 } }],
  },
];

export const ENTRIES: readonly Buffer[] = RECORDS.map((record) => sealEntry(record, keyOf));
