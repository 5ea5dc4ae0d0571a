/**
 * Carries a plan out on one device: nothing over a base that no longer holds, everything read back, and what fails is
 * rolled back by inverses in reverse order.
 * It must not decide whether a plan may run: leave is asked for before every write.
 */
import { differencesBetween, type Difference, stepsBetween } from '@kedge/compiler';
import type { Applied, Plan, Step } from '@kedge/contracts';
import {
  baseOf,
  changeOf,
  type DeviceObject,
  type DeviceObjects,
  type Driver,
  instanceOf,
  interfacePath,
  type InventoryDevice,
  isMade,
  objectsAfter,
  objectsOf,
  type Reading,
} from '@kedge/driver-kit';
import { checkPlan, inverseOf, sameValue, type Sha256 } from '@kedge/reconcile';
import { KedgeError } from '@kedge/units';

import type { Carrier } from './carrier.js';

/** A device that is spoken to. */
export interface Target<Question, Answer, Command> {
  readonly driver: Driver<Question, Answer, Command>;
  readonly carrier: Carrier<Question, Answer, Command>;
  readonly device: InventoryDevice;
  readonly sha256: Sha256;
}

/** How a plan is carried out. */
export interface CarryOptions {
  /** Work ends at the next safe point after it has aborted, and is undone. */
  readonly signal: AbortSignal;
  /** Asked before every write; false is as if the signal had aborted (a permit's `check`). */
  readonly mayWrite?: () => boolean;
  /**
   * What has to hold before: the whole base that the plan was made over, or only what its steps find (an undoing,
   * whose base is gone). Default `base`.
   */
  readonly over?: 'base' | 'steps';
}

/** What carrying a plan out came to. */
export interface CarriedOut {
  /** Where it was rolled back `done` is empty, also if the rollback was not complete. */
  readonly applied: Applied;
  /** Whether it was rolled back, and wholly; absent where there was nothing to roll back. */
  readonly rolledBack?: boolean;
  /** What differs from how it was before; empty unless a rollback was not complete or could not be read back. */
  readonly remaining: readonly Difference[];
  /** The device as it was read last; absent where it could not be read. */
  readonly reading?: Reading;
}

/** The most commands of one write: between two writes leave is asked for again. */
const MOST_COMMANDS = 64;

/**
 * Reads a device in the few questions of its driver.
 *
 * @throws KedgeError what the carrier throws, and `DRIVER_ANSWER`.
 */
export async function readDevice<Question, Answer, Command>(
  { driver, carrier, device }: Target<Question, Answer, Command>,
  signal: AbortSignal,
): Promise<Reading> {
  return driver.lift(await carrier.ask(driver.questions(device), signal), device);
}

/** Carries a plan out. Does not throw. */
export async function carryOut<Question, Answer, Command>(
  target: Target<Question, Answer, Command>,
  plan: Plan,
  options: CarryOptions,
): Promise<CarriedOut> {
  if (plan.steps.length === 0) return { applied: { outcome: 'unchanged', done: [] }, remaining: [] };
  try {
    const reading = await readDevice(target, options.signal);
    const work = new Work(target, plan, reading, options);
    return await work.run();
  } catch (error) {
    // Before the first write: nothing has changed.
    if (options.signal.aborted) return { applied: { outcome: 'cancelled', done: [] }, remaining: [] };
    return { applied: { outcome: 'failed', done: [], failure: failureOf(error) }, remaining: [] };
  }
}

type Failure = NonNullable<Applied['failure']>;

function failureOf(error: unknown, step?: string): Failure {
  const known = error instanceof KedgeError;
  return {
    code: known ? error.code : 'DRIVER_WRITE',
    message: error instanceof Error ? error.message : String(error),
    ...(step === undefined ? {} : { step }),
  };
}

/** A step with its commands and the objects before it. */
interface Prepared<Command> {
  readonly step: Step;
  readonly commands: readonly Command[];
}

/** One plan at work on one device. */
class Work<Question, Answer, Command> {
  readonly #target: Target<Question, Answer, Command>;
  readonly #plan: Plan;
  readonly #options: CarryOptions;
  readonly #instance: string | undefined;
  readonly #before: DeviceObjects;
  readonly #after: DeviceObjects;
  readonly #prepared: readonly Prepared<Command>[];

