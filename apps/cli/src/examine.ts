/**
 * Looks at an appliance: asks its services, reads its board, journal, accords, disks and processes.
 * It must not change anything, and must not judge what it sees; whatever cannot be seen is part of the answer.
 */
import {
  type BoardSnapshot,
  dialUnix,
  governanceClient,
  intentClient,
  type IntentDeviceMessage,
  intentDevicesClient,
  ledgerClient,
  PostureBoard,
  postureClient,
  postureService,
  type Violation,
} from '@kedge/bus';
import { recoverJournal, validateAccords } from '@kedge/posture';
import { existsSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import type { DiskSight, Examination, JournalSight, SchedulingSight } from './examination.js';
import { type Places, placesOf } from './places.js';
import { sight } from './sight.js';
import { namedWay, targetOf, type TargetOptions, wayInOf } from './target.js';

export interface ExamineOptions extends TargetOptions {
  /** Deadline of each call, milliseconds. */
  readonly timeout: number;
}

/** Transitions that are looked at. */
const TRANSITIONS = 50;
/** Until the board has delivered the warden's events: they come with its first look. */
const BOARD_SETTLES_MS = 60;
const BOARD_FILE = /^(posture|warden|tables|participant-[a-z0-9-]+|dataplane-[a-z0-9-]+)$/;
/** Programs that hold deadlines of microseconds. */
const DEADLINE_HOLDERS = /^(kedge-warden|kedge-forwarder|vpp)$/;
/** Policies of the kernel: SCHED_FIFO and SCHED_RR. */
const REALTIME = new Set(['1', '2']);

/** What was examined and where; the places are for those who collect more. */
export interface Examined {
  readonly examination: Examination;
  readonly places: Places;
}

/** Looks at the appliance that the options mean. @throws KedgeError when there is none to look at */
export async function examine(options: ExamineOptions): Promise<Examination> {
  return (await examinePlaces(options)).examination;
}

/** Like {@link examine}, with where it looked. */
export async function examinePlaces(options: ExamineOptions): Promise<Examined> {
  // What was mistyped is told before anybody is looked for.
  if (options.as !== undefined) namedWay(options.as);
  const target = await targetOf(options);
  const way = wayInOf(target, options.as);
  const places = placesOf(target);
  const call = { deadlineMs: options.timeout };
  const posture = postureClient(join(target.directory, way, 'posture.sock'));
  const governance = governanceClient(join(target.directory, 'internal', 'governance.sock'));
  const ledger = ledgerClient(join(target.directory, 'internal', 'ledger.sock'));
  try {
    const [coordinator, history, bridge, ledgerSeen, intent, others, board] = await Promise.all([
      sight(() => posture.get({}, call)),
      sight(async () => (await posture.history({ limit: TRANSITIONS, beforeEpoch: 0n }, call)).transitions),
      sight(() => governance.show({}, call)),
      sight(() => ledger.status({}, call)),
      intentOf(places, options.timeout),
      otherServices(places, options.timeout),
      sight(() => readBoard(places)),
    ]);
    const [journal, accords] = await Promise.all([
      sight(() => readJournal(places)),
      sight(() => readAccords(places)),
    ]);
    return {
      places,
      examination: {
        atWallMs: Date.now(),
        target: places.title,
        coordinator,
        history,
        bridge,
        ledger: ledgerSeen,
        intent,
        others,
        board: board.seen ? { seen: true, value: board.value.snapshot } : board,
        foreign: board.seen ? board.value.foreign : [],
        violations: board.seen ? board.value.violations : [],
        journal,
        accords,
        disks: disksOf(places),
        scheduling: await schedulingOf(places),
      },
    };
  } finally {
    posture.close();
    governance.close();
    ledger.close();
  }
}

/** Sockets of those that are asked for more than their health. */
const ASKED = ['governance.sock', 'ledger.sock', 'intent.sock'];

/** The intent and its devices, where the appliance has a socket of it. */
async function intentOf({ sockets }: Places, timeout: number): Promise<Examination['intent']> {
  const socket = join(sockets, 'internal', 'intent.sock');
  if (!existsSync(socket)) return undefined;
  const call = { deadlineMs: timeout };
  const intent = intentClient(socket);
  const devices = intentDevicesClient(socket);
  try {
    const [status, views] = await Promise.all([
      sight(() => intent.status({}, call)),
      sight(async () => {
        const all: IntentDeviceMessage[] = [];
        for await (const each of devices.listDevices({ device: '' }, call)) all.push(each);
        return all;
      }),
    ]);
    return { status, devices: views };
  } finally {
    intent.close();
    devices.close();
  }
}

/** Health of every further service that has a socket of its own. */
async function otherServices({ sockets }: Places, timeout: number): Promise<Examination['others']> {
  const directory = join(sockets, 'internal');
  let names: string[];
  try {
    names = readdirSync(directory).filter((name) => name.endsWith('.sock') && !ASKED.includes(name));
  } catch {
    return [];
  }
  return Promise.all(
    names.sort().map(async (name) => {
      // Which service it is does not matter: health is asked of the server as a whole.
      const client = dialUnix(join(directory, name), postureService);
      try {
        return {
          name: name.slice(0, -'.sock'.length),
          health: await sight<string>(() => client.health({ deadlineMs: timeout })),
        };
      } finally {
        client.close();
      }
    }),
  );
}

/** A configuration file as data; undefined when it is not there or no JSON: its service says so itself. */
function configuration({ etc }: Places, name: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(join(etc, name), 'utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function ownersIn(value: unknown): Record<string, number> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter(
      (entry): entry is [string, number] => BOARD_FILE.test(entry[0]) && Number.isInteger(entry[1]),
    ),
  );
}

