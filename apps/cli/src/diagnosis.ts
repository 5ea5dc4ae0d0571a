/**
 * What is late, stale, disagreeing or missing, by what was seen: findings as data, and as text.
 * It must stay a pure function of an examination; it asks nobody.
 */
import type { BoardSnapshot, LedgerStatusReply, PostureState, ShowReply, Violation } from '@kedge/bus';

import type { Examination, Sight } from './examination.js';
import { durationText, levelText, plain } from './render.js';

export const SEVERITIES = ['failure', 'warning', 'notice'] as const;
/** failure: the posture is not enforced, or cannot be relied on; warning: degraded; notice: worth knowing. */
export type Severity = (typeof SEVERITIES)[number];

interface Kind {
  readonly severity: Severity;
  /** What it means. */
  readonly meaning: string;
  /** What to do. */
  readonly todo: string;
}

/** Every kind of finding. docs/cli.md lists the same, and a test compares. */
export const FINDINGS = {
  'coordinator-unreachable': {
    severity: 'failure',
    meaning: 'nobody can change the posture; what is in force stays in force',
    todo: 'look at the log of posture-coordinator; the warden starts it again by itself',
  },
  'bridge-unreachable': {
    severity: 'failure',
    meaning: 'rules in use stay in use, but accords, zones and allowlists cannot be changed',
    todo: 'look at the log of vpp-bridge; the warden starts it again by itself',
  },
  'service-unreachable': {
    severity: 'failure',
    meaning: 'the path of this service is not governed by anybody but the warden',
    todo: 'look at the log of the service; the warden starts it again by itself',
  },
  'ledger-unreachable': {
    severity: 'warning',
    meaning: 'records wait in the spools of the services; nothing is lost before one of them is full',
    todo: 'look at the log of quartermaster; the warden starts it again by itself',
  },
  'ledger-refuses': {
    severity: 'failure',
    meaning: 'nothing is recorded for good; records wait in the spools of the services until those are full',
    todo: 'make room on the disk of the ledger; it goes on by itself',
  },
  'ledger-contradicted': {
    severity: 'failure',
    meaning: 'the witness has proof that this ledger was put back or has another history',
    todo: 'keep the state directory as it is; kedge ledger verify --kept with the checkpoint of the witness',
  },
  'ledger-index-behind': {
    severity: 'notice',
    meaning: 'the newest records cannot be asked for yet; they are kept and proven',
    todo: 'nothing, if it is gone in a moment',
  },
  'intent-unreachable': {
    severity: 'warning',
    meaning: 'what is intended cannot be changed, and nobody sees whether devices differ from it',
    todo: 'look at the log of the intent; devices stay as they are until it is back',
  },
  'device-unreachable': {
    severity: 'warning',
    meaning: 'what is known of the device is older, and nothing can be changed on it',
    todo: 'kedge intent devices ID says why; is it up, and does the network to it work?',
  },
  'device-refused': {
    severity: 'warning',
    meaning: 'the intent in force cannot be carried out on the device; it stays as it is',
    todo: 'kedge intent devices ID names what has to be corrected, in the intent or in the inventory',
  },
  'device-drifted': {
    severity: 'notice',
    meaning: 'something on the device is not as it is intended',
    todo: 'kedge intent drift ID says what, since when, and what is done about it',
  },
  'service-not-serving': {
    severity: 'warning',
    meaning: 'it has not been brought to the current posture yet, and its path counts as not applied',
    todo: 'wait a moment and look again; if it stays so, its log says what it waits for',
  },
  'service-stale': {
    severity: 'failure',
    meaning: 'its event loop hangs or it is gone; after its limit the warden kills it and starts it again',
    todo: 'look at its log; if it happens again and again, send a support bundle',
  },
  'warden-silent': {
    severity: 'failure',
    meaning: 'nobody keeps the deadlines, and nothing loosens until the warden beats again',
    todo: 'start the warden; on an appliance: systemctl status kedge-warden',
  },
  'board-unreadable': {
    severity: 'failure',
    meaning: 'the services cannot see what was decided, or this command may not look',
    todo: 'run the command as root; if it stays so, check owner and mode of the board directory',
  },
  'board-file-missing': {
    severity: 'failure',
    meaning: 'the service that writes it has not started, or its file was refused',
    todo: 'start the service; when the file was refused, the reason says what to correct',
  },
  'board-file-foreign': {
    severity: 'warning',
    meaning: 'nobody reads it, or somebody was left out of the configuration of the coordinator',
    todo: 'add it to board.owners of posture-coordinator.json, or remove the file',
  },
  'board-fault': {
    severity: 'failure',
    meaning: 'a value in shared memory is out of its range; it is not used',
    todo: 'start the service that writes the file again, and send a support bundle',
  },
  'no-decision': {
    severity: 'failure',
    meaning: 'packets obey lockdown, because no posture was ever decided since the start',
    todo: 'look at the log of posture-coordinator: it decides at its start',
  },
  'fail-closed': {
    severity: 'failure',
    meaning: 'the warden has forced this path shut, because it was not in time',
    todo: 'it ends by itself when the path acknowledges the current epoch; kedge transition show tells who was late',
  },
  'safe-level': {
    severity: 'failure',
    meaning: 'the data plane heard from neither coordinator nor warden and tightened by itself',
    todo: 'bring coordinator and warden back; it follows the posture again by itself',
  },
  'dataplane-dead': {
    severity: 'failure',
    meaning: 'no packet worker lives: nothing is forwarded',
    todo: 'look at the log of the data plane; the warden starts it again by itself',
  },
  'epochs-disagree': {
    severity: 'failure',
    meaning: 'somebody works with another posture than the one in force, for longer than the budget allows',
    todo: 'ask for the level in force again (kedge posture set): it is applied anew; then look at its log',
  },
  'participant-behind': {
    severity: 'notice',
    meaning: 'it has not acknowledged the current epoch, and its budget is not over yet',
    todo: 'nothing, if it is gone in a moment',
  },
  'participant-failed': {
    severity: 'failure',
    meaning: 'it could not apply its part and closed its path by itself',
    todo: 'look at its log; then ask for the level in force again: it is applied anew',
  },
  'transition-overdue': {
    severity: 'failure',
    meaning: 'a transition runs for longer than any path may take',
    todo: 'kedge transition show tells who it waits for; look at their logs',
  },
  'transition-late': {
    severity: 'warning',
    meaning: 'the last transition missed a budget',
    todo: 'kedge transition show tells who was late and by how much',
  },
  'not-durable': {
    severity: 'failure',
    meaning: 'the decision in force would be lost in a power cut, and nothing loosens meanwhile',
    todo: 'look at the disk of the state directory: full, read-only or failing',
  },
  violation: {
    severity: 'warning',
    meaning: 'the warden had to step in, or saw a deadline pass, within the last hour',
    todo: 'kedge transition show EPOCH tells who was late; the log of the service tells why',
  },
  'violations-past': {
    severity: 'notice',
    meaning: 'the warden had to step in more than an hour ago',
    todo: 'nothing, if the cause is known',
  },
  alarm: {
    severity: 'warning',
    meaning: 'a service says that something is not as it should be',
    todo: 'read it literally; the log of the service says more',
  },
  'journal-damaged': {
    severity: 'failure',
    meaning:
      'after the next start the level will be 2 or tighter, because the last decision is not known for sure',
    todo: 'keep a copy for the analysis; the coordinator writes a new one at its start',
  },
  'journal-missing': {
    severity: 'failure',
    meaning: 'after the next start the level will be 2, because no decision is known',
    todo: 'check the state directory: is the right disk mounted?',
  },
  'journal-behind': {
    severity: 'failure',
    meaning: 'the posture in force is newer than the journal: a power cut would lose it',
    todo: 'look at the disk of the state directory: full, read-only or failing',
  },
  'accords-invalid': {
    severity: 'failure',
    meaning: 'the files cannot be used: at the next start only the console may loosen',
    todo: 'correct what is named; yanglint with the modules in yang/ says the same',
  },
  'tables-invalid': {
    severity: 'failure',
    meaning: 'at this level only the built-in management minimum would pass',
    todo: 'load the accords again; the log of vpp-bridge says why the table was refused',
  },
  'tables-waiting': {
    severity: 'warning',
    meaning: 'newer rules are ready and not in use yet',
    todo: 'if it stays so: a data plane that does not move on keeps the old rules in use; look at its log',
  },
  'disk-full': {
    severity: 'failure',
    meaning: 'decisions cannot be made durable: nothing loosens, and records are lost',
    todo: 'make room',
  },
  'disk-low': {
    severity: 'warning',
    meaning: 'soon decisions cannot be made durable any more',
    todo: 'make room',
  },
  'realtime-missing': {
    severity: 'warning',
    meaning: 'its deadlines depend on what else the machine does',
    todo: 'allow real-time priority: CAP_SYS_NICE, and a cgroup with real-time budget',
  },
  'telemetry-gaps': {
    severity: 'notice',
    meaning: 'events of the data plane were overwritten before they were read; posture is not concerned',
    todo: 'look whether the disk of the bridge is slow',
  },
  'not-looked-at': {
    severity: 'notice',
    meaning: 'this was not looked at; it may be fine',
    todo: 'run the command as root',
  },
} as const satisfies Readonly<Record<string, Kind>>;

