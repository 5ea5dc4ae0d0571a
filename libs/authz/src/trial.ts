/**
 * Tries a set of policies in a thread of its own, with less room than the thread that decides has.
 * It must not touch the engine of the thread that asks for it: what breaks an engine breaks it there.
 */
import { KedgeError, type KedgeErrorJson } from '@kedge/units';
import { Worker } from 'node:worker_threads';

import type { Candidate, PolicySet } from './candidate.js';
import type { CompiledEngine, Fault } from './cedar.js';
import type { PolicySource } from './policy-source.js';

/** What the thread says, once. */
export type TrialMessage = { readonly candidate: Candidate } | { readonly error: KedgeErrorJson };

/** Longest trial, milliseconds. */
export const TRIAL_MS = 10_000;
/** Half of what V8 gives the first thread: what is nested too deep for there fails here. */
const STACK_MB = 0.5;
const HEAP_MB = 128;
/** The compiled one, from `src` and `dist` alike: threads run what is built. */
const THREAD = new URL('../dist/trial-thread.js', import.meta.url);

/**
 * Reads and tries a set.
 *
 * @param engine compiled; the thread shares it.
 * @param options `limitMs`: longest time; `signal`: ends the trial.
 * @throws KedgeError `AUTHZ_SET_UNREADABLE`, `AUTHZ_SET_TOO_LARGE`; `AUTHZ_SET_BREAKS` where it ended the thread, or
 *   did not come to an end in time.
 */
export async function tryPolicies(
  source: PolicySource,
  engine: CompiledEngine,
  { limitMs = TRIAL_MS, signal }: { readonly limitMs?: number; readonly signal?: AbortSignal } = {},
): Promise<Candidate> {
  const thread = new Worker(THREAD, {
    workerData: { source, engine },
    resourceLimits: { stackSizeMb: STACK_MB, maxOldGenerationSizeMb: HEAP_MB },
    execArgv: [],
    env: {},
    stdout: true,
    stderr: true,
  });
  thread.unref();
  let limit: NodeJS.Timeout | undefined;
  let onAbort = (): void => undefined;
  try {
    const said = await new Promise<TrialMessage>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', (cause) => {
        reject(breaks(source, 'it broke the thread that tried it', cause));
      });
      thread.once('exit', () => {
        reject(breaks(source, 'the thread that tried it ended'));
      });
      onAbort = () => {
        reject(breaks(source, 'nobody waits for its trial any more'));
      };
      signal?.addEventListener('abort', onAbort);
      limit = setTimeout(() => {
        reject(breaks(source, `it was not tried within ${limitMs} ms`));
      }, limitMs);
    });
    if ('error' in said) throw new KedgeError(said.error);
    return said.candidate;
  } finally {
    clearTimeout(limit);
    signal?.removeEventListener('abort', onAbort);
    await thread.terminate();
  }
}

function breaks({ name }: PolicySource, why: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'AUTHZ_SET_BREAKS',
    message: `cannot use the policies of ${name}: ${why}`,
    expected: 'policies that are nested less deeply, and fewer of them',
    cause,
  });
}

/** The set that passed. @throws KedgeError `AUTHZ_SET_INVALID`, which names the first fault and counts the others. */
export function passed(name: string, candidate: Candidate): PolicySet {
  if (candidate.valid) return candidate.set;
  const [first, ...more] = candidate.faults;
  throw new KedgeError({
    code: 'AUTHZ_SET_INVALID',
    message: `cannot use the policies of ${name}: ${faultText(first)}${more.length > 0 ? ` (and ${more.length} more)` : ''}`,
    field: first.policy === '' ? first.file : first.policy,
    help: 'kedge authz check says everything that is wrong with them',
  });
}

/** A fault for people. */
export function faultText({ file, policy, message }: Fault): string {
  return [file, policy, message].filter((part) => part !== '').join(': ');
}
