/**
 * The process of the intent with the small strict schema.
 * It must not hold anything of the service itself.
 */
import { runIntent } from '../dist/intent-process.js';
import { StrictSchema } from './strict-schema.mjs';

await runIntent(() => new StrictSchema());
