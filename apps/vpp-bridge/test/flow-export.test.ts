/**
 * Flows all the way out: written into the ring of a real segment, drained by the bridge that is shipped, collected
 * by nfcapd and read back by nfdump.
 */
import { type FlowReport, governanceClient } from '@kedge/bus';
import { decodeMessage, TemplateMemory } from '@kedge/ipfix';
import { bundledService } from '@kedge/lab';
import { monotonicNs } from '@kedge/shared-memory-ipc';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Place, until } from './actor.js';
import { flowBytes, type FlowSpec } from './flow-bytes.js';

const MAIN = bundledService('vpp-bridge');
const CLI = join(import.meta.dirname, '../../cli/bin/kedge.js');
const DEADLINE = { deadlineMs: 5_000 };
let place: Place;

beforeEach(() => {
  place = new Place();
});
afterEach(async () => {
  await place.remove();
});

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

/** A port that nobody has, below those that the kernel hands out by itself. */
async function freePort(): Promise<number> {
  for (let port = 20_000 + (process.pid % 10_000); ; port += 1) {
    const socket = createSocket('udp4');
    const bound = await new Promise<boolean>((resolve) => {
      socket.once('error', () => {
        resolve(false);
      });
      socket.bind(port, '127.0.0.1', () => {
        resolve(true);
      });
    });
    socket.close();
    if (bound) return port;
  }
}

/** Starts nfcapd; `stop` ends it, which closes its file, and gives the directory back. */
async function collector(): Promise<{ port: number; stop: () => Promise<string> }> {
  const directory = join(place.root, 'flows');
  mkdirSync(directory);
  const port = await freePort();
  const child = spawn(
    'nfcapd',
    ['-w', directory, '-b', '127.0.0.1', '-p', String(port), '-4', '-P', join(place.root, 'nfcapd.pid')],
    { stdio: 'ignore' },
  );
  place.atEnd(() => ended(child, 'SIGKILL'));
  const inode = `${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000`;
  await until('nfcapd listens', () => readFileSync('/proc/net/udp', 'utf8').includes(inode));
  return {
    port,
    stop: async () => {
      await ended(child, 'SIGTERM');
      return directory;
    },
  };
}

