/**
 * Differences between a device and intent, judged (UN-6, UN-7): since when they are there, how bad they are, why they
 * probably are, and what is done about them at the level in force.
 * It must not read a device or a clock, nor remedy anything; it says what a remedy would aim at.
 */
import { type Difference, differencesBetween, mayCompile } from '@kedge/compiler';
import type { PlanValue } from '@kedge/contracts';
import type { DeviceObject, DeviceObjects } from '@kedge/driver-kit';
import type { accordsTree, operationsTree, siteTree } from '@kedge/intent-model';
import { planData } from '@kedge/intent-model';
import { epochOf } from '@kedge/units';

import { isAtOrBelow } from './node-path.js';

export type Severity = siteTree.DriftClassificationRule['severity'];
export type Remediation = operationsTree.DriftDifference['remediation'];
export type Cause = operationsTree.DriftDifference['cause'];

/** One difference, judged. */
export interface Drift extends Difference {
  readonly device: string;
  /** When it was seen first, and last; milliseconds since 1970, UTC. */
  readonly sinceMs: number;
  readonly seenMs: number;
  readonly severity: Severity;
  readonly cause: Cause;
  readonly remediation: Remediation;
  /** Name of the exception that covers it. */
  readonly exception?: string;
}

/** Something that happened to a device, as far as it explains what differs. */
export type DeviceEvent =
  /** A plan was applied wholly, or a pass found nothing that differs: the device was as intended. */
  | { readonly kind: 'accorded'; readonly atMs: number }
  /** A plan was not applied wholly, or could not be undone; the places of its steps. */
  | { readonly kind: 'failed'; readonly atMs: number; readonly paths: readonly string[] };

/** What is known of a device besides its two trees. */
export interface DriftKnowledge {
  readonly device: string;
  /** What differed at the last pass. */
  readonly last: readonly Pick<Drift, 'path' | 'sinceMs'>[];
  /** In any order. */
  readonly history: readonly DeviceEvent[];
  /** The serial number that was accepted, and the one that was read; undefined = not known. */
  readonly serial?: { readonly accepted?: string | undefined; readonly read?: string | undefined };
}

/** How differences are judged. */
export interface DriftPolicy {
  /** The site's rules and exceptions. */
  readonly site: siteTree.Drift | undefined;
  /** What the accord of the level in force says of the underlay. */
  readonly underlay: accordsTree.AccordsLevelUnderlay;
}

/** The tree's default. */
const DEFAULT_SEVERITY: Severity = 'minor';
const DEFAULT_INTERVAL_S = 60;

/**
 * What differs now, by path. Same input, same output.
 *
 * @param atMs the time of the pass, milliseconds since 1970, UTC.
 */
export function driftOf(
  intended: DeviceObjects,
  actual: DeviceObjects,
  knowledge: DriftKnowledge,
  policy: DriftPolicy,
  atMs: number,
): Drift[] {
  const since = new Map(knowledge.last.map(({ path, sinceMs }) => [path, sinceMs]));
  return differencesBetween(intended, actual).map((difference) => {
    const { path } = difference;
    const sinceMs = Math.min(since.get(path) ?? atMs, atMs);
    const severity = severityOf(path, knowledge.device, policy.site?.classification);
    const cause = causeOf(path, sinceMs, knowledge);
    const exception = exceptionOf(path, knowledge.device, policy.site?.exception ?? [], atMs);
    return {
      device: knowledge.device,
      ...difference,
      sinceMs,
      seenMs: atMs,
      severity,
      cause,
      remediation: exception === undefined ? remediationOf(severity, cause, policy.underlay) : 'none',
      ...(exception === undefined ? {} : { exception }),
    };
  });
}

/** The severity of a place: that of the first rule that fits. */
export function severityOf(
  path: string,
  device: string,
  classification: siteTree.DriftClassification | undefined,
): Severity {
  const rule = classification?.rule?.find(
    (each) =>
      (each.device === undefined || each.device.length === 0 || each.device.includes(device)) &&
      isAtOrBelow(path, each.path),
  );
  return rule?.severity ?? classification?.['default-severity'] ?? DEFAULT_SEVERITY;
}

/** True where one path is the other or below it. */
const touches = (a: string, b: string): boolean => isAtOrBelow(a, b) || isAtOrBelow(b, a);

