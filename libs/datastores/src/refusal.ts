/**
 * Why a request about the intent was refused, as a value.
 * It must not decide that anything is; the machine does.
 */
import type { Revision } from './revision.js';

/** What a schema has against a document (UN-1). */
export interface Finding {
  /** Data path of the node at fault; empty where it is the document as a whole. */
  readonly path: string;
  readonly message: string;
  /** The error-app-tag, where the schema gives one. */
  readonly appTag?: string;
}

/** A refusal: an expected answer, never thrown. */
export interface IntentRefusal {
  readonly kind: 'refusal';
  /** A code of docs/errors.md. */
  readonly code: string;
  /** A sentence for people. */
  readonly message: string;
  /** The field of the request that is at fault. */
  readonly field?: string;
  readonly expected?: string;
  readonly help?: string;
  /** With `INTENT_RACED`: the revision that came between. */
  readonly between?: Revision;
  /** With `INTENT_INVALID`: all that the schema had to say, and whether that is all that there is. */
  readonly findings?: readonly Finding[];
  readonly complete?: boolean;
}

/** Makes one. */
export function refusal(said: Omit<IntentRefusal, 'kind'>): IntentRefusal {
  return { kind: 'refusal', ...said };
}

/** True for a refusal among other answers. */
export function isRefusal<T>(value: T | IntentRefusal): value is IntentRefusal {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'refusal';
}

/** A request whose field is wrong. */
export function wrongField(field: string, expected: string): IntentRefusal {
  return refusal({
    code: 'INTENT_REQUEST',
    message: `cannot take the request: ${field} is wrong`,
    field,
    expected,
  });
}
