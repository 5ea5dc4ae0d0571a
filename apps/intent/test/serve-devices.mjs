/**
 * The process of the intent with the small strict schema, and with the devices of a file.
 * It must not hold anything of the service itself.
 */
import { runIntent } from '../dist/intent-process.js';
import { DeviceShelf } from './device-shelf.mjs';
import { StrictSchema } from './strict-schema.mjs';

await runIntent(
  () => new StrictSchema(),
  () => ({ views: new DeviceShelf(process.env.KEDGE_TEST_DEVICES), close: () => undefined }),
);
