/**
 * The datastores at work, over storage in memory and a small strict schema.
 */
import type { Timers } from '@kedge/reconcile';
import { KedgeError, type Level } from '@kedge/units';
import { describe, expect, it } from 'vitest';

import {
  type Fact,
  type Held,
  IntentDatastores,
  type IntentDatastoresOptions,
  type Moment,
} from '../src/index.js';
import { ADA, AROUND, at, BEN, EPOCH, MemoryKeeping, StrictSchema } from './material.js';

/** Time that is moved by hand. */
class HandTimers implements Timers {
  seconds = 0;
  readonly #due = new Map<() => void, number>();

  after(ms: number, call: () => void): () => void {
    this.#due.set(call, this.seconds + ms / 1000);
    return () => this.#due.delete(call);
  }
  get count(): number {
    return this.#due.size;
  }
  get now(): Moment {
    return at(this.seconds);
  }
  /** Lets time pass, and everything that was begun come to its end. */
  async pass(seconds: number): Promise<void> {
    this.seconds += seconds;
    for (const [call, due] of [...this.#due]) {
      if (due > this.seconds) continue;
      this.#due.delete(call);
      call();
    }
    await settled();
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function world(more: Partial<IntentDatastoresOptions> = {}) {
  const timers = new HandTimers();
  const keeping = more.keeping instanceof MemoryKeeping ? more.keeping : new MemoryKeeping();
  const told: string[] = [];
  const facts: Fact[] = [];
  const intended: Held[] = [];
  const options: IntentDatastoresOptions = {
    keeping,
    kept: keeping.heads === undefined ? undefined : keeping.kept(),
    schema: new StrictSchema(),
    around: AROUND,
    now: () => timers.now,
    timers,
    posture: { level: 5, epoch: EPOCH },
    intend: (held) => intended.push(held),
    withhold: () => told.push('withheld'),
    record: async (fact) => {
      facts.push(fact);
    },
    onTrouble: (error, doing) =>
      told.push(`${doing}: ${error instanceof Error ? error.message : 'it failed'}`),
    ...more,
  };
  return { timers, keeping, told, facts, intended, datastores: await IntentDatastores.open(options) };
}

const LAN = '{"site:name":"lan"}';
const FULL = new KedgeError({ code: 'INTENT_STORE_FULL', message: 'no room' });
const load = (datastores: IntentDatastores, text: string, by = ADA) =>
  datastores.request({ kind: 'load', by, text });
const commit = (datastores: IntentDatastores, confirmSeconds?: number, by = ADA) =>
  datastores.request({
    kind: 'commit',
    by,
    comment: '',
    ...(confirmSeconds === undefined ? {} : { confirmSeconds }),
  });

describe('datastores at work', () => {
  it('UN-4 commit what the schema accepts, and refuse with its findings what it does not', async () => {
    const { datastores, facts, intended } = await world();
    await load(datastores, '{"site:vlan":[{"id":4095},{"id":1,"name":"x"},{"id":2,"name":"x"}]}');
    expect(await datastores.validate('candidate')).toMatchObject({ findings: { length: 3 }, complete: true });
    expect(await commit(datastores)).toMatchObject({
      code: 'INTENT_INVALID',
      findings: [
        { path: '/site:name', appTag: 'missing-instance' },
        { path: "/site:vlan[id='4095']/id" },
        { path: "/site:vlan[id='2']" },
      ],
    });
    await load(datastores, LAN);
    expect(await datastores.compare('running', 'candidate')).toEqual([
      { path: '/site:name', kind: 'create', after: 'lan' },
    ]);
    expect(await commit(datastores)).toMatchObject({ kind: 'committed', revision: { number: 2 } });
    expect(await datastores.compare(1, 2)).toHaveLength(1);
    expect(await datastores.compare('running', 'candidate')).toEqual([]);
    expect(facts.map(({ fact }) => fact)).toEqual(['refused', 'running']);
    expect(intended.map(({ text }) => text)).toEqual([LAN]);
    await datastores.close();
  });

  it('UN-4 of two commits at once one is refused, with the revision that came between', async () => {
    const { datastores } = await world();
    await load(datastores, LAN);
    const replies = await Promise.all([commit(datastores), commit(datastores, undefined, BEN)]);
    expect(replies).toMatchObject([{ kind: 'committed' }, { code: 'INTENT_RACED', between: { by: ADA } }]);
  });

  it('UN-4 roll a commit back in time though timers come early, as those of Node do', async () => {
    const hand = new HandTimers();
    const early = { after: (ms: number, call: () => void) => hand.after(ms * 0.6, call) };
    const { datastores } = await world({ now: () => hand.now, timers: early });
    await load(datastores, LAN);
    await commit(datastores, 10);
    for (let tenths = 0; tenths < 101; tenths += 1) await hand.pass(0.1);
    expect(datastores.state).toMatchObject({ phase: 'settled', running: { revision: { cause: 'expired' } } });
  });

  it('UN-4 roll a commit back by themselves when nobody confirms it in time', async () => {
    const { datastores, timers, facts } = await world();
    await load(datastores, LAN);
    expect(await commit(datastores, 10)).toMatchObject({ kind: 'committed', confirmByMs: at(10).wallMs });
    await timers.pass(9.9);
    expect(datastores.state.phase).toBe('confirming');
    await timers.pass(0.2);
    expect(datastores.state).toMatchObject({
      phase: 'settled',
      running: { text: '{}', revision: { cause: 'expired' } },
    });
    expect(facts.map(({ fact }) => fact)).toEqual(['running', 'running']);
    expect(await datastores.request({ kind: 'confirm', by: ADA })).toMatchObject({
      code: 'INTENT_CONFIRM_LATE',
    });
  });

  it('UN-14 let it wait while the posture freezes it', async () => {
    const { datastores, timers } = await world();
    await load(datastores, LAN);
    await commit(datastores, 10);
    datastores.posture({ level: 1, epoch: EPOCH });
    await timers.pass(11);
    expect(datastores.state).toMatchObject({ phase: 'waiting', running: { text: LAN } });
    datastores.posture({ level: 3, epoch: EPOCH });
    await settled();
    expect(datastores.state).toMatchObject({ phase: 'settled', running: { text: '{}' } });
  });

  it('UN-4 show nothing that is not durable, and answer nobody before', async () => {
    const keeping = new MemoryKeeping();
    let release: () => void = () => undefined;
    const slow = Object.assign(Object.create(keeping) as MemoryKeeping, {
      keep: async (keep: Parameters<MemoryKeeping['keep']>[0]) => {
        if (keep.heads.step > 2) await new Promise<void>((resolve) => (release = resolve));
        keeping.take(keep);
      },
    });
    const { datastores, intended } = await world({ keeping: slow, kept: undefined });
    await load(datastores, LAN);
    let answer: unknown;
    void commit(datastores).then((reply) => (answer = reply));
    await settled();
    expect([answer, intended, datastores.state]).toMatchObject([undefined, [], { running: { text: '{}' } }]);
    release();
    await settled();
    expect([answer, intended, datastores.state]).toMatchObject([
      { kind: 'committed' },
      [{}],
      { running: { text: LAN } },
    ]);
  });

  it('UN-4 answer a commit when it is written down, and tell where that failed', async () => {
    const written: string[] = [];
    const { datastores, told } = await world({
      record: async (fact) => {
        await settled();
        written.push(fact.fact);
        if (fact.fact === 'confirmed') throw new Error('no spool');
      },
    });
    await load(datastores, LAN);
    await commit(datastores, 10);
    expect(written).toEqual(['running']);
    expect(await datastores.request({ kind: 'confirm', by: ADA })).toMatchObject({ kind: 'confirmed' });
    expect(told).toEqual(['a record: confirmed: no spool']);
  });

  it('UN-4 that find no room refuse, stay as they were, and go on when there is some', async () => {
    const { datastores, keeping, timers, told } = await world();
    keeping.failing = FULL;
    expect(await load(datastores, LAN)).toMatchObject({ code: 'INTENT_STORE_FULL' });
    keeping.failing = undefined;
    await load(datastores, LAN);
    keeping.failing = FULL;
    expect(await commit(datastores)).toMatchObject({ code: 'INTENT_STORE_FULL' });
    expect(datastores.state).toMatchObject({
      phase: 'settled',
      running: { text: '{}' },
      candidate: { text: LAN },
      checks: [],
    });
    keeping.failing = undefined;
    expect(await commit(datastores, 10)).toMatchObject({ kind: 'committed' });
    // What nobody asks for is tried until there is room.
    keeping.failing = FULL;
    await timers.pass(11);
    await timers.pass(1);
    await timers.pass(1);
    expect(datastores.state.phase).toBe('confirming');
    // It stays only because there is no room to put it back: nothing more is done for it.
    expect(told).toContain('withheld');
    expect(await datastores.request({ kind: 'confirm', by: ADA })).toMatchObject({
      code: 'INTENT_STORE_FULL',
    });
    keeping.failing = undefined;
    await timers.pass(1);
    expect(datastores.state).toMatchObject({ phase: 'settled', running: { text: '{}' } });
    expect(told.filter((each) => each === 'tick: no room').length).toBeGreaterThanOrEqual(3);
    expect(timers.count).toBe(0);
  });

  it('UN-4 whose storage fails take nothing any more, and say so to who waits', async () => {
    const { datastores, keeping } = await world();
    await load(datastores, LAN);
    keeping.failing = new KedgeError({ code: 'INTENT_STORE_FAILED', message: 'EIO' });
    expect(await commit(datastores)).toMatchObject({ code: 'INTENT_STORE_FAILED' });
    keeping.failing = undefined;
    expect(await load(datastores, '{}')).toMatchObject({ code: 'INTENT_STORE_FAILED' });
    expect(datastores.state).toMatchObject({ phase: 'failed', running: { text: '{}' } });
  });

  it('UN-4 whose schema fails refuse, and ask again for what is running', async () => {
    const schema = new StrictSchema();
    const { datastores, told } = await world({
      schema: Object.assign(Object.create(schema) as StrictSchema, {
        validate: () => Promise.reject(new Error('no memory')),
      }),
    });
    await load(datastores, LAN);
    expect(await commit(datastores)).toMatchObject({ code: 'INTENT_UNCHECKED', message: /no memory/ });
    expect(told).toEqual(['a validation: no memory']);
  });

  it('UN-4 show every datastore, and say which holds nothing', async () => {
    const { datastores } = await world();
    await load(datastores, LAN);
    expect(await datastores.documentOf('candidate')).toBe(LAN);
    expect(await datastores.documentOf('intended')).toMatchObject({ code: 'INTENT_NOTHING_THERE' });
    expect(await datastores.documentOf('operational')).toMatchObject({ code: 'INTENT_NOTHING_THERE' });
    expect(await datastores.documentOf(7)).toMatchObject({ code: 'INTENT_REVISION_UNKNOWN' });
    await datastores.observed('{ "site:name" : "seen" }');
    await commit(datastores);
    for (const source of ['startup', 'running', 'intended', 2] as const) {
      expect(await datastores.documentOf(source)).toBe(LAN);
    }
    expect(await datastores.documentOf('operational')).toBe('{"site:name":"seen"}');
  });

  it('UN-4 begin where they were, and tell who still asks when they end', async () => {
    const first = await world();
    await load(first.datastores, LAN);
    await commit(first.datastores);
    await first.datastores.close();
    expect(await commit(first.datastores)).toMatchObject({ code: 'INTENT_CLOSING' });
    let levels: readonly Level[] = [];
    for (const level of [2, 5] as const) {
      const { datastores, intended } = await world({
        keeping: first.keeping,
        posture: { level, epoch: EPOCH },
      });
      expect(datastores.state).toMatchObject({ phase: 'settled', running: { text: LAN } });
      expect(intended).toHaveLength(level === 5 ? 1 : 0);
      levels = [...levels, level];
      await datastores.close();
    }
    expect(levels).toEqual([2, 5]);
  });
});
