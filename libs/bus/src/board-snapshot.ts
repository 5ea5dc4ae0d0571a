/**
 * What the lines of the board mean together: levels in force, what gates obey, who disagrees.
 * It must stay a pure function of what was read.
 */
import type { PathName } from '@kedge/contracts';
import { type Epoch, EPOCH_NONE, type Level, tighterOf } from '@kedge/units';

import {
  type Acknowledgement,
  type Beat,
  type BoardFault,
  type DataplaneLines,
  type PerPath,
  perPath,
  type PostureLines,
  STAGES,
  type Transition,
  type WardenLines,
} from './board-lines.js';
import type { PostureWord } from './posture-word.js';

/** A file of the board as it stands for its readers. */
export interface BoardFile {
  /** Name inside the board directory. */
  readonly file: string;
  /** `open`; `lost` = replaced or removed, its last state is still read; `missing` = never opened. */
  readonly state: 'open' | 'lost' | 'missing';
  /** Why it is not open: a SEGMENT_* code and its sentence. */
  readonly why?: { readonly code: string; readonly message: string };
  readonly pid: number;
  /** Counts the starts of its writer; 0 = unknown. */
  readonly incarnation: bigint;
  /** Whether the writing process exists. */
  readonly alive: boolean;
  /** Age of its heartbeat; undefined = never beaten, or a beat that lies in the future. */
  readonly beatAgeNs: bigint | undefined;
  /** No heartbeat for longer than the limit, or file not open. */
  readonly stale: boolean;
  /** Brought to the current posture and serving (PO-19), as its writer says, unless stale. */
  readonly serving: boolean;
}

/** A participant and what it acknowledged. */
export interface ParticipantState {
  /** Without "participant-". */
  readonly name: string;
  readonly file: BoardFile;
  /** undefined = takes part in none. */
  readonly path: PathName | undefined;
  readonly ack: Acknowledgement | undefined;
}

/** A data-plane process and its workers. */
export interface DataplaneState extends DataplaneLines {
  /** Without "dataplane-". */
  readonly name: string;
  readonly file: BoardFile;
}

/** Somebody believes in another posture than the board says (PO-20). */
export interface Disagreement {
  /** Participant, or DATAPLANE/WORKER. */
  readonly who: string;
  readonly path: PathName;
  readonly believes: { readonly epoch: Epoch; readonly level: Level | undefined };
  readonly inForce: { readonly epoch: Epoch; readonly level: Level };
  /** How long the board has said so. */
  readonly ageNs: bigint;
  /** Older than the budget of the path: an alarm. */
  readonly overdue: boolean;
}

/** The whole board at one moment. */
export interface BoardSnapshot {
  /** When it was taken, CLOCK_MONOTONIC. */
  readonly atNs: bigint;
  /**
   * The posture word as last read; level 1 and not valid before the first decision and while the posture file
   * was never readable.
   */
  readonly word: PostureWord;
  readonly storedAtNs: bigint;
  /** The last transition line that was whole; undefined before the first. */
  readonly transition: Transition | undefined;
  /** What each path obeys: the stricter of the word and its fail-closed line. */
  readonly levels: PerPath<Level>;
  /** What packets obey: `levels.dataplane`. */
  readonly level: Level;
  /** What gates of each path obey: `levels` or the target of the transition, whichever is stricter (PO-15). */
  readonly gateLevels: PerPath<Level>;
  /** The strictest of `gateLevels`. */
  readonly gateLevel: Level;
  /** Fail-closed lines that are set. */
  readonly failClosed: Readonly<Partial<Record<PathName, PostureWord & { readonly setAtNs: bigint }>>>;
  /** Budgets in force: the warden's, shortened by the transition's wish; undefined without a warden. */
  readonly budgetNs: PerPath<bigint | undefined>;
  /** False while the warden's heartbeat is stale or its file not open: nothing loosens (PO-12). */
  readonly wardenFresh: boolean;
  /** False while the posture file is lost or missing: gates stay shut. */
  readonly postureReadable: boolean;
  readonly files: readonly BoardFile[];
  readonly participants: readonly ParticipantState[];
  readonly dataplanes: readonly DataplaneState[];
  readonly disagreements: readonly Disagreement[];
  readonly faults: readonly BoardFault[];
}

/** What a snapshot is made of. */
export interface BoardReading {
  readonly atNs: bigint;
  readonly posture: PostureLines;
  readonly warden: WardenLines | undefined;
  readonly files: readonly BoardFile[];
  readonly participants: readonly ParticipantState[];
  readonly dataplanes: readonly DataplaneState[];
  readonly faults: readonly BoardFault[];
}

/** Age from which a heartbeat is stale where the warden does not say. */
export const DEFAULT_STALE_NS = 1_000_000_000n;

