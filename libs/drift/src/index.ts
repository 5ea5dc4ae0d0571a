/**
 * Drift as a pure function over what the planner compares (UN-6, UN-7).
 * It must not read a device or a clock, nor remedy anything.
 */
export {
  type Cause,
  type DeviceEvent,
  type Drift,
  driftData,
  driftIntervalMs,
  type DriftKnowledge,
  driftOf,
  type DriftPolicy,
  remedied,
  type Remediation,
  type Severity,
  severityOf,
} from './drift.js';
export { isAtOrBelow, isNodePath } from './node-path.js';
