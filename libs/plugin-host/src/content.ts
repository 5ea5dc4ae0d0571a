/**
 * The hash of a plugin's folder: every file in it but the manifest.
 * It must not follow links, nor take more than a plugin can have.
 */
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const FILES_MAX = 1_000;
const BYTES_MAX = 32 * 1024 * 1024;

/**
 * SHA-256 over one line for each file, in the order of their paths' bytes: path, a NUL, the SHA-256 of its content in
 * hexadecimal, a line feed. Lower-case hexadecimal.
 *
 * @throws KedgeError `PLUGIN_CONTENT` for links and other things that are no files, and for too much of it.
 */
export function contentHashOf(folder: string): string {
  const refused = (what: string): never => {
    throw new KedgeError({
      code: 'PLUGIN_CONTENT',
      message: `cannot take the plugin in ${folder}: ${what}`,
      expected: `at most ${FILES_MAX} regular files and ${BYTES_MAX} bytes`,
    });
  };
  const files: string[] = [];
  const walk = (under: string): void => {
    for (const entry of readdirSync(join(folder, under), { withFileTypes: true })) {
      const path = under === '' ? entry.name : `${under}/${entry.name}`;
      if (entry.isDirectory()) walk(path);
      else if (!entry.isFile()) refused(`${path} is no regular file`);
      else if (path !== 'plugin.json') files.push(path);
      if (files.length > FILES_MAX) refused('it has too many files');
    }
  };
  walk('');
  const hash = createHash('sha256');
  let bytes = 0;
  for (const path of files.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
    bytes += statSync(join(folder, path)).size;
    if (bytes > BYTES_MAX) refused('it is too large');
    const content = createHash('sha256')
      .update(readFileSync(join(folder, path)))
      .digest('hex');
    hash.update(`${path}\0${content}\n`);
  }
  return hash.digest('hex');
}
