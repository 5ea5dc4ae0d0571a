/**
 * Whether the process that wrote a segment's header still exists.
 * Must not take silence for death, nor a doubt for a proof: only a process that is gone is dead.
 */
import { readFileSync } from 'node:fs';
import type { SegmentHeader } from './segment.js';

/**
 * False only when the very process that wrote the header is proven to be gone: there is none of its id, or another
 * one has it now. A process whose first thread has ended (Z) while others run still lives: its workers may. Whatever
 * cannot be found out, for want of descriptors or because /proc hides the processes of others, counts as living.
 * A process of another pid namespace counts as dead.
 */
export function writerLives({
  writerPid,
  writerStart,
}: Pick<SegmentHeader, 'writerPid' | 'writerStart'>): boolean {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${writerPid.toString()}/stat`, 'latin1');
  } catch (error) {
    // ESRCH: it went away between opening and reading. ENOENT may also come from hidepid.
    return codeOf(error) === 'ENOENT' ? exists(writerPid) : codeOf(error) !== 'ESRCH';
  }
  // The name in brackets may hold anything; after it come state (field 3), threads (20) and start time (22).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[19] !== writerStart.toString()) return false;
  const ended = fields[0] === 'Z' || fields[0] === 'X';
  return !ended || Number(fields[17]) > 1;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
