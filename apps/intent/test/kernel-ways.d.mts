/** Types of kernel-ways.mjs. Must not say more than it does. */
import type { IntentSchema } from '@kedge/datastores';

import type { DeviceWork } from '../src/device-reach.js';
import type { DeviceWays } from '../src/intent-process.js';

export interface Hooks {
  readonly before?: (work: DeviceWork, signal: AbortSignal) => Promise<void>;
  readonly write?: (
    commands: readonly unknown[],
    write: (some: readonly unknown[]) => Promise<{ done: number | undefined }>,
  ) => Promise<{ done: number | undefined; failure?: { code: string; message: string } }>;
}

export const ANYTHING: IntentSchema;
export function kernelWays(netns: string, hooks?: Hooks): DeviceWays;
