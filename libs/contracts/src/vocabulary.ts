/**
 * The closed word lists that every part agrees on: tiers, channels, paths, outcomes, actions.
 * It must not hold rules about them; who may do what is the Authoriser's business.
 */
import { z } from 'zod';

/** Tiers of trust, from most to least trusted (spec README, "Words"). */
export const TIERS = ['site_owner', 'master', 'journeyman', 'apprentice'] as const;
/** How far a principal is trusted. Proven by the way in (PO-3), never by a field of a message. */
export type Tier = (typeof TIERS)[number];

/**
 * The ways in which a request can reach an appliance (PO-3): the physical console, the local gRPC sockets,
 * the fleet manager over MQTT, the out-of-band channel, the pinned BPF map (may only tighten), posture-source
 * plugins.
 */
export const CHANNELS = ['console', 'local', 'fleet', 'oob', 'bpf', 'plugin'] as const;
/** A way in. Proven by socket directory, signature or tty (PO-3), never by a field of a message. */
export type Channel = (typeof CHANNELS)[number];

/** The paths of a transition in the order of `enum kedge_path`. */
export const PATHS = ['dataplane', 'overlay', 'underlay'] as const;
/** One of the three things that move when the posture changes, each with its own budget (PO-12). */
export type PathName = (typeof PATHS)[number];

/**
 * What a path or participant came to within one transition.
 * `applied` and `unchanged` are good ends; `failed` ended fail-closed by itself; `cancelled` was pre-empted by
 * a tighter epoch; `late` had not finished at its deadline; `running` has not finished yet; `absent` is not
 * there (service away, PO-19).
 */
export const PATH_OUTCOMES = [
  'applied',
  'unchanged',
  'failed',
  'cancelled',
  'late',
  'running',
  'absent',
] as const;
/** See {@link PATH_OUTCOMES}. */
export type PathOutcome = (typeof PATH_OUTCOMES)[number];

/**
 * How a whole transition stands or ended. `completed`: every path verified; `late`: ended with a path behind
 * its budget; `preempted`: a tighter decision took its place (PO-10); `recovered`: completed after a restart
 * from journal and surviving word (PO-17); `running`: not ended.
 */
export const TRANSITION_OUTCOMES = ['running', 'completed', 'late', 'preempted', 'recovered'] as const;
/** See {@link TRANSITION_OUTCOMES}. */
export type TransitionOutcome = (typeof TRANSITION_OUTCOMES)[number];

/**
 * What can be asked for. `posture.set` covers tightening, loosening and re-applying: which one it is follows
 * from the level in force and the level in the resource.
 */
export const ACTIONS = [
  'posture.get',
  'posture.set',
  'posture.watch',
  'posture.history',
  'governance.show',
  'governance.plan',
  'governance.flows',
  'governance.reload',
  'authorisation.reload',
  'mutation.propose',
  'mutation.execute',
  'intent.read',
  'intent.check',
  'intent.edit',
  'intent.lock',
  'intent.break-lock',
  'intent.commit',
  'intent.rollback',
  'intent.remedy',
  'ledger.status',
  'ledger.read',
  'ledger.export',
  'ledger.erase',
] as const;
/** A verb that the Authoriser decides about. */
export type Action = (typeof ACTIONS)[number];

/** Schema of {@link Tier}. */
export const tierSchema = z.enum(TIERS);
/** Schema of {@link Channel}. */
export const channelSchema = z.enum(CHANNELS);
/** Schema of {@link PathName}. */
export const pathNameSchema = z.enum(PATHS);
/** Schema of {@link PathOutcome}. */
export const pathOutcomeSchema = z.enum(PATH_OUTCOMES);
/** Schema of {@link TransitionOutcome}. */
export const transitionOutcomeSchema = z.enum(TRANSITION_OUTCOMES);
