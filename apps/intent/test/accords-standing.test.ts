/**
 * How accords of the intent come into force, as a machine alone: against a coordinator of a few lines that decides,
 * refuses, lets wait, forgets answers and comes late, with kill -9 between any two steps.
 * It must not know files or sockets.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  type AccordsMemory,
  beginning,
  type IntendedSet,
  NOTHING_ASKED,
  PASSING,
  STANDING_EVENTS,
  STANDING_PHASES,
  type Standing,
  standingAlarm,
  type StandingEffect,
  type StandingEvent,
  stepStanding,
} from '../src/accords-standing.js';

const ADA = { principal: 'user:ada', tier: 'master', channel: 'local' } as const;
const hashOf = (name: string): string => name.repeat(64).slice(0, 64);
const [BEFORE, A, B, OTHER] = ['0', 'a', 'b', 'f'].map(hashOf) as [string, string, string, string];
const intendedOf = (
  revision: number,
  hash: string | undefined,
  more: Partial<IntendedSet> = {},
): IntendedSet => ({
  ...{ revision, id: String(revision).padStart(64, '0'), by: ADA, hash },
  ...more,
});

/** The world around the machine: what is durable, what is in force, what is under way. */
class World {
  memory: AccordsMemory = NOTHING_ASKED;
  /** The set whose documents are kept as those that stood before. */
  documents: string | undefined;
  inForce: string = BEFORE;
  running = false;
  /** Comes into force when the running transition ends. */
  waiting: { key: string; hash: string } | undefined;
  readonly answers = new Map<string, 'decision' | 'waiting' | 'refusal'>();
  refusing: string | undefined;
  code = 'POSTURE_NOT_AUTHORISED';
  away = false;
  full = false;
  state: Standing = beginning(this.memory, false);
  effects: StandingEffect[] = [];
  intended: IntendedSet | undefined;
  asks: { key: string; hash: string }[] = [];
  wakeMs: number | undefined;

  happen(event: StandingEvent): void {
    const result = stepStanding(this.state, event);
    if (result.kind === 'refused') throw new Error(`${event.kind}: ${result.why}`);
    this.state = result.state;
    for (const effect of result.effects) {
      if (effect.do === 'wake') this.wakeMs = effect.afterMs;
      else this.effects.push(effect);
      // The documents that go with it are those of this moment.
      if (effect.do === 'ask')
        expect(effect.asked.hash).toBe(effect.back ? this.documents : this.state.intended?.hash);
    }
    // One thing at a time.
    expect(this.effects.length).toBeLessThanOrEqual(1);
  }

  intend(intended: IntendedSet): void {
    this.intended = intended;
    this.happen({ kind: 'intended', intended });
  }

  /** kill -9, and a start: what is intended is told again. */
  kill(): void {
    this.effects = [];
    this.state = beginning(this.memory, this.state.frozen);
    if (this.intended !== undefined) this.happen({ kind: 'intended', intended: this.intended });
  }

  /** The running transition ends, and what waits has its turn. */
  end(): void {
    this.running = false;
    if (this.waiting === undefined) return;
    const { key, hash } = this.waiting;
    this.inForce = hash;
    this.answers.set(key, 'decision');
    this.waiting = undefined;
  }

  /** Does what is under way, or lets time pass. @param lost the answer does not come. */
  work(lost = false): void {
    const effect = this.effects.shift();
    if (effect === undefined) {
      if (this.state.phase === 'resting') this.happen({ kind: 'woken' });
      return;
    }
    switch (effect.do) {
      case 'look':
        if (this.away) this.happen({ kind: 'failed', why: 'BUS_UNREACHABLE nobody listens' });
        else this.happen({ kind: 'looked', inForce: this.inForce, running: this.running });
        return;
      case 'keep':
        if (this.full) {
          this.happen({ kind: 'failed', why: 'no room' });
          return;
        }
        if (effect.documentsOf !== undefined) {
          expect(effect.documentsOf).toBe(this.inForce);
          this.documents = effect.documentsOf;
        }
        this.memory = effect.memory;
        if (!lost) this.happen({ kind: 'kept' });
        else this.kill();
        return;
      case 'ask': {
        const { asked } = effect;
        // Nothing is asked for that was not written down, nor without what stood before being kept.
        expect(this.memory.asked).toEqual(asked);
        expect(this.memory.before).not.toBeNull();
        expect(this.documents).toBe(this.memory.before);
        this.asks.push(asked);
        if (this.away) {
          this.happen({ kind: 'failed', why: 'BUS_UNREACHABLE nobody listens' });
          return;
        }
        const kind = this.#decide(asked);
        if (lost) this.happen({ kind: 'failed', why: 'BUS_DEADLINE' });
        else if (kind === 'refusal')
          this.happen({ kind: 'answered', answer: { kind, code: this.code, message: 'no' } });
        else this.happen({ kind: 'answered', answer: { kind } });
        return;
      }
      case 'wake':
    }
  }

