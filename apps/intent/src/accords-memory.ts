/**
 * What the intent has asked for of accords, and the documents that stood before, in files that outlive kill -9 and power
 * cuts: the old or the new, never a mix.
 * It must not decide what is written there.
 */
import { isMissing, makeDirectory, replaceFile } from '@kedge/durable-files';
import { sha256 } from '@kedge/intent-store';
import { canonicalText } from '@kedge/reconcile';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

import { type AccordsMemory, LATE_MAX, NOTHING_ASKED } from './accords-standing.js';
import type { IntentLog } from './intent.js';

const hash = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hexadecimal');

const memorySchema: z.ZodType<AccordsMemory> = z.strictObject({
  before: hash.nullable(),
  asked: z
    .strictObject({
      revision: z.int().min(1),
      key: z.string().min(8).max(64),
      hash,
      outcome: z.enum(['open', 'answered', 'inForce']),
    })
    .nullable(),
  late: z.array(hash).max(LATE_MAX),
  count: z.int().min(0),
});

const documentsSchema = z.strictObject({ hash, accords: z.string(), zones: z.string() });
/** A set of accords with what identifies it. */
export type KeptDocuments = z.output<typeof documentsSchema>;

/** The files; one process has them. */
export class AccordsMemoryFile {
  readonly #directory: string;
  /** As it was found. */
  readonly memory: AccordsMemory;
  /** What stood before the intent asked for the first time. */
  before: KeptDocuments | undefined;
  /** What was found damaged and put aside, for people. */
  readonly damage: string | undefined;

  private constructor(
    directory: string,
    { memory, before }: { memory: AccordsMemory; before: KeptDocuments | undefined },
    damage: string | undefined,
  ) {
    this.#directory = directory;
    this.memory = memory;
    this.before = before;
    this.damage = damage;
  }

  /**
   * Reads what is there. Of what is damaged nothing is believed: it is put aside, and a sentence says so.
   *
   * @throws Error of the file system.
   */
  static async open(directory: string, log: IntentLog): Promise<AccordsMemoryFile> {
    await makeDirectory(directory);
    const at = (name: string): string => join(directory, name);
    try {
      const memory = parsed(memorySchema, await textOf(at(MEMORY))) ?? NOTHING_ASKED;
      const before = parsed(documentsSchema, await textOf(at(BEFORE)));
      if (memory.before !== null && before?.hash !== memory.before)
        throw new Damaged('the documents that stood before are others');
      const kept = memory.before === null ? undefined : before;
      return new AccordsMemoryFile(directory, { memory, before: kept }, undefined);
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      for (const name of [MEMORY, BEFORE]) {
        await rename(at(name), at(`${name}.damaged`)).catch((failure: unknown) => {
          if (!isMissing(failure)) throw failure;
        });
      }
      const damage =
        'what the intent asked for of accords is not known: its file is damaged, and was put aside';
      log.error({ err: error }, damage);
      return new AccordsMemoryFile(directory, { memory: NOTHING_ASKED, before: undefined }, damage);
    }
  }

  /**
   * Durable when this resolves. Documents are there before anything names them.
   *
   * @throws Error of the file system; the old or the new is there.
   */
  async keep(memory: AccordsMemory, documents: KeptDocuments | undefined): Promise<void> {
    if (documents !== undefined) {
      await replaceFile(join(this.#directory, BEFORE), proven(documents));
      this.before = documents;
    }
    await replaceFile(join(this.#directory, MEMORY), proven(memory));
  }
}

const MEMORY = 'accords-asked';
const BEFORE = 'accords-before';

class Damaged extends Error {}

/** Text behind its own hash. */
function proven(value: unknown): string {
  const text = canonicalText(value);
  return `${sha256(text)} ${text}`;
}

/** @throws Damaged */
function parsed<T>(schema: z.ZodType<T>, whole: string | undefined): T | undefined {
  if (whole === undefined) return undefined;
  const text = whole.slice(65);
  if (whole[64] !== ' ' || sha256(text) !== whole.slice(0, 64))
    throw new Damaged('it is not what its hash proves');
  const result = schema.safeParse(JSON.parse(text));
  if (!result.success) throw new Damaged('it says what it cannot say', { cause: result.error });
  return result.data;
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
