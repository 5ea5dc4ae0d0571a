/**
 * Where a policy set comes from: one that is shipped, by name, or a directory of a site's own, by its absolute path.
 * It must not read a policy's meaning, nor more of a file than a set may hold.
 */
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** Where the shipped files lie, from `src` and `dist` alike. */
const SHIPPED = fileURLToPath(new URL('../policies', import.meta.url));

/** The sets that are shipped, each with its files in the order in which their policies are named in answers. */
export const SHIPPED_SETS = {
  default: ['posture', 'second-factor', 'looking', 'changing', 'intent', 'ledger'],
  production: ['posture', 'second-factor', 'production', 'looking', 'changing', 'intent', 'ledger'],
  development: ['posture', 'looking', 'changing', 'intent', 'ledger', 'development'],
  admin: ['posture', 'second-factor', 'admin', 'looking', 'changing', 'intent', 'ledger'],
} as const;

/** Bytes of all policies of a set: what is prepared while nobody else is answered stays short. */
export const SET_MAX_BYTES = 262_144;
/** Files of a set. */
export const SET_MAX_FILES = 64;

/** A set before it is read. */
export interface PolicySource {
  /** The name or the path that it was asked for by. */
  readonly name: string;
  /** Undefined: a shipped set, which is part of the release and does not change under it. */
  readonly directory: string | undefined;
  /** What was read of it already; absent: it is read where it lies. */
  readonly files?: readonly PolicyFile[];
}

/** One file of policies. */
export interface PolicyFile {
  readonly name: string;
  readonly text: string;
}

/** How a service's configuration names its policies. */
export const authorisationSchema = z.strictObject({
  /**
   * A shipped set by name (default, production, development, admin), or the absolute path of a directory of .cedar
   * files, which is watched: what changes there is tried, and is in force within seconds.
   */
  policies: z
    .string()
    .refine(
      (name) => isShipped(name) || /^\/[^\0]*$/.test(name),
      'expected the name of a shipped set or an absolute path',
    )
    .default('default'),
});

function isShipped(name: string): name is keyof typeof SHIPPED_SETS {
  return Object.hasOwn(SHIPPED_SETS, name);
}

/** @throws KedgeError `AUTHZ_SET_UNKNOWN` for what is neither a shipped set nor an absolute path. */
export function policySourceOf(name: string): PolicySource {
  if (isShipped(name)) return { name, directory: undefined };
  if (isAbsolute(name) && !name.includes('\0')) return { name, directory: name };
  throw new KedgeError({
    code: 'AUTHZ_SET_UNKNOWN',
    message: `there is no policy set ${name.slice(0, 128)}`,
    expected: `${Object.keys(SHIPPED_SETS).join(', ')}, or the absolute path of a directory of .cedar files`,
  });
}

/** What a set is good for: the same for the same engine and schema. @param version of the engine, undefined = not known. */
export function trialOf(version: string | undefined): string | undefined {
  if (version === undefined) return undefined;
  return `${version} ${createHash('sha256').update(schemaText()).digest('hex').slice(0, 16)}`;
}

/** The schema that every set is validated by. */
export function schemaText(): string {
  return textOf(join(SHIPPED, 'schema.cedarschema'), SET_MAX_BYTES);
}

/**
 * The files of a set; of a directory all `*.cedar`, by name.
 *
 * @throws KedgeError `AUTHZ_SET_UNREADABLE`, `AUTHZ_SET_TOO_LARGE`
 */
export function readPolicies({ name, directory, files }: PolicySource): readonly PolicyFile[] {
  if (files !== undefined) return files;
  const names = directory === undefined ? shippedFiles(name) : cedarFiles(directory);
  let left = SET_MAX_BYTES;
  return names.map((file) => {
    const text = textOf(join(directory ?? SHIPPED, file), left);
    left -= Buffer.byteLength(text);
    return { name: file, text };
  });
}

/** What a set is known by: the same for the same files. */
export function generationOf(files: readonly PolicyFile[]): string {
  const hash = createHash('sha256');
  for (const { name, text } of files) hash.update(`${name}\0${text}\0`);
  return hash.digest('hex').slice(0, 16);
}

function shippedFiles(name: string): readonly string[] {
  return isShipped(name) ? SHIPPED_SETS[name].map((file) => `${file}.cedar`) : [];
}

function cedarFiles(directory: string): readonly string[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (cause) {
    throw unreadable(directory, 'a directory that can be read', cause);
  }
  const files = names.filter((name) => /^[^.].*\.cedar$/.test(name)).sort();
  if (files.length === 0) throw unreadable(directory, 'at least one file *.cedar');
  if (files.length > SET_MAX_FILES) throw tooLarge(directory, `at most ${SET_MAX_FILES} files`);
  return files;
}

/** A whole file of at most `left` bytes. Nothing but a file is read: a pipe would never end. */
function textOf(path: string, left: number): string {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw unreadable(path, 'a file that can be read', cause);
  }
  try {
    if (!fstatSync(file).isFile()) throw unreadable(path, 'a regular file');
    const bytes = Buffer.alloc(left + 1);
    let length = 0;
    for (;;) {
      const read = readSync(file, bytes, length, bytes.length - length, null);
      if (read === 0) break;
      length += read;
      if (length > left) throw tooLarge(path, `at most ${SET_MAX_BYTES} bytes in all files of the set`);
    }
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length));
    } catch (cause) {
      throw unreadable(path, 'UTF-8', cause);
    }
  } finally {
    closeSync(file);
  }
}

function unreadable(field: string, expected: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'AUTHZ_SET_UNREADABLE',
    message: `cannot read the policies at ${field}`,
    field,
    expected,
    cause,
  });
}

function tooLarge(field: string, expected: string): KedgeError {
  return new KedgeError({
    code: 'AUTHZ_SET_TOO_LARGE',
    message: `cannot use the policies at ${field}: there are too many`,
    field,
    expected,
  });
}
