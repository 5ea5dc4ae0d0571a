/**
 * What a decision costs: by policies, beside the bare engine asked the same question in the same run; out of the cache;
 * and while policies are exchanged all the time. Must not use a policy set that is not shipped for the figures held.
 */
import { preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/web';
import { engineRequest, loadEngine, type Asking, PolicyKeeper, requestOf, slimmed } from '@kedge/authz';
import { type AuthorisationRequest, CHANNELS, TIERS } from '@kedge/contracts';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { LEVELS } from '@kedge/units';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

import type { Bench } from './bench.js';
import { floorOf, goalOf, hostOf, percentile, rateRowOf, rowOf } from './figures.js';

/** Requests that differ in something that a policy can see. */
const DISTINCT = 10_000;
const CACHED_ROUNDS = 20;
const EXCHANGES = 20;
/** Requests beyond all that are measured. */
const WARM_FROM = 2_000_000;
const SLOT = 'bench';

/** Requests no two of which are alike to a policy, none of which the built-in rule answers. */
function distinctRequests(count: number, begin = 0): readonly AuthorisationRequest[] {
  const asked: AuthorisationRequest[] = [];
  const actions = ['posture.get', 'governance.flows', 'mutation.execute', 'mutation.propose'] as const;
  for (let i = begin; asked.length < count; i += 1) {
    const pick = <T>(of: readonly T[], every: number): T => {
      const found = of[Math.floor(i / every) % of.length];
      if (found === undefined) throw new Error('bench: nothing to pick from');
      return found;
    };
    const common: Omit<Asking, 'action'> = {
      tier: pick(TIERS, 1),
      channel: pick(CHANNELS, 4),
      level: pick(LEVELS, 24),
      secondFactorAge: 30 * (i % 11),
      address: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`,
    };
    // One of five loosens, which is what policies have most to say about.
    const sets = i % 5 === 0 && common.level < 5;
    asked.push(
      requestOf(sets ? { ...common, action: 'posture.set', to: 5 } : { ...common, action: pick(actions, 3) }),
    );
  }
  return asked;
}

/** The bare engine over the default set: the same form of request, no built-in rule, no cache, no explanation. */
function bareEngine(policies: PolicyKeeper): (request: AuthorisationRequest) => boolean {
  const set = policies.inForce;
  if (set === undefined) throw new Error('bench: no policies are in force');
  loadEngine();
  const ids = Object.fromEntries(set.policies.map(({ id, text }) => [id, text]));
  if (preparsePolicySet(SLOT, { staticPolicies: ids }).type !== 'success')
    throw new Error('bench: the bare engine does not take the policies');
  const forms = new Map<AuthorisationRequest, ReturnType<typeof engineRequest>>();
  return (request) => {
    let form = forms.get(request);
    if (form === undefined) {
      const made = slimmed(request, () => ({ tier: 'master', secondFactor: false, channels: ['console'] }));
      if ('denial' in made) throw new Error(made.denial.reason);
      form = engineRequest(made.slim);
      forms.set(request, form);
      return true;
    }
    const answer = statefulIsAuthorized({ ...form, preparsedPolicySetId: SLOT });
    if (answer.type === 'failure') throw new Error('bench: the bare engine failed');
    return answer.response.decision === 'allow';
  };
}

/** Nanoseconds of each call, and all of them. */
function timed<T>(over: readonly T[], work: (each: T) => unknown): { each: number[]; allNs: number } {
  const each: number[] = [];
  const begun = monotonicNs();
  for (const one of over) {
    const from = monotonicNs();
    work(one);
    each.push(Number(monotonicNs() - from));
  }
  return { each, allNs: Number(monotonicNs() - begun) };
}

/** Traffic while the set is exchanged between one that permits and one that forbids everything. */
async function underReloads(): Promise<{ asked: number; wrong: number; exchanged: number; each: number[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-bench-authz-'));
  const put = (effect: 'permit' | 'forbid'): void => {
    writeFileSync(join(directory, '.new'), `@id("${effect}")\n${effect} (principal, action, resource);\n`);
    renameSync(join(directory, '.new'), join(directory, 'all.cedar'));
  };
  put('permit');
  const keeper = new PolicyKeeper({ policies: directory });
  try {
    await keeper.reload();
    const requests = distinctRequests(1_000);
    const each: number[] = [];
    let [asked, wrong, exchanged, done] = [0, 0, 0, false];
    const traffic = (async () => {
      while (!done) {
        const rule = keeper.inForce?.policies[0]?.id;
        for (let i = 0; i < 20; i += 1, asked += 1) {
          const request = requests[asked % requests.length];
          if (request === undefined) continue;
          const from = monotonicNs();
          const answer = keeper.authoriser.decide(request);
          each.push(Number(monotonicNs() - from));
          if (answer.rule !== rule || answer.allow !== (rule === 'permit')) wrong += 1;
        }
        await turn();
      }
    })();
    for (; exchanged < EXCHANGES; exchanged += 1) {
      put(exchanged % 2 === 0 ? 'forbid' : 'permit');
      const { policies } = await keeper.reload();
      if (policies[0]?.effect !== (exchanged % 2 === 0 ? 'forbid' : 'permit')) wrong += 1;
    }
    done = true;
    await traffic;
    return { asked, wrong, exchanged, each };
  } finally {
    await keeper.close();
    rmSync(directory, { recursive: true });
  }
}

export const authz: Bench = async ({ samples = DISTINCT, progress }) => {
  const keeper = new PolicyKeeper({ policies: 'default' });
  await keeper.start();
  const bare = bareEngine(keeper);
  const requests = distinctRequests(samples);
  const { authoriser } = keeper;
  progress('both are warmed up');
  const warm = distinctRequests(3_000, WARM_FROM);
  for (const request of warm) {
    bare(request);
    bare(request);
    authoriser.decide(request);
  }
  for (const request of requests) bare(request);
  progress(`${samples} requests, each to the bare engine and to the authoriser, in turns`);
  const mine: number[] = [];
  const theirs: number[] = [];
  // In turns: whatever the machine does meanwhile, it does to both. No answer to any of these is kept yet.
  for (const request of requests) {
    mine.push(...timed([request], (each) => authoriser.decide(each)).each);
    theirs.push(...timed([request], bare).each);
  }
  const sum = (all: readonly number[]): number => all.reduce((total, each) => total + each, 0);
  // Of medians: an answer that the machine interrupted says nothing about either.
  const median = (all: readonly number[]): number =>
    percentile(
      [...all].sort((a, b) => a - b),
      0.5,
    );
  const ratio = median(theirs) / median(mine);
  progress('the same requests again, out of the cache');
  const rounds: number[] = [];
  for (let i = 0; i < CACHED_ROUNDS; i += 1) {
    const begun = monotonicNs();
    for (const request of requests) authoriser.decide(request);
    rounds.push(Number(monotonicNs() - begun) / requests.length);
  }
  await keeper.close();
  progress(`${EXCHANGES} exchanges of the policies under traffic`);
  const reloads = await underReloads();
  const cached = (1e9 * rounds.length) / sum(rounds);
  return {
    bench: 'authz',
    host: hostOf(),
    rows: [
      rowOf('decision by policies', mine, 'us'),
      rowOf('decision by the bare engine', theirs, 'us'),
      rateRowOf('decisions out of the cache', rounds),
      rowOf('decision while policies are exchanged', reloads.each, 'us'),
    ],
    ratios: {
      'by policies / by the bare engine': ratio,
      'decisions/s by policies': 1e9 / median(mine),
      'decisions/s by the bare engine': 1e9 / median(theirs),
      'exchanges of policies': reloads.exchanged,
      'questions while they were exchanged': reloads.asked,
    },
    goals: [
      floorOf('share of what the bare engine decides', 0.8, ratio),
      floorOf('decisions/s out of the cache', 200_000, cached),
      goalOf('answers of another set, or lost', 0, reloads.wrong),
    ],
  };
};
