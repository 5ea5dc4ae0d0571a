/**
 * The API of the governance bridge in TypeScript. What every field means stands in
 * proto/kedge/governance/v1/governance.proto, which is its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Unary } from './api.js';

export type ShowRequest = Record<string, never>;

export interface ZoneReport {
  readonly id: number;
  readonly name: string;
}

export interface LevelTableReport {
  readonly level: number;
  readonly valid: boolean;
  readonly entries: number;
  readonly shapesIp4: number;
  readonly shapesIp6: number;
  readonly classify: boolean;
}

export interface WorkerReport {
  readonly index: number;
  readonly epoch: bigint;
  readonly level: number;
  readonly generation: bigint;
  readonly received: bigint;
  readonly sent: bigint;
  readonly dropped: bigint;
  readonly deprioritised: bigint;
  readonly reasons: Readonly<Record<string, bigint>>;
}

export interface DataPlaneReport {
  readonly name: string;
  readonly alive: boolean;
  readonly safeLevel: number;
  readonly workers: readonly WorkerReport[];
  readonly telemetryGaps: bigint;
}

export interface ShowReply {
  readonly generation: bigint;
  readonly builtAtNs: bigint;
  readonly accordsHash: Uint8Array;
  readonly levels: readonly LevelTableReport[];
  readonly dataplanes: readonly DataPlaneReport[];
  readonly zones: readonly ZoneReport[];
  readonly waiting: string;
  readonly alarms: readonly string[];
}

export interface PlanRequest {
  readonly level: number;
  readonly windowS: number;
}

export interface PlanRow {
  readonly fromZone: string;
  readonly toZone: string;
  readonly entry: string;
  readonly verdictNow: string;
  readonly verdictThen: string;
  readonly effect: string;
  readonly packets: bigint;
}

export interface PlanReply {
  readonly from: number;
  readonly to: number;
  readonly windowS: number;
  readonly rows: readonly PlanRow[];
}

/** The calls of kedge.governance.v1.Governance. */
export interface GovernanceApi {
  readonly show: Unary<ShowRequest, ShowReply>;
  readonly plan: Unary<PlanRequest, PlanReply>;
}

/** kedge.governance.v1.Governance, loaded from its .proto. */
export const governanceService = defineService<GovernanceApi>(
  'kedge/governance/v1/governance.proto',
  'kedge.governance.v1.Governance',
);
