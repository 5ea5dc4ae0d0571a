/**
 * The posture board as its readers see it: opens every file of it read-only, opens again what is replaced or
 * appears later, says what changed as events and what stands there as a snapshot.
 * It must not write to the board and must not act on what it sees.
 */
import type { PathName } from '@kedge/contracts';
import {
  layout,
  listen,
  type Listener,
  monotonicNs,
  openSegment,
  SegmentError,
  type SegmentHeader,
  type SegmentKind,
  type SegmentReader,
  verifyDirectory,
  writerLives,
} from '@kedge/shared-memory-ipc';
import { type Epoch, EPOCH_NONE, KedgeError, type Level } from '@kedge/units';
import { EventEmitter } from 'node:events';

import {
  type Acknowledgement,
  type DataplaneLines,
  LineReader,
  type PostureLines,
  type Stage,
  type Transition,
  type Violation,
  type WardenLines,
} from './board-lines.js';
import {
  beatAge,
  type BoardFile,
  type BoardSnapshot,
  type DataplaneState,
  DEFAULT_STALE_NS,
  levelsOf,
  type ParticipantState,
  snapshotOf,
} from './board-snapshot.js';
import { type PostureWord, readWord } from './posture-word.js';

/**
 * A new epoch stands on the transition line. Tightening: the word carries it already, or within microseconds, and
 * everybody starts now; otherwise everybody waits for the stage that releases them.
 */
export interface PostureDecided extends Transition {
  /** Epochs between the last one seen and this one that this reader never saw. */
  readonly missedEpochs: bigint;
  /**
   * True when the coordinator was started in between: epochs are reserved in blocks, so part of `missedEpochs`
   * may never have been issued.
   */
  readonly restarted: boolean;
  /** True when this is no change but what stood there when the reader came ({@link PostureBoard.announce}). */
  readonly initial: boolean;
}

/**
 * The running transition reached another stage; with `before` equal to `stage`, the stage was said once more:
 * somebody asked for the level in force (PO-11).
 */
export interface PostureStaged extends Transition {
  readonly before: Stage;
}

/** What packets obey has changed. */
export interface PostureChanged {
  readonly word: PostureWord;
  /** The level that packets obey now: the stricter of word and data-plane fail-closed line. */
  readonly level: Level;
  /** ... and before. */
  readonly before: Level;
  readonly storedAtNs: bigint;
}

/** Every live worker of every data plane that lives has applied the word's epoch. Once per epoch. */
export interface DataplaneAcknowledged {
  readonly epoch: Epoch;
  /** Workers, as DATAPLANE/WORKER, with what they acknowledged. */
  readonly workers: readonly { readonly who: string; readonly ack: Acknowledgement }[];
  /** When the first saw the word. */
  readonly startedAtNs: bigint;
  /** When the last one had finished: what counts for the budget. */
  readonly finishedAtNs: bigint;
}

/** A participant wrote its slot. */
export interface ParticipantAcknowledged {
  readonly name: string;
  readonly path: PathName | undefined;
  readonly ack: Acknowledgement;
}

/** The warden set or cleared a path's fail-closed line. */
export interface FailClosedSet {
  readonly path: PathName;
  readonly word: PostureWord;
  readonly setAtNs: bigint;
  /** Settings that this reader never saw, because the line was set and cleared several times in between. */
  readonly missed: bigint;
}
export interface FailClosedCleared {
  readonly path: PathName;
  readonly clearedAtNs: bigint;
}

/** A file of the board cannot be read any more; its last state stands until it is found again. */
export interface BoardLost {
  readonly file: string;
  readonly code: string;
  readonly message: string;
}
/** A file of the board was opened, for the first time or again. */
export interface BoardFound {
  readonly file: string;
  readonly incarnation: bigint;
}

/** An event of the warden, with how many before it were overwritten before they were read. */
export interface WardenViolation extends Violation {
  readonly lost: bigint;
}