/** How old a heartbeat is; undefined = never, or not to be believed because it lies in the future. */
export function beatAge(beat: Beat, nowNs: bigint): bigint | undefined {
  if (beat.atNs === 0n || beat.atNs > nowNs + DEFAULT_STALE_NS) return undefined;
  return nowNs > beat.atNs ? nowNs - beat.atNs : 0n;
}

/** What a path obeys: the stricter of the word and the path's fail-closed line. */
export function levelsOf(word: PostureWord, warden: WardenLines | undefined): PerPath<Level> {
  return perPath((path) => {
    const line = warden?.failClosed[path].word;
    return line === undefined ? word.level : tighterOf(word.level, line.level);
  });
}

/** The meaning of what was read. */
export function snapshotOf(reading: BoardReading): BoardSnapshot {
  const { posture, warden, files } = reading;
  const { word, transition } = posture;
  const levels = levelsOf(word, warden);
  const target = transition?.to;
  const gateLevels = perPath((path) =>
    target === undefined ? levels[path] : tighterOf(levels[path], target),
  );
  const budgetNs = perPath((path) => {
    const held = warden?.budgetNs[path];
    const wished = transition?.budgetNs[path] ?? 0n;
    return held !== undefined && wished > 0n && wished < held ? wished : held;
  });
  const wardenFile = files.find(({ file }) => file === 'warden');
  const postureFile = files.find(({ file }) => file === 'posture');
  return {
    atNs: reading.atNs,
    word,
    storedAtNs: posture.storedAtNs,
    transition,
    levels,
    level: levels.dataplane,
    gateLevels,
    gateLevel: Object.values(gateLevels).reduce(tighterOf),
    failClosed: Object.fromEntries(
      Object.entries(warden?.failClosed ?? {}).flatMap(([path, line]) =>
        line.word === undefined ? [] : [[path, { ...line.word, setAtNs: line.setAtNs }]],
      ),
    ),
    budgetNs,
    wardenFresh: wardenFile?.stale === false,
    postureReadable: postureFile?.state === 'open',
    files,
    participants: reading.participants,
    dataplanes: reading.dataplanes,
    disagreements: disagreementsOf(reading, budgetNs),
    faults: reading.faults,
  };
}

function disagreementsOf(
  { atNs, posture, warden, participants, dataplanes }: BoardReading,
  budgetNs: PerPath<bigint | undefined>,
): Disagreement[] {
  const found: Disagreement[] = [];
  const compare = (who: string, path: PathName, ack: Acknowledgement | undefined, tightest?: Level): void => {
    const expected = expectedOn(path, posture);
    if (expected === undefined) return;
    const limits = [warden?.failClosed[path].word?.level, tightest].filter((limit) => limit !== undefined);
    const inForce = { epoch: expected.epoch, level: limits.reduce(tighterOf, expected.level) };
    const believes = { epoch: ack?.epoch ?? EPOCH_NONE, level: ack?.level };
    if (believes.level === inForce.level && believes.epoch >= inForce.epoch) return;
    const ageNs = atNs > expected.sinceNs ? atNs - expected.sinceNs : 0n;
    found.push({
      who,
      path,
      believes,
      inForce,
      ageNs,
      overdue: ageNs > (budgetNs[path] ?? 0n),
    });
  };
  for (const { name, path, ack } of participants) {
    if (path !== undefined) compare(name, path, ack);
  }
  for (const { name, workers, safeLevel } of dataplanes) {
    for (const { index, live, ack } of workers) {
      if (live) compare(`${name}/${index}`, 'dataplane', ack, safeLevel);
    }
  }
  return found;
}

interface Expected {
  readonly epoch: Epoch;
  readonly level: Level;
  readonly sinceNs: bigint;
}

/** What somebody on a path should believe, fail-closed lines aside; undefined before the first decision. */
function expectedOn(path: PathName, { word, storedAtNs, transition }: PostureLines): Expected | undefined {
  if (!word.valid) return undefined;
  const tightening = transition?.tightening === true;
  if (transition === undefined || transition.epoch < word.epoch || path === 'dataplane') {
    // Packets obey the word and nothing else.
    const decided = tightening && transition.epoch === word.epoch;
    return { epoch: word.epoch, level: word.level, sinceNs: decided ? transition.decidedAtNs : storedAtNs };
  }
  const { epoch, from, to, stage, decidedAtNs, stageAtNs } = transition;
  if (tightening) return { epoch, level: to, sinceNs: decidedAtNs };
  // A loosening binds a path from the stage that releases it; before, the path stays where it was.
  return STAGES.indexOf(stage) >= STAGES.indexOf('loosen-paths')
    ? { epoch, level: to, sinceNs: stageAtNs }
    : { epoch: EPOCH_NONE, level: from, sinceNs: decidedAtNs };
}
