/**
 * What the reference forwarder carries at each level, and how much later frames come, beside a bridge of the kernel
 * on the same wires in the same run. Must not look into either: frames go in at one end and come out at the other.
 */
import { execFileSync } from 'node:child_process';
import { type Level } from '@kedge/units';

import type { Bench } from './bench.js';
import { type AtRate, capacityOf, FRAME_SIZES, type FrameSize, latencyAt } from './capacity.js';
import { goalOf, hostOf, percentile, rateRowOf, type Goal, type Row, summaryRow } from './figures.js';
import { type Packets, whyInvalid } from './packets.js';
import { RIG_CLASSES } from './rig-rules.js';
import { Rig, RIG_CPU, type Waiting } from './rig.js';

/** Searches per row. */
const SEARCHES = 3;
/** From the loosest on: frames of a class that every level lets pass. */
const LEVELS_DOWN: readonly Level[] = [5, 4, 3, 2, 1];
const CLASSES = [{ port: RIG_CLASSES.management.port, share: 1 }];
const SHIPPED: Waiting = 'realtime';

/** What one thing between the wires did with frames of one size. */
interface Subject {
  readonly name: string;
  readonly size: FrameSize;
  /** Frames per second, one for each search. */
  readonly rates: number[];
  half?: AtRate;
}

const medianOf = (samples: readonly number[]): number =>
  percentile(
    [...samples].sort((a, b) => a - b),
    0.5,
  );

const BRIDGE = 'kernel bridge';
const FORWARDER = 'forwarder';
const levelName = (level: Level): string => `${FORWARDER}, level ${String(level)}`;
const POLLING = `${FORWARDER}, level 5, never sleeping`;
const WIRE = 'the first wire alone';

class Subjects {
  readonly #all = new Map<string, Subject>();

  of(name: string, size: FrameSize): Subject {
    const key = `${name}, ${String(size.named)} bytes`;
    const known = this.#all.get(key);
    if (known !== undefined) return known;
    const made = { name: key, size, rates: [] };
    this.#all.set(key, made);
    return made;
  }

  get all(): readonly Subject[] {
    return [...this.#all.values()];
  }
}

/** One search for each size and, the first time, how late frames come at half of what was found. */
async function measure(subjects: Subjects, name: string, packets: Packets): Promise<void> {
  for (const size of FRAME_SIZES) {
    const subject = subjects.of(name, size);
    const { rate } = await capacityOf(packets, size, CLASSES);
    subject.rates.push(rate);
    subject.half ??= await latencyAt(packets, size, CLASSES, rate / 2);
  }
}

function rowsOf({ name, rates, half }: Subject): Row[] {
  const account = half?.typical.classes[0];
  const invalid = half === undefined ? undefined : whyInvalid(half.typical);
  return [
    ...(rates.length === 0
      ? []
      : [
          rateRowOf(
            name,
            rates.map((rate) => 1e9 / rate),
          ),
        ]),
    ...(account === undefined
      ? []
      : [
          summaryRow(
            `${name}: latency at half`,
            account.received,
            account.latencyNs,
            'us',
            invalid === undefined ? {} : { invalid },
          ),
        ]),
  ];
}

const tailUs = (subject: Subject): number =>
  (subject.half?.typical.classes[0]?.latencyNs.p99 ?? Number.NaN) / 1e3;

export const forwarder: Bench = async ({ samples = SEARCHES, progress }) => {
  const host = hostOf();
  // Everything but what is measured is on one processor, this process and all its children too.
  execFileSync('taskset', ['-apc', String(RIG_CPU.ends), String(process.pid)], { stdio: 'ignore' });
  const rig = await Rig.build();
  const subjects = new Subjects();
  try {
    const packets = await rig.through();
    for (let search = 1; search <= samples; search += 1) {
      progress(`search ${String(search)} of ${String(samples)}: ${BRIDGE}`);
      rig.bridge(true);
      await measure(subjects, BRIDGE, packets);
      rig.bridge(false);
      await rig.forward(SHIPPED);
      for (const level of LEVELS_DOWN) {
        progress(`search ${String(search)} of ${String(samples)}: ${levelName(level)}`);
        await rig.decide(level);
        await measure(subjects, levelName(level), packets);
      }
      await rig.decide(5);
      await rig.stop();
    }
    progress(POLLING);
    await rig.forward('polling');
    await measure(subjects, POLLING, packets);
    await rig.stop();
    progress(WIRE);
    const wire = await rig.wire();
    for (const size of FRAME_SIZES)
      subjects.of(WIRE, size).half = await latencyAt(
        wire,
        size,
        CLASSES,
        medianOf(subjects.of(levelName(5), size).rates) / 2,
      );
  } finally {
    rig.end();
  }
  const ratios: Record<string, number> = {};
  for (const size of FRAME_SIZES) {
    const bytes = `${String(size.named)} bytes`;
    const bridge = subjects.of(BRIDGE, size);
    const wire = tailUs(subjects.of(WIRE, size));
    for (const level of LEVELS_DOWN) {
      const own = subjects.of(levelName(level), size);
      ratios[`frames/s, level ${String(level)} / ${BRIDGE}, ${bytes}`] =
        medianOf(own.rates) / medianOf(bridge.rates);
      ratios[`p99 at half, level ${String(level)} / ${BRIDGE}, ${bytes}`] = tailUs(own) / tailUs(bridge);
    }
    ratios[`p99 at half, added to the wire's, ${BRIDGE}, ${bytes}, µs`] = tailUs(bridge) - wire;
    for (const level of LEVELS_DOWN)
      ratios[`p99 at half, added to the wire's, level ${String(level)}, ${bytes}, µs`] =
        tailUs(subjects.of(levelName(level), size)) - wire;
  }
  const goals: Goal[] = subjects.all.flatMap((subject) => {
    const { half } = subject;
    return half === undefined || !subject.name.startsWith(FORWARDER)
      ? []
      : [goalOf(`${subject.name}: frames lost at half`, 0, half.lost)];
  });
  return { bench: 'forwarder', host, rows: subjects.all.flatMap(rowsOf), ratios, goals };
};
