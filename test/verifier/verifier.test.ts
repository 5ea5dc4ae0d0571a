/**
 * The ledger's proofs against a second verifier, written in another language against the specifications alone.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { signCheckpoint, signerOf, TiledLog } from '@kedge/ledger';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { agreement } from './agreement.mjs';

const VERIFIER = join(import.meta.dirname, 'verifier.py');
const log = signerOf(
  'kedge.example/box-7',
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]),
    format: 'der',
    type: 'pkcs8',
  }),
);

describe('a second verifier', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'kedge-verifier-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  /** Writes a log of so many entries; its checkpoint. */
  function write(size: number): string {
    const tiles = TiledLog.open();
    for (let at = 0; at < size; at++) tiles.append(Buffer.from(`{"entry":${at}}`));
    const note = signCheckpoint({ origin: log.name, size, root: tiles.root() }, log);
    for (const { path, bytes } of [...tiles.takeFiles(), { path: 'checkpoint', bytes: Buffer.from(note) }]) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), bytes);
    }
    return note;
  }
  const verified = (...kept: string[]): { status: number | null; stderr: string } =>
    spawnSync('python3', [VERIFIER, 'log', directory, log.text, ...kept], { encoding: 'utf8' });

  it('LE-2, LE-3 says the same about random trees, logs, notes, texts and sessions, and finds every tampering', async () => {
    const { different, missed, trees, tamperings } = await agreement(300, 7);
    expect(different).toEqual([]);
    expect(missed).toEqual([]);
    expect(trees).toBe(330);
    expect(tamperings).toBeGreaterThan(2_500);
  });

  it('LE-2 checks a log in a directory with nothing but its files and a key', () => {
    const later = write(700);
    const kept = join(directory, 'kept');
    expect(execFileSync('python3', [VERIFIER, 'log', directory, log.text], { encoding: 'utf8' })).toBe(
      '700 entries, whole\n',
    );
    const bundle = join(directory, 'tile/entries/001');
    const bytes = readFileSync(bundle);
    writeFileSync(bundle, bytes.with(40, (bytes[40] ?? 0) ^ 1));
    expect(verified()).toMatchObject({ status: 7, stderr: 'the log is not whole: another root\n' });
    write(700);
    rmSync(join(directory, 'tile/entries/000'));
    expect(verified()).toMatchObject({
      status: 7,
      stderr: 'the log is not whole: tile/entries/000 is missing\n',
    });
    expect(verified('--kept-from', '255')).toMatchObject({ status: 7 });
    expect(verified('--kept-from', '256')).toMatchObject({ status: 0 });
    // An older log, whole and signed, in the place of the true one.
    rmSync(directory, { recursive: true });
    write(300);
    writeFileSync(kept, later);
    expect(verified()).toMatchObject({ status: 0 });
    expect(verified(kept)).toMatchObject({ status: 7 });
  });
});
