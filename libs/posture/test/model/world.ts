/**
 * A world around the posture machine: a board, a disk, a warden and participants, driven one small step at a time,
 * with the reference model judging every effect as it happens.
 * It must not judge by itself; whatever is wrong is the model's to say.
 */
import fc from 'fast-check';

import type * as Posture from '../../src/index.js';
import {
  type Channel,
  Contradiction,
  type Layer,
  type Level,
  type Path,
  ReferenceModel,
  type Seen,
} from './reference-model.js';
import type { Order, Verdict, Written } from './reference-model.js';

/** The code that is judged: the package's own, or a broken copy. */
export type Judged = Pick<
  typeof Posture,
  | 'INITIAL'
  | 'step'
  | 'differences'
  | 'recoveryOf'
  | 'recoverJournal'
  | 'encodeJournalRecord'
  | 'EPOCH_BLOCK'
  | 'EPOCH_JUMP'
>;

const CHANNELS: readonly Channel[] = ['console', 'oob', 'fleet', 'local', 'plugin', 'bpf'];
const LEVELS: readonly Level[] = [1, 2, 3, 4, 5];
const PATHS: readonly Path[] = ['dataplane', 'overlay', 'underlay'];
const RECORD_BYTES = 128;

/** One thing that happens. */
export type Happening =
  | { readonly on: 'order'; readonly level: Level; readonly channel: Channel; readonly allowed: boolean }
  | { readonly on: 'accord'; readonly channel: Channel; readonly way: 'tighter' | 'looser' }
  /** A participant does what it may do now; unless `told`, the coordinator looks later. */
  | { readonly on: 'act'; readonly who: number; readonly told: boolean }
  | { readonly on: 'fail' | 'lose' | 'return'; readonly who: number }
  | { readonly on: 'deadline'; readonly path: Path | 'verify' }
  | { readonly on: 'warden'; readonly fresh: boolean }
  | { readonly on: 'turns'; readonly allow: boolean }
  | { readonly on: 'flush'; readonly records: number }
  | { readonly on: 'break' | 'look' | 'repair' }
  /** The coordinator dies, or the power fails, with so many of the records on their way written. */
  | {
      readonly on: 'crash';
      readonly kind: 'process' | 'power' | 'damage';
      readonly written: number;
      readonly place: number;
      readonly broken: boolean;
      readonly warden: boolean;
    };

const who = fc.nat(3);
const weighted: readonly [number, fc.Arbitrary<Happening>][] = [
  [
    30,
    fc.record({
      on: fc.constant('order' as const),
      level: fc.constantFrom(...LEVELS),
      channel: fc.constantFrom(...CHANNELS),
      allowed: fc.nat(9).map((n) => n > 0),
    }),
  ],
  [30, fc.record({ on: fc.constant('act' as const), who, told: fc.nat(3).map((n) => n > 0) })],
  [14, fc.record({ on: fc.constant('flush' as const), records: fc.integer({ min: 1, max: 4 }) })],
  [
    5,
    fc.record({
      on: fc.constantFrom('fail' as const, 'lose' as const, 'return' as const, 'return' as const),
      who,
    }),
  ],
  [
    6,
    fc.record({ on: fc.constant('deadline' as const), path: fc.constantFrom(...PATHS, 'verify' as const) }),
  ],
  [3, fc.record({ on: fc.constant('warden' as const), fresh: fc.nat(2).map((n) => n > 0) })],
  [1, fc.record({ on: fc.constant('turns' as const), allow: fc.nat(3).map((n) => n > 0) })],
  [6, fc.record({ on: fc.constantFrom('look' as const, 'look' as const, 'repair' as const) })],
  [
    2,
    fc.record({
      on: fc.constant('accord' as const),
      channel: fc.constantFrom(...CHANNELS),
      way: fc.constantFrom('tighter' as const, 'looser' as const),
    }),
  ],
  [
    2,
    fc.record({
      on: fc.constant('crash' as const),
      kind: fc.constantFrom(
        'process' as const,
        'process' as const,
        'power' as const,
        'power' as const,
        'damage' as const,
      ),
      written: fc.nat(4),
      place: fc.nat(10_000),
      broken: fc.nat(19).map((n) => n === 0),
      warden: fc.nat(3).map((n) => n > 0),
    }),
  ],
];

