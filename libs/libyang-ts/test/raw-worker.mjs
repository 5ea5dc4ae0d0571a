/**
 * A worker thread that uses the addon without the package around it, as the test names it: so that the same file runs
 * on the plain and on the sanitized one. Must not tidy up where the test wants to see that nothing needs it.
 */
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

const { addon: path, document, module, mode } = workerData;
const addon = createRequire(import.meta.url)(path);

const context = addon.newContext([], 0);
addon.parseModule(context, module, false, undefined);
const parse = () => addon.parse(context, document, 0, 0, 0, 128);
const first = await parse();
const second = await parse();
const diff = await addon.diff(first, second);
const printed = await addon.print(first, 0, false, 0, false);
parentPort.postMessage({ printed });

if (mode === 'tidy') {
  for (const each of [first, second, diff]) addon.closeTree(each);
  addon.closeContext(context);
  parentPort.close();
} else {
  // Ended from outside while jobs run and everything is open; the context is closed before its trees.
  addon.closeContext(context);
  const other = addon.newContext([], 0);
  addon.parseModule(other, module, false, undefined);
  for (;;) {
    const trees = await Promise.all([0, 1, 2, 3].map(() => addon.parse(other, document, 0, 0, 0, 128)));
    addon.closeTree(trees[0]);
    await addon.diff(trees[1], trees[2]);
  }
}
