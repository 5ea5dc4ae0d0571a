/**
 * What was seen of an appliance at one moment, as plain data: everything that a diagnosis is made of.
 * It must not judge any of it.
 */
import type {
  BoardSnapshot,
  IntentDeviceMessage,
  IntentStatusReply,
  LedgerStatusReply,
  PostureState,
  ShowReply,
  TransitionReport,
  Violation,
} from '@kedge/bus';

/** Something that was seen, or why it could not be. */
export type Sight<T> =
  | { readonly seen: true; readonly value: T }
  /** `code` is one of docs/errors.md, or the system's (`ENOENT`, `EACCES`). */
  | { readonly seen: false; readonly code: string; readonly message: string };

/** What the decision journal says. */
export interface JournalSight {
  /** Undefined: whole. */
  readonly damage: { readonly offset: number; readonly why: string } | undefined;
  /** The newest decision; undefined = none. */
  readonly last:
    | {
        readonly epoch: bigint;
        readonly from: number;
        readonly to: number;
        readonly completed: boolean;
      }
    | undefined;
  readonly reservedUpTo: bigint;
}

/** Room on the file system that a place is on. */
export interface DiskSight {
  readonly place: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Free for users without privileges. */
  readonly freeBytes: number;
  /** 0 = the file system does not count them. */
  readonly inodes: number;
  readonly freeInodes: number;
}

/** How a process that has deadlines is scheduled. */
export interface SchedulingSight {
  readonly name: string;
  readonly pid: number;
  /** One of its threads runs SCHED_FIFO or SCHED_RR. */
  readonly realtime: boolean;
}

/** See the head of the file. */
export interface Examination {
  /** Milliseconds since 1970. */
  readonly atWallMs: number;
  /** For people. */
  readonly target: string;
  readonly coordinator: Sight<PostureState>;
  readonly history: Sight<readonly TransitionReport[]>;
  readonly bridge: Sight<ShowReply>;
  readonly ledger: Sight<LedgerStatusReply>;
  /** The intent, and its devices; undefined where the appliance has none. */
  readonly intent:
    | { readonly status: Sight<IntentStatusReply>; readonly devices: Sight<readonly IntentDeviceMessage[]> }
    | undefined;
  /** What other services say of their health, by the name of their socket. */
  readonly others: readonly { readonly name: string; readonly health: Sight<string> }[];
  readonly board: Sight<BoardSnapshot>;
  /** Files of the board directory that nobody named in the configuration. */
  readonly foreign: readonly string[];
  /** Events of the warden that are still kept, oldest first. */
  readonly violations: readonly Violation[];
  readonly journal: Sight<JournalSight>;
  /** What is wrong with accords and zones as they stand in their files; empty = valid. */
  readonly accords: Sight<readonly string[]>;
  readonly disks: readonly DiskSight[];
  readonly scheduling: readonly SchedulingSight[];
}
