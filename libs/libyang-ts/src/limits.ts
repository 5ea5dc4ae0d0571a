/**
 * How much is taken: bounds on documents, paths, results and waiting jobs, looked at before libyang sees anything.
 * Must not be switched off; each bound can be moved.
 */
import { wrongArgument, YangError } from './yang-error.js';

/** Bounds of one context. */
export interface Limits {
  /** Largest document or message, in bytes of UTF-8: 1 to 2^30. Default 16 MiB. */
  readonly documentBytes: number;
  /** Deepest nesting of a document: 1 to 500, which is libyang's own bound. Default 128. */
  readonly depth: number;
  /** Largest text of a module, in bytes: 1 to 2^30. Default 4 MiB. */
  readonly moduleBytes: number;
  /** Longest path, XPath expression or value, in bytes: 1 to 2^24. Default 64 KiB. */
  readonly pathBytes: number;
  /** Most nodes that one XPath expression may select: 1 to 2^31. Default 100,000. */
  readonly results: number;
  /** Most jobs of the context that may wait: 1 to 2^20. Default 1,024. */
  readonly waitingJobs: number;
}

const BOUNDS: Readonly<Record<keyof Limits, { readonly normal: number; readonly most: number }>> = {
  documentBytes: { normal: 16 * 2 ** 20, most: 2 ** 30 },
  depth: { normal: 128, most: 500 },
  moduleBytes: { normal: 4 * 2 ** 20, most: 2 ** 30 },
  pathBytes: { normal: 64 * 2 ** 10, most: 2 ** 24 },
  results: { normal: 100_000, most: 2 ** 31 },
  waitingJobs: { normal: 1024, most: 2 ** 20 },
};

/** The bounds that were given, and the normal ones for the rest. @throws YangError `YANG_ARGUMENT` */
export function limitsOf(given: Partial<Limits> = {}): Limits {
  const operation = 'make a YANG context';
  for (const name of Object.keys(given))
    if (!(name in BOUNDS)) throw wrongArgument(operation, `limits.${name}`, Object.keys(BOUNDS).join(', '));
  const of = (name: keyof Limits): number => {
    const { normal, most } = BOUNDS[name];
    const value = given[name] ?? normal;
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw wrongArgument(operation, `limits.${name}`, `a whole number from 1 to ${most}`);
    return value;
  };
  return Object.freeze({
    documentBytes: of('documentBytes'),
    depth: of('depth'),
    moduleBytes: of('moduleBytes'),
    pathBytes: of('pathBytes'),
    results: of('results'),
    waitingJobs: of('waitingJobs'),
  });
}

/**
 * Refuses what is no text, no Unicode, or larger than allowed. Bytes are looked through later, off the event loop.
 *
 * @throws YangError `YANG_ARGUMENT`, `YANG_ENCODING`, `YANG_TOO_LARGE`
 */
export function checkDocument(operation: string, document: string | Uint8Array, limit: number): void {
  if (typeof document !== 'string' && !(document instanceof Uint8Array))
    throw wrongArgument(operation, 'document', 'a string or a Uint8Array');
  const bytes = typeof document === 'string' ? Buffer.byteLength(document) : document.byteLength;
  if (bytes > limit)
    throw new YangError({
      code: 'YANG_TOO_LARGE',
      message: `cannot ${operation}: the document has ${bytes} bytes`,
      field: 'document',
      expected: `at most ${limit} bytes`,
      help: 'raise documentBytes or moduleBytes of the context’s limits if that is meant to be',
    });
  if (typeof document === 'string') checkUnicode(operation, 'document', document);
}

/** Refuses half a surrogate pair, which no UTF-8 can hold. @throws YangError `YANG_ENCODING` */
export function checkUnicode(operation: string, field: string, text: string): void {
  if ((text as string & { isWellFormed(): boolean }).isWellFormed()) return;
  throw new YangError({
    code: 'YANG_ENCODING',
    message: `cannot ${operation}: ${field} is not Unicode`,
    field,
    expected: 'text without halves of surrogate pairs',
  });
}

/**
 * Refuses what is no path, or longer than allowed.
 *
 * @throws YangError `YANG_ARGUMENT`, `YANG_ENCODING`, `YANG_TOO_LARGE`
 */
export function checkText(operation: string, field: string, text: string, limit: number): void {
  if (typeof text !== 'string' || text === '' || text.includes('\0'))
    throw wrongArgument(operation, field, 'a text that is not empty and has no NUL');
  if (Buffer.byteLength(text) > limit)
    throw new YangError({
      code: 'YANG_TOO_LARGE',
      message: `cannot ${operation}: ${field} is too long`,
      field,
      expected: `at most ${limit} bytes`,
    });
  checkUnicode(operation, field, text);
}

/** Refuses anything but an absolute path of the modules. @throws as {@link checkText} */
export function checkPath(operation: string, path: string, limit: number): void {
  checkText(operation, 'path', path, limit);
  if (!path.startsWith('/')) throw wrongArgument(operation, 'path', 'an absolute path: /module:node/…');
}
