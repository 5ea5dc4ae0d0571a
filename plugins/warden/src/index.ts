/**
 * The front door of the warden for TypeScript: where its binary is, how its configuration is written, and
 * what its events are called.
 * It must not start the warden, nor read its segment.
 */
export { WARDEN_BINARY } from './binary.js';
export {
  wardenConfigText,
  type WardenConfig,
  type WardenOneshot,
  type WardenService,
  type WardenWatch,
} from './config-text.js';
export { violationKindOf, VIOLATION_KIND_NAMES, type ViolationKind } from './violation.js';
