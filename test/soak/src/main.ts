/**
 * The command of the soak: npm run soak -- --minutes N [--seed S] [--name LAB] [--json].
 * It must hold arguments and printing only.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

import { soak } from './soak.js';

/** As in docs/errors.md. */
const EXIT = { unexpected: 1, usage: 2, failed: 6 };
const USAGE = `usage: npm run soak -- --minutes N [--seed S] [--name LAB] [--json]
  Strikes a lab of its own at random for N minutes and judges it from outside; exit status 6 when it was ever wrong.
  The same seed is the same plan of acts: replay one with --seed.`;

function usage(why: string): never {
  process.stderr.write(`${why}\n${USAGE}\n`);
  process.exit(EXIT.usage);
}

function given(): { minutes: number; seed: number; name: string; json: boolean } {
  let values: { minutes?: string; seed?: string; name?: string; json?: boolean };
  try {
    ({ values } = parseArgs({
      options: {
        minutes: { type: 'string' },
        seed: { type: 'string' },
        name: { type: 'string' },
        json: { type: 'boolean' },
      },
    }));
  } catch (error) {
    usage(error instanceof Error ? error.message : String(error));
  }
  const minutes = Number(values.minutes ?? 'nothing');
  if (!(minutes > 0 && minutes <= 10_080))
    usage('--minutes: expected a number above 0, at most 10080 (a week)');
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32)
    usage('--seed: expected a whole number below 4294967296');
  return { minutes, seed, name: values.name ?? 'soak', json: values.json ?? false };
}

const options = given();
const say = options.json ? process.stderr : process.stdout;
const stopping = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    stopping.abort(new Error(`stopped by ${name}`));
  });
}
try {
  say.write(`soak: seed ${options.seed}, ${options.minutes} minutes, lab "${options.name}"\n`);
  const report = await soak({
    ...options,
    signal: stopping.signal,
    progress: (line) => say.write(`${line}\n`),
  });
  if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  const acts = Object.entries(report.acts).map(([act, count]) => `${count} ${act}`);
  const { orders, convergedMs } = report;
  say.write(
    `${[
      `acts      ${acts.join(', ')}`,
      `orders    ${orders.decision} decided, ${orders.refusal} refused, ${orders.waiting} waited, ${orders.lost} without an answer`,
      `epochs    ${report.transitions}`,
      `converged ${convergedMs.count} times, p50 ${convergedMs.p50} ms, longest ${convergedMs.max} ms`,
      report.ok
        ? 'ok: never looser than decided, no epoch twice, converged every time'
        : `${report.violations.length} VIOLATIONS; again with: npm run soak -- --minutes ${options.minutes} --seed ${report.seed}`,
    ].join('\n')}\n`,
  );
  process.exitCode = report.ok ? 0 : EXIT.failed;
} catch (error) {
  process.stderr.write(`soak: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = EXIT.unexpected;
}