/** Every event of the board. Delivered from the native listener, in the order in which the lines were written. */
export interface BoardEvents {
  'posture.decided': [PostureDecided];
  'posture.staged': [PostureStaged];
  'posture.changed': [PostureChanged];
  'dataplane.acknowledged': [DataplaneAcknowledged];
  'participant.acknowledged': [ParticipantAcknowledged];
  'failclosed.set': [FailClosedSet];
  'failclosed.cleared': [FailClosedCleared];
  'warden.violation': [WardenViolation];
  'board.lost': [BoardLost];
  'board.found': [BoardFound];
}

/** Names of all events, for whoever wants each of them. */
export const BOARD_EVENTS = [
  'posture.decided',
  'posture.staged',
  'posture.changed',
  'dataplane.acknowledged',
  'participant.acknowledged',
  'failclosed.set',
  'failclosed.cleared',
  'warden.violation',
  'board.lost',
  'board.found',
] as const satisfies readonly (keyof BoardEvents)[];

/** Which board to read, and how. */
export interface BoardOptions {
  /** Absolute path of the board directory. */
  readonly directory: string;
  /**
   * The files to read and the user that must own each: "posture", "warden", "tables", "participant-NAME",
   * "dataplane-NAME". A file of another owner is refused. At most 63.
   */
  readonly owners: Readonly<Record<string, number | 'any'>>;
  /** How often missing and replaced files are looked for, milliseconds; default 100. */
  readonly rescanMs?: number;
  /** Whether the listener asks for real-time priority; default true. It works without. */
  readonly realtime?: boolean;
  /** First event of the warden that is wanted; default: those that are written from now on. */
  readonly violationsFrom?: bigint;
  /** CLOCK_MONOTONIC in nanoseconds. */
  readonly now?: () => bigint;
}

/** How much came through the listener, since the board was opened. */
export interface BoardCounts {
  /** Bumps of bells seen. */
  readonly rings: number;
  /** Times that JavaScript was called for them. */
  readonly delivered: number;
  /** Rings that shared a call with another. Nothing is lost by it: lines are states, and are read anew. */
  readonly coalesced: number;
  /** Epochs that this reader never saw. */
  readonly missedEpochs: bigint;
  /** Events of the warden that were overwritten before they were read. */
  readonly lostViolations: bigint;
  /** Whether the listener runs with real-time priority. */
  readonly realtime: boolean;
}

const KINDS: readonly { readonly pattern: RegExp; readonly kind: SegmentKind }[] = [
  { pattern: /^posture$/, kind: 'posture' },
  { pattern: /^warden$/, kind: 'warden' },
  { pattern: /^tables$/, kind: 'tables' },
  { pattern: /^participant-[a-z0-9-]+$/, kind: 'participant' },
  { pattern: /^dataplane-[a-z0-9-]+$/, kind: 'dataplane' },
];

interface Watched {
  readonly file: string;
  readonly kind: SegmentKind;
  readonly owner: number | 'any';
  reader: SegmentReader | undefined;
  header: SegmentHeader | undefined;
  /** Set while the file cannot be opened; its old mapping may still be there. */
  why: { readonly code: string; readonly message: string } | undefined;
}

/**
 * A reader of the posture board. One per process is enough.
 *
 * Reading never fails: what cannot be read keeps its last state and is reported (`board.lost`, `faults`), and a
 * posture that was never read counts as lockdown. Everything that comes out was checked against its range.
 */
export class PostureBoard extends EventEmitter<BoardEvents> {
  readonly #directory: string;
  readonly #watched: readonly Watched[];
  readonly #now: () => bigint;
  readonly #realtime: boolean;
  readonly #timer: NodeJS.Timeout;
  #listener: Listener | undefined;
  #closed = false;
  #looking = false;
  #past = { rings: 0, delivered: 0, coalesced: 0 };
  #missedEpochs = 0n;
  #lostViolations = 0n;

