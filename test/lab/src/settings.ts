/**
 * What can be chosen about a lab, with its defaults, and how it travels into the lab's own namespaces.
 * It must not look at the machine.
 */
import { KedgeError } from '@kedge/units';

import { CLASS_NAMES, type ClassName, type ZoneName } from './topology.js';

/** Budgets and limits of a lab. */
export interface LabBudgets {
  readonly dataplaneMs: number;
  readonly overlayMs: number;
  readonly underlayMs: number;
  /** A data plane silent this long past its deadline is killed. */
  readonly silenceKillMs: number;
  /** A heartbeat older than this is stale. */
  readonly beatStaleMs: number;
  /** No staleness verdict this long after a start, while a service has not served yet. */
  readonly startGraceMs: number;
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
}

/** The budgets of the contract (PO-12). */
export const FULL_BUDGETS: LabBudgets = {
  dataplaneMs: 1,
  overlayMs: 5_000,
  underlayMs: 10_000,
  silenceKillMs: 50,
  beatStaleMs: 1_000,
  startGraceMs: 10_000,
  restartMinMs: 20,
  restartMaxMs: 2_000,
};

/**
 * The paths are waited for less long; what the data plane is held to stays the same, and so does the age of a stale
 * heartbeat. Not shorter than a start on a slow machine needs: with half of this and a beat that is stale at 400 ms,
 * services that only have to share two slow processors are killed or cut again and again, and each new start makes the
 * others late.
 */
export const SHORT_BUDGETS: LabBudgets = {
  ...FULL_BUDGETS,
  overlayMs: 1_000,
  underlayMs: 2_000,
  restartMaxMs: 200,
};

/**
 * For tests that look at something else than the data plane's deadline: a host that takes a processor away for some
 * milliseconds is none of their business.
 */
export const PATIENT_BUDGETS: LabBudgets = { ...FULL_BUDGETS, dataplaneMs: 50 };

export interface LabSettings {
  /** Name of the lab, [a-z0-9-], at most 20; two labs of different names can run at once. */
  readonly name: string;
  readonly budgets: LabBudgets;
  /** Packets per second of each flow (a class has one flow per address family). */
  readonly rates: Readonly<Record<ClassName, number>>;
  /** What leaves towards a zone at most, in bits per second on the wire; the other ports have no rate. */
  readonly portRates: Readonly<Partial<Record<ZoneName, number>>>;
  /** Idle states of processors that take longer to leave are not entered, milliseconds; absent: as the machine has it. */
  readonly cpuLatencyMs?: number;
  /** The forwarder to run instead of the shipped one; tests plant a mutant here. */
  readonly forwarder?: string;
  /** Words that start a service instead of its own; benchmarks put others in a service's place. */
  readonly commands?: Partial<
    Record<
      | 'posture-coordinator'
      | 'vpp-bridge'
      | 'forwarder'
      | 'overlay'
      | 'underlay'
      | 'quartermaster'
      | 'intent',
      readonly string[]
    >
  >;
}

/** Packets per second and flow when nobody measures. */
export const GENTLE_RATE = 10;

/** As a line to a provider would have it, and more than any drill sends. */
export const DEFAULT_PORT_RATES: LabSettings['portRates'] = { uplink: 100_000_000 };

export const DEFAULT_NAME = 'lab';

/**
 * Settings with every default filled in.
 *
 * @throws KedgeError `LAB_NAME`
 */
export function labSettings(given: {
  readonly name?: string;
  readonly budgets?: LabBudgets;
  readonly rates?: Partial<Record<ClassName, number>>;
  readonly portRates?: Partial<Record<ZoneName, number>>;
  readonly cpuLatencyMs?: number;
  readonly forwarder?: string;
}): LabSettings {
  const name = given.name ?? DEFAULT_NAME;
  if (!/^[a-z0-9][a-z0-9-]{0,19}$/.test(name)) {
    throw new KedgeError({
      code: 'LAB_NAME',
      message: `cannot name a lab ${JSON.stringify(name.slice(0, 40))}`,
      field: 'name',
      expected: '1 to 20 characters of a-z, 0-9 and -, not starting with -',
    });
  }
  return {
    name,
    budgets: given.budgets ?? FULL_BUDGETS,
    rates: Object.fromEntries(
      CLASS_NAMES.map((name) => [name, given.rates?.[name] ?? GENTLE_RATE]),
    ) as Record<ClassName, number>,
    portRates: given.portRates ?? DEFAULT_PORT_RATES,
    ...(given.cpuLatencyMs === undefined ? {} : { cpuLatencyMs: given.cpuLatencyMs }),
    ...(given.forwarder === undefined ? {} : { forwarder: given.forwarder }),
  };
}
