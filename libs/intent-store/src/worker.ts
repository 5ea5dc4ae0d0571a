/**
 * The thread of the kept intent: a disk that takes its time takes none of its service's event loop.
 * It must not be imported; it is started.
 */
import { answerCalls } from '@kedge/sqlite';
import { KedgeError } from '@kedge/units';
import { workerData } from 'node:worker_threads';

import { StoreFile } from './store-file.js';
import type { Answer, Call, Reply, ThreadData } from './thread.js';

const { path } = workerData as ThreadData;
let file: StoreFile | undefined;

function done(asked: Call): Answer {
  if (asked.call === 'open') {
    const opened = StoreFile.open(path);
    file = opened.file;
    return opened.kept;
  }
  if (file === undefined && asked.call !== 'close') throw new TypeError('the kept intent is not open');
  switch (asked.call) {
    case 'keep':
      file?.keep(asked.keep);
      return undefined;
    case 'document':
      return file?.documentOf(asked.hash);
    case 'close':
      file?.close();
      return undefined;
  }
}

function errorOf(error: unknown): KedgeError {
  return error instanceof KedgeError
    ? error
    : new KedgeError({
        code: 'INTENT_STORE_FAILED',
        message: `cannot use the kept intent ${path}`,
        cause: error,
      });
}

answerCalls((asked: Call): Reply => ({ answer: done(asked) }), errorOf);
