/**
 * What the commands do: ask, show, and say how it ended.
 * It must not parse the command line; program.ts does.
 */
import { KedgeError, type Level, LEVELS } from '@kedge/units';
import { randomUUID } from 'node:crypto';
import { accessSync, constants, existsSync, renameSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, resolve } from 'node:path';

import { EXIT, exitOf } from './exit-status.js';
import { refusalError } from './failure.js';
import type { FlowsOptions } from './flows.js';
import type {
  IntentCommitOptions,
  IntentEditOptions,
  IntentHistoryOptions,
  IntentLockOptions,
  IntentOptions,
  IntentUnlockOptions,
} from './intent.js';
import type { IntentPlanOptions, IntentRemedyOptions } from './intent-devices.js';
import { leaving } from './leaving.js';
import type {
  LedgerCheckpointOptions,
  LedgerEraseOptions,
  LedgerExportOptions,
  LedgerProveOptions,
  LedgerQueryOptions,
  LedgerTailOptions,
} from './ledger.js';
import {
  governanceText,
  historyText,
  planText,
  stateLine,
  stateText,
  transitionText,
} from './posture-text.js';
import type { MetricsOptions } from './metrics.js';
import { jsonText, levelText } from './render.js';
import { type TargetOptions, withGovernance, withPosture } from './target.js';
import type { TopOptions } from './top.js';

export interface CommandOptions extends TargetOptions {
  readonly timeout: number;
  readonly json?: boolean;
}

export interface SetOptions extends CommandOptions {
  readonly reason: string;
  readonly principal?: string;
  readonly idempotencyKey?: string;
  readonly ifEpoch?: bigint;
  readonly wait?: boolean;
}

export interface ReloadOptions extends CommandOptions {
  readonly reason: string;
  readonly principal?: string;
  readonly idempotencyKey?: string;
}

export type PolicyReloadOptions = Omit<ReloadOptions, 'idempotencyKey'>;

export interface ExplainOptions extends Pick<CommandOptions, 'json'> {
  readonly policies: string;
  /** console, or CHANNEL/TIER. */
  readonly as: string;
  readonly level: Level;
  readonly to?: Level;
  readonly action?: string;
  readonly resource: string;
  /** Seconds. */
  readonly secondFactor?: number;
  readonly address?: string;
  readonly time?: string;
  readonly breakGlass?: boolean;
  readonly accords?: string;
  readonly zones?: string;
}

export interface WatchOptions extends CommandOptions {
  readonly count?: number;
}

export interface HistoryOptions extends CommandOptions {
  readonly limit: number;
  readonly before?: bigint;
  /** Milliseconds since 1970. */
  readonly since?: number;
  readonly level?: Level;
  readonly source?: string;
}

export interface BundleOptions extends CommandOptions {
  readonly output?: string;
}

export interface DrillCommandOptions {
  readonly lab: string;
  readonly chaos?: boolean;
  readonly shortBudgets?: boolean;
  readonly only?: string;
  readonly dwell: number;
  /** The tightest level that is entered. */
  readonly level: Level;
  /** Where the HTML page goes. */
  readonly report?: string;
  readonly json?: boolean;
}

export interface LabCommandOptions {
  readonly name: string;
  readonly foreground?: boolean;
  readonly shortBudgets?: boolean;
  readonly json?: boolean;
}

const PRINCIPAL_LENGTH = 128;
const WAIT_MS = 60_000;

function show(value: unknown, text: string, json: boolean | undefined): void {
  process.stdout.write(`${json === true ? jsonText(value) : text}\n`);
}

function principal(): string {
  try {
    return `user:${userInfo().username}`.slice(0, PRINCIPAL_LENGTH);
  } catch {
    return `user:${process.getuid?.() ?? 'unknown'}`;
  }
}

export function postureGet(options: CommandOptions): Promise<number> {
  return withPosture(options, async (client) => {
    const state = await client.get({}, { deadlineMs: options.timeout });
    show(state, stateText(state), options.json);
    return EXIT.ok;
  });
}

