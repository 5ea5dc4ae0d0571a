/**
 * From decision to the packet worker's acknowledgement, through the native commit with the journal on; beside
 * it the same primitive in bare C, and a gRPC call that does the same job. Must not judge correctness.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { labUp } from '@kedge/lab';
import { inArena, type ArenaOptions } from './arena.js';
import type { PathSample } from './conductor.js';
import { goalOf, hostOf, rowOf, type BenchReport, type Goal, type Row } from './figures.js';
import { grpcSamples } from './grpc-peer.js';
import type { Bench } from './bench.js';

const SAMPLES = 20_000;
const RECEIPTS = 500;
/** Without the warden's request to the kernel: beside the row that has a goal, so fewer are enough. */
const AS_IT_IS_SAMPLES = 5_000;
/** More samples than this share set apart, and the run says nothing. */
const APART_SHARE = 0.02;
const floorProgram = fileURLToPath(new URL('../build/floor', import.meta.url));

function floorSamples(samples: number, options: readonly string[]): number[] {
  return execFileSync(floorProgram, ['--samples', String(samples), ...options], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
    .trim()
    .split('\n')
    .map(Number);
}

/** As the warden does with `cpu-latency = 0us`, for programs that no warden starts. */
async function withProcessorsReady<T>(run: () => Promise<T>): Promise<T> {
  const request = openSync('/dev/cpu_dma_latency', 'w');
  try {
    writeSync(request, new Uint8Array(4));
    return await run();
  } finally {
    closeSync(request);
  }
}

/** What the path is measured against: the same primitive in C, the same job over gRPC. */
async function peers(
  samples: number,
  progress: (line: string) => void,
): Promise<{ readonly sleeping: Row; readonly polling: Row; readonly grpc: Row }> {
  progress('the floor: two C processes, same primitive');
  const sleeping = rowOf('floor in C, sleeping', floorSamples(samples, []), 'us');
  const polling = rowOf('floor in C, polling', floorSamples(samples, ['--poll']), 'us');
  progress('the same job over gRPC');
  const scratch = mkdtempSync(join(tmpdir(), 'kedge-bench-'));
  try {
    const taken = await grpcSamples(join(scratch, 'apply.sock'), Math.min(samples, 5_000), 1);
    return { sleeping, polling, grpc: rowOf('gRPC call: decided → seen', taken, 'us') };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function pathRows(
  name: string,
  samples: number,
  options: Omit<ArenaOptions, 'job' | 'withinMs'>,
): Promise<Row[]> {
  const pauseMs = options.busy === true ? 0 : 1;
  const taken = await inArena<PathSample[]>({
    ...options,
    rate: 500, // a class has one flow per address family: 1,000 packets/s
    job: ['path', String(samples), String(pauseMs), 'journal'],
    withinMs: 60_000 + samples * 60,
  });
  const kept = taken.filter((s) => !s.apart);
  const setApart = taken.length - kept.length;
  const share = setApart / taken.length;
  const backwards = kept.some(
    ({ stored, seen, acknowledged }) => stored < 0 || seen < 0 || acknowledged < seen,
  );
  const invalid = backwards
    ? 'an effect is stamped before its cause'
    : share > APART_SHARE
      ? `more than ${String(APART_SHARE * 100)} % of the samples were set apart`
      : undefined;
  const more = invalid === undefined ? { setApart } : { setApart, invalid };
  const stages = (['stored', 'seen', 'acknowledged'] as const).map((stage) =>
    rowOf(
      `${name}: decided → ${stage}`,
      kept.map((s) => s[stage]),
      'us',
      more,
    ),
  );
  return stages;
}

/** Receipt → decision of the shipped coordinator, asked over its console socket. */
async function receiptRow(samples: number): Promise<Row> {
  const lab = await labUp({ name: 'bench', out: () => undefined });
  try {
    const client = lab.posture('console');
    const taken: number[] = [];
    for (let i = 0; taken.length < samples; i += 1) {
      const reply = await client.set(
        {
          level: i % 2 === 0 ? 4 : 5,
          reason: 'benchmark',
          principal: 'bench:posture-path',
          idempotencyKey: `bench-${String(process.pid)}-${String(i)}`,
        },
        { deadlineMs: 5_000 },
      );
      if (reply.outcome === 'decision' && i % 2 === 0)
        taken.push(Number(reply.decision.decidedAtNs - reply.decision.receivedAtNs));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return rowOf('coordinator: received → decided', taken, 'us');
  } finally {
    await lab.down();
  }
}

export const posturePath: Bench = async ({ samples = SAMPLES, progress }): Promise<BenchReport> => {
  const host = hostOf();
  // Everything but the packet worker is on CPU 0, this process and all its children too.
  execFileSync('taskset', ['-apc', '0', String(process.pid)], { stdio: 'ignore' });
  progress('processors’ idle states as the machine has them: the floor, and the path');
  const fewer = Math.min(samples, AS_IT_IS_SAMPLES);
  const floorAsItIs = rowOf('floor in C, sleeping, idle states as they are', floorSamples(fewer, []), 'us');
  const asItIs = await pathRows('idle, sleeping, idle states as they are', fewer, {});
  // From here on as an appliance asks for it.
  const floor = await withProcessorsReady(() => peers(samples, progress));
  const ready = { cpuLatencyMs: 0 };
  progress('idle, forwarder asleep between packets');
  const idle = await pathRows('idle, sleeping', samples, ready);
  progress('idle, forwarder polling');
  const polling = await pathRows('idle, polling', samples, { ...ready, poll: true });
  progress('busy: every event loop full, collecting garbage');
  const busy = await pathRows('busy', samples, { ...ready, busy: true, fifo: true });
  progress('receipt → decision of the coordinator');
  const receipt = await receiptRow(Math.min(samples, RECEIPTS));

  const acknowledged = (rows: readonly Row[]): Row => {
    const row = rows[2];
    if (row === undefined) throw new Error('bench: a run has no acknowledged row');
    return row;
  };
  const [idleAck, pollAck, busyAck] = [acknowledged(idle), acknowledged(polling), acknowledged(busy)];
  const asItIsAck = acknowledged(asItIs);
  const goals: Goal[] = [
    goalOf('idle p50, sleeping forwarder, µs', 60, idleAck.p50),
    goalOf('idle p50, polling forwarder, µs', 2, pollAck.p50),
    goalOf('busy p99.9, µs', 250, busyAck.p999),
    goalOf('busy max, µs', 1_000, busyAck.max),
    goalOf('receipt → decided p99 idle, µs', 10_000, receipt.p99),
  ];
  const ratio = (a: number, b: number): number => Math.round((a / b) * 100) / 100;
  return {
    bench: 'posture-path',
    host,
    rows: [
      ...idle,
      ...asItIs,
      ...polling,
      ...busy,
      floor.sleeping,
      floorAsItIs,
      floor.polling,
      floor.grpc,
      receipt,
    ],
    ratios: {
      'idle sleeping p50 / floor in C, sleeping': ratio(idleAck.p50, floor.sleeping.p50),
      'idle sleeping p50 / floor in C, sleeping, idle states as they are': ratio(
        asItIsAck.p50,
        floorAsItIs.p50,
      ),
      'idle polling p50 / floor in C, polling': ratio(pollAck.p50, floor.polling.p50),
      'gRPC p50 / idle sleeping p50': ratio(floor.grpc.p50, idleAck.p50),
    },
    goals,
  };
};
