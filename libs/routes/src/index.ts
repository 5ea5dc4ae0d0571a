/**
 * Kedge's routes in the kernel (OV-13 to OV-15): which of them a level leaves, the plan from what was read to that,
 * and iproute2 that carries it out.
 * It must not decide about levels, keep the desired set, or touch a route or rule of another protocol.
 */
export { CUT_BINARY, failClosedCommand } from './fail-closed.js';
export { endFlows, type FlowsEnded, type FlowsOfKind } from './flows.js';
export { applyPlan, type CarriedOut, carryOut, readRoutes } from './ip.js';
export { batchLines, isProtected, planOf, worldDifferences } from './route-plan.js';
export {
  DEFAULT_METRIC,
  routeKey,
  routesAllowed,
  type RouteSpec,
  routeSpecFault,
  routeSpecOf,
} from './route-spec.js';
export {
  desiredRoutes,
  GUARD_TABLE,
  type KernelEntry,
  ROUTE_PROTOCOL,
  type RouteWorld,
  RULE_PREFERENCES,
} from './route-world.js';
export { namespaceArguments, runTool, type ToolOptions, type ToolRun } from './tool.js';
