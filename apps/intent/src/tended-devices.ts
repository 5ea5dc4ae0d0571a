/**
 * Devices that follow the intent: opened over what the process has, told of every revision, closed with it.
 * It must only wire.
 */
import type { PostureBoard } from '@kedge/bus';
import type { AnyDriver } from '@kedge/driver-kit';
import type { Outbox } from '@kedge/ledger-link';
import { readPathAccords } from '@kedge/route-set';
import type { Logger } from '@kedge/runtime';
import type { Clock } from '@kedge/units';
import { join } from 'node:path';

import type { IntentConfig } from './config.js';
import type { DeviceReach } from './device-reach.js';
import type { DeviceViews } from './device-views.js';
import { Devices } from './devices.js';
import type { Intent } from './intent.js';
import { UnderlayAccords } from './underlay-accords.js';

/** The way to devices, and the back ends by which plans for them are made. */
export interface DeviceWays {
  readonly reach: DeviceReach;
  readonly drivers: readonly AnyDriver[];
  close(): void | Promise<void>;
}

/** What devices are opened over; all of it stays its owner's. */
export interface DevicesGround {
  readonly config: IntentConfig;
  readonly intent: Intent;
  readonly board: PostureBoard;
  readonly records: Pick<Outbox, 'append'>;
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Who looks after devices. `close` before the intent. */
export interface TendedDevices {
  readonly views: DeviceViews;
  close(): void | Promise<void>;
}

/**
 * Has devices follow the intent by the given ways, which it closes.
 *
 * @throws system errors where the directory of their memory cannot be made.
 */
export async function tendDevices(
  { config, intent, board, records, bootId, clock, log }: DevicesGround,
  ways: DeviceWays,
): Promise<TendedDevices> {
  const paths = config.accords === undefined ? undefined : join(config.accords.inForce, 'paths');
  const devices = await Devices.open({
    place: { appliance: config.appliance, bootId },
    directory: join(config.state, 'devices'),
    documentBytes: config.documentBytes,
    ...{ reach: ways.reach, drivers: ways.drivers, atOnce: config.devices.atOnce, board, clock, log },
    accords: new UnderlayAccords(
      paths === undefined
        ? undefined
        : readPathAccords({ accords: join(paths, 'accords.json'), zones: join(paths, 'zones.json') }),
    ),
    append: (record) => records.append(record),
  });
  intent.showAlarms(() => devices.alarms);
  devices.begin(intent.datastores);
  intent.onIntended((intended) => {
    if (intended === undefined) devices.withhold();
    else devices.intend(intended.held, intended.by);
  });
  return {
    views: devices,
    close: async () => {
      await devices.close();
      await ways.close();
    },
  };
}
