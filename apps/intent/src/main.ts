/**
 * The process of the intent with the project's modules and drivers, and the underlay as its way to devices.
 * It must only start it.
 */
import { DRIVERS } from '@kedge/drivers';
import { openIntentSchema } from '@kedge/intent-schema';

import { runIntent } from './intent-process.js';
import { tendDevices } from './tended-devices.js';
import { UnderlayReach } from './underlay-reach.js';

await runIntent(
  ({ modules: directory }) => openIntentSchema(directory === undefined ? {} : { directory }),
  (ground) => {
    const { socket } = ground.config.devices;
    if (socket === undefined) return undefined;
    const reach = new UnderlayReach(socket);
    return tendDevices(ground, { reach, drivers: DRIVERS, close: () => reach.close() });
  },
);
