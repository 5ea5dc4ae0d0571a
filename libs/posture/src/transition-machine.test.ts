import { type Channel, CHANNELS, type PathName } from '@kedge/contracts';
import { type Epoch, type Level, LEVELS } from '@kedge/units';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  askedLevel,
  CHANNEL_AUTHORITY,
  differences,
  type Effect,
  EPOCH_BLOCK,
  EPOCH_HEADROOM,
  EVENT_KINDS,
  type EventKind,
  INITIAL,
  type JournalEntry,
  type Layer,
  levelInForce,
  type Phase,
  PHASES,
  type PostureEvent,
  type PostureMachine,
  type PostureRequest,
  type RecoveryPlan,
  type Reply,
  step,
  wrongs,
} from './index.js';

const ALLOW = { allow: true, rule: 'test' } as const;
const DENY = { allow: false, rule: 'test-denies', reason: 'it was denied' } as const;
const PARTIES: readonly { who: string; path: PathName; layer: Layer }[] = [
  { who: 'reference/0', path: 'dataplane', layer: 'dataplane' },
  { who: 'shellstream', path: 'overlay', layer: 'session' },
  { who: 'mesh', path: 'overlay', layer: 'path' },
  { who: 'switches', path: 'underlay', layer: 'path' },
];

function planAt(level: Level, epoch = 7n): RecoveryPlan {
  return {
    decision: { epoch: epoch as Epoch, from: level, to: level },
    level,
    resumeTo: undefined,
    action: 'hold',
    because: 'recovery',
    journalFirst: undefined,
    word: { epoch: epoch as Epoch, level },
    above: epoch as Epoch,
    holds: {},
    alarms: [],
  };
}

/** Carries effects out as the coordinator would, against a world that the test moves by hand. */
class World {
  machine: PostureMachine = INITIAL;
  word: { epoch: bigint; level: Level } | undefined;
  line: { epoch: bigint; stage: string } | undefined;
  journaling: JournalEntry[] = [];
  durable = new Set<bigint>();
  epochs: bigint[] = [];
  answers = new Map<string, Reply[]>();
  settled = new Map<string, Reply>();
  reports: { epoch: bigint; outcome: string | undefined }[] = [];
  reserving: Epoch | undefined;
  asked = new Map<string, PostureRequest>();
  log: Effect[] = [];
  turns: 'allow' | 'deny' = 'allow';
  /** Stages released, each while the warden was fresh. */
  released: { epoch: bigint; stage: string }[] = [];
  requests = 0;

  constructor(level: Level, parties = PARTIES) {
    this.send({ kind: 'serviceBack', who: 'warden', standing: undefined });
    for (const { who, path, layer } of parties) {
      const standing = { path, layer, epoch: 7n as Epoch, level, outcome: 'applied' as const };
      this.send({ kind: 'serviceBack', who, standing });
    }
    this.word = { epoch: 7n, level };
    this.send({
      kind: 'recovered',
      plan: planAt(level),
      nextEpoch: 8n as Epoch,
      reservedUpTo: EPOCH_BLOCK as Epoch,
      journal: 'ok',
    });
  }

  send(event: PostureEvent): readonly Effect[] {
    const result = step(this.machine, event);
    if (result.kind === 'refused') return [];
    this.machine = result.state;
    const later: PostureEvent[] = [];
    for (const effect of result.effects) later.push(...this.carryOut(effect));
    this.log.push(...result.effects);
    for (const next of later) this.send(next);
    return result.effects;
  }

  carryOut(effect: Effect): PostureEvent[] {
    switch (effect.do) {
      case 'storeTightening':
        // A tightening store never loosens what packets obey.
        expect(effect.to).toBeLessThanOrEqual(this.word?.level ?? 5);
        this.issue(effect.epoch);
        this.word = { epoch: effect.epoch, level: effect.to };
        this.line = { epoch: effect.epoch, stage: 'tighten' };
        return [];
      case 'writeTransitionStage':
        if (effect.stage.startsWith('loosen-') && effect.stage !== 'loosen-decided') {
          expect(this.machine.wardenFresh).toBe(true);
          expect(this.durable.has(effect.epoch)).toBe(true);
          this.released.push({ epoch: effect.epoch, stage: effect.stage });
        }
        this.line = { epoch: effect.epoch, stage: effect.stage };
        return [];
      case 'storeWord':
        // Only after every stage before it, and never without the journal.
        expect(this.line).toEqual({ epoch: effect.epoch, stage: 'loosen-dataplane' });
        expect(this.durable.has(effect.epoch)).toBe(true);
        this.word = { epoch: effect.epoch, level: effect.level };
        return [];
      case 'journal':
        if (effect.entry.kind === 'decision' && effect.entry.epoch !== this.word?.epoch)
          this.issue(effect.entry.epoch);
        this.journaling.push(effect.entry);
        return [];
      case 'reserveEpochs':
        this.reserving = effect.upTo;
        return [];
      case 'answer': {
        const before = this.answers.get(effect.id) ?? [];
        this.answers.set(effect.id, [...before, effect.reply]);
        return [];
      }
      case 'settle':
        this.settled.set(effect.request.id, effect.reply);
        return [];
      case 'authorise':
        return [{ kind: 'turn', id: effect.request.id, authority: this.turns === 'allow' ? ALLOW : DENY }];
      case 'verify':
        return [{ kind: 'verified', epoch: effect.epoch, differences: differences(this.machine) }];
      case 'report':
        this.reports.push({ epoch: effect.transition.epoch, outcome: effect.outcome });
        return [];
      default:
        return [];
    }
  }

