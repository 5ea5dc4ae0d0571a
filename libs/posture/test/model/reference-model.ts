/**
 * The posture decision as the contract puts it (PO-4, PO-7, PO-10, PO-17), in the plainest words that work: what is
 * asked, what may be obeyed, and what a crash leaves. Slow, small, and without a thought for how it is really done.
 * It must not look at the machine that it judges, nor share code with it.
 */
export type Level = 1 | 2 | 3 | 4 | 5;
export type Channel = 'console' | 'oob' | 'fleet' | 'local' | 'plugin' | 'bpf';
export type Path = 'dataplane' | 'overlay' | 'underlay';
export type Layer = 'dataplane' | 'session' | 'path';

/** From the most authority to the least (PO-4). */
const ORDER: readonly Channel[] = ['console', 'oob', 'fleet', 'local', 'plugin', 'bpf'];
const above = (a: Channel, b: Channel): boolean => ORDER.indexOf(a) < ORDER.indexOf(b);
const tighter = (a: Level, b: Level): Level => (a < b ? a : b);

export interface Order {
  readonly id: string;
  readonly channel: Channel;
  readonly level: Level;
  readonly accord?: 'tighter' | 'looser';
  readonly allowed: boolean;
}

/** What has to happen to an order at once. `same`: nothing moves; whatever is wrong may be repaired. */
export type Verdict =
  | { readonly is: 'stored'; readonly to: Level }
  | { readonly is: 'journaled'; readonly to: Level }
  | { readonly is: 'waiting' | 'same' }
  | { readonly is: 'refused'; readonly code: string };

/** Somebody who takes part, as everybody can see them. */
export interface Seen {
  readonly path: Path;
  readonly layer: Layer;
  readonly present: boolean;
  readonly epoch: bigint;
}

interface Waiting {
  readonly id: string;
  /** Undefined: decided before a restart, by whomever. */
  readonly channel: Channel | undefined;
  readonly level: Level;
  readonly accord: boolean;
}
interface Running {
  readonly epoch: bigint;
  readonly from: Level;
  readonly to: Level;
  readonly way: 'tighten' | 'loosen';
  readonly order: Waiting | undefined;
  durable: boolean;
  released: 'nothing' | 'paths' | 'sessions' | 'dataplane';
  readonly over: Set<Path>;
  /** Somebody had not applied it in the time of their path. */
  late: boolean;
}

/** What stands on the disk, oldest first. */
export interface Written {
  readonly kind: 'decision' | 'completed';
  readonly epoch: bigint;
  readonly from: Level;
  readonly to: Level;
  readonly holds: Readonly<Partial<Record<Channel, Level>>>;
}
/** What a restart finds. */
export interface Left {
  readonly written: readonly Written[];
  readonly damaged: boolean;
  readonly word: { readonly epoch: bigint; readonly level: Level } | undefined;
  readonly line: { readonly epoch: bigint; readonly from: Level } | undefined;
}

/** What is wrong with what was seen. */
export class Contradiction extends Error {}
function hold(truth: boolean, sentence: string): asserts truth {
  if (!truth) throw new Contradiction(sentence);
}

export class ReferenceModel {
  /** What packets may obey at most. */
  word: Level;
  /** What was decided last. */
  target: Level;
  holds = new Map<Channel, Level>();
  waiting: Waiting[] = [];
  running: Running | undefined;
  warden = true;
  journal = true;
  /** Every epoch that was ever issued, over all restarts. */
  readonly issued = new Set<bigint>();
  /** The highest one that anybody can still know. */
  highest: bigint;

  constructor(level: Level, epoch: bigint) {
    this.word = level;
    this.target = level;
    this.highest = epoch;
  }

  /** PO-4 and PO-10, for an order that comes in now. */
  order(order: Order): Verdict {
    const { channel, level, accord } = order;
    if (!order.allowed) return { is: 'refused', code: 'POSTURE_NOT_AUTHORISED' };
    if (accord !== undefined && level !== this.target) return { is: 'same' };
    if (accord === 'tighter') {
      const stopped = this.running;
      // The order that is stopped goes back to wait, unless a newer one of its source waits already.
      if (stopped?.way === 'loosen' && stopped.to > this.word) {
        const again = stopped.order ?? { id: '', channel: undefined, level: stopped.to, accord: false };
        const taken = again.channel !== undefined && this.waiting.some((w) => w.channel === again.channel);
        const id = again.channel === undefined ? 'resumption' : `${again.id}+`;
        if (!taken) this.waiting.unshift({ ...again, id });
      }
      return { is: 'stored', to: tighter(this.word, this.target) };
    }
    if (accord === undefined && level < this.target) {
      const to = tighter(this.word, level);
      this.holds.set(channel, level);
      this.waiting = to < level ? [{ id: `${order.id}+`, channel, level, accord: false }] : [];
      return { is: 'stored', to };
    }
    if (accord === undefined && level === this.target) {
      if ([...this.holds.values()].includes(level)) this.holds.set(channel, level);
      return { is: 'same' };
    }
    if (accord === undefined && this.isHeld(channel, level)) return { is: 'refused', code: 'POSTURE_HELD' };
    if (this.running !== undefined) {
      if (!this.journal) return { is: 'refused', code: 'POSTURE_NOT_DURABLE' };
      this.waiting = this.waiting.filter((w) => w.channel !== channel);
      this.waiting.push({ id: order.id, channel, level, accord: accord !== undefined });
      return { is: 'waiting' };
    }
    if (!this.journal) return { is: 'refused', code: 'POSTURE_NOT_DURABLE' };
    if (!this.warden) return { is: 'refused', code: 'POSTURE_WARDEN_STALE' };
    return { is: 'journaled', to: level };
  }

