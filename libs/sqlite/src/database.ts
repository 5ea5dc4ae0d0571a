/**
 * Opening a SQLite file, looking whether it is whole, and telling its faults apart. The only place that knows the
 * library and its addon. It must not know what stands in a file, nor mend one.
 */
import Library from 'better-sqlite3';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** An open file. Every call is done before it returns; `close` it. */
export type Database = Library.Database;
/** A prepared statement; it ends with its file. */
export type Statement<Parameters extends unknown[] | object = unknown[], Row = unknown> = Library.Statement<
  Parameters extends unknown[] ? Parameters : [Parameters],
  Row
>;

/** Bundled or not, the addon stays where it was built. */
const ADDON = fileURLToPath(new URL('../build/better_sqlite3.node', import.meta.url));

/** How a file is to be used. */
export interface OpenOptions {
  /**
   * `every-commit`: a transaction that has ended survives a power cut. `checkpoints`: it survives the end of the
   * process, and a power cut may take the last ones, in their order.
   */
  readonly flush: 'every-commit' | 'checkpoints';
  /** Bytes of a page of a new file: a power of two, 512 to 65,536. */
  readonly pageBytes: number;
  /** Memory for pages, KiB. */
  readonly cacheKiB: number;
  /** Pages of the journal after which they are written into the file itself. */
  readonly checkpointPages: number;
  /** The file has to be there; default false. */
  readonly mustExist?: boolean;
}

/**
 * Opens a file for this process alone, or makes it; its journal stands beside it as PATH-wal. Its directory exists.
 *
 * @throws What SQLite and the system throw; see {@link faultOf}.
 */
export function openDatabase(path: string, options: OpenOptions): Database {
  const { flush, pageBytes, cacheKiB, checkpointPages, mustExist = false } = options;
  const database = new Library(path, { nativeBinding: ADDON, timeout: 0, fileMustExist: mustExist });
  try {
    // Before the first look at it: nobody else gets in, and no memory is shared with anybody.
    database.pragma('locking_mode = EXCLUSIVE');
    database.pragma(`page_size = ${pageBytes}`);
    database.pragma('journal_mode = WAL');
    database.pragma(`synchronous = ${flush === 'every-commit' ? 'FULL' : 'NORMAL'}`);
    database.pragma(`cache_size = -${cacheKiB}`);
    database.pragma(`wal_autocheckpoint = ${checkpointPages}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * What SQLite's own look at a file finds wrong with its pages and trees; undefined where that is nothing. What stands
 * in its rows has no checksum: whoever relies on it brings one.
 *
 * @param how `quick` leaves out whether indexes say what their tables do.
 */
export function wrongWith(database: Database, how: 'quick' | 'whole'): string | undefined {
  const found: unknown = database.pragma(how === 'quick' ? 'quick_check(1)' : 'integrity_check(1)', {
    simple: true,
  });
  return found === 'ok' ? undefined : String(found);
}

/**
 * What is wrong, by what was thrown. `damaged`: the file does not hold what it has to. `busy`: another process has it.
 * `full`: there is no room, and the transaction is as if it had never begun. `failed`: anything else of SQLite or the
 * system; whether a transaction was written is not known. Undefined: it was thrown by neither.
 */
export type FileFault = 'damaged' | 'busy' | 'full' | 'failed';

/** See {@link FileFault}. */
export function faultOf(error: unknown): FileFault | undefined {
  if (!(error instanceof Library.SqliteError)) {
    return error instanceof Error && 'syscall' in error ? 'failed' : undefined;
  }
  const { code } = error;
  // A file that ends before its last page says so by a short read.
  if (/^SQLITE_(CORRUPT|NOTADB|IOERR_SHORT_READ)/.test(code)) return 'damaged';
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return 'busy';
  return code === 'SQLITE_FULL' ? 'full' : 'failed';
}

/** Removes a file and what SQLite keeps beside it. Nobody may have it open. */
export function removeDatabase(path: string): void {
  for (const ending of ['', '-wal', '-shm', '-journal']) rmSync(`${path}${ending}`, { force: true });
}