/** Anything that may happen; with `breaks` the journal may fail, too. */
export function happening(breaks: boolean): fc.Arbitrary<Happening> {
  return fc.oneof(
    ...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary })),
    ...(breaks ? [{ weight: 1, arbitrary: fc.constant<Happening>({ on: 'break' }) }] : []),
  );
}

interface Party {
  readonly name: string;
  readonly path: Path;
  readonly layer: Layer;
  present: boolean;
  /** Where it really stands. */
  at: Level;
  /** What it says. */
  epoch: bigint;
  outcome: 'none' | 'applied' | 'failed';
}
interface Line {
  readonly epoch: bigint;
  readonly from: Level;
  readonly to: Level;
  readonly stage: string;
  readonly loosening: boolean;
}
type OnDisk = Posture.JournalRecord;
type Waits = { readonly record: OnDisk; readonly then: () => Posture.PostureEvent | undefined };

const NOBODY = new Uint8Array(16);

export class World {
  readonly model: ReferenceModel;
  machine: Posture.PostureMachine;
  word: { epoch: bigint; level: Level } | undefined;
  line: Line | undefined;
  readonly parties: Party[];
  disk: OnDisk[] = [];
  queue: Waits[] = [];
  journalWorks = true;
  wardenFresh = true;
  allowTurns = true;
  orders = 0;
  crashes = 0;
  /** Decisions that somebody was told are durable: none may be forgotten. */
  readonly promised: { epoch: bigint; to: Level }[] = [];
  /** Holds that somebody was told are durable, and those of tightenings that were stored: the first outlive everything. */
  readonly #owed = { durable: new Map<Channel, Level>(), stored: new Map<Channel, Level>() };
  readonly answers = new Map<string, Posture.Reply[]>();
  /** Orders of this process: one answer each. */
  asked = new Map<string, Order>();
  #now: { order: Order; verdict: Verdict; answered: boolean } | undefined;
  #recovering = false;

  constructor(
    readonly code: Judged,
    start: Level,
  ) {
    this.model = new ReferenceModel(start, 7n);
    this.machine = code.INITIAL;
    this.parties = [
      { name: 'reference/0', path: 'dataplane', layer: 'dataplane' },
      { name: 'shellstream', path: 'overlay', layer: 'session' },
      { name: 'mesh', path: 'overlay', layer: 'path' },
      { name: 'switches', path: 'underlay', layer: 'path' },
    ].map((party) => ({ ...party, present: true, at: start, epoch: 7n, outcome: 'applied' }) as Party);
    this.word = { epoch: 7n, level: start };
    this.line = { epoch: 7n, from: start, to: start, stage: 'complete', loosening: false };
    const decided = { epoch: 7n, from: start, to: start };
    this.disk = [
      this.#record('reserve', { epoch: 0n }, 1n, 7n),
      this.#record('decision', decided, 2n, 7n),
      this.#record('completed', decided, 3n, 7n),
    ];
    this.#start(false, false);
  }

  /* -------------------------------------------------------------- start */

