/**
 * Whether a set of policies can be used: every policy has a name of its own, all of them are what the schema says,
 * and the engine decides by them.
 * It must not let a set pass that was not decided by once.
 */
import { ACTIONS, CHANNELS, TIERS } from '@kedge/contracts';
import { LEVELS } from '@kedge/units';

import { type Fault, faultsBySchema, policiesIn, type Policy, prepare, verdictOf } from './cedar.js';
import { generationOf, type PolicyFile } from './policy-source.js';
import type { SlimRequest } from './slim-request.js';

/** A set that can be used. */
export interface PolicySet {
  /** The name that it was asked for by. */
  readonly name: string;
  /** Sixteen hexadecimal digits, the same for the same files. */
  readonly generation: string;
  /** In the order of files, and of policies in them: the first that decides is named in answers. */
  readonly policies: readonly Policy[];
}

/** A set, or every fault that was found. */
export type Candidate =
  | { readonly valid: true; readonly set: PolicySet }
  | { readonly valid: false; readonly faults: readonly [Fault, ...Fault[]] };

/** The slot that candidates are tried in; nobody decides by it. */
const TRIAL = 'trial';

/** Reads a set and tries it in this thread's engine, which has to be there. @throws whatever a broken engine throws */
export function candidateOf(name: string, files: readonly PolicyFile[], schema: string): Candidate {
  const policies: Policy[] = [];
  const faults: Fault[] = [];
  for (const file of files)
    for (const found of policiesIn(file.name, file.text)) {
      if ('message' in found) faults.push(found);
      else if (policies.some(({ id }) => id === found.id))
        faults.push({
          file: file.name,
          policy: found.id,
          message: 'another policy of the set has this name',
        });
      else policies.push(found);
    }
  if (faults.length === 0) faults.push(...faultsBySchema(policies, schema));
  if (faults.length === 0) {
    prepare(TRIAL, policies);
    faults.push(...probed());
  }
  const [first, ...more] = faults;
  if (first !== undefined) return { valid: false, faults: [first, ...more] };
  return { valid: true, set: { name, generation: generationOf(files), policies } };
}

/** Every action is asked for once, with everything that a request can have. */
function probed(): readonly Fault[] {
  const failures = new Set<string>();
  for (const action of ACTIONS)
    for (const level of LEVELS)
      for (const failure of verdictOf(TRIAL, probe(action, level)).failures) failures.add(failure);
  return [...failures].map((policy) => ({ file: '', policy, message: 'it cannot be evaluated' }));
}

function probe(action: SlimRequest['action'], level: SlimRequest['level']): SlimRequest {
  const sets = action === 'posture.set';
  return {
    tier: TIERS[0],
    action,
    resource: sets ? 'posture/5' : 'posture',
    trust: TIERS.length,
    channel: CHANNELS[0],
    level,
    target: sets ? 5 : undefined,
    needs: sets ? { tier: TIERS[0], secondFactor: true, channels: CHANNELS } : undefined,
    secondFactorAge: 30,
    address: '192.0.2.1',
    minute: 0,
    weekday: 1,
    breakGlass: false,
  };
}
