import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { writerLives } from '../src/index.js';

const dist = fileURLToPath(new URL('../dist/index.js', import.meta.url));
const source = fileURLToPath(new URL('./first-thread-ends.c', import.meta.url));

/** Fields of /proc/PID/stat from the third on. */
function fieldsOf(pid: number): string[] {
  return (readFileSync(`/proc/${pid.toString()}/stat`, 'latin1').split(') ')[1] ?? '').split(' ');
}

it('DP-2 a process lives until it is gone, also when it is stopped; another one of its id is not it', async () => {
  const child = spawn('sleep', ['1000']);
  const writerPid = child.pid ?? 0;
  const writerStart = BigInt(fieldsOf(writerPid)[19] ?? '0');
  try {
    expect(writerLives({ writerPid, writerStart })).toBe(true);
    expect(writerLives({ writerPid, writerStart: writerStart + 1n })).toBe(false);
    child.kill('SIGSTOP');
    expect(writerLives({ writerPid, writerStart })).toBe(true);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  expect(writerLives({ writerPid, writerStart })).toBe(false);
});

it('DP-2 a process whose first thread has ended lives while another runs', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-lives-'));
  const program = join(directory, 'first-thread-ends');
  try {
    execFileSync('gcc', ['-pthread', '-o', program, source]);
    const child = spawn(program);
    const writerPid = child.pid ?? 0;
    try {
      await expect.poll(() => fieldsOf(writerPid)[0]).toBe('Z');
      expect(writerLives({ writerPid, writerStart: BigInt(fieldsOf(writerPid)[19] ?? '0') })).toBe(true);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it('DP-2 a process that /proc hides from others counts as living', () => {
  const script = `import(${JSON.stringify(dist)}).then(({ writerLives }) => {
    process.setgroups([]), process.setgid(65534), process.setuid(65534);
    const lives = (writerPid) => writerLives({ writerPid, writerStart: 1n });
    console.log(require('fs').existsSync('/proc/' + process.argv[1]), lives(Number(process.argv[1])), lives(4194303));
  });`;
  const said = execFileSync(
    'unshare',
    [
      ...['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c'],
      'mount -t proc -o hidepid=2 none /proc || exit 1; sleep 1000 & "$1" -e "$2" "$!"; kill "$!"',
      ...['sh', process.execPath, script],
    ],
    { encoding: 'utf8' },
  );
  expect(said).toBe('false true false\n');
});
