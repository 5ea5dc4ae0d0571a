/**
 * The front door of the lab: one appliance on this machine, and the drills on it.
 * It must not be used by anything that is shipped, except by the command that starts it.
 */
export {
  armStrike,
  type ArmedStrike,
  BoardTrace,
  type BoardState,
  type Step,
  type Strike,
  type Struck,
} from './board-watch.js';
export { bundledService } from './bundles.js';
export { certificatesIn } from './certificates.js';
export {
  aimAt,
  CHAOS_ACTS,
  type ChaosAct,
  chaosDrill,
  type ChaosOptions,
  type ChaosReport,
  type ChaosViolation,
  converge,
  describe,
  type Stage,
  STEPS,
  STRUCK_SERVICES,
} from './chaos.js';
export { forwarderCommand, serviceFiles, wardenFile } from './config.js';
export {
  drill,
  DRILL_RATES,
  type DrillGate,
  type DrillOptions,
  type DrillPath,
  type DrillReport,
  type DrillReturn,
  type DrillRoutes,
  type DrillStep,
  type DrillTraffic,
  FULL_COURSE,
  graceNs,
  leakViolations,
  nowNs,
  underLoad,
  type Violation,
  type ViolationKind,
} from './drill.js';
export { storeDrillReport } from './drill-store.js';
export { EXPECTED, GATE_EXPECTED, PROHIBITED_AT, ROUTES_EXPECTED, type Treatment } from './expectations.js';
export { type Allowance, allowances, type ClosedSpan, closedSpans } from './judge.js';
export {
  allRoutesAt,
  expectedRoutes,
  type KernelRoutes,
  kernelRoutes,
  reachability,
  type Reachability,
  routesAt,
  routesFingerprint,
  type RoutesFound,
  type Wanted,
} from './kernel-routes.js';
export {
  connectLab,
  type Lab,
  LAB_SERVICES,
  labDown,
  labIsUp,
  labPlace,
  type LabService,
  labStatus,
  type LabStatus,
  labUp,
  type LabUpOptions,
} from './lab.js';
export { PROGRAMS, QUARTERMASTER_FLAGS } from './paths.js';
export { processesWith, type SeenProcess, startTimeOf } from './processes.js';
export {
  foreignRoutes,
  KEDGE_PROTOCOLS,
  type LabRoute,
  linksOf,
  ROUTE_MODES,
  ROUTE_NAMESPACES,
  type RouteMode,
  type RoutePurpose,
  type RouteTier,
  seedRoutes,
} from './route-topology.js';
export { type SanitizedTests, sanitizedTests } from './sanitized.js';
export { addRoutes, wantedRoutes } from './seed.js';
export {
  DEFAULT_NAME,
  FULL_BUDGETS,
  GENTLE_RATE,
  type LabBudgets,
  labSettings,
  type LabSettings,
  PATIENT_BUDGETS,
  SHORT_BUDGETS,
} from './settings.js';
export * from './topology.js';
export { type CountReport, type EndReport, type ForbiddenReport, Traffic } from './traffic.js';
