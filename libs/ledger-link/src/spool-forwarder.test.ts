import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Batch, Kept } from '@kedge/bus';
import type { AuthorisationDecision } from '@kedge/contracts';
import { decodeRecord, openSpool, type Spool } from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Deliver, SpoolForwarder, type SpoolForwarderOptions } from './spool-forwarder.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'kedge-link-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const record = (number: number): AuthorisationDecision => ({
  schema: 'kedge.authorisation-decision/1',
  id: `authorisation/box/${number}`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  allow: true,
  rule: 'console',
  reason: 'x'.repeat((number * 37) % 300),
  principal: 'user:ada',
  tier: 'master',
  channel: 'local',
  action: 'posture.set',
  resource: 'posture/3',
  level: 3,
  askedAtNs: String(number),
});

/** What becomes of a batch. */
const FATES = ['kept', 'kept later', 'kept, not said', 'not kept', 'half kept', 'refused'] as const;
type Fate = (typeof FATES)[number];

/** A ledger that does to the next batches what it was told, and keeps them from then on. */
class LedgerEnd {
  readonly ids: string[] = [];
  readonly cursors = new Map<string, bigint>();
  /** Largest number of bytes that were sent and not answered. */
  mostOwed = 0;
  streams = 0;
  /** Batches that held records. */
  batches = 0;
  fates: Fate[] = [];
  /** Answers nothing any more. */
  isSilent = false;

  readonly deliver: Deliver = (batches, { signal }) => this.#deliver(batches, signal);

  async *#deliver(batches: AsyncIterable<Batch>, signal?: AbortSignal): AsyncGenerator<Kept> {
    this.streams += 1;
    const source = batches[Symbol.asyncIterator]();
    const aborted = new Promise<undefined>((resolve) => {
      signal?.addEventListener('abort', () => {
        resolve(undefined);
      });
    });
    let owed = 0;
    try {
      for (;;) {
        const next = await Promise.race([source.next(), aborted]);
        if (next === undefined) throw new KedgeError({ code: 'BUS_CANCELLED', message: 'gone' });
        if (next.done === true) return;
        const { spool, first, records } = next.value;
        this.batches += Number(records.length > 0);
        if (this.isSilent) {
          owed += records.reduce((sum, { length }) => sum + length, 0);
          this.mostOwed = Math.max(owed, this.mostOwed);
          if (records.length > 0) continue;
        }
        const fate = records.length === 0 ? 'kept' : (this.fates.shift() ?? 'kept');
        if (fate === 'refused') throw new KedgeError({ code: 'LEDGER_FULL', message: 'no room' });
        if (fate === 'not kept') throw new KedgeError({ code: 'BUS_UNREACHABLE', message: 'cut' });
        this.#keep(spool, first, fate === 'half kept' ? records.slice(0, records.length / 2) : records);
        if (fate === 'kept, not said') throw new KedgeError({ code: 'BUS_UNREACHABLE', message: 'cut' });
        if (fate === 'kept later') continue;
        yield { spool, upTo: this.cursors.get(spool) ?? 0n };
        if (fate === 'half kept') throw new KedgeError({ code: 'BUS_UNREACHABLE', message: 'cut' });
      }
    } finally {
      void source.return?.(undefined);
    }
  }

  #keep(spool: string, first: bigint, records: readonly Uint8Array[]): void {
    const cursor = this.cursors.get(spool) ?? 0n;
    if (records.length === 0) return;
    if (first > cursor + 1n) throw new KedgeError({ code: 'LEDGER_GAP', message: `a gap before ${first}` });
    for (const [index, bytes] of records.entries()) {
      const sequence = first + BigInt(index);
      if (sequence <= cursor) continue;
      this.ids.push(decodeRecord(bytes).id);
      this.cursors.set(spool, sequence);
    }
  }
}

const said: string[] = [];
const log = {
  info: (_: object, text: string) => said.push(text),
  warn: (_: object, text: string) => said.push(text),
};

async function linked(
  ledger: LedgerEnd,
  path: string,
  more: Partial<SpoolForwarderOptions> = {},
): Promise<{ spool: Spool; forwarder: SpoolForwarder; close: () => Promise<void> }> {
  const spool = await openSpool({ directory: path, fileBytes: 1_000 });
  const forwarder = new SpoolForwarder({
    spool,
    deliver: ledger.deliver,
    nowNs: () => process.hrtime.bigint(),
    log,
    backoff: { firstMs: 1, mostMs: 2 },
    batchBytes: 1,
    ...more,
  });
  const close = async (): Promise<void> => {
    await forwarder.close();
    await spool.close();
  };
  return { spool, forwarder, close };
}

const wait = { timeout: 20_000, interval: 2 };
const ids = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `authorisation/box/${index + 1}`);

