/**
 * The gate that every write to the world outside passes, and what it hands out.
 * It must not know how a write is done; drivers and routes do that while they hold a permit.
 */
import type { Epoch, Level } from '@kedge/units';

import type { Channel, Tier } from './vocabulary.js';

/** What somebody wants to change, as far as the gate has to know. */
export interface Mutation {
  /** Unique on this appliance, 8 to 64 characters; the same id is the same mutation. */
  readonly id: string;
  /** The plan that it carries out, {@link Plan.id}. */
  readonly planId: string;
  /** What is written to: `device/NAME`, `routes/NAME`. */
  readonly target: string;
  readonly principal: string;
  readonly tier: Tier;
  readonly channel: Channel;
  /** `emergency` names a change that was compiled and signed beforehand (UN-16); the gate checks it. */
  readonly kind: 'ordinary' | 'emergency';
}

/**
 * Leave to write. It is valid for one epoch only: when the posture changes, `signal` aborts and `check`
 * turns false, and the holder stops at its next safe point (UN-14). The underlay acknowledges an epoch only
 * when no older permit is open, so a permit that is not released holds up its whole path.
 */
export interface Permit {
  readonly granted: true;
  /** The epoch under which it was given. */
  readonly epoch: Epoch;
  /** Aborts when the permit ends; the reason is a KedgeError with code `GATE_SHUT`. */
  readonly signal: AbortSignal;
  /** To be called before every single write: true only while the board still stands where it stood. */
  check(): boolean;
  /** To be called exactly once at the end, also after a failure; further calls do nothing. */
  release(): void;
}

/** Why the gate stays shut. An expected answer, not an error. */
export interface Refusal {
  readonly granted: false;
  /** A code of docs/errors.md. */
  readonly code: string;
  /** The rule that refused. */
  readonly rule: string;
  /** A sentence for people. */
  readonly message: string;
  /** Epoch and level under which it was refused. */
  readonly epoch: Epoch;
  readonly level: Level;
}

/**
 * The one way to a write. Obeys the stricter of the posture word and the transition's target (PO-15), and
 * refuses while the board cannot be read.
 */
export interface MutationGate {
  enter(mutation: Mutation): Permit | Refusal;
}
