/**
 * Proves that libs/libyang-ts does the same on libyang 3: its own tests on a fresh Debian 13, sanitizers included.
 * `npm run test:libyang3 [-- --keep]`, as root; it tests what is committed. Must not leave a mount, a process or a file
 * behind (but for --keep).
 */
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { bootstrap, EXIT, followed, inChroot, inNamespaces, mountAll, roomFor, step, Stop } from './root.mjs';

const SUITE = 'trixie';
const PACKAGES = ['libyang-dev', 'libpcre2-dev', 'libyuma-base', 'g++', 'make', 'ca-certificates'];
const BOUND_MS = 15 * 60_000;
/** What is done in the clone, and what its output has to show. */
const STEPS = [
  ['npm packages', 'npm ci --ignore-scripts --no-audit --no-fund --loglevel=error', undefined],
  ['the addon', 'make -s -j2 -C libs/libyang-ts', undefined],
  ['what the helper of sanitized tests comes with', 'make -s -C libs/shared-memory-ipc', undefined],
  ['TypeScript', 'npx tsc -b libs/libyang-ts', undefined],
  [
    'which libyang',
    `node --input-type=module -e "import { libyang } from '@kedge/libyang-ts'; console.log(JSON.stringify(libyang))"`,
    /"interface":"[3-9]\.[^"]*","everyError":true/,
  ],
  ['tests', 'npx vitest run libs/libyang-ts', /Tests\s+\d+ passed \(\d+\)/],
];

async function inside(root) {
  mountAll(root);
  for (const [name, command, shows] of STEPS) {
    await step(name, async () => {
      const { status, signal, text } = await followed(inChroot(root, command), BOUND_MS);
      if (status !== 0) throw new Stop(`${name} ended with ${signal ?? status}`);
      // eslint-disable-next-line no-control-regex -- the colours of the terminal
      if (shows !== undefined && !shows.test(text.replace(/\u001b\[\d+m/g, '')))
        throw new Stop(`${name} did not show ${String(shows)}`);
    });
  }
}

async function outside(keep) {
  const root = await roomFor(SUITE);
  try {
    await step(`a ${SUITE} with libyang and Node ${process.versions.node}`, () =>
      bootstrap(root, SUITE, PACKAGES),
    );
    await inNamespaces(fileURLToPath(import.meta.url), ['--inside', root], SUITE);
    console.log('libyang 3: ok');
  } finally {
    if (keep) console.log(`kept: ${root}`);
    else rmSync(root, { recursive: true, force: true, maxRetries: 5 });
  }
}

try {
  const [flag, root, ...rest] = process.argv.slice(2);
  if (flag === '--inside' && root !== undefined && rest.length === 0) await inside(root);
  else if (flag === undefined || (flag === '--keep' && root === undefined)) await outside(flag === '--keep');
  else throw new Stop('usage: libyang3.mjs [--keep]', EXIT.usage);
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  console.error(`libyang3: ${error.message}`);
  process.exitCode = error.code;
}
