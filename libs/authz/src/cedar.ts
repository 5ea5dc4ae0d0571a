/**
 * Cedar, the policy engine, as WebAssembly in this thread: loads it, reads policies, decides.
 * It must not know where policies come from, nor what is asked of them; nobody else knows that it is Cedar.
 */
import {
  type CedarValueJson,
  type DetailedError,
  initSync,
  policySetTextToParts,
  policyToJson,
  preparsePolicySet,
  statefulIsAuthorized,
  validate,
} from '@cedar-policy/cedar-wasm/web';
import { KedgeError } from '@kedge/units';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';

import { trustOf } from './deescalation.js';
import type { SlimRequest } from './slim-request.js';

/** A compiled engine; threads can share one. */
export type CompiledEngine = object;
/** What Node has, and its types do not name. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => CompiledEngine;
  compile(bytes: Uint8Array): Promise<CompiledEngine>;
};

/** Where the engine lies in an installed package. */
const ENGINE = 'node_modules/@cedar-policy/cedar-wasm/web/cedar_wasm_bg.wasm';
/** What of a function runs before it is optimised, in bytes as V8 counts them; its own default is a hundredth. */
const TIERING_BUDGET = 180_000_000;
/** More trust than anybody has: what accords name as a tier and is none is reached by nobody. */
const NOBODY = 5;

/** One policy of a set, by the name that it gives itself. */
export interface Policy {
  /** Its annotation `@id`; stands in answers and records. */
  readonly id: string;
  readonly effect: 'permit' | 'forbid';
  /** Its annotation `@reason`: what would have been needed; empty where it says nothing. */
  readonly reason: string;
  /** The file that it stands in. */
  readonly file: string;
  readonly text: string;
}

/** What is wrong with a file of policies, or with one policy of it. */
export interface Fault {
  readonly file: string;
  /** Empty where it is the file. */
  readonly policy: string;
  readonly message: string;
}

/** What the engine says of one request. */
export interface Verdict {
  readonly allow: boolean;
  /** The policies that decided, in no order. */
  readonly policies: readonly string[];
  /** Policies that could not be evaluated, or why nothing could. */
  readonly failures: readonly string[];
}

/** An identifier as Cedar has them in annotations, and as records take them. */
const ID = /^[a-z][a-z0-9-]{0,63}$/;

/** The engine's file: beside whatever directory above has it installed, for a bundle as for a checkout. */
export function engineFile(): string {
  let directory = dirname(fileURLToPath(new URL(import.meta.url)));
  for (;;) {
    const path = join(directory, ENGINE);
    const above = dirname(directory);
    if (existsSync(path) || above === directory) return path;
    directory = above;
  }
}

/** The release of the engine, as its package says; undefined where it does not. */
export function engineVersion(file = engineFile()): string | undefined {
  try {
    const { version } = JSON.parse(readFileSync(join(dirname(dirname(file)), 'package.json'), 'utf8')) as {
      version?: unknown;
    };
    return typeof version === 'string' ? version : undefined;
  } catch {
    return undefined;
  }
}

let loaded = false;

/** Loads the engine now; 25 ms of this thread. Once is enough. @throws KedgeError `AUTHZ_ENGINE` */
export function loadEngine(file = engineFile()): void {
  if (loaded) return;
  try {
    setCompiler();
    instantiate(new WebAssembly.Module(readFileSync(file)));
  } catch (cause) {
    throw engineError(file, cause);
  }
}

/** The engine, compiled off this thread, for this or another one. @throws KedgeError `AUTHZ_ENGINE` */
export async function compiledEngine(file = engineFile()): Promise<CompiledEngine> {
  try {
    setCompiler();
    return await WebAssembly.compile(await readFile(file));
  } catch (cause) {
    throw engineError(file, cause);
  }
}

/** Has this thread use an engine that is compiled. */
export function useEngine(module: CompiledEngine): void {
  setCompiler();
  instantiate(module);
}

/**
 * Said before the engine is there.
 *
 * V8 of Node 20 can inline calls into WebAssembly when it optimises the caller, and then reads the thread's state from
 * a wrong place: after some ten thousand decisions the process crashes.
 *
 * And it compiles a function of WebAssembly again, optimised, after some ten calls of it. To read one set of policies
 * calls thousands of functions so often: 0.3 s of processor and 40 MB in a service that has just come back, for an engine
 * that is asked a few times a minute. A hundred times as often is still a matter of seconds where it is really busy.
 */
function setCompiler(): void {
  setFlagsFromString('--no-turbo-inline-js-wasm-calls');
  setFlagsFromString(`--wasm-tiering-budget=${TIERING_BUDGET}`);
}

function instantiate(module: CompiledEngine): void {
  initSync({ module });
  loaded = true;
}

function engineError(file: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'AUTHZ_ENGINE',
    message: `cannot load the policy engine ${file}`,
    expected: 'the WebAssembly file of the installed release',
    cause,
  });
}

