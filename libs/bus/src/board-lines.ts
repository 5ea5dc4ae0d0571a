/**
 * What stands in the segments of the board, read and checked: every value that comes out of here is in its
 * range, and what was not is named as a fault (PO-16).
 * It must not compare lines with each other; what they mean together is the snapshot's business.
 */
import { PATHS, type PathName, VIOLATION_KINDS } from '@kedge/contracts';
import { layout, type SegmentReader } from '@kedge/shared-memory-ipc';
import { type Epoch, isEpoch, isLevel, type Level } from '@kedge/units';

import { type PostureWord, readWord } from './posture-word.js';

/** Stages of a transition in the order of `enum kedge_stage`; see layout.h for what each releases. */
export const STAGES = [
  'none',
  'tighten',
  'loosen-decided',
  'loosen-paths',
  'loosen-sessions',
  'loosen-dataplane',
  'verify',
  'complete',
] as const;
/** See {@link STAGES}. */
export type Stage = (typeof STAGES)[number];

/** Outcomes in the order of `enum kedge_outcome`. */
export const ACK_OUTCOMES = ['none', 'applied', 'unchanged', 'failed', 'cancelled'] as const;
/** See {@link ACK_OUTCOMES}. */
export type AckOutcome = (typeof ACK_OUTCOMES)[number];

/** Something in shared memory that is outside its range. It was not used. */
export interface BoardFault {
  readonly file: string;
  readonly field: string;
  readonly found: string;
}

/** A value per path. */
export type PerPath<T> = Readonly<Record<PathName, T>>;

/**
 * Whether a line goes in the order of a tightening. From a level to itself, where an accord changed or something is
 * brought right, the stages say the direction; at the last ones it is what it was in `known`, the line as it was read
 * before, and of an epoch whose earlier stages nobody saw the stricter is believed. The warden judges alike.
 */
export function tightens(
  line: Pick<Transition, 'epoch' | 'from' | 'to' | 'stage'>,
  known: Transition | undefined,
): boolean {
  if (line.to !== line.from) return line.to < line.from;
  if (line.stage.startsWith('loosen-')) return false;
  return line.epoch !== known?.epoch || known.tightening;
}

/** The transition line, as last read whole. */
export interface Transition {
  readonly epoch: Epoch;
  readonly from: Level;
  readonly to: Level;
  readonly stage: Stage;
  /** Whether it goes in the order of a tightening: see {@link tightens}. */
  readonly tightening: boolean;
  readonly receivedAtNs: bigint;
  readonly decidedAtNs: bigint;
  readonly stageAtNs: bigint;
  /** Wished budgets; 0 = the warden's. */
  readonly budgetNs: PerPath<bigint>;
}

/** An acknowledgement slot, as read whole. Times are CLOCK_MONOTONIC nanoseconds. */
export interface Acknowledgement {
  /** The newest epoch that is wholly applied. */
  readonly epoch: Epoch;
  readonly stage: Stage;
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
  readonly outcome: AckOutcome;
  /** The level now applied; undefined before the first. */
  readonly level: Level | undefined;
  readonly changes: number;
}

/** A heartbeat line. */
export interface Beat {
  /** 0 = never. */
  readonly atNs: bigint;
  readonly serving: boolean;
}

/** The posture file. */
export interface PostureLines {
  readonly word: PostureWord;
  readonly storedAtNs: bigint;
  /** undefined: not to be read whole, or out of range. */
  readonly transition: Transition | undefined;
}

/** A fail-closed line; undefined `word` = clear. */
export interface FailClosedLine {
  readonly word: PostureWord | undefined;
  readonly setAtNs: bigint;
  readonly clearedAtNs: bigint;
  /** Times set since the warden's start. */
  readonly count: bigint;
}

/** The warden's file without its events. */
export interface WardenLines {
  readonly failClosed: PerPath<FailClosedLine>;
  /** Budgets in force; undefined where the value is senseless. */
  readonly budgetNs: PerPath<bigint | undefined>;
  /** Age from which a heartbeat is stale. */
  readonly staleNs: bigint | undefined;
  readonly silenceKillNs: bigint | undefined;
  readonly realtime: boolean;
  /** Events ever written. */
  readonly violations: bigint;
}

