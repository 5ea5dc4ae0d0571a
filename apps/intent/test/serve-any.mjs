/**
 * The process of the intent with a schema that accepts every document: what accords are the coordinator judges.
 * It must not hold anything of the service itself.
 */
import { runIntent } from '../dist/intent-process.js';

await runIntent(() => ({
  modules: '0'.repeat(64),
  validate: () => Promise.resolve({ findings: [], complete: true }),
  diff: () => Promise.resolve([]),
}));
