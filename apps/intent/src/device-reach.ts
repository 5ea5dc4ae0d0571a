/**
 * The way from the intent to devices: the underlay reads them and carries plans out, under the one gate.
 * It must not decide what is written, nor keep anything of a device.
 */
import type { Plan } from '@kedge/contracts';
import type { Holder } from '@kedge/datastores';
import type { CarriedOut } from '@kedge/driver-host';
import type { InventoryDevice, Reading } from '@kedge/driver-kit';

/** A plan that is to be carried out on one device, for somebody. */
export interface DeviceWork {
  /** Unique on this appliance, 8 to 64 characters of A-Z a-z 0-9 . _ -; the same id again is the same mutation. */
  readonly id: string;
  readonly device: InventoryDevice;
  readonly plan: Plan;
  /** For whom: whoever committed, or asked for the remedy; a remedy by itself is for the accord that says so. */
  readonly by: Holder;
}

/** Reads devices and writes to them. One thing at a time for each device; any number of devices. */
export interface DeviceReach {
  /**
   * Reads a device.
   *
   * @throws KedgeError what its driver and the way to it have to say; `BUS_…` where the underlay does not answer.
   */
  read(device: InventoryDevice, signal: AbortSignal): Promise<Reading>;
  /**
   * Carries a plan out, records what was done before it returns (UN-13). A plan whose base no longer holds is carried
   * out as `failed` with `DRIVER_STALE`, and has changed nothing.
   *
   * @throws KedgeError `GATE_…` and `UNDERLAY_…` where it was not let through: nothing was written. `BUS_…` where the
   *   answer did not come: it may have been carried out or not, and only reading tells.
   */
  carryOut(work: DeviceWork, signal: AbortSignal): Promise<CarriedOut>;
}
