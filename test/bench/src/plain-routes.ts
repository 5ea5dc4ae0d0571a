/**
 * What anybody would do by hand with the same number of routes: read, `ip -batch`, read again, in a network
 * namespace of its own. A process that takes orders by line; the samples are beside those of Kedge in one run.
 * Must not use anything of Kedge, nor touch a namespace but its own.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { bulkDestinations } from './bulk.js';

const MAX_OUTPUT = 1 << 28;

/** A namespace with the routes in it. `close` ends it. */
export interface PlainRoutes {
  /** Takes all of them away; nanoseconds. */
  withdraw(): Promise<number>;
  /** Brings all of them back; nanoseconds. */
  restore(): Promise<number>;
  close(): void;
}

/** Starts the process with `count` routes in its namespace. */
export async function plainRoutes(count: number): Promise<PlainRoutes> {
  const child = spawn('unshare', ['-n', process.execPath, fileURLToPath(import.meta.url), String(count)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout });
  const answers = lines[Symbol.asyncIterator]();
  const ask = async (order: string): Promise<number> => {
    child.stdin.write(`${order}\n`);
    const answer = await answers.next();
    if (answer.done === true) throw new Error('bench: the process with the plain routes has ended');
    return Number(answer.value);
  };
  await ask('restore');
  return {
    withdraw: () => ask('withdraw'),
    restore: () => ask('restore'),
    close: () => {
      end(child);
    },
  };
}

function end(child: ChildProcess): void {
  child.kill('SIGKILL');
}

function ip(args: readonly string[], input = ''): void {
  execFileSync('ip', args, { input, maxBuffer: MAX_OUTPUT, stdio: ['pipe', 'pipe', 'inherit'] });
}

function obey(count: number): void {
  ip(['link', 'add', 'plain-a', 'type', 'veth', 'peer', 'name', 'plain-b']);
  ip(['address', 'add', '10.254.9.1/24', 'dev', 'plain-a']);
  for (const name of ['plain-a', 'plain-b']) ip(['link', 'set', name, 'up']);
  const batchOf = (verb: string): string =>
    bulkDestinations(count)
      .map(
        (destination) => `route ${verb} ${destination} via 10.254.9.2 dev plain-a metric 18600 proto 107\n`,
      )
      .join('');
  const batches = { withdraw: batchOf('del'), restore: batchOf('add') };
  const read = (): void => {
    ip(['-j', 'route', 'show', 'proto', '107']);
  };
  createInterface({ input: process.stdin }).on('line', (order) => {
    const begun = process.hrtime.bigint();
    read();
    ip(['-batch', '-'], order === 'withdraw' ? batches.withdraw : batches.restore);
    read();
    process.stdout.write(`${String(process.hrtime.bigint() - begun)}\n`);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) obey(Number(process.argv[2]));
