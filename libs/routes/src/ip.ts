/**
 * The effects: `ip` (iproute2) reads routes and rules and applies plans in batches and reads back what they did.
 * It must not report what it did not read back, and starts no shell.
 */
import type { Applied, Plan, Step } from '@kedge/contracts';
import type { RouteMode } from '@kedge/posture';
import { KedgeError } from '@kedge/units';

import { routesOutput, rulesOutput } from './route-output.js';
import { batchesOf, batchLines, objectOf } from './route-plan.js';
import { ROUTE_PROTOCOL, type RouteWorld } from './route-world.js';
import { namespaceArguments, runTool, type ToolOptions } from './tool.js';

/** How a family is asked: one process for everything, because starting one costs as much as reading a table. */
const asking = (family: 4 | 6, options: ToolOptions, ...more: readonly string[]): string[] => [
  ...namespaceArguments(options),
  `-${String(family)}`,
  ...['-j', '-N', '-d', ...more, '-batch', '-'],
];

/** What prints all that one family has of a mode: one line of JSON for the routes, one for the rules. */
const questionsOf = (mode: RouteMode): string =>
  `route show table all proto ${String(ROUTE_PROTOCOL[mode])}\nrule show\n`;

/** The answers to both questions, or undefined where they are not all there is. */
function answersIn(stdout: string): Answers | undefined {
  const [routes = '', rules = '', rest] = stdout.split('\n');
  return routes.startsWith('[') && rules.startsWith('[') && rest === '' ? { routes, rules } : undefined;
}

interface Answers {
  readonly routes: string;
  readonly rules: string;
}

function worldOf(mode: RouteMode, four: Answers, six: Answers): RouteWorld {
  const [rules4, rules6] = [rulesOutput(four.rules, mode, 4), rulesOutput(six.rules, mode, 6)];
  return {
    mode,
    entries: [
      ...routesOutput(four.routes, mode),
      ...routesOutput(six.routes, mode),
      ...rules4.entries,
      ...rules6.entries,
    ],
    strangers: [...rules4.strangers, ...rules6.strangers],
  };
}

async function ask(mode: RouteMode, family: 4 | 6, options: ToolOptions): Promise<Answers> {
  const run = await runTool('ip', asking(family, options), options, questionsOf(mode));
  if (run.status === 0) {
    const answers = answersIn(run.stdout);
    if (answers !== undefined) return answers;
    throw new KedgeError({
      code: 'ROUTES_OUTPUT',
      message: 'cannot believe what ip printed: it is not one line for the routes and one for the rules',
      expected: 'two JSON arrays',
      help: 'see that /usr/sbin/ip is the one of iproute2',
    });
  }
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
export async function readRoutes(mode: RouteMode, options: ToolOptions = {}): Promise<RouteWorld> {
  const [four, six] = await Promise.all([ask(mode, 4, options), ask(mode, 6, options)]);
  return worldOf(mode, four, six);
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

/** What carrying a plan out came to. */
export interface CarriedOut {
  readonly applied: Applied;
  /** The whole world as it was read back after the last change; undefined where that could not be read. */
  readonly world?: RouteWorld;
}

/**
 * Carries a plan out by `ip -batch`, a batch per family and both at once: neither family's packets look at what the
 * other has, so the order of the steps has to hold within each alone. A line that the kernel refuses does not keep
 * the rest from being done: withdrawing more is tighter. Each batch ends by reading everything back; what is
 * reported as done was read in the kernel.
 *
 * When the signal aborts, `ip` is killed and nothing is read any more: the plan is cancelled, no step is reported,
 * and what was done until then is for the next reading to find. Does not throw.
 */
export async function carryOut(plan: Plan, options: ToolOptions = {}): Promise<CarriedOut> {
  if (plan.steps.length === 0) return { applied: { outcome: 'unchanged', done: [] } };
  const mode: RouteMode = plan.target === 'routes/underlay' ? 'underlay' : 'overlay';
  const cancelled: CarriedOut = { applied: { outcome: 'cancelled', done: [] } };
  const failed = ({ code, message }: KedgeError, done: readonly string[] = []): CarriedOut => ({
    applied: { outcome: 'failed', done, failure: { code, message, step: plan.steps[0]?.id ?? '' } },
  });
  const isStopped = (): boolean => options.signal?.aborted === true;
  const batches = batchesOf(plan, ROUTE_PROTOCOL[mode]);
  // Both have come to an end before anything is said: what is over changes nothing any more.
  const results = await Promise.allSettled(
    batches.map(async ({ family, text }) =>
      runTool('ip', asking(family, options, '-force'), options, text + questionsOf(mode)),
    ),
  );
  if (isStopped()) return cancelled;
  const broken = firstFailure(results);
  let world: RouteWorld;
  try {
    const [four, six] = results.map((result) =>
      result.status === 'fulfilled' ? answersIn(result.value.stdout) : undefined,
    );
    // A batch that ended before its end has not been read back.
    world =
      four === undefined || six === undefined ? await readRoutes(mode, options) : worldOf(mode, four, six);
  } catch (error) {
    if (isStopped()) return cancelled;
    return failed(broken ?? asKedgeError(error));
  }
  const texts = new Set<string>();
  const rules = new Set<string>();
  for (const { kind, family, text } of world.entries)
    if (kind === 'route') texts.add(text);
    else rules.add(`${String(family)} ${text}`);
  const done: string[] = [];
  let missing: Step | undefined;
  for (const step of plan.steps) {
    if (holds(step, texts, rules)) {
      done.push(step.id);
      continue;
    }
    missing ??= step;
  }
  if (broken !== undefined) return { ...failed(broken, done), world };
  if (missing === undefined) return { applied: { outcome: 'applied', done }, world };
  const { family } = objectOf(missing);
  const place = batches.findIndex((batch) => batch.family === family);
  const result = results[place];
  const stderr = result?.status === 'fulfilled' ? result.value.stderr : '';
  const message = refusalOf(missing, batches[place]?.text ?? '', stderr);
  return {
    applied: { outcome: 'failed', done, failure: { code: 'ROUTES_STEP', message, step: missing.id } },
    world,
  };
}

function asKedgeError(error: unknown): KedgeError {
  return error instanceof KedgeError
    ? error
    : new KedgeError({ code: 'ROUTES_TOOL', message: 'cannot run ip', cause: error });
}

function firstFailure(results: readonly PromiseSettledResult<unknown>[]): KedgeError | undefined {
  const broken = results.find((result) => result.status === 'rejected');
  return broken === undefined ? undefined : asKedgeError(broken.reason);
}

/** Why a step does not hold, as far as `ip` said. */
function refusalOf(step: Step, batch: string, stderr: string): string {
  const complaints = complaintsOf(stderr);
  const lines = batch.split('\n');
  const own = batchLines([step]).map(({ line }) => line);
  const place = lines.findIndex((line, index) => complaints.lines.has(index + 1) && own.includes(line));
  const line = lines[place] ?? own[0] ?? '';
  const said = place < 0 ? complaints.last : complaints.lines.get(place + 1);
  return `cannot apply \`${line}\`${place < 0 ? '' : ` (line ${String(place + 1)} of its batch)`}: ${
    said === undefined || said === '' ? 'it is not there when read back' : said
  }`;
}

/** What {@link carryOut} came to, without the world. */
export async function applyPlan(plan: Plan, options: ToolOptions = {}): Promise<Applied> {
  return (await carryOut(plan, options)).applied;
}
