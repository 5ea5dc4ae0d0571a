/**
 * A process that uses a store and says what was kept: `script.mjs COURSE PATH [ARGUMENT]`.
 * It must not judge; the test that started it does.
 */
import { openIntentStore } from '@kedge/intent-store';
import { unlinkSync, writeSync } from 'node:fs';

import { datastoresOver, wholeCourse } from './material.mjs';

const [, , course, path, argument] = process.argv;
const say = (...words) => writeSync(1, `${words.join(' ')}\n`);
const begun = async () => {
  const store = await openIntentStore({ path });
  const over = await datastoresOver(
    store,
    (step, digest) => say('kept', step, digest, process.hrtime.bigint()),
    (step) => say('begins', step),
  );
  return { store, over };
};

const COURSES = {
  /** Everything once; then once more from what is there, which puts back what nobody confirmed. */
  async whole() {
    const first = await begun();
    await wholeCourse(first.over);
    await first.over.datastores.close();
    await first.store.close();
    const second = await begun();
    await second.over.load(9);
    await second.over.commit();
    await second.over.datastores.close();
    await second.store.close();
  },
  /** One commit on top of what is there, and the orderly end. */
  async once() {
    const { store, over } = await begun();
    await over.load(21, true);
    await over.commit();
    await over.datastores.close();
    await store.close();
  },
  /** As fast as it can, until it is killed. */
  async endless() {
    const { over } = await begun();
    for (let number = over.datastores.state.step * 2; ; number++) {
      await over.load(number, number % 5 === 0);
      await over.commit();
    }
  },
  /** Until there is no room, once more, then a ballast goes, then on. */
  async full() {
    const { store, over } = await begun();
    let reply;
    for (let number = 1; number < 2000 && reply?.code === undefined; number++) {
      reply = await over.load(number, true);
      if (reply.code === undefined) reply = await over.commit();
    }
    say('refused', reply.code);
    say('refused', (await over.load(5000, true)).code ?? (await over.commit()).code);
    say('phase', over.datastores.state.phase);
    unlinkSync(argument);
    await over.load(6000);
    say('then', (await over.commit()).kind);
    await over.datastores.close();
    await store.close();
  },
  /** Until a flush fails; then it is asked once more. */
  async failing() {
    const { store, over } = await begun();
    let reply;
    for (let number = 1; number < 100 && reply?.code === undefined; number++) {
      reply = await over.load(number, true);
      if (reply.code === undefined) reply = await over.commit();
    }
    const again = await over.load(500);
    const straight = await store.keep({}).catch((error) => error.code);
    say('refused', reply.code, again.code, straight, over.datastores.state.phase);
    await over.datastores.close();
    await store.close();
  },
  /** Has it open until its input ends. */
  async hold() {
    const { store } = await begun();
    say('open');
    process.stdin.resume();
    await new Promise((resolve) => process.stdin.once('end', resolve));
    await store.close();
    process.exit(0);
  },
};
await COURSES[course]();
