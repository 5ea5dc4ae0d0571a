/**
 * Writes the warden's configuration from typed values; what it writes, `kedge-warden --check-config` accepts.
 * It must not read or write files, and must not guess a value that was not given.
 */
import { KedgeError, type Millis } from '@kedge/units';

/** A program and its arguments; the first is an absolute path. No shell looks at them. */
export type WardenCommand = readonly [string, ...string[]];

interface WardenProgram {
  /** At most 31 of a-z, 0-9 and -. */
  readonly name: string;
  readonly exec: WardenCommand;
  /** The whole environment; left out: a PATH alone. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Left out: root. */
  readonly uid?: number;
  readonly gid?: number;
  /** One more group, for what only this program may reach. Left out: none. */
  readonly group?: number;
  /** Made ambient (`CAP_NET_RAW`); everything else is taken away. Left out: none, for root all. */
  readonly capabilities?: readonly string[];
  /** Name below /run/netns. */
  readonly netns?: string;
  /** Absolute path; left out: the warden's standard error. */
  readonly output?: string;
}

/** Run to its end before anything else. */
export type WardenOneshot = WardenProgram;

interface WardenBeat {
  /** File name in the board directory whose heartbeat is watched. */
  readonly segment: string;
  /** Left out: the one of the whole configuration. */
  readonly beatStale?: Millis;
  /** No verdict this long after a start, while it has not served yet. */
  readonly startGrace?: Millis;
}

/** Started after the oneshots, and again whenever it ends. */
export interface WardenService extends WardenProgram, Partial<WardenBeat> {
  readonly restartMin?: Millis;
  readonly restartMax?: Millis;
}

/** Somebody else starts it again; the warden kills it when its heartbeat is stale. */
export interface WardenWatch extends WardenBeat {
  readonly name: string;
}

/** Everything that stands in the configuration; see `kedge-warden --help`. */
export interface WardenConfig {
  readonly board: string;
  readonly budgets: { readonly dataplane: Millis; readonly overlay: Millis; readonly underlay: Millis };
  readonly silenceKill: Millis;
  readonly beatStale: Millis;
  /** Idle states of processors that take longer to leave are not entered; 0: polled. Left out: nothing is asked. */
  readonly cpuLatency?: Millis;
  /** Segments, such as `dataplane-reference`. */
  readonly dataplanes?: readonly string[];
  /** Owner's uid by segment; `posture` has to be among them. */
  readonly owners: Readonly<Record<string, number>>;
  readonly participants?: { readonly overlay?: readonly string[]; readonly underlay?: readonly string[] };
  readonly failClosed?: { readonly overlay?: WardenCommand; readonly underlay?: WardenCommand };
  readonly oneshots?: readonly WardenOneshot[];
  readonly services?: readonly WardenService[];
  readonly watches?: readonly WardenWatch[];
}

type Value = string | number | readonly string[] | undefined;

/** Control characters would end the line or be refused. */
const UNPRINTABLE = /\p{Cc}/u;

function refuse(field: string, expected: string): never {
  throw new KedgeError({
    code: 'WARDEN_CONFIG',
    message: `cannot write the warden's configuration: ${field} is not ${expected}`,
    field,
    expected,
  });
}

/** Whole microseconds, in the largest unit that says them exactly. */
function duration(field: string, value: Millis | undefined): string | undefined {
  if (value === undefined) return undefined;
  const us = Math.round(value * 1000);
  if (!Number.isSafeInteger(us) || us < 1 || us > 3_600_000_000 || Math.abs(us - value * 1000) > 1e-6) {
    return refuse(field, 'a duration of whole microseconds from 1us to 60min');
  }
  if (us % 1_000_000 === 0) return `${us / 1_000_000}s`;
  return us % 1000 === 0 ? `${us / 1000}ms` : `${us}us`;
}