  issue(epoch: bigint): void {
    expect(epoch).toBeGreaterThan(this.epochs.at(-1) ?? 7n);
    expect(epoch).toBeLessThanOrEqual(this.machine.reservedUpTo);
    this.epochs.push(epoch);
  }

  request(level: Level, channel: Channel = 'local', authority: typeof ALLOW | typeof DENY = ALLOW): string {
    this.requests += 1;
    const id = `r${this.requests}`;
    const request: PostureRequest = {
      id,
      source: { channel, tier: 'site_owner', principal: 'user:ada', reason: 'test' },
      level,
      receivedAtNs: 1n,
    };
    this.asked.set(id, request);
    this.send({ kind: 'request', request, authority });
    return id;
  }

  /** The journal takes what waits, in order. */
  journal(count = Infinity): void {
    for (const entry of this.journaling.splice(0, Math.min(count, this.journaling.length))) {
      this.durable.add(entry.epoch);
      const { epoch, keeps } = entry;
      if (keeps !== undefined) this.send({ kind: 'journaled', epoch, keeps });
      else if (entry.kind === 'decision') this.send({ kind: 'journaled', epoch });
    }
    if (this.reserving !== undefined) {
      const upTo = this.reserving;
      this.reserving = undefined;
      this.send({ kind: 'reserved', upTo });
    }
  }

  /** A participant applies what it may apply now. */
  apply(index: number): void {
    const party = PARTIES[index % PARTIES.length];
    const standing = party === undefined ? undefined : this.machine.standings[party.who];
    if (party === undefined || standing?.present !== true || !('transition' in this.machine)) return;
    const { epoch, to, direction } = this.machine.transition;
    const mine = { path: 'loosen-paths', session: 'loosen-sessions', dataplane: 'loosen-dataplane' }[
      party.layer
    ];
    if (direction === 'loosen' && !this.released.some((r) => r.epoch === epoch && r.stage === mine)) return;
    this.send({ kind: 'acknowledged', who: party.who, epoch, level: to, outcome: 'applied' });
  }

  /** Everything goes well until nothing moves any more. */
  settle(): void {
    for (let round = 0; round < 40; round += 1) {
      this.journal();
      for (let index = 0; index < PARTIES.length; index += 1) this.apply(index);
      this.send({ kind: 'tick' });
      // Who is away or does not answer has had its time at last.
      for (const late of round > 30 ? (['dataplane', 'overlay', 'underlay', 'verify'] as const) : []) {
        if (!('transition' in this.machine)) break;
        this.send({ kind: 'deadlinePassed', epoch: this.machine.transition.epoch, path: late });
      }
    }
  }

  replies(id: string): readonly Reply[] {
    return this.answers.get(id) ?? [];
  }
}

