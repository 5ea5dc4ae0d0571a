/**
 * Stands in the coordinator's place during a benchmark, under its user and with its native commit: decides as
 * told, journals, and keeps the stamps of both sides. Must not judge them: it writes them to RESULT as JSON.
 *
 *   conductor.js BOARD RESULT path SAMPLES PAUSE_MS JOURNAL
 *   conductor.js BOARD RESULT watchdog SAMPLES [stop-self] [stop-bridge]
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { JOURNAL_RECORD_BYTES, NOTHING_DECIDED, encodeJournalRecord } from '@kedge/posture';
import {
  createPostureSegment,
  enums,
  layout,
  monotonicNs,
  openSegment,
  type PostureWriter,
  type SegmentReader,
} from '@kedge/shared-memory-ipc';
import { DATAPLANE } from '@kedge/lab';
import { epochOf } from '@kedge/units';
import { stolenNs } from './steal.js';

/** One decision as it was stamped on both sides; nanoseconds from the decision. */
export interface PathSample {
  readonly stored: number;
  readonly seen: number;
  readonly acknowledged: number;
  /** The worker was switched off its CPU, or the machine lost time to its host, meanwhile. */
  readonly apart: boolean;
}

/** One silent data plane; nanoseconds from the decision. */
export interface WatchdogSample {
  /** Until the fail-closed line stood. */
  readonly closed: number;
  /** Until the violation was written. */
  readonly raised: number;
  /** Until the data plane had been killed. */
  readonly killed: number;
}

const WORKER = layout.dataplane.worker;
const SWITCHES = WORKER + layout.worker.switches;
const GIVE_UP_NS = 5_000_000_000n;
const JOURNAL_SLOTS = 4096;
/** Time lost to the host that counts: a tenth of the tightest bound that is measured on a tail (250 µs). */
const LOST_NS = 25_000n;
/** How long a decision waits after the clocks were read. */
const SETTLE_NS = 100_000n;
/** A start keeps the kernel busy on every processor for a while: what is promised is promised after it. */
const WARM_UP_MS = 3_000;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function until<T>(what: string, look: () => T | undefined, between: () => Promise<void>): Promise<T> {
  const giveUp = monotonicNs() + GIVE_UP_NS;
  for (;;) {
    const seen = look();
    if (seen !== undefined) return seen;
    if (monotonicNs() > giveUp) throw new Error(`bench: ${what} did not happen within 5 s`);
    await between();
  }
}

/** Involuntary context switches of a process's first thread so far: the packet worker's. */
function switchesOf(pid: number): bigint {
  const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  return BigInt(/^nonvoluntary_ctxt_switches:\s*(\d+)$/m.exec(status)?.[1] ?? -1);
}

/** A segment that is opened again when its writer comes back with a new file, and waited for until there is one. */
async function reader(
  directory: string,
  name: string,
  kind: SegmentReader['header']['kind'],
): Promise<SegmentReader> {
  return until(
    `segment ${name}`,
    () => {
      try {
        return openSegment({ directory, name, kind, owner: 'any' });
      } catch {
        return undefined;
      }
    },
    () => pause(5),
  );
}

async function pathSamples(
  board: string,
  posture: PostureWriter,
  samples: number,
  pauseMs: number,
  journalPath: string,
): Promise<PathSample[]> {
  const dataplane = await reader(board, `dataplane-${DATAPLANE}`, 'dataplane');
  const journal = await open(journalPath, 'w');
  const bootId = Buffer.from(
    readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').replaceAll('-', '').trim(),
    'hex',
  );
  const stolen = stolenNs();
  await pause(WARM_UP_MS);
  const taken: PathSample[] = [];
  let epoch = posture.word() >> 16n;
  for (let i = 0; i < samples; i += 1) {
    await pause(pauseMs);
    const stolenBefore = stolen();
    // Whoever has just read every processor's clocks decides with cold caches.
    for (const warm = monotonicNs() + SETTLE_NS; monotonicNs() < warm;);
    epoch += 1n;
    const from = i % 2 === 0 ? 5 : 4;
    const to = i % 2 === 0 ? 4 : 5;
    const switches = switchesOf(dataplane.header.writerPid);
    const { decidedAtNs, storedAtNs } = posture.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });
    const record = encodeJournalRecord({
      ...NOTHING_DECIDED,
      kind: 'decision',
      sequence: epoch,
      epoch: epochOf(epoch),
      reservedUpTo: epochOf(epoch + 1024n),
      decidedAtNs,
      decidedAtWallMs: Date.now(),
      bootId,
      from,
      to,
      requested: to,
    });
    const durable = journal
      .write(record, 0, record.length, (i % JOURNAL_SLOTS) * JOURNAL_RECORD_BYTES)
      .then(() => journal.datasync());
    const ack = await until(
      `acknowledgement of epoch ${String(epoch)}`,
      () => {
        const line = dataplane.ack(WORKER);
        return line !== undefined && line.epoch >= epoch ? line : undefined;
      },
      turn,
    );
    // Read before anything else is waited for: only what the host took during the sample counts.
    // The kernel may count late: a sample shorter than what counts cannot have lost it.
    const lost = stolen() - stolenBefore >= LOST_NS && ack.finishedAtNs - decidedAtNs >= LOST_NS;
    await durable;
    taken.push({
      stored: Number(storedAtNs - decidedAtNs),
      seen: Number(ack.startedAtNs - decidedAtNs),
      acknowledged: Number(ack.finishedAtNs - decidedAtNs),
      apart: dataplane.load64(SWITCHES) !== switches || lost,
    });
  }
  await journal.close();
  return taken;
}

