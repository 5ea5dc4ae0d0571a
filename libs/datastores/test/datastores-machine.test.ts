/**
 * The datastores as a network engineer uses them, told story by story.
 */
import { LEVELS } from '@kedge/units';
import { describe, expect, it } from 'vitest';

import { EVENT_KINDS, frozenAt, INITIAL, PHASES, type Reply, REQUEST_KINDS, step } from '../src/index.js';
import { ADA, AROUND, at, BEN, Driven, EPOCH, MODULES, opened, sha256 } from './material.js';

const LAN = '{"site:name":"lan"}';
const WAN = '{"site:name":"wan"}';

const load = (driven: Driven, text: string, by = ADA, seconds = 1): Reply | undefined =>
  driven.take({ kind: 'load', at: at(seconds), id: driven.id(), by, text });

interface Asked {
  readonly by?: typeof ADA;
  readonly seconds?: number;
  readonly comment?: string;
  readonly confirmSeconds?: number;
  readonly ifRevision?: number;
}

/** Asks for a commit; its id. The schema has not answered yet where it is asked. */
function ask(driven: Driven, { by = ADA, seconds = 2, comment = '', ...more }: Asked = {}): string {
  const id = driven.id();
  driven.take({ kind: 'commit', at: at(seconds), id, by, comment, ...more });
  return id;
}

const accept = (driven: Driven, id: string, seconds = 2): Reply | undefined =>
  driven.take({ kind: 'validated', at: at(seconds), id, findings: [], complete: true });

/** Commits the candidate, accepted by the schema. */
function commit(driven: Driven, asked: Asked = {}): Reply | undefined {
  const id = ask(driven, asked);
  return driven.answers[id] ?? accept(driven, id, asked.seconds);
}

function put(driven: Driven, text: string, asked: Asked = {}): Reply | undefined {
  load(driven, text, asked.by, asked.seconds);
  return commit(driven, asked);
}

const confirm = (driven: Driven, seconds: number, by = ADA, revision?: number): Reply | undefined =>
  driven.take({
    kind: 'confirm',
    at: at(seconds),
    id: driven.id(),
    by,
    ...(revision === undefined ? {} : { revision }),
  });

function rollBack(driven: Driven, to: number, { by = ADA, seconds = 5, comment = '' }: Asked = {}): string {
  const id = driven.id();
  const hash = driven.open.history.find(({ number }) => number === to)?.hash;
  const text = driven.keeping.documents.get(hash ?? '');
  driven.take({ kind: 'rollback', at: at(seconds), id, by, to, text, comment });
  return id;
}

const text = (driven: Driven): string => driven.open.running.text;

describe('a candidate', () => {
  it('UN-4 is what is running until somebody changes it, and again when it is discarded', () => {
    const driven = opened();
    expect(load(driven, LAN)).toMatchObject({ kind: 'candidate', base: 1, changed: true });
    expect([driven.open.candidate.text, text(driven)]).toEqual([LAN, '{}']);
    const id = driven.id();
    driven.take({ kind: 'discard', at: at(2), id, by: BEN });
    expect(driven.answers[id]).toMatchObject({ kind: 'candidate', changed: false });
    expect(driven.open.candidate.text).toBe('{}');
  });

  it('UN-4 takes edits at data paths, all of a request or none', () => {
    const driven = opened();
    load(driven, '{"site:name":"lan","site:vlan":[{"id":10,"name":"guests"}]}');
    const edit = (...edits: { kind: 'replace' | 'delete'; path: string; value?: string }[]) =>
      driven.take({ kind: 'edit', at: at(2), id: driven.id(), by: ADA, edits });
    expect(edit({ kind: 'replace', path: "/site:vlan[id='10']/name", value: 'staff' })).toMatchObject({
      changed: true,
    });
    expect(driven.open.candidate.text).toBe('{"site:name":"lan","site:vlan":[{"id":10,"name":"staff"}]}');
    const before = driven.open.candidate;
    expect(
      edit({ kind: 'replace', path: '/site:name', value: 'x' }, { kind: 'delete', path: '/site:mtu' }),
    ).toMatchObject({ code: 'INTENT_PATH_MISSING', field: 'edits[1].path' });
    expect(driven.open.candidate).toBe(before);
    expect(driven.did('keep')).toEqual([]);
  });

  it('UN-4 that is no tree of RFC 7951 is refused by what is wrong with it', () => {
    const driven = opened();
    let visited = 0;
    for (const wrong of [
      '{',
      '[]',
      '1',
      '{"a":1.5}',
      '{"a":1,"a":2}',
      '{"a":"\\ud800"}',
      `{"a":${'['.repeat(99)}${']'.repeat(99)}}`,
    ]) {
      expect(load(driven, wrong), wrong).toMatchObject({ code: 'INTENT_DOCUMENT', field: 'document' });
      visited += 1;
    }
    expect(visited).toBe(7);
    expect(load(driven, JSON.stringify({ a: 'x'.repeat(4096) }))).toMatchObject({
      code: 'INTENT_DOCUMENT_SIZE',
    });
    expect(driven.open.candidate.by).toBeNull();
  });
});