/** One event of the warden. */
export interface Violation {
  /** Its number, from 0. */
  readonly number: bigint;
  readonly kind: (typeof VIOLATION_KINDS)[number];
  readonly path: PathName | undefined;
  readonly atNs: bigint;
  readonly epoch: Epoch;
  readonly deadlineNs: bigint;
  readonly level: Level | undefined;
  readonly outcome: number;
  readonly actedAtNs: bigint;
  readonly subject: string;
}

/** A packet worker's lines. */
export interface WorkerLines {
  readonly index: number;
  readonly ack: Acknowledgement | undefined;
  readonly live: boolean;
  readonly generation: bigint;
  readonly received: bigint;
  readonly sent: bigint;
  /** The warden's data-plane line as the worker last obeyed it; undefined = clear. */
  readonly failClosedSeen: PostureWord | undefined;
}

/** A data-plane file. */
export interface DataplaneLines {
  readonly workers: readonly WorkerLines[];
  /** Set while the data plane obeys its safe level (DP-7). */
  readonly safeLevel: Level | undefined;
}

/** Longest budget that is believed. */
const MAX_BUDGET_NS = 3_600_000_000_000n;

/** Reads the segments of one board; collects what was out of range. */
export class LineReader {
  readonly faults: BoardFault[] = [];

  beat(reader: SegmentReader): Beat {
    return {
      atNs: reader.load64(layout.posture.beat + layout.beat.atNs),
      serving: reader.load32(layout.posture.beat + layout.beat.serving) === 1,
    };
  }

  /** @param known the transition as it was read before: see {@link tightens}. */
  posture(file: string, reader: SegmentReader, known: Transition | undefined): PostureLines {
    // A tightening writes the line before the word: read the other way round, a new word never meets an old line.
    const word = readWord(reader.load64(layout.posture.word));
    const storedAtNs = reader.load64(layout.posture.storedAtNs);
    const line = reader.transition();
    if (line === undefined) {
      this.#fault(file, 'transition', 'never whole, or out of range');
      return { word, storedAtNs, transition: undefined };
    }
    const stage = STAGES[line.stage];
    if (line.stage === layout.enums.stage.NONE) return { word, storedAtNs, transition: undefined };
    if (stage === undefined || !isLevel(line.from) || !isLevel(line.to) || !isEpoch(line.epoch)) {
      this.#fault(file, 'transition', `stage ${line.stage}, ${line.from} to ${line.to}`);
      return { word, storedAtNs, transition: undefined };
    }
    const { epoch, from, to } = line;
    return {
      word,
      storedAtNs,
      transition: {
        epoch,
        from,
        to,
        stage,
        tightening: tightens({ epoch, from, to, stage }, known),
        receivedAtNs: line.receivedAtNs,
        decidedAtNs: line.decidedAtNs,
        stageAtNs: line.stageAtNs,
        budgetNs: perPath((_path, index) => line.budgetNs[index] ?? 0n),
      },
    };
  }

  warden(file: string, reader: SegmentReader): WardenLines {
    const duration = (field: string, offset: number): bigint | undefined => {
      const value = reader.load64(offset);
      if (value > 0n && value <= MAX_BUDGET_NS) return value;
      if (value !== 0n) this.#fault(file, field, String(value));
      return undefined;
    };
    return {
      failClosed: perPath((_path, index) => {
        const at = layout.warden.failClosed + index * layout.failClosed.size;
        const word = reader.load64(at + layout.failClosed.word);
        return {
          word: word === 0n ? undefined : readWord(word),
          setAtNs: reader.load64(at + layout.failClosed.setAtNs),
          clearedAtNs: reader.load64(at + layout.failClosed.clearedAtNs),
          count: reader.load64(at + layout.failClosed.count),
        };
      }),
      budgetNs: perPath((path, index) => duration(`budget.${path}`, layout.warden.budgetNs + index * 8)),
      staleNs: duration('stale', layout.warden.staleNs),
      silenceKillNs: duration('silence-kill', layout.warden.silenceKillNs),
      realtime: reader.load32(layout.warden.realtime) === 1,
      violations: reader.load64(layout.warden.violations),
    };
  }

