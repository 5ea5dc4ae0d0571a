/**
 * The file of the index: opened or made anew, and its tables.
 * It must not know what the words in it mean.
 */
import { type Database, faultOf, openDatabase, removeDatabase, wrongWith } from '@kedge/sqlite';
import { KedgeError } from '@kedge/units';
import { existsSync } from 'node:fs';

/** "Kedg", so that a file of somebody else is not taken for an index. */
const APPLICATION = 0x4b65_6467;
/** Raised with every change of the tables or of what stands in them: an older index is made anew. */
const VERSION = 2;

/** Postings are written block by block in the order of their key, so that everything is appended. */
const TABLES = `
  CREATE TABLE about (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE entry (
    number INTEGER PRIMARY KEY, at INTEGER, kind INTEGER, level INTEGER, epoch INTEGER,
    principal TEXT, device TEXT, session TEXT, outcome TEXT
  ) STRICT;
  CREATE TABLE block (
    block INTEGER PRIMARY KEY, first INTEGER, rows INTEGER, dated INTEGER, earliest INTEGER, latest INTEGER,
    words TEXT, times BLOB
  ) STRICT;
  CREATE TABLE posting (
    block INTEGER, field INTEGER, word TEXT, count INTEGER, places BLOB, PRIMARY KEY (block, field, word)
  ) STRICT, WITHOUT ROWID;
`;

/** A file that is open. */
export interface IndexFile {
  readonly database: Database;
  /** Why it holds nothing; undefined where it goes on. */
  readonly anew: 'new' | 'damaged' | 'other-version' | undefined;
}

/**
 * Opens the file, or makes it anew where it cannot be relied on.
 *
 * @param kinds What the numbers of kinds stand for; a file that was written with others is of another version.
 * @throws KedgeError `LEDGER_INDEX_FAILED` (no such directory, no access, in use by another process).
 */
export function openFile(path: string, kinds: string): IndexFile {
  let anew: IndexFile['anew'] = existsSync(path) ? undefined : 'new';
  if (anew === undefined) {
    try {
      const database = connected(path);
      anew = otherThan(database, kinds);
      if (anew === undefined) return { database, anew };
      database.close();
    } catch (error) {
      if (!isDamage(error)) throw failed('open', path, error);
      anew = 'damaged';
    }
  }
  try {
    removeDatabase(path);
    const database = connected(path);
    database.transaction(() => {
      database.exec(TABLES);
      database.pragma(`application_id = ${APPLICATION}`);
      database.pragma(`user_version = ${VERSION}`);
      database.prepare('INSERT INTO about VALUES (?, ?)').run('kinds', kinds);
    })();
    return { database, anew };
  } catch (error) {
    throw failed('make', path, error);
  }
}

/** True for what SQLite says of a file that does not hold what it has to. */
export function isDamage(error: unknown): boolean {
  return faultOf(error) === 'damaged';
}

/** The error of what SQLite or the system refused. */
export function failed(operation: string, path: string, cause: unknown): KedgeError {
  return new KedgeError({
    code: 'LEDGER_INDEX_FAILED',
    message: `cannot ${operation} the ledger's index ${path}`,
    expected: 'a file on a disk that works, in use by nobody else',
    cause,
  });
}

function connected(path: string): Database {
  return openDatabase(path, {
    // A power cut may lose the last entries, never their order: the log has them.
    flush: 'checkpoints',
    pageBytes: 16_384,
    cacheKiB: 32_000,
    // Of 4 MiB each: a question may wait for one, and for its flush.
    checkpointPages: 256,
  });
}

function otherThan(database: Database, kinds: string): IndexFile['anew'] {
  const number = (pragma: string): unknown => database.pragma(pragma, { simple: true });
  if (number('application_id') !== APPLICATION || number('user_version') !== VERSION) return 'other-version';
  if (wrongWith(database, 'quick') !== undefined) return 'damaged';
  const tables = database.prepare("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").pluck().get();
  if (tables !== 4) return 'damaged';
  const value = database.prepare('SELECT value FROM about WHERE name = ?').pluck().get('kinds');
  return value === kinds ? undefined : 'other-version';
}