export function postureSet(level: Level, options: SetOptions): Promise<number> {
  return withPosture(options, async (client) => {
    const call = { deadlineMs: options.timeout };
    const request = {
      level,
      reason: options.reason,
      principal: options.principal ?? principal(),
      idempotencyKey: options.idempotencyKey ?? randomUUID(),
      ...(options.ifEpoch === undefined ? {} : { ifEpoch: options.ifEpoch }),
    };
    const until = performance.now() + WAIT_MS;
    let reply = await client.set(request, call);
    while (reply.outcome === 'waiting' && options.wait === true && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      // The same key is the same request: asked again it tells what became of the one that waits.
      reply = await client.set(request, call);
    }
    switch (reply.outcome) {
      case 'refusal':
        throw refusalError(reply.refusal);
      case 'waiting':
        if (options.wait === true) {
          throw new KedgeError({
            code: 'CLI_TIMEOUT',
            message: `the request still waits behind epoch ${reply.waiting.behindEpoch} after ${WAIT_MS / 1000} s`,
            help: 'it stays asked for; kedge posture watch shows what happens',
          });
        }
        show(
          reply,
          `waiting: it is looked at again when the transition of epoch ${reply.waiting.behindEpoch} is finished`,
          options.json,
        );
        return EXIT.ok;
      case 'decision': {
        const { epoch, from, to, durable } = reply.decision;
        if (options.wait !== true) {
          const note = durable ? '' : ' (applied, NOT DURABLE: the journal could not be written)';
          show(reply, `${levelText(from)} → ${levelText(to)}, epoch ${epoch}${note}`, options.json);
          return EXIT.ok;
        }
        for (;;) {
          const found = await client.transition({ epoch }, call);
          if (found.outcome === 'refusal') throw refusalError(found.refusal);
          if (found.report.outcome !== 'running' && found.report.completedAtNs > 0n) {
            show(found.report, transitionText(found.report), options.json);
            return EXIT.ok;
          }
          if (performance.now() > until) {
            throw new KedgeError({
              code: 'CLI_TIMEOUT',
              message: `the transition of epoch ${epoch} has not ended within ${WAIT_MS / 1000} s`,
              help: `kedge transition show ${epoch}`,
            });
          }
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    }
  });
}

export function postureWatch(options: WatchOptions): Promise<number> {
  const signal = leaving();
  return withPosture(options, async (client) => {
    let count = 0;
    try {
      for await (const state of client.watch({}, { deadlineMs: options.timeout, signal })) {
        const line = options.json === true ? jsonText(state, 0) : stateLine(state);
        process.stdout.write(`${line}\n`);
        count += 1;
        if (count === options.count) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return EXIT.ok;
  });
}

export function postureHistory(options: HistoryOptions): Promise<number> {
  const { limit, before, since, level, source } = options;
  return withPosture(options, async (client) => {
    const reply = await client.history(
      {
        limit,
        beforeEpoch: before ?? 0n,
        ...(since === undefined ? {} : { sinceWallMs: BigInt(since) }),
        ...(level === undefined ? {} : { level }),
        ...(source === undefined ? {} : { source }),
      },
      { deadlineMs: options.timeout },
    );
    show(reply, historyText(reply.transitions), options.json);
    return EXIT.ok;
  });
}

export function posturePlan(
  level: Level,
  options: CommandOptions & { readonly window: number },
): Promise<number> {
  return withGovernance(options, async (client) => {
    const plan = await client.plan({ level, windowS: options.window }, { deadlineMs: options.timeout });
    show(plan, planText(plan), options.json);
    return EXIT.ok;
  });
}

export function transitionShow(epoch: bigint | undefined, options: CommandOptions): Promise<number> {
  return withPosture(options, async (client) => {
    const reply = await client.transition({ epoch: epoch ?? 0n }, { deadlineMs: options.timeout });
    if (reply.outcome === 'refusal') throw refusalError(reply.refusal);
    show(reply.report, transitionText(reply.report), options.json);
    return EXIT.ok;
  });
}

export function governanceShow(options: CommandOptions): Promise<number> {
  return withGovernance(options, async (client) => {
    const reply = await client.show({}, { deadlineMs: options.timeout });
    show(reply, governanceText(reply), options.json);
    return EXIT.ok;
  });
}

export async function governanceFlows(options: FlowsOptions): Promise<number> {
  const { flowsRun } = await import('./flows.js');
  await flowsRun(options, leaving());
  return EXIT.ok;
}

export function accordsReload(options: ReloadOptions): Promise<number> {
  return withPosture(options, async (client) => {
    const call = { deadlineMs: options.timeout };
    const before = await client.get({}, call);
    const reply = await client.reloadAccords(
      {
        reason: options.reason,
        principal: options.principal ?? principal(),
        idempotencyKey: options.idempotencyKey ?? randomUUID(),
      },
      call,
    );
    if (reply.outcome === 'refusal') throw refusalError(reply.refusal);
    const text = (): string => {
      if (reply.outcome === 'waiting')
        return `waiting: it is looked at again when the transition of epoch ${reply.waiting.behindEpoch} is finished`;
      const { epoch, to, durable } = reply.decision;
      if (epoch <= before.epoch) return `nothing changed: these accords are in force already, epoch ${epoch}`;
      const note = durable ? '' : ' (applied, NOT DURABLE: the journal could not be written)';
      return `other accords at ${levelText(to)}, epoch ${epoch}${note}; kedge transition show tells how it went`;
    };
    show(reply, text(), options.json);
    return EXIT.ok;
  });
}

export async function accordsCheck(
  accords: string,
  zones: string,
  options: Pick<CommandOptions, 'json'>,
): Promise<number> {
  const { accordsCheckText, checkAccords } = await import('./accords-check.js');
  const check = checkAccords(accords, zones);
  show(check, accordsCheckText(check), options.json);
  return check.valid ? EXIT.ok : EXIT.failedCheck;
}

export async function authzCheck(policies: string, options: Pick<CommandOptions, 'json'>): Promise<number> {
  const { checkPolicies, policiesCheckText } = await import('./authz.js');
  const check = await checkPolicies(policies);
  show(check, policiesCheckText(check), options.json);
  return check.valid ? EXIT.ok : EXIT.failedCheck;
}

export async function authzExplain(options: ExplainOptions): Promise<number> {
  const { explainRequest, explanationText } = await import('./authz.js');
  const { policies, as, level, to, resource, secondFactor, address, time, breakGlass } = options;
  const [channel, tier] = as === 'console' ? ['console', 'site_owner'] : as.split('/');
  const action = options.action ?? (to === undefined ? undefined : 'posture.set');
  const asked = {
    ...{ tier, channel, action, level, resource },
    ...(to === undefined ? {} : { to }),
    ...(secondFactor === undefined ? {} : { secondFactorAge: secondFactor }),
    ...(address === undefined ? {} : { address }),
    ...(time === undefined ? {} : { time }),
    ...(breakGlass === undefined ? {} : { breakGlass }),
  };
  const explanation = await explainRequest(policies, asked, options);
  show(explanation, explanationText(explanation), options.json);
  return EXIT.ok;
}

export async function authzTest(
  policies: string,
  files: readonly string[],
  options: Pick<CommandOptions, 'json'>,
): Promise<number> {
  const { testedText, testPolicies } = await import('./authz.js');
  const tested = await testPolicies(policies, files);
  const passed = tested.every(({ tests }) => tests.every((test) => test.passed));
  show({ passed, files: tested }, testedText(tested), options.json);
  return passed ? EXIT.ok : EXIT.failedCheck;
}

export function authzReload(options: PolicyReloadOptions): Promise<number> {
  return withPosture(options, async (client) => {
    const reply = await client.reloadPolicies(
      { reason: options.reason, principal: options.principal ?? principal() },
      { deadlineMs: options.timeout },
    );
    if (reply.outcome === 'refusal') throw refusalError(reply.refusal);
    const { set, generation, policies, changed } = reply.inForce;
    const what = changed
      ? 'other policies are in force'
      : 'nothing changed: these policies are in force already';
    show(reply, `${what}: ${policies} of the set ${set}, generation ${generation}`, options.json);
    return EXIT.ok;
  });
}

export async function topRun(options: TopOptions): Promise<number> {
  return (await import('./top.js')).topRun(options);
}

export async function metricsShow(service: string | undefined, options: MetricsOptions): Promise<number> {
  return (await import('./metrics.js')).metricsShow(service, options);
}

export async function doctorRun(options: CommandOptions): Promise<number> {
  const [{ examine }, { diagnosisOf, diagnosisText }] = await Promise.all([
    import('./examine.js'),
    import('./diagnosis.js'),
  ]);
  const diagnosis = diagnosisOf(await examine(options));
  show(diagnosis, diagnosisText(diagnosis), options.json);
  return diagnosis.healthy ? EXIT.ok : EXIT.failedCheck;
}

export async function supportBundleRun(options: BundleOptions): Promise<number> {
  const { supportBundle, bundleText } = await import('./support-bundle.js');
  const bundle = await supportBundle(options);
  show(bundle, bundleText(bundle), options.json);
  return EXIT.ok;
}

function progress(): (line: string) => void {
  return process.stderr.isTTY ? (line) => process.stderr.write(`${line}\n`) : () => undefined;
}

/** @throws KedgeError `CLI_OUTPUT` */
function requireWritable(path: string): void {
  const directory = dirname(resolve(path));
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    if (existsSync(path)) accessSync(path, constants.W_OK);
  } catch (cause) {
    throw new KedgeError({
      code: 'CLI_OUTPUT',
      message: `cannot write ${path}`,
      field: '--report',
      expected: 'a file in a directory that exists and can be written to',
      cause,
    });
  }
}

/** Writes the HTML page where one was asked for; what to say about it. */
async function writePage(
  { report: path, lab }: DrillCommandOptions,
  kind: 'drillPage' | 'chaosPage',
  report: unknown,
): Promise<string> {
  if (path === undefined) return '';
  const [pages, { hostFacts }] = await Promise.all([import('./report-html.js'), import('./host-facts.js')]);
  const text = pages[kind](JSON.parse(jsonText(report)), hostFacts(`the lab "${lab}"`));
  const to = resolve(path);
  writeFileSync(`${to}.new`, text);
  renameSync(`${to}.new`, to);
  return `\npage written to ${to}`;
}

/** Every level down to `level` and up again, then the longest way at once; for level 1 the whole drill (PO-21). */
export function courseTo(level: Level): readonly Level[] {
  const tighter = LEVELS.filter((each) => each < 5 && each >= level);
  return [...tighter, ...tighter.slice(0, -1).reverse(), 5, level, 5];
}

export async function drillRun(options: DrillCommandOptions): Promise<number> {
  const { chaosDrill, connectLab, drill, SHORT_BUDGETS, storeDrillReport } = await import('@kedge/lab');
  const { chaosText, drillText } = await import('./lab-text.js');
  const signal = leaving();
  const tell = progress();
  // What cannot be written is told before the drill, not after it.
  if (options.report !== undefined) requireWritable(options.report);
  if (options.chaos === true) {
    const report = await chaosDrill({
      ...(options.shortBudgets === true ? { budgets: SHORT_BUDGETS, name: 'chaos' } : { name: options.lab }),
      ...(options.only === undefined ? {} : { only: options.only }),
      progress: tell,
      signal,
    });
    const page = await writePage(options, 'chaosPage', report);
    show(report, `${chaosText(report)}${page}`, options.json);
    return report.ok ? EXIT.ok : EXIT.failedCheck;
  }
  const lab = connectLab(options.lab);
  try {
    const report = await drill(lab, {
      course: courseTo(options.level),
      dwellMs: options.dwell,
      progress: tell,
      signal,
    });
    const stored = storeDrillReport((path) => lab.reach(path), report);
    const page = await writePage(options, 'drillPage', report);
    show(report, `${drillText(report)}\n${page}\nstored as ${stored}`, options.json);
    return report.ok ? EXIT.ok : EXIT.failedCheck;
  } finally {
    lab.close();
  }
}

export async function labUpRun(options: LabCommandOptions): Promise<number> {
  const { FULL_BUDGETS, labUp, SHORT_BUDGETS } = await import('@kedge/lab');
  const { labPlacesText, tryText } = await import('./lab-text.js');
  const foreground = options.foreground === true;
  const signal = leaving();
  const lab = await labUp({
    name: options.name,
    foreground,
    budgets: options.shortBudgets === true ? SHORT_BUDGETS : FULL_BUDGETS,
    out: (line) => {
      if (options.json !== true) process.stdout.write(`  ${line} …\n`);
    },
    signal,
  });
  try {
    show(
      { name: lab.name, pid: lab.pid, root: lab.reach('/run/kedge') },
      `${labPlacesText(lab)}\n\n${tryText(lab.name, foreground)}`,
      options.json,
    );
    if (foreground) {
      const { watchLab } = await import('./lab-watch.js');
      await watchLab(lab, signal);
    }
    return EXIT.ok;
  } finally {
    if (foreground) await lab.down();
    else lab.close();
  }
}

export async function labDownRun(options: LabCommandOptions): Promise<number> {
  const { labDown } = await import('@kedge/lab');
  const ended = await labDown(options.name);
  show(
    { name: options.name, ended },
    ended ? `the lab "${options.name}" has ended` : `the lab "${options.name}" was not up`,
    options.json,
  );
  return EXIT.ok;
}

export async function labStatusRun(options: LabCommandOptions): Promise<number> {
  const { labStatus } = await import('@kedge/lab');
  const { statusText } = await import('./lab-text.js');
  const status = labStatus(options.name);
  show(status, statusText(status), options.json);
  return status.state === 'up' ? EXIT.ok : exitOf('LAB_NOT_UP');
}

export async function ledgerQuery(options: LedgerQueryOptions): Promise<number> {
  return (await import('./ledger.js')).ledgerQuery(options);
}

export async function ledgerTail(options: LedgerTailOptions): Promise<number> {
  return (await import('./ledger.js')).ledgerTail(options);
}

export async function ledgerCheckpoint(options: LedgerCheckpointOptions): Promise<number> {
  return (await import('./ledger.js')).ledgerCheckpoint(options);
}

export async function ledgerExport(options: LedgerExportOptions): Promise<number> {
  return (await import('./ledger.js')).ledgerExport(options);
}

export async function ledgerStatus(options: CommandOptions): Promise<number> {
  return (await import('./ledger.js')).ledgerStatus(options);
}

export async function ledgerProve(index: bigint, options: LedgerProveOptions): Promise<number> {
  return (await import('./ledger.js')).ledgerProve(index, options);
}

export async function ledgerErase(subject: string, options: LedgerEraseOptions): Promise<number> {
  return (await import('./ledger.js')).ledgerErase(subject, options);
}

export async function intentStatus(options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentStatus(options);
}

export async function intentShow(source: string, options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentShow(source, options);
}

export async function intentHistory(options: IntentHistoryOptions): Promise<number> {
  return (await import('./intent.js')).intentHistory(options);
}

export async function intentValidate(source: string, options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentValidate(source, options);
}

export async function intentCompare(from: string, to: string, options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentCompare(from, to, options);
}

export async function intentLoad(files: readonly string[], options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentLoad(files, options);
}

export async function intentEdit(
  kind: string | undefined,
  path: string | undefined,
  value: string | undefined,
  options: IntentEditOptions,
): Promise<number> {
  return (await import('./intent.js')).intentEdit(kind, path, value, options);
}

export async function intentDiscard(options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentDiscard(options);
}

export async function intentLock(options: IntentLockOptions): Promise<number> {
  return (await import('./intent.js')).intentLock(options);
}

export async function intentUnlock(options: IntentUnlockOptions): Promise<number> {
  return (await import('./intent.js')).intentUnlock(options);
}

export async function intentCommit(options: IntentCommitOptions): Promise<number> {
  return (await import('./intent.js')).intentCommit(options);
}

export async function intentRollback(to: number, options: IntentCommitOptions): Promise<number> {
  return (await import('./intent.js')).intentRollback(to, options);
}

export async function intentConfirm(revision: number | undefined, options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentConfirm(revision, options);
}

export async function intentCancel(revision: number | undefined, options: IntentOptions): Promise<number> {
  return (await import('./intent.js')).intentCancel(revision, options);
}

export async function intentDevices(device: string | undefined, options: IntentOptions): Promise<number> {
  return (await import('./intent-devices.js')).intentDevices(device, options);
}

export async function intentDrift(device: string | undefined, options: IntentOptions): Promise<number> {
  return (await import('./intent-devices.js')).intentDrift(device, options);
}

export async function intentCheck(device: string | undefined, options: IntentOptions): Promise<number> {
  return (await import('./intent-devices.js')).intentCheck(device, options);
}

export async function intentPlan(device: string, options: IntentPlanOptions): Promise<number> {
  return (await import('./intent-devices.js')).intentPlan(device, options);
}

export async function intentRemedy(device: string, options: IntentRemedyOptions): Promise<number> {
  return (await import('./intent-devices.js')).intentRemedy(device, options);
}
