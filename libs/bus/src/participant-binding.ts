/**
 * What the board asks of a participant now: at which epoch and level it has to stand, and from when on it may move.
 * It must stay a pure function of a snapshot.
 */
import type { PathName } from '@kedge/contracts';
import type { GateView } from '@kedge/reconcile';
import { type Epoch, isTighter, laterOf, type Level, LOCKDOWN, tighterOf } from '@kedge/units';

import { type Stage, STAGES } from './board-lines.js';
import type { BoardSnapshot } from './board-snapshot.js';

/** What somebody on a path is bound to. */
export interface Binding {
  /** The decision that binds; 0 while there is none. */
  readonly epoch: Epoch;
  /** The level to bring the world to. */
  readonly level: Level;
  /** What the decision itself says, before fail-closed line and other limits. */
  readonly decided: Level;
  /** The stage to acknowledge. */
  readonly stage: Exclude<Stage, 'none'>;
  /** True where the way to `level` is choreographed: everybody starts by themselves (PO-7). */
  readonly tightening: boolean;
  /** A miss is an alarm and enforces nothing: on the way from 5 to 4, which only watches more (PO-12). */
  readonly alarmOnly: boolean;
  /** What limits `level` beside the decision. */
  readonly limits: readonly ('fail-closed' | 'board-unreadable')[];
  /** From when the budget runs; undefined where there is no transition to be in time for. */
  readonly budgetFromNs: bigint | undefined;
  /** The budget in force: the warden's, shortened by the transition's wish. */
  readonly budgetNs: bigint | undefined;
  /**
   * The data plane tightens first: how long after the decision, at most, to wait for it; undefined = it has
   * acknowledged, or nobody has to wait for it (PO-7).
   */
  readonly dataplaneFirstNs: bigint | undefined;
  /** Whether anything may loosen now: warden fresh, and a live coordinator where its stage is what releases (PO-12, PO-15). */
  readonly mayLoosen: boolean;
}

/**
 * Whether somebody may take up other accords than those they go by: on the way to a tighter level, or while anything
 * may loosen. Before its release, and after it was lost, a looser set is left alone (PO-12).
 */
export function mayFollow({ tightening, mayLoosen }: Binding): boolean {
  return tightening || mayLoosen;
}

/** Which part of a path somebody is: sessions are released after the rest when loosening. */
export type PathLayer = 'path' | 'session';

/** The data plane's budget where no warden says one. */
const DATAPLANE_BUDGET_NS = 1_000_000n;

const at = (stage: Stage): number => STAGES.indexOf(stage);

/** What `snapshot` asks of somebody on `path`. */
export function bindingOf(snapshot: BoardSnapshot, path: PathName, layer: PathLayer = 'path'): Binding {
  const { word, transition: line, budgetNs, wardenFresh } = snapshot;
  const posture = snapshot.files.find(({ file }) => file === 'posture');
  const release: Stage = layer === 'session' ? 'loosen-sessions' : 'loosen-paths';
  const rest = {
    alarmOnly: false,
    budgetFromNs: undefined,
    dataplaneFirstNs: undefined,
    mayLoosen: wardenFresh,
  };
  const decision = ((): Omit<Binding, 'level' | 'limits' | 'budgetNs'> => {
    if (line === undefined || line.epoch < word.epoch) {
      // A word of which no line tells: of it and what the line said last the stricter (PO-15).
      const decided = line === undefined ? word.level : tighterOf(word.level, line.to);
      return { ...rest, epoch: word.epoch, decided, stage: 'tighten', tightening: true };
    }
    const { epoch, from, to, stage } = line;
    if (line.tightening) {
      return {
        ...rest,
        epoch,
        // The word is stored after the line; until then, and after a crash in between, the stricter of both.
        decided: word.valid ? tighterOf(word.level, to) : to,
        stage: 'tighten',
        tightening: true,
        alarmOnly: from === 5 && to === 4,
        budgetFromNs: line.decidedAtNs,
        dataplaneFirstNs: dataplaneAcknowledged(snapshot, epoch)
          ? undefined
          : (budgetNs.dataplane ?? DATAPLANE_BUDGET_NS),
      };
    }
    if (at(stage) < at(release)) {
      return {
        ...rest,
        epoch: word.epoch < epoch ? word.epoch : ((epoch - 1n) as Epoch),
        decided: word.valid ? tighterOf(word.level, from) : from,
        stage: 'tighten',
        tightening: true,
      };
    }
    const coordinatorLives = posture?.stale === false;
    return {
      ...rest,
      epoch,
      decided: to,
      stage: release,
      tightening: false,
      budgetFromNs: line.stageAtNs,
      mayLoosen: wardenFresh && (stage === 'complete' || coordinatorLives),
    };
  })();
  const limits: Binding['limits'][number][] = [];
  let level = decision.decided;
  const closed = snapshot.failClosed[path];
  if (closed !== undefined && isTighter(closed.level, level)) {
    limits.push('fail-closed');
    level = closed.level;
  }
  if (!snapshot.postureReadable) {
    limits.push('board-unreadable');
    level = LOCKDOWN;
  }
  return { ...decision, level, limits, budgetNs: budgetNs[path] };
}

/** Whether every live worker of every living data plane has acknowledged `epoch`; false where there is none. */
export function dataplaneAcknowledged({ dataplanes }: BoardSnapshot, epoch: Epoch): boolean {
  let workers = 0;
  for (const { file, workers: lines } of dataplanes) {
    const live = lines.filter((each) => each.live);
    const behind = live.some(({ ack }) => ack === undefined || ack.epoch < epoch);
    if (file.alive && (behind || live.length === 0)) return false;
    if (!behind) workers += live.length;
  }
  return workers > 0;
}

/** What a mutation gate of `path` sees of the board; undefined where it cannot be read. */
export function gateViewOf(snapshot: BoardSnapshot, path: PathName): GateView | undefined {
  if (!snapshot.postureReadable || !snapshot.word.valid) return undefined;
  return {
    epoch: laterOf(snapshot.word.epoch, snapshot.transition?.epoch ?? snapshot.word.epoch),
    level: snapshot.gateLevels[path],
  };
}