function bridge(over: object): ChildProcess {
  const config = join(place.root, 'bridge.json');
  writeFileSync(config, JSON.stringify({ ...place.config, ...over }));
  const child = spawn(process.execPath, [MAIN, '--config', config], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  place.atEnd(() => ended(child, 'SIGKILL'));
  return child;
}

async function serving(): Promise<void> {
  const asked = client();
  await until('the bridge serves', () =>
    asked.health({ deadlineMs: 1_000 }).then(
      (health) => health === 'SERVING',
      () => false,
    ),
  );
}

/** Watches flows until there are `count` of them. `started` resolves when the bridge knows of the watcher. */
function watch(count: number): { started: Promise<void>; flows: Promise<FlowReport[]> } {
  let begun: () => void = () => undefined;
  const started = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const collect = async (): Promise<FlowReport[]> => {
    const seen: FlowReport[] = [];
    for await (const { flows } of client().watchFlows({}, DEADLINE)) {
      begun();
      seen.push(...flows);
      if (seen.length >= count) break;
    }
    return seen;
  };
  return { started, flows: collect() };
}

function client() {
  const opened = governanceClient(join(place.root, 'sock/internal/governance.sock'));
  place.atEnd(() => {
    opened.close();
  });
  return opened;
}

/** What nfdump says about a directory, one array of columns for each flow. */
function nfdump(directory: string, ...columns: readonly string[]): string[][] {
  const format = `fmt:${columns.join(' | ')}`;
  const files = readdirSync(directory).filter((name) => name.startsWith('nfcapd.'));
  expect(files.length).toBeGreaterThanOrEqual(1);
  return execFileSync('nfdump', ['-R', directory, '-q', '-6', '-N', '-o', format], {
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC' },
  })
    .split('\n')
    .filter((line) => line.includes('|'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
}

const IP6 = (last: number): number[] => [0xfd, 0x77, ...Array.from({ length: 13 }, () => 0), last];

describe('flows leave the appliance', { timeout: 60_000 }, () => {
  it('DP-12 flows arrive at a real collector as IPFIX, with every field that it knows and the names that were seen', async () => {
    const { port, stop } = await collector();
    const child = bridge({ ipfix: { collectors: [{ host: '127.0.0.1', port }] } });
    const now = monotonicNs();
    const wallMs = Date.now();
    const [firstAtNs, lastAtNs] = [now - 5_000_000_000n, now - 2_000_000_000n];
    const flows: FlowSpec[] = [
      { firstAtNs, lastAtNs, application: 2, name: 'www.example.com' },
      {
        firstAtNs,
        lastAtNs,
        protocol: 17,
        destinationPort: 53,
        tcpFlags: 0,
        application: 1,
        name: 'mail.example.org',
        verdict: 2,
        dscp: 0,
        end: 4,
      },
      {
        firstAtNs,
        lastAtNs,
        family: 1,
        source: IP6(0x10),
        destination: IP6(0x20),
        packets: 5_000_000_000n,
        bytes: 7_000_000_000_000n,
        verdict: 1,
        end: 2,
        application: 4,
      },
      { firstAtNs, lastAtNs, protocol: 1, sourcePort: 0, destinationPort: (8 << 8) | 0, tcpFlags: 0, end: 3 },
    ];
    await serving();
    const { zones } = await client().show({}, DEADLINE);
    const zoneName = (id: number): string => zones.find((zone) => zone.id === id)?.name ?? '';
    const actor = await place.actor();
    await actor.tell('flow', 0, ...flows.map(flowBytes));
    // What is written before the bridge ends is taken by it, and everything that was sent is collected in order.
    await ended(child, 'SIGTERM');
    const directory = await stop();

    const rows = nfdump(
      directory,
      ...['%ts', '%te', '%pr', '%sa', '%sp', '%da', '%dp', '%pkt', '%byt', '%flg', '%stos', '%dtos'],
      ...['%in', '%out', '%end', '%inam', '%onam', '%nbnam'],
    );
    expect(rows).toHaveLength(flows.length);
    const from = [zoneName(2), zoneName(3)];
    expect(from.every((name) => name !== '')).toBe(true);
    for (const [startText = '', endText = ''] of rows) {
      const at = (text: string): number => Date.parse(`${text.replace(' ', 'T')}Z`);
      expect(Math.abs(at(startText) - (wallMs - 5_000))).toBeLessThan(1_000);
      expect(at(endText) - at(startText)).toBe(3_000);
    }
    expect(rows.map((row) => row.slice(2))).toEqual([
      [
        ...['6', '10.77.0.10', '40001', '10.77.1.20', '443', '12', '3456', '...AP.SF', '184', '184'],
        ...['2', '3', '1', ...from, 'tls/www.example.com'],
      ],
      // Deprioritised: it leaves with the DSCP of lower effort.
      [
        ...['17', '10.77.0.10', '40001', '10.77.1.20', '53', '12', '3456', '........', '0', '4'],
        ...['2', '3', '4', ...from, 'dns/mail.example.org'],
      ],
      // Dropped: it left by no interface.
      [
        ...[
          '6',
          'fd77::10',
          '40001',
          'fd77::20',
          '443',
          '5000000000',
          '7000000000000',
          '...AP.SF',
          '184',
          '184',
        ],
        ...['2', '0', '2', from[0], '', 'ssh/'],
      ],
      [
        ...['1', '10.77.0.10', '0', '10.77.1.20', '8.0', '12', '3456', '........', '184', '184'],
        ...['2', '3', '3', ...from, '<no info>'],
      ],
    ]);
  });

  it('DP-12 tells the posture and the epoch at which each flow was judged, the entry by its name, and starts with its templates', async () => {
    const socket = createSocket('udp4');
    const messages: Buffer[] = [];
    socket.on('message', (message) => messages.push(message));
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    place.atEnd(() => {
      socket.close();
    });
    const child = bridge({
      ipfix: {
        collectors: [{ host: '127.0.0.1', port: socket.address().port }],
        observationDomain: 4_000_000_000,
      },
    });
    await serving();
    const actor = await place.actor();
    await actor.tell('generation', 0, 1);
    // By the time at which a flow arrives the bridge has looked at which tables the worker uses.
    const probe = watch(1);
    await probe.started;
    const before = monotonicNs();
    await actor.tell('flow', 0, flowBytes({ firstAtNs: before, lastAtNs: before }));
    await probe.flows;
    const watched = watch(2);
    await watched.started;
    const now = monotonicNs();
    const later = monotonicNs();
    await actor.tell(
      'flow',
      0,
      flowBytes({ firstAtNs: now, lastAtNs: later, level: 2, epoch: 2n ** 48n - 1n, verdict: 1 }),
      flowBytes({ firstAtNs: now, lastAtNs: later, level: 4, epoch: 41n, entry: 0, reason: 1 }),
    );
    const [first, second] = await watched.flows;
    expect(first).toMatchObject({
      level: 2,
      epoch: 2n ** 48n - 1n,
      verdict: 'drop',
      reason: 'pair',
      entry: '',
    });
    expect(second).toMatchObject({ level: 4, epoch: 41n, verdict: 'pass', reason: 'entry' });
    expect(second?.entry).toMatch(/^[a-z]/);
    await until('they are exported', () => messages.length >= 3);
    await ended(child, 'SIGTERM');

    const templates = new TemplateMemory();
    const decoded = messages.map((message) => decodeMessage(message, templates));
    expect(decoded[0]).toMatchObject({
      observationDomain: 4_000_000_000,
      sequence: 0,
      records: [],
      unknown: [],
    });
    expect(templates.byId.size).toBe(6);
    const records = decoded.flatMap((message) => message?.records ?? []);
    const told = records.filter(({ options }) => !options).map(({ values }) => values);
    expect(told.slice(-2)).toMatchObject([
      { postureLevel: 2n, postureEpoch: 2n ** 48n - 1n, verdict: 1n, reason: 'pair', entry: '' },
      { postureLevel: 4n, postureEpoch: 41n, verdict: 3n, reason: 'entry', entry: second?.entry },
    ]);
  });

  it('DP-12 on request the command shows flows as they end, and sends them to a collector that nobody configured', async () => {
    const { port, stop } = await collector();
    bridge({});
    await serving();
    const actor = await place.actor();
    const run = (...parameters: readonly string[]) => {
      const child = spawn(
        process.execPath,
        [CLI, 'governance', 'flows', '--socket', place.config.sockets, ...parameters],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      place.atEnd(() => ended(child, 'SIGKILL'));
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
      return { output: () => output, gone: once(child, 'exit') };
    };
    const json = run('--json', '--count', '3', '--seconds', '60');
    const text = run('--count', '3', '--seconds', '60');
    const sent = run('--ipfix', `127.0.0.1:${String(port)}`, '--count', '3');
    // Whoever asks is told of what ends from then on: more ends until all three have enough.
    let done = false;
    const all = Promise.all([json.gone, text.gone, sent.gone]).finally(() => (done = true));
    await until('all have enough', async () => {
      const now = monotonicNs();
      const flow = {
        firstAtNs: now - 2_000_000_000n,
        lastAtNs: now,
        application: 3,
        name: 'intranet.example',
      };
      await actor.tell('flow', 0, flowBytes({ ...flow, epoch: 12n }));
      await new Promise((resolve) => setTimeout(resolve, 50));
      return done;
    });
    expect(await all).toEqual([
      [0, null],
      [0, null],
      [0, null],
    ]);
    const lines = json.output().trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      epoch: '12',
      level: 4,
      source: '10.77.0.10',
      name: 'intranet.example',
    });
    const [titles = '', row = ''] = text.output().split('\n');
    expect(titles.indexOf('verdict')).toBe(row.indexOf('pass'));
    expect(row).toContain('10.77.1.20:443');
    expect(row).toMatch(/http +intranet\.example$/);
    expect(sent.output()).toMatch(/^3 flows exported in \d+ messages\n$/);
    const rows = nfdump(await stop(), '%sa', '%pkt', '%nbnam');
    expect(rows).toEqual(Array.from({ length: 3 }, () => ['10.77.0.10', '12', 'http/intranet.example']));
  });

  it('DP-12 a collector that is not there holds up nothing and is an alarm', async () => {
    const port = await freePort();
    bridge({ ipfix: { collectors: [{ host: '127.0.0.1', port }], templateRefreshS: 1 } });
    await serving();
    await until('the alarm is shown', async () =>
      (await client().show({}, DEADLINE)).alarms.some((alarm) =>
        new RegExp(`IPFIX messages did not get to 127\\.0\\.0\\.1:${String(port)}, .* ECONNREFUSED`).test(
          alarm,
        ),
      ),
    );
    const watched = watch(1);
    await watched.started;
    const actor = await place.actor();
    const now = monotonicNs();
    await actor.tell('flow', 0, flowBytes({ firstAtNs: now, lastAtNs: now }));
    expect(await watched.flows).toHaveLength(1);
  });
});
