/**
 * The Authoriser over a set of policies: the built-in rule first, then the cache, then the engine.
 * It must not read files or watch them, and never throws: whatever fails inside denies.
 */
import type { AuthorisationAnswer, AuthorisationRequest, Authoriser } from '@kedge/contracts';

import { BUILT_IN_TIGHTENING, builtInAnswer } from './built-in.js';
import type { PolicySet } from './candidate.js';
import { type Policy, prepare, verdictOf } from './cedar.js';
import { DEFAULT_AUTHORITY, type DeescalationAuthority, needsOf } from './deescalation.js';
import { decisionKey, type SlimRequest, slimmed } from './slim-request.js';

/** Decisions that one generation keeps; the oldest goes first. */
const CACHE_MAX = 16_384;
const REASON_MAX = 512;

/** Why a request was answered as it was (`kedge authz explain`). */
export interface Explanation {
  readonly answer: AuthorisationAnswer;
  /** Every policy that decided, the one that the answer names first; none where no policy did. */
  readonly policies: readonly string[];
  /** What the policies saw; undefined where none was asked. */
  readonly asked: SlimRequest | undefined;
  /** The set that decided, with its generation; undefined where none was asked. */
  readonly set: Pick<PolicySet, 'name' | 'generation'> | undefined;
}

/** What an authoriser is made with. */
export interface AuthoriserOptions {
  /** Who may loosen, by the accords in force; asked for every loosening, so that accords that are replaced count at once. */
  readonly authority?: () => DeescalationAuthority;
  /** Brings a set where none is yet, within this call; undefined = there is none to be had so quickly. */
  readonly firstSet?: () => PolicySet | undefined;
}

const deny = (rule: string, reason: string): AuthorisationAnswer => ({ allow: false, rule, reason });
let authorisers = 0;

/** One set at a time; `use` replaces it between two decisions. */
export class PolicyAuthoriser implements Authoriser {
  readonly #options: AuthoriserOptions;
  readonly #slot: string;
  #set: PolicySet | undefined;
  #ranks: ReadonlyMap<string, { readonly rank: number; readonly policy: Policy }> = new Map();
  #cache = new Map<string, AuthorisationAnswer>();

  constructor(options: AuthoriserOptions = {}) {
    this.#options = options;
    authorisers += 1;
    this.#slot = `authoriser-${authorisers}`;
  }

  /** The set that decides; undefined = none yet, and only the built-in rule allows anything. */
  get set(): PolicySet | undefined {
    return this.#set;
  }

  /** Decides by another set from now on. @throws KedgeError `AUTHZ_SET_INVALID`; the set in force stays then. */
  use(set: PolicySet): void {
    prepare(this.#slot, set.policies);
    this.#set = set;
    this.#ranks = new Map(set.policies.map((policy, rank) => [policy.id, { rank, policy }]));
    // A generation has a cache of its own: no answer of an older one is ever given again.
    this.#cache = new Map();
  }

  decide(request: AuthorisationRequest): AuthorisationAnswer {
    try {
      const builtIn = builtInAnswer(request);
      if (builtIn !== undefined) return builtIn;
      const ready = this.#slim(request);
      if ('denial' in ready) return ready.denial;
      const key = decisionKey(ready.slim);
      const known = key === undefined ? undefined : this.#cache.get(key);
      if (known !== undefined) return known;
      const { answer, failed } = this.#ask(ready.slim);
      // What failed may not fail again.
      if (key !== undefined && !failed) this.#keep(key, answer);
      return answer;
    } catch (error) {
      return failure(error);
    }
  }

  /** As {@link decide}, anew each time, with everything that led to it. Never throws. */
  explain(request: AuthorisationRequest): Explanation {
    const nobody = { policies: [], asked: undefined, set: undefined };
    try {
      const builtIn = builtInAnswer(request);
      if (builtIn !== undefined) return { ...nobody, answer: builtIn, policies: [BUILT_IN_TIGHTENING] };
      const ready = this.#slim(request);
      if ('denial' in ready) return { ...nobody, answer: ready.denial };
      const { answer, policies } = this.#ask(ready.slim);
      const set = this.#set;
      return {
        answer,
        policies,
        asked: ready.slim,
        set: set === undefined ? undefined : { name: set.name, generation: set.generation },
      };
    } catch (error) {
      return { ...nobody, answer: failure(error) };
    }
  }

  #slim(request: AuthorisationRequest) {
    const { authority } = this.#options;
    return slimmed(request, (level, target) =>
      needsOf(authority === undefined ? DEFAULT_AUTHORITY : authority(), level, target),
    );
  }

  #ask(slim: SlimRequest): {
    readonly answer: AuthorisationAnswer;
    readonly policies: readonly string[];
    readonly failed: boolean;
  } {
    if (this.#set === undefined) {
      const first = this.#options.firstSet?.();
      if (first === undefined)
        return {
          answer: deny('policies-not-loaded', 'no policies are in force yet: only tightening is allowed'),
          policies: [],
          failed: true,
        };
      this.use(first);
    }
    const { allow, policies, failures } = verdictOf(this.#slot, slim);
    const [failed] = failures;
    if (failed !== undefined) {
      const reason = `a policy could not be evaluated, so nothing is allowed: ${failed}`;
      return { answer: deny('policy-failed', reason.slice(0, REASON_MAX)), policies: failures, failed: true };
    }
    const ranked = [...policies].sort((a, b) => this.#rank(a) - this.#rank(b));
    const [rule] = ranked;
    if (rule === undefined) {
      const reason = `no policy lets the tier ${slim.tier} do ${slim.action} by the channel ${slim.channel}`;
      return { answer: deny('default-deny', reason), policies: [], failed: false };
    }
    return {
      answer: allow ? { allow, rule } : deny(rule, this.#reason(rule, slim)),
      policies: ranked,
      failed: false,
    };
  }

  #rank(id: string): number {
    return this.#ranks.get(id)?.rank ?? this.#ranks.size;
  }

  /** What the policy says that it needs, with the names that it stands for filled in. */
  #reason(rule: string, slim: SlimRequest): string {
    const said = this.#ranks.get(rule)?.policy.reason ?? '';
    const template = said === '' ? `the policy ${rule} forbids {action} to the tier {tier}` : said;
    const names: Readonly<Record<string, string>> = {
      tier: slim.tier,
      channel: slim.channel,
      action: slim.action,
      resource: slim.resource,
      level: String(slim.level),
      target: String(slim.target ?? ''),
      needed: slim.needs?.tier ?? '',
      exits: slim.needs?.channels.join(', ') ?? '',
    };
    return template
      .replaceAll(/\{([a-z]+)\}/g, (all, name: string) => names[name] ?? all)
      .slice(0, REASON_MAX);
  }

  #keep(key: string, answer: AuthorisationAnswer): void {
    if (this.#cache.size >= CACHE_MAX) {
      const [oldest] = this.#cache.keys();
      if (oldest !== undefined) this.#cache.delete(oldest);
    }
    this.#cache.set(key, answer);
  }
}

function failure(error: unknown): AuthorisationAnswer {
  return deny(
    'authoriser-failed',
    `the authoriser failed: ${error instanceof Error ? error.name : 'unknown'}`,
  );
}
