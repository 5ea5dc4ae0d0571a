/**
 * What the board says about participants, workers, warden and fail-closed lines, as events of the posture machine.
 * It must not act on the board and must not remember more than the machine does.
 */
import type { Acknowledgement, BoardSnapshot } from '@kedge/bus';
import { PATHS } from '@kedge/contracts';
import type { PostureEvent, PostureMachine, Standing } from '@kedge/posture';
import { EPOCH_NONE, tighterOf } from '@kedge/units';

/** Somebody on the board who takes part in transitions. */
export interface Party {
  readonly standing: Standing;
  readonly ack: Acknowledgement | undefined;
}

/** Everybody on the board, workers as DATAPLANE/WORKER. Who is dead is there, and not present (PO-19). */
export function partiesOf(
  snapshot: BoardSnapshot,
  sessionParticipants: readonly string[],
): ReadonlyMap<string, Party> {
  const parties = new Map<string, Party>();
  for (const { name, file, path, ack } of snapshot.participants) {
    if (path === undefined) continue;
    parties.set(name, {
      ack,
      standing: {
        path,
        layer: path === 'dataplane' ? 'dataplane' : sessionParticipants.includes(name) ? 'session' : 'path',
        present: file.state === 'open' && file.alive,
        epoch: ack?.epoch ?? EPOCH_NONE,
        level: ack?.level,
        outcome: ack?.outcome ?? 'none',
      },
    });
  }
  for (const { name, file, workers, safeLevel } of snapshot.dataplanes) {
    for (const { index, live, ack } of workers) {
      // A place where nobody works takes no part; who died working is away.
      if (!live) continue;
      const level = ack?.level;
      parties.set(`${name}/${index}`, {
        ack,
        standing: {
          path: 'dataplane',
          layer: 'dataplane',
          present: file.state === 'open' && file.alive,
          epoch: ack?.epoch ?? EPOCH_NONE,
          // A data plane that went to its safe level obeys that, whatever it acknowledged (DP-7).
          level: level !== undefined && safeLevel !== undefined ? tighterOf(level, safeLevel) : level,
          outcome: ack?.outcome ?? 'none',
        },
      });
    }
  }
  return parties;
}

/** The events that bring the machine to what the board says. The warden comes first: it may stop what follows. */
export function eventsOf(
  machine: PostureMachine,
  snapshot: BoardSnapshot,
  parties: ReadonlyMap<string, Party>,
): readonly PostureEvent[] {
  const events: PostureEvent[] = [];
  if (snapshot.wardenFresh !== machine.wardenFresh) {
    events.push(
      snapshot.wardenFresh
        ? { kind: 'serviceBack', who: 'warden', standing: undefined }
        : { kind: 'serviceLost', who: 'warden' },
    );
  }
  for (const path of PATHS) {
    const line = snapshot.failClosed[path];
    const known = machine.failClosed[path];
    if (line === undefined) {
      if (known !== undefined) events.push({ kind: 'failClosedCleared', path });
    } else if (known?.epoch !== line.epoch || known.level !== line.level) {
      events.push({ kind: 'failClosedSet', path, level: line.level, epoch: line.epoch });
    }
  }
  for (const [who, { standing }] of parties) {
    const known = machine.standings[who];
    if (!standing.present) {
      if (known?.present !== false) events.push({ kind: 'serviceLost', who, standing });
    } else if (known?.present !== true || known.path !== standing.path || known.layer !== standing.layer) {
      events.push({ kind: 'serviceBack', who, standing });
    } else if (
      known.epoch !== standing.epoch ||
      known.level !== standing.level ||
      known.outcome !== standing.outcome
    ) {
      const { epoch, level, outcome } = standing;
      events.push({ kind: 'acknowledged', who, epoch, level, outcome });
    }
  }
  for (const [who, { present }] of Object.entries(machine.standings)) {
    if (parties.has(who)) continue;
    const gone = snapshot.dataplanes.some(
      ({ name, file }) => who.startsWith(`${name}/`) && file.state === 'open' && file.alive,
    );
    if (present || gone) events.push({ kind: 'serviceLost', who, gone });
  }
  return events;
}
