/**
 * What a verdict costs on one core, parsing included, for short and long allowlists, beside nftables sets of the
 * same entries in a namespace that forwards the same flows; and what looking deeper at level 4 costs.
 * Must not judge correctness beyond counting.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Bench } from './bench.js';
import { floorOf, goalOf, hostOf, percentile, rateRowOf, rowOf, type Goal, type Row } from './figures.js';
import { nftForwarding } from './nft-forwarding.js';

const PROGRAM = fileURLToPath(new URL('../build/classifier', import.meta.url));
const ROUNDS = 60;
const CPU = 1;
const MIN_VERDICTS_PER_S = 10_000_000;
const SHORT = 32;
const LONG = 4_096;
const MORE_NS = 15;
const MORE_SHARE = 0.2;
/** Level 4 looks into every conversation until it knows what is spoken, or gives up. */
const DEEP_NS = 150;

/** As native/classifier.c prints it. `plain`: without zones and VLAN tags, as the peer is given it. */
interface Run {
  readonly entries: number;
  readonly shapes: number;
  readonly plain: boolean;
  readonly probes: number;
  readonly picoseconds: readonly number[];
}

/** So many conversations at a time, in a table of 16,384 places. */
interface FollowRun {
  readonly conversations: number;
  readonly deeper: boolean;
  readonly picoseconds: readonly number[];
}

const tenths = (value: number): number => Math.round(value * 10) / 10;
const nanosecondsOf = (run: Run | FollowRun): readonly number[] => run.picoseconds.map((ps) => ps / 1_000);
const medianOf = (samples: readonly number[]): number =>
  percentile(
    [...samples].sort((a, b) => a - b),
    0.5,
  );

/** Median cost per packet, nanoseconds; NaN where there was no such run. */
function costOf(runs: readonly Run[], entries: number, shapes: number, plain = false): number {
  const run = runs.find((r) => r.entries === entries && r.shapes === shapes && r.plain === plain);
  return run === undefined ? Number.NaN : medianOf(nanosecondsOf(run));
}

function nameOf({ entries, shapes, plain }: Run): string {
  const kinds = shapes === 1 ? '1 shape' : `${String(shapes)} shapes`;
  return `${String(entries)} entries, ${kinds} per family${plain ? ', no zones' : ''}`;
}

const followName = ({ conversations, deeper }: FollowRun): string =>
  `follow${deeper ? ' and look deeper, level 4' : ', level 5'}: ${String(conversations)} conversations`;

export const classifier: Bench = async ({ samples = ROUNDS, progress }) => {
  const host = hostOf();
  progress('Kedge: 65,536 flows per sample, half of them strangers; 65,536 packets of conversations');
  const printed = JSON.parse(
    execFileSync(PROGRAM, ['--cpu', String(CPU), '--rounds', String(samples)], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    }),
  ) as readonly (Run | FollowRun)[];
  const runs = printed.filter((run) => 'entries' in run);
  const followed = printed.filter((run) => 'conversations' in run);
  const plain = runs.find((r) => r.plain);
  if (plain === undefined) throw new Error('bench: the classifier measured nothing that its peer can do');

  progress('nftables: the same allowlist as sets, the same flows through a namespace that forwards');
  const peer = await nftForwarding({ entries: plain.entries, shapes: plain.shapes, cpu: CPU, progress });
  const bare = medianOf(peer.bare);
  const ruled = medianOf(peer.ruled);
  const cost = costOf(runs, plain.entries, plain.shapes, true);

  // One row per thing that a packet can be asked.
  const rows: Row[] = runs.flatMap((run) => [
    rowOf(`parse and judge: ${nameOf(run)}`, nanosecondsOf(run), 'ns'),
    rateRowOf(`verdicts of one core: ${nameOf(run)}`, nanosecondsOf(run)),
  ]);
  rows.push(
    ...followed.map((run) => rowOf(followName(run), nanosecondsOf(run), 'ns')),
    rowOf('kernel forwards, no rules', peer.bare, 'ns'),
    rateRowOf('kernel forwards, no rules', peer.bare),
    rowOf(`kernel forwards, nftables: ${nameOf(plain)}`, peer.ruled, 'ns'),
    rateRowOf(`kernel forwards, nftables: ${nameOf(plain)}`, peer.ruled),
  );

  const goals: Goal[] = runs
    .filter((run) => run.entries <= SHORT)
    .map((run) =>
      floorOf(
        `verdicts/s of one core, ${nameOf(run)}`,
        MIN_VERDICTS_PER_S,
        Math.round(1e9 / medianOf(nanosecondsOf(run))),
      ),
    );
  for (const run of followed.filter(({ deeper }) => deeper))
    goals.push(goalOf(`${followName(run)}, ns`, DEEP_NS, tenths(medianOf(nanosecondsOf(run)))));
  for (const [short, shapes] of [
    [16, 1],
    [SHORT, 16],
  ] as const) {
    const few = costOf(runs, short, shapes);
    goals.push(
      goalOf(
        `what ${String(LONG)} entries cost more than ${String(short)}, shapes per family ${String(shapes)}, ns`,
        tenths(Math.max(MORE_NS, few * MORE_SHARE)),
        tenths(costOf(runs, LONG, shapes) - few),
      ),
    );
  }
  return {
    bench: 'classifier',
    host,
    rows,
    ratios: {
      'nftables, ns more per packet than without rules': ruled - bare,
      'Kedge, ns per packet with parsing, same entries': cost,
      'nftables / Kedge': (ruled - bare) / cost,
      'forwarding rate with nftables / without rules': bare / ruled,
    },
    goals,
  };
};
