/**
 * The set of a directory that was in force last, as a file of the service's own: what a start decides by while the
 * directory is broken, and without a trial while it is as it was.
 * It must not decide whether a set is good, nor when it is used.
 */
import { isMissing, replaceFile } from '@kedge/durable-files';
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';

import type { PolicySet } from './candidate.js';
import { type PolicyFile, SET_MAX_BYTES } from './policy-source.js';

const FORM = 'kedge-policies-kept/1';
/** All of a set, as JSON. */
const MAX_BYTES = 8 * SET_MAX_BYTES;

const text = z.string().max(SET_MAX_BYTES);
const keptSchema = z.strictObject({
  /** Which engine and schema it was tried by. */
  triedBy: z.string().max(256),
  /** The directory as it was when it was read. */
  appearance: text,
  set: z.strictObject({
    name: text,
    generation: z.string().regex(/^[0-9a-f]{16}$/),
    policies: z.array(
      z.strictObject({
        id: z.string().max(64),
        effect: z.enum(['permit', 'forbid']),
        reason: z.string().max(256),
        file: text,
        text,
      }),
    ),
  }),
});

/** A set that passed its trial, with what it passed it under. */
export interface KeptSet {
  readonly triedBy: string;
  readonly appearance: string;
  readonly set: PolicySet;
}

/** What was kept; undefined where nothing was. @throws KedgeError `AUTHZ_KEPT` */
export async function readKept(path: string): Promise<KeptSet | undefined> {
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > MAX_BYTES) throw damaged(path);
    bytes = await readFile(path);
  } catch (error) {
    if (error instanceof KedgeError) throw error;
    if (isMissing(error)) return undefined;
    throw keptError(`cannot read the policies that were kept in ${path}`, error);
  }
  const head = bytes.indexOf('\n');
  const body = bytes.subarray(head + 1);
  if (head < 0 || bytes.toString('latin1', 0, head) !== `${FORM} ${sumOf(body)}`) throw damaged(path);
  try {
    return keptSchema.parse(JSON.parse(body.toString('utf8')));
  } catch (error) {
    throw damaged(path, error);
  }
}

/** Keeps a set: this one is there, or the one before it, whenever the power is cut. @throws KedgeError `AUTHZ_KEPT` */
export async function writeKept(path: string, { triedBy, appearance, set }: KeptSet): Promise<void> {
  const body = Buffer.from(JSON.stringify({ triedBy, appearance, set } satisfies KeptSet), 'utf8');
  try {
    await replaceFile(path, Buffer.concat([Buffer.from(`${FORM} ${sumOf(body)}\n`, 'latin1'), body]));
  } catch (error) {
    throw keptError(`cannot keep the policies in ${path}`, error);
  }
}

/** The files of a set as far as they are policies, to be tried again by another engine or schema. */
export function filesOf({ policies }: PolicySet): readonly PolicyFile[] {
  const files = new Map<string, string>();
  for (const { file, text: policy } of policies) files.set(file, `${files.get(file) ?? ''}${policy}\n`);
  return [...files].map(([name, all]) => ({ name, text: all }));
}

function sumOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

function damaged(path: string, cause?: unknown): KedgeError {
  return keptError(`the policies that were kept in ${path} are damaged`, cause);
}

function keptError(message: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'AUTHZ_KEPT',
    message,
    help: 'see how the disk does; the next policies that are taken are kept anew',
    ...(cause === undefined ? {} : { cause }),
  });
}
