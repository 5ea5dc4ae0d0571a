/**
 * `kedge intent`: asks for the intent of an appliance, changes it, and shows what came of it.
 * It must not parse the command line, nor judge a document.
 */
import type { IntentClient, IntentEditMessage, IntentReply } from '@kedge/bus';
import { KedgeError } from '@kedge/units';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';

import { EXIT } from './exit-status.js';
import { refusalError } from './failure.js';
import { changesText, findingsText, historyText, intentStatusText, replyText } from './intent-text.js';
import { jsonText } from './render.js';
import { type TargetOptions, withIntent } from './target.js';

/** What every command for the intent takes. */
export interface IntentOptions extends TargetOptions {
  readonly timeout: number;
  readonly json?: boolean;
  readonly principal?: string;
}

export interface IntentEditOptions extends IntentOptions {
  /** A file with edits, JSON. */
  readonly file?: string;
}

export interface IntentLockOptions extends IntentOptions {
  readonly comment: string;
}

export interface IntentUnlockOptions extends IntentOptions {
  readonly force?: boolean;
}

export interface IntentCommitOptions extends IntentOptions {
  readonly comment: string;
  /** Seconds. */
  readonly confirmed?: number;
  readonly ifRevision?: number;
}

export interface IntentHistoryOptions extends IntentOptions {
  readonly limit: number;
  readonly before?: number;
}

/** What a command came to, on standard output. */
export function show(value: unknown, text: string, json: boolean | undefined): void {
  process.stdout.write(`${json === true ? jsonText(value) : text}\n`);
}

/** Who asks, for the record. */
export function principalOf({ principal }: IntentOptions): string {
  if (principal !== undefined) return principal;
  try {
    return `user:${userInfo().username}`.slice(0, 128);
  } catch {
    return `user:${process.getuid?.() ?? 'unknown'}`;
  }
}

/** A request that changes something: shown, or thrown as what refused it. */
function change(
  options: IntentOptions,
  ask: (client: IntentClient, principal: string) => Promise<IntentReply>,
): Promise<number> {
  return withIntent(options, async (client) => {
    const reply = await ask(client, principalOf(options));
    if (reply.outcome === 'refusal') {
      const { refusal } = reply;
      const help = refusal.findings.length > 1 ? 'kedge intent validate lists all of them' : refusal.help;
      throw refusalError({ ...refusal, help });
    }
    show(reply, replyText(reply), options.json);
    return EXIT.ok;
  });
}

/** A file's text; `-` is what comes in on standard input. @throws KedgeError `CLI_USAGE` */
function textOf(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (cause) {
    throw new KedgeError({
      code: 'CLI_USAGE',
      message: `cannot read ${path}`,
      field: 'file',
      expected: 'a file that can be read, or - for standard input',
      cause,
    });
  }
}

export function intentStatus(options: IntentOptions): Promise<number> {
  return withIntent(options, async (client) => {
    const status = await client.status({}, { deadlineMs: options.timeout });
    show(status, intentStatusText(status), options.json);
    return EXIT.ok;
  });
}

export function intentShow(source: string, options: IntentOptions): Promise<number> {
  return withIntent(options, async (client) => {
    const pieces: Uint8Array[] = [];
    for await (const { bytes } of client.show({ source }, { deadlineMs: options.timeout }))
      pieces.push(bytes);
    const document: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
    process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
    return EXIT.ok;
  });
}

export function intentHistory(options: IntentHistoryOptions): Promise<number> {
  return withIntent(options, async (client) => {
    const { limit, before = 0, timeout, json } = options;
    const reply = await client.history({ limit, before }, { deadlineMs: timeout });
    show(reply, historyText(reply.revisions, reply.total), json);
    return EXIT.ok;
  });
}

/** Ends with 6 where the modules have something against it. */
export function intentValidate(source: string, options: IntentOptions): Promise<number> {
  return withIntent(options, async (client) => {
    const { findings, complete } = await client.validate({ source }, { deadlineMs: options.timeout });
    const valid = findings.length === 0;
    show({ valid, findings, complete }, findingsText(findings, complete), options.json);
    return valid ? EXIT.ok : EXIT.failedCheck;
  });
}

export function intentCompare(from: string, to: string, options: IntentOptions): Promise<number> {
  return withIntent(options, async (client) => {
    const changes = [];
    for await (const each of client.compare({ from, to }, { deadlineMs: options.timeout }))
      changes.push(each);
    show({ from, to, changes: changes.map(valuesOf) }, changesText(changes), options.json);
    return EXIT.ok;
  });
}

/** For those who read JSON: values as they are, not as text in text. */
function valuesOf({
  path,
  kind,
  before,
  after,
}: {
  readonly path: string;
  readonly kind: string;
  readonly before?: string;
  readonly after?: string;
}): object {
  return {
    path,
    kind,
    ...(before === undefined ? {} : { before: JSON.parse(before) as unknown }),
    ...(after === undefined ? {} : { after: JSON.parse(after) as unknown }),
  };
}

