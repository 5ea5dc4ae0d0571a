/**
 * Entries with sealed personal fields, and the choice of sessions.
 */
import type { LedgerRecord, SessionTransit } from '@kedge/contracts';
import { PERSONAL_FIELDS, TRANSIT_KINDS } from '@kedge/contracts';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import { MAX_RECORD_BYTES } from './canonical.js';
import { canonicalJson } from './canonical-json.js';
import { openEntry, pseudonymised, sealEntry, type SubjectKey, subjectKeyOf } from './entry.js';
import { leafHash } from './merkle-tree.js';
import { isInSample, isRecorded, isRightlyRecorded } from './sampling.js';

const code = (name: string): unknown => expect.objectContaining({ code: name });

const transition = (principal: string, reason: string, number = 1): LedgerRecord => ({
  schema: 'kedge.posture-transition/1',
  id: `posture-transition/box/${number}`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: String(number),
  from: 5,
  to: 2,
  outcome: 'completed',
  source: { channel: 'console', tier: 'site_owner', principal, reason },
  receivedAtNs: '1',
  decidedAtNs: '2',
  storedAtNs: '3',
  journaledAtNs: '0',
  completedAtNs: '9',
  durable: true,
  paths: [],
});

const transit = (session: string, more: Partial<SessionTransit> = {}): SessionTransit => ({
  schema: 'kedge.session-transit/1',
  id: `session-transit/box/${session}/1`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  session,
  kind: 'admitted',
  peer: 'user:ada',
  tier: 'journeyman',
  sessionType: 'operator',
  critical: false,
  posture_level_at_transit: 5,
  sampledPercent: 10,
  reason: '',
  seenAtNs: '9',
  frames: null,
  ...more,
});

/** Keys by subject, made from its name so that every run has the same ones. */
class Keys {
  readonly #bySubject = new Map<string, SubjectKey>();

