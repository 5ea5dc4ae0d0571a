/**
 * The key of a witness in a file of its own: a name, and an Ed25519 key as PKCS #8.
 * It must not print, send or replace a private key.
 */
import { type NoteSigner, signerOf } from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const HEAD = 'kedge witness key 1';
const MAX_BYTES = 4_096;

/**
 * Makes a key and keeps it in a new file, mode 0600.
 *
 * @throws KedgeError `LEDGER_KEY_NAME`, `WITNESS_KEY_EXISTS`, `WITNESS_KEY_UNWRITABLE`
 */
export function createWitnessKey(path: string, name: string): NoteSigner {
  const { privateKey } = generateKeyPairSync('ed25519');
  const signer = signerOf(name, privateKey, 'witness');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  try {
    const file = openSync(path, 'wx', 0o600);
    try {
      writeFileSync(file, `${HEAD}\n${name}\n${pem}`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    const directory = openSync(dirname(path), 'r');
    fsyncSync(directory);
    closeSync(directory);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new KedgeError({
        code: 'WITNESS_KEY_EXISTS',
        message: `cannot make the key ${path}: there is a file already`,
        expected: 'a name that is free; a key is never replaced',
      });
    }
    throw new KedgeError({ code: 'WITNESS_KEY_UNWRITABLE', message: `cannot write the key ${path}`, cause });
  }
  return signer;
}

/**
 * The key in a file that nobody but its owner can read.
 *
 * @throws KedgeError `WITNESS_KEY_UNREADABLE`, `WITNESS_KEY_OPEN` (others may read it), `WITNESS_KEY_INVALID`
 */
export function readWitnessKey(path: string): NoteSigner {
  let text: string;
  try {
    const file = openSync(path, 'r');
    try {
      const { mode, size } = fstatSync(file);
      if ((mode & 0o077) !== 0) {
        throw new KedgeError({
          code: 'WITNESS_KEY_OPEN',
          message: `cannot use the key ${path}: others than its owner may read or write it`,
          expected: 'mode 0600',
        });
      }
      text = size > MAX_BYTES ? '' : readFileSync(file, 'utf8');
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    if (cause instanceof KedgeError) throw cause;
    throw new KedgeError({ code: 'WITNESS_KEY_UNREADABLE', message: `cannot read the key ${path}`, cause });
  }
  const [, name, pem] =
    /^kedge witness key 1\n([^\n]+)\n(-----BEGIN PRIVATE KEY-----\n[^]+)$/.exec(text) ?? [];
  try {
    if (name === undefined || pem === undefined) throw new RangeError('no name and key');
    return signerOf(name, createPrivateKey(pem), 'witness');
  } catch (cause) {
    throw new KedgeError({
      code: 'WITNESS_KEY_INVALID',
      message: `cannot use the file ${path} as the key of a witness`,
      expected: 'a file that "kedge witness key" has made',
      cause,
    });
  }
}
