/**
 * The API of the governance bridge in TypeScript. What every field means stands in
 * proto/kedge/governance/v1/governance.proto, which is its documentation; a test holds the two together.
 * It must not add meaning of its own.
 */
import { defineService, type Streaming, type Unary } from './api.js';

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

export interface TrafficReport {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface QueueReport {
  readonly sent: bigint;
  readonly waited: bigint;
  readonly lost: bigint;
  readonly withdrawn: bigint;
  readonly waiting: bigint;
}

export interface PairCountReport {
  readonly fromZone: number;
  readonly toZone: number;
  readonly verdict: string;
  readonly packets: bigint;
}

export interface FlowsReport {
  readonly live: bigint;
  readonly begun: bigint;
  readonly evicted: bigint;
  readonly written: bigint;
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
  readonly applications: Readonly<Record<string, TrafficReport>>;
  readonly queues: Readonly<Record<string, QueueReport>>;
  readonly pairs: readonly PairCountReport[];
  readonly flows: FlowsReport | undefined;
}

export interface DataPlaneReport {
  readonly name: string;
  readonly alive: boolean;
  readonly safeLevel: number;
  readonly workers: readonly WorkerReport[];
  readonly telemetryGaps: bigint;
  readonly flowGaps: bigint;
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

export type WatchFlowsRequest = Record<string, never>;

export interface FlowReport {
  readonly dataplane: string;
  readonly worker: number;
  readonly firstAtNs: bigint;
  readonly lastAtNs: bigint;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly epoch: bigint;
  readonly level: number;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly fromZone: string;
  readonly toZone: string;
  readonly verdict: string;
  readonly reason: string;
  readonly entry: string;
  readonly application: string;
  readonly name: string;
  readonly end: string;
  readonly tcpFlags: number;
  readonly dscp: number;
}

export interface FlowBatch {
  readonly flows: readonly FlowReport[];
  readonly lost: bigint;
}

/** The calls of kedge.governance.v1.Governance. */
export interface GovernanceApi {
  readonly show: Unary<ShowRequest, ShowReply>;
  readonly plan: Unary<PlanRequest, PlanReply>;
  readonly watchFlows: Streaming<WatchFlowsRequest, FlowBatch>;
}

/** kedge.governance.v1.Governance, loaded from its .proto. */
export const governanceService = defineService<GovernanceApi>(
  'kedge/governance/v1/governance.proto',
  'kedge.governance.v1.Governance',
);