describe('a commit', () => {
  it('UN-4 is asked of the schema, kept, written down, intended, and answered, in this order', () => {
    const driven = opened();
    load(driven, LAN);
    const id = ask(driven, { comment: 'first' });
    expect(driven.effects).toEqual([{ do: 'validate', id, text: LAN }]);
    expect(accept(driven, id)).toMatchObject({
      kind: 'committed',
      revision: {
        number: 2,
        by: ADA,
        comment: 'first',
        cause: 'commit',
        hash: sha256(LAN),
        modules: MODULES,
      },
    });
    expect(driven.effects.map((effect) => effect.do)).toEqual(['keep', 'record', 'intend', 'answer']);
    const { running, startup, intended, candidate, history } = driven.open;
    expect([running.text, startup.text, intended?.text, candidate.text]).toEqual([LAN, LAN, LAN, LAN]);
    expect(history.map(({ number, parent }) => [number, parent])).toEqual([
      [1, null],
      [2, history[0]?.id],
    ]);
  });

  it('UN-4 of what the schema does not accept changes nothing and tells all that it had to say', () => {
    const driven = opened();
    load(driven, LAN);
    const id = ask(driven);
    const findings = [
      { path: '/site:name', message: 'too short', appTag: 'length' },
      { path: '/site:vlan', message: 'missing' },
    ];
    driven.take({ kind: 'validated', at: at(3), id, findings, complete: false });
    expect(driven.answers[id]).toMatchObject({
      code: 'INTENT_INVALID',
      field: '/site:name',
      findings,
      complete: false,
    });
    expect(driven.did('record')).toMatchObject([{ fact: { fact: 'refused', request: 'commit', by: ADA } }]);
    expect([text(driven), driven.open.candidate.text, driven.open.checks]).toEqual(['{}', LAN, []]);
  });

  it('UN-4 of a candidate that is what is running is no revision', () => {
    const driven = opened();
    put(driven, LAN);
    expect(commit(driven)).toMatchObject({ kind: 'unchanged', revision: { number: 2 } });
    expect(driven.open.history).toHaveLength(2);
  });

  it('UN-4 that another one overtook while the schema was asked is refused with the revision that came between', () => {
    const driven = opened();
    load(driven, LAN);
    const first = ask(driven);
    const second = ask(driven, { by: BEN });
    expect(accept(driven, second)).toMatchObject({ kind: 'committed' });
    expect(accept(driven, first)).toMatchObject({
      code: 'INTENT_RACED',
      between: { number: 2, by: BEN },
      expected: 'revision 2 as base',
    });
    expect(driven.open.history).toHaveLength(2);
  });

  it('UN-4 on top of a revision that is not running any more is refused, whoever says so', () => {
    const driven = opened();
    put(driven, LAN);
    expect(put(driven, WAN, { ifRevision: 1 })).toMatchObject({
      code: 'INTENT_RACED',
      between: { number: 2 },
    });
    expect(commit(driven, { ifRevision: 2 })).toMatchObject({ kind: 'committed', revision: { number: 3 } });
    // A candidate that was changed before a rollback is on top of what was running then.
    load(driven, '{"site:name":"third"}', BEN);
    const back = rollBack(driven, 2);
    expect(accept(driven, back, 6)).toMatchObject({
      kind: 'committed',
      revision: { cause: 'rollback', of: 2 },
    });
    expect(commit(driven, { by: BEN, seconds: 7 })).toMatchObject({
      code: 'INTENT_RACED',
      between: { number: 4, cause: 'rollback' },
    });
  });

  it('UN-4 keeps what was edited while the schema was asked, on top of what was committed', () => {
    const driven = opened();
    load(driven, LAN);
    const id = ask(driven);
    driven.take({
      kind: 'edit',
      at: at(2),
      id: driven.id(),
      by: ADA,
      edits: [{ kind: 'replace', path: '/site:name', value: 'wan' }],
    });
    expect(accept(driven, id)).toMatchObject({ kind: 'committed', revision: { number: 2 } });
    expect(driven.open.candidate).toMatchObject({ text: WAN, base: 2, by: ADA });
    expect(text(driven)).toBe(LAN);
    expect(commit(driven)).toMatchObject({ kind: 'committed', revision: { number: 3 } });
  });

  it('UN-4 with a comment or a time that cannot be is refused by its field', () => {
    const driven = opened();
    load(driven, LAN);
    expect(commit(driven, { comment: 'two\nlines' })).toMatchObject({
      code: 'INTENT_REQUEST',
      field: 'comment',
    });
    for (const confirmSeconds of [0, -1, 1.5, 86_401, NaN]) {
      expect(commit(driven, { confirmSeconds })).toMatchObject({
        code: 'INTENT_REQUEST',
        field: 'confirm_seconds',
      });
    }
    expect(driven.open.checks).toEqual([]);
  });

  it('UN-4 is refused where too many are being checked', () => {
    const driven = opened();
    load(driven, LAN);
    for (let at = 0; at < 8; at++) expect(driven.answers[ask(driven)]).toBeUndefined();
    expect(commit(driven)).toMatchObject({ code: 'INTENT_BUSY' });
  });
});

