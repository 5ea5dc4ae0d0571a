/**
 * Plans: what is to be changed, as data, each step with its inverse; and what takes part in a transition.
 * It must not apply anything; planners are pure and appliers live with their own dependency.
 */
import type { Epoch, Level } from '@kedge/units';

import type { PathName } from './vocabulary.js';

/** A value as it stands in a YANG tree or in a MIB, in RFC 7951 form (64-bit numbers are strings). */
export type PlanValue =
  null | boolean | number | string | readonly PlanValue[] | { readonly [name: string]: PlanValue };

/** How a step can be undone: the same kind of operation at the same place with another value. */
export interface Inverse {
  /** Kind of the undoing step ("remove" undoes "add"). */
  readonly kind: string;
  /** What is expected to be found when undoing. */
  readonly before: PlanValue;
  /** What is to be there afterwards. */
  readonly after: PlanValue;
}

/** One change. A plan leaves no choices to the time of its execution. */
export interface Step {
  /** Unique within its plan, e.g. "vlan-20/port-3". */
  readonly id: string;
  /** Operation in the words of the applier, e.g. "add", "remove", "set". */
  readonly kind: string;
  /** Where, as a YANG data path (RFC 7950 section 6.5). */
  readonly path: string;
  /** What was read there when planning; an applier that finds something else refuses the step. */
  readonly before: PlanValue;
  /** What is to be there afterwards. */
  readonly after: PlanValue;
  /** How it is undone. Always given: what cannot be undone is not put into a plan. */
  readonly inverse: Inverse;
  /** Steps of one group are applied together or not at all (one SNMP PDU, one netlink batch); absent = alone. */
  readonly atomicGroup?: string;
  /** Ids of steps that must be finished before. Never a circle. */
  readonly dependsOn: readonly string[];
  /** True where work may stop after this step and leave the target in a state that is right by itself (UN-14). */
  readonly safePoint: boolean;
  /**
   * The node of intent that asks for it, as an instance identifier: the step's own path, the node that a value was
   * taken from, or the one because of which this object has to go and come again. Absent where no intent asked.
   */
  readonly origin?: string;
}

/** An ordered set of steps towards one target, computed from what was read. */
export interface Plan {
  /** Unique on this appliance. */
  readonly id: string;
  /** The epoch under which it was made; a receiver refuses it under a newer one. */
  readonly epoch: Epoch;
  /** What it changes: `device/NAME`, `routes/NAME`. */
  readonly target: string;
  /** SHA-256, hexadecimal, of what was read; a plan whose base no longer holds is made again, not applied. */
  readonly base: string;
  /** In the order of application. */
  readonly steps: readonly Step[];
}

/** What became of applying a plan. Failures are values: the loop that applies plans cannot be thrown out. */
export interface Applied {
  readonly outcome: 'applied' | 'unchanged' | 'failed' | 'cancelled';
  /** Ids of the steps that hold now, in the order in which they were done. */
  readonly done: readonly string[];
  /**
   * Why it failed, a code of docs/errors.md and a sentence. With another outcome: that outcome stands, but could not be
   * recorded.
   */
  readonly failure?: { readonly code: string; readonly message: string; readonly step?: string };
}

/** What `verify` found. `differences` is empty exactly when `ok`. */
export interface Verification {
  readonly ok: boolean;
  /** What is not as the level wants it, one sentence each. */
  readonly differences: readonly string[];
}

/**
 * What takes part in transitions on a path, over one durable desired set (PO-18). Each level is a pure filter
 * of that set, so restoring is applying a looser level.
 *
 * @typeParam Actual what `read` finds in the world.
 */
export interface Participant<Actual> {
  /** Name of its acknowledgement slot: `[a-z0-9-]`, at most 19 characters ("participant-" stands before it). */
  readonly name: string;
  /** The path whose budget binds it. */
  readonly path: PathName;
  /** Reads the world, never the own notes. */
  read(signal: AbortSignal): Promise<Actual>;
  /** The way from `actual` to what `level` allows of the desired set. Pure: same input, same plan. */
  plan(actual: Actual, level: Level, epoch: Epoch): Plan;
  /** Carries the plan out; stops at the next safe point when `signal` aborts. Does not throw. */
  apply(plan: Plan, signal: AbortSignal): Promise<Applied>;
  /** Reads again and compares with what `level` allows. */
  verify(level: Level, signal: AbortSignal): Promise<Verification>;
  /**
   * The last resort inside the process: bring about `level` or the nearest tighter one that can be enforced,
   * without planning. The warden has a way of its own and does not wait for this.
   */
  failClosed(level: Level): Promise<void>;
}
