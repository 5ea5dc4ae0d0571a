/**
 * What follows from one reading of a device: whether it is as intended, the plan that brings it there, what differs and
 * the plan that remedies it.
 * It must not read a device or a clock, nor remember; whoever asks says all there is to know.
 */
import {
  aimAt,
  type Aim,
  compile,
  type CompileRefusal,
  type DeviceInput,
  type Dormant,
  stepsBetween,
} from '@kedge/compiler';
import type { Plan } from '@kedge/contracts';
import { type Drift, driftOf, type DriftPolicy, isAtOrBelow, remedied } from '@kedge/drift';
import { type AnyDriver, baseOf, driverFor, type Reading } from '@kedge/driver-kit';
import type { deviceTree } from '@kedge/intent-model';
import type { Sha256 } from '@kedge/reconcile';
import { KedgeError } from '@kedge/units';

import type { DeviceMemory } from './device-memory.js';
import type { DevicePosture } from './device-posture.js';
import { type Intended, mayPlan } from './intended.js';

/** Everything that decides a {@link Judgement}. */
export interface Question {
  readonly intended: Intended;
  /** All that intent has spoken of and may be on the device; undefined = nothing. */
  readonly former: deviceTree.DeviceTree | undefined;
  /** The intent that was carried out last; undefined = none. */
  readonly carried: deviceTree.DeviceTree | undefined;
  /** Whether `intended` is still to be brought. */
  readonly isPending: boolean;
  readonly reading: Reading;
  readonly posture: DevicePosture;
  readonly mayBring: boolean;
  /** `automatic`: those that the accord remedies by itself; a place: what may be remedied at or below it, asked for. */
  readonly remedy: 'none' | 'automatic' | { readonly path: string | undefined };
  /** Places that were remedied as often as may be in an hour. */
  readonly spent: readonly string[];
  readonly last: readonly Drift[];
  readonly history: DeviceMemory['history'];
  /** {@link RolloutState.known}. */
  readonly known: string | undefined;
  readonly atMs: number;
}

/** What follows from a reading. */
export interface Judgement {
  /** The device is as intended, wholly. */
  readonly isAccorded: boolean;
  /** Proof of that for the next reading; undefined where it is not. */
  readonly known: string | undefined;
  /** Why intent cannot be carried out. */
  readonly refusals: readonly CompileRefusal[];
  readonly dormant: readonly Dormant[];
  /** What differs from the intent that was carried out last; undefined: a revision is being brought. */
  readonly drifts: readonly Drift[] | undefined;
  /** What is to be carried out: the intent, or a remedy of these differences. */
  readonly work:
    | undefined
    | { readonly aim: 'intent'; readonly plan: Plan }
    | { readonly aim: 'remedy'; readonly plan: Plan; readonly paths: readonly string[] };
  /** Places whose remedies are used up for now. */
  readonly spent: readonly string[];
}

/** What a judgement is made with. */
export interface Tools {
  readonly drivers: readonly AnyDriver[];
  readonly sha256: Sha256;
}

const NOTHING = {
  known: undefined,
  refusals: [],
  dormant: [],
  drifts: undefined,
  work: undefined,
  spent: [],
};

/** Works it out. Same question, same answer. */
export function judgementOf(question: Question, tools: Tools): Judgement {
  const { intended, isPending, mayBring, posture } = question;
  const base = baseOf(question.reading, tools.sha256);
  const proof = `${intended.key} ${base}`;
  const accorded: Judgement = { ...NOTHING, isAccorded: true, known: proof, drifts: [] };
  if (!isPending && question.known === proof) return accorded;
  try {
    if (isPending && mayBring && mayPlan(intended, posture)) {
      const brought = compiled(question, base, tools);
      if (brought !== undefined) return { ...accorded, ...brought };
      return accorded;
    }
    const input = inputOf(question, intended.tree);
    const aim = aimAt(intended.site, input, tools);
    if (!isPending) return measured(question, aim, base, accorded, tools);
    // Nothing is compiled here; but that it is there already can be seen at every level.
    if (aim.refusals.length === 0 && differences(question, aim).length === 0)
      return { ...accorded, dormant: aim.dormant };
    const { refusals, dormant } = aim;
    return { ...measuredLast(question, base, tools), refusals, dormant };
  } catch (error) {
    const refusals = [refusalOf(error, intended.device.id)];
    return { ...measuredLastIfItCan(question, base, tools), work: undefined, refusals };
  }
}

/** What differs from the intent that was carried out last; nothing does where there is none. */
function measuredLast(question: Question, base: string, tools: Tools): Judgement {
  const { carried, intended } = question;
  const nothing: Judgement = { ...NOTHING, isAccorded: false, drifts: [] };
  if (carried === undefined) return nothing;
  return measured(question, aimAt(intended.site, inputOf(question, carried), tools), base, nothing, tools);
}

