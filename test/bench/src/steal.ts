/**
 * Time that the host took from this machine's processors, to the nanosecond where the kernel shows it.
 * Must not judge a sample.
 *
 * /proc/stat counts steal in ticks of 10 ms, and a decision takes a hundredth of one: most of what was stolen
 * would be called ours. The scheduler keeps two clocks for each processor, with and without the time that it
 * did not run (PARAVIRT_TIME_ACCOUNTING); debugfs prints both with nanoseconds.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, openSync, readFileSync, readSync } from 'node:fs';

const DEBUGFS = '/sys/kernel/debug';
const CLOCKS = `${DEBUGFS}/sched/debug`;
const BUFFER_BYTES = 1 << 18;
const TICK_NS = 10_000_000n;

/**
 * Makes the scheduler's clocks readable, as far as this machine has them; the result puts back what it changed.
 * Needs root, as the whole benchmark does.
 */
export function showClocks(): () => void {
  if (existsSync(CLOCKS)) return () => undefined;
  try {
    execFileSync('mount', ['-t', 'debugfs', 'debugfs', DEBUGFS], { stdio: 'ignore' });
  } catch {
    return () => undefined; // no debugfs in this kernel: ticks have to do
  }
  return () => execFileSync('umount', [DEBUGFS], { stdio: 'ignore' });
}

/** Nanoseconds that all processors of `text` (sched/debug) lost so far: Σ clock − clock_task. */
export function stolenIn(text: string): bigint {
  let sum = 0n;
  for (const [, name, ms, fraction] of text.matchAll(/^ {2}\.(clock|clock_task)\s*: (\d+)\.(\d{6})$/gm)) {
    const ns = BigInt(`${ms ?? '0'}${fraction ?? '0'}`);
    sum += name === 'clock' ? ns : -ns;
  }
  return sum;
}

/** What /proc/stat says was stolen from all processors, nanoseconds in steps of 10 ms. */
function stolenTicks(): bigint {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
  return BigInt(line.trim().split(/\s+/)[8] ?? 0) * TICK_NS;
}

/** A reader of the stolen time so far, in nanoseconds; the finest that this process may read. */
export function stolenNs(): () => bigint {
  let fd: number;
  try {
    fd = openSync(CLOCKS, 'r');
  } catch {
    return stolenTicks;
  }
  const buffer = Buffer.alloc(BUFFER_BYTES);
  return () => {
    let have = 0;
    for (let n = -1; n !== 0 && have < BUFFER_BYTES; have += n)
      n = readSync(fd, buffer, have, BUFFER_BYTES - have, have);
    return stolenIn(buffer.toString('latin1', 0, have));
  };
}
