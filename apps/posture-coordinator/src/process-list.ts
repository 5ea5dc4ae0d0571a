/**
 * The processes of the controller as the kernel lists them.
 * It must not hold anything up: it is read in pieces, and what ended meanwhile is left out.
 */
import { lineOf } from '@kedge/contracts';
import type { ForensicItem } from '@kedge/ledger';
import { readdir, readFile } from 'node:fs/promises';

/** Most processes that are told. */
const MOST = 4_096;
/** Processes that are looked at together: the threads that read files are those that write the journal. */
const AT_ONCE = 4;
/** Characters of a command line; arguments may hold more than anybody wants kept. */
const COMMAND_MAX = 256;

/** A list, and what it lacks; empty where it is whole. */
export interface ProcessList {
  readonly items: readonly ForensicItem[];
  readonly reason: string;
}

/** Reads it. Never rejects. */
export async function processList(root = '/proc'): Promise<ProcessList> {
  let pids: number[];
  try {
    pids = (await readdir(root))
      .filter((name) => /^[1-9][0-9]*$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    return { items: [], reason: `the processes cannot be listed: ${code}` };
  }
  const items: ForensicItem[] = [];
  for (let from = 0; from < Math.min(pids.length, MOST); from += AT_ONCE) {
    const some = pids.slice(from, Math.min(from + AT_ONCE, MOST));
    for (const item of await Promise.all(some.map((pid) => processItem(root, pid))))
      if (item !== undefined) items.push(item);
  }
  return { items, reason: pids.length > MOST ? `${pids.length - MOST} processes more are not told` : '' };
}

const STATES: Readonly<Record<string, string>> = {
  R: 'running',
  S: 'sleeping',
  D: 'waiting-for-disk',
  Z: 'zombie',
  T: 'stopped',
  t: 'traced',
  I: 'idle',
  X: 'dead',
};

/** One process by /proc/PID/stat, status and cmdline (proc(5)); undefined where it has ended. */
async function processItem(root: string, pid: number): Promise<ForensicItem | undefined> {
  const read = (name: string): Promise<string> => readFile(`${root}/${pid}/${name}`, 'utf8');
  try {
    const [stat, status, command] = await Promise.all([read('stat'), read('status'), read('cmdline')]);
    // The name stands in brackets and may hold anything, brackets too.
    const end = stat.lastIndexOf(')');
    const name = stat.slice(stat.indexOf('(') + 1, end);
    const fields = stat.slice(end + 2).split(' ');
    const field = (key: string): string => new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? '';
    return {
      name: lineOf(`${pid} ${name}`, 128),
      state: STATES[fields[0] ?? ''] ?? 'unknown',
      facts: {
        parent: Number(fields[1] ?? 0),
        uid: Number(field('Uid')),
        residentKb: Number(field('VmRSS')),
        startedTicks: fields[19] ?? '',
        command: lineOf(command.replaceAll('\0', ' ').trim(), COMMAND_MAX),
      },
    };
  } catch {
    return undefined;
  }
}
