/**
 * Writes the hash of a plugin's content into its manifest: `node libs/plugin-host/dist/seal.js FOLDER…`.
 * It must not change anything else of a plugin.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { contentHashOf } from './content.js';

for (const folder of process.argv.slice(2).map((path) => resolve(path))) {
  const path = join(folder, 'plugin.json');
  const hash = contentHashOf(folder);
  const manifest = readFileSync(path, 'utf8');
  writeFileSync(path, manifest.replace(/("contentHash"\s*:\s*")[^"]*(")/, `$1${hash}$2`));
  process.stdout.write(`${hash}  ${folder}\n`);
}
