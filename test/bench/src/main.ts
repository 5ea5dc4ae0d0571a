/**
 * `npm run bench -- NAME [--json] [--samples N] [--quick] [--records N] [--keep FILE]`: runs one benchmark and prints its figures.
 * Must not know how any figure is taken.
 */
import { spawnSync } from 'node:child_process';

import { benches, type BenchOptions, nodeFlags } from './index.js';
import { textOf } from './figures.js';

const USAGE = `usage: npm run bench -- NAME [--json] [--samples N] [--quick] [--records N] [--keep FILE]

  NAME          ${Object.keys(benches).join(', ')}
  --json        one JSON object on stdout instead of a table
  --samples N   samples per row, 1 to 1000000 (each benchmark has its own default)
  --quick       less of everything where a benchmark knows how, for a look and not for figures
  --records N   ledger-query: of so many records, a multiple of 10000 up to 100000000; its goals are for 10000000
  --keep FILE   ledger-query: build the index in this file, or take it from there when it was built before

Exit status: 0 every goal met, 2 wrong usage, 6 a goal missed or a run invalid.
`;

function optionsOf(argv: readonly string[]): { name: string; json: boolean; options: BenchOptions } | string {
  let name: string | undefined;
  let json = false;
  let samples: number | undefined;
  let quick = false;
  let records: number | undefined;
  let keep: string | undefined;
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    if (word === '--json') json = true;
    else if (word === '--quick') quick = true;
    else if (word === '--samples') {
      samples = Number(argv[(i += 1)]);
      if (!Number.isInteger(samples) || samples < 1 || samples > 1e6)
        return '--samples: expected a whole number from 1 to 1000000';
    } else if (word === '--records') {
      records = Number(argv[(i += 1)]);
      if (!Number.isInteger(records / 10_000) || records < 10_000 || records > 1e8)
        return '--records: expected a multiple of 10000 from 10000 to 100000000';
    } else if (word === '--keep') {
      keep = argv[(i += 1)];
      if (keep === undefined || keep === '') return '--keep: expected the name of a file';
    } else if (word.startsWith('-')) return `${word}: no such option`;
    else if (name === undefined) name = word;
    else return `${word}: only one benchmark at a time`;
  }
  if (name === undefined) return 'NAME is missing';
  if (!(name in benches)) return `${name}: no such benchmark`;
  const given = { samples, records, keep };
  const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { name, json, options: { quick, ...said } };
}

const chosen = optionsOf(process.argv.slice(2));
if (typeof chosen === 'string') {
  process.stderr.write(`bench: ${chosen}\n\n${USAGE}`);
  process.exit(2);
}
const missing = (nodeFlags[chosen.name] ?? []).filter((flag) => !process.execArgv.includes(flag));
if (missing.length > 0) {
  const { status } = spawnSync(
    process.execPath,
    [...process.execArgv, ...missing, ...process.argv.slice(1)],
    {
      stdio: 'inherit',
    },
  );
  process.exit(status ?? 6);
}
const run = benches[chosen.name];
if (run === undefined) process.exit(2);
const report = await run({
  ...chosen.options,
  progress: (line) => {
    process.stderr.write(`${line}\n`);
  },
});
process.stdout.write(chosen.json ? `${JSON.stringify(report)}\n` : textOf(report));
process.exit(report.goals.every((g) => g.ok) && report.rows.every((r) => r.invalid === undefined) ? 0 : 6);
