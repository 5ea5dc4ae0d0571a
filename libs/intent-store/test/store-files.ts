/**
 * What the tests of the kept intent have in common: states by their digests, and stores opened on copies.
 * It must not start processes.
 */
import { KedgeError } from '@kedge/units';
import { join } from 'node:path';
import { expect } from 'vitest';

import { StoreFile } from '../src/store-file.js';
import { digestOf } from './material.mjs';

export const SCRIPT = join(import.meta.dirname, 'script.mjs');

/** A transaction that was said to be kept. */
export interface Acknowledged {
  readonly step: number;
  readonly digest: string;
  readonly atNs: bigint;
}

/** What a process said. */
export function acknowledgedIn(out: string): Acknowledged[] {
  return [...out.matchAll(/^kept (\d+) ([0-9a-f]{64}) (\d+)$/gm)].map(([, step, digest = '', at = '0']) => ({
    step: Number(step),
    digest,
    atNs: BigInt(at),
  }));
}

/**
 * The step that a file has, 0 for none, having proven that everything in it is as it was after that very step:
 * what is in force, the history, and every document.
 *
 * @throws KedgeError as the file does.
 */
export function stepIn(path: string, digests: ReadonlyMap<number, string>, where: string): number {
  const { file, kept } = StoreFile.open(path);
  try {
    if (kept === undefined) return 0;
    const { heads, revisions } = kept;
    const hashes = new Set([...revisions.map(({ hash }) => hash), heads.candidate.hash]);
    const documents = new Map([...hashes].map((hash) => [hash, file.documentOf(hash)]));
    expect(digestOf(heads, revisions, documents), where).toBe(digests.get(heads.step));
    return heads.step;
  } finally {
    file.close();
  }
}

/** The same where the file may be found damaged: undefined then. */
export function stepOrDamage(
  path: string,
  digests: ReadonlyMap<number, string>,
  where: string,
): number | undefined {
  try {
    return stepIn(path, digests, where);
  } catch (error) {
    if (error instanceof KedgeError && error.code === 'INTENT_STORE_DAMAGED') return undefined;
    throw error;
  }
}