  /** @throws KedgeError where the plan cannot be carried out over what was read. */
  constructor(
    target: Target<Question, Answer, Command>,
    plan: Plan,
    reading: Reading,
    options: CarryOptions,
  ) {
    checkPlan(plan);
    this.#target = target;
    this.#plan = plan;
    this.#options = options;
    const route = plan.steps.find(({ path }) => path.includes('/static-routes/'));
    this.#instance = route === undefined ? undefined : instanceOf(route.path);
    if (options.over !== 'steps' && baseOf(reading, target.sha256) !== plan.base)
      throw new KedgeError({
        code: 'DRIVER_STALE',
        message: `cannot apply ${plan.id}: the device is not as it was read`,
        field: 'base',
        expected: 'a plan that was made over what is there now',
        help: 'compile again',
      });
    this.#before = objectsOf(reading.tree, this.#instance);
    const { prepared, after } = this.#prepare(plan.steps, this.#before);
    this.#prepared = prepared;
    this.#after = after;
  }

  /** The commands of steps, over the objects that are there. @throws KedgeError `DRIVER_STALE`, `DRIVER_STEP` */
  #prepare(
    steps: readonly Step[],
    from: DeviceObjects,
  ): { readonly prepared: Prepared<Command>[]; readonly after: DeviceObjects } {
    const { driver, device } = this.#target;
    let state = from;
    const prepared = steps.map((step) => {
      const change = changeOf(step);
      const there = state.get(step.path);
      if (!sameValue((there?.value ?? null) as Step['before'], step.before))
        throw new KedgeError({
          code: 'DRIVER_STALE',
          message: `cannot apply ${step.id}: what it changes is not as it was read`,
          field: step.path,
          expected: 'a plan that was made over what is there now',
          help: 'compile again',
        });
      const commands = driver.encode(change, state, device);
      state = objectsAfter(state, change);
      return { step, commands };
    });
    return { prepared, after: state };
  }

  async run(): Promise<CarriedOut> {
    const done: string[] = [];
    for (const stretch of this.#stretches()) {
      if (this.#isStopped()) return this.#undo(done, undefined);
      const failure = await this.#write(stretch, done);
      if (failure !== undefined) return this.#undo(done, failure);
    }
    let reading: Reading;
    try {
      reading = await readDevice(this.#target, NEVER);
    } catch (error) {
      return this.#undo(done, failureOf(error));
    }
    const wrong = this.#wrongIn(objectsOf(reading.tree, this.#instance), this.#after);
    if (wrong.length === 0) return { applied: { outcome: 'applied', done }, remaining: [], reading };
    const [first] = wrong;
    const step = this.#plan.steps.find(({ path }) => path === first?.path)?.id;
    return this.#undo(done, {
      code: 'DRIVER_VERIFY',
      message: `the device does not show what was written: ${String(wrong.length)} differ, ${first?.path ?? ''} first`,
      ...(step === undefined ? {} : { step }),
    });
  }

  #isStopped(): boolean {
    return this.#options.signal.aborted || this.#options.mayWrite?.() === false;
  }

  /** Steps up to safe points, as many together as one write takes. */
  #stretches(): Prepared<Command>[][] {
    const stretches: Prepared<Command>[][] = [];
    let open: Prepared<Command>[] = [];
    let current: Prepared<Command>[] = [];
    const size = (of: readonly Prepared<Command>[]): number =>
      of.reduce((sum, { commands }) => sum + commands.length, 0);
    for (const each of this.#prepared) {
      open.push(each);
      if (!each.step.safePoint) continue;
      if (current.length > 0 && size(current) + size(open) > MOST_COMMANDS) {
        stretches.push(current);
        current = [];
      }
      current.push(...open);
      open = [];
    }
    current.push(...open);
    return [...stretches, current];
  }

  /** Writes steps and notes which hold; a failure names the step. */
  async #write(steps: readonly Prepared<Command>[], done: string[]): Promise<Failure | undefined> {
    const written = await this.#target.carrier.write(
      steps.flatMap(({ commands }) => commands),
      NEVER,
    );
    let left = written.done ?? 0;
    for (const { step, commands } of steps) {
      if (left < commands.length)
        return {
          ...(written.failure ?? {
            code: 'DRIVER_WRITE',
            message: 'the device took fewer commands than were written',
          }),
          step: step.id,
        };
      left -= commands.length;
      done.push(step.id);
    }
    return undefined;
  }

  /**
   * Brings the device back: first what a step did by half to what it was before that step, then the inverses of the
   * steps that hold, in reverse order. Neither signal nor permit ends it: half a way back is the worst place to stop.
   */
  async #undo(done: readonly string[], failure: Failure | undefined): Promise<CarriedOut> {
    const applied: Applied =
      failure === undefined ? { outcome: 'cancelled', done: [] } : { outcome: 'failed', done: [], failure };
    if (done.length === 0 && failure === undefined) return { applied, remaining: [] };
    const held = new Set(done);
    const { after: expected } = this.#prepare(
      this.#plan.steps.filter(({ id }) => held.has(id)),
      this.#before,
    );
    let last: Reading | undefined;
    try {
      last = await readDevice(this.#target, NEVER);
      await this.#invert(held, expected, objectsOf(last.tree, this.#instance));
      last = await this.#salvage(await readDevice(this.#target, NEVER));
      const remaining = this.#wrongIn(objectsOf(last.tree, this.#instance), this.#before);
      return { applied, rolledBack: remaining.length === 0, remaining, reading: last };
    } catch {
      const now = last === undefined ? expected : objectsOf(last.tree, this.#instance);
      return {
        applied,
        rolledBack: false,
        remaining: this.#wrongIn(now, this.#before),
        ...(last === undefined ? {} : { reading: last }),
      };
    }
  }

  /** Mends what was done by half, then writes the inverses of the steps that hold; ends at the first that is refused. */
  async #invert(held: ReadonlySet<string>, expected: DeviceObjects, found: DeviceObjects): Promise<void> {
    const mending = stepsBetween(this.#relevant(found), this.#relevant(expected), this.#target.driver);
    let commands: Command[];
    try {
      // Inverses stand on what mending brings about.
      const { prepared } = this.#prepare([...mending, ...inverseOf(this.#plan, held).steps], found);
      commands = prepared.flatMap((each) => each.commands);
    } catch {
      // The device changed meanwhile, so that the inverses do not fit: what can be brought back is still to come.
      return;
    }
    await this.#target.carrier.write(commands, NEVER);
  }

  /**
   * What the inverses did not bring back because one of them was refused: one step after the other towards how it
   * was, past those that are refused again and whatever stands on them.
   */
  async #salvage(reading: Reading): Promise<Reading> {
    const found = objectsOf(reading.tree, this.#instance);
    if (this.#wrongIn(found, this.#before).length === 0) return reading;
    const { driver, device, carrier } = this.#target;
    const lost = new Set<string>();
    let state: DeviceObjects = found;
    for (const step of stepsBetween(this.#relevant(found), this.#relevant(this.#before), driver)) {
      const change = changeOf(step);
      const isLost = step.dependsOn.some((id) => lost.has(id)) || !this.#isThere(change.after, state);
      const commands = isLost ? undefined : encoded(() => driver.encode(change, state, device));
      const written = commands === undefined ? undefined : await carrier.write(commands, NEVER);
      if (written === undefined || written.failure !== undefined) lost.add(step.id);
      else state = objectsAfter(state, change);
    }
    return readDevice(this.#target, NEVER);
  }

  /** Whether the interface of an object is there, or the object is one that is made. */
  #isThere(object: DeviceObject | undefined, state: DeviceObjects): boolean {
    if (object?.interface === undefined) return true;
    if (object.kind === 'interface') return isMade(object.value.type);
    return state.has(interfacePath(object.interface));
  }

  /** Objects that the plan can have touched: those on its interfaces, and all routes. */
  #relevant(objects: DeviceObjects): Map<string, DeviceObject> {
    const paths = new Set(this.#plan.steps.map(({ path }) => path));
    const names = new Set(
      this.#plan.steps.flatMap((step) => {
        const { before, after } = changeOf(step);
        return (after ?? before)?.interface ?? [];
      }),
    );
    return new Map(
      [...objects].filter(
        ([path, { kind, interface: name }]) => paths.has(path) || kind === 'route' || names.has(name ?? ''),
      ),
    );
  }

  #wrongIn(found: DeviceObjects, expected: DeviceObjects): Difference[] {
    return differencesBetween(this.#relevant(expected), this.#relevant(found));
  }
}

/** Commands, or undefined for a change that cannot be made at all. */
function encoded<Command>(encode: () => readonly Command[]): readonly Command[] | undefined {
  try {
    return encode();
  } catch {
    return undefined;
  }
}

/** For what has to be brought to its end; the carrier has a time-out of its own. */
const NEVER = new AbortController().signal;
