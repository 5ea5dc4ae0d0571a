/**
 * The front door of SQLite: files that one process has open at a time, what is wrong with them, and threads that have
 * them.
 * It must not hold code of its own.
 */
export {
  type Database,
  faultOf,
  type FileFault,
  openDatabase,
  type OpenOptions,
  removeDatabase,
  type Statement,
  wrongWith,
} from './database.js';
export { answerCalls, DatabaseThread, type DatabaseThreadOptions } from './database-thread.js';
