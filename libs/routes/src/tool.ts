/**
 * Runs a tool of the system to its end, or ends it: what is started here never outlives its time or its signal.
 * It must not know what a tool is for, and starts no shell.
 */
import { spawn } from 'node:child_process';

import { KedgeError } from '@kedge/units';

/** How the tools are run. */
export interface ToolOptions {
  /** Name of a network namespace (/run/netns/NAME); absent = the process's own. */
  readonly netns?: string;
  /** Nothing is started after it has aborted, and what runs is killed. */
  readonly signal?: AbortSignal;
  /** How long one run of a tool may take before it is killed, milliseconds; 5000 unless told. */
  readonly timeoutMs?: number;
  /** Directory in front of the search path, for tools that stand elsewhere. */
  readonly toolDirectory?: string;
}

/** What a tool said. */
export interface ToolRun {
  /** Exit status, 0 to 255. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const SEARCH_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const OUTPUT_LIMIT = 256 * 1024 * 1024;
const NAMESPACE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** `ip`'s arguments for the namespace that was asked for. */
export function namespaceArguments({ netns }: ToolOptions): string[] {
  if (netns === undefined) return [];
  if (NAMESPACE.test(netns)) return ['-n', netns];
  throw new KedgeError({
    code: 'ROUTES_NAMESPACE',
    message: `cannot enter the network namespace ${JSON.stringify(netns.slice(0, 64))}`,
    expected: 'the name of a namespace under /run/netns',
  });
}

/**
 * Runs a tool to its end. When the signal aborts it is killed, and this rejects as soon as it is gone: whoever waits
 * may act without anything acting besides. What it has done until then is done; only reading tells.
 *
 * @throws KedgeError `ROUTES_TOOL` when it cannot be started or is killed by somebody else, `ROUTES_TIMEOUT` when it
 * had to be killed.
 * @throws what the signal was aborted with.
 */
export function runTool(
  tool: string,
  args: readonly string[],
  { signal, timeoutMs = 5000, toolDirectory }: ToolOptions,
  input = '',
): Promise<ToolRun> {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const path = toolDirectory === undefined ? SEARCH_PATH : `${toolDirectory}:${SEARCH_PATH}`;
    const child = spawn(tool, args, { env: { LC_ALL: 'C', PATH: path }, stdio: 'pipe' });
    const said = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    let length = 0;
    /** Why it was killed. */
    let stopped: unknown;
    /** It is gone, and its last words may still be on their way: nobody will say a second time that it is. */
    let isGone = false;
    const stop = (why: unknown): void => {
      stopped ??= why;
      if (isGone) fail(stopped);
      else child.kill('SIGKILL');
    };
    const abort = (): void => {
      stop(signal?.reason);
    };
    const timer = setTimeout(() => {
      stop(
        new KedgeError({
          code: 'ROUTES_TIMEOUT',
          message: `cannot wait for ${tool} any longer: it did not end`,
          expected: `an end within ${String(timeoutMs)} ms`,
        }),
      );
    }, timeoutMs);
    signal?.addEventListener('abort', abort, { once: true });
    const over = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    const fail = (why: unknown): void => {
      over();
      // Whoever else holds the other ends of the pipes keeps nobody here waiting.
      for (const stream of child.stdio) stream?.destroy();
      reject(why instanceof Error ? why : new Error(String(why)));
    };
    const unusable = (cause: unknown): KedgeError =>
      new KedgeError({
        code: 'ROUTES_TOOL',
        message: `cannot run ${tool}`,
        expected: 'the program in the search path, and leave to run it',
        help: 'install iproute2',
        cause,
      });
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        said[name].push(chunk);
        length += chunk.length;
        if (length > OUTPUT_LIMIT) stop(unusable(new Error(`more than ${String(OUTPUT_LIMIT)} bytes`)));
      });
    }
    child.once('error', (error) => {
      fail(stopped ?? unusable(error));
    });
    child.once('exit', () => {
      isGone = true;
      if (stopped !== undefined) fail(stopped);
    });
    child.once('close', (status, by) => {
      if (stopped !== undefined) return;
      if (status === null) {
        fail(unusable(new Error(`ended by ${String(by)}`)));
        return;
      }
      over();
      const text = (chunks: Buffer[]): string => Buffer.concat(chunks).toString('utf8');
      resolve({ status, stdout: text(said.stdout), stderr: text(said.stderr) });
    });
    // A tool that ends before it has read everything says so by its status.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
}