export type FindingId = keyof typeof FINDINGS;

export interface Finding extends Kind {
  readonly id: FindingId;
  /** Who or what it is about. */
  readonly subject: string;
  /** What was seen. */
  readonly what: string;
}

function finding(id: FindingId, subject: string, what: string, severity?: Severity): Finding {
  const kind = FINDINGS[id];
  return { id, subject, what, ...kind, severity: severity ?? kind.severity };
}

/** Younger events of the warden are findings each; older ones are counted. */
const RECENT_NS = 3_600_000_000_000n;
/** A running transition is given this long beyond its longest budget: it is verified then. */
const VERIFY_NS = 5_000_000_000n;
const MIB = 1024 * 1024;
/** Less than this free is full; less than the second part of the size, or the second number, is low. */
const DISK = { fullBytes: 32 * MIB, fullPart: 0.01, lowBytes: 256 * MIB, lowPart: 0.05 };

/** What is not as it should be, worst first. Pure. */
export function findingsOf(examination: Examination): readonly Finding[] {
  const { coordinator, bridge, ledger, board } = examination;
  const found = [
    ...unreachable(examination),
    ...(board.seen
      ? boardFindings(board.value)
      : [finding('board-unreadable', 'board', `${board.message} [${board.code}]`)]),
    ...examination.foreign.map((file) =>
      finding('board-file-foreign', file, 'the file is on the board, and no configuration names it'),
    ),
    ...(coordinator.seen ? coordinatorFindings(coordinator.value, examination.board) : []),
    ...(bridge.seen ? bridgeFindings(bridge.value) : []),
    ...(ledger.seen ? ledgerFindings(ledger.value) : []),
    ...intentFindings(examination),
    ...violationFindings(examination),
    ...journalFindings(examination),
    ...accordFindings(examination),
    ...diskFindings(examination),
    ...examination.scheduling
      .filter(({ realtime }) => !realtime)
      .map(({ name, pid }) =>
        finding('realtime-missing', name, `process ${pid} has no thread with real-time priority`),
      ),
  ];
  return found.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
}

