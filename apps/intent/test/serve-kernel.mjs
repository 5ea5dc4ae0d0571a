/**
 * The process of the intent with one device, the network namespace that KEDGE_TEST_NETNS names.
 * It must not hold anything of the service itself.
 */
import { runIntent } from '../dist/intent-process.js';
import { tendDevices } from '../dist/tended-devices.js';
import { ANYTHING, kernelWays } from './kernel-ways.mjs';

await runIntent(
  () => ANYTHING,
  (ground) => tendDevices(ground, kernelWays(process.env.KEDGE_TEST_NETNS)),
);
