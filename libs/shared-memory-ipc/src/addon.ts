/**
 * The native addon, loaded and compared with the layout that this package believes in.
 * Must not be exported: its functions check only what memory safety hangs on.
 */
import { createRequire } from 'node:module';
import { layout } from './layout.js';
import { SegmentError, type RefusalReport } from './segment-error.js';

/** An opaque, type-tagged object of the addon. It works only in the thread that made it. */
export type Handle = object;

export interface OpenReport extends RefusalReport {
  /** Refusal for which an old file was replaced; 0 = none. */
  readonly replaced: number;
  readonly handle?: Handle;
}

export interface HeaderReport extends RefusalReport {
  readonly version: number;
  readonly kind: number;
  readonly size: number;
  readonly bootId: Buffer;
  readonly incarnation: bigint;
  readonly writerStart: bigint;
  readonly writerPid: number;
  readonly writerUid: number;
  readonly name: string;
}

export interface RawTransition {
  readonly epoch: bigint;
  readonly from: number;
  readonly to: number;
  readonly stage: number;
  readonly flags: number;
  readonly receivedAtNs: bigint;
  readonly decidedAtNs: bigint;
  readonly stageAtNs: bigint;
  readonly budgetNs: readonly [bigint, bigint, bigint];
}

export interface RawAck {
  readonly epoch: bigint;
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
  readonly stage: number;
  readonly outcome: number;
  readonly level: number;
  readonly changes: number;
}

export interface RawCounts {
  readonly rings: number;
  readonly delivered: number;
  readonly coalesced: number;
  readonly pending: number;
}

export interface BpfReport extends RefusalReport {
  /** Of the map in this kernel; there with the handle. */
  readonly id?: number;
  readonly handle?: Handle;
}

export interface RawBpfCounts {
  readonly changes: number;
  readonly overrun: number;
  readonly realtime: boolean;
}

export interface Addon {
  verifyDirectory(path: string): RefusalReport;
  open(directory: string, name: string, kind: number, owner: number | undefined): OpenReport;
  create(directory: string, name: string, kind: number): OpenReport;
  close(segment: Handle): void;
  header(segment: Handle): HeaderReport;
  current(segment: Handle): boolean;
  lockMemory(segment: Handle): number;
  load64(segment: Handle, offset: number): bigint;
  load32(segment: Handle, offset: number): number;
  bytes(segment: Handle, offset: number, length: number): Buffer;
  store64(segment: Handle, offset: number, value: bigint): void;
  store32(segment: Handle, offset: number, value: number): void;
  write(segment: Handle, offset: number, bytes: Uint8Array): void;
  transition(segment: Handle): RawTransition | undefined;
  writeTransition(
    segment: Handle,
    epoch: bigint,
    from: number,
    to: number,
    stage: number,
    flags: number,
    receivedAtNs: bigint,
    decidedAtNs: bigint,
    stageAtNs: bigint,
    budget0: bigint,
    budget1: bigint,
    budget2: bigint,
  ): void;
  tighten(
    segment: Handle,
    epoch: bigint,
    from: number,
    to: number,
    receivedAtNs: bigint,
    budget0: bigint,
    budget1: bigint,
    budget2: bigint,
    flags: number,
  ): { decidedAtNs: bigint; storedAtNs: bigint };
  loosen(
    handle: Handle,
    epoch: bigint,
    from: number,
    to: number,
    receivedAtNs: bigint,
    decidedAtNs: bigint,
    budgetDataplane: bigint,
    budgetOverlay: bigint,
    budgetUnderlay: bigint,
    flags: number,
  ): { stageAtNs: bigint; storedAtNs: bigint };
  storeWord(segment: Handle, epoch: bigint, level: number, flags: number): bigint;
  ack(segment: Handle, offset: number): RawAck | undefined;
  writeAck(
    segment: Handle,
    offset: number,
    epoch: bigint,
    startedAtNs: bigint,
    finishedAtNs: bigint,
    stage: number,
    outcome: number,
    level: number,
    changes: number,
  ): void;
  beat(segment: Handle, serving: boolean): void;
  ring(segment: Handle): void;
  monotonicNs(): bigint;
  wallOffsetNs(): bigint;
  crc32(bytes: Uint8Array, initial: number): number;
  listen(
    segments: readonly Handle[],
    onRing: (changed: number[]) => void,
    timeoutMs: number,
    realtime: boolean,
  ): Handle;
  closeListener(listener: Handle): void;
  listenerCounts(listener: Handle): RawCounts;
  listenerRealtime(listener: Handle): boolean;
  listenerKeep(listener: Handle, keep: boolean): void;
  openBpf(
    path: string,
    valueSize: number,
    entries: number,
    programsOnlyRead: boolean,
    owner: number | undefined,
    access: number,
  ): BpfReport;
  createBpf(
    path: string,
    valueSize: number,
    entries: number,
    programsOnlyRead: boolean,
    name: string,
    uid: number,
    gid: number,
    mode: number,
  ): BpfReport;
  closeBpf(map: Handle): void;
  loadBpf64(map: Handle, offset: number): bigint;
  updateBpf(map: Handle, index: number, value: Uint8Array): number;
  watchBpf(
    map: Handle,
    offset: number,
    last: bigint,
    onChange: (values: bigint[], seenAtNs: bigint[]) => void,
    periodUs: number,
    realtime: boolean,
  ): Handle;
  closeBpfWatch(watch: Handle): void;
  bpfWatchCounts(watch: Handle): RawBpfCounts;
  readonly layout: unknown;
}

/**
 * The first place where what the compiler found differs from what this package believes, as a path;
 * undefined when they agree in both directions.
 */
export function layoutDifference(found: unknown, believed: unknown, at = 'layout'): string | undefined {
  if (typeof believed !== 'object' || believed === null || typeof found !== 'object' || found === null)
    return Object.is(found, believed) ? undefined : at;
  const left = found as Readonly<Record<string, unknown>>;
  const right = believed as Readonly<Record<string, unknown>>;
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    const difference = layoutDifference(left[key], right[key], `${at}.${key}`);
    if (difference !== undefined) return difference;
  }
  return undefined;
}

function load(): Addon {
  const require = createRequire(import.meta.url);
  let loaded: Addon;
  try {
    loaded = require('../build/shared_memory_ipc.node') as Addon;
  } catch (cause) {
    throw new SegmentError({
      code: 'SEGMENT_ADDON',
      message: 'cannot load the native addon of @kedge/shared-memory-ipc: it is not built for this machine',
      field: 'addon',
      expected: 'build/shared_memory_ipc.node',
      help: 'run make in the package’s directory (needs make and a C++17 compiler, on 64-bit Linux)',
      cause,
    });
  }
  const difference = layoutDifference(loaded.layout, layout);
  if (difference !== undefined)
    throw new SegmentError({
      code: 'SEGMENT_ADDON',
      message: `the native addon was built from another layout.h: ${difference} differs`,
      field: difference,
      expected: 'the same layout in the addon and in TypeScript',
      help: 'run make in the package’s directory again',
    });
  return loaded;
}

export const addon: Addon = load();
