/**
 * Devices of the intent as text for people: how they stand, what differs on them, what a plan would do.
 * It must not ask anybody for anything.
 */
import type {
  IntentDeviceMessage,
  IntentDormantMessage,
  IntentDriftMessage,
  IntentPlanHead,
} from '@kedge/bus';

import { timeText } from './intent-text.js';
import { plain, table } from './render.js';

/** A difference with its values as they are. */
export interface ShownDrift extends Omit<IntentDriftMessage, 'intended' | 'actual'> {
  readonly intended?: unknown;
  readonly actual?: unknown;
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
const whenText = (ms: bigint, never: string): string => (ms === 0n ? never : timeText(ms));

/** States in which everything is as it is meant to be; the rest is told by what differs, or is not known. */
const SETTLED: readonly string[] = ['accorded', 'drifted', 'retired'];

/**
 * Whether devices are as intended, but for what is tolerated. One that could not be read, or that still has to be
 * changed, is not.
 */
export function isAsIntended(
  devices: readonly IntentDeviceMessage[],
  drifts: readonly ShownDrift[],
): boolean {
  return (
    devices.every(({ state }) => SETTLED.includes(state)) && drifts.every(({ exception }) => exception !== '')
  );
}

/** All devices, a line for each, and how many stand how. */
export function devicesText(devices: readonly IntentDeviceMessage[]): string {
  if (devices.length === 0) return 'no devices: the inventory of the running intent names none';
  const rows = devices.map(({ device, state, revision, drifts, readAtWallMs, why }) => [
    device,
    state,
    revision === 0 ? '-' : String(revision),
    String(drifts),
    whenText(readAtWallMs, 'never'),
    why,
  ]);
  const columns = [
    ...['DEVICE', 'STATE'].map((title) => ({ title })),
    ...['REVISION', 'DRIFTS'].map((title) => ({ title, right: true })),
    ...['READ', 'WHY'].map((title) => ({ title })),
  ];
  const states = new Map<string, number>();
  for (const { state } of devices) states.set(state, (states.get(state) ?? 0) + 1);
  const sums = [...states].map(([state, number]) => `${number} ${state}`).join(', ');
  return `${table(columns, rows)}\n${count(devices.length, 'device')}: ${sums}`;
}

/** One device with all that is known of it. */
export function deviceText(view: IntentDeviceMessage): string {
  const { device, driver, state, why, revision, readAtWallMs, nextAtWallMs, drifts, refusals, complete } =
    view;
  const lines = [
    `${device}: ${state}${why === '' ? '' : `: ${why}`}`,
    `driver ${driver}, ${revision === 0 ? 'nothing was carried out on it yet' : `revision ${revision} was carried out last`}`,
    `read ${whenText(readAtWallMs, 'never')}, looked at next ${whenText(nextAtWallMs, 'only when it is asked for')}`,
    ...(drifts === 0 ? [] : [`${count(drifts, 'difference')}: kedge intent drift ${device}`]),
    ...refusals.flatMap(({ code, path, message, expected }) => [
      `refused: ${message} [${code}]`,
      `  ${path}${expected === '' ? '' : `; expected: ${expected}`}`,
    ]),
    ...dormantLines(view.dormant),
    ...(complete ? [] : ['and more']),
  ];
  return lines.map((line) => plain(line)).join('\n');
}

function dormantLines(dormant: readonly IntentDormantMessage[]): readonly string[] {
  return dormant.map(({ path, why }) => `not in force: ${path}: ${why}`);
}

/** What is done about a difference. */
function doneText({ remediation, exception }: ShownDrift): string {
  if (exception !== '') return `tolerated (${exception})`;
  if (remediation === 'automatic') return 'remedied by itself';
  return remediation === 'proposed' ? 'waits for remedy' : 'nothing';
}

const valueText = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

/** Differences: facts that line up, and under each where it is, what is intended and what is there. */
export function driftsText(drifts: readonly ShownDrift[]): string {
  if (drifts.length === 0) return 'no difference';
  const titles = ['DEVICE', 'SEVERITY', 'SINCE', 'CAUSE', 'WHAT IS DONE'].map((title) => ({ title }));
  const [head = '', ...rows] = table(
    titles,
    drifts.map((drift) => [
      drift.device,
      drift.severity,
      timeText(drift.sinceWallMs),
      drift.cause,
      doneText(drift),
    ]),
  ).split('\n');
  const lines = drifts.flatMap(({ path, intended, actual }, at) => [
    rows[at] ?? '',
    plain(`  ${path}`),
    plain(`  ${valueText(intended)} → ${valueText(actual)}`),
  ]);
  const tolerated = drifts.filter(({ exception }) => exception !== '').length;
  const devices = new Set(drifts.map(({ device }) => device)).size;
  const waiting = [
    ...new Set(
      drifts
        .filter(({ remediation, exception }) => remediation === 'proposed' && exception === '')
        .map(({ device }) => device),
    ),
  ];
  return [
    head,
    ...lines,
    `${count(drifts.length, 'difference')} on ${count(devices, 'device')}, ${tolerated} tolerated; intended → actual`,
    ...waiting.map((device) => plain(`to remedy what waits: kedge intent remedy ${device}`)),
  ].join('\n');
}

/** Devices of which the differences say too little: not read, or still to be changed; empty where there are none. */
export function unsettledText(devices: readonly IntentDeviceMessage[]): string {
  return devices
    .filter(({ state }) => !SETTLED.includes(state))
    .map(({ device, state, why }) =>
      plain(`not as intended: ${device} is ${state}${why === '' ? '' : `: ${why}`}`),
    )
    .join('\n');
}

/** A plan as its own text, and what of the intent would stay without effect. */
export function planReplyText(
  device: string,
  source: string,
  { steps, dormant, complete }: IntentPlanHead,
  text: string,
): string {
  const plan = steps === 0 ? `nothing to do: ${device} is as the ${source} intent has it` : text.trimEnd();
  return [plan, ...dormantLines(dormant), ...(complete ? [] : ['and more'])]
    .flatMap((part) => part.split('\n'))
    .map((line) => plain(line))
    .join('\n');
}

/** What a remedy came to, and how the device stands now. */
export function remediedText(
  device: string,
  remedied: number,
  view: IntentDeviceMessage | undefined,
): string {
  const done =
    remedied === 0
      ? `nothing was remedied on ${device}: nothing there differs that may be`
      : `${count(remedied, 'difference')} remedied on ${device}`;
  return view === undefined ? plain(done) : `${plain(done)}\n${deviceText(view)}`;
}
