/**
 * The one error of this package: what was tried, and everything that libyang had to say.
 * Must not be made anywhere but where an operation is named.
 */
import { KedgeError, type KedgeErrorFields, type KedgeErrorJson } from '@kedge/units';
import type { RawProblem } from './addon.js';

/**
 * What a problem is about: how the document is written (`syntax`), something it names that is not there (`reference`),
 * an XPath expression, what a module means (`semantics`), or the data itself.
 */
export type ProblemKind = 'syntax' | 'reference' | 'xpath' | 'semantics' | 'data' | 'other';

/** One message of libyang. */
export interface YangProblem {
  readonly message: string;
  readonly kind: ProblemKind;
  /** Of the data node, where there is one. */
  readonly path?: string;
  /** Of the schema node, where libyang names that. */
  readonly schemaPath?: string;
  /** Line of the document, from 1; only where reading it failed. */
  readonly line?: number;
  /** What the module gives the violation as `error-app-tag`, or what RFC 7950 section 15 does. */
  readonly appTag?: string;
}

/** How the error looks in JSON. */
export interface YangErrorJson extends KedgeErrorJson {
  readonly problems: readonly YangProblem[];
  readonly complete: boolean;
}

export interface YangErrorFields extends KedgeErrorFields {
  readonly problems?: readonly YangProblem[];
  readonly complete?: boolean;
}

/** Thrown by every call of this package. `code` is a row of docs/errors.md. */
export class YangError extends KedgeError {
  /** What libyang said, in its order; empty where it was not asked. */
  readonly problems: readonly YangProblem[];
  /** False where more may be wrong than `problems` says: libyang stopped at what it found first. */
  readonly complete: boolean;

  constructor(fields: YangErrorFields) {
    super(fields);
    this.problems = Object.freeze([...(fields.problems ?? [])]);
    this.complete = fields.complete ?? true;
  }

  override toJSON(): YangErrorJson {
    return { ...super.toJSON(), problems: this.problems, complete: this.complete };
  }
}

/** libyang's LY_VECODE in the order of its numbers. */
const KIND_BY_NUMBER: readonly ProblemKind[] = [
  'other',
  'syntax',
  'syntax',
  'syntax',
  'reference',
  'xpath',
  'semantics',
  'syntax',
  'syntax',
  'data',
  'other',
];

/** What libyang 2.1 says in one sentence: `Data location "/a:b", line number 3.` */
const LOCATION = /^(?:(Data|Schema) location "(.*)")?(?:(?:, l|L)ine number (\d+))?\.?$/s;

function placeOf(raw: RawProblem): Pick<YangProblem, 'path' | 'schemaPath' | 'line'> {
  const said = LOCATION.exec(raw.location);
  const [, which, at, number] = said ?? [];
  const path = raw.path || (which === 'Data' ? at : said === null ? raw.location : undefined);
  const schemaPath = raw.schemaPath || (which === 'Schema' ? at : undefined);
  const line = raw.line || Number(number ?? 0);
  return {
    ...(path === undefined || path === '' ? {} : { path }),
    ...(schemaPath === undefined ? {} : { schemaPath }),
    ...(line > 0 ? { line } : {}),
  };
}

function problemOf(raw: RawProblem): YangProblem {
  return {
    message: raw.message,
    kind: KIND_BY_NUMBER[raw.kind] ?? 'other',
    ...placeOf(raw),
    ...(raw.appTag === '' ? {} : { appTag: raw.appTag }),
  };
}

/** Newer versions say some things twice: each is kept once. */
function once(problems: readonly YangProblem[]): readonly YangProblem[] {
  const seen = new Set<string>();
  return problems.filter((problem) => {
    const key = JSON.stringify([problem.message, problem.path, problem.schemaPath, problem.line]);
    return !seen.has(key) && seen.add(key);
  });
}

interface RawError extends Error {
  readonly code: string;
  readonly problems?: readonly RawProblem[];
  readonly complete?: boolean;
}

const isRaw = (error: unknown): error is RawError =>
  error instanceof Error && 'code' in error && typeof error.code === 'string';

const HELP: Readonly<Record<string, string>> = {
  YANG_BUSY: 'await what was begun with the tree before, or work on a duplicate',
  YANG_CONTEXT_IN_USE: 'load modules first, or dispose of the trees and await the jobs',
  YANG_DISPOSED: 'keep the object until its last use is over',
  YANG_MODULE: 'see problems; name its directory in searchDirectories when a module was not found',
};

/** The problem that stands first, as a part of a sentence. */
function firstOf(problems: readonly YangProblem[]): string {
  const [first] = problems;
  if (first === undefined) return '';
  const place = first.path ?? first.schemaPath;
  const at = [
    ...(place === undefined ? [] : [place]),
    ...(first.line === undefined ? [] : [`line ${first.line}`]),
  ];
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  return `: ${first.message.replace(/\.$/, '')}${at.length === 0 ? '' : ` at ${at.join(', ')}`}${more}`;
}

/** What the addon threw as an error that names the operation; any other error as it is. */
export function yangErrorOf(error: unknown, operation: string): Error {
  if (error instanceof KedgeError || !isRaw(error))
    return error instanceof Error ? error : new Error(`cannot ${operation}`, { cause: error });
  const problems = once((error.problems ?? []).map(problemOf));
  const help = HELP[error.code];
  return new YangError({
    code: error.code,
    message: `cannot ${operation}: ${error.message}${firstOf(problems)}`,
    problems,
    complete: error.complete ?? true,
    ...(help === undefined ? {} : { help }),
  });
}

/** Runs a call of the addon; what it throws names the operation. @throws YangError */
export function called<T>(operation: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw yangErrorOf(error, operation);
  }
}

/** An argument that is none. */
export function wrongArgument(operation: string, field: string, expected: string): YangError {
  return new YangError({
    code: 'YANG_ARGUMENT',
    message: `cannot ${operation}: ${field} is wrong`,
    field,
    expected,
  });
}
