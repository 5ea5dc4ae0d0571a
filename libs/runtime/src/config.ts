/**
 * One configuration file per service, read once at start, checked strictly, frozen.
 * It must not know what any service configures.
 */
import { KedgeError } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { z } from 'zod';

/** Something that must not be printed. Logs, JSON and inspection show `[secret]`. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself, for the one place that needs it. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

/** Schema of a secret inside a configuration: text, at once hidden in a {@link Secret}. */
export const secretSchema = z
  .string()
  .min(1)
  .transform((value) => new Secret(value));

/** Largest configuration file that is read. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Reads the file that `--config FILE` names. Keys that the schema does not have are refused with the nearest one
 * that it has; the result is frozen all the way down.
 *
 * @param schema a `z.strictObject`; nested objects are made strict by the same.
 * @param argv the arguments without node and script: `process.argv.slice(2)`.
 * @throws KedgeError `CONFIG_USAGE` (no or other arguments), `CONFIG_MISSING` (no file), `CONFIG_UNREADABLE`,
 *   `CONFIG_SYNTAX` (not JSON), `CONFIG_UNKNOWN_KEY`, `CONFIG_INVALID`; the last two name the field.
 */
export function loadConfig<Schema extends z.ZodType>(
  schema: Schema,
  argv: readonly string[],
): z.output<Schema> {
  const path = configPath(argv);
  const text = readConfig(path);
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw new KedgeError({
      code: 'CONFIG_SYNTAX',
      message: `cannot read the configuration ${path}: it is not JSON`,
      expected: 'one JSON object',
      cause,
    });
  }
  const result = schema.safeParse(data);
  if (!result.success) throw configError(path, schema, result.error.issues);
  return deepFreeze(result.data);
}

function configPath(argv: readonly string[]): string {
  const [option, path] = argv;
  if (argv.length !== 2 || option !== '--config' || path === undefined || path === '') {
    throw new KedgeError({
      code: 'CONFIG_USAGE',
      message: `cannot start with the arguments ${JSON.stringify(argv)}`,
      expected: '--config FILE',
    });
  }
  return path;
}

function readConfig(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    throw new KedgeError({
      code: missing ? 'CONFIG_MISSING' : 'CONFIG_UNREADABLE',
      message: missing ? `there is no configuration ${path}` : `cannot read the configuration ${path}`,
      ...(missing ? { help: 'write it, or name another file with --config' } : {}),
      cause,
    });
  }
  if (bytes.length > MAX_BYTES) {
    throw new KedgeError({
      code: 'CONFIG_UNREADABLE',
      message: `cannot read the configuration ${path}: it has ${bytes.length} bytes`,
      expected: `at most ${MAX_BYTES} bytes`,
    });
  }
  return bytes.toString('utf8');
}

function configError(path: string, schema: z.ZodType, issues: readonly z.core.$ZodIssue[]): KedgeError {
  const [issue] = issues;
  const more = issues.length > 1 ? `; ${issues.length - 1} more are wrong` : '';
  if (issue?.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const field = fieldOf([...issue.path, key]);
    const known = knownKeys(schema, issue.path);
    const nearest = nearestOf(key, known);
    return new KedgeError({
      code: 'CONFIG_UNKNOWN_KEY',
      message: `cannot use the configuration ${path}: it has an unknown key ${field}${more}`,
      field,
      expected: known.length === 0 ? 'no such key' : `one of ${known.join(', ')}`,
      ...(nearest === undefined ? {} : { help: `did you mean ${fieldOf([...issue.path, nearest])}?` }),
    });
  }
  const field = fieldOf(issue?.path ?? []);
  return new KedgeError({
    code: 'CONFIG_INVALID',
    message: `cannot use the configuration ${path}: ${field === '' ? 'the whole file' : field} is wrong${more}`,
    ...(field === '' ? {} : { field }),
    expected: issue?.message ?? 'what the schema says',
  });
}

function fieldOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  );
}

/** The keys that an object of the schema has at a path; none where it has no object there. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let at: z.core.$ZodType | undefined = unwrap(schema);
  for (const part of path) {
    if (at instanceof z.ZodObject) at = unwrap((at.shape as Record<PropertyKey, z.core.$ZodType>)[part]);
    else if (at instanceof z.ZodArray) at = unwrap(at.element);
    else if (at instanceof z.ZodRecord) at = unwrap(at.valueType);
    else return [];
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodPipe) return unwrap(schema.in);
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodReadonly
  ) {
    return unwrap(schema.unwrap());
  }
  return schema;
}

/** The candidate that is at most half its length away from the word, by insertions, deletions and replacements. */
function nearestOf(word: string, candidates: readonly string[]): string | undefined {
  const [best] = candidates
    .map((candidate) => ({ candidate, distance: distanceOf(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= candidate.length / 2)
    .sort((a, b) => a.distance - b.distance);
  return best?.candidate;
}

function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const replaced = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