describe('a commit that has to be confirmed', () => {
  const pending = (): Driven => {
    const driven = opened();
    put(driven, LAN);
    expect(put(driven, WAN, { confirmSeconds: 60, seconds: 10 })).toMatchObject({
      kind: 'committed',
      revision: { number: 3, confirmSeconds: 60 },
      confirmByMs: at(70).wallMs,
    });
    return driven;
  };

  it('UN-4 runs, while startup is what stood before, until it is confirmed', () => {
    const driven = pending();
    expect(driven.did('wake')).toEqual([{ do: 'wake', at: at(70).ns }]);
    expect([text(driven), driven.open.startup.text, driven.open.intended?.text]).toEqual([WAN, LAN, WAN]);
    expect(confirm(driven, 69)).toMatchObject({ kind: 'confirmed', revision: { number: 3 } });
    expect(driven.did('wake')).toEqual([{ do: 'wake', at: undefined }]);
    expect([driven.state.phase, driven.open.startup.text]).toEqual(['settled', WAN]);
  });

  it('UN-4 is rolled back by itself when its time is over, as a revision that says so', () => {
    const driven = pending();
    driven.take({ kind: 'tick', at: at(69.999) });
    expect(text(driven)).toBe(WAN);
    driven.take({ kind: 'tick', at: at(70) });
    expect(driven.open.running).toMatchObject({
      text: LAN,
      revision: { number: 4, cause: 'expired', of: 2, by: null },
    });
    expect(driven.effects.map((effect) => effect.do)).toEqual(['keep', 'wake', 'record', 'intend']);
    expect(driven.open.startup).toBe(driven.open.running);
  });

  it('UN-4 is not confirmed by who comes late, though no timer has told yet', () => {
    const driven = pending();
    expect(confirm(driven, 70)).toMatchObject({
      code: 'INTENT_CONFIRM_LATE',
      between: { number: 4, cause: 'expired' },
    });
    expect(text(driven)).toBe(LAN);
    expect(confirm(driven, 80, ADA, 3)).toMatchObject({
      code: 'INTENT_CONFIRM_LATE',
      between: { number: 4 },
    });
    put(driven, '{"site:name":"next"}', { seconds: 90 });
    expect(confirm(driven, 91)).toMatchObject({ code: 'INTENT_NOTHING_PENDING' });
    expect(confirm(driven, 91, ADA, 3)).toMatchObject({ code: 'INTENT_CONFIRM_LATE' });
  });

  it('UN-4 is confirmed by its number only', () => {
    const driven = pending();
    expect(confirm(driven, 20, ADA, 2)).toMatchObject({ code: 'INTENT_CONFIRM_OTHER', expected: '3' });
    expect(confirm(driven, 20, BEN, 3)).toMatchObject({ kind: 'confirmed' });
  });

  it('UN-4 stands in the way of every other commit and rollback', () => {
    const driven = pending();
    load(driven, '{"site:name":"other"}', BEN, 11);
    for (const asked of [{ by: BEN }, { by: ADA }, { by: BEN, confirmSeconds: 9 }]) {
      expect(commit(driven, { ...asked, seconds: 12 })).toMatchObject({ code: 'INTENT_PENDING' });
    }
    expect(driven.answers[rollBack(driven, 2, { seconds: 12 })]).toMatchObject({ code: 'INTENT_PENDING' });
  });

  it('UN-4 goes on by the hand that began it: more time, or more changes, and one way back', () => {
    const driven = pending();
    expect(commit(driven, { seconds: 60, confirmSeconds: 30 })).toMatchObject({
      kind: 'committed',
      revision: { number: 3 },
      confirmByMs: at(90).wallMs,
    });
    expect(put(driven, '{"site:name":"more"}', { seconds: 80, confirmSeconds: 20 })).toMatchObject({
      revision: { number: 4 },
    });
    expect(driven.open.startup.revision.number).toBe(2);
    driven.take({ kind: 'tick', at: at(99) });
    expect(driven.state.phase).toBe('confirming');
    driven.take({ kind: 'tick', at: at(100) });
    expect(driven.open.running).toMatchObject({ text: LAN, revision: { number: 5, of: 2 } });
  });

  it('UN-4 that was the first one leaves nothing intended when it is put back, whatever the modules ask for', () => {
    const driven = opened();
    expect(driven.did('intend')).toEqual([]);
    put(driven, LAN, { confirmSeconds: 60 });
    driven.take({ kind: 'tick', at: at(70) });
    expect(driven.did('intend')).toMatchObject([
      { held: { text: '{}', revision: { cause: 'expired', of: 1 } } },
    ]);
    expect(driven.open.intended?.text).toBe('{}');
  });

  it('UN-4 is cancelled on request', () => {
    const driven = pending();
    const id = driven.id();
    driven.take({ kind: 'cancel', at: at(20), id, by: BEN });
    expect(driven.answers[id]).toMatchObject({
      kind: 'cancelled',
      was: 3,
      revision: { number: 4, cause: 'cancelled', by: BEN },
    });
    expect(text(driven)).toBe(LAN);
    expect(confirm(driven, 21)).toMatchObject({ code: 'INTENT_NOTHING_PENDING' });
  });

  it('UN-4 does not outlive a restart: what stood before is running then', () => {
    const before = pending();
    const driven = opened(before.keeping, 5, 15);
    expect(driven.open.running).toMatchObject({
      text: LAN,
      revision: { number: 4, cause: 'restarted', of: 2 },
    });
    expect(driven.did('record')).toMatchObject([
      { fact: { fact: 'running', revision: { number: 3 }, was: 2 } },
      { fact: { fact: 'running', revision: { number: 4 }, was: 3 } },
    ]);
    expect(driven.did('intend')).toMatchObject([{ held: { text: LAN } }]);
    expect(confirm(driven, 16)).toMatchObject({ code: 'INTENT_CONFIRM_LATE' });
    expect(driven.open.running.revision).toMatchObject({ level: 5, epoch: '7', atNs: String(at(15).ns) });
    // And that is so after the next one, too.
    expect(opened(before.keeping, 5, 17).open.running).toMatchObject({ revision: { number: 4 } });
  });

  it('UN-14 whose time ends at 2 or 1 waits, says so, and is rolled back when the posture lets it', () => {
    let visited = 0;
    for (const level of [2, 1] as const) {
      const driven = pending();
      driven.take({ kind: 'level', at: at(20), level, epoch: EPOCH });
      driven.take({ kind: 'tick', at: at(70) });
      expect([driven.state.phase, text(driven), driven.open.startup.text]).toEqual(['waiting', WAN, LAN]);
      expect(driven.did('record')).toMatchObject([
        { fact: { fact: 'waiting', because: 'expired' }, posture: { level, epoch: EPOCH } },
      ]);
      expect([driven.did('intend'), driven.did('withhold')]).toEqual([[], [{ do: 'withhold' }]]);
      expect(confirm(driven, 71)).toMatchObject({ code: 'INTENT_CONFIRM_LATE' });
      driven.take({ kind: 'level', at: at(80), level: 3, epoch: EPOCH });
      expect(driven.open.running).toMatchObject({ text: LAN, revision: { cause: 'expired' } });
      expect(driven.did('intend')).toMatchObject([{ held: { text: LAN } }]);
      expect(driven.did('withhold')).toEqual([]);
      visited += 1;
    }
    expect(visited).toBe(2);
  });

  it('UN-14 whose time ends in the moment in which the posture tightens waits', () => {
    const driven = pending();
    driven.take({ kind: 'level', at: at(70), level: 2, epoch: EPOCH });
    expect([driven.state.phase, text(driven)]).toEqual(['waiting', WAN]);
  });

  it('UN-14 that did not outlive a restart waits at 2 and 1, however often it is started', () => {
    const before = pending();
    let driven = opened(before.keeping, 2, 15);
    expect([driven.state.phase, text(driven)]).toEqual(['waiting', WAN]);
    expect(driven.did('record')).toMatchObject([
      { fact: { fact: 'running', revision: { number: 3 } } },
      { fact: { fact: 'waiting', because: 'restarted' } },
    ]);
    driven = opened(before.keeping, 1, 16);
    expect(driven.state.phase).toBe('waiting');
    driven.take({ kind: 'level', at: at(30), level: 4, epoch: EPOCH });
    expect(driven.open.running).toMatchObject({ text: LAN, revision: { number: 4, cause: 'restarted' } });
  });

  it('UN-14 is confirmed in time at any level: that changes no device', () => {
    const driven = pending();
    driven.take({ kind: 'level', at: at(20), level: 1, epoch: EPOCH });
    expect(confirm(driven, 30)).toMatchObject({ kind: 'confirmed' });
    expect(driven.open.startup.text).toBe(WAN);
  });
});