  #record(
    kind: OnDisk['kind'],
    decided: { epoch: bigint; from?: Level; to?: Level; holds?: Posture.Holds },
    sequence: bigint,
    reservedUpTo: bigint,
  ): OnDisk {
    return {
      kind,
      sequence,
      epoch: decided.epoch,
      reservedUpTo,
      decidedAtNs: 1n,
      decidedAtWallMs: 1,
      bootId: NOBODY,
      keyHash: undefined,
      contentHash: undefined,
      from: decided.from,
      to: decided.to,
      requested: decided.to,
      channel: undefined,
      tier: undefined,
      completed: false,
      carried: false,
      recovered: false,
      accord: false,
      holds: decided.holds ?? {},
    } as OnDisk;
  }

  /** As the coordinator starts: reads, reserves, then goes on. */
  #start(broken: boolean, flip: boolean, place = 0): void {
    const { code } = this;
    const bytes = new Uint8Array(this.disk.length * RECORD_BYTES + 2 * RECORD_BYTES);
    for (const [index, record] of this.disk.entries())
      bytes.set(code.encodeJournalRecord(record), index * RECORD_BYTES);
    const at = place % (this.disk.length * RECORD_BYTES);
    if (flip) bytes[at] = (bytes[at] ?? 0) ^ 0x41;
    const found = code.recoverJournal(bytes);
    const readable = flip ? this.disk.slice(0, Math.floor(at / RECORD_BYTES)) : this.disk;
    const left = {
      written: readable.flatMap((record) => writtenOf(record)),
      damaged: flip,
      word: this.word,
      line: this.line,
    };
    const plan = code.recoveryOf({
      journal: found,
      provisioned: true,
      provisioningLevel: 5,
      word: this.word as never,
      line: this.line as never,
      wordDoubt: undefined,
    });
    this.journalWorks = !broken;
    this.queue = [];
    const upTo = plan.above + code.EPOCH_BLOCK;
    if (!broken) {
      const sequence = flip ? 0n : found.sequence;
      const kept =
        flip && found.last !== undefined
          ? [{ ...found.last.record, kind: 'checkpoint', completed: found.last.completed } as OnDisk]
          : [];
      const fresh = [
        ...kept,
        this.#record('reserve', { epoch: 0n }, 0n, upTo),
        ...(plan.journalFirst === undefined
          ? []
          : [this.#record('decision', { ...plan.journalFirst, holds: plan.holds }, 0n, upTo)]),
      ].map((record, index) => ({
        ...record,
        sequence: sequence + BigInt(index + 1),
        // A file that is written anew is durable as a whole.
        reservedUpTo: upTo as typeof record.reservedUpTo,
      }));
      this.disk = flip ? fresh : [...this.disk, ...fresh];
    } else if (flip) {
      // What is damaged stays as it is, and is found damaged again.
      this.#damaged = true;
    }
    const beyond = this.word !== undefined && this.word.epoch >= plan.above;
    const next =
      plan.above + 1n + (broken && !beyond ? code.EPOCH_JUMP + BigInt(place + 10_001 * this.crashes) : 0n);
    this.machine = code.INITIAL;
    this.asked = new Map();
    this.model.journal = !broken;
    this.model.warden = this.wardenFresh;
    if (this.wardenFresh) this.#send({ kind: 'serviceBack', who: 'warden', standing: undefined });
    for (const party of this.parties) this.#meet(party);
    // What the machine makes of it is judged as a whole: the model is told how it goes on.
    this.#recovering = true;
    const before = {
      epoch: plan.decision?.epoch ?? 0n,
      from: plan.decision?.from ?? 5,
      to: plan.decision?.to ?? 5,
    };
    this.#left = { left, before, told: false };
    this.#send({
      kind: 'recovered',
      plan,
      nextEpoch: next as never,
      reservedUpTo: (broken ? plan.above : upTo) as never,
      journal: broken ? 'failed' : 'ok',
    });
    if (!this.#left.told) this.#tell('holds', before);
    this.#recovering = false;
  }
  #damaged = false;
  #left:
    | {
        left: Parameters<ReferenceModel['crash']>[0];
        before: { epoch: bigint; from: Level; to: Level };
        told: boolean;
      }
    | undefined;

  #tell(on: 'goes-on' | 'stores' | 'holds', what: { epoch: bigint; from: Level; to: Level }): void {
    if (this.#left === undefined || this.#left.told) return;
    this.#left.told = true;
    this.model.crash(this.#left.left, { on, epoch: what.epoch, from: what.from, to: what.to });
  }

  /* ------------------------------------------------------------ effects */

  #send(event: Posture.PostureEvent): void {
    const result = this.code.step(this.machine, event);
    if (result.kind === 'refused') return;
    this.machine = result.state;
    const later: Posture.PostureEvent[] = [];
    for (const effect of result.effects) later.push(...this.#carryOut(effect));
    for (const next of later) this.#send(next);
  }

  #seen(): Seen[] {
    return this.parties.map(({ path, layer, present, epoch }) => ({ path, layer, present, epoch }));
  }

  #carryOut(effect: Posture.Effect): Posture.PostureEvent[] {
    const { model } = this;
    switch (effect.do) {
      case 'storeTightening': {
        const { epoch, from, to } = effect;
        if (this.#recovering) this.#tell('stores', { epoch, from, to });
        else model.stored(epoch, from, to, this.#now?.verdict, this.#now?.order);
        if (this.#now !== undefined) {
          this.#now.answered = true;
          const { channel, level, accord } = this.#now.order;
          if (accord === undefined && this.model.holds.get(channel) === level)
            this.#owed.stored.set(channel, level);
        }
        this.word = { epoch, level: to };
        this.line = { epoch, from, to, stage: 'tighten', loosening: false };
        return [];
      }
      case 'writeTransitionStage': {
        const { epoch, from, to, stage } = effect;
        if (this.#recovering && this.#left?.told === false) this.#goesOn();
        const loosening = stage.startsWith('loosen-') || (this.line?.epoch === epoch && this.line.loosening);
        if (stage === 'loosen-paths' || stage === 'loosen-sessions' || stage === 'loosen-dataplane')
          model.released(epoch, stage.slice(7) as 'paths', this.#seen());
        this.line = { epoch, from, to, stage, loosening };
        return [];
      }
      case 'storeWord':
        model.loosened(effect.epoch, effect.level);
        this.word = { epoch: effect.epoch, level: effect.level };
        return [];
      case 'journal': {
        const { kind, epoch, from, to, holds, keeps } = effect.entry;
        if (kind === 'decision' && this.word?.epoch !== epoch)
          model.loosening(epoch, from, to, this.#now?.verdict, this.#now?.order);
        const record = this.#record(kind, { epoch, from, to, holds }, 0n, 0n);
        this.queue.push({
          record,
          then: () =>
            keeps !== undefined
              ? { kind: 'journaled', epoch, keeps }
              : kind === 'decision'
                ? { kind: 'journaled', epoch }
                : undefined,
        });
        return [];
      }
      case 'reserveEpochs': {
        const { upTo } = effect;
        this.queue.push({
          record: this.#record('reserve', { epoch: 0n }, 0n, upTo),
          then: () => ({ kind: 'reserved', upTo }),
        });
        return [];
      }
      case 'answer': {
        this.answers.set(effect.id, [...(this.answers.get(effect.id) ?? []), effect.reply]);
        this.#promise(effect.reply);
        this.#owe(effect.id, effect.reply);
        return [];
      }
      case 'settle':
        model.dropped(effect.request.id);
        this.#promise(effect.reply);
        return [];
      case 'authorise': {
        const { id } = effect.request;
        model.turn(id, this.allowTurns);
        return [{ kind: 'turn', id, authority: authority(this.allowTurns) }];
      }
      case 'verify':
        return [{ kind: 'verified', epoch: effect.epoch, differences: this.code.differences(this.machine) }];
      case 'report':
        if (this.#recovering && this.#left?.told === false && effect.outcome === undefined) this.#goesOn();
        if (effect.outcome !== undefined) model.ended(effect.transition.epoch, effect.outcome, this.#seen());
        return [];
      default:
        return [];
    }
  }

  #goesOn(): void {
    if (this.#left === undefined) return;
    this.#tell('goes-on', this.#left.before);
    if (this.disk.some(({ kind, epoch }) => kind === 'decision' && epoch === this.#left?.before.epoch))
      this.model.journaled(this.#left.before.epoch);
  }

  #promise(reply: Posture.Reply): void {
    if (reply.kind === 'decision' && reply.durable) this.promised.push({ epoch: reply.epoch, to: reply.to });
  }

  /** Who was told that it is durable stands behind their hold for good. */
  #owe(id: string, reply: Posture.Reply): void {
    const order = this.asked.get(id);
    if (order === undefined || order.accord !== undefined || reply.kind !== 'decision' || !reply.durable)
      return;
    const at = this.model.holds.get(order.channel);
    if (at === order.level) this.#owed.durable.set(order.channel, at);
  }

  /** What was loosened, or tightened again, is owed no more as it was. */
  #settleOwed(): void {
    for (const owed of Object.values(this.#owed))
      for (const [channel, at] of owed) if (this.model.holds.get(channel) !== at) owed.delete(channel);
  }

  /** Nobody may loosen after a restart what was held before it by more authority than theirs. */
  #checkHolds(owed: ReadonlyMap<Channel, Level>): void {
    for (const [channel, at] of owed) {
      const held = Object.entries(this.machine.holds).some(
        ([by, level]) => level <= at && CHANNELS.indexOf(by as Channel) <= CHANNELS.indexOf(channel),
      );
      if (!held) throw new Contradiction(`${channel} held ${at}, and a restart forgot it`);
    }
  }

  /* --------------------------------------------------------- happenings */

  happen(what: Happening): void {
    switch (what.on) {
      case 'order':
        this.order(what.channel, what.level, what.allowed);
        break;
      case 'accord':
        this.order(what.channel, this.machine.last.to, true, what.way);
        break;
      case 'act':
        this.#act(this.#party(what.who), what.told);
        break;
      case 'fail': {
        const party = this.#party(what.who);
        if (!party.present || this.line === undefined || party.layer === 'dataplane') break;
        party.epoch = this.line.epoch;
        party.outcome = 'failed';
        this.#look(party);
        break;
      }
      case 'lose': {
        const party = this.#party(what.who);
        party.present = false;
        this.#send({ kind: 'serviceLost', who: party.name });
        break;
      }
      case 'return': {
        // Whoever comes back has a new slot, in which nothing stands yet.
        const party = this.#party(what.who);
        if (party.present) break;
        Object.assign(party, { present: true, epoch: 0n, outcome: 'none' });
        this.#back(party);
        break;
      }
      case 'deadline': {
        for (const party of this.parties) this.#look(party);
        if (!('transition' in this.machine)) break;
        const { epoch } = this.machine.transition;
        // When what was applied could not be verified in its time, nothing is waited for any more.
        const over = what.path !== 'verify' ? [what.path] : this.machine.phase === 'verifying' ? PATHS : [];
        for (const path of over) this.model.deadline(epoch, path, this.#seen());
        this.#send({ kind: 'deadlinePassed', epoch, path: what.path });
        break;
      }
      case 'warden':
        this.warden(what.fresh);
        break;
      case 'turns':
        this.allowTurns = what.allow;
        break;
      case 'flush':
        this.#flush(what.records);
        break;
      case 'look':
        for (const party of this.parties) this.#look(party);
        this.#send({ kind: 'tick' });
        break;
      case 'repair':
        this.#send({ kind: 'disagreed', who: 'somebody' });
        break;
      case 'break':
        if (!this.journalWorks) break;
        this.journalWorks = false;
        this.model.journal = false;
        // Whether they reached the disk nobody knows; a loosening is taken out of it before anybody is told.
        this.#write(
          this.queue.filter(
            ({ record }) => record.kind === 'completed' || (record.to ?? 1) <= (record.from ?? 1),
          ),
        );
        this.queue = [];
        this.#send({ kind: 'journalFailed' });
        break;
      case 'crash':
        this.#crash(what);
        break;
    }
    this.#settleOwed();
    this.check();
  }

  order(channel: Channel, level: Level, allowed: boolean, accord?: 'tighter' | 'looser'): string {
    this.orders += 1;
    const id = `order-${this.orders}`;
    const order: Order = { id, channel, level, allowed, ...(accord === undefined ? {} : { accord }) };
    const starved = accord === 'tighter' && this.machine.nextEpoch + 16n > this.machine.reservedUpTo;
    const verdict: Verdict =
      starved && allowed && level === this.model.target
        ? { is: 'refused', code: 'POSTURE_NOT_DURABLE' }
        : this.model.order(order);
    const request = {
      id,
      source: { channel, tier: 'site_owner', principal: 'user:ada', reason: 'test' },
      level,
      receivedAtNs: 1n,
      ...(accord === undefined ? {} : { accord }),
    } as const;
    this.asked.set(id, order);
    this.#now = { order, verdict, answered: false };
    const before = this.word;
    const event = { authority: authority(allowed), request };
    this.#send(
      accord === undefined
        ? { kind: 'request', ...event }
        : ({ kind: 'accordChanged', ...event } as unknown as Posture.PostureEvent),
    );
    this.#now = undefined;
    const reply = this.answers.get(id)?.[0];
    const got = reply?.kind === 'refusal' ? reply.code : (reply?.kind ?? 'no answer yet');
    if (verdict.is === 'refused' && got !== verdict.code)
      throw new Contradiction(`${channel} asked for ${level}: ${got} instead of ${verdict.code}`);
    if (verdict.is === 'waiting' && got !== 'waiting')
      throw new Contradiction(`${channel} asked for ${level}: ${got} instead of waiting`);
    if (verdict.is === 'stored' && this.word?.level !== verdict.to)
      throw new Contradiction(`${channel} asked for ${level}, and ${this.word?.level} is obeyed`);
    if (verdict.is === 'refused' && this.word !== before) throw new Contradiction('a refusal moved the word');
    if (verdict.is === 'journaled' && this.model.target !== verdict.to)
      throw new Contradiction(`${channel} asked for ${level}, and nothing was decided: ${got}`);
    return id;
  }

  warden(fresh: boolean): void {
    if (fresh === this.wardenFresh) return;
    this.wardenFresh = fresh;
    if (fresh) this.model.warden = true;
    else this.model.wardenLost();
    this.#send(
      fresh
        ? { kind: 'serviceBack', who: 'warden', standing: undefined }
        : { kind: 'serviceLost', who: 'warden' },
    );
  }

  #party(index: number): Party {
    const party = this.parties[index % this.parties.length];
    if (party === undefined) throw new Error('nobody is there');
    return party;
  }

  /** What a participant does by itself: it tightens as soon as it can see it, and loosens by stages alone. */
  #act(party: Party, told: boolean): void {
    const { line, word } = this;
    if (!party.present || line === undefined) return;
    if (party.layer === 'dataplane') {
      if (word !== undefined) Object.assign(party, { at: word.level, epoch: word.epoch, outcome: 'applied' });
    } else if (!line.loosening) {
      // Nobody loosens by a tightening: whoever is tighter stays there.
      Object.assign(party, { at: Math.min(party.at, line.to), epoch: line.epoch, outcome: 'applied' });
    } else {
      const stages = ['loosen-paths', 'loosen-sessions', 'loosen-dataplane', 'verify', 'complete'];
      const mine = party.layer === 'path' ? 0 : 1;
      if (stages.indexOf(line.stage) >= mine)
        Object.assign(party, { at: line.to, epoch: line.epoch, outcome: 'applied' });
    }
    if (told) this.#look(party);
  }

  #standing({ path, layer, epoch, at, outcome }: Party) {
    return { path, layer, epoch: epoch as never, level: epoch === 0n ? undefined : at, outcome };
  }

  #back(party: Party): void {
    this.#send({ kind: 'serviceBack', who: party.name, standing: this.#standing(party) });
  }

  /** Who is away when the coordinator starts has left its slot behind. */
  #meet(party: Party): void {
    if (party.present) this.#back(party);
    else this.#send({ kind: 'serviceLost', who: party.name, standing: this.#standing(party) });
  }

  #look(party: Party): void {
    if (!party.present) return;
    const { epoch, level, outcome } = this.#standing(party);
    const known = this.machine.standings[party.name];
    if (known?.epoch === epoch && known.level === level && known.outcome === outcome) return;
    this.#send({ kind: 'acknowledged', who: party.name, epoch, level, outcome });
  }

  #write(records: readonly Waits[]): void {
    for (const { record } of records) {
      const last = this.disk.at(-1);
      const reserved = (last?.reservedUpTo ?? 0n) as OnDisk['reservedUpTo'];
      this.disk.push({
        ...record,
        sequence: (last?.sequence ?? 0n) + 1n,
        reservedUpTo: record.reservedUpTo > reserved ? record.reservedUpTo : reserved,
      });
    }
  }

  #flush(count: number): void {
    if (!this.journalWorks) return;
    const group = this.queue.splice(0, count);
    this.#write(group);
    for (const { then } of group) {
      const event = then();
      if (event?.kind === 'journaled' && event.keeps === undefined) this.model.journaled(event.epoch);
      if (event !== undefined) this.#send(event);
    }
  }

  #crash({ kind, written, place, broken, warden }: Extract<Happening, { on: 'crash' }>): void {
    this.crashes += 1;
    if (this.journalWorks) this.#write(this.queue.slice(0, written));
    if (kind !== 'process') {
      this.word = undefined;
      this.line = undefined;
      // Nobody stands anywhere: everything on the box starts from its tightest.
      for (const party of this.parties) Object.assign(party, { at: 1, epoch: 0n, outcome: 'none' });
    }
    // Old records say nothing that a test of this world could still ask about.
    this.#forget();
    this.wardenFresh = warden;
    const flip = kind === 'damage' || this.#damaged;
    this.#damaged = false;
    const before = this.promised.at(-1);
    this.#settleOwed();
    const { durable, stored } = this.#owed;
    const owed = new Map(kind === 'process' ? [...durable, ...stored] : durable);
    for (const each of Object.values(this.#owed)) each.clear();
    this.#start(broken, flip, place);
    if (before !== undefined && !flip && this.machine.last.epoch < before.epoch)
      throw new Contradiction(
        `epoch ${before.epoch} was answered as durable, and ${this.machine.last.epoch} is known`,
      );
    if (!flip) this.#checkHolds(owed);
  }

  /** A journal is written anew when it is full: with its last decision and what is reserved. */
  #forget(): void {
    if (this.disk.length < 40) return;
    const last = this.disk.findLastIndex(({ kind }) => kind === 'decision');
    const kept = this.disk.slice(last);
    const first = kept[0];
    const reserved = this.disk.at(-1)?.reservedUpTo;
    if (first === undefined || reserved === undefined || last < 0) return;
    this.disk = [
      this.#record('reserve', { epoch: 0n }, 1n, reserved),
      ...kept.map((record, index) => ({ ...record, sequence: BigInt(index + 2), reservedUpTo: reserved })),
    ];
  }

  /* -------------------------------------------------------------- always */

  /** What holds at every instant. */
  check(): void {
    const { word, machine, model } = this;
    if (word === undefined) throw new Contradiction('nothing is in force');
    if (word.level > model.word)
      throw new Contradiction(`${word.level} is obeyed, looser than ${model.word}`);
    if (machine.word.level !== word.level) throw new Contradiction('the machine does not know the word');
    if (machine.last.to !== model.target)
      throw new Contradiction(`${machine.last.to} is the target where ${model.target} was decided`);
    const held = Object.entries(machine.holds).filter(
      ([channel, at]) => model.holds.get(channel as Channel) !== at,
    );
    if (held.length > 0 || Object.keys(machine.holds).length !== model.holds.size)
      throw new Contradiction(
        `held: ${JSON.stringify(machine.holds)} and ${JSON.stringify([...model.holds])}`,
      );
  }

  /** Everything goes well until nothing moves any more; then everybody stands where the model says. */
  converge(): void {
    this.warden(true);
    for (let round = 0; round < 60; round += 1) {
      for (let index = 0; index < this.parties.length; index += 1) {
        this.happen({ on: 'return', who: index });
        this.happen({ on: 'act', who: index, told: true });
      }
      this.happen({ on: 'flush', records: 100 });
      this.happen({ on: 'look' });
      if (round % 10 === 9) {
        for (const path of [...PATHS, 'verify'] as const) this.happen({ on: 'deadline', path });
        this.happen({ on: 'repair' });
      }
    }
    const { machine, model, word } = this;
    const where = this.parties.map(({ name, at }) => `${name} ${at}`).join(', ');
    const say = (what: string): never => {
      throw new Contradiction(
        `${what}: ${machine.phase}, word ${word?.level}, target ${machine.last.to}, ${where}`,
      );
    };
    if (machine.phase !== 'steady') say('something still runs');
    if (word?.level !== model.target || word.epoch !== machine.last.epoch)
      say(`it is not at ${model.target}`);
    if (machine.waiting.length > 0 || model.waiting.length > 0) say('somebody still waits');
    // Without a journal nothing loosens any more, so who is too strict stays there.
    for (const { at } of this.parties)
      if (at > model.target || (this.journalWorks && at !== model.target)) say('somebody stands elsewhere');
    for (const id of this.asked.keys()) {
      const replies = this.answers.get(id) ?? [];
      if (replies.length !== 1) say(`${id} was answered ${replies.length} times`);
    }
  }
}