  #decide({ key, hash }: { key: string; hash: string }): 'decision' | 'waiting' | 'refusal' {
    const known = this.answers.get(key);
    if (known !== undefined) return known;
    let kind: 'decision' | 'waiting' | 'refusal' = 'decision';
    if (this.refusing === hash) kind = 'refusal';
    else if (hash === this.inForce) kind = 'decision';
    else if (this.running) {
      kind = 'waiting';
      this.waiting = { key, hash };
    } else this.inForce = hash;
    this.answers.set(key, kind);
    return kind;
  }

  /** Everything works, and time passes. */
  settle(): void {
    this.away = false;
    this.full = false;
    for (let turn = 0; turn < 200; turn += 1) {
      if (turn % 5 === 4) this.end();
      this.work();
    }
    while (this.effects.length > 0) this.work();
  }
}

describe('accords of the intent, as a machine', () => {
  it('PO-2 asks for what is intended once, written down before, and rests when it is in force', () => {
    const world = new World();
    world.intend(intendedOf(2, A));
    world.settle();
    expect(world.asks).toMatchObject([{ hash: A, revision: 2 }]);
    expect([world.inForce, standingAlarm(world.state)]).toEqual([A, undefined]);
    world.kill();
    world.settle();
    expect(world.asks).toHaveLength(1);
  });

  it('PO-2 asks for nothing where the intent says nothing of accords, and takes back what it brought', () => {
    const world = new World();
    world.intend(intendedOf(2, undefined));
    world.settle();
    expect([world.asks, world.memory]).toEqual([[], NOTHING_ASKED]);
    world.intend(intendedOf(3, A));
    world.settle();
    world.intend(intendedOf(4, B));
    world.settle();
    world.intend(intendedOf(5, undefined));
    world.settle();
    expect(world.asks.map(({ hash }) => hash)).toEqual([A, B, BEFORE]);
    expect([world.inForce, world.memory]).toEqual([BEFORE, { ...NOTHING_ASKED, count: 3 }]);
  });

  it('PO-2 does not ask again for what was refused until the intent or the level changes, and says so meanwhile', () => {
    const world = new World();
    world.refusing = A;
    world.intend(intendedOf(2, A));
    world.settle();
    expect(world.asks).toHaveLength(1);
    expect(standingAlarm(world.state)).toBe(
      'accords of revision 2 are not in force: POSTURE_NOT_AUTHORISED no',
    );
    world.happen({ kind: 'level', frozen: true });
    world.settle();
    expect(world.asks).toHaveLength(1);
    expect(standingAlarm(world.state)).toContain('they wait for level 3');
    world.refusing = undefined;
    world.happen({ kind: 'level', frozen: false });
    world.settle();
    // Another request, for the answer to the first stands.
    expect(new Set(world.asks.map(({ key }) => key)).size).toBe(2);
    expect([world.inForce, standingAlarm(world.state)]).toEqual([A, undefined]);
  });

  it('PO-2 asks again, under another key, after a refusal that passes: also for the way back, so that nothing stays', () => {
    for (const code of [
      'POSTURE_SUPERSEDED',
      'POSTURE_NOT_DURABLE',
      'POSTURE_ACCORDS_NOT_KEPT',
      ...PASSING,
    ]) {
      const world = new World();
      world.code = code;
      world.intend(intendedOf(2, A));
      world.settle();
      world.refusing = BEFORE;
      world.intend(intendedOf(3, undefined));
      world.settle();
      expect([world.inForce, standingAlarm(world.state)]).toEqual([
        A,
        expect.stringContaining(`revision 3: ${code} no`),
      ]);
      // Ever later, at most once a minute.
      expect(world.wakeMs).toBe(60_000);
      world.refusing = undefined;
      world.settle();
      expect([world.inForce, standingAlarm(world.state)]).toEqual([BEFORE, undefined]);
      expect(new Set(world.asks.map(({ key }) => key)).size).toBe(world.asks.length);
    }
  });

  it('PO-2 leaves alone what somebody else brought into force since, and says so; another revision is asked for', () => {
    const world = new World();
    world.intend(intendedOf(2, A));
    world.settle();
    world.inForce = OTHER;
    world.settle();
    world.kill();
    world.settle();
    expect([world.asks.length, world.inForce]).toEqual([1, OTHER]);
    expect(standingAlarm(world.state)).toContain('others were brought into force since');
    world.intend(intendedOf(3, undefined));
    world.settle();
    expect([world.asks.length, world.inForce, standingAlarm(world.state)]).toEqual([1, OTHER, undefined]);
    world.intend(intendedOf(4, A));
    world.settle();
    expect([world.inForce, world.documents]).toEqual([A, OTHER]);
  });

  it('PO-2 tries ever later while the coordinator is away, at most every minute, without a new request', () => {
    const world = new World();
    world.away = true;
    world.intend(intendedOf(2, A));
    const waits: (number | undefined)[] = [];
    for (let turn = 0; turn < 20; turn += 1) {
      world.work();
      if (world.effects.length === 0) waits.push(world.wakeMs);
    }
    expect(waits.slice(0, 8)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    expect(standingAlarm(world.state)).toContain('BUS_UNREACHABLE');
    world.away = false;
    world.work();
    world.work();
    world.work();
    world.work(true);
    world.settle();
    expect(new Set(world.asks.map(({ key }) => key)).size).toBe(1);
    expect([world.inForce, standingAlarm(world.state)]).toEqual([A, undefined]);
  });

  it('PO-2 says what is wrong with documents, and with an intent that nobody is known to have asked for', () => {
    const world = new World();
    world.intend(intendedOf(2, undefined, { fault: { code: 'ACCORD_LOOSENS', message: 'at level 1' } }));
    world.settle();
    expect(standingAlarm(world.state)).toBe(
      'accords of revision 2 are not in force: ACCORD_LOOSENS at level 1',
    );
    world.intend(intendedOf(3, A, { by: undefined }));
    world.settle();
    expect([world.asks, standingAlarm(world.state)]).toEqual([
      [],
      'accords of revision 3 are not in force: nobody is known to ask for them',
    ]);
  });

  it('PO-2 brings what is intended into force at last, whatever failed, came late or was killed between any two steps', () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant({ do: 'work' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'lost' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'kill' as const }) },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('intend' as const), hash: fc.constantFrom(A, B, undefined) }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('level' as const), frozen: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('away' as const), away: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('full' as const), full: fc.boolean() }) },
      { weight: 2, arbitrary: fc.constant({ do: 'begin' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'end' as const }) },
    );
    const visited = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = new World();
        let revision = 1;
        for (const each of steps) {
          visited.add(world.state.phase);
          switch (each.do) {
            case 'work':
              world.work();
              break;
            case 'lost':
              world.work(true);
              break;
            case 'kill':
              world.kill();
              break;
            case 'intend':
              revision += 1;
              world.intend(intendedOf(revision, each.hash));
              break;
            case 'level':
              world.happen({ kind: 'level', frozen: each.frozen });
              break;
            case 'away':
              world.away = each.away;
              break;
            case 'full':
              world.full = each.full;
              break;
            case 'begin':
              world.running = true;
              break;
            case 'end':
              world.end();
          }
        }
        if (world.state.frozen) world.happen({ kind: 'level', frozen: false });
        world.settle();
        const { intended } = world;
        expect(world.inForce).toBe(intended?.hash ?? BEFORE);
        expect(standingAlarm(world.state)).toBeUndefined();
        expect(world.state.phase).toBe(intended === undefined ? 'quiet' : 'resting');
        expect(world.memory.late).toEqual([]);
      }),
      { numRuns: 3_000 },
    );
    expect([...visited].sort()).toEqual([...STANDING_PHASES].sort());
  });

  it('PO-2 is total: every phase has an answer to every event', () => {
    const events: Record<(typeof STANDING_EVENTS)[number], StandingEvent> = {
      intended: { kind: 'intended', intended: intendedOf(2, A) },
      level: { kind: 'level', frozen: true },
      woken: { kind: 'woken' },
      looked: { kind: 'looked', inForce: undefined, running: false },
      kept: { kind: 'kept' },
      answered: { kind: 'answered', answer: { kind: 'waiting' } },
      failed: { kind: 'failed', why: 'it did' },
    };
    let asked = 0;
    for (const phase of STANDING_PHASES)
      for (const kind of STANDING_EVENTS) {
        const state = { ...beginning(NOTHING_ASKED, false), phase, intended: intendedOf(1, B) };
        expect(['moved', 'refused']).toContain(stepStanding(state, events[kind]).kind);
        asked += 1;
      }
    expect(asked).toBe(35);
  });
});
