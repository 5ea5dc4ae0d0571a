/**
 * Plans as data, the desired set that they lead to, the loop that applies them and the gate before every write.
 * It must stay pure; whoever applies a plan, keeps a file or reads a clock lives elsewhere.
 */
export {
  allowedAt,
  type Allows,
  canonicalText,
  type DesiredCodec,
  desiredCodec,
  type DesiredKind,
  type DesiredSet,
  desiredSet,
  emptyDesiredSet,
  sameValue,
  type Sha256,
} from './desired-set.js';
export {
  type Edit,
  editedSet,
  type EscalationSnapshot,
  isFirstEscalation,
  preEscalationSnapshot,
  type Restoration,
  restorationAt,
  worldReport,
  type WorldReport,
} from './escalation.js';
export {
  backoffNs,
  type LastRun,
  LOOP_REASONS,
  type LoopEffect,
  type LoopEvent,
  loopOf,
  type LoopReason,
  type LoopSettings,
  type LoopState,
  type LoopStatus,
  type LoopStep,
  type RunOutcome,
  step as loopStep,
} from './loop.js';
export {
  DEFAULT_GATE_RULES,
  GATE_MODES,
  type GateMode,
  type GateRule,
  type GateView,
  PostureGate,
  type PostureGateOptions,
  type Proposal,
} from './mutation-gate.js';
export { checkPlan, inverseOf } from './plan.js';
export { failureOf, Reconciliation, type ReconciliationOptions, type Timers } from './reconciliation.js';