describe('the order of a transition', () => {
  it('PO-7 a tightening stores before everything else and is answered when the journal has it', () => {
    const world = new World(5);
    const id = world.request(2);
    const order = world.log.map((effect) => effect.do);
    expect(order[0]).toBe('storeTightening');
    expect(order.indexOf('journal')).toBe(1);
    expect(world.word).toEqual({ epoch: 8n, level: 2 });
    expect(world.replies(id)).toEqual([]);
    world.journal();
    expect(world.replies(id)).toEqual([{ kind: 'decision', epoch: 8n, from: 5, to: 2, durable: true }]);
  });

  it('PO-7 a loosening is journaled, then releases paths, sessions, and the data plane last', () => {
    const world = new World(2);
    const id = world.request(5);
    expect(world.word?.level).toBe(2);
    expect(world.line).toBeUndefined();
    world.journal();
    expect(world.replies(id)).toEqual([{ kind: 'decision', epoch: 8n, from: 2, to: 5, durable: true }]);
    expect(world.line?.stage).toBe('loosen-paths');
    world.apply(2);
    expect(world.line?.stage).toBe('loosen-paths');
    world.apply(3);
    expect(world.line?.stage).toBe('loosen-sessions');
    expect(world.word?.level).toBe(2);
    world.apply(1);
    expect(world.word).toEqual({ epoch: 8n, level: 5 });
    world.apply(0);
    expect(world.line?.stage).toBe('complete');
    const stages = world.log.flatMap((effect) =>
      effect.do === 'writeTransitionStage' ? [effect.stage] : [],
    );
    expect(stages).toEqual([
      'loosen-decided',
      'loosen-paths',
      'loosen-sessions',
      'loosen-dataplane',
      'verify',
      'complete',
    ]);
  });

  it('PO-7 paths that nobody serves are passed over at once', () => {
    const world = new World(2, []);
    world.request(5);
    world.journal();
    expect(world.machine.phase).toBe('steady');
    expect(world.word?.level).toBe(5);
  });

  it('PO-12 nothing loosens while the warden is stale, and what was released is taken back', () => {
    const world = new World(2);
    world.send({ kind: 'serviceLost', who: 'warden' });
    expect(world.replies(world.request(5))).toMatchObject([{ code: 'POSTURE_WARDEN_STALE' }]);
    world.send({ kind: 'serviceBack', who: 'warden', standing: undefined });
    world.request(5);
    world.journal();
    world.apply(2);
    world.send({ kind: 'serviceLost', who: 'warden' });
    expect(world.line?.stage).toBe('loosen-decided');
    world.send({ kind: 'acknowledged', who: 'switches', epoch: 8n as Epoch, level: 5, outcome: 'applied' });
    expect(world.word?.level).toBe(2);
    expect(world.replies(world.request(1))).toEqual([]);
    expect(world.word?.level).toBe(1);
  });

  it('PO-7 a service that comes back after the deadline of its path holds nothing up any more', () => {
    const world = new World(5);
    world.request(2);
    world.send({ kind: 'serviceLost', who: 'mesh' });
    for (const index of [0, 1]) world.apply(index);
    world.send({ kind: 'deadlinePassed', epoch: 8n as Epoch, path: 'overlay' });
    world.send({
      kind: 'serviceBack',
      who: 'mesh',
      standing: { path: 'overlay', layer: 'path', epoch: 7n as Epoch, level: 5, outcome: 'applied' },
    });
    world.apply(3);
    expect(world.machine.phase).toBe('verifying');
  });

  it('PO-12 when loosening, sessions have their own time, whatever became of the path before them', () => {
    const world = new World(2);
    world.request(5);
    world.journal();
    world.apply(3);
    world.send({ kind: 'deadlinePassed', epoch: 8n as Epoch, path: 'overlay' });
    expect(world.line?.stage).toBe('loosen-sessions');
    expect(world.log.filter((effect) => effect.do === 'expect' && effect.path === 'overlay')).toHaveLength(2);
    world.send({ kind: 'deadlinePassed', epoch: 8n as Epoch, path: 'overlay' });
    expect(world.line?.stage).toBe('loosen-dataplane');
  });

  it('PO-12 a loosening that is taken up again releases nothing while the warden is stale', () => {
    for (const fresh of [false, true]) {
      const world = new World(2);
      const { standings } = world.machine;
      // The line of the process that died still releases a stage.
      world.line = { epoch: 8n, stage: 'loosen-paths' };
      world.durable.add(8n);
      world.machine = { ...INITIAL, standings, wardenFresh: fresh };
      world.send({
        kind: 'recovered',
        plan: {
          ...planAt(2),
          decision: { epoch: 8n as Epoch, from: 2, to: 5 },
          resumeTo: 5,
          action: 'continue',
        },
        nextEpoch: 9n as Epoch,
        reservedUpTo: EPOCH_BLOCK as Epoch,
        journal: 'ok',
      });
      expect(world.line.stage).toBe(fresh ? 'loosen-paths' : 'loosen-decided');
      world.send({ kind: 'serviceBack', who: 'warden', standing: undefined });
      expect(world.line.stage).toBe('loosen-paths');
    }
  });

  it('PO-22 a tightening waits for neither journal nor warden nor participants', () => {
    const world = new World(5);
    world.send({ kind: 'serviceLost', who: 'warden' });
    for (const level of [4, 3, 2, 1] as const) {
      world.request(level);
      expect(world.word?.level).toBe(level);
    }
    expect(world.journaling.length).toBe(4);
  });
});

