/**
 * Runs the tests of the native addons on Node 24: `npm run test:node24`, after a build. Node comes from npm into a
 * temporary directory that is removed at the end; the addons are the ones that were built for this machine.
 * Must not change the project's dependencies, nor pass when it saw fewer test files than there are.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const PACKAGE = `node-linux-${process.arch}`;
const VERSION = '24.21.0';
/** What is tested: everything of the addons that runs in Node itself. */
const FILES = [
  'libs/ledger-store/src/frame-writer.test.ts',
  'libs/ledger-store/src/seals.test.ts',
  'libs/shared-memory-ipc/src/layout.test.ts',
  'libs/shared-memory-ipc/src/listener.test.ts',
  'libs/shared-memory-ipc/src/segment.test.ts',
  'libs/shared-memory-ipc/test/processes.test.ts',
  'libs/shared-memory-ipc/test/writer-lives.test.ts',
  'plugins/dataplane/src/governance.test.ts',
];
const EXIT = { usage: 2, unreachable: 4, failed: 6 };

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', timeout: 300_000, ...options });
  if (error !== undefined) process.stderr.write(`${command}: ${error.message}\n`);
  return status ?? -1;
}

function test(directory) {
  const install = [
    'install',
    '--prefix',
    directory,
    '--no-audit',
    '--no-fund',
    '--no-save',
    '--ignore-scripts',
  ];
  if (run('npm', [...install, `${PACKAGE}@${VERSION}`]) !== 0) {
    process.stderr.write(`cannot get ${PACKAGE}@${VERSION} from npm; is the registry reachable?\n`);
    return EXIT.unreachable;
  }
  const node = join(directory, 'node_modules', PACKAGE, 'bin/node');
  const report = join(directory, 'report.json');
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  if (run(node, ['--version']) !== 0) return EXIT.failed;
  if (run(node, [vitest, 'run', ...reporters, ...FILES], { cwd: ROOT }) !== 0) return EXIT.failed;
  const { testResults, numPassedTests, numTotalTests } = JSON.parse(readFileSync(report, 'utf8'));
  const seen = testResults.length;
  process.stdout.write(`Node ${VERSION}: ${seen} of ${FILES.length} files, ${numPassedTests} tests passed\n`);
  return seen === FILES.length && numPassedTests === numTotalTests ? 0 : EXIT.failed;
}

if (process.argv.length > 2) {
  process.stderr.write('usage: node24.mjs\n');
  process.exit(EXIT.usage);
}
const directory = mkdtempSync(join(tmpdir(), 'kedge-node24-'));
try {
  process.exitCode = test(directory);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
