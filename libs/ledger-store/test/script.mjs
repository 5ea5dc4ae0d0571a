/**
 * A process that uses a store and says what was acknowledged: `script.mjs COURSE DIRECTORY [ARGUMENT [FLUSH]]`.
 * It must not judge; the test that started it does.
 */
import { encodeRecord } from '@kedge/ledger';
import { openLedgerStore } from '@kedge/ledger-store';
import { randomBytes } from 'node:crypto';
import { unlinkSync, writeSync } from 'node:fs';

import { recordOf, signer } from './material.mjs';

const [, , course, directory, argument, flush = 'batched'] = process.argv;
const say = (...words) => writeSync(1, `${words.join(' ')}\n`);
const open = (more = {}) => openLedgerStore({ directory, signer, randomBytes, ...more });
const nowNs = () => process.hrtime.bigint();

/** Appends, and says so once it is acknowledged. */
async function kept(store, number) {
  const { sequence } = await store.append(recordOf(number, timeOf(number)));
  say('record', number, sequence, nowNs());
}
/** Some are old enough to go. */
const timeOf = (number) => `${number < 600 ? 2024 : 2026}-11-22T18:00:00.000Z`;
const range = (from, count) => Array.from({ length: count }, (_, at) => from + at);

const COURSES = {
  /** As fast as it can, until it is killed. */
  async endless() {
    const store = await open({ limits: { tileBytes: 60_000, tileMs: 20 }, flush: argument });
    let number = store.size;
    const caller = async () => {
      for (;;) {
        number += 1;
        await kept(store, number);
      }
    };
    await Promise.all(range(0, 20).map(caller));
  },
  /** Everything that writes, once or twice. */
  async all() {
    const limits = { tileBytes: 30_000, tileMs: 100_000, walBytes: 2 * 1024 * 1024 };
    let store = await open({ limits });
    await Promise.all(range(1, 120).map((number) => kept(store, number)));
    const delivered = range(201, 60).map((number) => encodeRecord(recordOf(number, timeOf(number))).bytes);
    await store.deliver('vpp-bridge', 'one', 1n, delivered.slice(0, 40));
    say('cursor', 40, nowNs());
    await store.deliver('vpp-bridge', 'one', 31n, delivered.slice(30));
    say('cursor', 60, nowNs());
    say('erased', await store.keys.erase('spiffe://example/1'), nowNs());
    store.setFlush('every');
    await Promise.all(range(301, 6).map((number) => kept(store, number)));
    store.setFlush('batched');
    await store.close();
    store = await open({ limits });
    await Promise.all(range(401, 150).map((number) => kept(store, number)));
    await Promise.all(range(601, 10).map((number) => kept(store, number)));
    say('pruned', (await store.retain(Date.parse('2026-12-01T00:00:00.000Z'))).prunedBundles);
    await kept(store, 700);
    await store.close();
  },
  /** Until the disk is full, then a ballast goes, then on. */
  async full() {
    const troubles = [];
    const limits = { tileBytes: 20_000 };
    const store = await open({ limits, flush, onTrouble: ({ code }) => troubles.push(code) });
    let number = 0;
    const until = async () => {
      for (;;) {
        const group = range(number + 1, 8);
        number += 8;
        const results = await Promise.allSettled(group.map((each) => kept(store, each)));
        const refused = results.find(({ status }) => status === 'rejected');
        if (refused !== undefined) return refused.reason.code;
        if (number > 4_000) return 'never';
      }
    };
    say('refused', await until(), store.status().state);
    say('refused', await until(), store.status().state);
    say('troubles', ...troubles);
    unlinkSync(argument);
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const each of range(10_001, 20)) await kept(store, each);
    say('state', store.status().state);
    await store.close();
  },
  /** Until there is no room for tiles, then a ballast goes, then on. */
  async tiles() {
    const troubles = [];
    const limits = { tileBytes: 50_000, tileMs: 20, walBytes: 2 * 1024 * 1024 };
    const store = await open({ limits, onTrouble: ({ code }) => troubles.push(code) });
    let number = 0;
    let refused;
    while (refused === undefined && number < 20_000) {
      const group = range(number + 1, 50);
      number += 50;
      const results = await Promise.allSettled(group.map((each) => kept(store, each)));
      refused = results.find(({ status }) => status === 'rejected')?.reason.code;
    }
    const { state, size, inTiles } = store.status();
    say('refused', refused, state, inTiles < size, ...troubles);
    unlinkSync(argument);
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const each of range(30_001, 20)) await kept(store, each);
    const { state: after, keptFrom } = store.status();
    say('state', after, keptFrom);
    await store.close();
  },
  /** Until it fails. */
  async failing() {
    const store = await open({ limits: { tileBytes: 2_000, tileMs: 100_000 } });
    for (let number = 1; number < 1_000; number++) {
      try {
        await kept(store, number);
      } catch ({ code }) {
        const again = await store.append(recordOf(1_000)).catch((error) => error.code);
        say('refused', code, again, store.status().state);
        await store.close();
        return;
      }
    }
  },
};
await COURSES[course]();