/** What a record says in the model's words; a checkpoint is its decision, and its completion where it has one. */
function writtenOf(record: OnDisk): Written[] {
  const { kind, completed } = record;
  if (kind === 'reserve') return [];
  const as = (name: Written['kind']): Written => ({ ...record, kind: name }) as unknown as Written;
  if (kind !== 'checkpoint') return [as(kind)];
  return completed ? [as('decision'), as('completed')] : [as('decision')];
}

function authority(allow: boolean) {
  return allow
    ? ({ allow: true, rule: 'test' } as const)
    : ({ allow: false, rule: 'test-denies', reason: 'it was denied' } as const);
}

/** What happens, from beginning to end. */
export interface Story {
  readonly start: Level;
  readonly happenings: readonly Happening[];
}

/** @param least and @param most how many happenings. */
export function story(least: number, most: number): fc.Arbitrary<Story> {
  return fc.boolean().chain((breaks) =>
    fc.record({
      start: fc.constantFrom(...LEVELS),
      happenings: fc.array(happening(breaks), { minLength: least, maxLength: most, size: 'max' }),
    }),
  );
}

/** Plays a story to its end. @throws Contradiction */
export function play(code: Judged, { start, happenings }: Story): World {
  const world = new World(code, start);
  for (const each of happenings) world.happen(each);
  world.converge();
  return world;
}