  readonly of = (subject: string): SubjectKey => {
    const bytes = createHash('sha256').update(`test ${subject}`).digest();
    const key = this.#bySubject.get(subject) ?? subjectKeyOf(bytes);
    this.#bySubject.set(subject, key);
    return key;
  };
  readonly by = (id: string): SubjectKey | undefined =>
    [...this.#bySubject.values()].find((key) => key.id === id);

  destroy(subject: string): void {
    this.#bySubject.delete(subject);
  }
}

const line = (max: number) =>
  fc.string({ unit: 'binary', maxLength: max }).map((text) => text.replaceAll(/[\p{Cc}\p{Cs}]/gu, ''));

describe('entries', () => {
  it('LE-9 a record comes back as it was, and its entry says nothing of the people in it', () => {
    fc.assert(
      fc.property(line(60), line(200), (principal, reason) => {
        const keys = new Keys();
        const record = transition(principal, reason);
        const entry = sealEntry(record, keys.of);
        expect(openEntry(entry, keys.by)).toEqual({
          record,
          erased: [],
          keys: principal === '' ? [] : [keys.of(principal).id],
        });
        if (principal.length > 8) expect(entry.includes(principal)).toBe(false);
        if (principal !== '' && reason.length > 8) expect(entry.includes(reason)).toBe(false);
        // The same record is the same leaf, however often it is sealed.
        expect(sealEntry(record, keys.of)).toEqual(entry);
      }),
      { numRuns: 200 },
    );
  });

  it('LE-9 destroying the key of a subject erases its fields for ever, and changes no hash', () => {
    const keys = new Keys();
    const given = ['user:ada', 'user:bob', 'user:ada'].map((name, at) =>
      transition(name, `call ${name}`, at + 1),
    );
    const entries = given.map((record) => sealEntry(record, keys.of));
    const leaves = entries.map(leafHash);
    const id = keys.of('user:ada').id;
    keys.destroy('user:ada');
    const opened = entries.map((entry) => openEntry(entry, keys.by));
    expect(entries.map(leafHash)).toEqual(leaves);
    expect(opened[1]?.record).toEqual(given[1]);
    for (const { record, erased, keys: left } of [opened[0], opened[2]].flatMap((each) => each ?? [])) {
      expect(record).toMatchObject({ source: { principal: '', reason: '', channel: 'console' } });
      expect(erased).toEqual(PERSONAL_FIELDS['kedge.posture-transition/1'].map(({ path }) => path));
      expect(left).toEqual([id]);
    }
  });

  it('LE-9 an export for others has one pseudonym for each subject, and needs no key', () => {
    const keys = new Keys();
    const [ada, bob] = ['user:ada', 'user:bob'].map((name) => sealEntry(transition(name, 'drill'), keys.of));
    const again = sealEntry(transition('user:ada', 'drill', 2), keys.of);
    const pseudonym = (entry: Buffer = Buffer.alloc(0)): unknown => {
      const record = pseudonymised(entry);
      return record.schema === 'kedge.posture-transition/1' ? record.source.principal : undefined;
    };
    expect(pseudonym(ada)).toBe(`subject:${keys.of('user:ada').id}`);
    expect(pseudonym(again)).toBe(pseudonym(ada));
    expect(pseudonym(bob)).not.toBe(pseudonym(ada));
    expect(canonicalJson(pseudonymised(ada ?? Buffer.alloc(0)))).not.toMatch(/ada|drill/);
  });

  it('LE-9 a sealed field opens in its own record and its own place only, and with its own key', () => {
    const keys = new Keys();
    const entry = sealEntry(transition('user:ada', 'drill'), keys.of);
    const text = entry.toString();
    const [principal = '', reason = ''] = [...text.matchAll(/\{"sealed":\{[^}]*\}\}/g)].map(
      ([sealed]) => sealed,
    );
    expect(principal).not.toBe(reason);
    const forged = [
      text.replace('/box/1"', '/box/2"'),
      text.replace(principal, reason).replace(`"reason":${reason}`, `"reason":${principal}`),
      text.replace(/"data":"./, (all) => `${all.slice(0, -1)}${all.endsWith('A') ? 'B' : 'A'}`),
      text.replace(/"data":"[^"]*"/, '"data":"AAAA"'),
    ];
    for (const each of forged) {
      expect(each).not.toBe(text);
      expect(() => openEntry(Buffer.from(each), keys.by), each).toThrow(code('LEDGER_SEAL_BROKEN'));
    }
    expect(() => openEntry(entry, () => keys.of('user:bob'))).toThrow(code('LEDGER_SEAL_BROKEN'));
    expect(() => subjectKeyOf(Buffer.alloc(31))).toThrow(RangeError);
  });

  it('LE-1 nothing passes for an entry but canonical bytes of a record of a known schema', () => {
    const keys = new Keys();
    const text = sealEntry(transition('user:ada', 'drill'), keys.of).toString();
    const wrong = [
      ...[
        '',
        '{}',
        'null',
        '[]',
        ` ${text}`,
        text.replace('transition/1', 'transition/2'),
        text.replace('"to":2', '"to":9'),
      ],
      ...[
        text.replace('"key":"', '"key":"x'),
        text.replace('"data":"', '"data":"*'),
        text.replace('"key":', '"kez":'),
      ],
      ...[text.replace('"durable":true', '"durable":{"sealed":{"data":"AAAA","key":"0000000000000000"}}')],
      ...[
        text.replace('"source":{', '"source":{"colour":"red",'),
        text.replace('{"appliance"', '{"__proto__":1,"appliance"'),
        '['.repeat(60_000),
      ],
    ];
    for (const each of wrong) {
      expect(() => openEntry(Buffer.from(each), keys.by), each).toThrow(code('LEDGER_RECORD_INVALID'));
      expect(() => pseudonymised(Buffer.from(each)), each).toThrow(code('LEDGER_RECORD_INVALID'));
    }
    expect(wrong).toHaveLength(14);
    expect(() => openEntry(Buffer.alloc(65_536), keys.by)).toThrow(code('LEDGER_RECORD_INVALID'));
  });

  it('the largest record is an entry that fits a bundle, whatever is sealed in it', () => {
    const keys = new Keys();
    const wide = '\u{1f600}'.repeat(64);
    const record = transition(wide, '\u{1f600}'.repeat(256));
    const participant = {
      name: 'x'.repeat(64),
      startedAtNs: '1',
      finishedAtNs: '2',
      outcome: 'applied' as const,
      level: 2 as const,
      changes: 0,
    };
    const participants: (typeof participant)[] = [];
    const path = {
      path: 'overlay' as const,
      budgetNs: '1',
      startNs: '1',
      endNs: '2',
      outcome: 'applied' as const,
    };
    if (record.schema !== 'kedge.posture-transition/1') throw new Error('another kind');
    const paths = [1, 2, 3].map(() => ({ ...path, participants: [...participants] }));
    const full = { ...record, paths };
    fill: for (const each of paths) {
      for (let at = 0; at < 256; at++) {
        each.participants.push(participant);
        if (Buffer.byteLength(canonicalJson(full)) <= MAX_RECORD_BYTES) continue;
        each.participants.pop();
        break fill;
      }
    }
    expect(Buffer.byteLength(canonicalJson(full))).toBeGreaterThan(MAX_RECORD_BYTES - 300);
    expect(sealEntry(full, keys.of).length).toBeLessThanOrEqual(65_535);
  });
});

describe('sampling', () => {
  const session = fc.stringMatching(/^[!-~]{1,64}$/);
  const percent = fc.integer({ min: 0, max: 100 });

  it('LE-3 all routine transits of a session are in, or all out, and a larger share holds every smaller one', () => {
    fc.assert(
      fc.property(session, percent, percent, (id, a, b) => {
        const [small, large] = a < b ? [a, b] : [b, a];
        const kept = (share: number): boolean[] =>
          (['admitted', 'resumed', 'ended'] as const).map((kind) => isRecorded({ kind, session: id }, share));
        expect(new Set(kept(small)).size).toBe(1);
        if (isInSample(id, small)) expect(kept(large)).toEqual([true, true, true]);
        expect(isInSample(id, 0)).toBe(false);
        expect(isInSample(id, 100)).toBe(true);
      }),
    );
  });

  it('LE-3 what a rule did to a session is always recorded', () => {
    let visited = 0;
    for (const kind of TRANSIT_KINDS) {
      const isRoutine = ['admitted', 'resumed', 'ended'].includes(kind);
      expect(isRecorded({ kind, session: 'any-session' }, 0)).toBe(!isRoutine);
      visited += 1;
    }
    expect(visited).toBe(7);
  });

  it('LE-3 a share of 10 % is a tenth, a share of 50 % a half, and the choice is the same everywhere', () => {
    const ids = Array.from({ length: 20_000 }, (_, at) => `session-${at}`);
    const counted = (share: number): number => ids.filter((id) => isInSample(id, share)).length;
    // Fixed ids: these counts are what the hash says, on every machine.
    expect(Math.abs(counted(10) - 2_000)).toBeLessThan(200);
    expect(Math.abs(counted(50) - 10_000)).toBeLessThan(300);
  });

  it('LE-3 an auditor sees from a record alone whether it had to be there', () => {
    const all = Array.from({ length: 400 }, (_, at) => transit(`session-${at}`));
    expect(all.filter(isRightlyRecorded).map(({ session: id }) => id)).toEqual(
      all.filter(({ session: id }) => isInSample(id, 10)).map(({ session: id }) => id),
    );
    const out = all.find((each) => !isRightlyRecorded(each));
    if (out === undefined) throw new Error('all are in');
    expect(isRightlyRecorded({ ...out, kind: 'cut' })).toBe(true);
    expect(isRightlyRecorded({ ...out, sampledPercent: 100 })).toBe(true);
  });
});