function unreachable({ coordinator, bridge, ledger, others }: Examination): Finding[] {
  const said = ({ code, message }: { code: string; message: string }): string => `${message} [${code}]`;
  return [
    ...(coordinator.seen
      ? []
      : [finding('coordinator-unreachable', 'posture-coordinator', said(coordinator))]),
    ...(bridge.seen ? [] : [finding('bridge-unreachable', 'vpp-bridge', said(bridge))]),
    ...(ledger.seen ? [] : [finding('ledger-unreachable', 'quartermaster', said(ledger))]),
    ...others.flatMap(({ name, health }) => {
      if (!health.seen) return [finding('service-unreachable', name, said(health))];
      if (health.value === 'SERVING') return [];
      return [finding('service-not-serving', name, `it says of itself: ${health.value}`)];
    }),
  ];
}

/** Who writes a file of the board. */
function writerOf(file: string): string {
  if (file === 'posture') return 'posture-coordinator';
  return file === 'tables' ? 'vpp-bridge' : file;
}

function boardFindings(board: BoardSnapshot): Finding[] {
  const found: Finding[] = [];
  for (const { file, state, why, stale, serving, beatAgeNs } of board.files) {
    const who = writerOf(file);
    if (state !== 'open') {
      const reason = why === undefined ? '' : `: ${why.message} [${why.code}]`;
      found.push(
        finding('board-file-missing', who, `the board file "${file}" is ${state}${reason}`),
        ...(file === 'warden' ? [finding('warden-silent', 'warden', 'it has no file on the board')] : []),
      );
      continue;
    }
    const silence = beatAgeNs === undefined ? 'it never beat' : `no heartbeat for ${durationText(beatAgeNs)}`;
    if (stale) found.push(finding(file === 'warden' ? 'warden-silent' : 'service-stale', who, silence));
    else if (!serving) found.push(finding('service-not-serving', who, 'it beats, and does not serve yet'));
  }
  if (!board.word.valid) {
    found.push(finding('no-decision', 'posture word', `epoch ${board.word.epoch}, and no level that is one`));
  }
  for (const [path, line] of Object.entries(board.failClosed)) {
    found.push(
      finding(
        'fail-closed',
        path,
        `at ${levelText(line.level)} since epoch ${line.epoch}, for ${durationText(board.atNs - line.setAtNs)}`,
      ),
    );
  }
  for (const { name, safeLevel, workers, file } of board.dataplanes) {
    if (safeLevel !== undefined) {
      found.push(finding('safe-level', name, `it obeys its own safe level ${levelText(safeLevel)}`));
    }
    if (file.state === 'open' && !workers.some(({ live }) => live)) {
      found.push(finding('dataplane-dead', name, `none of its ${workers.length} workers lives`));
    }
  }
  for (const { who, path, believes, inForce, ageNs, overdue } of board.disagreements) {
    const level = believes.level === undefined ? 'nothing yet' : levelText(believes.level);
    const what =
      `on ${path} it applied ${level} of epoch ${believes.epoch}; in force is ` +
      `${levelText(inForce.level)} of epoch ${inForce.epoch}, for ${durationText(ageNs)}`;
    found.push(finding(overdue ? 'epochs-disagree' : 'participant-behind', who, what));
  }
  for (const { name, ack } of board.participants) {
    if (ack?.outcome === 'failed') {
      found.push(finding('participant-failed', name, `at epoch ${ack.epoch}, stage ${ack.stage}`));
    }
  }
  for (const { file, field, found: value } of board.faults) {
    found.push(finding('board-fault', file, `${field}: ${value}`));
  }
  return found;
}

