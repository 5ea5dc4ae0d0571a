/**
 * What retention has decided, in a file that is durable before a bundle goes.
 * It must not decide.
 */
import { canonicalJson, parseCanonicalJson } from '@kedge/ledger';
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { isMissing, replaceFile } from '@kedge/durable-files';
import { damaged } from './errors.js';

/** Bundles are named by their index. */
export interface RetentionState {
  /** The first bundle that was not looked at. */
  readonly next: number;
  /** Bundles before it that stay, and until when: milliseconds since 1970. */
  readonly held: ReadonlyMap<number, number>;
  /** Bundles that are being removed. */
  readonly removing: readonly number[];
}

/** The state in a file; nothing was decided where there is none. @throws KedgeError `LEDGER_STORE_DAMAGED` */
export async function readRetention(path: string): Promise<RetentionState> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (isMissing(error)) return { next: 0, held: new Map(), removing: [] };
    throw error;
  }
  const text = bytes.subarray(65);
  const isWhole = bytes.toString('latin1', 0, 65) === `${hash('sha256', text)}\n`;
  if (!isWhole) throw damaged(path, 0, 'a SHA-256 and what it is of');
  const { next, held, removing } = parseCanonicalJson(text) as {
    next: number;
    held: [number, number][];
    removing: number[];
  };
  return { next, held: new Map(held), removing };
}

/** Makes a state durable. */
export async function writeRetention(path: string, state: RetentionState): Promise<void> {
  const { next, held, removing } = state;
  const text = canonicalJson({ next, held: [...held].map((each) => [...each]), removing: [...removing] });
  await replaceFile(path, Buffer.from(`${hash('sha256', text)}\n${text}`));
}