export function intentLoad(paths: readonly string[], options: IntentOptions): Promise<number> {
  const [only, ...more] = paths;
  const document = only !== undefined && more.length === 0 ? textOf(only) : joined(paths);
  return change(options, (client, principal) =>
    client.load({ principal, document }, { deadlineMs: options.timeout }),
  );
}

/** One document out of files that hold different members of it. @throws KedgeError `CLI_USAGE` */
function joined(paths: readonly string[]): string {
  const whole = new Map<string, unknown>();
  for (const path of paths) {
    const wrong = (message: string): KedgeError =>
      new KedgeError({
        code: 'CLI_USAGE',
        message,
        field: 'file',
        expected: 'files with different members of one JSON object',
      });
    let part: unknown;
    try {
      part = JSON.parse(textOf(path));
    } catch (error) {
      if (error instanceof KedgeError) throw error;
    }
    if (typeof part !== 'object' || part === null || Array.isArray(part))
      throw wrong(`${path} holds no JSON object`);
    for (const [name, value] of Object.entries(part)) {
      if (whole.has(name)) throw wrong(`${name} stands in ${path} and in a file before it`);
      whole.set(name, value);
    }
  }
  return JSON.stringify(Object.fromEntries(whole));
}

/** What stands on the command line is JSON where it is that, and a text otherwise. */
export function editedValue(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return JSON.stringify(text);
  }
}

/** Edits out of a file: a list of { kind, path, value }. @throws KedgeError `CLI_USAGE` */
export function editsIn(text: string): readonly IntentEditMessage[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    list = undefined;
  }
  const edits = Array.isArray(list) ? (list as readonly unknown[]) : [];
  const messages = edits.flatMap((each) => {
    const { kind, path, value } = (each ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof kind !== 'string' || typeof path !== 'string') return [];
    return [{ kind, path, ...(value === undefined ? {} : { value: JSON.stringify(value) }) }];
  });
  if (messages.length > 0 && messages.length === edits.length) return messages;
  throw new KedgeError({
    code: 'CLI_USAGE',
    message: 'cannot read the file of edits',
    field: '--file',
    expected: 'JSON: [ { "kind": "replace", "path": "/…", "value": … } ]',
  });
}

export function intentEdit(
  kind: string | undefined,
  path: string | undefined,
  value: string | undefined,
  options: IntentEditOptions,
): Promise<number> {
  if ((options.file === undefined) !== (kind !== undefined && path !== undefined)) {
    throw new KedgeError({
      code: 'CLI_USAGE',
      message: 'cannot tell which edits are meant',
      field: options.file === undefined ? 'path' : '--file',
      expected: 'a kind, a path and a value, or --file alone',
    });
  }
  const edits =
    options.file === undefined
      ? [
          {
            kind: kind ?? '',
            path: path ?? '',
            ...(value === undefined ? {} : { value: editedValue(value) }),
          },
        ]
      : editsIn(textOf(options.file));
  return change(options, (client, principal) =>
    client.edit({ principal, edits }, { deadlineMs: options.timeout }),
  );
}

export function intentDiscard(options: IntentOptions): Promise<number> {
  return change(options, (client, principal) =>
    client.discard({ principal }, { deadlineMs: options.timeout }),
  );
}

export function intentLock(options: IntentLockOptions): Promise<number> {
  const { comment, timeout } = options;
  return change(options, (client, principal) => client.lock({ principal, comment }, { deadlineMs: timeout }));
}

export function intentUnlock(options: IntentUnlockOptions): Promise<number> {
  const { force = false, timeout } = options;
  return change(options, (client, principal) => client.unlock({ principal, force }, { deadlineMs: timeout }));
}

export function intentCommit(options: IntentCommitOptions): Promise<number> {
  const { comment, confirmed = 0, ifRevision = 0, timeout } = options;
  return change(options, (client, principal) =>
    client.commit({ principal, comment, confirmSeconds: confirmed, ifRevision }, { deadlineMs: timeout }),
  );
}

export function intentRollback(to: number, options: IntentCommitOptions): Promise<number> {
  const { comment, confirmed = 0, ifRevision = 0, timeout } = options;
  return change(options, (client, principal) =>
    client.rollback(
      { principal, to, comment, confirmSeconds: confirmed, ifRevision },
      { deadlineMs: timeout },
    ),
  );
}

export function intentConfirm(revision: number | undefined, options: IntentOptions): Promise<number> {
  return change(options, (client, principal) =>
    client.confirm({ principal, revision: revision ?? 0 }, { deadlineMs: options.timeout }),
  );
}

export function intentCancel(revision: number | undefined, options: IntentOptions): Promise<number> {
  return change(options, (client, principal) =>
    client.cancel({ principal, revision: revision ?? 0 }, { deadlineMs: options.timeout }),
  );
}
