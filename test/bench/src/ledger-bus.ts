/**
 * Records over the bus: four services' streams into the quartermaster as it is shipped, each batch acknowledged when it
 * is durable. Must not measure what was not acknowledged.
 */
import { type Batch, intakeClient, ledgerClient } from '@kedge/bus';
import { QUARTERMASTER_FLAGS } from '@kedge/lab';
import { encodeRecord } from '@kedge/ledger';
import { createPostureSegment, createSegment } from '@kedge/shared-memory-ipc';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import type { Bench } from './bench.js';
import { floorOf, hostOf, rateRowOf, rowOf } from './figures.js';

const MAIN = fileURLToPath(new URL('../../../apps/quartermaster/dist/main.js', import.meta.url));
const SOURCES = ['posture-coordinator', 'vpp-bridge', 'overlay', 'underlay'] as const;
const SUBJECTS = 100;
const BATCH_RECORDS = 512;
/** Batches of one stream that are on their way, as a service's forwarder has them. */
const WINDOW = 8;
const GOAL_PER_SECOND = 20_000;
const WARM_UP = 20_000;

function record(source: number, number: number): Uint8Array {
  return encodeRecord({
    schema: 'kedge.authorisation-decision/1',
    id: `authorisation-decision/bench/${source}/${number}`,
    appliance: 'bench',
    at: new Date(1_790_000_000_000 + number).toISOString(),
    epoch: '7',
    allow: number % 10 !== 0,
    rule: 'journeyman-executes',
    reason: number % 10 === 0 ? 'it needs the tier journeyman or above' : '',
    principal: `user:subject-${number % SUBJECTS}`,
    tier: 'journeyman',
    channel: 'local',
    action: 'mutation.execute',
    resource: `device/access-${number % 40}`,
    level: ((number % 5) + 1) as 1 | 2 | 3 | 4 | 5,
    askedAtNs: String(number),
  }).bytes;
}

/** Waits for its turn: a count that others raise. */
class Turn {
  #free = WINDOW;
  #wake: () => void = () => undefined;

