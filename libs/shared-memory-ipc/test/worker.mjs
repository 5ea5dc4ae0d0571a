/**
 * A worker thread of threads.test.ts: opens, listens and writes as a main thread does, from the built package.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { createSegment, listen, openSegment } from '@kedge/shared-memory-ipc';

const { directory, name, owner, mode } = workerData;
const posture = openSegment({ directory, name: 'posture', kind: 'posture', owner });
const own = createSegment({ directory, name, kind: 'participant' });
own.beat(true);

const listener = listen({
  segments: [posture],
  onRing: () => {
    const line = posture.transition();
    own.writeAck(256, {
      epoch: line?.epoch ?? 0n,
      startedAtNs: 1n,
      finishedAtNs: 2n,
      stage: line?.stage ?? 0,
      outcome: 1,
      level: line?.to ?? 1,
      changes: 0,
    });
    parentPort.postMessage({ epoch: line?.epoch });
    if (mode === 'close') {
      listener.close();
      own.close();
      posture.close();
      parentPort.close();
    }
  },
});
parentPort.postMessage({ ready: true });
if (mode === 'abandon') parentPort.on('message', () => process.exit(0)); // everything still open
if (mode === 'spin')
  parentPort.on('message', () => {
    for (;;);
  });
