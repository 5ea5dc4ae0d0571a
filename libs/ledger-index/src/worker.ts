/**
 * The thread of the index: does what it is asked, one call after the other, beside the event loop of its service.
 * It must not be imported; it is started.
 */
import { answerCalls, removeDatabase } from '@kedge/sqlite';
import { KedgeError } from '@kedge/units';
import { workerData } from 'node:worker_threads';

import { EntryTable, KINDS, WrongPart } from './entry-table.js';
import { failed, type IndexFile, isDamage, openFile } from './index-file.js';
import type { Answer } from './question.js';
import type { Call, Reply, ThreadData, Told } from './thread.js';

const { path, origin } = workerData as ThreadData;

/** What is open. */
let current:
  { readonly file: IndexFile; readonly table: EntryTable; beginning: Told['beginning'] } | undefined;
/** Once a part was found to be wrong nothing is answered any more. */
let isDamaged = false;

function opened(): typeof current {
  let file = openFile(path, KINDS);
  let table: EntryTable | undefined;
  try {
    table = new EntryTable(file.database);
  } catch (error) {
    file.database.close();
    if (!isDamage(error) && !(error instanceof WrongPart)) throw error;
    removeDatabase(path);
    file = { ...openFile(path, KINDS), anew: 'damaged' };
    table = new EntryTable(file.database);
  }
  const written = file.database.prepare("SELECT value FROM about WHERE name = 'origin'").pluck().get();
  if (written === origin || file.anew !== undefined) {
    file.database.prepare("INSERT OR REPLACE INTO about VALUES ('origin', ?)").run(origin);
    return { file, table, beginning: file.anew ?? 'kept' };
  }
  file.database.close();
  return renewed('other-log');
}

function renewed(beginning: Told['beginning']): typeof current {
  removeDatabase(path);
  const fresh = opened();
  if (fresh !== undefined) fresh.beginning = beginning;
  return fresh;
}

/** Where the entries lie in what was handed over. */
function entriesOf(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  let at = 0;
  return lengths.map((length) => bytes.subarray(at, (at += length)));
}

function done(asked: Call): Answer | undefined {
  if (asked.call === 'open') {
    current = opened();
    return undefined;
  }
  if (current === undefined) throw new WrongPart('the index, which is not open');
  switch (asked.call) {
    case 'renew':
      current.file.database.close();
      current = renewed('other-log');
      return undefined;
    case 'add':
      current.table.take(asked.first, entriesOf(asked.bytes, asked.lengths));
      return undefined;
    case 'query':
      return current.table.find(asked.filter, asked.page);
    case 'prune':
      current.table.prune(asked.before);
      return undefined;
    case 'close':
      current.file.database.close();
      // What is wrong is not found by every look at it: it is gone when it is opened again.
      if (isDamaged) removeDatabase(path);
      return undefined;
  }
}

function damaged(cause: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_INDEX_DAMAGED',
    message: `cannot use the ledger's index ${path}: it does not hold what it has to`,
    expected: 'what was written to it',
    help: 'open it again: it is made anew from the log',
    cause,
  });
}

function errorOf(error: unknown): KedgeError {
  if (error instanceof KedgeError) return error;
  if (!isDamage(error) && !(error instanceof WrongPart)) return failed('use', path, error);
  isDamaged = true;
  return damaged(error);
}

answerCalls((asked: Call): Reply => {
  if (isDamaged && asked.call !== 'close') throw new WrongPart('what was found before');
  const answer = done(asked);
  const { from, upTo, leaf } = current?.table.standing ?? { from: 0, upTo: 0, leaf: undefined };
  return { told: { beginning: current?.beginning ?? 'new', from, upTo, leaf }, answer };
}, errorOf);
