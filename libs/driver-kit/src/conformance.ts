/**
 * What every driver has to keep, checked over recorded answers and made-up trees: one suite for all of them.
 * It must not know a driver, nor stop at the first fault.
 */
import { sameValue } from '@kedge/reconcile';
import type { PlanValue } from '@kedge/contracts';

import { capabilityOf, type DeviceObject, type DeviceObjects, isMade, objectsOf } from './device-object.js';
import { baseOf, type Driver, type InventoryDevice } from './driver.js';

/** Something to hold a driver against. */
export interface Specimen<Answer> {
  readonly name: string;
  readonly device: InventoryDevice;
  /** Recorded answers, one for each question. */
  readonly answers: readonly Answer[];
  /** Objects of intents, to be shaped, added, changed and removed. */
  readonly intents: readonly DeviceObjects[];
}

/** What was looked at, and what is wrong, one sentence each. */
export interface Conformance {
  readonly visited: {
    readonly specimens: number;
    readonly questions: number;
    readonly lifted: number;
    readonly shaped: number;
    readonly encoded: number;
  };
  readonly faults: readonly string[];
}

/** The most questions that reading one device may cost (UN-8: a few bulk requests). */
const MOST_QUESTIONS = 16;

/** Holds a driver against specimens. */
export function conformanceOf<Question, Answer, Command>(
  driver: Driver<Question, Answer, Command>,
  specimens: readonly Specimen<Answer>[],
): Conformance {
  const faults: string[] = [];
  const visited = { specimens: 0, questions: 0, lifted: 0, shaped: 0, encoded: 0 };
  const { name, capabilities } = driver.manifest;
  const fault = (where: string, what: string): void => {
    faults.push(`${name}, ${where}: ${what}`);
  };
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name)) fault('manifest', 'its name is none');
  if (new Set(capabilities).size !== capabilities.length) fault('manifest', 'a capability is named twice');
  for (const specimen of specimens) {
    visited.specimens += 1;
    const { device } = specimen;
    const questions = driver.questions(device);
    visited.questions += questions.length;
    if (questions.length > MOST_QUESTIONS)
      fault(specimen.name, `it asks ${String(questions.length)} questions`);
    if (!sameJson(questions, driver.questions(device)))
      fault(specimen.name, 'it asks otherwise the second time');
    if (questions.length !== specimen.answers.length) {
      fault(
        specimen.name,
        `it asks ${String(questions.length)} questions, ${String(specimen.answers.length)} answers were recorded`,
      );
      continue;
    }
    const reading = driver.lift(specimen.answers, device);
    const text = (value: string): string => value;
    if (baseOf(reading, text) !== baseOf(driver.lift(specimen.answers, device), text))
      fault(specimen.name, 'it lifts the same answers to two trees');
    const lifted = objectsOf(reading.tree);
    visited.lifted += lifted.size;
    for (const own of reading.own)
      if (![...lifted.values()].some(({ kind, value }) => kind === 'interface' && value.name === own))
        fault(specimen.name, `it calls ${own} its own, which it did not read`);
    for (const intent of specimen.intents) checkIntent(driver, specimen, intent, visited, fault);
  }
  return { visited, faults };
}

function checkIntent<Question, Answer, Command>(
  driver: Driver<Question, Answer, Command>,
  { device, name }: Specimen<Answer>,
  intent: DeviceObjects,
  visited: { shaped: number; encoded: number },
  fault: (where: string, what: string) => void,
): void {
  const held = new Map<string, DeviceObject>();
  for (const object of intent.values()) {
    visited.shaped += 1;
    const shaped = driver.shape(object, intent, device);
    if (shaped.as !== 'held') {
      if (shaped.as !== 'implied' && shaped.why === '')
        fault(name, `it does not hold ${object.id} and says no reason`);
      continue;
    }
    if (shaped.object.path !== object.path || shaped.object.kind !== object.kind)
      fault(name, `it shapes ${object.id} into something else`);
    held.set(object.path, shaped.object);
  }
  for (const object of held.values()) {
    const again = driver.shape(object, held, device);
    if (again.as !== 'held' || !sameValue(again.object.value as PlanValue, object.value as PlanValue))
      fault(name, `it shapes ${object.id} otherwise the second time`);
    if (!(device.capability ?? []).includes(capabilityOf(object))) continue;
    // What is there or is not comes into no plan.
    if (object.kind === 'interface' && !isMade(object.value.type)) continue;
    const without = new Map(held);
    without.delete(object.path);
    for (const [what, change, at] of [
      ['add', { before: undefined, after: object }, without],
      ['remove', { before: object, after: undefined }, held],
    ] as const) {
      visited.encoded += 1;
      const commands = driver.encode(change, at, device);
      if (commands.length === 0 && object.kind !== 'enabled')
        fault(name, `it does nothing to ${what} ${object.id}`);
      if (!sameJson(commands, driver.encode(change, at, device)))
        fault(name, `it would ${what} ${object.id} otherwise the second time`);
    }
  }
}

function sameJson(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
