/**
 * What a posture transition is: the pure state machine, the accords, the zones and the journal format.
 * It must not touch the outside world: clocks, files and memory are somebody else's.
 */
export * from './journal-record.js';
export {
  type AccordSet,
  type Accords,
  type Authority,
  authorityOf,
  compileAccords,
  type CompiledAccords,
  type EntryLabel,
  type EntrySpec,
  findLoosenings,
  isLooserVerdict,
  type LevelAccord,
  type LevelAuthority,
  type LevelSpec,
  parseAccords,
  TABLE_LIMITS,
  validateAccords,
  type Verdict,
  VERDICTS,
} from './accords.js';
export { type AccordsChange, accordsChange, accordsIdentity } from './accords-change.js';
export {
  allowsRoute,
  DRIFT_INTERVAL_S,
  type DriftAccord,
  type DriftSeverity,
  EXEMPT_PROTOCOLS,
  type ExemptProtocol,
  GATE_ANSWERS,
  GATE_MODES,
  type GateAnswer,
  gateAnswer,
  type GateMode,
  isTrustedAs,
  NOTHING_ALLOWED,
  type OverlayAccord,
  type PathsAccord,
  type Remediation,
  remediationOf,
  REMEDIATIONS,
  ROUTE_MODES,
  ROUTE_PURPOSES,
  type RouteMode,
  type RoutePurpose,
  type RouteScope,
  type UnderlayAccord,
} from './accords-paths.js';
export { type AllowlistEntry, type Fault, type Protocol, PROTOCOLS, type Zone, type Zones } from './zones.js';
export { FAMILIES, type Family, type Prefix, prefixOf } from './zones-prefix.js';
export * from './recovery.js';
export * from './transition-machine.js';
export * from './transition-state.js';
