/**
 * The governance core's addon, loaded once, with the types of what it exports.
 * It must not check arguments: that is done with sentences before a call gets here.
 */
import { createRequire } from 'node:module';

import { KedgeError } from '@kedge/units';

/** Sizes and limits of the C layout, in bytes or pieces. */
export interface GovernanceSizes {
  /** One level's table. */
  readonly levelTable: number;
  /** One bank: five levels behind their head. */
  readonly bank: number;
  /** Where level 1 stands in a bank; level n at `bankLevels + (n - 1) * levelTable`. */
  readonly bankLevels: number;
  readonly rule: number;
  /** Entries of one level, both families together. */
  readonly maxEntries: number;
  /** Mask shapes of one level and family (DP-9). */
  readonly maxShapes: number;
  /** Zone ids are 0..maxZones-1; 0 is no zone. */
  readonly maxZones: number;
  /** Slots that a lookup looks at per shape, at most. */
  readonly maxProbes: number;
  readonly slots: number;
}

export interface NativeJudgement {
  readonly verdict: number;
  readonly reason: number;
  readonly sourceZone: number;
  readonly destinationZone: number;
  readonly entry: number;
  readonly probes: number;
}

export interface NativePacket {
  readonly kind: number;
  readonly family: number;
  readonly laterFragment: number;
  readonly vlanTags: number;
  readonly vlan: number;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly source: Buffer;
  readonly destination: Buffer;
}

export interface NativeBuild {
  readonly outcome: number;
  readonly at: number;
  readonly family: number;
  readonly entries: number;
  readonly duplicates: number;
  readonly shapes4: number;
  readonly shapes6: number;
  readonly longest: number;
}

type RuleField =
  | `key.${'source' | 'destination' | 'source_port' | 'destination_port' | 'protocol' | 'source_zone' | 'destination_zone'}`
  | `shape.${'source_prefix' | 'destination_prefix' | 'match_protocol' | 'match_source_port' | 'match_destination_port' | 'match_source_zone' | 'match_destination_zone'}`
  | 'id'
  | 'rank'
  | 'family'
  | 'verdict';

interface Addon {
  readonly sizes: GovernanceSizes;
  readonly rule: Readonly<Record<RuleField, number>>;
  readonly table: Readonly<
    Record<'checksum' | 'valid' | 'level' | 'flags' | 'generation' | 'entries' | 'pair', number>
  >;
  build(
    table: Uint8Array,
    level: number,
    flags: number,
    generation: bigint,
    pairs: Uint8Array,
    rules: Uint8Array,
  ): NativeBuild;
  stamp(table: Uint8Array, generation: bigint): void;
  holds(table: Uint8Array, level: number, generation: bigint): boolean;
  classifyFrame(
    table: Uint8Array | null,
    frame: Uint8Array,
    sourceZone: number,
    destinationZone: number,
  ): NativeJudgement;
  classifyKey(
    table: Uint8Array | null,
    family: number,
    laterFragment: number,
    source: Uint8Array,
    destination: Uint8Array,
    protocol: number,
    sourcePort: number,
    destinationPort: number,
    sourceZone: number,
    destinationZone: number,
  ): NativeJudgement;
  parseFrame(frame: Uint8Array): NativePacket;
  markLe(frame: Uint8Array): Buffer;
}

function load(): Addon {
  const path = '../build/governance.node';
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (cause) {
    throw new KedgeError({
      code: 'GOVERNANCE_ADDON',
      message:
        'the governance core cannot be loaded: its addon build/governance.node is missing or does not fit',
      help: 'build the native code: npm run setup',
      cause,
    });
  }
}

export const addon: Addon = load();
