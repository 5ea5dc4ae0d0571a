/**
 * The way to each device: its driver, what carries questions and commands there, and the place where one thing is done at
 * a time.
 * It must not decide what is asked or written.
 */
import {
  type Carrier,
  carryOut,
  type CarriedOut,
  type CarryOptions,
  readDevice,
  toolCarrier,
  type ToolCarrierOptions,
} from '@kedge/driver-host';
import {
  type Driver,
  driverFor,
  type DriverRefusal,
  type InventoryDevice,
  type Reading,
} from '@kedge/driver-kit';
import { DRIVERS } from '@kedge/drivers';
import type { Plan } from '@kedge/contracts';
import type { Sha256 } from '@kedge/reconcile';

import type { Fence } from './fence.js';

/** The way to one device. */
export interface Way {
  /** What is written to in the end: two devices of the inventory with one place are one device. */
  readonly place: string;
  /** @throws KedgeError as `readDevice` */
  read(signal: AbortSignal): Promise<Reading>;
  /** Carries a plan out, inside the fence. Does not throw. */
  carryOut(plan: Plan, fence: Fence, options: CarryOptions): Promise<CarriedOut>;
}

/** Finds the way to a device, or says why there is none. */
export type WayTo = (device: InventoryDevice) => Way | DriverRefusal;

/**
 * The ways of an appliance. A device with `local` management is the host that this process runs on: its tools run in the
 * network namespace of this process.
 *
 * @param toolsFor how the tools of a device are run otherwise
 */
export function waysOf(
  sha256: Sha256,
  toolsFor: (device: InventoryDevice) => ToolCarrierOptions = () => ({}),
): WayTo {
  return (device) => {
    const driver = driverFor(DRIVERS, device);
    if ('code' in driver) return driver;
    const tools = toolsFor(device);
    return wayOver(`local/${tools.netns ?? ''}`, driver, toolCarrier(tools), device, sha256);
  };
}

function wayOver<Question, Answer, Command>(
  place: string,
  driver: Driver<Question, Answer, Command>,
  carrier: Carrier<Question, Answer, Command>,
  device: InventoryDevice,
  sha256: Sha256,
): Way {
  return {
    place,
    read: (signal) => readDevice({ driver, carrier, device, sha256 }, signal),
    carryOut: (plan, fence, options) =>
      carryOut({ driver, carrier: fence.around(carrier), device, sha256 }, plan, options),
  };
}