describe('a lock', () => {
  const lock = (driven: Driven, by = ADA): Reply | undefined =>
    driven.take({ kind: 'lock', at: at(1), id: driven.id(), by, comment: 'maintenance' });
  const unlock = (driven: Driven, by = ADA, force = false): Reply | undefined =>
    driven.take({ kind: 'unlock', at: at(2), id: driven.id(), by, force });

  it('UN-4 of somebody else refuses every change, and tells its holder', () => {
    const driven = opened();
    put(driven, LAN);
    expect(lock(driven)).toMatchObject({ kind: 'locked', lock: { by: ADA } });
    const asking = { at: at(3), by: BEN, comment: '' };
    const replies = [
      load(driven, WAN, BEN),
      commit(driven, { by: BEN }),
      lock(driven, BEN),
      unlock(driven, BEN),
      driven.answers[rollBack(driven, 1, { by: BEN })],
      driven.take({ ...asking, kind: 'discard', id: driven.id() }),
      driven.take({ ...asking, kind: 'edit', id: driven.id(), edits: [{ kind: 'remove', path: '/a' }] }),
      confirm(driven, 3, BEN),
      driven.take({ ...asking, kind: 'cancel', id: driven.id() }),
    ];
    expect(replies).toHaveLength(REQUEST_KINDS.length);
    for (const reply of replies) {
      expect(reply).toMatchObject({ code: 'INTENT_LOCKED' });
      expect(reply).toHaveProperty('message', expect.stringContaining('user:ada (master, local)'));
    }
    expect(put(driven, WAN)).toMatchObject({ kind: 'committed' });
    expect(unlock(driven)).toMatchObject({ kind: 'unlocked' });
    expect(put(driven, LAN, { by: BEN })).toMatchObject({ kind: 'committed' });
  });

  it('UN-4 is taken once, given back once, and survives a restart', () => {
    const driven = opened();
    lock(driven);
    expect(lock(driven)).toMatchObject({ kind: 'locked', lock: { atMs: at(1).wallMs } });
    const again = opened(driven.keeping);
    expect(load(again, LAN, BEN)).toMatchObject({ code: 'INTENT_LOCKED' });
    expect(unlock(again)).toMatchObject({ kind: 'unlocked' });
    expect(unlock(again)).toMatchObject({ code: 'INTENT_NOT_LOCKED' });
    // The same name by another way in is somebody else.
    expect(lock(again, { ...ADA, tier: 'apprentice' })).toMatchObject({ kind: 'locked' });
    expect(unlock(again)).toMatchObject({ code: 'INTENT_LOCKED' });
  });

  it('UN-4 that a commit overtook while the schema was asked refuses it', () => {
    const driven = opened();
    load(driven, LAN, BEN);
    const id = ask(driven, { by: BEN });
    driven.take({ kind: 'discard', at: at(2), id: driven.id(), by: BEN });
    expect(lock(driven)).toMatchObject({ kind: 'locked' });
    expect(accept(driven, id)).toMatchObject({ code: 'INTENT_LOCKED' });
  });

  it('UN-4 is not given over what somebody else has begun', () => {
    const driven = opened();
    load(driven, LAN, BEN);
    expect(lock(driven)).toMatchObject({ code: 'INTENT_CANDIDATE_CHANGED' });
    expect(commit(driven, { by: BEN, confirmSeconds: 60 })).toMatchObject({ kind: 'committed' });
    expect(lock(driven)).toMatchObject({ code: 'INTENT_PENDING' });
    expect(lock(driven, BEN)).toMatchObject({ kind: 'locked' });
  });

  it('UN-4 that is broken takes with it what its holder began, and is written down', () => {
    const driven = opened();
    lock(driven);
    load(driven, LAN);
    expect(unlock(driven, BEN, true)).toMatchObject({ kind: 'unlocked', was: { by: ADA } });
    expect(driven.did('record')).toMatchObject([{ fact: { fact: 'lock-broken', by: BEN } }]);
    expect(driven.open.candidate).toMatchObject({ text: '{}', by: null });
  });
});

