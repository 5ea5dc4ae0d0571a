/**
 * The front door of the data plane's governance core.
 * It must not hold code of its own.
 */
export {
  APPLICATIONS,
  buildLevelTable,
  classifyFrame,
  classifyKey,
  compileLevelTable,
  levelTableHolds,
  markedLe,
  PACKET_KINDS,
  parseFrame,
  QUEUES,
  REASONS,
  sizes,
  stampLevelTable,
  VERDICTS,
} from './governance.js';
export type {
  Application,
  BuildReport,
  EntrySpec,
  FlowKey,
  GovernanceSizes,
  Judgement,
  LevelFlags,
  LevelSpec,
  ParsedFrame,
  Reason,
  Verdict,
} from './governance.js';
export type { Family } from './address.js';
export { forwarderPath } from './forwarder.js';
