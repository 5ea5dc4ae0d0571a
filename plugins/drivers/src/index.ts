/**
 * The device back ends that come with Kedge.
 * It must not reach a device: whoever hosts a driver owns processes, sockets, clocks and order.
 */
import { linuxDriver } from './linux/driver.js';

export { linuxDriver } from './linux/driver.js';

/** All of them. */
export const DRIVERS = [linuxDriver] as const;
