/**
 * `kedge top` as a person meets it: at a terminal, at the end of a pipe, with services that are old, hostile or away.
 * Must not need a lab; what a lab shows is in command-line-lab.test.ts.
 */
import {
  type FlowBatch,
  type FlowReport,
  type GovernanceApi,
  governanceService,
  type PostureState,
  postureService,
  provide,
  serveUnix,
  type ShowReply,
  type UnixServer,
} from '@kedge/bus';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { type AtTerminal, atTerminal, type Screen, screenOf } from './pseudo-terminal.js';
import { kedge, kedgeError } from './run-command.js';

const USUAL = { columns: 80, rows: 24 };
const HOSTILE = '\u001b[2J\u001b]0;a\u0007\u009b1mevil.example';

interface TopJson {
  readonly posture: { readonly seen: boolean; readonly code?: string };
  readonly dataplane: { readonly seen: boolean; readonly value?: { readonly received?: number } };
  readonly names: { readonly seen: boolean; readonly code?: string };
}

const state: PostureState = {
  epoch: 7n,
  level: 4,
  target: 4,
  failClosed: [],
  services: [],
  atNs: 1n,
  alarms: [],
  disagreements: [],
  violations: [],
};
const show = (received: bigint): ShowReply => ({
  generation: 1n,
  builtAtNs: 1n,
  accordsHash: Buffer.alloc(32),
  levels: [{ level: 4, valid: true, entries: 1, shapesIp4: 1, shapesIp6: 1, classify: true }],
  dataplanes: [
    {
      name: 'reference',
      alive: true,
      safeLevel: 0,
      telemetryGaps: 0n,
      flowGaps: 0n,
      workers: [
        {
          index: 0,
          epoch: 7n,
          level: 4,
          generation: 1n,
          received,
          sent: received,
          dropped: 0n,
          deprioritised: 0n,
          reasons: {},
          applications: {},
          queues: {},
          pairs: [],
          flows: { live: 0n, begun: 0n, evicted: 0n, written: 0n },
        },
      ],
    },
  ],
  zones: [],
  waiting: '',
  alarms: [],
});
const hostileFlow: FlowReport = {
  dataplane: 'reference',
  worker: 0,
  firstAtNs: 1n,
  lastAtNs: 2n,
  packets: 1n,
  bytes: 1n,
  epoch: 7n,
  level: 4,
  source: '10.77.0.50',
  destination: '10.77.0.30',
  sourcePort: 1,
  destinationPort: 443,
  protocol: 6,
  fromZone: 'guest',
  toZone: 'servers',
  verdict: 'drop',
  reason: 'pair',
  entry: '',
  application: 'tls',
  name: HOSTILE,
  end: 'idle',
  tcpFlags: 0,
  dscp: 0,
};

let directory: string;
/** How often a bridge was asked to show. */
let looks: number;
let servers: UnixServer[];
let running: AtTerminal[];

async function serveCoordinator(): Promise<UnixServer> {
  const unasked = (): never => {
    throw new Error('nobody asks for this');
  };
  const server = await serveUnix({
    path: join(directory, 'local/site_owner/posture.sock'),
    services: [
      provide(postureService, {
        get: () => state,
        set: unasked,
        reloadAccords: unasked,
        reloadPolicies: unasked,
        watch: unasked,
        history: unasked,
        transition: unasked,
      }),
    ],
  });
  servers.push(server);
  return server;
}

/** A bridge whose workers receive 1,000 packets with every look at them; an older one has no flow records. */
async function serveBridge({ older = false } = {}): Promise<void> {
  const watchFlows = async function* (_request: unknown, { signal }: { signal: AbortSignal }) {
    const batch: FlowBatch = { flows: [hostileFlow], lost: 0n };
    yield batch;
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve, { once: true });
    });
  };
  const { name, methods, codec, maxRequestBytes } = governanceService;
  servers.push(
    await serveUnix({
      path: join(directory, 'internal/governance.sock'),
      services: [
        provide<GovernanceApi>(
          {
            name,
            codec,
            maxRequestBytes,
            methods: methods.filter((method) => !older || method.name !== 'watchFlows'),
          },
          {
            show: () => show(BigInt((looks += 1)) * 1_000n),
            plan: () => ({ from: 4, to: 5, windowS: 10, rows: [] }),
            watchFlows,
          },
        ),
      ],
    }),
  );
}

function top(...args: readonly string[]): Promise<readonly TopJson[]> {
  return kedge(['top', '--json', '--interval', '0.2', '--socket', directory, ...args]).then(
    ({ status, out, err }) => {
      expect({ status, err }).toEqual({ status: 0, err: '' });
      return out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as TopJson);
    },
  );
}

function atScreen(
  args: readonly string[] = [],
  size = USUAL,
  more: Parameters<typeof atTerminal>[2] = {},
): AtTerminal & { readonly screen: () => Screen } {
  const at = atTerminal(['top', '--interval', '0.2', '--socket', directory, ...args], size, more);
  running.push(at);
  return { ...at, screen: () => screenOf(at.output(), size) };
}
const until = (holds: () => void): Promise<void> => vi.waitFor(holds, { timeout: 20_000, interval: 20 });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-top-'));
  for (const each of ['local/site_owner', 'internal'])
    mkdirSync(join(directory, each), { recursive: true, mode: 0o700 });
  [servers, running, looks] = [[], [], 0];
});
afterEach(async () => {
  for (const { pid } of running) {
    try {
      process.kill(pid(), 'SIGKILL');
    } catch {
      // It has ended, as it should.
    }
  }
  for (const server of servers) await server.close(0);
  rmSync(directory, { recursive: true, force: true });
});

