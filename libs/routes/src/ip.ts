/**
 * The effects: `ip` (iproute2) reads routes and rules and applies plans in batches, each read back.
 * It must not report what it did not read back, and starts no shell.
 */
import { execFile } from 'node:child_process';

import type { Applied, Plan, Step } from '@kedge/contracts';
import type { RouteMode } from '@kedge/posture';
import { KedgeError } from '@kedge/units';

import { routesOutput, rulesOutput } from './route-output.js';
import { batchLines, objectOf } from './route-plan.js';
import { ROUTE_PROTOCOL, type RouteWorld } from './route-world.js';

/** How the tools are run. */
export interface ToolOptions {
  /** Name of a network namespace (/run/netns/NAME); absent = the process's own. */
  readonly netns?: string;
  /** Ends what has not been begun: no tool is started after it has aborted. */
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
 * Runs a tool to its end. A tool that was begun is never interrupted by the signal: half a batch is worse than one.
 *
 * @throws KedgeError `ROUTES_TOOL` when it cannot be started, `ROUTES_TIMEOUT` when it had to be killed.
 * @throws what the signal was aborted with, when it was aborted before.
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
    const child = execFile(
      tool,
      [...args],
      {
        encoding: 'utf8',
        env: { LC_ALL: 'C', PATH: path },
        maxBuffer: OUTPUT_LIMIT,
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
      },
      (error, stdout, stderr) => {
        if (error === null) {
          resolve({ status: 0, stdout, stderr });
          return;
        }
        if (typeof error.code === 'number') {
          resolve({ status: error.code, stdout, stderr });
          return;
        }
        reject(
          error.killed === true
            ? new KedgeError({
                code: 'ROUTES_TIMEOUT',
                message: `cannot wait for ${tool} any longer: it did not end`,
                expected: `an end within ${String(timeoutMs)} ms`,
                cause: error,
              })
            : new KedgeError({
                code: 'ROUTES_TOOL',
                message: `cannot run ${tool}`,
                expected: 'the program in the search path, and leave to run it',
                help: 'install iproute2',
                cause: error,
              }),
        );
      },
    );
    // A tool that ends before it has read everything says so by its status.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

async function show(args: readonly string[], options: ToolOptions): Promise<string> {
  const run = await runTool('ip', [...namespaceArguments(options), ...args], options);
  if (run.status === 0) return run.stdout;
  const said = run.stderr.trim().split('\n')[0] ?? '';
  throw new KedgeError(
    said.startsWith('Cannot open network namespace')
      ? {
          code: 'ROUTES_NAMESPACE',
          message: `cannot enter the network namespace ${String(options.netns)}: ${said}`,
          expected: 'a namespace that exists',
        }
      : {
          code: 'ROUTES_READ',
          message: `cannot read routes: ip ended with status ${String(run.status)}: ${said.slice(0, 200)}`,
          expected: 'status 0',
        },
  );
}

/**
 * Reads everything of one mode in the kernel: routes of its protocol number in all tables, its rules, and the rules
 * of others that are asked before them.
 *
 * @throws KedgeError `ROUTES_READ`, `ROUTES_OUTPUT`, `ROUTES_NAMESPACE`, `ROUTES_TOOL`, `ROUTES_TIMEOUT`
 */
export function readRoutes(mode: RouteMode, options: ToolOptions = {}): Promise<RouteWorld> {
  return readParts(mode, { routes: true, rules4: true, rules6: true }, options);
}

/** What of a world is to be read. */
interface Parts {
  readonly routes: boolean;
  readonly rules4: boolean;
  readonly rules6: boolean;
}

async function readParts(mode: RouteMode, parts: Parts, options: ToolOptions): Promise<RouteWorld> {
  const json = ['-j', '-N', '-d'];
  const routeWords = ['route', 'show', 'table', 'all', 'proto', String(ROUTE_PROTOCOL[mode])];
  const read = (wanted: boolean, words: readonly string[]): Promise<string> =>
    wanted ? show([...json, ...words], options) : Promise.resolve('[]');
  const [routes, rules4, rules6] = await Promise.all([
    read(parts.routes, routeWords),
    read(parts.rules4, ['-4', 'rule', 'show']),
    read(parts.rules6, ['-6', 'rule', 'show']),
  ]);
  const [four, six] = [rulesOutput(rules4, mode, 4), rulesOutput(rules6, mode, 6)];
  return {
    mode,
    entries: [...routesOutput(routes, mode), ...four.entries, ...six.entries],
    strangers: [...four.strangers, ...six.strangers],
  };
}

/** What a batch has changed. */
function partsOf(batch: readonly Step[]): Parts {
  const objects = batch.map(objectOf);
  return {
    routes: objects.some(({ object }) => object === 'route'),
    rules4: objects.some(({ object, family }) => object === 'rule' && family === 4),
    rules6: objects.some(({ object, family }) => object === 'rule' && family === 6),
  };
}

/** True when what the step wants is there, and what it takes away is not. */
function holds(step: Step, texts: ReadonlySet<string>, rules: ReadonlySet<string>): boolean {
  const { object, family } = objectOf(step);
  const has = (value: Step['before']): boolean =>
    typeof value === 'string' &&
    (object === 'route' ? texts.has(value) : rules.has(`${String(family)} ${value}`));
  return (step.after === null || has(step.after)) && (step.before === null || !has(step.before));
}

/** Which line `ip -force -batch -` refused, and what it said; lines count from 1. */
function complaintsOf(stderr: string): { readonly lines: Map<number, string>; readonly last: string } {
  const lines = new Map<number, string>();
  let said = '';
  for (const line of stderr.split('\n')) {
    const place = /^Command failed -:(\d+)$/.exec(line)?.[1];
    if (place === undefined) said = line.trim() === '' ? said : line.trim();
    else lines.set(Number(place), said);
  }
  return { lines, last: said };
}

/** Steps cut into runs of one tool invocation: at most `size` each, IPv6 rules apart from everything else. */
function* batchesOf(steps: readonly Step[], size: number): Generator<readonly Step[]> {
  let batch: Step[] = [];
  let rules6 = false;
  for (const step of steps) {
    const { object, family } = objectOf(step);
    const own = object === 'rule' && family === 6;
    if (batch.length >= size || (batch.length > 0 && own !== rules6)) {
      yield batch;
      batch = [];
    }
    rules6 = own;
    batch.push(step);
  }
  if (batch.length > 0) yield batch;
}

/** Steps of one batch. 5,000 take about a tenth of a second, which is how long an abort can go unnoticed. */
const BATCH_SIZE = 5000;

/**
 * Carries a plan out by `ip -batch`, batch by batch, and reads back after each. A line that the kernel refuses does
 * not keep the rest from being done: withdrawing more is tighter. What is reported as done was read in the kernel.
 * Stops between batches when the signal aborts. Does not throw.
 *
 * @param size steps per batch; each batch costs one more reading.
 */
export async function applyPlan(plan: Plan, options: ToolOptions = {}, size = BATCH_SIZE): Promise<Applied> {
  if (plan.steps.length === 0) return { outcome: 'unchanged', done: [] };
  const done: string[] = [];
  const mode: RouteMode = plan.target === 'routes/underlay' ? 'underlay' : 'overlay';
  let failure: Applied['failure'];
  for (const batch of batchesOf(plan.steps, size)) {
    if (options.signal?.aborted === true) return { outcome: 'cancelled', done };
    const first = batch[0];
    const rules6 = first !== undefined && objectOf(first).object === 'rule' && objectOf(first).family === 6;
    const lines = batchLines(batch);
    try {
      const { signal: _begun, ...rest } = options;
      const run = await runTool(
        'ip',
        [...namespaceArguments(options), ...(rules6 ? ['-6'] : []), '-force', '-batch', '-'],
        rest,
        `${lines.map(({ line }) => line).join('\n')}\n`,
      );
      // Read with the signal left out: what was begun is told truly.
      const world = await readParts(mode, partsOf(batch), rest);
      const texts = new Set<string>();
      const rules = new Set<string>();
      for (const { kind, family, text } of world.entries)
        if (kind === 'route') texts.add(text);
        else rules.add(`${String(family)} ${text}`);
      const complaints = complaintsOf(run.stderr);
      for (const step of batch) {
        if (holds(step, texts, rules)) {
          done.push(step.id);
          continue;
        }
        if (failure !== undefined) continue;
        const place = lines.findIndex((one, index) => one.step === step && complaints.lines.has(index + 1));
        const line = place < 0 ? lines.find((one) => one.step === step)?.line : lines[place]?.line;
        const said = place < 0 ? complaints.last : complaints.lines.get(place + 1);
        failure = {
          code: 'ROUTES_STEP',
          message: `cannot apply \`${line ?? ''}\`${place < 0 ? '' : ` (line ${String(place + 1)} of its batch)`}: ${
            said === undefined || said === '' ? 'it is not there when read back' : said
          }`,
          step: step.id,
        };
      }
    } catch (error) {
      if (!(error instanceof KedgeError)) throw error;
      return {
        outcome: 'failed',
        done,
        failure: {
          code: error.code,
          message: error.message,
          ...(first === undefined ? {} : { step: first.id }),
        },
      };
    }
  }
  return failure === undefined ? { outcome: 'applied', done } : { outcome: 'failed', done, failure };
}