describe('a rollback', () => {
  it('UN-4 to any revision of the history makes a new one with its document', () => {
    const driven = opened();
    put(driven, LAN);
    put(driven, WAN);
    const id = rollBack(driven, 2, { comment: 'back' });
    expect(driven.did('validate')).toMatchObject([{ id, text: LAN }]);
    expect(accept(driven, id)).toMatchObject({
      kind: 'committed',
      revision: { number: 4, cause: 'rollback', of: 2, hash: sha256(LAN), comment: 'back', by: ADA },
    });
    expect(driven.open.candidate).toMatchObject({ text: LAN, base: 4, by: null });
    expect(driven.answers[rollBack(driven, 2)]).toMatchObject({ kind: 'unchanged', revision: { number: 4 } });
    expect(driven.answers[rollBack(driven, 9)]).toMatchObject({
      code: 'INTENT_REVISION_UNKNOWN',
      field: 'revision',
    });
  });

  it('UN-4 to a revision that other modules accepted is validated anew, and refused with what they say', () => {
    const before = opened();
    put(before, LAN);
    put(before, WAN);
    const modules = sha256('modules 2');
    const driven = opened(before.keeping, 5, 4, modules);
    // Running itself is asked about, and intended when it is accepted.
    const [own] = driven.did('validate');
    expect(own).toMatchObject({ text: WAN });
    driven.take({ kind: 'validated', at: at(4), id: own?.id ?? '', findings: [], complete: true });
    expect(driven.did('intend')).toMatchObject([{ held: { text: WAN } }]);
    const id = rollBack(driven, 2);
    const findings = [{ path: '/site:name', message: 'was replaced by site:title' }];
    driven.take({ kind: 'validated', at: at(5), id, findings, complete: true });
    expect(driven.answers[id]).toMatchObject({ code: 'INTENT_INVALID', findings });
    expect(text(driven)).toBe(WAN);
    const again = rollBack(driven, 2);
    expect(accept(driven, again)).toMatchObject({ revision: { number: 4, modules } });
  });
});

