/**
 * The thread of the kept intent: a disk that takes its time takes none of its service's event loop.
 * It must not be imported; it is started.
 */
import type { Failed } from '@kedge/sqlite';
import { KedgeError } from '@kedge/units';
import { parentPort, workerData } from 'node:worker_threads';

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

function replyTo(asked: Call): Reply | Failed {
  try {
    return { answer: done(asked) };
  } catch (error) {
    const known =
      error instanceof KedgeError
        ? error
        : new KedgeError({
            code: 'INTENT_STORE_FAILED',
            message: `cannot use the kept intent ${path}`,
            cause: error,
          });
    return { error: known.toJSON(), cause: known.cause instanceof Error ? known.cause.message : '' };
  }
}

const port = parentPort;
port?.on('message', (asked: Call) => {
  port.postMessage(replyTo(asked));
  if (asked.call === 'close') port.close();
});