  /** Event `number` of the warden; undefined where it is overwritten, being written or out of range. */
  violation(file: string, reader: SegmentReader, number: bigint): Violation | undefined {
    const slots = BigInt(layout.limits.violationSlots);
    const at = layout.warden.violation + Number(number % slots) * layout.violation.size;
    const whole = 2n * number + 2n;
    if (reader.load64(at + layout.violation.sequence) !== whole) return undefined;
    const kind = VIOLATION_KINDS[reader.load32(at + layout.violation.kind) - 1];
    const path = reader.load32(at + layout.violation.path);
    const level = reader.load32(at + layout.violation.level);
    const epoch = reader.load64(at + layout.violation.epoch);
    const subject = textOf(reader.bytes(at + layout.violation.subject, layout.limits.nameBytes));
    const rest = {
      atNs: reader.load64(at + layout.violation.atNs),
      deadlineNs: reader.load64(at + layout.violation.deadlineNs),
      outcome: reader.load32(at + layout.violation.outcome) | 0,
      actedAtNs: reader.load64(at + layout.violation.actedAtNs),
    };
    if (reader.load64(at + layout.violation.sequence) !== whole) return undefined;
    const pathName = PATHS[path];
    if (
      kind === undefined ||
      (pathName === undefined && path !== layout.limits.pathNone) ||
      (level !== 0 && !isLevel(level)) ||
      !isEpoch(epoch) ||
      subject === undefined
    ) {
      this.#fault(file, `violation ${number}`, `kind, path, level, epoch or subject out of range`);
      return undefined;
    }
    return { number, kind, path: pathName, level: level === 0 ? undefined : level, epoch, subject, ...rest };
  }

  participant(
    file: string,
    reader: SegmentReader,
  ): { path: PathName | undefined; ack: Acknowledgement | undefined } {
    const path = reader.load32(layout.participant.path);
    if (path !== layout.limits.pathNone && PATHS[path] === undefined) this.#fault(file, 'path', String(path));
    return { path: PATHS[path], ack: this.#ack(file, 'ack', reader, layout.participant.ack) };
  }

  dataplane(file: string, reader: SegmentReader): DataplaneLines {
    let count = reader.load32(layout.dataplane.workers);
    if (count > layout.limits.maxWorkers) {
      this.#fault(file, 'workers', String(count));
      count = 0;
    }
    const safe = reader.load32(layout.dataplane.safeLevel);
    if (safe !== 0 && !isLevel(safe)) this.#fault(file, 'safe_level', String(safe));
    const workers = Array.from({ length: count }, (_, index): WorkerLines => {
      const at = layout.dataplane.worker + index * layout.worker.size;
      const seen = reader.load64(at + layout.worker.failClosedSeen);
      return {
        index,
        ack: this.#ack(file, `worker ${index}`, reader, at + layout.worker.ack),
        live: reader.load32(at + layout.worker.live) === 1,
        generation: reader.load64(at + layout.worker.generation),
        received: reader.load64(at + layout.worker.received),
        sent: reader.load64(at + layout.worker.sent),
        failClosedSeen: seen === 0n ? undefined : readWord(seen),
      };
    });
    // A safe level that is none is obeyed as lockdown, like everywhere.
    return { workers, safeLevel: safe === 0 ? undefined : isLevel(safe) ? safe : 1 };
  }

  #ack(file: string, field: string, reader: SegmentReader, offset: number): Acknowledgement | undefined {
    const line = reader.ack(offset);
    if (line === undefined) {
      this.#fault(file, field, 'never whole, or out of range');
      return undefined;
    }
    const stage = STAGES[line.stage];
    const outcome = ACK_OUTCOMES[line.outcome];
    if (
      stage === undefined ||
      outcome === undefined ||
      !isEpoch(line.epoch) ||
      (line.level !== 0 && !isLevel(line.level))
    ) {
      this.#fault(file, field, `stage ${line.stage}, outcome ${line.outcome}, level ${line.level}`);
      return undefined;
    }
    return {
      epoch: line.epoch,
      stage,
      outcome,
      startedAtNs: line.startedAtNs,
      finishedAtNs: line.finishedAtNs,
      level: isLevel(line.level) ? line.level : undefined,
      changes: line.changes,
    };
  }

  #fault(file: string, field: string, found: string): void {
    this.faults.push({ file, field, found });
  }
}

/** A value for each path, in the order of `enum kedge_path`. */
export function perPath<T>(make: (path: PathName, index: number) => T): PerPath<T> {
  return Object.fromEntries(PATHS.map((path, index) => [path, make(path, index)])) as Record<PathName, T>;
}

/** A NUL-terminated name of printable characters; undefined where it is none. */
function textOf(bytes: Buffer): string | undefined {
  const end = bytes.indexOf(0);
  const text = bytes.toString('latin1', 0, end);
  return end >= 0 && /^[!-~]*$/.test(text) ? text : undefined;
}
