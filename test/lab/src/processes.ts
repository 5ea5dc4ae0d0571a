/**
 * Looks at processes through /proc: who lives in a lab, and whether a process is still the one it was.
 * It must not signal anybody.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A process as seen from this machine. */
export interface SeenProcess {
  readonly pid: number;
  /** Its number inside its own pid namespace. */
  readonly innerPid: number;
  readonly command: readonly string[];
}

/** Start time of a process in clock ticks since boot; undefined when there is none, or only its remains. */
export function startTimeOf(pid: number): bigint | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name may hold anything, so count from the last parenthesis; the fields after it start at 3.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return BigInt(fields[19] ?? '0');
  } catch {
    return undefined;
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function allPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/**
 * Memory that a process has to itself, plus its share of what it shares (PSS), KiB; undefined when there is no
 * such process any more. Needs root for the processes of others.
 */
export function pssOf(pid: number): number | undefined {
  try {
    const kib = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1];
    return kib === undefined ? undefined : Number(kib);
  } catch {
    return undefined;
  }
}

/** Every process of the pid namespace that a process lives in, the remains of dead ones left out. */
export function processesWith(pid: number): readonly SeenProcess[] {
  const namespace = link(`/proc/${pid}/ns/pid`);
  if (namespace === undefined) return [];
  return allPids().flatMap((candidate) => {
    if (link(`/proc/${candidate}/ns/pid`) !== namespace) return [];
    try {
      const command = readFileSync(`/proc/${candidate}/cmdline`, 'utf8').split('\0').slice(0, -1);
      const status = readFileSync(`/proc/${candidate}/status`, 'latin1');
      const inner = /^NSpid:.*?(\d+)$/m.exec(status)?.[1];
      if (startTimeOf(candidate) === undefined || inner === undefined) return [];
      return [{ pid: candidate, innerPid: Number(inner), command }];
    } catch {
      return [];
    }
  });
}

/** The first descendant of a process that is number 1 of a pid namespace of its own. */
export function initUnder(pid: number): number | undefined {
  const own = link(`/proc/self/ns/pid`);
  let level = [pid];
  while (level.length > 0) {
    const next: number[] = [];
    for (const parent of level) {
      for (const child of childrenOf(parent)) {
        const status = read(`/proc/${child}/status`);
        const numbers = /^NSpid:\s*(.*)$/m.exec(status ?? '')?.[1]?.split(/\s+/) ?? [];
        if (numbers.length > 1 && numbers.at(-1) === '1' && link(`/proc/${child}/ns/pid`) !== own)
          return child;
        next.push(child);
      }
    }
    level = next;
  }
  return undefined;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

function childrenOf(pid: number): number[] {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
  return threads.flatMap((thread) =>
    (read(`/proc/${pid}/task/${thread}/children`) ?? '')
      .split(' ')
      .filter((word) => word !== '')
      .map(Number),
  );
}