describe('the live view', () => {
  it('says of an older bridge that it has no flow records, and shows all the rest', async () => {
    await serveCoordinator();
    await serveBridge({ older: true });
    const [, last] = await top('--count', '2');
    expect(last?.names).toMatchObject({ seen: false, code: 'BUS_UNIMPLEMENTED' });
    expect(last?.dataplane.value?.received).toBeGreaterThan(0);
  });

  it('goes on while a service is away, and sees it when it is back', async () => {
    const coordinator = await serveCoordinator();
    await serveBridge();
    const at = atScreen();
    await until(() => {
      expect(at.screen().lines[1]).toBe('level 4 watch  epoch 7');
    });
    await coordinator.close(0);
    await until(() => {
      expect(at.screen().lines[1]).toMatch(/^the posture coordinator does not answer: /);
    });
    expect(at.screen().lines.join('\n')).toMatch(/^in \d/m);
    await serveCoordinator();
    await until(() => {
      expect(at.screen().lines[1]).toBe('level 4 watch  epoch 7');
    });
    at.type('q');
    expect(await at.ended).toBe(0);
  });

  it('ends with 4 when nobody answers at the start', async () => {
    const error = await kedgeError(['top', '--socket', directory]);
    expect(error).toMatchObject({ code: 'BUS_UNREACHABLE', status: 4 });
  });

  it('lets nothing of a name reach the terminal that it would obey', async () => {
    await serveCoordinator();
    await serveBridge();
    const at = atScreen();
    // Any sequence but the view's own makes the screen throw.
    await until(() => {
      expect(at.screen().lines.join('\n')).toContain('drop tls  ?[2J?]0;a??1mevil.example');
    });
    expect(at.screen()).toMatchObject({ beyond: [], coloured: true, givenBack: false });
    at.type('q');
    expect(await at.ended).toBe(0);
    const { out } = await kedge(['top', '--count', '1', '--socket', directory]);
    expect(out).toMatch(/^[\n\x20-\x7e→…µ│]*$/);
  });

  it('holds the screen with p and sorts with s', async () => {
    await serveCoordinator();
    await serveBridge();
    const at = atScreen();
    await until(() => {
      expect(at.screen().lines[0]).toContain('by packets');
    });
    at.type('s');
    await until(() => {
      expect(at.screen().lines[0]).toContain('by drops');
    });
    at.type('p');
    await until(() => {
      expect(at.screen().lines[0]).toContain('PAUSED');
    });
    const [held, seen] = [at.screen().lines, looks];
    await until(() => {
      expect(looks).toBeGreaterThan(seen + 3);
    });
    expect(at.screen().lines).toEqual(held);
    at.type('p');
    await until(() => {
      expect(at.screen().lines[0]).not.toContain('PAUSED');
    });
    at.type('\u0003');
    expect(await at.ended).toBe(0);
    expect(at.screen().givenBack).toBe(true);
  });

  it('gives the terminal back on SIGTERM, on SIGHUP, and when it fails itself', async () => {
    await serveCoordinator();
    await serveBridge();
    for (const name of ['SIGTERM', 'SIGHUP'] as const) {
      const at = atScreen();
      await until(() => {
        expect(at.screen().lines.length).toBeGreaterThan(5);
      });
      process.kill(at.pid(), name);
      expect([name, await at.ended]).toEqual([name, 0]);
      expect(at.screen().givenBack).toBe(true);
    }
    const fault = encodeURIComponent('setTimeout(() => { throw new Error("planted") }, 1_500)');
    const at = atScreen([], USUAL, { env: { NODE_OPTIONS: `--import=data:text/javascript,${fault}` } });
    expect(await at.ended).toBe(1);
    // What is said of it comes on the screen that was given back.
    const [view = '', said] = at.output().split('\u001b[?1049l');
    expect(screenOf(`${view}\u001b[?1049l`, USUAL)).toMatchObject({ givenBack: true });
    expect(said).toContain('planted');
  });

  it('fits the terminal again when that has another size', async () => {
    await serveCoordinator();
    await serveBridge();
    const narrow = { columns: 50, rows: 12 };
    const at = atScreen([], USUAL, {
      aside: `while [ ! -e '${directory}/narrow' ]; do sleep 0.1; done; stty cols 50 rows 12 < /dev/tty`,
    });
    await until(() => {
      expect(at.screen().lines[0]).toMatch(/Z$/);
    });
    mkdirSync(join(directory, 'narrow'));
    await until(() => {
      const screen = screenOf(at.output(), narrow);
      expect(screen.beyond).toEqual([]);
      expect(screen.lines.length).toBeGreaterThan(5);
    });
    at.type('q');
    expect(await at.ended).toBe(0);
  });

  it('has neither colour nor a screen of its own where none is wanted', async () => {
    await serveCoordinator();
    await serveBridge();
    const plain = atScreen(['--count', '1', '--ascii'], USUAL, { env: { NO_COLOR: '1' } });
    expect(await plain.ended).toBe(0);
    expect(plain.screen()).toMatchObject({ coloured: false, givenBack: true });
    expect(plain.screen().lines.join('')).toMatch(/^[\x20-\x7e]*$/);
    const dumb = atScreen(['--count', '1'], USUAL, { env: { TERM: 'dumb' } });
    expect(await dumb.ended).toBe(0);
    expect(dumb.output()).toMatch(/^[\r\n\x20-\x7e]*$/);
    expect(dumb.output()).toContain('level 4 watch  epoch 7');
  });
});
