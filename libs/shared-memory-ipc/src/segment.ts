/**
 * Opening, reading and writing segments: the front door over the addon, with every argument checked.
 * Must not know what a posture transition is for; it refuses only what could not be a line at all.
 */
import { addon, type Handle, type OpenReport } from './addon.js';
import { layout } from './layout.js';
import { argumentError, refusalError, refusalName, SegmentError } from './segment-error.js';

/** The five kinds of segment, in the order of their numbers in layout.h. */
export const segmentKinds = ['posture', 'warden', 'tables', 'participant', 'dataplane'] as const;
export type SegmentKind = (typeof segmentKinds)[number];

/** The header of a segment as it stands: a restarted writer renews incarnation, pid and start in place. */
export interface SegmentHeader {
  readonly version: number;
  readonly kind: SegmentKind;
  /** Bytes of the whole file. */
  readonly size: number;
  /** As in /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  /** 1 for a new file, one more each time that a writer opened it again. */
  readonly incarnation: bigint;
  /** In the pid namespace of the writer. */
  readonly writerPid: number;
  /** Start time of the writer in clock ticks since boot. */
  readonly writerStart: bigint;
  readonly writerUid: number;
  readonly name: string;
}

/** Where the running or last transition stands. Levels 1..5 (0 only before the first), times CLOCK_MONOTONIC, 0 = never. */
export interface TransitionLine {
  readonly epoch: bigint;
  readonly from: number;
  readonly to: number;
  /** `enums.stage`. */
  readonly stage: number;
  /** Reserved, 0. */
  readonly flags: number;
  readonly receivedAtNs: bigint;
  readonly decidedAtNs: bigint;
  readonly stageAtNs: bigint;
  /** Wished budget of data plane, overlay, underlay; 0 = the warden's own. */
  readonly budgetNs: readonly [bigint, bigint, bigint];
}

/** What one participant or one packet worker has done. Level 0 only where nothing was ever acknowledged. */
export interface AckLine {
  readonly epoch: bigint;
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
  /** `enums.stage`. */
  readonly stage: number;
  /** `enums.outcome`. */
  readonly outcome: number;
  readonly level: number;
  readonly changes: number;
}

/** A mapped segment. Every method but `close` throws SEGMENT_CLOSED after `close`. */
export interface SegmentReader {
  /** Reads the header anew, and judges it again. @throws SegmentError as `openSegment` */
  readonly header: SegmentHeader;
  /** Atomic load with acquire order at a multiple of 8. @throws SegmentError SEGMENT_RANGE */
  load64(offset: number): bigint;
  /** Atomic load with acquire order at a multiple of 4. @throws SegmentError SEGMENT_RANGE */
  load32(offset: number): number;
  /** A copy; not atomic as a whole. @throws SegmentError SEGMENT_RANGE */
  bytes(offset: number, length: number): Buffer;
  /**
   * The transition line as a whole, or undefined when it could not be read whole in a bounded number of
   * tries, or holds a value outside its range. @throws SegmentError SEGMENT_KIND on other kinds
   */
  transition(): TransitionLine | undefined;
  /** The acknowledgement at `offset` (a multiple of 64), or undefined as for `transition`. */
  ack(offset: number): AckLine | undefined;
  /** False once the name stands for another file or none: close and open again. One system call. */
  current(): boolean;
  /** Pins the mapping in memory; false when the limits of the process do not allow it. */
  lockMemory(): boolean;
  /** Unmaps, and gives a writer's lock back. A second call does nothing. */
  close(): void;
}

/** The caller's own segment. Stores never reach the header. Only one writer can hold a segment. */
export interface SegmentWriter extends SegmentReader {
  /** Atomic store with release order. Rings nothing. @throws SegmentError SEGMENT_RANGE, SEGMENT_ARGUMENT */
  store64(offset: number, value: bigint): void;
  /** As `store64`, for 0..2^32-1. */
  store32(offset: number, value: number): void;
  /** Copies bytes in; not atomic. Rings nothing. */
  write(offset: number, bytes: Uint8Array): void;
  /** Writes an acknowledgement under its sequence lock and rings. */
  writeAck(offset: number, ack: AckLine): void;
  /** Renews the heartbeat; `serving` says whether the service is at the current posture. Rings nothing. */
  beat(serving: boolean): void;
  /** Bumps the segment's bell and wakes everybody who listens to it. */
  ring(): void;
  /** Why an older file had to be replaced when this one was created, e.g. `checksum`; undefined = it was not. */
  readonly replaced: string | undefined;
}