/** The same where it may be that nothing can be compared on this device. */
function measuredLastIfItCan(question: Question, base: string, tools: Tools): Judgement {
  try {
    return measuredLast(question, base, tools);
  } catch (error) {
    if (!(error instanceof KedgeError)) throw error;
    return { ...NOTHING, isAccorded: false };
  }
}

/** @throws what is no refusal but a defect. */
function refusalOf(error: unknown, device: string): CompileRefusal {
  if (!(error instanceof KedgeError)) throw error;
  const { code, message, expected, field } = error;
  const path = field?.startsWith('/') === true ? field : `/kedge-inventory:devices/device[id='${device}']`;
  return { code, path, message, expected: expected ?? 'an intent that can be carried out' };
}

function inputOf({ intended, former, reading }: Question, tree: deviceTree.DeviceTree): DeviceInput {
  const id = intended.device.id;
  return { device: id, intended: tree, actual: reading, ...(former === undefined ? {} : { former }) };
}

/** What became of bringing the intent; undefined where it is there. */
function compiled(question: Question, base: string, tools: Tools): Partial<Judgement> | undefined {
  const { intended, posture } = question;
  const [one] = compile(intended.site, [inputOf(question, intended.tree)], {
    ...tools,
    epoch: posture.epoch,
    gate: posture.underlay.gate.mode,
  });
  switch (one?.outcome) {
    case 'planned': {
      const { plan, dormant, applicable } = one;
      const work = applicable ? { aim: 'intent' as const, plan } : undefined;
      return { isAccorded: false, known: undefined, dormant, work, drifts: applicable ? undefined : [] };
    }
    case 'refused':
      return { ...measuredLast(question, base, tools), refusals: one.refusals };
    default:
      return undefined;
  }
}

function policyOf({ intended, posture }: Question): DriftPolicy {
  return { site: intended.site['kedge-drift:drift'], underlay: posture.underlay };
}

function differences(question: Question, { before, after }: Aim): Drift[] {
  const { intended, last, history, atMs } = question;
  const knowledge = { device: intended.device.id, last, history };
  return driftOf(after, before, knowledge, policyOf(question), atMs);
}

/** What differs from an intent that was carried out, and what is done about it. */
function measured(question: Question, aim: Aim, base: string, accorded: Judgement, tools: Tools): Judgement {
  const { last, remedy } = question;
  const { refusals, dormant } = aim;
  const spent = new Set<string>();
  const causes = new Map(last.map(({ path, cause }) => [path, cause]));
  const drifts = differences(question, aim).map((drift): Drift => {
    const { path, remediation } = drift;
    // Why it came about does not become less known because something else happened since.
    const cause = drift.cause === 'unknown' ? (causes.get(path) ?? drift.cause) : drift.cause;
    if (refusals.some((each) => touches(each.path, path))) return { ...drift, cause, remediation: 'none' };
    if (remediation !== 'automatic' || !question.spent.some((place) => touches(place, path)))
      return { ...drift, cause };
    spent.add(path);
    return { ...drift, cause, remediation: 'proposed' };
  });
  if (drifts.length === 0) return { ...accorded, refusals, dormant };
  const chosen = drifts.filter(
    ({ remediation, path }) =>
      remedy !== 'none' &&
      (remedy === 'automatic'
        ? remediation === 'automatic'
        : remediation !== 'none' && (remedy.path === undefined || isAtOrBelow(path, remedy.path))),
  );
  return {
    ...NOTHING,
    isAccorded: false,
    refusals,
    dormant,
    drifts,
    work: remedyOf(question, aim, chosen, base, tools),
    spent: [...spent],
  };
}

/** True where one place is the other, or within it. */
export function touches(a: string, b: string): boolean {
  return isAtOrBelow(a, b) || isAtOrBelow(b, a);
}

/** The plan that remedies these differences and leaves the others. */
function remedyOf(
  { intended, posture, remedy }: Question,
  { before, after }: Aim,
  chosen: readonly Drift[],
  base: string,
  { drivers }: Tools,
): Judgement['work'] {
  const { device } = intended;
  const driver = driverFor(drivers, device);
  const mayWrite = mayPlan(intended, posture) && device['life-cycle'] !== 'planned';
  if (chosen.length === 0 || remedy === 'none' || !mayWrite || !('manifest' in driver)) return undefined;
  const aim = remedied(
    after,
    before,
    chosen.map((drift) => ({ ...drift, remediation: 'automatic' as const })),
    'automatic',
  );
  const steps = stepsBetween(before, aim, driver);
  if (steps.length === 0) return undefined;
  const target = `device/${device.id}`;
  const id = `${target}/${String(posture.epoch)}/${base.slice(0, 16)}`;
  const plan = { id, epoch: posture.epoch, target, base, steps };
  return { aim: 'remedy', plan, paths: chosen.map(({ path }) => path) };
}
