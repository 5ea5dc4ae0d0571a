/**
 * The file of the kept intent: made, opened and proven, one transaction for each step of the datastores. Used on a
 * thread of its own. It must not decide what is kept or dropped, nor go on after storage has failed.
 */
import {
  checkKept,
  damagedIntent,
  headRevisions,
  headsText,
  type Keep,
  type Kept,
  parsedHeads,
  parsedRevision,
  revisionText,
} from '@kedge/datastores';
import {
  type Database,
  faultOf,
  openDatabase,
  type OpenOptions,
  removeDatabase,
  wrongWith,
} from '@kedge/sqlite';
import { KedgeError } from '@kedge/units';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** "Kint", so that a file of somebody else is not taken for this one. */
const APPLICATION = 0x4b69_6e74;
/** Raised with every change of the tables or of what stands in them. */
const VERSION = 1;
/** Of the head of a SQLite file. */
const HEAD_BYTES = 100;
const OPTIONS: OpenOptions = {
  flush: 'every-commit',
  pageBytes: 4096,
  cacheKiB: 4096,
  // Of 4 KiB: a step seldom waits for what was written before it.
  checkpointPages: 256,
};

/**
 * `text` of a revision is proven by its own id, `text` of the heads by the hash before it, a document by its hash.
 * `bytes`: of the document as it was, before it was packed.
 */
const TABLES = `
  CREATE TABLE document (hash TEXT PRIMARY KEY, bytes INTEGER NOT NULL, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE revision (number INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
  CREATE TABLE heads (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT NOT NULL) STRICT;
`;

/** SHA-256 of a text's UTF-8, hexadecimal. */
export const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

/** An open file. A failure of storage is its last word: it is closed and opened again, then it tells what it has. */
export class StoreFile {
  readonly #path: string;
  readonly #database: Database;
  #step = 0;
  #failure: KedgeError | undefined;

  private constructor(path: string, database: Database) {
    this.#path = path;
    this.#database = database;
  }

  /**
   * Opens the file and proves what is in force, or makes it. Its directory exists and is nobody else's.
   *
   * @returns With what it has: undefined where no step was kept yet.
   * @throws KedgeError `INTENT_STORE_BUSY`, `INTENT_STORE_DAMAGED`, `INTENT_STORE_FULL`, `INTENT_STORE_FAILED`.
   */
  static open(path: string): { readonly file: StoreFile; readonly kept: Kept | undefined } {
    let database: Database | undefined;
    try {
      if (!existsSync(path)) make(path);
      else checkHead(path);
      database = openDatabase(path, { ...OPTIONS, mustExist: true });
      const file = new StoreFile(path, database);
      return { file, kept: file.#read() };
    } catch (error) {
      database?.close();
      throw errorOf(error, 'open', path);
    }
  }

  /** See `IntentKeeping.keep`. */
  keep(keep: Keep): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#database.transaction(() => this.#write(keep))();
      this.#step = keep.heads.step;
    } catch (error) {
      const known = errorOf(error, 'write', this.#path);
      // What had no room was taken back whole; of everything else nobody knows before it is opened again.
      if (known.code !== 'INTENT_STORE_FULL') this.#failure = known;
      throw known;
    }
  }

  /** See `IntentKeeping.documentOf`. */
  documentOf(hash: string): string {
    try {
      const row = this.#database
        .prepare<[string], { readonly bytes: number; readonly content: Uint8Array }>(
          'SELECT bytes, content FROM document WHERE hash = ?',
        )
        .get(hash);
      if (row === undefined) throw damagedIntent(`a document is missing: ${hash}`);
      return unpacked(hash, row.bytes, row.content);
    } catch (error) {
      throw errorOf(error, 'read', this.#path);
    }
  }

  close(): void {
    this.#database.close();
  }

  #read(): Kept | undefined {
    const database = this.#database;
    const number = (pragma: string): unknown => database.pragma(pragma, { simple: true });
    if (number('application_id') !== APPLICATION)
      throw damagedIntent('the file is none that keeps an intent');
    if (number('user_version') !== VERSION) throw damagedIntent('the file is of another release');
    const wrong = wrongWith(database, 'whole');
    if (wrong !== undefined) throw damagedIntent(`its pages do not fit each other: ${wrong.slice(0, 200)}`);
    const texts = database.prepare<[], string>('SELECT text FROM heads').pluck().all();
    const rows = database
      .prepare<[], { readonly number: number; readonly text: string }>(
        'SELECT * FROM revision ORDER BY number',
      )
      .all();
    const hashes = new Set(database.prepare<[], string>('SELECT hash FROM document').pluck().all());
    const [text] = texts;
    if (text === undefined) {
      if (rows.length > 0 || hashes.size > 0)
        throw damagedIntent('there are revisions and nothing is in force');
      return undefined;
    }
    const heads = parsedHeads(text, sha256);
    const revisions = rows.map(({ number: at, text: said }) => {
      const revision = parsedRevision(said, sha256);
      if (revision.number !== at)
        throw damagedIntent(`revision ${revision.number} stands where ${at} should`);
      return revision;
    });
    const named = new Set([...revisions.map(({ hash }) => hash), heads.candidate.hash]);
    if (named.size !== hashes.size || [...named].some((hash) => !hashes.has(hash))) {
      throw damagedIntent('the documents are not those of the revisions');
    }
    const inForce = new Set(headRevisions(heads));
    const read = new Set([
      heads.candidate.hash,
      ...revisions.flatMap((revision) => (inForce.has(revision.number) ? [revision.hash] : [])),
    ]);
    const kept = {
      heads,
      revisions,
      documents: new Map([...read].map((hash) => [hash, this.documentOf(hash)])),
    };
    checkKept(kept, sha256);
    this.#step = heads.step;
    return kept;
  }