  /* What was told last. */
  #word = readWord(0n);
  #storedAtNs = 0n;
  #level: Level = this.#word.level;
  #transition: Transition | undefined;
  /** As it was read last, told or not: the last stages do not say the direction by themselves. */
  #known: Transition | undefined;
  #coordinator = 0n;
  #warden: WardenLines | undefined;
  #nextViolation: bigint | undefined;
  #acknowledgedEpoch: Epoch = EPOCH_NONE;
  readonly #acks = new Map<string, Acknowledgement>();

  /**
   * Opens what is there; what is not is looked for until {@link close}.
   *
   * @throws SegmentError `SEGMENT_DIRECTORY`, `SEGMENT_SYSTEM`; KedgeError `BUS_BOARD_FILES`.
   */
  constructor(options: BoardOptions) {
    super();
    verifyDirectory(options.directory);
    this.#directory = options.directory;
    this.#now = options.now ?? monotonicNs;
    this.#realtime = options.realtime ?? true;
    this.#nextViolation = options.violationsFrom;
    const files = Object.entries(options.owners);
    if (files.length === 0 || files.length > 63) {
      throw new KedgeError({
        code: 'BUS_BOARD_FILES',
        message: `cannot read a board of ${files.length} files`,
        field: 'owners',
        expected: '1 to 63 files',
      });
    }
    this.#watched = files.map(([file, owner]) => {
      const kind = KINDS.find(({ pattern }) => pattern.test(file))?.kind;
      if (kind === undefined) {
        throw new KedgeError({
          code: 'BUS_BOARD_FILES',
          message: `cannot read ${JSON.stringify(file)}: the board has no such file`,
          field: `owners.${file}`,
          expected: 'posture, warden, tables, participant-NAME or dataplane-NAME',
        });
      }
      return { file, kind, owner, reader: undefined, header: undefined, why: undefined };
    });
    this.#rescan();
    this.#look(false);
    this.#timer = setInterval(() => {
      this.#rescan();
      // Also a safety net: a store whose bell nobody rang, because its writer died in between, is seen here.
      this.#look(true);
    }, options.rescanMs ?? 100);
    this.#timer.unref();
  }

  /** Tells the present transition as `posture.decided` with `initial`, for a service that has just started. */
  announce(): void {
    if (this.#transition === undefined) return;
    this.emit('posture.decided', {
      ...this.#transition,
      missedEpochs: 0n,
      restarted: false,
      initial: true,
    });
  }

  /** The whole board as it stands now. */
  snapshot(): BoardSnapshot {
    const lines = new LineReader();
    const atNs = this.#now();
    const posture = this.#readPosture(lines);
    const warden = this.#readWarden(lines);
    const staleNs = warden?.staleNs ?? DEFAULT_STALE_NS;
    const states = new Map(
      this.#watched.map((each) => [each.file, this.#fileState(each, lines, atNs, staleNs)]),
    );
    const stateOf = (file: string): BoardFile => states.get(file) as BoardFile;
    const participants = this.#watched.flatMap((each): ParticipantState[] =>
      each.kind !== 'participant' || each.reader === undefined
        ? []
        : [
            {
              name: each.file.slice('participant-'.length),
              file: stateOf(each.file),
              ...lines.participant(each.file, each.reader),
            },
          ],
    );
    const dataplanes = this.#watched.flatMap((each): DataplaneState[] =>
      each.kind !== 'dataplane' || each.reader === undefined
        ? []
        : [
            {
              name: each.file.slice('dataplane-'.length),
              file: stateOf(each.file),
              ...lines.dataplane(each.file, each.reader),
            },
          ],
    );
    return snapshotOf({
      atNs,
      posture,
      warden,
      files: [...states.values()],
      participants,
      dataplanes,
      faults: lines.faults,
    });
  }

  /** What came through so far. */
  counts(): BoardCounts {
    const now = this.#listener?.counts();
    return {
      rings: this.#past.rings + (now?.rings ?? 0),
      delivered: this.#past.delivered + (now?.delivered ?? 0),
      coalesced: this.#past.coalesced + (now?.coalesced ?? 0),
      missedEpochs: this.#missedEpochs,
      lostViolations: this.#lostViolations,
      realtime: this.#listener?.realtime ?? false,
    };
  }

  /** Closes listener and mappings, also from within an event. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#stopListening();
    this.removeAllListeners();
    if (!this.#looking) this.#unmap();
  }

  #unmap(): void {
    for (const each of this.#watched) each.reader?.close();
  }

  /* -------------------------------------------------------------- files */

  /** Opens what is missing or replaced. */
  #rescan(): void {
    const found: BoardFound[] = [];
    const lost: BoardLost[] = [];
    const old: SegmentReader[] = [];
    for (const each of this.#watched) {
      if (each.reader?.current() === true) {
        const why = readHeader(each, each.reader);
        if (why !== undefined && each.why === undefined) lost.push({ file: each.file, ...why });
        if (why === undefined && each.why !== undefined) found.push(foundOf(each));
        each.why = why;
        continue;
      }
      try {
        const reader = openSegment({
          directory: this.#directory,
          name: each.file,
          kind: each.kind,
          owner: each.owner,
        });
        if (each.reader !== undefined) old.push(each.reader);
        each.reader = reader;
        each.header = undefined;
        each.why = readHeader(each, reader);
        reader.lockMemory();
        found.push(foundOf(each));
      } catch (error) {
        if (!(error instanceof SegmentError)) throw error;
        const why = { code: error.code, message: error.message };
        if (each.reader !== undefined && each.why === undefined) lost.push({ file: each.file, ...why });
        each.why = why;
      }
    }
    if (found.length > 0) {
      this.#stopListening();
      const segments = this.#watched.flatMap(({ reader }) => (reader === undefined ? [] : [reader]));
      this.#listener = listen({
        segments,
        onRing: () => {
          this.#look(true);
        },
        realtime: this.#realtime,
      });
      this.#listener.unref();
    }
    for (const reader of old) reader.close();
    for (const event of lost) this.emit('board.lost', event);
    for (const event of found) this.emit('board.found', event);
  }

  #stopListening(): void {
    if (this.#listener === undefined) return;
    const { rings, delivered, coalesced } = this.#listener.counts();
    this.#past = {
      rings: this.#past.rings + rings,
      delivered: this.#past.delivered + delivered,
      coalesced: this.#past.coalesced + coalesced,
    };
    this.#listener.close();
    this.#listener = undefined;
  }

  #fileState(
    { file, reader, header, why }: Watched,
    lines: LineReader,
    atNs: bigint,
    staleNs: bigint,
  ): BoardFile {
    const beat = reader === undefined ? undefined : lines.beat(reader);
    const beatAgeNs = beat === undefined ? undefined : beatAge(beat, atNs);
    const state = reader === undefined ? 'missing' : why === undefined ? 'open' : 'lost';
    const stale = state !== 'open' || beatAgeNs === undefined || beatAgeNs > staleNs;
    return {
      file,
      state,
      ...(why === undefined ? {} : { why }),
      pid: header?.writerPid ?? 0,
      incarnation: header?.incarnation ?? 0n,
      alive: header !== undefined && writerLives(header),
      beatAgeNs,
      stale,
      serving: !stale && beat?.serving === true,
    };
  }

  #find(file: string): Watched | undefined {
    return this.#watched.find((each) => each.file === file);
  }

  #readPosture(lines: LineReader): PostureLines {
    const reader = this.#find('posture')?.reader;
    if (reader === undefined) {
      return { word: this.#word, storedAtNs: this.#storedAtNs, transition: this.#transition };
    }
    const read = lines.posture('posture', reader, this.#known);
    this.#known = read.transition ?? this.#known;
    // A line that could not be read whole counts as unknown: the last one known is obeyed.
    return { ...read, transition: read.transition ?? this.#transition };
  }

  #readWarden(lines: LineReader): WardenLines | undefined {
    const reader = this.#find('warden')?.reader;
    return reader === undefined ? this.#warden : lines.warden('warden', reader);
  }

  /* ------------------------------------------------------------- events */

  /** Compares the lines with what was told last, and tells what is new. */
  #look(tell: boolean): void {
    if (this.#closed) return;
    const lines = new LineReader();
    this.#looking = true;
    try {
      this.#lookAtPosture(lines, tell);
      this.#lookAtWarden(lines, tell);
      this.#lookAtParticipants(lines, tell);
      this.#lookAtDataplanes(lines, tell);
    } finally {
      this.#looking = false;
      // Whoever was told closed the board; what it was read from had to stay until here.
      if (this.#isClosed()) this.#unmap();
    }
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  #lookAtPosture(lines: LineReader, tell: boolean): void {
    const { word, storedAtNs, transition } = this.#readPosture(lines);
    const before = this.#transition;
    this.#transition = transition;
    if (!tell) this.#coordinator = this.#coordinatorNow();
    if (tell && transition !== undefined) {
      if (transition.epoch !== before?.epoch) {
        const step = transition.epoch - (before?.epoch ?? transition.epoch - 1n);
        const missedEpochs = step > 1n ? step - 1n : 0n;
        this.#missedEpochs += missedEpochs;
        const incarnation = this.#coordinatorNow();
        const restarted = incarnation !== this.#coordinator;
        this.#coordinator = incarnation;
        this.emit('posture.decided', {
          ...transition,
          missedEpochs,
          restarted,
          initial: false,
        });
      } else if (transition.stage !== before.stage || transition.stageAtNs !== before.stageAtNs) {
        this.emit('posture.staged', { ...transition, before: before.stage });
      }
    }
    this.#lookAtLevel(word, storedAtNs, this.#warden, tell);
  }

  /** Start of the coordinator that writes now: the first decision after it may come before the next rescan. */
  #coordinatorNow(): bigint {
    const posture = this.#find('posture');
    if (posture?.reader !== undefined) readHeader(posture, posture.reader);
    return posture?.header?.incarnation ?? 0n;
  }

  #lookAtLevel(word: PostureWord, storedAtNs: bigint, warden: WardenLines | undefined, tell: boolean): void {
    const before = this.#level;
    const changed = word.value !== this.#word.value;
    this.#word = word;
    this.#storedAtNs = storedAtNs;
    this.#level = levelsOf(word, warden).dataplane;
    if (tell && (changed || this.#level !== before)) {
      this.emit('posture.changed', { word, level: this.#level, before, storedAtNs });
    }
  }

  #lookAtWarden(lines: LineReader, tell: boolean): void {
    const before = this.#warden;
    const warden = this.#readWarden(lines);
    if (warden === undefined) return;
    this.#warden = warden;
    if (tell) {
      for (const [path, line] of Object.entries(warden.failClosed) as [
        PathName,
        typeof warden.failClosed.overlay,
      ][]) {
        const last = before?.failClosed[path];
        const sets = line.count > (last?.count ?? 0n) ? line.count - (last?.count ?? 0n) : 0n;
        if (line.word !== undefined && line.word.value !== last?.word?.value) {
          this.emit('failclosed.set', {
            path,
            word: line.word,
            setAtNs: line.setAtNs,
            missed: sets > 1n ? sets - 1n : 0n,
          });
        } else if (line.word === undefined && last?.word !== undefined) {
          this.emit('failclosed.cleared', { path, clearedAtNs: line.clearedAtNs });
        }
      }
    }
    this.#lookAtLevel(this.#word, this.#storedAtNs, warden, tell);
    this.#readViolations(lines, warden.violations, tell);
  }

  #readViolations(lines: LineReader, written: bigint, tell: boolean): void {
    const reader = this.#find('warden')?.reader;
    if (reader === undefined) return;
    // A warden that was started anew on a new file counts from 0 again.
    if (this.#nextViolation === undefined || this.#nextViolation > written)
      this.#nextViolation = tell ? 0n : written;
    if (!tell) return;
    let next = this.#nextViolation;
    let lost = 0n;
    const kept = BigInt(layout.limits.violationSlots);
    if (written - next > kept) {
      lost = written - next - kept;
      next = written - kept;
    }
    for (; next < written; next += 1n) {
      const violation = lines.violation('warden', reader, next);
      if (violation === undefined) {
        lost += 1n;
        continue;
      }
      this.emit('warden.violation', { ...violation, lost });
      this.#lostViolations += lost;
      lost = 0n;
    }
    this.#lostViolations += lost;
    this.#nextViolation = written;
  }

  #lookAtParticipants(lines: LineReader, tell: boolean): void {
    for (const { file, kind, reader } of this.#watched) {
      if (kind !== 'participant' || reader === undefined) continue;
      const { path, ack } = lines.participant(file, reader);
      if (ack === undefined || ack.outcome === 'none') continue;
      const before = this.#acks.get(file);
      this.#acks.set(file, ack);
      if (!tell || (before !== undefined && sameAck(before, ack))) continue;
      this.emit('participant.acknowledged', { name: file.slice('participant-'.length), path, ack });
    }
  }

  #lookAtDataplanes(lines: LineReader, tell: boolean): void {
    const { epoch, valid } = this.#word;
    if (!valid || epoch === this.#acknowledgedEpoch) return;
    const workers: { who: string; ack: Acknowledgement }[] = [];
    for (const { file, kind, reader, header } of this.#watched) {
      if (kind !== 'dataplane' || reader === undefined) continue;
      const dataplane: DataplaneLines = lines.dataplane(file, reader);
      const live = dataplane.workers.filter(({ live }) => live);
      const behind = live.some(({ ack }) => ack === undefined || ack.epoch < epoch);
      if (live.length > 0 && !behind) {
        for (const { index, ack } of live) {
          if (ack !== undefined) workers.push({ who: `${file.slice('dataplane-'.length)}/${index}`, ack });
        }
      } else if (header !== undefined && writerLives(header)) {
        // Behind, or without a worker yet: nobody has acknowledged until it has, or is dead (DP-2).
        return;
      }
    }
    if (workers.length === 0) return;
    this.#acknowledgedEpoch = epoch;
    if (!tell) return;
    this.emit('dataplane.acknowledged', {
      epoch,
      workers,
      startedAtNs: workers.reduce(
        (least, { ack }) => (ack.startedAtNs < least ? ack.startedAtNs : least),
        workers[0]?.ack.startedAtNs ?? 0n,
      ),
      finishedAtNs: workers.reduce(
        (most, { ack }) => (ack.finishedAtNs > most ? ack.finishedAtNs : most),
        0n,
      ),
    });
  }
}

/**
 * Reads the header of an open file anew. Why it is no good any more, or undefined; the one read before stands until
 * its writer has finished renewing it.
 */
function readHeader(each: Watched, reader: SegmentReader): Watched['why'] {
  try {
    each.header = reader.header;
  } catch (error) {
    if (!(error instanceof SegmentError)) throw error;
    if (error.code !== 'SEGMENT_OPENING') return { code: error.code, message: error.message };
  }
  return undefined;
}

function foundOf({ file, header }: Watched): BoardFound {
  return { file, incarnation: header?.incarnation ?? 0n };
}

function sameAck(a: Acknowledgement, b: Acknowledgement): boolean {
  return (
    a.epoch === b.epoch &&
    a.stage === b.stage &&
    a.outcome === b.outcome &&
    a.level === b.level &&
    a.finishedAtNs === b.finishedAtNs
  );
}
