/**
 * Files that outlive a power cut: the one way in which this product writes, names and replaces them.
 * It must not know what they say.
 */
export {
  fullDisk,
  isDiskFull,
  isMissing,
  makeDirectory,
  replaceFile,
  syncData,
  syncDirectory,
  SyncFailure,
  UNFINISHED,
  writeAll,
  writeFileDurably,
} from './durable-files.js';
