/**
 * `npm run yang:types`: writes the types of every tree into libs/intent-model.
 * It must not write where nothing changed, nor anything beside the files that it owns.
 */
import { treesOf } from '@kedge/yang-trees';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { schemaOf } from './schema.js';
import { typesOf } from './types.js';

/** The files of libs/intent-model that are written, with what belongs into them, by name. */
export async function typeFiles(yang: string): Promise<ReadonlyMap<string, string>> {
  const schemas = await Promise.all([...treesOf(yang).values()].map((tree) => schemaOf(tree)));
  const { trees, identities } = typesOf(schemas);
  return new Map([
    ...[...trees].map(([name, text]): [string, string] => [`${name}-tree.ts`, text]),
    ['identities.ts', `${identities.trimEnd()}\n`],
  ]);
}

/** Writes what differs; the names of the files that did. */
export async function writeTypes(yang: string, directory: string): Promise<string[]> {
  const changed: string[] = [];
  for (const [name, text] of await typeFiles(yang)) {
    const path = join(directory, name);
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
    writeFileSync(path, text);
    changed.push(name);
  }
  return changed;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = join(import.meta.dirname, '../../..');
  const changed = await writeTypes(join(root, 'yang'), join(root, 'libs/intent-model/src'));
  process.stdout.write(changed.length === 0 ? 'unchanged\n' : `written: ${changed.join(', ')}\n`);
}
