/**
 * The processes of the controller as a section of the forensic snapshot: what this service's own namespace has.
 * It must not tell what a process was started with beyond its program: words of a command line may be secrets.
 */
import { lineOf } from '@kedge/contracts';
import type { ForensicItem } from '@kedge/ledger';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** States of a process as the kernel says them, proc(5). */
const STATES: Readonly<Record<string, string>> = {
  R: 'running',
  S: 'sleeping',
  D: 'waiting',
  T: 'stopped',
  t: 'traced',
  Z: 'dead',
  X: 'dead',
  I: 'idle',
};

/** Every process that can be seen; those that end meanwhile are left out. */
export function controllerProcesses(): readonly ForensicItem[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid): ForensicItem[] => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        // The name may hold anything, so count from the last parenthesis; the fields after it start at 3.
        const end = stat.lastIndexOf(')');
        const name = stat.slice(stat.indexOf('(') + 1, end);
        const fields = stat.slice(end + 2).split(' ');
        const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
        return [
          {
            name: lineOf(`${pid} ${name}`, 128),
            state: STATES[fields[0] ?? ''] ?? 'unknown',
            facts: {
              parent: Number(fields[1]),
              program: programOf(pid),
              // Clock ticks since boot: a number that is used again has another.
              started: fields[19] ?? '',
              threads: Number(fields[17]),
              uid: Number(uid),
            },
          },
        ];
      } catch {
        return [];
      }
    });
}

/** Empty where the kernel does not tell: of another user's. */
function programOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return '';
  }
}