describe('a forwarder', () => {
  it('leaves a start alone, and has records wait for each other', async () => {
    const ledger = new LedgerEnd();
    const begun = performance.now();
    const { spool, close } = await linked(ledger, join(directory, 'calm'), {
      beginMs: 150,
      gatherMs: 150,
      batchBytes: 65_536,
    });
    await spool.append(record(1));
    await expect.poll(() => ledger.ids.length, wait).toBe(1);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(149);
    // One after the other, each durable before the next: without a wait each would go by itself.
    for (let number = 2; number <= 13; number++) {
      await spool.append(record(number));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await expect.poll(() => ledger.ids, wait).toEqual(ids(13));
    expect(ledger.batches).toBeLessThanOrEqual(7);
    await close();
  });

  it('LE-1 brings each record to the ledger once and in order, whatever is cut and whoever starts anew', async () => {
    let visited = 0;
    const round = fc.record({
      records: fc.integer({ min: 0, max: 7 }),
      fates: fc.array(fc.constantFrom(...FATES), { maxLength: 4 }),
      restart: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(round, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 4_000 }),
        async (rounds, batchBytes) => {
          visited += 1;
          const path = join(directory, String(visited));
          const ledger = new LedgerEnd();
          let end = await linked(ledger, path, { batchBytes });
          let given = 0;
          for (const { records, fates, restart } of rounds) {
            ledger.fates.push(...fates);
            await Promise.all(Array.from({ length: records }, () => end.spool.append(record((given += 1)))));
            if (!restart) continue;
            await end.close();
            end = await linked(ledger, path, { batchBytes });
          }
          ledger.fates = [];
          // What was kept and not said is said with the next batch.
          await end.spool.append(record((given += 1)));
          await expect.poll(() => end.forwarder.status().waiting, wait).toBe(0n);
          expect(ledger.ids).toEqual(ids(given));
          // A file goes after the answer that lets it go has been counted.
          await expect.poll(() => end.spool.status().records, wait).toBeLessThanOrEqual(8);
          await end.close();
        },
      ),
      { numRuns: 60 },
    );
    expect(visited).toBeGreaterThanOrEqual(60);
  });

  it('lets no file go before the ledger keeps what lies in it', async () => {
    const ledger = new LedgerEnd();
    const { spool, forwarder, close } = await linked(ledger, directory, { windowBytes: 2_000 });
    await expect.poll(() => forwarder.status().linked, wait).toBe(true);
    ledger.isSilent = true;
    for (let number = 1; number <= 40; number++) await spool.append(record(number));
    await expect.poll(() => ledger.mostOwed, wait).toBeGreaterThan(1_500);
    // One batch over its window at most, of the least that a batch holds.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(ledger.mostOwed).toBeLessThan(2_000 + 62_000);
    expect(spool.status()).toMatchObject({ oldest: 1n, records: 40 });
    expect(forwarder.status()).toMatchObject({ waiting: 40n, kept: 0n });
    expect(forwarder.status().waitingMs).toBeGreaterThan(0);
    await close();
  });

  it('makes a stream anew on which nothing is answered, and says what is in the way until it is gone', async () => {
    const ledger = new LedgerEnd();
    const { spool, forwarder, close } = await linked(ledger, directory, { answerMs: 20 });
    await expect.poll(() => forwarder.status().linked, wait).toBe(true);
    ledger.isSilent = true;
    await spool.append(record(1));
    await expect.poll(() => said.includes('records wait: the ledger takes none'), wait).toBe(true);
    await expect.poll(() => ledger.streams, wait).toBeGreaterThan(2);
    ledger.isSilent = false;
    await expect
      .poll(() => forwarder.status(), wait)
      .toEqual({ linked: true, waiting: 0n, waitingMs: 0, kept: 1n, trouble: undefined });
    expect(ledger.ids).toEqual(ids(1));
    await close();
  });

  it.each(['LEDGER_FULL', 'LEDGER_GAP'])('tells the code of a ledger that refuses: %s', async (code) => {
    const { spool, forwarder, close } = await linked(new LedgerEnd(), directory, {
      // eslint-disable-next-line require-yield
      deliver: async function* (): AsyncGenerator<Kept> {
        throw new KedgeError({ code, message: 'refused' });
      },
    });
    await spool.append(record(1));
    await expect.poll(() => forwarder.status(), wait).toMatchObject({ trouble: code, waiting: 1n });
    await close();
  });

  it('delivers all that lies there under another name where the ledger has less than was let go', async () => {
    const before = new LedgerEnd();
    const first = await linked(before, directory);
    for (let number = 1; number <= 20; number++) await first.spool.append(record(number));
    await expect.poll(() => first.forwarder.status().waiting, wait).toBe(0n);
    await first.close();
    // The ledger was put back to nothing.
    const after = new LedgerEnd();
    const second = await linked(after, directory);
    const { oldest } = second.spool.status();
    expect(oldest).toBeGreaterThan(5n);
    await second.spool.append(record(21));
    await expect.poll(() => second.forwarder.status().waiting, wait).toBe(0n);
    expect(after.ids).toEqual(ids(21).slice(Number(oldest) - 1));
    expect([...after.cursors.keys()]).toEqual([second.spool.identity.id]);
    await second.close();
  });

  it('delivers all that lies there under another name where the ledger has more than was ever here', async () => {
    const ledger = new LedgerEnd();
    const spool = await openSpool({ directory });
    for (const number of [1, 2, 3]) await spool.append(record(number));
    ledger.cursors.set(spool.identity.id, 9n);
    const old = spool.identity.id;
    await spool.close();
    const { forwarder, spool: again, close } = await linked(ledger, directory);
    await expect.poll(() => forwarder.status().waiting, wait).toBe(0n);
    expect(again.identity.id).not.toBe(old);
    expect(ledger.ids).toEqual(ids(3));
    await close();
  });

  it('is told no more than it asked for: what it never sent cannot be kept', async () => {
    let calls = 0;
    const { spool, forwarder, close } = await linked(new LedgerEnd(), directory, {
      deliver: async function* (batches): AsyncGenerator<Kept> {
        calls += 1;
        for await (const { spool: id, records } of batches)
          yield { spool: id, upTo: records.length === 0 ? 0n : 5n };
      },
      batchBytes: 1,
    });
    await spool.append(record(1));
    await expect.poll(() => forwarder.status().trouble, wait).toBe('LEDGER_LINK_ANSWER');
    expect(calls).toBeGreaterThan(0);
    expect(spool.status().oldest).toBe(1n);
    await close();
  });
});