interface BoardSight {
  readonly snapshot: BoardSnapshot;
  readonly foreign: readonly string[];
  readonly violations: readonly Violation[];
}

async function readBoard(places: Places): Promise<BoardSight> {
  const coordinator = configuration(places, 'posture-coordinator.json')?.['board'];
  const configured: Readonly<Record<string, number | 'any'>> = {
    ...ownersIn(configuration(places, 'vpp-bridge.json')?.['owners']),
    ...ownersIn(
      typeof coordinator === 'object' && coordinator !== null && 'owners' in coordinator
        ? coordinator.owners
        : undefined,
    ),
  };
  const present = readdirSync(places.board).filter((name) => BOARD_FILE.test(name));
  const known = Object.keys(configured).length > 0;
  const owners = known
    ? { posture: 'any' as const, ...configured }
    : Object.fromEntries(['posture', 'warden', 'tables', ...present].map((name) => [name, 'any' as const]));
  const board = new PostureBoard({
    directory: places.board,
    owners,
    violationsFrom: 0n,
    rescanMs: 20,
    realtime: false,
  });
  const violations: Violation[] = [];
  board.on('warden.violation', ({ lost: _lost, ...violation }) => violations.push(violation));
  try {
    await pause(BOARD_SETTLES_MS);
    return {
      snapshot: board.snapshot(),
      foreign: known ? present.filter((name) => !(name in owners)).sort() : [],
      violations,
    };
  } finally {
    board.close();
  }
}

function readJournal({ state }: Places): JournalSight {
  const bytes = readFileSync(join(state, 'posture-coordinator', 'decisions.journal'));
  const { damage, last, reservedUpTo } = recoverJournal(bytes);
  return {
    damage,
    last: last && { epoch: last.epoch, from: last.from, to: last.to, completed: last.completed },
    reservedUpTo,
  };
}

/** What is wrong with the accords of the configuration; nothing where none are configured: defaults hold then. */
function readAccords(places: Places): readonly string[] {
  const configured = configuration(places, 'posture-coordinator.json');
  const accords = configured?.['accords'];
  const zones = configured?.['zones'];
  if (typeof accords !== 'string' || typeof zones !== 'string') return [];
  const read = (path: string): unknown => {
    const text = readFileSync(places.reach(path), 'utf8');
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw Object.assign(new Error(`${path} is no JSON`, { cause }), { code: 'ACCORD_INVALID' });
    }
  };
  const reading = validateAccords(read(accords), read(zones));
  return reading.valid ? [] : reading.faults.map(({ path, message }) => `${path}: ${message}`);
}

function disksOf({ board, state, log }: Places): readonly DiskSight[] {
  return Object.entries({ board, state, log }).flatMap(([place, path]) => {
    try {
      const { bsize, blocks, bavail, files, ffree } = statfsSync(path);
      if (blocks === 0) return [];
      return [
        {
          place,
          path,
          sizeBytes: blocks * bsize,
          freeBytes: bavail * bsize,
          inodes: files,
          freeInodes: ffree,
        },
      ];
    } catch {
      // Not there, or closed to this user: the services say what they miss.
      return [];
    }
  });
}

/** The processes of the appliance that hold deadlines, and whether they run with real-time priority. */
async function schedulingOf({ pid }: Places): Promise<readonly SchedulingSight[]> {
  const { processesWith } = await import('@kedge/lab');
  return processesWith(pid ?? process.pid).flatMap((seen): SchedulingSight[] => {
    const name = basename(seen.command[0] ?? '');
    if (!DEADLINE_HOLDERS.test(name)) return [];
    try {
      const policies = readdirSync(`/proc/${seen.pid}/task`).map((thread) => {
        const text = readFileSync(`/proc/${seen.pid}/task/${thread}/stat`, 'latin1');
        // proc(5): the 41st field is the policy; the name, second, may hold anything.
        return text.slice(text.lastIndexOf(')') + 2).split(' ')[38] ?? '';
      });
      return [{ name, pid: seen.pid, realtime: policies.some((policy) => REALTIME.has(policy)) }];
    } catch {
      return [];
    }
  });
}