/** What a tightening store needs. `flags` are the word's 13 flag bits. */
export interface Tightening {
  /** 1..2^48-1 */
  readonly epoch: bigint;
  readonly from: number;
  readonly to: number;
  readonly receivedAtNs: bigint;
  readonly budgetNs?: readonly [bigint, bigint, bigint];
  readonly flags?: number;
}

/** What the last step of a loosening needs: a tightening's fields, and when it was decided. */
export interface Loosening extends Tightening {
  readonly decidedAtNs: bigint;
}

/** The posture segment, of which there is one writer: the coordinator. */
export interface PostureWriter extends SegmentWriter {
  /** The posture word as it stands: epoch << 16 | flags << 3 | level. 0 = no decision yet. */
  word(): bigint;
  /**
   * The tightening store in one native call: decided-at is stamped, the line is written (stage TIGHTEN), then
   * the word, then its stamp, then the bell rings (PO-15).
   * The calling thread is lifted to real-time priority for just that long, where the process may (CAP_SYS_NICE).
   */
  tighten(t: Tightening): { decidedAtNs: bigint; storedAtNs: bigint };
  /**
   * The last step of a loosening in one native call, as {@link tighten}: the line (stage LOOSEN_DATAPLANE, stamped
   * here: the budget runs from it), then the word, then its stamp, then one ring.
   */
  loosen(l: Loosening): { stageAtNs: bigint; storedAtNs: bigint };
  /** Writes a whole transition line under its sequence lock and rings: a stage of a loosening, or its end. */
  writeTransition(line: TransitionLine): void;
  /** Stores a word alone, stamps it and rings: at a start. */
  storeWord(epoch: bigint, level: number, flags?: number): { storedAtNs: bigint };
}

const U64_MAX = (1n << 64n) - 1n;
const U32_MAX = 0xffff_ffff;
const EPOCH_MAX = (1n << 48n) - 1n;
const FLAGS_MAX = 0x1fff;
const STAGE_MAX = layout.enums.stage.COMPLETE;
const OUTCOME_MAX = layout.enums.outcome.CANCELLED;
const HEADER_BYTES = layout.header.size;
const LINE_BYTES = layout.limits.cacheLine;

function checkU64(field: string, value: unknown): asserts value is bigint {
  if (typeof value !== 'bigint' || value < 0n || value > U64_MAX)
    throw argumentError(field, 'a bigint of 0..2^64-1', value);
}

function checkInteger(field: string, value: unknown, min: number, max: number): asserts value is number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw argumentError(field, `a whole number of ${min.toString()}..${max.toString()}`, value);
}

function checkEpoch(field: string, value: unknown, min: bigint): asserts value is bigint {
  if (typeof value !== 'bigint' || value < min || value > EPOCH_MAX)
    throw argumentError(field, `an epoch, a bigint of ${min.toString()}..2^48-1`, value);
}

function checkPath(directory: unknown): asserts directory is string {
  if (typeof directory !== 'string' || !directory.startsWith('/') || directory.includes('\0'))
    throw argumentError('directory', 'an absolute path', directory);
}

function kindNumber(kind: unknown): number {
  const at = segmentKinds.indexOf(kind as SegmentKind);
  if (at < 0) throw argumentError('kind', `one of ${segmentKinds.join(', ')}`, kind);
  return at + 1;
}

function checkName(name: unknown): asserts name is string {
  if (typeof name !== 'string') throw argumentError('name', 'a string', name);
  if (!/^[a-z0-9-]{1,31}$/.test(name))
    throw new SegmentError({
      code: 'SEGMENT_NAME',
      message: `name must be 1 to 31 of [a-z0-9-], not ${JSON.stringify(name.slice(0, 64))}`,
      field: 'name',
      expected: '1 to 31 of [a-z0-9-]',
      help: 'participants are called participant-NAME, data planes dataplane-NAME',
    });
}

/** The handles of open segments, for the listener; other modules never see a handle. */
const handles = new WeakMap<SegmentReader, () => Handle>();

/** The addon's handle of an open segment. @throws SegmentError SEGMENT_CLOSED, SEGMENT_ARGUMENT */
export function handleOf(segment: SegmentReader): Handle {
  const handle = handles.get(segment);
  if (handle === undefined) throw argumentError('segments', 'segments that this package opened', segment);
  return handle();
}