describe('requests that meet each other', () => {
  it('PO-10 a tighter request pre-empts, and what is then too strict is loosened by a transition of its own', () => {
    const world = new World(2);
    world.request(5);
    world.journal();
    world.apply(2);
    const id = world.request(4, 'console');
    // First everything goes to the stricter of where it is and the new target.
    expect(world.word).toEqual({ epoch: 9n, level: 2 });
    expect(world.reports).toContainEqual({ epoch: 8n, outcome: 'preempted' });
    world.settle();
    expect(world.replies(id)).toMatchObject([{ kind: 'decision', epoch: 9n, to: 2 }]);
    expect(world.word).toEqual({ epoch: 10n, level: 4 });
    expect(world.machine.phase).toBe('steady');
  });

  it('PO-10 a looser request waits, the newest of a channel wins, and it is authorised again in its turn', () => {
    const world = new World(5);
    world.request(2);
    const first = world.request(4);
    const second = world.request(3);
    expect(world.replies(first)).toEqual([{ kind: 'waiting', behindEpoch: 8n }]);
    expect(world.settled.get(first)).toMatchObject({ code: 'POSTURE_SUPERSEDED' });
    world.settle();
    expect(world.replies(second)).toHaveLength(1);
    expect(world.word?.level).toBe(3);
    world.turns = 'deny';
    world.request(1);
    const third = world.request(5);
    world.settle();
    expect(world.settled.get(third)).toMatchObject({ code: 'POSTURE_NOT_AUTHORISED' });
    expect(world.word?.level).toBe(1);
  });

  it('PO-4 a tighter request ends the waiting of looser ones', () => {
    const world = new World(5);
    world.request(3);
    const id = world.request(5);
    world.request(2, 'plugin');
    world.settle();
    expect(world.settled.get(id)).toMatchObject({ code: 'POSTURE_SUPERSEDED' });
    expect(world.word?.level).toBe(2);
  });

  it('PO-4 what a higher authority tightened a lower one does not loosen', () => {
    let visited = 0;
    for (const holder of CHANNELS)
      for (const asker of CHANNELS) {
        const world = new World(5);
        world.request(3, holder);
        world.settle();
        const [reply] = world.replies(world.request(4, asker));
        world.settle();
        const higher = CHANNEL_AUTHORITY[holder] > CHANNEL_AUTHORITY[asker];
        expect(world.word?.level).toBe(higher ? 3 : 4);
        if (higher) expect(reply).toMatchObject({ code: 'POSTURE_HELD', rule: 'higher-authority-holds' });
        visited += 1;
      }
    expect(visited).toBe(36);
  });

  it('PO-4 a hold ends when an authority that is high enough loosens, and only then', () => {
    const world = new World(5);
    world.request(2, 'console');
    world.settle();
    world.request(1, 'local');
    world.settle();
    expect(world.replies(world.request(3, 'local'))).toMatchObject([{ code: 'POSTURE_HELD' }]);
    world.request(2, 'local');
    world.settle();
    expect(world.word?.level).toBe(2);
    world.request(3, 'console');
    world.settle();
    world.request(5, 'local');
    world.settle();
    expect(world.word?.level).toBe(5);
  });

  it('PO-4 who asks for what was tightened to already stands behind it; what was loosened to is held by nobody', () => {
    const world = new World(5);
    world.request(2, 'plugin');
    world.settle();
    world.request(2, 'console');
    expect(world.replies(world.request(4, 'local'))).toMatchObject([{ code: 'POSTURE_HELD' }]);
    world.request(3, 'console');
    world.settle();
    world.request(3, 'console');
    world.request(5, 'local');
    world.settle();
    expect(world.word?.level).toBe(5);
  });

  it('PO-5 a refused or stale request changes nothing, and is recorded', () => {
    const world = new World(5);
    for (const make of [
      () => world.request(1, 'local', DENY),
      () => {
        const request = {
          id: 'stale',
          source: { channel: 'local', tier: 'master', principal: 'a', reason: 'b' },
          level: 1,
          ifEpoch: 6n as Epoch,
          receivedAtNs: 1n,
        } as const;
        world.send({ kind: 'request', request, authority: ALLOW });
        return 'stale';
      },
    ]) {
      const before = world.machine;
      const id = make();
      expect(world.replies(id)).toHaveLength(1);
      expect(world.replies(id)[0]).toMatchObject({ kind: 'refusal', rule: expect.stringMatching(/./) });
      expect(world.log.at(-2)).toMatchObject({ do: 'record' });
      expect(world.machine).toEqual(before);
    }
  });

  it('PO-11 asking for the level in force changes nothing that is right, and repairs what is not', () => {
    const world = new World(3);
    const right = world.request(3);
    expect(world.replies(right)).toEqual([{ kind: 'decision', epoch: 7n, from: 3, to: 3, durable: true }]);
    expect(world.epochs).toEqual([]);
    expect(world.log.filter((effect) => effect.do === 'repeat')).toEqual([{ do: 'repeat', epoch: 7n }]);
    world.send({ kind: 'acknowledged', who: 'mesh', epoch: 7n as Epoch, level: 4, outcome: 'applied' });
    world.request(3);
    expect(world.word).toEqual({ epoch: 8n, level: 3 });
    world.settle();
    expect(wrongs(world.machine)).toEqual([]);
    expect(world.machine.phase).toBe('steady');
  });

  it('PO-20 what may be too loose is tightened at once, without journal and warden; what is too strict is loosened in order', () => {
    const loose = new World(3);
    loose.send({ kind: 'journalFailed' });
    loose.send({ kind: 'serviceLost', who: 'warden' });
    loose.send({ kind: 'acknowledged', who: 'mesh', epoch: 7n as Epoch, level: 4, outcome: 'applied' });
    loose.send({ kind: 'disagreed', who: 'mesh' });
    expect(loose.line).toEqual({ epoch: 8n, stage: 'tighten' });
    expect(loose.word).toEqual({ epoch: 8n, level: 3 });

    const strict = new World(3);
    strict.send({ kind: 'acknowledged', who: 'mesh', epoch: 7n as Epoch, level: 1, outcome: 'applied' });
    strict.send({ kind: 'serviceLost', who: 'warden' });
    strict.send({ kind: 'disagreed', who: 'mesh' });
    expect(strict.epochs).toEqual([]);
    strict.send({ kind: 'serviceBack', who: 'warden', standing: undefined });
    strict.send({ kind: 'disagreed', who: 'mesh' });
    expect(strict.machine.phase).toBe('deciding');
    strict.journal();
    expect(strict.released).toEqual([{ epoch: 8n, stage: 'loosen-paths' }]);
    strict.settle();
    expect(strict.machine).toMatchObject({ phase: 'steady', word: { epoch: 8n, level: 3 } });
    expect(wrongs(strict.machine)).toEqual([]);
  });

  it('PO-10 a tightening that leaves somebody too strict is followed by a transition of its own that loosens', () => {
    const world = new World(5);
    world.request(3);
    world.journal();
    for (const index of [0, 1, 3]) world.apply(index);
    // A late loosening had left it at lockdown, and no tightening loosens it.
    world.send({ kind: 'acknowledged', who: 'mesh', epoch: 8n as Epoch, level: 1, outcome: 'unchanged' });
    expect(world.reports).toContainEqual({ epoch: 8n, outcome: 'completed' });
    expect(world.machine).toMatchObject({ phase: 'deciding', last: { epoch: 9n, from: 3, to: 3 } });
    world.settle();
    expect(world.machine.standings['mesh']).toMatchObject({ epoch: 9n, level: 3 });
  });

  it('PO-19 who is away has not applied it: its path has its time, then it is late', () => {
    for (const back of [true, false]) {
      const world = new World(5);
      world.send({ kind: 'serviceLost', who: 'mesh' });
      world.request(2);
      world.journal();
      for (const index of [0, 1, 3]) world.apply(index);
      expect(world.machine.phase).toBe('tightening');
      if (back) {
        const standing = { path: 'overlay', layer: 'path', epoch: 0n as Epoch, level: undefined } as const;
        world.send({ kind: 'serviceBack', who: 'mesh', standing: { ...standing, outcome: 'none' } });
        expect(world.machine.phase).toBe('tightening');
        world.apply(2);
      } else {
        world.send({ kind: 'deadlinePassed', epoch: 8n as Epoch, path: 'overlay' });
        world.send({ kind: 'tick' });
      }
      expect(world.reports.at(-1)).toEqual({ epoch: 8n, outcome: back ? 'completed' : 'late' });
    }
  });

  it('PO-2 a tighter accord voids no request: what waits goes on waiting, and a loosening that it stops, too', () => {
    const world = new World(2);
    world.request(4);
    world.journal();
    const source = { channel: 'console', tier: 'site_owner', principal: 'a', reason: 'b' } as const;
    const request = { id: 'accord', source, level: 4, accord: 'tighter', receivedAtNs: 1n } as const;
    world.send({ kind: 'accordChanged', request, authority: ALLOW });
    expect(world.word).toEqual({ epoch: 9n, level: 2 });
    world.settle();
    expect(world.word).toEqual({ epoch: 10n, level: 4 });
  });

  it('PO-9 skipping levels ends where stepping through them ends', () => {
    fc.assert(
      fc.property(fc.constantFrom(...LEVELS), fc.constantFrom(...LEVELS), (from, to) => {
        fc.pre(from !== to);
        const [skipping, stepping] = [new World(from), new World(from)];
        skipping.request(to);
        skipping.settle();
        const way = from > to ? -1 : 1;
        for (let level = from as number; level !== to; level += way) {
          stepping.request((level + way) as Level);
          stepping.settle();
        }
        for (const world of [skipping, stepping]) {
          expect(world.machine.phase).toBe('steady');
          expect(world.word?.level).toBe(to);
          expect(wrongs(world.machine)).toEqual([]);
        }
        expect(skipping.machine.holds).toEqual(stepping.machine.holds);
      }),
    );
  });

  it('PO-2 a change of the accord is a transition from the level to itself, in the order of its direction', () => {
    for (const accord of ['tighter', 'looser'] as const) {
      const world = new World(3);
      const request = {
        id: 'accord',
        source: { channel: 'local', tier: 'master', principal: 'a', reason: 'b' },
        level: 3,
        accord,
        receivedAtNs: 1n,
      } as const;
      world.send({ kind: 'accordChanged', request, authority: ALLOW });
      expect(world.log[0]?.do).toBe(accord === 'tighter' ? 'storeTightening' : 'journal');
      world.settle();
      expect(world.word).toEqual({ epoch: 8n, level: 3 });
      expect(world.replies('accord')).toMatchObject([{ kind: 'decision', from: 3, to: 3 }]);
    }
  });
});

