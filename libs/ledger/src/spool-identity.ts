/**
 * By what the ledger knows a spool: made with its directory, kept in it.
 * It must not come from what is recorded: the same records in another spool are delivered anew.
 */
import { isMissing, replaceFile } from '@kedge/durable-files';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { damaged } from './spool-error.js';

/** See the fields. */
export interface SpoolIdentity {
  /** Random, 32 hexadecimal digits. */
  readonly id: string;
  /** The ledger counts from 1, beginning behind this sequence. */
  readonly base: bigint;
}

const FILE = 'spool.id';
const FORM = /^([0-9a-f]{32}) (0|[1-9][0-9]{0,18})\n$/;

/**
 * The identity that a directory holds; undefined where it holds none.
 *
 * @throws KedgeError `LEDGER_SPOOL_DAMAGED`; what the system says.
 */
export async function readIdentity(directory: string): Promise<SpoolIdentity | undefined> {
  const path = join(directory, FILE);
  let text: string;
  try {
    text = await readFile(path, 'latin1');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const [, id, base] = FORM.exec(text) ?? [];
  if (id === undefined || base === undefined) throw damaged(path, 0);
  return { id, base: BigInt(base) };
}

/** Gives a directory a new identity: it holds that, or the old one, whenever the power is cut. */
export async function newIdentity(directory: string, base: bigint): Promise<SpoolIdentity> {
  const identity = { id: randomBytes(16).toString('hex'), base };
  await replaceFile(join(directory, FILE), `${identity.id} ${String(base)}\n`);
  return identity;
}