function coordinatorFindings(state: PostureState, board: Sight<BoardSnapshot>): Finding[] {
  const found = state.alarms.map((alarm) => finding('alarm', 'posture-coordinator', alarm));
  const { transition } = state;
  // Asked and looked at one after the other: what was decided in between is no disagreement.
  if (board.seen && board.value.word.valid && state.epoch > board.value.word.epoch) {
    const running = transition?.outcome === 'running';
    if (!running) {
      found.push(
        finding(
          'epochs-disagree',
          'posture-coordinator',
          `it answers epoch ${state.epoch}, and the posture word says ${board.value.word.epoch}`,
        ),
      );
    }
  }
  if (transition === undefined || transition.epoch === 0n) return found;
  const { epoch, from, to, outcome, decidedAtNs, durable, paths } = transition;
  const step = `epoch ${epoch}, ${from} → ${to}`;
  const longest = paths.reduce((most, { budgetNs }) => (budgetNs > most ? budgetNs : most), 0n);
  if (outcome === 'running' && decidedAtNs > 0n && state.atNs > decidedAtNs + longest + VERIFY_NS) {
    found.push(
      finding('transition-overdue', step, `it runs for ${durationText(state.atNs - decidedAtNs)} by now`),
    );
  }
  if (outcome === 'late') {
    const late = paths.filter((path) => path.outcome !== 'applied' && path.outcome !== 'unchanged');
    found.push(
      finding(
        'transition-late',
        step,
        late.map(({ path, outcome: end }) => `${path} ${end}`).join(', ') || 'it was verified too late',
      ),
    );
  }
  if (!durable && outcome !== 'running') {
    found.push(finding('not-durable', step, 'it is in force, and the journal could not be written'));
  }
  return found;
}

function bridgeFindings({ levels, waiting, dataplanes, alarms }: ShowReply): Finding[] {
  return [
    ...levels
      .filter(({ valid }) => !valid)
      .map(({ level }) => finding('tables-invalid', `level ${level}`, 'its table is not valid')),
    ...(waiting === '' ? [] : [finding('tables-waiting', 'vpp-bridge', waiting)]),
    ...alarms.map((alarm) => finding('alarm', 'vpp-bridge', alarm)),
    ...dataplanes
      .filter(({ telemetryGaps }) => telemetryGaps > 0n)
      .map(({ name, telemetryGaps }) =>
        finding('telemetry-gaps', name, `${telemetryGaps} events of it were never read`),
      ),
  ];
}