describe('who stands behind a hold', () => {
  it('PO-4 is told that it is durable when a record with the hold is, and so is who asks after them', () => {
    for (const running of [true, false]) {
      const world = new World(5);
      world.request(2, 'local');
      if (running) world.journal();
      else world.settle();
      expect(world.machine.phase === 'steady').toBe(!running);
      const asked = world.log.length;
      const console = world.request(2, 'console');
      const again = world.request(2, 'console');
      for (const id of [console, again]) expect(world.replies(id), `running ${running}`).toEqual([]);
      const entries = world.log
        .slice(asked)
        .flatMap((effect) => (effect.do === 'journal' ? effect.entry : []));
      expect(entries).toMatchObject([
        {
          kind: running ? 'checkpoint' : 'completed',
          epoch: 8n,
          from: 5,
          to: 2,
          keeps: console,
          holds: { local: 2, console: 2 },
        },
      ]);
      world.journal();
      for (const id of [console, again])
        expect(world.replies(id)).toEqual([{ kind: 'decision', epoch: 8n, from: 5, to: 2, durable: true }]);
    }
  });

  it('PO-4 is not answered by the record of a decision that was written without the hold', () => {
    const world = new World(5);
    const local = world.request(2, 'local');
    const console = world.request(2, 'console');
    world.journal(1);
    expect([world.replies(local).length, world.replies(console).length]).toEqual([1, 0]);
    world.journal();
    expect(world.replies(console)).toMatchObject([{ kind: 'decision', epoch: 8n, durable: true }]);
  });

  it('PO-17 is told that it is not durable where the journal fails before the record, or has failed already', () => {
    const world = new World(5);
    world.request(2, 'local');
    world.settle();
    const console = world.request(2, 'console');
    world.send({ kind: 'journalFailed' });
    expect(world.replies(console)).toMatchObject([{ kind: 'decision', to: 2, durable: false }]);
    for (const channel of ['console', 'oob', 'oob'] as const)
      expect(world.replies(world.request(2, channel))).toMatchObject([{ kind: 'decision', durable: false }]);
    expect(world.machine.holds).toEqual({ local: 2, console: 2, oob: 2 });
  });
});

