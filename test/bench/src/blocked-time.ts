/**
 * What a change of level costs the traffic that it does not concern: the forwarder carries half of what it can while
 * the level changes all the time. Reported as effective blocked time, as FD.io CSIT does for reconfigurations: frames
 * lost over the rate offered. Must not take a figure of a class where a level drops it.
 */
import { execFileSync } from 'node:child_process';
import { type Level } from '@kedge/units';

import type { Bench } from './bench.js';
import { unexplainedLosses } from './blocked.js';
import { capacityOf, FRAME_SIZES, LATE_US } from './capacity.js';
import { countRow, floorOf, goalOf, hostOf, rowOf, type Goal, type Row, summaryRow } from './figures.js';
import { type ClassAccount, type Stall, whyInvalid } from './packets.js';
import { allowedAt, RIG_CLASSES, type RigClass } from './rig-rules.js';
import { type Decided, Rig, RIG_CPU } from './rig.js';
import { stolenNs } from './steal.js';

const TRANSITIONS = 10_000;
/** From an acknowledgement to the next decision. */
const PAUSE_MS = 4;
/** More than half, so that what is forgiven does not make it less. */
const OFFERED_SHARE = 0.6;
const JOB_MS = 900_000;
/** From a frame's judgement to its coming: the batch that it leaves with. */
const SLACK_NS = 100_000;

/** Of every frame: a mixture in which each class is heard often enough to miss a single one. */
const MIXTURE: readonly (readonly [RigClass, number])[] = [
  ['management', 2],
  ['critical', 2],
  ['ordinary', 2],
  ['bulk', 2],
];
const CLASSES = MIXTURE.map(([name, share]) => ({ port: RIG_CLASSES[name].port, share }));

/** Every level after every other once, and back to the first: five is prime, so each step width closes its circle. */
export function* levelsInTurn(): Generator<Level, never> {
  let at = 4;
  for (;;)
    for (let step = 1; step < 5; step += 1)
      for (let i = 0; i < 5; i += 1) {
        at = (at + step) % 5;
        yield (at + 1) as Level;
      }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Figures {
  readonly rows: readonly Row[];
  readonly goals: readonly Goal[];
}

function figuresOf(
  name: RigClass,
  account: ClassAccount,
  decided: readonly Decided[],
  stalls: readonly Stall[],
  seconds: number,
  more: { readonly invalid?: string },
): Figures {
  const allows = (level: Level): boolean => allowedAt(name, level);
  const rate = account.sent / seconds;
  const lost = unexplainedLosses(decided, account.gaps, allows, SLACK_NS, stalls);
  const concerned = decided.flatMap((d, i) => (allows(d.from) && allows(d.to) ? [lost[i] ?? 0] : []));
  const sumOf = (frames: readonly number[]): number => frames.reduce((sum, n) => sum + n, 0);
  const total = sumOf(concerned);
  return {
    rows: [
      countRow(`${name}: offered`, account.sent, more),
      countRow(`${name}: lost, where both levels allow it`, total, more),
      // By the edges of what a level drops: what came late of other classes blurs them, and nothing is held to it.
      countRow(`${name}: lost beside a level that drops it`, sumOf(lost) - total, more),
      countRow(`${name}: reordered`, account.reordered, more),
      rowOf(
        `${name}: blocked per transition`,
        concerned.map((n) => (n / rate) * 1e9),
        'us',
        more,
      ),
      summaryRow(`${name}: latency`, account.received, account.latencyNs, 'us', more),
    ],
    goals: [
      goalOf(`${name}: frames lost, where both levels allow it`, 0, total),
      goalOf(`${name}: frames reordered or twice`, 0, account.reordered + account.duplicates),
    ],
  };
}

export const blockedTime: Bench = async ({ samples = TRANSITIONS, progress }) => {
  const host = hostOf();
  // Everything but what is measured is on one processor, this process and all its children too.
  execFileSync('taskset', ['-apc', String(RIG_CPU.ends), String(process.pid)], { stdio: 'ignore' });
  const rig = await Rig.build();
  try {
    await rig.forward('realtime');
    const packets = await rig.through();
    const size = FRAME_SIZES[0];
    progress('what the forwarder carries of the mixture at level 5');
    const capacity = await capacityOf(packets, size, CLASSES);
    const rate = Math.ceil(capacity.rate * OFFERED_SHARE);
    progress(
      `${String(samples)} transitions at ${String(rate)} of ${String(Math.round(capacity.rate))} frames/s`,
    );
    // Of the classes the first is allowed at every level.
    const job = { size: size.bytes, rate, ms: JOB_MS, classes: CLASSES, clock: 0, lateUs: LATE_US };
    await packets.begin(job);
    const stolen = stolenNs();
    const before = stolen();
    const decided: Decided[] = [];
    const levels = levelsInTurn();
    for (let i = 0; i < samples; i += 1) {
      await pause(PAUSE_MS);
      decided.push(await rig.decide(levels.next().value));
    }
    await pause(PAUSE_MS);
    const stolenMs = Number(stolen() - before) / 1e6;
    const report = await packets.finish();
    const invalid = whyInvalid(report);
    const more = invalid === undefined ? {} : { invalid };
    const seconds = (report.endedNs - report.startedNs) / 1e9;
    const figures = MIXTURE.map(([name], i) => {
      const account = report.classes[i];
      if (account === undefined) throw new Error(`bench: class ${name} was not counted`);
      return figuresOf(name, account, decided, report.stalls, seconds, more);
    });
    const share = report.sent / seconds / capacity.rate;
    return {
      bench: 'blocked-time',
      host,
      rows: [
        rowOf(
          'decided → acknowledged under load',
          decided.map((d) => d.acknowledgedNs - d.decidedNs),
          'us',
          more,
        ),
        ...figures.flatMap((f) => f.rows),
      ],
      ratios: {
        'frames/s that the forwarder carries of the mixture': capacity.rate,
        'frames/s offered while levels change': report.sent / seconds,
        'offered / carried': share,
        'transitions/s': decided.length / seconds,
        'ms that the host took from both processors meanwhile': stolenMs,
      },
      goals: [
        floorOf('share of what it carries that was offered', 0.5, share),
        ...figures.flatMap((f) => f.goals),
      ],
    };
  } finally {
    rig.end();
  }
};
