/**
 * The question "may this principal do that, here and now?" and its answer.
 * It must not contain a rule: tables and engines implement it elsewhere (SE-2).
 */
import type { Epoch, Level, Millis, Nanos } from '@kedge/units';

import type { Action, Channel, Tier } from './vocabulary.js';

/** Everything that a decision may depend on. Nothing else may be consulted, so that decisions can be replayed. */
export interface AuthorisationRequest {
  /** Who asks, as claimed, 1 to 128 characters ("user:ada"). A name for the record; trust comes from `tier`. */
  readonly principal: string;
  /** Tier as proven by the way in. */
  readonly tier: Tier;
  /** The way in. */
  readonly channel: Channel;
  /** What is asked for. */
  readonly action: Action;
  /**
   * What it is asked of, "kind/name". `posture.set` asks for `posture/LEVEL` ({@link postureResource}),
   * other posture and governance actions for `posture` or `governance`, mutations for `device/NAME`.
   */
  readonly resource: string;
  /**
   * The level in force as decided: the stricter of word and the transition's target. The warden's fail-closed line
   * does not count; it is no decision, and none of what it enforces is loosened by one.
   */
  readonly level: Level;
  /** The epoch in force. */
  readonly epoch: Epoch;
  /**
   * Time since the principal last proved a second factor, on the monotonic clock (PO-25); undefined = never,
   * or unknown because a clock was lost. The console directory counts as a fresh one (0) until SE-8.
   */
  readonly mfaAge: Millis | undefined;
  /** Network address of the asker where there is one; undefined on Unix sockets. */
  readonly address: string | undefined;
  /** When it is asked, CLOCK_MONOTONIC. */
  readonly at: Nanos;
  /**
   * When it is asked, milliseconds since 1970 by the wall clock, for time windows; undefined while that clock is in
   * doubt, in which case no window is open (PO-25).
   */
  readonly wallMs: number | undefined;
  /** Asked under a break-glass session (SE-9): decided anew each time, never out of a cache. */
  readonly breakGlass: boolean;
}

/** The answer. `rule` names the rule that decided, for people and for the record (PO-5, `kedge authz explain`). */
export type AuthorisationAnswer =
  | { readonly allow: true; readonly rule: string }
  | {
      readonly allow: false;
      readonly rule: string;
      /** A sentence that says what would have been needed. */
      readonly reason: string;
    };

/**
 * Decides who may do what. Synchronous and without I/O, because a tightening waits for nothing (PO-22).
 * Whatever is not allowed by a rule is denied; an implementation that fails inside denies with rule
 * `authoriser-failed` and never throws.
 */
export interface Authoriser {
  decide(request: AuthorisationRequest): AuthorisationAnswer;
}

/** The resource of a request for a posture level: `posture/3`. */
export function postureResource(level: Level): string {
  return `posture/${String(level)}`;
}

/** The level that a {@link postureResource} names, or undefined where the text is none. */
export function levelOfPostureResource(resource: string): Level | undefined {
  const digit = /^posture\/([1-5])$/.exec(resource)?.[1];
  return digit === undefined ? undefined : (Number(digit) as Level);
}