  /** A looser request must not override a tighter one of higher authority. */
  isHeld(channel: Channel, level: Level): boolean {
    return [...this.holds].some(([holder, at]) => at < level && above(holder, channel));
  }

  /** The turn of one that waited has come: the tightest goes first. */
  turn(id: string, allowed: boolean): void {
    const place = this.waiting.find((w) => w.id === id);
    hold(this.running === undefined, `${id} was asked about while something runs`);
    hold(place !== undefined, `${id} was asked about and does not wait`);
    hold(
      this.waiting.every((w) => w.level >= place.level),
      `${id} had its turn before a tighter one`,
    );
    if (allowed) return;
    this.waiting = this.waiting.filter((w) => w !== place);
  }

  #issue(epoch: bigint): void {
    hold(!this.issued.has(epoch), `epoch ${epoch} was issued twice`);
    hold(epoch > this.highest, `epoch ${epoch} goes back behind ${this.highest}`);
    this.issued.add(epoch);
    this.highest = epoch;
  }

  /** Line and word of a tightening were stored. @param expected what an order asked for, if one did. */
  stored(
    epoch: bigint,
    from: Level,
    to: Level,
    expected: Verdict | undefined,
    order: Order | undefined,
  ): void {
    this.#issue(epoch);
    hold(to <= this.word, `a tightening took the word from ${this.word} to ${to}`);
    if (expected?.is === 'stored')
      hold(to === expected.to, `${to} was stored where ${expected.to} was asked for`);
    else hold(to <= this.target, `nobody asked for ${to}, looser than ${this.target}`);
    const asked = order === undefined ? undefined : { ...order, accord: order.accord !== undefined };
    this.#run({ epoch, from, to, way: 'tighten', order: asked });
    this.word = to;
    this.target = to;
  }

  /** A loosening was handed to the journal. Nothing may move yet. */
  loosening(
    epoch: bigint,
    from: Level,
    to: Level,
    expected: Verdict | undefined,
    order: Order | undefined,
  ): void {
    this.#issue(epoch);
    hold(this.running === undefined, `a loosening began while epoch ${this.running?.epoch} runs`);
    hold(this.journal, 'a loosening began without a journal');
    hold(this.warden, 'a loosening began without a warden');
    let by: Waiting | undefined;
    if (expected?.is === 'journaled') {
      hold(to === expected.to, `${to} was decided where ${expected.to} was asked for`);
      if (order !== undefined) by = { ...order, accord: order.accord !== undefined };
    } else if (to !== this.target || this.waiting.some((w) => w.level === to)) {
      by = this.waiting.find((w) => w.level === to);
      hold(by !== undefined, `nobody asked for ${to}`);
      hold(
        by.accord || by.channel === undefined || !this.isHeld(by.channel, to),
        `${by.channel} loosened to ${to} over a higher authority`,
      );
      this.waiting = this.waiting.filter((w) => w !== by);
    }
    for (const [holder, at] of this.holds) if (at < to) this.holds.delete(holder);
    this.#run({ epoch, from, to, way: 'loosen', order: by });
    this.target = to;
  }

  #run(running: Pick<Running, 'epoch' | 'from' | 'to' | 'way' | 'order'>): void {
    this.running = { ...running, durable: false, released: 'nothing', over: new Set(), late: false };
  }

  /** A stage of a loosening was released (PO-7, PO-12). */
  released(epoch: bigint, stage: 'paths' | 'sessions' | 'dataplane', seen: readonly Seen[]): void {
    const { running } = this;
    hold(
      running?.way === 'loosen' && running.epoch === epoch,
      `${stage} of ${epoch} released, which does not run`,
    );
    hold(running.durable, `${stage} released before the decision was durable`);
    hold(this.warden, `${stage} released without a warden`);
    const before = { paths: undefined, sessions: 'path', dataplane: 'session' } as const;
    for (const each of seen) {
      if (each.layer !== before[stage]) continue;
      const done = each.present && each.epoch >= epoch;
      hold(done || running.over.has(each.path), `${stage} released before ${each.path} was there or late`);
    }
    if (stage === 'paths') running.over.clear();
    if (stage === 'sessions') running.over.delete('overlay');
    running.released = stage;
  }

  /** The word of a loosening was stored. */
  loosened(epoch: bigint, level: Level): void {
    const { running } = this;
    hold(
      running?.epoch === epoch && running.released === 'dataplane',
      `the word went to ${level} out of its order`,
    );
    hold(level === running.to, `the word went to ${level} where ${running.to} was decided`);
    this.word = level;
  }

  journaled(epoch: bigint): void {
    if (this.running?.epoch === epoch) this.running.durable = true;
  }

  deadline(epoch: bigint, path: Path, seen: readonly Seen[]): void {
    const { running } = this;
    if (running?.epoch !== epoch || (running.way === 'loosen' && running.released === 'nothing')) return;
    running.over.add(path);
    running.late ||= seen.some((each) => each.path === path && !(each.present && each.epoch >= epoch));
  }

  wardenLost(): void {
    this.warden = false;
    if (this.running?.way === 'loosen' && this.running.released !== 'dataplane')
      this.running.released = 'nothing';
  }

  /** A transition is over: everybody has applied it, or has had their time. */
  ended(epoch: bigint, outcome: string, seen: readonly Seen[]): void {
    const { running } = this;
    if (outcome === 'preempted') return;
    hold(running?.epoch === epoch, `${epoch} ended, which does not run`);
    hold(running.to === this.word, `${epoch} ended at ${this.word}`);
    for (const each of seen) {
      const done = each.present && each.epoch >= epoch;
      hold(done || running.over.has(each.path), `${epoch} ended before ${each.path} was there or late`);
    }
    hold(outcome === 'late' || !running.late, `${epoch} is ${outcome}, and somebody was late`);
    this.running = undefined;
  }

  /** One that waits is dropped: something else took its place, or nothing is left for it to loosen. */
  dropped(id: string): void {
    this.waiting = this.waiting.filter((w) => w.id !== id);
  }

  /** PO-17: what is in force after a crash, and what is still to be reached. */
  static afterCrash({ written, damaged, word, line }: Left): { inForce: Level; goal: Level; epoch: bigint } {
    const journaled = written.findLast(({ kind }) => kind === 'decision');
    const newer = word !== undefined && word.epoch > (journaled?.epoch ?? 0n) ? word : undefined;
    const from =
      newer === undefined ? journaled?.from : line?.epoch === newer.epoch ? line.from : journaled?.to;
    const to = newer?.level ?? journaled?.to;
    const epoch = newer?.epoch ?? journaled?.epoch ?? 0n;
    const completed =
      newer === undefined && written.some((each) => each.kind === 'completed' && each.epoch === epoch);
    const known = to === undefined ? 5 : completed ? to : tighter(from ?? to, to);
    if (!damaged) return { inForce: known, goal: to ?? known, epoch };
    const doubt = tighter(tighter(2, known), word?.level ?? 5);
    return { inForce: doubt, goal: doubt, epoch };
  }

  /**
   * Takes up what a crash left.
   *
   * @param gone how the one that is judged went on: with the decision that it found, from a word that it stored,
   *   or with nothing to do. It may have stopped at something tighter where it could not loosen at once.
   */
  crash(
    left: Left,
    gone: { on: 'goes-on' | 'stores' | 'holds'; epoch: bigint; from: Level; to: Level },
  ): void {
    const { inForce, goal, epoch } = ReferenceModel.afterCrash(left);
    this.highest = epoch;
    this.running = undefined;
    this.waiting = [];
    this.holds = new Map(Object.entries(left.written.at(-1)?.holds ?? {}) as [Channel, Level][]);
    // Who asked for what was not written down nobody knows: nobody but the console loosens it.
    const journaled = left.written.findLast(({ kind }) => kind === 'decision')?.epoch ?? 0n;
    if (left.damaged || (left.word !== undefined && left.word.epoch > journaled))
      this.holds.set('console', tighter(this.holds.get('console') ?? 5, left.damaged ? inForce : goal));
    const { on, from, to } = gone;
    const resume = (level: Level): void => {
      if (goal > level) this.waiting = [{ id: 'resumption', channel: undefined, level: goal, accord: false }];
    };
    if (on === 'stores') {
      this.word = inForce;
      this.target = inForce;
      this.stored(gone.epoch, from, to, undefined, undefined);
      resume(to);
      return;
    }
    hold(
      gone.epoch === epoch && to === goal,
      `${gone.epoch} to ${to} goes on where ${epoch} to ${goal} was decided`,
    );
    hold(!left.damaged, 'a damaged journal was believed');
    const obeyed = left.word?.level;
    hold(obeyed !== undefined && obeyed <= inForce, `${obeyed} is obeyed where ${inForce} is in force`);
    this.word = obeyed;
    this.target = to;
    if (on === 'holds') return;
    this.#run({ epoch, from, to, way: to > inForce ? 'loosen' : 'tighten', order: undefined });
  }
}