describe('the journal fails', () => {
  it('PO-17 a tightening stays in force and is answered as not durable; a loosening is refused', () => {
    const world = new World(4);
    const tightening = world.request(3);
    world.send({ kind: 'journalFailed' });
    expect(world.replies(tightening)).toMatchObject([{ kind: 'decision', durable: false }]);
    expect(world.word?.level).toBe(3);
    world.settle();
    expect(world.replies(world.request(5))).toMatchObject([{ code: 'POSTURE_NOT_DURABLE' }]);
    expect(world.replies(world.request(1))).toMatchObject([{ kind: 'decision', durable: false }]);
    expect(world.word?.level).toBe(1);
    const journaled = world.log.slice(world.log.findIndex(({ do: what }) => what === 'answer'));
    expect(journaled.some((effect) => effect.do === 'journal')).toBe(false);
  });

  it('PO-17 a loosening whose record failed is refused, and a newer epoch makes sure that no restart takes it up', () => {
    const world = new World(2);
    const id = world.request(5);
    world.send({ kind: 'journalFailed' });
    expect(world.replies(id)).toMatchObject([{ code: 'POSTURE_NOT_DURABLE' }]);
    expect(world.word).toEqual({ epoch: 9n, level: 2 });
    world.settle();
    expect(world.machine.phase).toBe('steady');
    expect(world.word?.level).toBe(2);
  });

  it('PO-17 a request that waited hears of it, too, when its turn came and the journal failed', () => {
    const world = new World(5);
    world.request(2);
    const id = world.request(4);
    world.journal();
    for (let index = 0; index < PARTIES.length; index += 1) world.apply(index);
    expect(world.machine.phase).toBe('deciding');
    world.send({ kind: 'journalFailed' });
    expect(world.replies(id)).toEqual([{ kind: 'waiting', behindEpoch: 8n }]);
    expect(world.settled.get(id)).toMatchObject({ code: 'POSTURE_NOT_DURABLE' });
  });

  it('PO-22 epochs never run out for tightenings, also when no reservation comes any more', () => {
    const world = new World(5);
    world.machine = {
      ...world.machine,
      nextEpoch: 100n as Epoch,
      reservedUpTo: (100n + EPOCH_HEADROOM) as Epoch,
    };
    // Step by step, so that most of them begin inside the headroom.
    for (const level of [4, 3, 2, 1, 5, 1, 5, 1] as const) {
      world.request(level);
      world.journaling.length = 0;
      if (level !== 5) expect(world.word?.level).toBe(level);
    }
    expect(world.machine.nextEpoch).toBeLessThanOrEqual(world.machine.reservedUpTo);
  });
});

/* ---------------------------------------------------------------- chaos */

