/**
 * Prints where the headers of the running Node are: beside it, where its package left them out from npm, kept for
 * the next time. `node node-headers.mjs DIRECTORY`, the place to keep them.
 * Must not print headers of another version: an addon made with them would not load.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** True where the headers of this very version are. */
export function holdsHeaders(directory, version = process.versions.node) {
  const file = join(directory, 'node_version.h');
  if (!existsSync(file) || !existsSync(join(directory, 'node.h'))) return false;
  const text = readFileSync(file, 'utf8');
  const part = (name) => new RegExp(`^#define NODE_${name}_VERSION (\\d+)$`, 'm').exec(text)?.[1];
  return [part('MAJOR'), part('MINOR'), part('PATCH')].join('.') === version;
}

/** Node's own package for this machine holds its headers too; npm checks what it gives. */
export function fetchHeaders(kept, version = process.versions.node) {
  mkdirSync(dirname(kept), { recursive: true });
  const scratch = mkdtempSync(`${kept}-`);
  try {
    const name = `node-${process.platform}-${process.arch}@${version}`;
    const options = { cwd: scratch, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] };
    const archive = execFileSync('npm', ['pack', '--silent', name], options).trim();
    execFileSync('tar', ['-xzf', archive, 'package/include/node'], options);
    rmSync(kept, { recursive: true, force: true });
    renameSync(join(scratch, 'package/include/node'), kept);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const beside = join(dirname(dirname(realpathSync(process.execPath))), 'include/node');
  const kept = resolve(process.argv[2] ?? 'build', `node-headers-${process.versions.node}`);
  if (!holdsHeaders(beside) && !holdsHeaders(kept)) fetchHeaders(kept);
  const found = [beside, kept].find((directory) => holdsHeaders(directory));
  if (found === undefined) throw new Error(`no headers of Node ${process.versions.node} were found`);
  process.stdout.write(`${found}\n`);
}
