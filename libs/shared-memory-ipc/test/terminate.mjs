/**
 * The process of processes.test.ts that terminates worker threads in the middle of deliveries, then throws
 * from a callback. Prints what it saw as JSON.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createPostureSegment, listen, openSegment } from '@kedge/shared-memory-ipc';

const [directory, owner] = isMainThread ? [process.argv[2], process.getuid()] : workerData;
const posture = () => openSegment({ directory, name: 'posture', kind: 'posture', owner });

async function main() {
  const writer = createPostureSegment({ directory });
  let epoch = 0n;
  const storm = setInterval(() => {
    for (let i = 0; i < 20; i++) writer.tighten({ epoch: ++epoch, from: 5, to: 2, receivedAtNs: 0n });
  }, 1);
  let terminated = 0;
  while (terminated < 25) {
    const thread = new Worker(new URL(import.meta.url), { workerData: [directory, owner] });
    await new Promise((resolve) => thread.once('message', resolve));
    await new Promise((resolve) => setTimeout(resolve, terminated % 10));
    await thread.terminate();
    terminated++;
  }
  clearInterval(storm);
  const caught = new Promise((resolve) => process.once('uncaughtException', (e) => resolve(e.message)));
  const listener = listen({
    segments: [writer],
    onRing: () => {
      throw new Error('thrown by onRing');
    },
  });
  writer.ring();
  const thrown = await caught;
  listener.close();
  const names = readdirSync('/proc/self/task').map((task) =>
    readFileSync(`/proc/self/task/${task}/comm`, 'utf8'),
  );
  const mappings = readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((m) => m.includes(directory));
  console.log(
    JSON.stringify({
      terminated,
      thrown,
      threads: names.filter((name) => name.includes('kedge')).length,
      mappings: mappings.length,
    }),
  );
  // What is still open at the end must not hold the process: an unreferenced listener.
  listen({ segments: [writer], onRing: () => undefined }).unref();
}

if (isMainThread) {
  await main();
} else {
  const segment = posture();
  listen({ segments: [segment], onRing: () => segment.transition() });
  listen({ segments: [segment], onRing: () => undefined, timeoutMs: 1 });
  parentPort.postMessage('ready');
}
