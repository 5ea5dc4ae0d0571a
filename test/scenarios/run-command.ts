/**
 * Runs the command `kedge` as people do, as a process of its own.
 * Must not interpret what it says.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../../apps/cli/bin/kedge.js', import.meta.url));

export interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** A command on its way. */
export interface Begun {
  /** It has printed its first line; rejects when it ends without any. */
  readonly spoke: Promise<void>;
  readonly ended: Promise<Ended>;
}

/** Runs `kedge ARGS` to its end, as another user when one is given; killed after `timeoutMs`. */
export function kedge(args: readonly string[], timeoutMs?: number, uid?: number): Promise<Ended> {
  const { spoke, ended } = kedgeBegun(args, timeoutMs, uid);
  spoke.catch(() => undefined);
  return ended;
}

/** As {@link kedge}, for whoever has something to do in between. */
export function kedgeBegun(args: readonly string[], timeoutMs = 90_000, uid?: number): Begun {
  const child = spawn(process.execPath, [COMMAND, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  let out = '';
  let err = '';
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve({ status, out, err });
    });
  });
  const spoke = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk;
      if (out.includes('\n')) resolve();
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
    child.on('close', (status) => {
      reject(new Error(`kedge ${args.join(' ')} ended with ${String(status)} and said nothing: ${err}`));
    });
  });
  return { spoke, ended };
}

/** What `kedge ARGS --json` printed. */
export async function kedgeJson<T>(args: readonly string[], timeoutMs?: number): Promise<T> {
  const { status, out, err } = await kedge([...args, '--json'], timeoutMs);
  if (status !== 0) throw new Error(`kedge ${args.join(' ')} ended with ${String(status)}: ${err}${out}`);
  return JSON.parse(out) as T;
}

export interface JsonError {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly field?: string;
    readonly expected?: string;
    readonly help?: string;
  };
}

/** How `kedge ARGS --json` failed. */
export async function kedgeError(
  args: readonly string[],
): Promise<JsonError['error'] & { status: number | null }> {
  const { status, out, err } = await kedge([...args, '--json']);
  if (out !== '') throw new Error(`kedge ${args.join(' ')} printed a result beside its error: ${out}`);
  const { error } = JSON.parse(err) as JsonError;
  return { ...error, status };
}
