/**
 * The names of a lab's own traffic: what people see of them at the live view and at a real collector.
 * Must not send traffic of its own; the lab's conversations are what is seen.
 */
import { type Lab, labDown, labUp, NAMED, PATIENT_BUDGETS } from '@kedge/lab';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { kedge, kedgeJson } from './run-command.js';

const NAME = 'named';
const LAB = ['--lab', NAME];
const COMMAND = fileURLToPath(new URL('../../apps/cli/bin/kedge.js', import.meta.url));
/** A question is over when it was silent for 15 s. */
const SEEN_WITHIN = { timeout: 40_000, interval: 250 };
const { from, to } = NAMED;
/** Every host as it is asked for and as it is spoken with, both directions of each. */
const NAMES = NAMED.hosts
  .flatMap((host) => [`dns/${host}`, `tls/${host}`])
  .flatMap((name) => [`${name} ${from} → ${to}`, `${name} ${to} → ${from}`])
  .sort();

interface FlowJson {
  readonly level: number;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly fromZone: string;
  readonly toZone: string;
  readonly application: string;
  readonly name: string;
}
interface NameJson extends Pick<FlowJson, 'level' | 'fromZone' | 'toZone' | 'application' | 'name'> {
  readonly verdict: string;
}
interface TopJson {
  readonly names: { readonly value: { readonly latest: readonly NameJson[]; readonly lost: string } };
}

let lab: Lab;
let work: string;
let running: ChildProcess[] = [];

beforeAll(async () => {
  await labDown(NAME);
  work = mkdtempSync(join(tmpdir(), 'kedge-named-'));
  lab = await labUp({ name: NAME, budgets: PATIENT_BUDGETS, foreground: true });
}, 120_000);
afterEach(async () => {
  for (const child of running) await ended(child, 'SIGKILL');
  running = [];
});
afterAll(async () => {
  await lab.down();
  rmSync(work, { recursive: true, force: true });
});

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'close');
  child.kill(signal);
  await gone;
}

function start(program: string, args: readonly string[]): { child: ChildProcess; output: () => string } {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  running.push(child);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (output += part));
  return { child, output: () => output };
}

/** A port of the loopback interface that nobody has now. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

/** What the newest frame of a live view knows of names. */
function namesOf(output: string): readonly NameJson[] {
  const whole = output.slice(0, output.lastIndexOf('\n')).split('\n').at(-1) ?? '';
  return whole === '' ? [] : (JSON.parse(whole) as TopJson).names.value.latest;
}

const told = (names: readonly NameJson[]): readonly string[] =>
  names.map((seen) => `${seen.application}/${seen.name} ${seen.fromZone} → ${seen.toZone}`).sort();

describe('names in the traffic of a lab', { timeout: 90_000 }, () => {
  it('DP-10 are not looked for at level 5: the conversations are there, and say no name', async () => {
    const { status, out } = await kedge(['governance', 'flows', '--json', '--seconds', '5', ...LAB]);
    expect(status).toBe(0);
    const flows = out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as FlowJson);
    const spoken = flows.filter(
      ({ protocol, sourcePort, destinationPort }) =>
        protocol === 6 && [sourcePort, destinationPort].includes(NAMED.tlsPort),
    );
    expect(spoken.length).toBeGreaterThanOrEqual(2);
    for (const flow of flows) expect(flow).toMatchObject({ level: 5, application: '', name: '' });
  });

  it('DP-10 DP-12 at level 4 kedge top shows every host that was asked for and spoken with, and a collector of flows is told the same', async () => {
    const port = await freePort();
    const collector = start('nfcapd', ['-w', work, '-b', '127.0.0.1', '-p', String(port), '-4']).child;
    const inode = `${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000`;
    await expect.poll(() => readFileSync('/proc/net/udp', 'utf8').includes(inode), SEEN_WITHIN).toBe(true);
    const collected = start(process.execPath, [
      ...[COMMAND, 'governance', 'flows', '--ipfix', `127.0.0.1:${String(port)}`, ...LAB],
    ]);
    await kedgeJson(['posture', 'set', '4', '--reason', 'to see the names', '--wait', ...LAB]);
    const top = start(process.execPath, [COMMAND, 'top', '--json', ...LAB]);
    await expect.poll(() => told(namesOf(top.output())), SEEN_WITHIN).toEqual(NAMES);
    const seen = namesOf(top.output());
    await ended(top.child, 'SIGTERM');
    for (const name of seen) expect(name).toMatchObject({ level: 4, verdict: 'pass' });

    await ended(collected.child, 'SIGTERM');
    await ended(collector, 'SIGTERM');
    const rows = execFileSync(
      'nfdump',
      ['-R', work, '-q', '-6', '-N', '-o', 'fmt:%pr | %inam | %onam | %nbnam'],
      { encoding: 'utf8' },
    )
      .split('\n')
      .filter((line) => line.includes('|'))
      .map((line) => line.split('|').map((cell) => cell.trim()));
    // A question goes over UDP, what follows over TCP. Of what began at level 5 there is no name.
    const [dns, tls] = ['17', '6'];
    expect(
      [...new Set(rows.filter(([, , , name]) => name?.includes('.')).map((row) => row.join(' ')))].sort(),
    ).toEqual(
      NAMED.hosts
        .flatMap((host) => [[dns, `dns/${host}`] as const, [tls, `tls/${host}`] as const])
        .flatMap(([protocol, name]) => [
          `${protocol} ${from} ${to} ${name}`,
          `${protocol} ${to} ${from} ${name}`,
        ])
        .sort(),
    );
  });
});
