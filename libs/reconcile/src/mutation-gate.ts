/**
 * The one gate that every write to the network passes: whether a mutation may run at the posture in force, and the
 * permits of those that do.
 * It must not write anything itself, and must not know where the posture stands; a view of the board is given.
 */
import type { Mutation, MutationGate, Permit, Refusal, Tier } from '@kedge/contracts';
import { type Epoch, EPOCH_NONE, KedgeError, type Level, LOCKDOWN } from '@kedge/units';

/** How far the gate is open; each lets through less than the one before it. */
export const GATE_MODES = ['open', 'tiers', 'emergency-only', 'frozen'] as const;
/** See {@link GATE_MODES}. */
export type GateMode = (typeof GATE_MODES)[number];

/** What a level says about mutations. */
export interface GateRule {
  readonly mode: GateMode;
  /** Who executes at `tiers` and `emergency-only`; at `open` everybody whom the Authoriser lets. */
  readonly tiers: readonly Tier[];
}

/** The rules of the default accords (underlay.md). */
export const DEFAULT_GATE_RULES: Readonly<Record<Level, GateRule>> = {
  5: { mode: 'open', tiers: [] },
  4: { mode: 'open', tiers: [] },
  3: { mode: 'tiers', tiers: ['site_owner', 'master'] },
  2: { mode: 'emergency-only', tiers: ['site_owner'] },
  1: { mode: 'frozen', tiers: [] },
};

/** Where the posture stands for a gate: the epoch, and the stricter of word, fail-closed line and target (PO-15). */
export interface GateView {
  readonly epoch: Epoch;
  readonly level: Level;
}

/** A mutation that waits for somebody who may execute it. */
export interface Proposal {
  readonly mutation: Mutation;
  /** When it was proposed, CLOCK_MONOTONIC nanoseconds. */
  readonly atNs: bigint;
  /** The epoch under which it was proposed. */
  readonly epoch: Epoch;
}

/** What a gate is made of. */
export interface PostureGateOptions {
  /** undefined = the board cannot be read: the gate is shut. */
  readonly view: () => GateView | undefined;
  readonly ruleOf: (level: Level) => GateRule;
  /** CLOCK_MONOTONIC in nanoseconds. */
  readonly nowNs: () => bigint;
  /** Whether an emergency mutation is in the set that was approved beforehand (UN-16). Default: none is. */
  readonly approved?: (mutation: Mutation) => boolean;
  /** Most proposals that wait; default 256. */
  readonly mostProposals?: number;
  /** Most permits that are open at once; default 4096. */
  readonly mostPermits?: number;
}

interface Open {
  readonly mutation: Mutation;
  readonly epoch: Epoch;
  readonly level: Level;
  readonly abort: AbortController;
}

/** A gate over the posture in force. */
export class PostureGate implements MutationGate {
  readonly #options: PostureGateOptions;
  readonly #open = new Set<Open>();
  readonly #proposals = new Map<string, Proposal>();
  #quiet: (() => void)[] = [];
  #closed = false;

  constructor(options: PostureGateOptions) {
    this.#options = options;
  }

  /**
   * Leave to write, or why not. A mutation that only lacks the tier at `tiers` waits as a proposal (code
   * `GATE_PROPOSED`), once per id; everything else that is refused is forgotten.
   */
  enter(mutation: Mutation): Permit | Refusal {
    const view = this.settle();
    if (view === undefined) {
      return refusal(
        UNREADABLE,
        'GATE_UNREADABLE',
        'board-unreadable',
        `cannot run ${mutation.id}: the posture cannot be read`,
      );
    }
    const rule = this.#options.ruleOf(view.level);
    const no = this.#against(mutation, view, rule);
    if (no !== undefined) return no;
    for (const each of this.#open) {
      if (each.mutation.id === mutation.id) {
        return refusal(
          view,
          'GATE_RUNNING',
          'one-permit-per-mutation',
          `cannot run ${mutation.id}: it runs already`,
        );
      }
    }
    if (this.#open.size >= (this.#options.mostPermits ?? 4096)) {
      return refusal(
        view,
        'GATE_BUSY',
        'bounded-permits',
        `cannot run ${mutation.id}: too many mutations run`,
      );
    }
    // Who executes it has taken it up.
    this.#proposals.delete(mutation.id);
    return this.#permit({ mutation, ...view, abort: new AbortController() });
  }

  /**
   * Looks at the board: permits of another epoch end, and where the board cannot be read all do. To be called when
   * the posture changes; {@link enter} and {@link Permit.check} look by themselves.
   */
  settle(): GateView | undefined {
    const view = this.#closed ? undefined : this.#options.view();
    for (const each of this.#open) {
      if (view?.epoch !== each.epoch || view.level !== each.level) shut(each);
    }
    return view;
  }

