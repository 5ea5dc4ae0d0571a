/**
 * Reads a configuration of 100 interfaces and disposes of it, again and again, and prints what share of the resident
 * memory before is resident afterwards: `node --expose-gc yang-memory.js ROUNDS`. Must not do anything else.
 */
import { documentOf, load } from './yang-material.js';

const WARM_ROUNDS = 100;

const context = load();
const document = documentOf(100);

async function rounds(count: number): Promise<number> {
  for (let i = 0; i < count; i += 1) {
    const tree = await context.parseConfiguration(document);
    tree.dispose();
  }
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

const before = await rounds(WARM_ROUNDS);
const after = await rounds(Number(process.argv[2]));
context.dispose();
process.stdout.write(String(after / before));