type Action =
  | { readonly act: 'request'; readonly level: Level; readonly channel: Channel; readonly allowed: boolean }
  | { readonly act: 'accord'; readonly way: 'tighter' | 'looser' }
  | { readonly act: 'apply' | 'lose' | 'return' | 'fail'; readonly index: number }
  | { readonly act: 'deadline'; readonly path: PathName | 'verify' }
  | { readonly act: 'warden'; readonly fresh: boolean }
  | { readonly act: 'closed'; readonly path: PathName; readonly set: boolean }
  | { readonly act: 'turns'; readonly answer: 'allow' | 'deny' }
  | { readonly act: 'journal' | 'break' | 'tick' | 'disagree' };

const path = fc.constantFrom<PathName>('dataplane', 'overlay', 'underlay');
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      act: fc.constant('request' as const),
      level: fc.constantFrom(...LEVELS),
      channel: fc.constantFrom(...CHANNELS),
      allowed: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: fc.record({ act: fc.constant('journal' as const) }) },
  { weight: 8, arbitrary: fc.record({ act: fc.constant('apply' as const), index: fc.nat(3) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      act: fc.constantFrom('lose' as const, 'return' as const, 'fail' as const),
      index: fc.nat(3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      act: fc.constant('deadline' as const),
      path: fc.oneof(path, fc.constant('verify' as const)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('warden' as const), fresh: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('closed' as const), path, set: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      act: fc.constant('turns' as const),
      answer: fc.constantFrom('allow' as const, 'deny' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      act: fc.constant('accord' as const),
      way: fc.constantFrom('tighter' as const, 'looser' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constantFrom('tick' as const, 'disagree' as const) }) },
);

function perform(world: World, action: Action): void {
  const { machine } = world;
  switch (action.act) {
    case 'request': {
      const before = world.machine;
      const allowedBefore = before.word.level ?? 1;
      const id = world.request(action.level, action.channel, action.allowed ? ALLOW : DENY);
      if (!action.allowed) {
        expect(world.machine).toEqual(before);
        expect(world.replies(id)).toHaveLength(1);
      } else if (action.level < before.last.to) {
        // Whatever runs: a tighter request is in force when it returns.
        expect(world.word?.level).toBe(Math.min(action.level, allowedBefore));
      }
      return;
    }
    case 'accord': {
      world.requests += 1;
      const request = {
        id: `r${world.requests}`,
        source: { channel: 'local', tier: 'master', principal: 'a', reason: 'b' },
        level: machine.last.to,
        accord: action.way,
        receivedAtNs: 1n,
      } as const;
      world.asked.set(request.id, request);
      world.send({ kind: 'accordChanged', request, authority: ALLOW });
      return;
    }
    case 'apply':
      world.apply(action.index);
      return;
    case 'fail': {
      const who = PARTIES[action.index]?.who ?? '';
      if ('transition' in machine) {
        const { epoch, from } = machine.transition;
        world.send({ kind: 'acknowledged', who, epoch, level: from, outcome: 'failed' });
      }
      return;
    }
    case 'lose':
      world.send({ kind: 'serviceLost', who: PARTIES[action.index]?.who ?? '' });
      return;
    case 'return': {
      const party = PARTIES[action.index];
      if (party === undefined) return;
      const { who, path, layer } = party;
      const { epoch, level } = machine.standings[who] ?? { epoch: 0n as Epoch, level: 1 };
      world.send({ kind: 'serviceBack', who, standing: { path, layer, epoch, level, outcome: 'applied' } });
      return;
    }
    case 'deadline':
      world.send({ kind: 'deadlinePassed', epoch: machine.last.epoch, path: action.path });
      return;
    case 'warden':
      world.send(
        action.fresh
          ? { kind: 'serviceBack', who: 'warden', standing: undefined }
          : { kind: 'serviceLost', who: 'warden' },
      );
      return;
    case 'closed':
      world.send(
        action.set
          ? { kind: 'failClosedSet', path: action.path, level: 2, epoch: machine.last.epoch }
          : { kind: 'failClosedCleared', path: action.path },
      );
      return;
    case 'turns':
      world.turns = action.answer;
      return;
    case 'journal':
      world.journal(1);
      return;
    case 'break':
      world.journaling.length = 0;
      world.reserving = undefined;
      world.send({ kind: 'journalFailed' });
      return;
    case 'tick':
      world.send({ kind: 'tick' });
      return;
    case 'disagree':
      world.send({ kind: 'disagreed', who: 'mesh' });
      return;
  }
}

describe('whatever happens', () => {
  const story = fc.record({
    start: fc.constantFrom(...LEVELS),
    before: fc.array(action, { maxLength: 60 }),
    breaks: fc.boolean(),
    after: fc.array(action, { maxLength: 20 }),
  });

  it('PO-10 every request is answered once, epochs only rise, nothing loosens without journal, warden and stages', () => {
    fc.assert(
      fc.property(story, ({ start, before, breaks, after }) => {
        const world = new World(start);
        for (const each of before) perform(world, each);
        if (breaks) perform(world, { act: 'break' });
        for (const each of after) perform(world, each);
        if (breaks) {
          // What would still be written after a failed flush never is.
          expect(world.journaling).toEqual([]);
        }
        perform(world, { act: 'warden', fresh: true });
        for (const lines of ['dataplane', 'overlay', 'underlay'] as const) {
          perform(world, { act: 'closed', path: lines, set: false });
        }
        world.settle();
        // It converges: word and target agree, nobody waits, everybody was answered exactly once.
        expect(world.machine.phase).toBe('steady');
        expect(world.word).toEqual({ epoch: world.machine.last.epoch, level: world.machine.last.to });
        expect(world.machine.word).toEqual(world.word);
        expect(world.machine.waiting).toEqual([]);
        expect(world.machine.unanswered).toEqual([]);
        for (const id of world.asked.keys()) expect(world.replies(id)).toHaveLength(1);
        // Every transition has a beginning and one end (PO-8).
        const ends = world.reports.filter(({ outcome }) => outcome !== undefined).map(({ epoch }) => epoch);
        expect(new Set(ends).size).toBe(ends.length);
        expect(ends.length).toBe(world.reports.length - ends.length);
      }),
      { numRuns: 400 },
    );
  });

  it('PO-15 what gates obey is never looser than the word or the target', () => {
    fc.assert(
      fc.property(story, ({ start, before }) => {
        const world = new World(start);
        for (const each of before) {
          perform(world, each);
          const inForce = levelInForce(world.machine);
          expect(inForce).toBeLessThanOrEqual(world.machine.last.to);
          expect(inForce).toBeLessThanOrEqual(world.word?.level ?? 1);
          for (const level of LEVELS) {
            expect(askedLevel(world.machine, level)).toBeLessThanOrEqual(level);
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('PO-7 the table answers every event in every phase, and leaves the state alone where it refuses', () => {
    const states = statesByPhase();
    const events = sampleEvents();
    let visited = 0;
    for (const phase of PHASES)
      for (const kind of EVENT_KINDS) {
        const state = states.get(phase);
        if (state === undefined) throw new Error(`no state for ${phase}`);
        const frozen = structuredClone(state);
        const result = step(state, events[kind]);
        expect(['moved', 'refused']).toContain(result.kind);
        expect(state).toEqual(frozen);
        visited += 1;
      }
    expect(visited).toBe(8 * 16);
  });
});

function statesByPhase(): ReadonlyMap<Phase, PostureMachine> {
  const found = new Map<Phase, PostureMachine>([['recovering', INITIAL]]);
  const note = (world: World): void => {
    found.set(world.machine.phase, world.machine);
  };
  const loosening = new World(2);
  note(loosening);
  loosening.request(5);
  note(loosening);
  loosening.journal();
  note(loosening);
  for (const index of [2, 3, 1]) {
    loosening.apply(index);
    note(loosening);
  }
  const tightening = new World(5);
  tightening.request(2);
  note(tightening);
  const verifying = new World(5);
  verifying.send({ kind: 'failClosedSet', path: 'overlay', level: 2, epoch: 7n as Epoch });
  verifying.request(2);
  for (let index = 0; index < 4; index += 1) verifying.apply(index);
  note(verifying);
  return found;
}

function sampleEvents(): { readonly [K in EventKind]: PostureEvent } {
  const epoch = 8n as Epoch;
  const source = { channel: 'local', tier: 'master', principal: 'a', reason: 'b' } as const;
  const request = { id: 'sample', source, level: 1, receivedAtNs: 1n } as const;
  return {
    request: { kind: 'request', request, authority: ALLOW },
    accordChanged: {
      kind: 'accordChanged',
      request: { ...request, level: 2, accord: 'looser' },
      authority: ALLOW,
    },
    turn: { kind: 'turn', id: 'sample', authority: ALLOW },
    journaled: { kind: 'journaled', epoch },
    journalFailed: { kind: 'journalFailed' },
    reserved: { kind: 'reserved', upTo: epoch },
    acknowledged: { kind: 'acknowledged', who: 'mesh', epoch, level: 2, outcome: 'applied' },
    deadlinePassed: { kind: 'deadlinePassed', epoch, path: 'overlay' },
    verified: { kind: 'verified', epoch, differences: [] },
    failClosedSet: { kind: 'failClosedSet', path: 'overlay', level: 1, epoch },
    failClosedCleared: { kind: 'failClosedCleared', path: 'overlay' },
    serviceLost: { kind: 'serviceLost', who: 'mesh' },
    serviceBack: { kind: 'serviceBack', who: 'warden', standing: undefined },
    disagreed: { kind: 'disagreed', who: 'mesh' },
    recovered: {
      kind: 'recovered',
      plan: planAt(5),
      nextEpoch: epoch,
      reservedUpTo: EPOCH_BLOCK as Epoch,
      journal: 'ok',
    },
    tick: { kind: 'tick' },
  };
}