describe('running', () => {
  it('UN-4 that the modules of a new release do not accept is running, and not intended', () => {
    const before = opened();
    put(before, LAN);
    const driven = opened(before.keeping, 5, 4, sha256('modules 2'));
    expect(driven.did('intend')).toEqual([]);
    const [own] = driven.did('validate');
    const findings = [{ path: '/site:name', message: 'no' }];
    driven.take({ kind: 'validated', at: at(4), id: own?.id ?? '', findings, complete: true });
    expect(driven.open.validity).toEqual({ state: 'invalid', findings });
    expect([text(driven), driven.did('intend')]).toEqual([LAN, []]);
    expect(put(driven, WAN, { seconds: 5 })).toMatchObject({ kind: 'committed' });
    expect(driven.did('intend')).toMatchObject([{ held: { text: WAN } }]);
  });

  it('UN-4 is withheld while what was put back has not been accepted, and where nothing can be kept any more', () => {
    const before = opened();
    put(before, LAN);
    const driven = opened(before.keeping, 5, 4, sha256('modules 2'));
    const [own] = driven.did('validate');
    const findings = [{ path: '/site:name', message: 'no' }];
    driven.take({ kind: 'validated', at: at(4), id: own?.id ?? '', findings, complete: true });
    put(driven, WAN, { confirmSeconds: 60, seconds: 5 });
    expect(driven.did('intend')).toMatchObject([{ held: { text: WAN } }]);
    driven.take({ kind: 'cancel', at: at(6), id: driven.id(), by: ADA });
    expect([text(driven), driven.did('intend'), driven.did('withhold')]).toEqual([
      LAN,
      [],
      [{ do: 'withhold' }],
    ]);
    const [again] = driven.did('validate');
    driven.take({ kind: 'validated', at: at(7), id: again?.id ?? '', findings: [], complete: true });
    expect(driven.did('intend')).toMatchObject([{ held: { text: LAN } }]);
    driven.take({ kind: 'storeFailed', at: at(8), why: 'the disk is gone' });
    expect(driven.did('withhold')).toEqual([{ do: 'withhold' }]);
  });

  it('UN-4 that the schema could not be asked about is asked about again', () => {
    const before = opened();
    put(before, LAN);
    const driven = opened(before.keeping, 5, 4, sha256('modules 2'));
    const [own] = driven.did('validate');
    const failure = { code: 'INTENT_UNCHECKED', message: 'no memory' };
    driven.take({ kind: 'validated', at: at(4), id: own?.id ?? '', findings: [], complete: false, failure });
    expect(driven.open.validity).toEqual({ state: 'unchecked' });
    driven.take({ kind: 'tick', at: at(5) });
    expect(driven.did('validate')).toMatchObject([{ text: LAN }]);
  });

  it('UN-14 is given to the compiler after a restart when the posture lets it, and not before', () => {
    const before = opened();
    put(before, LAN);
    const driven = opened(before.keeping, 2, 4);
    expect([driven.did('intend'), driven.open.intended?.text]).toEqual([[], LAN]);
    driven.take({ kind: 'level', at: at(5), level: 3, epoch: EPOCH });
    expect(driven.did('intend')).toMatchObject([{ held: { text: LAN } }]);
    driven.take({ kind: 'level', at: at(6), level: 5, epoch: EPOCH });
    expect(driven.did('intend')).toEqual([]);
  });

  it('UN-14 becomes nothing else at 2 and 1, by nobody', () => {
    const driven = opened();
    put(driven, LAN);
    let visited = 0;
    for (const level of LEVELS) {
      driven.take({ kind: 'level', at: at(3), level, epoch: EPOCH });
      load(driven, `{"site:name":"at ${level}"}`);
      const isFrozen = level <= 2;
      expect(frozenAt(level)).toEqual({ compilation: isFrozen, remediation: level === 1 });
      expect(commit(driven)).toMatchObject(isFrozen ? { code: 'INTENT_FROZEN' } : { kind: 'committed' });
      if (isFrozen) expect(driven.answers[rollBack(driven, 2)]).toMatchObject({ code: 'INTENT_FROZEN' });
      visited += 1;
    }
    expect(visited).toBe(5);
    expect(text(driven)).toBe('{"site:name":"at 3"}');
  });

  it('UN-14 is not changed by a commit that the posture overtook while the schema was asked', () => {
    const driven = opened();
    load(driven, LAN);
    const id = ask(driven);
    driven.take({ kind: 'level', at: at(3), level: 2, epoch: EPOCH });
    expect(accept(driven, id)).toMatchObject({ code: 'INTENT_FROZEN' });
    expect(text(driven)).toBe('{}');
  });
});

