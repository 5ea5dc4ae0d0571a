import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { levelOfPostureResource, postureResource } from './authorisation.js';
import { type PluginManifest, pluginManifestSchema } from './plugin.js';
import {
  type LedgerRecord,
  ledgerRecordSchema,
  lineOf,
  PERSONAL_FIELDS,
  RECORD_SCHEMAS,
  SNAPSHOT_SECTIONS,
} from './record.js';

const head = {
  id: 'x/box/000001',
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '281474976710655',
};
const examples: { readonly [Schema in LedgerRecord['schema']]: Extract<LedgerRecord, { schema: Schema }> } = {
  'kedge.posture-transition/1': {
    schema: 'kedge.posture-transition/1',
    ...head,
    from: 5,
    to: 2,
    outcome: 'completed',
    source: { channel: 'console', tier: 'site_owner', principal: 'user:ada', reason: 'drill' },
    receivedAtNs: '1',
    decidedAtNs: '2',
    storedAtNs: '3',
    journaledAtNs: '0',
    completedAtNs: '18446744073709551615',
    durable: false,
    paths: [
      {
        path: 'dataplane',
        budgetNs: '1000000',
        startNs: '2',
        endNs: '9',
        outcome: 'applied',
        participants: [
          {
            name: 'reference/0',
            startedAtNs: '3',
            finishedAtNs: '8',
            outcome: 'applied',
            level: 2,
            changes: 0,
          },
        ],
      },
    ],
  },
  'kedge.budget-violation/1': {
    schema: 'kedge.budget-violation/1',
    ...head,
    kind: 'budget',
    path: 'overlay',
    subject: 'overlay',
    seenAtNs: '5',
    deadlineNs: '4',
    actedAtNs: '6',
    level: 2,
    outcome: -1,
  },
  'kedge.authorisation-decision/1': {
    schema: 'kedge.authorisation-decision/1',
    ...head,
    allow: false,
    rule: 'default-deny',
    reason: 'no rule allows it',
    principal: '',
    tier: 'apprentice',
    channel: 'local',
    action: 'posture.set',
    resource: 'posture/5',
    level: 3,
    askedAtNs: '7',
  },
  'kedge.dataplane-event/1': {
    schema: 'kedge.dataplane-event/1',
    ...head,
    dataplane: 'reference',
    worker: 15,
    kind: 'posture',
    oldLevel: 5,
    newLevel: 2,
    value: '3',
    seenAtNs: '4',
    toldAtNs: '5',
    droppedByPair: '18446744073709551615',
    droppedByEntry: '0',
    gap: '1',
  },
  'kedge.session-transit/1': {
    schema: 'kedge.session-transit/1',
    ...head,
    session: 'session-000001',
    kind: 'cut',
    peer: 'user:ada',
    tier: 'journeyman',
    sessionType: 'operator',
    critical: false,
    posture_level_at_transit: 1,
    sampledPercent: 100,
    reason: 'posture 1 ends remote sessions',
    seenAtNs: '9',
    frames: { headers: ['00ff'], omitted: '0', payloadSha256: 'ab'.repeat(32) },
  },
  'kedge.network-mutation/1': {
    schema: 'kedge.network-mutation/1',
    ...head,
    mutation: 'mutation-7',
    part: 1,
    parts: 1,
    principal: 'user:ada',
    tier: 'master',
    channel: 'local',
    kind: 'ordinary',
    level: 5,
    target: 'device/access-1',
    planId: 'plan-7',
    base: 'ab'.repeat(32),
    stepsSha256: 'cd'.repeat(32),
    steps: [{ step: 'vlan-20/port-3', kind: 'set', path: '/vlans/vlan', before: null, after: 7, done: true }],
    result: 'failed',
    failure: { code: 'SNMP_TIMEOUT', message: 'no answer from access-1' },
    startedAtNs: '1',
    finishedAtNs: '2',
  },
  'kedge.drift-event/1': {
    schema: 'kedge.drift-event/1',
    ...head,
    device: 'access-1',
    kind: 'appeared',
    path: '/interfaces/interface',
    intended: 'up',
    actual: false,
    severity: 'major',
    cause: 'unmanaged-change',
    remediation: 'proposed',
    level: 4,
    sinceNs: '1',
    seenAtNs: '2',
  },
  'kedge.intent-change/1': {
    schema: 'kedge.intent-change/1',
    ...head,
    kind: 'refused',
    request: 'rollback',
    principal: 'user:ada',
    tier: 'master',
    channel: 'local',
    level: 5,
    revision: 7,
    was: null,
    of: 3,
    revisionId: 'ab'.repeat(32),
    documentSha256: 'cd'.repeat(32),
    confirmSeconds: 600,
    comment: 'back to what worked',
    failure: { code: 'INTENT_INVALID', message: 'cannot put it in force' },
    happenedAtNs: '9',
  },
  'kedge.posture-forensic-snapshot/1': {
    schema: 'kedge.posture-forensic-snapshot/1',
    ...head,
    startedAtNs: '1',
    finishedAtNs: '2',
    complete: false,
    sections: SNAPSHOT_SECTIONS.map((section) => ({
      section,
      complete: false,
      reason: 'no answer',
      items: 0,
      parts: 0,
      sha256: 'ef'.repeat(32),
    })),
  },
  'kedge.posture-forensic-part/1': {
    schema: 'kedge.posture-forensic-part/1',
    ...head,
    snapshot: 'snapshot/box/7',
    section: 'tunnels',
    source: 'overlay',
    part: 1,
    parts: 2,
    takenAtNs: '7',
    reason: '',
    items: [{ name: 'wg-kedge/peer', state: 'connected', facts: '12 s' }],
  },
};

