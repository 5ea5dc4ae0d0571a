/**
 * The thread in which a set of policies is read and tried before anybody decides by it.
 * It must not be needed by anybody: a set that breaks it is refused, and the thread is gone.
 */
import { KedgeError } from '@kedge/units';
import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';

import { candidateOf } from './candidate.js';
import { type CompiledEngine, useEngine } from './cedar.js';
import { type PolicySource, readPolicies, schemaText } from './policy-source.js';
import type { TrialMessage } from './trial.js';

const { source, engine } = workerData as { source: PolicySource; engine: CompiledEngine };

function tried(): TrialMessage {
  try {
    useEngine(engine);
    return { candidate: candidateOf(source.name, readPolicies(source), schemaText()) };
  } catch (error) {
    if (error instanceof KedgeError) return { error: error.toJSON() };
    throw error;
  }
}

// On Linux a priority is a thread's: whoever asked goes on deciding meanwhile.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
parentPort?.postMessage(tried());