describe('what is written down', () => {
  it('UN-4 of the last revision is said again at a start, to the letter, for it may not have been said before', () => {
    const before = opened();
    expect(before.did('record')).toEqual([]);
    put(before, LAN, { seconds: 3 });
    const [said] = before.did('record');
    const driven = opened(before.keeping, 4, 60);
    expect(driven.did('record').map(({ fact }) => fact)).toEqual([said?.fact]);
    expect(driven.did('keep')).toEqual([]);
  });
});

describe('the table', () => {
  it('UN-4 has an answer for every request in every phase, and moves to no phase that it does not name', () => {
    const confirming = opened();
    put(confirming, LAN, { confirmSeconds: 60 });
    const waiting = opened();
    put(waiting, LAN, { confirmSeconds: 60 });
    waiting.take({ kind: 'level', at: at(3), level: 1, epoch: EPOCH });
    waiting.take({ kind: 'tick', at: at(99) });
    const failed = opened();
    failed.take({ kind: 'storeFailed', at: at(1), why: 'EIO' });
    const states = {
      opening: INITIAL,
      settled: opened().state,
      confirming: confirming.state,
      waiting: waiting.state,
      failed: failed.state,
    };
    let visited = 0;
    for (const phase of PHASES) {
      expect(states[phase].phase).toBe(phase);
      for (const kind of EVENT_KINDS) {
        const fields = { id: 'x', by: ADA, comment: '', force: false, to: 1, text: LAN, edits: [] };
        const more = {
          level: 3 as const,
          epoch: EPOCH,
          modules: MODULES,
          kept: undefined,
          findings: [],
          complete: true,
          why: 'EIO',
        };
        const result = step(states[phase], { kind, at: at(4), ...fields, ...more }, AROUND);
        if ((REQUEST_KINDS as readonly string[]).includes(kind)) {
          const effects = result.kind === 'moved' ? result.effects : [];
          const isAsked = effects.some((effect) => effect.do === 'validate');
          expect(isAsked || effects.some((effect) => effect.do === 'answer'), `${phase} ${kind}`).toBe(true);
        }
        if (result.kind === 'moved') expect(PHASES).toContain(result.state.phase);
        visited += 1;
      }
    }
    expect(visited).toBe(PHASES.length * EVENT_KINDS.length);
  });

  it('UN-4 whose storage failed refuses every change, and answers who waits', () => {
    const driven = opened();
    load(driven, LAN);
    const id = ask(driven);
    driven.take({ kind: 'storeFailed', at: at(3), why: 'EIO' });
    expect(driven.answers[id]).toMatchObject({ code: 'INTENT_STORE_FAILED' });
    expect(load(driven, WAN)).toMatchObject({ code: 'INTENT_STORE_FAILED' });
    driven.take({ kind: 'level', at: at(4), level: 2, epoch: EPOCH });
    expect(driven.open.level).toBe(2);
  });
});