/** Whole microseconds; none at all is a latency too. */
function latency(field: string, value: Millis | undefined): string | undefined {
  return value === 0 ? '0us' : duration(field, value);
}

/** A word as the parser takes it back: quoted where blanks, quotes or a comment sign would be misread. */
function word(field: string, value: string): string {
  if (UNPRINTABLE.test(value)) return refuse(field, 'text without control characters');
  if (/\s#/.test(value) || value.startsWith('#')) return refuse(field, 'text without # after a blank');
  return /^[^\s"\\]+$/.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
}

function line(key: string, value: Value): string[] {
  if (value === undefined) return [];
  if (typeof value === 'number') {
    if (!Number.isInteger(value) || value < 0 || value > 4_294_967_294)
      return refuse(key, 'a user or group number');
    return [`${key} = ${value}`];
  }
  const words = typeof value === 'string' ? [value] : value;
  return words.length === 0 ? [] : [`${key} = ${words.map((item) => word(key, item)).join(' ')}`];
}

function programLines(program: WardenProgram): string[] {
  const environment = Object.entries(program.environment ?? {}).map(([name, value]) => `${name}=${value}`);
  return [
    ...line('exec', program.exec),
    ...line('environment', environment),
    ...line('uid', program.uid),
    ...line('gid', program.gid),
    ...line('group', program.group),
    ...line('capabilities', program.capabilities?.length === 0 ? 'none' : program.capabilities),
    ...line('netns', program.netns),
    ...line('output', program.output),
  ];
}

function beatLines(beat: Partial<WardenBeat>): string[] {
  return [
    ...line('segment', beat.segment),
    ...line('beat.stale', duration('beat.stale', beat.beatStale)),
    ...line('start-grace', duration('start-grace', beat.startGrace)),
  ];
}

function section(kind: string, name: string, lines: readonly string[]): string[] {
  if (!/^[a-z0-9-]{1,31}$/.test(name)) return refuse(kind, 'a name of at most 31 of a-z, 0-9 and -');
  return ['', `[${kind} ${name}]`, ...lines];
}

/**
 * The text of a configuration file. Pure.
 *
 * @throws KedgeError `WARDEN_CONFIG` for a value that the format cannot carry. What it can carry but the warden
 *   refuses (an unknown capability, a missing owner) `kedge-warden --check-config` tells.
 */
export function wardenConfigText(config: WardenConfig): string {
  const { budgets, participants, failClosed } = config;
  const lines = [
    ...line('board', config.board),
    ...line('budget.dataplane', duration('budget.dataplane', budgets.dataplane)),
    ...line('budget.overlay', duration('budget.overlay', budgets.overlay)),
    ...line('budget.underlay', duration('budget.underlay', budgets.underlay)),
    ...line('silence-kill', duration('silence-kill', config.silenceKill)),
    ...line('beat.stale', duration('beat.stale', config.beatStale)),
    ...line('cpu-latency', latency('cpu-latency', config.cpuLatency)),
    ...line('dataplanes', config.dataplanes),
    ...Object.entries(config.owners).flatMap(([segment, uid]) => line(`owner.${segment}`, uid)),
    ...line('participants.overlay', participants?.overlay),
    ...line('participants.underlay', participants?.underlay),
    ...line('fail-closed.overlay', failClosed?.overlay),
    ...line('fail-closed.underlay', failClosed?.underlay),
    ...(config.oneshots ?? []).flatMap((unit) => section('oneshot', unit.name, programLines(unit))),
    ...(config.services ?? []).flatMap((unit) =>
      section('service', unit.name, [
        ...programLines(unit),
        ...beatLines(unit),
        ...line('restart.min', duration('restart.min', unit.restartMin)),
        ...line('restart.max', duration('restart.max', unit.restartMax)),
      ]),
    ),
    ...(config.watches ?? []).flatMap((unit) => section('watch', unit.name, beatLines(unit))),
  ];
  return `${lines.join('\n')}\n`;
}