/** Entries that the index may lack without being said to be behind: it always is, a little. */
const INDEX_LAG_MAX = 50_000n;

function ledgerFindings({ refusing, why, size, indexed, witness, alarms }: LedgerStatusReply): Finding[] {
  const contradicted = witness?.state === 'older' || witness?.state === 'fork';
  // What is a finding of its own is not told a second time.
  const others = alarms.filter((alarm) => !(contradicted && alarm === witness.why));
  return [
    ...(refusing ? [finding('ledger-refuses', 'quartermaster', why)] : []),
    ...(contradicted ? [finding('ledger-contradicted', 'quartermaster', witness.why)] : []),
    ...(size - indexed > INDEX_LAG_MAX
      ? [
          finding(
            'ledger-index-behind',
            'quartermaster',
            `${size - indexed} of ${size} entries are not indexed`,
          ),
        ]
      : []),
    ...others
      .filter((alarm) => !refusing || !alarm.startsWith('the ledger takes no records'))
      .map((alarm) => finding('alarm', 'quartermaster', alarm)),
  ];
}

function intentFindings({ intent }: Examination): Finding[] {
  if (intent === undefined) return [];
  const { status, devices } = intent;
  if (!status.seen) return [finding('intent-unreachable', 'intent', `${status.message} [${status.code}]`)];
  return [
    ...status.value.alarms.map((alarm) => finding('alarm', 'intent', alarm)),
    ...(devices.seen ? devices.value : []).flatMap(({ device, state, why, drifts }) => {
      if (state === 'unreachable') return [finding('device-unreachable', device, why)];
      if (state === 'refused') return [finding('device-refused', device, why)];
      if (drifts === 0) return [];
      return [finding('device-drifted', device, `${drifts} difference${drifts === 1 ? '' : 's'}`)];
    }),
  ];
}

/** What the warden's event says, without who and when. */
function violationText({ kind, path, level, outcome, actedAtNs }: Violation): string {
  const what = {
    budget: `missed the budget${path === undefined ? '' : ` of ${path}`}`,
    'late-loosening': `loosened late${path === undefined ? '' : ` on ${path}`}; it only stayed tighter`,
    'stale-service': 'was silent, was killed and started again',
    'dataplane-killed': 'stayed silent after its deadline and was killed',
    'service-died': 'died and was started again',
    alarm: `missed the budget${path === undefined ? '' : ` of ${path}`} on the way to a level that only watches more`,
    'fail-closed-cleared': 'fail-closed ended',
  }[kind];
  const enforced = level === undefined ? 'no line was set' : `${levelText(level)} was enforced`;
  const action =
    actedAtNs === 0n ? '' : outcome === 0 ? '' : `, and the action of the path FAILED with ${outcome}`;
  return `${what}; ${enforced}${action}`;
}

/** The warden's own account, also of what set no line. */
function violationFindings({ violations, board }: Examination): Finding[] {
  if (!board.seen) return [];
  const nowNs = board.value.atNs;
  const bad = violations.filter(({ kind }) => kind !== 'fail-closed-cleared');
  const groups = new Map<string, { last: Violation; text: string; count: number }>();
  for (const violation of bad.filter(({ atNs }) => nowNs - atNs <= RECENT_NS)) {
    const text = violationText(violation);
    const key = `${violation.subject}\n${text}`;
    groups.set(key, { last: violation, text, count: (groups.get(key)?.count ?? 0) + 1 });
  }
  const past = bad.filter(({ atNs }) => nowNs - atNs > RECENT_NS).length;
  return [
    ...[...groups.values()].map(({ last, text, count }) => {
      const times = count === 1 ? '' : `, ${count} times`;
      const age = durationText(nowNs > last.atNs ? nowNs - last.atNs : 0n);
      // An action that failed leaves its path open, whatever the line says.
      const failed = last.actedAtNs > 0n && last.outcome !== 0;
      return finding(
        'violation',
        last.subject === '' ? 'warden' : last.subject,
        `${text}${times}, last at epoch ${last.epoch}, ${age} ago`,
        failed ? 'failure' : undefined,
      );
    }),
    ...(past === 0
      ? []
      : [finding('violations-past', 'warden', `${past} events, all more than an hour old`)]),
  ];
}

function isForbidden(code: string): boolean {
  return code === 'EACCES' || code === 'EPERM';
}

