/**
 * The front door of the fault layer: faults by rule, and the storage that a power cut would leave.
 * It must know nothing of what is tested with it.
 */
export {
  FAULT_LIBRARY,
  type FaultEnvironment,
  FaultLayer,
  type FaultRule,
  type Op,
  type Struck,
} from './layer.js';
export { parseLog, type StorageCall } from './log.js';
export { type Cut, CUTS, Disk, type DiskState, seeded, writeDisk } from './power-cut.js';
