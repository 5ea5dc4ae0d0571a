/**
 * The desired set of Kedge's routes of one mode: its form, its edits, what a level leaves of it, and its part in
 * transitions.
 * It must not serve requests and must not know which service hosts it.
 */
export { hostRoutes, type RouteHostOptions, type RouteStatus, settledWithin, statusOf } from './hosted.js';
export { readPathAccords, type PathAccords } from './path-accords.js';
export { routeReadings, type RoutesToRead } from './readings.js';
export { participantSpans } from './spans.js';
export {
  changeOf,
  MAX_ADDED,
  MAX_CHANGED,
  MAX_REMOVED,
  principalOf,
  type RouteChange,
  routeKind,
  routeMessageOf,
} from './route-change.js';
export {
  type ChangeFacts,
  type RefusedRequest,
  RouteRecords,
  type RouteRecordsOptions,
  type TakenSection,
} from './route-records.js';
export { MAX_ROUTES, type RouteEdit, RouteSet, type RouteSetOptions } from './route-set.js';