/**
 * Why a difference probably is. A device with another serial number differs because of that; a plan that failed at
 * the place, and after which the device was never as intended, has left it; what was as intended and no longer is was
 * changed by somebody else; and of what was never as intended nothing can be told.
 */
function causeOf(path: string, sinceMs: number, { history, serial }: DriftKnowledge): Cause {
  if (serial?.accepted !== undefined && serial.read !== undefined && serial.accepted !== serial.read)
    return 'device-replaced';
  const accordedMs = history.reduce(
    (latest, event) => (event.kind === 'accorded' ? Math.max(latest, event.atMs) : latest),
    -Infinity,
  );
  const isFailed = history.some(
    (event) =>
      event.kind === 'failed' &&
      event.atMs > accordedMs &&
      event.atMs <= sinceMs &&
      event.paths.some((each) => touches(each, path)),
  );
  if (isFailed) return 'failed-commit';
  return accordedMs <= sinceMs && accordedMs !== -Infinity ? 'unmanaged-change' : 'unknown';
}

/** The exception that covers a place longest; undefined where none does any more. */
function exceptionOf(
  path: string,
  device: string,
  exceptions: readonly siteTree.DriftException[],
  atMs: number,
): string | undefined {
  return exceptions
    .filter((each) => each.device === device && isAtOrBelow(path, each.path) && Date.parse(each.until) > atMs)
    .sort((a, b) => Date.parse(b.until) - Date.parse(a.until) || (a.name < b.name ? -1 : 1))[0]?.name;
}

/** What is done about a difference: what the accord says, and never by itself where another device answers. */
function remediationOf(
  severity: Severity,
  cause: Cause,
  { gate, drift }: accordsTree.AccordsLevelUnderlay,
): Remediation {
  if (!mayCompile(gate.mode)) return 'none';
  const said = drift?.remedy?.find((each) => each.severity === severity)?.remediation ?? 'none';
  return said === 'automatic' && cause === 'device-replaced' ? 'proposed' : said;
}

/** From one pass over a device to the next, milliseconds, at the level whose accord is given. */
export function driftIntervalMs({ drift }: accordsTree.AccordsLevelUnderlay): number {
  return 1000 * (drift?.interval ?? DEFAULT_INTERVAL_S);
}

/**
 * What a remedy aims at: the device as it is, but for the differences that are to be remedied. The way there is a
 * plan like any other, through the same gate.
 */
export function remedied(
  intended: DeviceObjects,
  actual: DeviceObjects,
  drifts: readonly Drift[],
  how: Exclude<Remediation, 'none'>,
): Map<string, DeviceObject> {
  const places = drifts.filter(({ remediation }) => remediation === how).map(({ path }) => path);
  const isMeant = (path: string): boolean => places.some((place) => isAtOrBelow(path, place));
  const aim = new Map([...actual].filter(([path]) => !isMeant(path)));
  for (const [path, object] of intended) if (isMeant(path)) aim.set(path, object);
  return aim;
}

/** A difference in the form of kedge-drift. @throws KedgeError `INTENT_PATH` */
export function driftData(drift: Drift): operationsTree.DriftDifference {
  const value = (given: PlanValue): Readonly<Record<string, unknown>> | undefined =>
    // A step says what stands at a path in the very form.
    planData({
      ...{ id: 'drift', epoch: epochOf(0n), target: 'device/drift', base: '' },
      steps: [
        {
          ...{ id: 'drift', kind: 'set', path: drift.path, before: null, after: given },
          inverse: { kind: 'set', before: given, after: null },
          ...{ dependsOn: [], safePoint: true },
        },
      ],
    }).step?.[0]?.after;
  const [intended, actual] = [value(drift.intended), value(drift.actual)];
  return {
    device: drift.device,
    path: drift.path,
    ...(intended === undefined ? {} : { intended }),
    ...(actual === undefined ? {} : { actual }),
    since: new Date(drift.sinceMs).toISOString(),
    seen: new Date(drift.seenMs).toISOString(),
    severity: drift.severity,
    cause: drift.cause,
    remediation: drift.remediation,
    ...(drift.exception === undefined ? {} : { exception: drift.exception }),
  };
}
