/**
 * Whether the bundles of the services are there and made of what stands in the tree now.
 * It must not make them: `npm run bundle` does, and a lab that started something older would only mislead.
 */
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { PROGRAMS, ROOT } from './paths.js';

/** What firmware/bundler writes beside a bundle. */
interface MadeOf {
  /** Relative to the root of the tree. */
  readonly inputs: readonly string[];
  /** SHA-256 over names and contents of these. */
  readonly own: string;
}

/** True when a bundle (its main.js) is made of what stands in the tree now. */
export function isFresh(main: string): boolean {
  try {
    const { inputs, own } = JSON.parse(readFileSync(join(dirname(main), 'made-of.json'), 'utf8')) as MadeOf;
    const hash = createHash('sha256');
    for (const path of inputs) hash.update(`\0${path}\0`).update(readFileSync(join(ROOT, path)));
    return hash.digest('hex') === own;
  } catch {
    return false;
  }
}

/**
 * The main.js of a service as it is shipped, for a test that starts it: the same code as its dist, started in half the
 * time.
 *
 * @throws KedgeError `LAB_INCOMPLETE` where it is not there, or not made of what stands in the tree.
 */
export function bundledService(name: string): string {
  const main = join(ROOT, `apps/${name}/bundle/main.js`);
  if (isFresh(main)) return main;
  throw new KedgeError({
    code: 'LAB_INCOMPLETE',
    message: `cannot start ${name}: ${main} is not made of what stands here now`,
    help: 'npm run bundle',
  });
}

/**
 * Refuses bundles that are not made of what stands in the tree. Those that are missing are not looked at.
 *
 * @throws KedgeError `LAB_INCOMPLETE`
 */
export function requireFreshBundles(): void {
  const old = Object.values(PROGRAMS).filter(
    (path) => path.endsWith('/bundle/main.js') && existsSync(path) && !isFresh(path),
  );
  if (old.length === 0) return;
  throw new KedgeError({
    code: 'LAB_INCOMPLETE',
    message: `the lab cannot start, ${old.length} of its services are bundled from something else than what stands here now: ${old.join(', ')}`,
    help: 'npm run bundle',
  });
}
