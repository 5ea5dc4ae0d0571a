/**
 * `kedge ledger`: asks the ledger of an appliance and shows what it says.
 * It must not parse the command line, nor verify anything: `kedge ledger verify` does, without this service.
 */
import type { LedgerEntry, LedgerFilter } from '@kedge/bus';
import { KedgeError } from '@kedge/units';
import { closeSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { userInfo } from 'node:os';

import { EXIT } from './exit-status.js';
import { leaving } from './leaving.js';
import { checkpointText, entriesText, entryLine, statusText } from './ledger-text.js';
import { jsonText } from './render.js';
import { type TargetOptions, withLedger } from './target.js';

/** What every command for the ledger takes. */
export interface LedgerOptions extends TargetOptions {
  readonly timeout: number;
  readonly json?: boolean;
}

export interface LedgerFilterOptions extends LedgerOptions {
  /** Milliseconds since 1970. */
  readonly since?: number;
  readonly until?: number;
  readonly kind?: readonly string[];
  readonly level?: number;
  readonly principal?: string;
  readonly device?: string;
  readonly session?: string;
  readonly outcome?: string;
}

export interface LedgerQueryOptions extends LedgerFilterOptions {
  readonly limit: number;
  readonly after?: bigint;
  readonly newest?: boolean;
}

export interface LedgerTailOptions extends LedgerFilterOptions {
  readonly from?: bigint;
  readonly count?: number;
}

export interface LedgerProveOptions extends LedgerOptions {
  readonly output?: string;
  readonly entry?: string;
}

export interface LedgerCheckpointOptions extends LedgerOptions {
  readonly oldSize?: bigint;
}

export interface LedgerExportOptions extends LedgerFilterOptions {
  readonly format: string;
  readonly pseudonymised?: boolean;
  readonly output?: string;
}

export interface LedgerEraseOptions extends LedgerOptions {
  readonly reason: string;
  readonly principal?: string;
}

function filterOf(options: LedgerFilterOptions): LedgerFilter {
  const { since, until, kind = [], level, principal, device, session, outcome } = options;
  return {
    kinds: kind,
    ...(since === undefined ? {} : { fromWallMs: BigInt(since) }),
    ...(until === undefined ? {} : { toWallMs: BigInt(until) }),
    ...(level === undefined ? {} : { level }),
    ...(principal === undefined ? {} : { principal }),
    ...(device === undefined ? {} : { device }),
    ...(session === undefined ? {} : { session }),
    ...(outcome === undefined ? {} : { outcome }),
  };
}

function show(value: unknown, text: string, json: boolean | undefined): void {
  process.stdout.write(`${json === true ? jsonText(value) : text}\n`);
}

/** An entry for those who read JSON: the record as an object, not as text in text. */
export function entryObject({ index, record, erased }: LedgerEntry): object {
  return { index, record: record === '' ? null : (JSON.parse(record) as unknown), erased };
}

export function ledgerQuery(options: LedgerQueryOptions): Promise<number> {
  const { limit, after, newest = false, timeout, json } = options;
  return withLedger(options, async (client) => {
    const entries: LedgerEntry[] = [];
    let count = 0n;
    let more = true;
    // A reply holds what fits into it; the page that was asked for may take several.
    while (more && entries.length < limit) {
      const behind = entries.at(-1)?.index ?? after;
      const reply = await client.query(
        {
          filter: filterOf(options),
          limit: limit - entries.length,
          newestFirst: newest,
          ...(behind === undefined ? {} : { after: behind }),
        },
        { deadlineMs: timeout },
      );
      if (entries.length === 0) ({ count } = reply);
      entries.push(...reply.entries);
      more = reply.more && reply.entries.length > 0;
    }
    show({ count, entries: entries.map(entryObject), more }, entriesText(count, entries, more), json);
    return EXIT.ok;
  });
}

export function ledgerTail(options: LedgerTailOptions): Promise<number> {
  const { from, count = Infinity, timeout, json } = options;
  return withLedger(options, async (client) => {
    const signal = leaving();
    let shown = 0;
    try {
      const request = { filter: filterOf(options), ...(from === undefined ? {} : { from }) };
      for await (const { entries } of client.tail(request, { deadlineMs: timeout, signal })) {
        for (const entry of entries) {
          process.stdout.write(`${json === true ? jsonText(entryObject(entry), 0) : entryLine(entry)}\n`);
          shown += 1;
          if (shown >= count) return EXIT.ok;
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return EXIT.ok;
  });
}

export function ledgerProve(index: bigint, options: LedgerProveOptions): Promise<number> {
  return withLedger(options, async (client) => {
    const { proof, entry, leafHash } = await client.prove({ index }, { deadlineMs: options.timeout });
    if (options.output !== undefined) writeWhole(options.output, proof);
    if (options.entry !== undefined) writeWhole(options.entry, entry);
    const shown = { index, proof, entry: Buffer.from(entry).toString('utf8'), leafHash };
    show(
      shown,
      options.output === undefined ? proof.trimEnd() : `proof written to ${options.output}`,
      options.json,
    );
    return EXIT.ok;
  });
}

export function ledgerCheckpoint(options: LedgerCheckpointOptions): Promise<number> {
  return withLedger(options, async (client) => {
    const { oldSize } = options;
    const reply = await client.getCheckpoint(oldSize === undefined ? {} : { oldSize }, {
      deadlineMs: options.timeout,
    });
    show(reply, checkpointText(reply), options.json);
    return EXIT.ok;
  });
}

export function ledgerExport(options: LedgerExportOptions): Promise<number> {
  const { format, pseudonymised = false, output, timeout, json } = options;
  return withLedger(options, async (client) => {
    const signal = leaving();
    const whole = output === undefined ? undefined : openOutput(output);
    let entries = 0;
    let bytes = 0;
    try {
      const request = { filter: filterOf(options), format, pseudonymised };
      for await (const piece of client.export(request, { deadlineMs: timeout, signal })) {
        entries += piece.entries;
        bytes += piece.bytes.length;
        if (whole === undefined) {
          if (!process.stdout.write(piece.bytes))
            await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
        } else writeSync(whole.fd, piece.bytes);
      }
    } finally {
      whole?.close();
    }
    if (output !== undefined) {
      renameSync(`${output}.new`, output);
      show({ entries, bytes, output }, `${entries} records, ${bytes} bytes, written to ${output}`, json);
    }
    return EXIT.ok;
  });
}

export function ledgerErase(subject: string, options: LedgerEraseOptions): Promise<number> {
  return withLedger(options, async (client) => {
    const { reason, principal = `user:${userInfo().username}` } = options;
    const reply = await client.erase({ subject, reason, principal }, { deadlineMs: options.timeout });
    show(
      reply,
      reply.erased
        ? 'erased: nothing that names this one can be read any more'
        : 'nothing to erase: the ledger has no key of this one',
      options.json,
    );
    return EXIT.ok;
  });
}

export function ledgerStatus(options: LedgerOptions): Promise<number> {
  return withLedger(options, async (client) => {
    const status = await client.status({}, { deadlineMs: options.timeout });
    show(status, statusText(status), options.json);
    return status.refusing ? EXIT.failedCheck : EXIT.ok;
  });
}

function openOutput(path: string): { readonly fd: number; close(): void } {
  try {
    const fd = openSync(`${path}.new`, 'w');
    return {
      fd,
      close: () => {
        closeSync(fd);
      },
    };
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function writeWhole(path: string, content: string | Uint8Array): void {
  try {
    writeFileSync(`${path}.new`, content);
    renameSync(`${path}.new`, path);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'CLI_OUTPUT',
    message: `cannot write ${path}`,
    expected: 'a file in a directory that exists and can be written to',
    cause,
  });
}