function journalFindings({ journal, board, coordinator }: Examination): Finding[] {
  const subject = 'decision journal';
  if (!journal.seen) {
    const { code, message } = journal;
    if (isForbidden(code)) return [finding('not-looked-at', subject, message)];
    return [finding('journal-missing', subject, `${message} [${code}]`)];
  }
  const { damage, last } = journal.value;
  if (damage !== undefined) {
    return [finding('journal-damaged', subject, `at byte ${damage.offset}: ${damage.why}`)];
  }
  const word = board.seen ? board.value.word : undefined;
  const running = coordinator.seen && coordinator.value.transition?.outcome === 'running';
  if (word?.valid === true && !running && word.epoch > (last?.epoch ?? 0n)) {
    const newest = last === undefined ? 'no decision' : `epoch ${last.epoch}`;
    return [finding('journal-behind', subject, `it ends with ${newest}, in force is epoch ${word.epoch}`)];
  }
  return [];
}

function accordFindings({ accords }: Examination): Finding[] {
  if (accords.seen) return accords.value.map((fault) => finding('accords-invalid', 'accords', fault));
  const { code, message } = accords;
  if (isForbidden(code)) return [finding('not-looked-at', 'accords', message)];
  return [finding('accords-invalid', 'accords', `${message} [${code}]`)];
}

const bytesText = (bytes: number): string =>
  bytes >= 1024 * MIB ? `${(bytes / 1024 / MIB).toFixed(1)} GiB` : `${(bytes / MIB).toFixed(0)} MiB`;

function diskFindings({ disks }: Examination): Finding[] {
  return disks.flatMap(({ place, path, sizeBytes, freeBytes, inodes, freeInodes }) => {
    const room = `${bytesText(freeBytes)} of ${bytesText(sizeBytes)} free at ${path}`;
    const names = inodes === 0 ? 1 : freeInodes / inodes;
    // Small file systems are judged by their part alone, or they would always be low.
    const under = (bytes: number, part: number): boolean =>
      names < part || freeBytes < sizeBytes * part || freeBytes < Math.min(bytes, sizeBytes * part * 2);
    const what = names < DISK.lowPart ? `${freeInodes} of ${inodes} files left at ${path}` : room;
    if (under(DISK.fullBytes, DISK.fullPart)) return [finding('disk-full', place, what)];
    return under(DISK.lowBytes, DISK.lowPart) ? [finding('disk-low', place, what)] : [];
  });
}

/** Everything that a doctor says. */
export interface Diagnosis {
  /** No failure and no warning. */
  readonly healthy: boolean;
  readonly target: string;
  readonly at: string;
  /** The posture in force as far as it is known. */
  readonly posture: { readonly level: number; readonly epoch: bigint } | undefined;
  readonly count: Readonly<Record<Severity, number>>;
  readonly findings: readonly Finding[];
}

/** The findings of an examination with what they sum up to. */
export function diagnosisOf(examination: Examination): Diagnosis {
  const { coordinator, board, target, atWallMs } = examination;
  const findings = findingsOf(examination);
  const count = Object.fromEntries(
    SEVERITIES.map((severity) => [severity, findings.filter((each) => each.severity === severity).length]),
  ) as Record<Severity, number>;
  const posture = board.seen
    ? { level: board.value.level, epoch: board.value.word.epoch }
    : coordinator.seen
      ? { level: coordinator.value.level, epoch: coordinator.value.epoch }
      : undefined;
  return {
    healthy: count.failure + count.warning === 0,
    target,
    at: new Date(atWallMs).toISOString(),
    posture,
    count,
    findings,
  };
}

const some = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`;

/** The same for people. */
export function diagnosisText({ healthy, target, posture, count, findings }: Diagnosis): string {
  const where =
    posture === undefined ? 'posture unknown' : `level ${levelText(posture.level)}, epoch ${posture.epoch}`;
  const sum =
    findings.length === 0
      ? 'healthy, nothing found'
      : `${healthy ? 'healthy, ' : ''}${SEVERITIES.filter((severity) => count[severity] > 0)
          .map((severity) => some(count[severity], severity))
          .join(', ')}`;
  return [
    `${target}: ${where}`,
    sum,
    ...findings.flatMap(({ severity, id, subject, what, meaning, todo }) => [
      '',
      `${severity.toUpperCase().padEnd(7)}  ${plain(subject)}: ${plain(what)}  [${id}]`,
      `         means: ${meaning}`,
      `         do:    ${todo}`,
    ]),
  ].join('\n');
}