  #write({ heads, revisions, documents, drop, forget }: Keep): void {
    if (heads.step !== this.#step + 1) {
      throw new TypeError(`step ${heads.step} does not follow step ${this.#step}`);
    }
    const database = this.#database;
    const one = (statement: string, ...values: (string | number | Uint8Array)[]): void => {
      const { changes } = database.prepare<(string | number | Uint8Array)[]>(statement).run(...values);
      if (changes !== 1) throw new TypeError(`the step does not fit what is kept: ${statement}`);
    };
    for (const { hash, text } of documents) {
      const bytes = Buffer.from(text, 'utf8');
      // The least effort packs a tree to a ninth, faster than all of it would be written.
      one('INSERT INTO document VALUES (?, ?, ?)', hash, bytes.length, deflateRawSync(bytes, { level: 1 }));
    }
    for (const revision of revisions) {
      one('INSERT INTO revision VALUES (?, ?)', revision.number, revisionText(revision));
    }
    for (const number of drop) one('DELETE FROM revision WHERE number = ?', number);
    for (const hash of forget) one('DELETE FROM document WHERE hash = ?', hash);
    one('INSERT OR REPLACE INTO heads VALUES (1, ?)', headsText(heads, sha256));
  }
}

/**
 * That a file is one of these, before SQLite makes anything of it: an empty one would become one, and one of somebody
 * else would be changed. Both numbers stand there since it was made.
 */
function checkHead(path: string): void {
  const head = Buffer.alloc(HEAD_BYTES);
  const file = openSync(path, 'r');
  let read: number;
  try {
    read = readSync(file, head, 0, HEAD_BYTES, 0);
  } finally {
    closeSync(file);
  }
  if (read < HEAD_BYTES || head.readUInt32BE(68) !== APPLICATION) {
    throw damagedIntent('the file is none that keeps an intent');
  }
  if (head.readUInt32BE(60) !== VERSION) throw damagedIntent('the file is of another release');
}

/** A new file gets its name when it is whole: what has the name is never half made. */
function make(path: string): void {
  const fresh = `${path}.new`;
  removeDatabase(fresh);
  // Its journal gets the same mode.
  closeSync(openSync(fresh, 'wx', 0o600));
  const database = openDatabase(fresh, OPTIONS);
  try {
    database.transaction(() => {
      database.exec(TABLES);
      database.pragma(`application_id = ${APPLICATION}`);
      database.pragma(`user_version = ${VERSION}`);
    })();
  } finally {
    // Writes the journal into the file, flushes that, and takes the journal away.
    database.close();
  }
  renameSync(fresh, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function unpacked(hash: string, bytes: number, content: Uint8Array): string {
  let text: string;
  try {
    // No more than it says: a few damaged bytes could unpack to very many.
    text = inflateRawSync(content, { maxOutputLength: Math.max(bytes, 1) }).toString('utf8');
  } catch (cause) {
    throw damagedIntent(`a document cannot be unpacked: ${hash}`, cause);
  }
  if (sha256(text) !== hash) throw damagedIntent(`a document is not what its hash proves: ${hash}`);
  return text;
}

function errorOf(error: unknown, operation: string, path: string): KedgeError {
  if (error instanceof KedgeError) return error;
  switch (faultOf(error)) {
    case 'damaged':
      return damagedIntent(`${path} does not hold what it has to`, error);
    case 'busy':
      return new KedgeError({
        code: 'INTENT_STORE_BUSY',
        message: `cannot ${operation} the kept intent ${path}: another process has it`,
        help: 'stop the other instance first',
        cause: error,
      });
    case 'full':
      return new KedgeError({
        code: 'INTENT_STORE_FULL',
        message: `cannot ${operation} the kept intent ${path}: there is no room`,
        expected: 'a disk with room',
        help: 'make room; nothing has changed',
        cause: error,
      });
    case 'failed':
    case undefined:
      return new KedgeError({
        code: 'INTENT_STORE_FAILED',
        message: `cannot ${operation} the kept intent ${path}`,
        expected: 'a file on a disk that works',
        help: 'see what is wrong with the disk and start the service again: it tells what is in force',
        cause: error,
      });
  }
}