type Path = readonly (string | number)[];

/** Every leaf of a record, by its path. */
function leavesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, part]) =>
    leavesOf(part, [...path, Array.isArray(value) ? Number(key) : key]),
  );
}

function withChange(value: unknown, [key, ...rest]: Path, change: (old: unknown) => unknown): unknown {
  if (key === undefined) return change(value);
  if (Array.isArray(value))
    return value.map((item, at) => (at === key ? withChange(item, rest, change) : (item as unknown)));
  const old = value as Record<string, unknown>;
  const next = withChange(old[key], rest, change);
  const { [key]: _, ...others } = old;
  return next === undefined ? others : { ...old, [key]: next };
}

/** Fields whose content another part knows: any JSON that a YANG tree could hold. */
const ANY_JSON = ['before', 'after', 'intended', 'actual', 'facts'];
/** Fields of one line that somebody else wrote. */
const LINES = ['principal', 'reason', 'resource', 'peer', 'target', 'message', 'step', 'comment'];

const wrongOf = (name: string, { schema }: LedgerRecord): readonly unknown[] => {
  const isLine =
    LINES.includes(name) ||
    (name === 'path' && /mutation|drift/.test(schema)) ||
    (name === 'name' && schema === 'kedge.posture-forensic-part/1');
  if (ANY_JSON.includes(name)) return [1.5, 2 ** 53, 1n, '\ud800', () => 1];
  if (name === 'epoch') return ['281474976710656', '-1', '01', '', 7, '7n'];
  if (/Ns$|^value$|^dropped|^gap$/.test(name))
    return ['18446744073709551616', '-1', '01', '1.5', '', ' 1', 1, 1n, null];
  if (name === 'worker') return [-1, 16, 1.5, '1', null];
  if (/level(_at_transit)?$/i.test(name) || name === 'from' || name === 'to') return [0, 6, 2.5, '2', 2n];
  if (schema === 'kedge.intent-change/1') {
    if (['revisionId', 'documentSha256'].includes(name)) return ['AB'.repeat(32), 'ab'.repeat(31), '', 7];
    if (['revision', 'was', 'of', 'confirmSeconds'].includes(name)) return [0, -1, 1.5, 2 ** 32, '1'];
  }
  if (/sha256$|^base$/i.test(name)) return ['AB'.repeat(32), 'ab'.repeat(31), '', null];
  if (name === 'headers') return ['', '0', 'FF', '00'.repeat(65), 7];
  if (name === 'omitted') return ['-1', 1, null];
  if (/^parts?$|^items$/.test(name)) return [-1, 1.5, 2 ** 32, '1'];
  if (name === 'sampledPercent') return [-1, 101, 0.5, '10'];
  if (['critical', 'complete', 'done'].includes(name)) return ['true', 1, null];
  if (name === 'durable' || name === 'allow') return ['true', 1, null];
  if (name === 'changes') return [-1, 1.5, 2 ** 32, '1'];
  if (name === 'outcome') return ['done', 1.5, null];
  if (name === 'at') return ['2026-11-22', '2026-11-22T18:00:00Z', '2026-11-22T18:00:00.000+01:00', 'now', 5];
  if (name === 'id') return ['short', 'x'.repeat(201), 'with space in it', 7];
  if (isLine) return ['x'.repeat(600), 'two\nlines', '\u0007', '\ud800', 7, null];
  return ['', 'no such thing', 'x'.repeat(300), 7];
};

