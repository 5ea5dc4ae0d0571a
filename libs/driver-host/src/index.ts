/**
 * Runs drivers on devices: the one place that owns processes, order and rollback while a driver stays data.
 * It must not compile intent, nor decide whether a plan may run.
 */
export { type Carrier, type Written } from './carrier.js';
export { type CarriedOut, type CarryOptions, carryOut, readDevice, type Target } from './carry-out.js';
export { runsOf, type RunTool, toolCarrier, type ToolCarrierOptions } from './tool-carrier.js';