/** The newest violation of a kind and epoch in the warden's ring. */
function violationOf(
  warden: SegmentReader,
  kind: number,
  epoch: bigint,
): { atNs: bigint; actedAtNs: bigint } | undefined {
  const written = warden.load64(layout.warden.violations);
  const slots = BigInt(layout.limits.violationSlots);
  for (let n = written - 1n; n >= 0n && n >= written - slots; n -= 1n) {
    const slot = layout.warden.violation + Number(n % slots) * layout.violation.size;
    if (
      warden.load64(slot + layout.violation.sequence) === 2n * n + 2n &&
      warden.load32(slot + layout.violation.kind) === kind &&
      warden.load64(slot + layout.violation.epoch) === epoch
    ) {
      return {
        atNs: warden.load64(slot + layout.violation.atNs),
        actedAtNs: warden.load64(slot + layout.violation.actedAtNs),
      };
    }
  }
  return undefined;
}

async function watchdogSamples(
  board: string,
  posture: PostureWriter,
  samples: number,
  stop: { readonly self: boolean; readonly bridge: boolean },
): Promise<WatchdogSample[]> {
  const warden = await reader(board, 'warden', 'warden');
  const tables = await reader(board, 'tables', 'tables');
  const failClosed = layout.warden.failClosed;
  const taken: WatchdogSample[] = [];
  let dataplane = await reader(board, `dataplane-${DATAPLANE}`, 'dataplane');
  let epoch = posture.word() >> 16n;
  for (let i = 0; i < samples; i += 1) {
    const expected = epoch;
    dataplane = await until(
      'return of the data plane',
      () => {
        if (!dataplane.current()) return undefined;
        const line = dataplane.ack(WORKER);
        const live = dataplane.load32(WORKER + layout.worker.live) === 1;
        return live && line !== undefined && line.epoch >= expected && warden.load64(failClosed) === 0n
          ? dataplane
          : undefined;
      },
      async () => {
        await pause(1);
        if (!dataplane.current()) dataplane = await reader(board, `dataplane-${DATAPLANE}`, 'dataplane');
      },
    );
    epoch += 1n;
    const bridge = tables.header.writerPid;
    process.kill(dataplane.header.writerPid, 'SIGSTOP');
    if (stop.bridge) process.kill(bridge, 'SIGSTOP');
    const { decidedAtNs } = posture.tighten({ epoch, from: 3, to: 3, receivedAtNs: monotonicNs() });
    // Whoever runs the benchmark sees this process stopped and lets it go on.
    if (stop.self) process.kill(process.pid, 'SIGSTOP');
    const mark = epoch;
    const killed = await until(
      `kill of the data plane at epoch ${String(mark)}`,
      () => violationOf(warden, enums.violationKind.DATAPLANE_KILLED, mark),
      () => pause(1),
    );
    const raised = await until(
      `violation of epoch ${String(mark)}`,
      () => violationOf(warden, enums.violationKind.BUDGET, mark),
      turn,
    );
    if (stop.bridge) process.kill(bridge, 'SIGCONT');
    taken.push({
      closed: Number(warden.load64(failClosed + layout.failClosed.setAtNs) - decidedAtNs),
      raised: Number(raised.atNs - decidedAtNs),
      killed: Number(killed.actedAtNs - decidedAtNs),
    });
  }
  return taken;
}

const [board = '', result = '', job = '', count = '0', ...rest] = process.argv.slice(2);
const posture = createPostureSegment({ directory: board });
posture.beat(true);
setInterval(() => {
  posture.beat(true);
}, 100);
// A first decision, so that the data plane has something to obey.
posture.tighten({ epoch: (posture.word() >> 16n) + 1n, from: 5, to: 5, receivedAtNs: monotonicNs() });
const output =
  job === 'path'
    ? await pathSamples(board, posture, Number(count), Number(rest[0]), rest[1] ?? '')
    : await watchdogSamples(board, posture, Number(count), {
        self: rest.includes('stop-self'),
        bridge: rest.includes('stop-bridge'),
      });
writeFileSync(`${result}.part`, JSON.stringify(output));
renameSync(`${result}.part`, result);