describe('records', () => {
  it('LE-1 each kind has an example that its schema takes as it is', () => {
    expect(Object.keys(examples)).toEqual([...RECORD_SCHEMAS]);
    for (const record of Object.values(examples)) expect(ledgerRecordSchema.parse(record)).toEqual(record);
  });

  it('LE-1 each field of each kind is refused when it is wrong, missing, or there is one more', () => {
    let visited = 0;
    for (const record of Object.values(examples)) {
      for (const path of leavesOf(record)) {
        const name = String(path.findLast((part) => typeof part === 'string'));
        for (const wrong of [...wrongOf(name, record), undefined]) {
          const result = ledgerRecordSchema.safeParse(withChange(record, path, () => wrong));
          expect(result.success, `${record.schema} ${path.join('.')} = ${String(wrong)}`).toBe(false);
          const field = result.error?.issues[0]?.path ?? [];
          if (name !== 'schema') expect(path.slice(0, field.length)).toEqual(field);
        }
        visited += 1;
      }
      expect(ledgerRecordSchema.safeParse({ ...record, colour: 'red' }).success).toBe(false);
    }
    expect(visited).toBe(28 + 13 + 16 + 16 + 18 + 28 + 16 + 21 + 44 + 15);
  });

  it('LE-9 each personal field is a string of its kind, and so is what names its subject', () => {
    let visited = 0;
    for (const record of Object.values(examples)) {
      const paths = leavesOf(record).map((path) => path.join('.'));
      for (const { path, subject } of PERSONAL_FIELDS[record.schema]) {
        expect(paths).toContain(path.join('.'));
        expect(paths).toContain(subject.join('.'));
        expect(ledgerRecordSchema.safeParse(withChange(record, path, () => 'user:eve')).success).toBe(true);
        visited += 1;
      }
    }
    expect(visited).toBe(7);
  });

  it('LE-1 what an event may lack is null, never absent', () => {
    const violation = { ...examples['kedge.budget-violation/1'], path: null, level: null };
    expect(ledgerRecordSchema.parse(violation)).toEqual(violation);
    const event = { ...examples['kedge.dataplane-event/1'], oldLevel: null, newLevel: null };
    expect(ledgerRecordSchema.parse(event)).toEqual(event);
  });
});

describe('plugin manifests', () => {
  const manifest: PluginManifest = {
    schema: 'kedge.plugin/1',
    name: 'cisco-catalyst',
    version: '1.2.3',
    kind: 'device-driver',
    description: 'Catalyst switches over SNMP.',
    entry: 'dist/index.js',
    capabilities: ['device.read', 'device.write'],
    api: { min: '1.0.0', max: '1.10.0' },
    contentHash: 'ab'.repeat(32),
    signature: `${'A'.repeat(86)}==`,
  };

  it('a whole one is taken, with and without a signature', () => {
    expect(pluginManifestSchema.parse(manifest)).toEqual(manifest);
    const { signature: _, ...unsigned } = manifest;
    expect(pluginManifestSchema.parse(unsigned)).toEqual(unsigned);
  });

  it('each field is refused when it is wrong', () => {
    const wrong: Readonly<Record<keyof PluginManifest, readonly unknown[]>> = {
      schema: ['kedge.plugin/2', undefined],
      name: ['', 'Cisco', '9to5', 'x'.repeat(32), 'a b'],
      version: ['1.2', 'v1.2.3', '01.2.3', 1],
      kind: ['driver', undefined],
      description: ['', 'x'.repeat(201)],
      entry: ['/etc/passwd', '../escape.js', 'a/../b.js', './a.js', '', 'a//b.js'],
      capabilities: [['device.read', 'device.read'], ['all'], 'device.read'],
      api: [{ min: '2.0.0', max: '1.9.9' }, { min: '1.10.0', max: '1.9.0' }, { min: '1.0.0' }, {}],
      contentHash: ['AB'.repeat(32), 'ab'.repeat(31), ''],
      signature: ['A'.repeat(88), ''],
    };
    let visited = 0;
    for (const [field, values] of Object.entries(wrong)) {
      for (const value of values) {
        const result = pluginManifestSchema.safeParse({ ...manifest, [field]: value });
        expect(result.success, `${field} = ${JSON.stringify(value)}`).toBe(false);
        expect(result.error?.issues[0]?.path[0]).toBe(field);
        visited += 1;
      }
    }
    expect(visited).toBe(33);
  });
});

describe('resources', () => {
  it('a posture resource names its level and nothing else does', () => {
    for (const level of [1, 2, 3, 4, 5] as const)
      expect(levelOfPostureResource(postureResource(level))).toBe(level);
    for (const text of ['posture/0', 'posture/6', 'posture/33', 'posture', 'xposture/3', 'posture/3 ']) {
      expect(levelOfPostureResource(text)).toBeUndefined();
    }
  });
});

describe('text of anybody', () => {
  it('LE-1 is put on one line that every record takes, cut between characters and otherwise as it was', () => {
    const sample = examples['kedge.authorisation-decision/1'];
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 1_200 }), (text) => {
        const reason = lineOf(text, 512);
        expect(ledgerRecordSchema.safeParse({ ...sample, reason }).error).toBeUndefined();
        expect(reason.length).toBeGreaterThanOrEqual(Math.min(text.length, 511));
      }),
    );
    expect(lineOf('a\r\nb\u0000c\ud800', 512)).toBe('a  b c ');
    expect(lineOf('😀😀', 3)).toBe('😀');
    expect(lineOf('Grüße', 512)).toBe('Grüße');
  });
});
