/**
 * The key that signs the ledger's checkpoints, in a file that only this service may read.
 * It must never replace a key: a ledger that changes its key is another ledger for everybody who checks it.
 */
import { isMissing, makeDirectory, replaceFile } from '@kedge/durable-files';
import { KedgeError } from '@kedge/units';
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * The Ed25519 key in the file; made durable there first where there is none.
 *
 * @throws KedgeError `LEDGER_KEY_FILE`
 */
export async function signingKey(path: string): Promise<{ readonly key: KeyObject; readonly made: boolean }> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    if (isMissing(cause)) return { key: await makeKey(path), made: true };
    throw wrong(path, 'it cannot be opened', 'a file of this service', cause);
  }
  try {
    const { mode, uid } = await file.stat();
    if ((mode & 0o077) !== 0 || uid !== process.getuid?.())
      throw wrong(
        path,
        'others may read it, or it belongs to another user',
        'this user as its owner, and mode 0600',
      );
    const key = createPrivateKey(await file.readFile('utf8'));
    if (key.asymmetricKeyType !== 'ed25519') throw wrong(path, 'it holds a key of another kind', 'Ed25519');
    return { key, made: false };
  } catch (error) {
    if (error instanceof KedgeError) throw error;
    throw wrong(path, 'it holds no key', 'a private key as PKCS #8 PEM', error);
  } finally {
    await file.close();
  }
}

/** Half a key never stands at its name. */
async function makeKey(path: string): Promise<KeyObject> {
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    await makeDirectory(dirname(path));
    await replaceFile(path, privateKey.export({ format: 'pem', type: 'pkcs8' }));
  } catch (cause) {
    throw wrong(path, 'it cannot be made', 'a directory that this service may write to', cause);
  }
  return privateKey;
}

function wrong(path: string, why: string, expected: string, cause?: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_KEY_FILE',
    message: `cannot use the key in ${path}: ${why}`,
    expected,
    help: 'put the true key back; a ledger that signs with another one is another ledger',
    ...(cause === undefined ? {} : { cause }),
  });
}