  async take(): Promise<void> {
    while (this.#free === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#free -= 1;
  }

  give(): void {
    this.#free += 1;
    this.#wake();
  }
}

interface Streamed {
  /** Nanoseconds from the sending of each batch to its acknowledgement. */
  readonly waits: readonly number[];
  /** When each was acknowledged. */
  readonly at: readonly bigint[];
}

async function stream(
  socket: string,
  spool: string,
  first: bigint,
  records: readonly Uint8Array[],
): Promise<Streamed> {
  const client = intakeClient(socket);
  const turn = new Turn();
  const sentAt: bigint[] = [];
  const waits: number[] = [];
  const at: bigint[] = [];
  async function* batches(): AsyncGenerator<Batch> {
    for (let from = 0; from < records.length; from += BATCH_RECORDS) {
      await turn.take();
      sentAt.push(process.hrtime.bigint());
      yield { spool, first: first + BigInt(from), records: records.slice(from, from + BATCH_RECORDS) };
    }
  }
  try {
    let upTo = 0n;
    for await (const kept of client.deliver(batches(), { deadlineMs: 60_000 })) {
      const now = process.hrtime.bigint();
      waits.push(Number(now - (sentAt[waits.length] ?? now)));
      at.push(now);
      ({ upTo } = kept);
      turn.give();
    }
    if (upTo !== first - 1n + BigInt(records.length))
      throw new Error(`bench: only ${upTo} records were kept`);
  } finally {
    client.close();
  }
  return { waits, at };
}

/** The service alone, with the board, sockets and state that it needs. */
async function withQuartermaster<T>(use: (sockets: string) => Promise<T>): Promise<T> {
  const root = mkdtempSync(join(tmpdir(), 'kedge-bench-ledger-'));
  const sockets = join(root, 'sock');
  const ways = [
    'console',
    ...['site_owner', 'master', 'journeyman', 'apprentice'].map((tier) => `local/${tier}`),
  ];
  for (const name of [
    ...['board', 'state', 'sock/internal', ...SOURCES.map((source) => `sock/sources/${source}`)],
    ...ways.map((way) => `sock/${way}/ledger`),
  ]) {
    mkdirSync(join(root, name), { recursive: true });
    chmodSync(join(root, name), 0o755);
  }
  const directory = join(root, 'board');
  const posture = createPostureSegment({ directory });
  posture.storeWord(1n, 5);
  const warden = createSegment({ directory, name: 'warden', kind: 'warden' });
  warden.beat(true);
  const owner = process.getuid?.() ?? 0;
  const config = join(root, 'config.json');
  const text = JSON.stringify({
    ...{ appliance: 'bench', sockets, directory: join(root, 'state/ledger'), origin: 'kedge.example/bench' },
    ...{ board: { directory, owners: { posture: owner, warden: owner } }, sources: SOURCES },
    key: join(root, 'state/ledger.key'),
  });
  writeFileSync(config, text);
  const child = spawn(process.execPath, [...QUARTERMASTER_FLAGS, MAIN, '--config', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ledger = ledgerClient(join(sockets, 'internal/ledger.sock'));
  try {
    for (const until = performance.now() + 20_000; ; await sleep(50)) {
      if ((await ledger.health({ deadlineMs: 1_000 }).catch(() => '')) === 'SERVING') break;
      if (performance.now() > until || child.exitCode !== null) throw new Error('bench: it does not serve');
    }
    return await use(sockets);
  } finally {
    ledger.close();
    const gone = once(child, 'exit');
    if (child.exitCode === null) {
      child.kill('SIGKILL');
      await gone;
    }
    posture.close();
    warden.close();
    rmSync(root, { recursive: true, force: true });
  }
}

/** `--samples`: records in all. */
export const ledgerBus: Bench = async ({ samples = 400_000, progress }) => {
  const each = Math.ceil(samples / SOURCES.length);
  const warm = Math.ceil(WARM_UP / SOURCES.length);
  progress(`making ${each * SOURCES.length} records`);
  const records = SOURCES.map((_, at) =>
    Array.from({ length: warm + each }, (__, number) => record(at, number)),
  );
  return await withQuartermaster(async (sockets) => {
    const run = (from: number, to: number): Promise<readonly Streamed[]> =>
      Promise.all(
        SOURCES.map((source, at) =>
          stream(
            join(sockets, `sources/${source}/ledger.sock`),
            String(at).padStart(32, '0'),
            BigInt(from + 1),
            records[at]?.slice(from, to) ?? [],
          ),
        ),
      );
    await run(0, warm);
    progress('measuring');
    const startedAt = process.hrtime.bigint();
    const streams = await run(warm, warm + each);
    const tookNs = Number(process.hrtime.bigint() - startedAt);
    const acknowledged = streams.flatMap(({ at }) => at).sort((a, b) => (a < b ? -1 : 1));
    // Sixteen batches, whichever streams they are of, are a sample of the rate.
    const rates = acknowledged.flatMap((at, number) => {
      const before = number < 16 ? startedAt : acknowledged[number - 16];
      return number % 16 === 15 && before !== undefined ? [Number(at - before) / (16 * BATCH_RECORDS)] : [];
    });
    const waits = streams.flatMap((streamed) => streamed.waits);
    const perSecond = Math.round((each * SOURCES.length * 1e9) / tookNs);
    return {
      bench: 'ledger-bus',
      host: hostOf(),
      rows: [
        rateRowOf('records from four streams, durable and acknowledged', rates),
        rowOf(`a batch of ${BATCH_RECORDS} records, from sending to its acknowledgement`, waits, 'ms'),
      ],
      ratios: {},
      goals: [floorOf('records per second over the whole run', GOAL_PER_SECOND, perSecond)],
    };
  });
};