class OpenSegment implements SegmentReader {
  readonly #path: string;
  readonly #kind: SegmentKind;
  readonly #size: number;
  #handle: Handle | undefined;

  constructor(path: string, kind: SegmentKind, handle: Handle) {
    this.#path = path;
    this.#kind = kind;
    this.#size = layout[kind].size;
    this.#handle = handle;
    handles.set(this, () => this.handle('listen to'));
  }

  /** The open handle. @throws SegmentError SEGMENT_CLOSED */
  protected handle(operation: string): Handle {
    if (this.#handle === undefined)
      throw new SegmentError({
        code: 'SEGMENT_CLOSED',
        message: `cannot ${operation} segment ${this.#path}: it was closed`,
        field: 'segment',
        expected: 'an open segment',
        help: 'open it again',
      });
    return this.#handle;
  }

  protected checkPlace(
    offset: unknown,
    length: number,
    alignment: number,
    first: number,
  ): asserts offset is number {
    if (
      typeof offset !== 'number' ||
      !Number.isInteger(offset) ||
      offset < first ||
      offset + length > this.#size ||
      offset % alignment !== 0
    ) {
      const expected =
        `a multiple of ${alignment.toString()} with ${length.toString()} bytes inside of ` +
        `${first.toString()}..${this.#size.toString()}`;
      throw new SegmentError({
        code: 'SEGMENT_RANGE',
        message: `offset ${String(offset)} does not fit segment ${this.#path}: expected ${expected}`,
        field: 'offset',
        expected,
        help: 'take offsets from `layout`',
      });
    }
  }

  protected checkPosture(operation: string): void {
    if (this.#kind !== 'posture')
      throw new SegmentError({
        code: 'SEGMENT_KIND',
        message: `cannot ${operation} segment ${this.#path}: it is of kind ${this.#kind}, expected posture`,
        field: 'kind',
        expected: 'posture',
        help: 'only the posture segment has a word and a transition line',
      });
  }

  get header(): SegmentHeader {
    const report = addon.header(this.handle('read the header of'));
    if (report.refusal !== 0) throw refusalError('read the header of', this.#path, report);
    const hex = report.bootId.toString('hex');
    const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
    return {
      version: report.version,
      kind: this.#kind,
      size: report.size,
      bootId: parts.join('-'),
      incarnation: report.incarnation,
      writerPid: report.writerPid,
      writerStart: report.writerStart,
      writerUid: report.writerUid,
      name: report.name,
    };
  }

  load64(offset: number): bigint {
    this.checkPlace(offset, 8, 8, 0);
    return addon.load64(this.handle('load from'), offset);
  }

  load32(offset: number): number {
    this.checkPlace(offset, 4, 4, 0);
    return addon.load32(this.handle('load from'), offset);
  }

  bytes(offset: number, length: number): Buffer {
    checkInteger('length', length, 0, this.#size);
    this.checkPlace(offset, length, 1, 0);
    return addon.bytes(this.handle('read'), offset, length);
  }

  transition(): TransitionLine | undefined {
    this.checkPosture('read a transition line from');
    return addon.transition(this.handle('read'));
  }

  ack(offset: number): AckLine | undefined {
    this.checkPlace(offset, layout.ack.size, LINE_BYTES, HEADER_BYTES);
    return addon.ack(this.handle('read'), offset);
  }

  current(): boolean {
    return addon.current(this.handle('look up'));
  }

  lockMemory(): boolean {
    return addon.lockMemory(this.handle('lock')) === 0;
  }

  close(): void {
    if (this.#handle === undefined) return;
    addon.close(this.#handle);
    this.#handle = undefined;
  }
}

class OwnSegment extends OpenSegment implements SegmentWriter {
  readonly replaced: string | undefined;

  constructor(path: string, kind: SegmentKind, handle: Handle, replaced: string | undefined) {
    super(path, kind, handle);
    this.replaced = replaced;
  }

  store64(offset: number, value: bigint): void {
    this.checkPlace(offset, 8, 8, HEADER_BYTES);
    checkU64('value', value);
    addon.store64(this.handle('store into'), offset, value);
  }

  store32(offset: number, value: number): void {
    this.checkPlace(offset, 4, 4, HEADER_BYTES);
    checkInteger('value', value, 0, U32_MAX);
    addon.store32(this.handle('store into'), offset, value);
  }

  write(offset: number, bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) throw argumentError('bytes', 'a Uint8Array', bytes);
    this.checkPlace(offset, bytes.byteLength, 1, HEADER_BYTES);
    addon.write(this.handle('write into'), offset, bytes);
  }

  writeAck(offset: number, ack: AckLine): void {
    this.checkPlace(offset, layout.ack.size, LINE_BYTES, HEADER_BYTES);
    checkEpoch('ack.epoch', ack.epoch, 0n);
    checkU64('ack.startedAtNs', ack.startedAtNs);
    checkU64('ack.finishedAtNs', ack.finishedAtNs);
    checkInteger('ack.stage', ack.stage, 0, STAGE_MAX);
    checkInteger('ack.outcome', ack.outcome, 0, OUTCOME_MAX);
    checkInteger('ack.level', ack.level, ack.epoch === 0n ? 0 : 1, 5);
    checkInteger('ack.changes', ack.changes, 0, U32_MAX);
    addon.writeAck(
      this.handle('acknowledge in'),
      offset,
      ack.epoch,
      ack.startedAtNs,
      ack.finishedAtNs,
      ack.stage,
      ack.outcome,
      ack.level,
      ack.changes,
    );
  }

  beat(serving: boolean): void {
    addon.beat(this.handle('beat in'), serving);
  }

  ring(): void {
    addon.ring(this.handle('ring'));
  }
}

const noBudget = [0n, 0n, 0n] as const;

function checkBudget(field: string, budget: unknown): void {
  if (!Array.isArray(budget) || budget.length !== layout.limits.paths)
    throw argumentError(field, 'three bigints: data plane, overlay, underlay', budget);
  budget.forEach((value, path) => {
    checkU64(`${field}[${path.toString()}]`, value);
  });
}

class OwnPosture extends OwnSegment implements PostureWriter {
  word(): bigint {
    return addon.load64(this.handle('load from'), layout.posture.word);
  }

  tighten(t: Tightening): { decidedAtNs: bigint; storedAtNs: bigint } {
    const budget = t.budgetNs ?? noBudget;
    const flags = t.flags ?? 0;
    checkEpoch('epoch', t.epoch, 1n);
    checkInteger('from', t.from, 1, 5);
    checkInteger('to', t.to, 1, 5);
    checkU64('receivedAtNs', t.receivedAtNs);
    checkBudget('budgetNs', budget);
    checkInteger('flags', flags, 0, FLAGS_MAX);
    return addon.tighten(
      this.handle('tighten'),
      t.epoch,
      t.from,
      t.to,
      t.receivedAtNs,
      budget[0],
      budget[1],
      budget[2],
      flags,
    );
  }

  loosen(l: Loosening): { stageAtNs: bigint; storedAtNs: bigint } {
    const budget = l.budgetNs ?? noBudget;
    const flags = l.flags ?? 0;
    checkEpoch('epoch', l.epoch, 1n);
    checkInteger('from', l.from, 1, 5);
    checkInteger('to', l.to, 1, 5);
    checkU64('receivedAtNs', l.receivedAtNs);
    checkU64('decidedAtNs', l.decidedAtNs);
    checkBudget('budgetNs', budget);
    checkInteger('flags', flags, 0, FLAGS_MAX);
    return addon.loosen(
      this.handle('loosen'),
      l.epoch,
      l.from,
      l.to,
      l.receivedAtNs,
      l.decidedAtNs,
      budget[0],
      budget[1],
      budget[2],
      flags,
    );
  }

  writeTransition(line: TransitionLine): void {
    checkEpoch('line.epoch', line.epoch, 0n);
    checkInteger('line.stage', line.stage, 0, STAGE_MAX);
    const lowest = line.stage === layout.enums.stage.NONE ? 0 : 1;
    checkInteger('line.from', line.from, lowest, 5);
    checkInteger('line.to', line.to, lowest, 5);
    checkInteger('line.flags', line.flags, 0, 0);
    checkU64('line.receivedAtNs', line.receivedAtNs);
    checkU64('line.decidedAtNs', line.decidedAtNs);
    checkU64('line.stageAtNs', line.stageAtNs);
    checkBudget('line.budgetNs', line.budgetNs);
    addon.writeTransition(
      this.handle('write a transition line into'),
      line.epoch,
      line.from,
      line.to,
      line.stage,
      line.flags,
      line.receivedAtNs,
      line.decidedAtNs,
      line.stageAtNs,
      line.budgetNs[0],
      line.budgetNs[1],
      line.budgetNs[2],
    );
  }

  storeWord(epoch: bigint, level: number, flags = 0): { storedAtNs: bigint } {
    checkEpoch('epoch', epoch, 1n);
    checkInteger('level', level, 1, 5);
    checkInteger('flags', flags, 0, FLAGS_MAX);
    return { storedAtNs: addon.storeWord(this.handle('store a word into'), epoch, level, flags) };
  }
}

/**
 * Checks the board directory: a real directory of root or the caller, not writable by others, sticky where
 * its group may write. Opening and creating check it again, on the directory that they then use.
 * @throws SegmentError SEGMENT_DIRECTORY, SEGMENT_SYSTEM
 */
export function verifyDirectory(path: string): void {
  checkPath(path);
  const report = addon.verifyDirectory(path);
  if (report.refusal !== 0) throw refusalError('use directory', path, report);
}

function opened(operation: string, path: string, report: OpenReport): Handle {
  if (report.refusal !== 0 || report.handle === undefined) throw refusalError(operation, path, report);
  return report.handle;
}

/**
 * Maps somebody's segment read-only, after checking directory, file and header.
 * `owner` is the uid that must own it; 'any' is for tools that merely show.
 * @throws SegmentError with the refusal's code, SEGMENT_ARGUMENT
 */
export function openSegment(options: {
  readonly directory: string;
  readonly name: string;
  readonly kind: SegmentKind;
  readonly owner: number | 'any';
}): SegmentReader {
  const { directory, name, kind, owner } = options;
  checkPath(directory);
  checkName(name);
  const number = kindNumber(kind);
  if (owner !== 'any') checkInteger('owner', owner, 0, U32_MAX - 1);
  const path = `${directory}/${name}`;
  const report = addon.open(directory, name, number, owner === 'any' ? undefined : owner);
  return new OpenSegment(path, kind, opened('open segment', path, report));
}

function created(directory: string, name: string, kind: SegmentKind): [string, Handle, string | undefined] {
  checkPath(directory);
  checkName(name);
  const path = `${directory}/${name}`;
  const report = addon.create(directory, name, kindNumber(kind));
  return [path, opened('create segment', path, report), refusalName(report.replaced)];
}

/**
 * Takes the writer's lock of the caller's own segment and maps it for writing. A good file of this boot keeps
 * its contents, but for `serving`, and gets the next incarnation, a damaged or old one is replaced (`replaced` says why).
 * @throws SegmentError SEGMENT_BUSY while another writer holds it, SEGMENT_OWNER, SEGMENT_DIRECTORY, SEGMENT_SYSTEM
 */
export function createSegment(options: {
  readonly directory: string;
  readonly name: string;
  readonly kind: SegmentKind;
}): SegmentWriter {
  const [path, handle, replaced] = created(options.directory, options.name, options.kind);
  return new OwnSegment(path, options.kind, handle, replaced);
}

/** The segment `posture`, with the stores that only the coordinator makes. @throws SegmentError as `createSegment` */
export function createPostureSegment(options: { readonly directory: string }): PostureWriter {
  const [path, handle, replaced] = created(options.directory, 'posture', 'posture');
  return new OwnPosture(path, 'posture', handle, replaced);
}

/** CLOCK_MONOTONIC in nanoseconds, the only clock of the board (PO-14). */
export function monotonicNs(): bigint {
  return addon.monotonicNs();
}

/**
 * What has to be added to a moment of CLOCK_MONOTONIC to tell it to people, nanoseconds, to within a microsecond. It
 * changes whenever the wall clock is set or slewed: never a thing to measure with.
 */
export function wallOffsetNs(): bigint {
  return addon.wallOffsetNs();
}

/** CRC-32 (IEEE) as zlib computes it; `initial` continues an earlier result. */
export function crc32(bytes: Uint8Array, initial = 0): number {
  if (!(bytes instanceof Uint8Array)) throw argumentError('bytes', 'a Uint8Array', bytes);
  checkInteger('initial', initial, 0, U32_MAX);
  return addon.crc32(bytes, initial);
}
