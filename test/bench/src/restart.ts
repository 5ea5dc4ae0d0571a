/**
 * From a service's death to its acknowledgement at the current epoch, seen on the board. Must not start or stop
 * anything but by the signal: the warden starts it again.
 */
import type { Lab, LabService } from '@kedge/lab';
import {
  layout,
  monotonicNs,
  openSegment,
  type SegmentKind,
  type SegmentReader,
} from '@kedge/shared-memory-ipc';
import { setTimeout as sleep } from 'node:timers/promises';

const WITHIN_MS = 20_000;
/** Between two deaths: what the last one left to do is done. */
const SETTLE_MS = 400;

interface Subject {
  readonly service: LabService;
  readonly segment: string;
  readonly kind: SegmentKind;
  /** Whether what stands there is said by the new process, about the epoch in force. */
  readonly acknowledged: (segment: SegmentReader, epoch: bigint, killedAtNs: bigint) => boolean;
}

/** Says of itself that it serves; the same place in every kind. */
const serves = (segment: SegmentReader): boolean =>
  segment.load32(layout.posture.beat + layout.beat.serving) === 1;

function participant(service: LabService): Subject {
  return {
    service,
    segment: `participant-${service}`,
    kind: 'participant',
    acknowledged: (segment, epoch) => serves(segment) && segment.ack(layout.participant.ack)?.epoch === epoch,
  };
}

export const SUBJECTS: readonly Subject[] = [
  { service: 'posture-coordinator', segment: 'posture', kind: 'posture', acknowledged: serves },
  { service: 'vpp-bridge', segment: 'tables', kind: 'tables', acknowledged: serves },
  participant('overlay'),
  participant('underlay'),
  {
    service: 'forwarder',
    segment: 'dataplane-reference',
    kind: 'dataplane',
    acknowledged: (segment, epoch, killedAtNs) => {
      const ack = segment.ack(layout.dataplane.worker + layout.worker.ack);
      return (
        segment.load32(layout.dataplane.worker + layout.worker.live) === 1 &&
        ack?.epoch === epoch &&
        ack.finishedAtNs > killedAtNs
      );
    },
  },
];

function epochOf(board: string): bigint {
  const posture = openSegment({ directory: board, name: 'posture', kind: 'posture', owner: 'any' });
  try {
    return posture.load64(layout.posture.word) >> 16n;
  } finally {
    posture.close();
  }
}

/** Kills the service and waits; nanoseconds from the signal to the acknowledgement. */
async function once(lab: Lab, subject: Subject): Promise<number> {
  const { service, segment: name, kind, acknowledged } = subject;
  const [process_] = lab.serviceProcesses(service);
  if (process_ === undefined) throw new Error(`bench: ${service} is away before it is killed`);
  const segment = openSegment({ directory: lab.board, name, kind, owner: 'any' });
  try {
    const before = segment.header.incarnation;
    const epoch = epochOf(lab.board);
    const killedAtNs = monotonicNs();
    process.kill(process_.pid, 'SIGKILL');
    for (let renewed = false; ;) {
      await sleep(1);
      const now = monotonicNs();
      renewed ||= incarnationOf(segment) > before;
      if (renewed && acknowledged(segment, epoch, killedAtNs)) return Number(now - killedAtNs);
      if (now - killedAtNs > BigInt(WITHIN_MS) * 1_000_000n)
        throw new Error(`bench: ${service} has not acknowledged within ${String(WITHIN_MS)} ms of its death`);
    }
  } finally {
    segment.close();
  }
}

/** While a writer renews its header it cannot be read whole. */
function incarnationOf(segment: SegmentReader): bigint {
  try {
    return segment.header.incarnation;
  } catch {
    return 0n;
  }
}

/** Kills a service again and again; nanoseconds each. */
export async function restarts(lab: Lab, subject: Subject, samples: number): Promise<number[]> {
  const taken: number[] = [];
  for (let n = 0; n < samples; n += 1) {
    await sleep(SETTLE_MS);
    taken.push(await once(lab, subject));
  }
  return taken;
}