/** The policies in one file, in the order in which they stand, or what is wrong with it. */
export function policiesIn(file: string, text: string): readonly Policy[] | readonly [Fault, ...Fault[]] {
  const parts = policySetTextToParts(text);
  if (parts.type === 'failure') return [faultOf(file, '', parts.errors)];
  if (parts.policy_templates.length > 0)
    return [{ file, policy: '', message: 'it has a template; every policy has to stand for itself' }];
  const faults: Fault[] = [];
  const policies: Policy[] = [];
  for (const part of parts.policies) {
    const read = policyToJson(part);
    if (read.type === 'failure') {
      faults.push(faultOf(file, '', read.errors));
      continue;
    }
    const { id = '', reason = '' } = read.json.annotations ?? {};
    if (!ID.test(id))
      faults.push({
        file,
        policy: id.slice(0, 64),
        message: `a policy has no usable name: expected @id("…") of 1 to 64 characters a-z, 0-9, "-"`,
      });
    else if (!/^[^\p{Cc}\p{Cs}]{0,256}$/u.test(reason))
      faults.push({
        file,
        policy: id,
        message: 'its @reason is longer than 256 characters, or more than one line',
      });
    else policies.push({ id, effect: read.json.effect, reason, file, text: part });
  }
  const [first, ...more] = faults;
  if (first !== undefined) return [first, ...more];
  const at = ({ id }: Policy): number => text.indexOf(`@id("${id}")`);
  return policies.sort((a, b) => at(a) - at(b));
}

/** What of a set is not what the schema says. */
export function faultsBySchema(policies: readonly Policy[], schema: string): readonly Fault[] {
  const answer = validate({
    schema,
    policies: { staticPolicies: byId(policies) },
    validationSettings: { mode: 'strict' },
  });
  if (answer.type === 'failure') return [faultOf('', '', answer.errors)];
  // The engine says a fault once for every tier and action that it looks at, in no order: one of each policy is enough.
  const faults = new Map<string, Fault>();
  for (const { policyId, error } of answer.validationErrors) {
    const file = policies.find(({ id }) => id === policyId)?.file ?? '';
    const fault = faultOf(file, policyId, [error]);
    const known = faults.get(policyId);
    if (known === undefined || fault.message < known.message) faults.set(policyId, fault);
  }
  return [...faults.values()];
}

/**
 * Has the engine decide by a set from now on, under `slot`; what was there before is gone, or stays where this throws.
 * A slot is used again and again, because the engine forgets none.
 *
 * @throws KedgeError `AUTHZ_SET_INVALID`
 */
export function prepare(slot: string, policies: readonly Policy[]): void {
  const answer = preparsePolicySet(slot, { staticPolicies: byId(policies) });
  if (answer.type === 'success') return;
  const { message } = faultOf('', '', answer.errors);
  throw new KedgeError({ code: 'AUTHZ_SET_INVALID', message: `cannot prepare the policies: ${message}` });
}

/** The engine's own form of a request: no entities, every attribute in the context. */
export function engineRequest(slim: SlimRequest) {
  const { needs } = slim;
  const context: Record<string, CedarValueJson> = {
    trust: slim.trust,
    channel: slim.channel,
    level: slim.level,
    breakGlass: slim.breakGlass,
  };
  if (slim.target !== undefined) context['target'] = slim.target;
  if (needs !== undefined)
    context['needs'] = {
      trust: trustOf(needs.tier) || NOBODY,
      secondFactor: needs.secondFactor,
      channels: [...needs.channels],
    };
  if (slim.secondFactorAge !== undefined) context['secondFactorAge'] = slim.secondFactorAge;
  if (slim.address !== undefined) context['address'] = { __extn: { fn: 'ip', arg: slim.address } };
  if (slim.minute !== undefined) context['minute'] = slim.minute;
  if (slim.weekday !== undefined) context['weekday'] = slim.weekday;
  return {
    principal: { type: 'Kedge::Tier', id: slim.tier },
    action: { type: 'Kedge::Action', id: slim.action },
    resource: { type: 'Kedge::Resource', id: slim.resource },
    context,
    entities: [],
  };
}

/**
 * Asks the set under `slot`. Whatever goes wrong denies: a policy that cannot be evaluated may have been one that
 * forbids. @throws whatever a broken engine throws
 */
export function verdictOf(slot: string, slim: SlimRequest): Verdict {
  const answer = statefulIsAuthorized({ ...engineRequest(slim), preparsedPolicySetId: slot });
  if (answer.type === 'failure')
    return { allow: false, policies: [], failures: answer.errors.map(({ message }) => message) };
  const { decision, diagnostics } = answer.response;
  const failures = diagnostics.errors.map(({ policyId }) => policyId);
  return { allow: decision === 'allow' && failures.length === 0, policies: diagnostics.reason, failures };
}

/** Of names that policies give themselves, in an object that has no others. */
function byId(policies: readonly Policy[]): Record<string, string> {
  return Object.fromEntries(policies.map(({ id, text }) => [id, text]));
}

function faultOf(file: string, policy: string, errors: readonly DetailedError[]): Fault {
  const said = errors.flatMap(({ message, related, sourceLocations, help }) => [
    [message, sourceLocations?.[0]?.label, help]
      .filter((text) => text !== undefined && text !== null && text !== '')
      .join(', '),
    ...(related ?? []).map((each) => each.message),
  ]);
  const message = said
    .join('; ')
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .slice(0, 400);
  return { file, policy, message: message === '' ? 'the engine does not say what is wrong' : message };
}
