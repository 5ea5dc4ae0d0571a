/**
 * The posture as the API shows it.
 * It must not change anything.
 */
import type {
  DisagreementReport,
  FailClosedReport,
  PostureState,
  RefusalReply,
  ServiceReport,
  SetReply,
  ViolationReport,
} from '@kedge/bus';
import { PATHS } from '@kedge/contracts';
import type { Outbox } from '@kedge/ledger-link';
import { levelInForce, type RefusalAnswer, type Reply, wrongs } from '@kedge/posture';
import { tighterOf, type Level } from '@kedge/units';

import type { Reports } from './reports.js';
import type { TransitionDriver } from './transition-driver.js';

/** What the API shows now. */
export function postureStateOf(driver: TransitionDriver, reports: Reports, records: Outbox): PostureState {
  const { machine, snapshot } = driver;
  const word: Level = machine.word.level ?? 1;
  const line = snapshot.failClosed.dataplane;
  const transition = driver.currentReport();
  return {
    epoch: machine.last.epoch,
    level: line === undefined ? word : tighterOf(word, line.level),
    target: machine.last.to,
    ...(transition === undefined ? {} : { transition }),
    failClosed: PATHS.flatMap((path): FailClosedReport[] => {
      const set = snapshot.failClosed[path];
      return set === undefined ? [] : [{ path, level: set.level, epoch: set.epoch, setAtNs: set.setAtNs }];
    }),
    services: servicesOf(driver),
    atNs: snapshot.atNs,
    alarms: alarmsOf(driver, reports, records),
    disagreements: snapshot.disagreements.map(
      ({ who, path, believes, inForce, ageNs, overdue }): DisagreementReport => ({
        who,
        path,
        believesEpoch: believes.epoch,
        believesLevel: believes.level ?? 0,
        inForceEpoch: inForce.epoch,
        inForceLevel: inForce.level,
        ageNs,
        overdue,
        away: machine.standings[who]?.present !== true,
      }),
    ),
    violations: driver.violations.map(
      ({ number, atNs, epoch, kind, path, subject, deadlineNs, actedAtNs, level }): ViolationReport => ({
        number,
        atNs,
        epoch,
        kind,
        path: path ?? '',
        subject,
        deadlineNs,
        actedAtNs,
        level: level ?? 0,
      }),
    ),
  };
}

function servicesOf({ snapshot, machine }: TransitionDriver): readonly ServiceReport[] {
  return snapshot.files.map(({ file, beatAgeNs, stale, serving, pid }): ServiceReport => {
    const acks =
      file === 'posture'
        ? [{ epoch: machine.last.epoch, level: levelInForce(machine) }]
        : [
            ...snapshot.participants.filter((each) => each.file.file === file).map(({ ack }) => ack),
            ...snapshot.dataplanes
              .filter((each) => each.file.file === file)
              .flatMap(({ workers }) => workers.filter(({ live }) => live).map(({ ack }) => ack)),
          ];
    // Of several workers the one that is furthest behind speaks.
    const behind = acks.reduce<{ epoch: bigint; level: number } | undefined>((least, ack) => {
      const each = { epoch: ack?.epoch ?? 0n, level: ack?.level ?? 0 };
      return least === undefined || each.epoch < least.epoch ? each : least;
    }, undefined);
    return {
      name: file === 'posture' ? 'posture-coordinator' : file === 'tables' ? 'vpp-bridge' : file,
      beatAgeNs: beatAgeNs ?? 0n,
      stale,
      serving,
      pid,
      epoch: behind?.epoch ?? 0n,
      level: behind?.level ?? 0,
    };
  });
}

function alarmsOf(driver: TransitionDriver, reports: Reports, records: Outbox): readonly string[] {
  const { machine, snapshot } = driver;
  return [
    ...driver.alarms,
    ...(snapshot.wardenFresh ? [] : ['the warden does not beat: nothing loosens']),
    ...PATHS.flatMap((path) => {
      const set = snapshot.failClosed[path];
      return set === undefined
        ? []
        : [`${path} is fail-closed at level ${set.level} since epoch ${set.epoch}`];
    }),
    ...(machine.phase === 'steady'
      ? wrongs(machine).filter((sentence) => !sentence.includes('fail-closed'))
      : []),
    ...Object.entries(machine.standings)
      .filter(([, { present }]) => !present)
      .map(([who, { path }]) => `${who} of the path ${path} is away`),
    ...snapshot.disagreements
      .filter(({ who, overdue }) => overdue && machine.standings[who]?.present === true)
      .map(
        ({ who, believes, inForce }) =>
          `${who} believes in level ${believes.level ?? 'none'} of epoch ${believes.epoch}, in force is level ${inForce.level} of epoch ${inForce.epoch}`,
      ),
    ...snapshot.faults.map(({ file, field, found }) => `${file}: ${field} is out of range (${found})`),
    ...(reports.lost > 0 ? [`${reports.lost} reports could not be written`] : []),
    ...records.alarms,
  ];
}

/** A refusal on the wire. */
export function refusalReplyOf(refusal: RefusalAnswer): RefusalReply {
  return {
    code: refusal.code,
    message: refusal.message,
    field: refusal.field ?? '',
    expected: refusal.expected ?? '',
    help: refusal.help ?? '',
    rule: refusal.rule ?? '',
  };
}

/** An answer on the wire. */
export function setReplyOf(reply: Reply, times: { receivedAtNs: bigint; decidedAtNs: bigint }): SetReply {
  switch (reply.kind) {
    case 'refusal':
      return { outcome: 'refusal', refusal: refusalReplyOf(reply) };
    case 'waiting':
      return { outcome: 'waiting', waiting: { behindEpoch: reply.behindEpoch } };
    case 'decision': {
      const { epoch, from, to, durable } = reply;
      return { outcome: 'decision', decision: { epoch, from, to, durable, ...times } };
    }
  }
}
