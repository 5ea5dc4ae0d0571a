/**
 * Which appliance a command talks to, and by which way in: the lab that is up, or the sockets of this machine.
 * It must not send requests.
 */
import type {
  GovernanceClient,
  IntentClient,
  IntentDevicesClient,
  LedgerClient,
  PostureClient,
} from '@kedge/bus';
import { KedgeError } from '@kedge/units';
import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';

import { type WayIn, WAYS_IN } from './ways-in.js';

/** Where an appliance has its sockets. */
const APPLIANCE_SOCKETS = '/run/kedge/sock';

export interface TargetOptions {
  /** Directory that holds `console/` and `local/`. */
  readonly socket?: string;
  /** Name of the lab to talk to. */
  readonly lab?: string;
  /** The socket directory to use. */
  readonly as?: string;
}

export interface Target {
  /** For people: "the lab", or the directory. */
  readonly title: string;
  readonly directory: string;
}

/**
 * The appliance meant: `--socket`, else `--lab`, else the lab called "lab" if it is up, else this machine.
 *
 * @throws KedgeError `LAB_NOT_UP` when a lab was named that is not up.
 */
export async function targetOf(options: TargetOptions): Promise<Target> {
  if (options.socket !== undefined) return { title: options.socket, directory: options.socket };
  const { connectLab, labIsUp } = await import('@kedge/lab');
  if (options.lab !== undefined || labIsUp()) {
    const lab = connectLab(options.lab);
    try {
      return { title: `the lab "${lab.name}"`, directory: lab.reach('/run/kedge/sock') };
    } finally {
      lab.close();
    }
  }
  if (!existsSync(APPLIANCE_SOCKETS)) {
    throw new KedgeError({
      code: 'BUS_UNREACHABLE',
      message: `no lab is up, and there is no appliance on this machine (${APPLIANCE_SOCKETS})`,
      help: 'start the lab with: npx kedge lab up',
    });
  }
  return { title: 'this appliance', directory: APPLIANCE_SOCKETS };
}

/** The way in that was asked for, by its whole name. @throws KedgeError `CLI_USAGE` */
export function namedWay(asked: string): WayIn {
  const found = WAYS_IN.find((way) => way === asked || way === `local/${asked}`);
  if (found !== undefined) return found;
  throw new KedgeError({
    code: 'CLI_USAGE',
    message: `there is no way in called "${asked}"`,
    field: '--as',
    expected: WAYS_IN.join(', '),
  });
}

/**
 * The way in to use: the one asked for, or the most trusted local one that this user can reach.
 *
 * @throws KedgeError `CLI_USAGE`
 */
export function wayInOf(target: Target, asked: string | undefined): WayIn {
  if (asked !== undefined) return namedWay(asked);
  const reachable = WAYS_IN.filter((way) => way !== 'console').find((way) => {
    try {
      accessSync(join(target.directory, way), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  return reachable ?? 'local/apprentice';
}

/** Runs something with a client of the coordinator, and closes it. */
export async function withPosture<T>(
  options: TargetOptions,
  use: (client: PostureClient, way: WayIn, target: Target) => Promise<T>,
): Promise<T> {
  // What was mistyped is told before anybody is looked for.
  if (options.as !== undefined) namedWay(options.as);
  const target = await targetOf(options);
  const way = wayInOf(target, options.as);
  const { postureClient } = await import('@kedge/bus');
  const client = postureClient(join(target.directory, way, 'posture.sock'));
  try {
    return await use(client, way, target);
  } finally {
    client.close();
  }
}

/** Runs something with a client of the governance bridge, and closes it. */
export async function withGovernance<T>(
  options: TargetOptions,
  use: (client: GovernanceClient, target: Target) => Promise<T>,
): Promise<T> {
  const target = await targetOf(options);
  const { governanceClient } = await import('@kedge/bus');
  const client = governanceClient(join(target.directory, 'internal', 'governance.sock'));
  try {
    return await use(client, target);
  } finally {
    client.close();
  }
}

/** Runs something with a client of the intent, and closes it. */
export async function withIntent<T>(
  options: TargetOptions,
  use: (client: IntentClient, target: Target) => Promise<T>,
): Promise<T> {
  if (options.as !== undefined) namedWay(options.as);
  const target = await targetOf(options);
  const { intentClient } = await import('@kedge/bus');
  const client = intentClient(join(target.directory, wayInOf(target, options.as), 'intent', 'intent.sock'));
  try {
    return await use(client, target);
  } finally {
    client.close();
  }
}

/** Runs something with a client of the intent for its devices, and closes it. */
export async function withIntentDevices<T>(
  options: TargetOptions,
  use: (client: IntentDevicesClient, target: Target) => Promise<T>,
): Promise<T> {
  if (options.as !== undefined) namedWay(options.as);
  const target = await targetOf(options);
  const { intentDevicesClient } = await import('@kedge/bus');
  const way = wayInOf(target, options.as);
  const client = intentDevicesClient(join(target.directory, way, 'intent', 'intent.sock'));
  try {
    return await use(client, target);
  } finally {
    client.close();
  }
}

/** Runs something with a client of the ledger, and closes it. */
export async function withLedger<T>(
  options: TargetOptions,
  use: (client: LedgerClient, target: Target) => Promise<T>,
): Promise<T> {
  if (options.as !== undefined) namedWay(options.as);
  const target = await targetOf(options);
  const { ledgerClient } = await import('@kedge/bus');
  const client = ledgerClient(join(target.directory, wayInOf(target, options.as), 'ledger', 'ledger.sock'));
  try {
    return await use(client, target);
  } finally {
    client.close();
  }
}