  /** Permits that were given under an older epoch and are not released yet. */
  openBefore(epoch: Epoch): number {
    let count = 0;
    for (const each of this.#open) if (each.epoch < epoch) count += 1;
    return count;
  }

  /** Whether `epoch` may be acknowledged: no older permit is open. */
  acknowledgeable(epoch: Epoch): boolean {
    return this.openBefore(epoch) === 0;
  }

  /** Resolves when {@link acknowledgeable} holds; rejects with the signal's reason when it aborts before. */
  async quiet(epoch: Epoch, signal: AbortSignal): Promise<void> {
    this.settle();
    while (!this.acknowledgeable(epoch)) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const done = (): void => {
          signal.removeEventListener('abort', done);
          this.#quiet = this.#quiet.filter((each) => each !== done);
          resolve();
        };
        this.#quiet.push(done);
        signal.addEventListener('abort', done);
      });
    }
  }

  /** Permits that are open, oldest first. */
  get permits(): readonly { readonly mutation: Mutation; readonly epoch: Epoch }[] {
    return [...this.#open].map(({ mutation, epoch }) => ({ mutation, epoch }));
  }

  /** Proposals that wait, oldest first. */
  get proposals(): readonly Proposal[] {
    return [...this.#proposals.values()];
  }

  /** A mutation that is only proposed, at any level at which the accord takes proposals. */
  propose(mutation: Mutation): Refusal {
    const view = this.settle();
    if (view === undefined) {
      return refusal(
        UNREADABLE,
        'GATE_UNREADABLE',
        'board-unreadable',
        `cannot propose ${mutation.id}: the posture cannot be read`,
      );
    }
    const { mode } = this.#options.ruleOf(view.level);
    if (mode === 'frozen' || mode === 'emergency-only') return this.#shutAt(mutation, view, mode);
    return this.#propose(mutation, view);
  }

  /** Takes a proposal out; undefined where there is none of this id. */
  withdraw(id: string): Proposal | undefined {
    const proposal = this.#proposals.get(id);
    this.#proposals.delete(id);
    return proposal;
  }

  /** Shuts the gate for good: every permit ends. */
  close(): void {
    this.#closed = true;
    this.settle();
  }

  #against(mutation: Mutation, view: GateView, { mode, tiers }: GateRule): Refusal | undefined {
    switch (mode) {
      case 'open':
        return undefined;
      case 'tiers':
        return tiers.includes(mutation.tier) ? undefined : this.#propose(mutation, view);
      case 'emergency-only':
        if (mutation.kind !== 'emergency') return this.#shutAt(mutation, view, mode);
        if (!tiers.includes(mutation.tier)) {
          return refusal(
            view,
            'GATE_TIER',
            'emergency-tier',
            `cannot run ${mutation.id}: at level ${view.level} only ${tiers.join(', ')} may`,
          );
        }
        return this.#options.approved?.(mutation) === true
          ? undefined
          : refusal(
              view,
              'GATE_NOT_APPROVED',
              'pre-approved-only',
              `cannot run ${mutation.id}: it was not approved beforehand`,
            );
      case 'frozen':
        return this.#shutAt(mutation, view, mode);
    }
  }

  #shutAt(mutation: Mutation, view: GateView, mode: GateMode): Refusal {
    return refusal(
      view,
      mode === 'frozen' ? 'GATE_FROZEN' : 'GATE_EMERGENCY_ONLY',
      mode,
      `cannot run ${mutation.id}: at level ${view.level} the gate is ${mode}`,
    );
  }

  #propose(mutation: Mutation, view: GateView): Refusal {
    const known = this.#proposals.get(mutation.id);
    if (known !== undefined && !sameMutation(known.mutation, mutation)) {
      return refusal(
        view,
        'GATE_ID_REUSED',
        'one-mutation-per-id',
        `cannot propose ${mutation.id}: another mutation has this id`,
      );
    }
    if (known === undefined) {
      if (this.#proposals.size >= (this.#options.mostProposals ?? 256)) {
        return refusal(
          view,
          'GATE_PROPOSALS_FULL',
          'bounded-proposals',
          `cannot propose ${mutation.id}: too many proposals wait`,
        );
      }
      this.#proposals.set(mutation.id, { mutation, atNs: this.#options.nowNs(), epoch: view.epoch });
    }
    return refusal(
      view,
      'GATE_PROPOSED',
      'proposal-waits',
      `${mutation.id} waits as a proposal for somebody who may execute it`,
    );
  }

  #permit(each: Open): Permit {
    this.#open.add(each);
    const { epoch, abort } = each;
    return {
      granted: true,
      epoch,
      signal: abort.signal,
      check: () => {
        if (!this.#open.has(each) || abort.signal.aborted) return false;
        this.settle();
        return !abort.signal.aborted;
      },
      release: () => {
        if (!this.#open.delete(each)) return;
        shut(each);
        for (const done of this.#quiet) done();
      },
    };
  }
}

const UNREADABLE: GateView = { epoch: EPOCH_NONE, level: LOCKDOWN };

function refusal({ epoch, level }: GateView, code: string, rule: string, message: string): Refusal {
  return { granted: false, code, rule, message, epoch, level };
}

function shut({ abort, mutation, epoch }: Open): void {
  if (abort.signal.aborted) return;
  abort.abort(
    new KedgeError({
      code: 'GATE_SHUT',
      message: `the permit of ${mutation.id} of epoch ${epoch} has ended`,
      help: 'stop at the next safe point and release it; ask again under the new posture',
    }),
  );
}

function sameMutation(a: Mutation, b: Mutation): boolean {
  return a.planId === b.planId && a.target === b.target && a.kind === b.kind;
}
