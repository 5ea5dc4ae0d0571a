/**
 * PO-2 accords of the intent over real processes: committed at the intent, brought into force by the coordinator, taken
 * back with the revision that brought them, also over kill -9 between question and answer.
 * Must not leave a process or a file.
 */
import { type Client, intentClient, type IntentClient, postureClient, type PostureApi } from '@kedge/bus';
import { bundledService } from '@kedge/lab';
import { createSegment, layout, type SegmentWriter } from '@kedge/shared-memory-ipc';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { CALL, TIERS } from './stage.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const COORDINATOR = bundledService('posture-coordinator');
const INTENT = join(import.meta.dirname, 'serve-any.mjs');
const ADA = { principal: 'user:ada' };

interface Level {
  number: number;
  arp?: boolean;
  'default-verdict': string;
}

/** Waits until something is so, at most a minute: three processes start for each test. */
async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  more: () => string,
): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}; ${more()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The shipped accords and zones as a document of intent, with every level changed. */
function siteOf(change: (level: Level) => void): string {
  const read = (name: string) => JSON.parse(readFileSync(join(root, `yang/defaults/${name}.json`), 'utf8'));
  const accords = read('accords') as { 'kedge-accords:accords': { level: Level[] } };
  for (const level of accords['kedge-accords:accords'].level) change(level);
  return JSON.stringify({ ...read('zones'), ...accords });
}

const tight = siteOf((level) => {
  delete level.arp;
});

/**
 * The way from the intent to the coordinator, which keeps answers back once accords have gone by.
 */
class Way {
  #server: Server | undefined;
  /** From the next accords on nothing comes back. */
  silent = false;
  #isSilent = false;

  constructor(
    readonly path: string,
    readonly to: string,
  ) {}

  async open(): Promise<void> {
    const server = createServer((near) => {
      const far = connect(this.to);
      near.on('data', (bytes: Buffer) => {
        if (this.silent && bytes.includes('kedge-accords:accords')) this.#isSilent = true;
        far.write(bytes);
      });
      far.on('data', (bytes: Buffer) => {
        if (!this.#isSilent) near.write(bytes);
      });
      const end = (one: Socket, other: Socket): void => {
        one.on('close', () => other.destroy());
        one.on('error', () => other.destroy());
      };
      end(near, far);
      end(far, near);
    });
    this.#server = server;
    server.listen(this.path);
    await once(server, 'listening');
  }

  speak(): void {
    this.silent = false;
    this.#isSilent = false;
  }

  close(): void {
    this.#server?.close();
  }
}

/** Board, sockets, a warden that beats, a coordinator and an intent beside each other. */
class Site {
  readonly root = mkdtempSync(join(tmpdir(), 'kedge-accords-'));
  readonly sockets = join(this.root, 'sock');
  readonly #children: ChildProcess[] = [];
  #posture: Client<PostureApi> | undefined;
  readonly #intents = new Map<string, IntentClient>();
  readonly #warden: SegmentWriter;
  readonly way: Way;
  output = '';

  constructor() {
    chmodSync(this.root, 0o755);
    const ways = ['console', ...TIERS.map((tier) => `local/${tier}`)];
    for (const name of [
      ...['board', 'state', 'state/coordinator', 'sock', 'sock/internal', 'sock/local', 'sock/to/intent'],
      ...ways.flatMap((way) => [`sock/${way}`, `sock/${way}/intent`]),
    ]) {
      mkdirSync(join(this.root, name), { recursive: true, mode: 0o755 });
    }
    this.#warden = createSegment({ directory: join(this.root, 'board'), name: 'warden', kind: 'warden' });
    this.#warden.store64(layout.warden.staleNs, 3_600_000_000_000n);
    this.#warden.beat(true);
    this.way = new Way(join(this.sockets, 'way'), join(this.sockets, 'to/intent/posture.sock'));
  }

  #start(program: string, config: object): ChildProcess {
    const path = join(this.root, `config-${String(Math.random()).slice(2)}.json`);
    writeFileSync(path, JSON.stringify(config));
    const child = spawn(process.execPath, [program, '--config', path], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.#children.push(child);
    return child;
  }

  async startCoordinator(): Promise<ChildProcess> {
    const owner = process.getuid?.() ?? 0;
    const child = this.#start(COORDINATOR, {
      appliance: 'box-7',
      board: { directory: join(this.root, 'board'), owners: { warden: owner } },
      sockets: this.sockets,
      state: join(this.root, 'state/coordinator'),
      accords: join(root, 'yang/defaults/accords.json'),
      zones: join(root, 'yang/defaults/zones.json'),
      accordsInForce: join(this.root, 'state/accords'),
      intentSocket: join(this.sockets, 'to/intent/posture.sock'),
      provisioningLevel: 5,
      verifyMs: 600,
    });
    await this.#serves('the coordinator', () => this.posture().health({ deadlineMs: 1_000 }));
    return child;
  }

  async startIntent(): Promise<ChildProcess> {
    const owner = process.getuid?.() ?? 0;
    const child = this.#start(INTENT, {
      appliance: 'box-7',
      board: { directory: join(this.root, 'board'), owners: { posture: owner, warden: owner } },
      sockets: this.sockets,
      state: join(this.root, 'state/intent'),
      accords: { socket: this.way.path, inForce: join(this.root, 'state/accords') },
    });
    await this.#serves('the intent', () => this.intent('local/site_owner').health({ deadlineMs: 1_000 }));
    return child;
  }

  async #serves(what: string, health: () => Promise<string>): Promise<void> {
    await until(
      `${what} serves`,
      async () => (await health().catch(() => '')) === 'SERVING',
      () => this.output,
    );
  }

  posture(): Client<PostureApi> {
    return (this.#posture ??= postureClient(join(this.sockets, 'local/site_owner/posture.sock')));
  }

  intent(way: string): IntentClient {
    const known = this.#intents.get(way) ?? intentClient(join(this.sockets, way, 'intent/intent.sock'));
    this.#intents.set(way, known);
    return known;
  }

  async kill(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  async remove(): Promise<void> {
    this.#posture?.close();
    for (const client of this.#intents.values()) client.close();
    for (const child of this.#children) await this.kill(child);
    this.way.close();
    this.#warden.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

let site: Site;
let posture: Client<PostureApi>;
let coordinator: ChildProcess;
let intent: ChildProcess;
beforeEach(async () => {
  site = new Site();
  coordinator = await site.startCoordinator();
  await site.way.open();
  intent = await site.startIntent();
  posture = site.posture();
}, 120_000);
afterEach(async () => {
  await site.remove();
});

const inForce = async (): Promise<string> => (await posture.get({}, CALL)).accordsHash ?? '';
const alarms = async (): Promise<string> => (await site.intent('console').status({}, CALL)).alarms.join('; ');

async function commit(way: string, document: string, confirmSeconds = 0): Promise<void> {
  const client = site.intent(way);
  await client.load({ ...ADA, document }, CALL);
  expect(
    await client.commit({ ...ADA, comment: 'a test', confirmSeconds, ifRevision: 0 }, CALL),
  ).toMatchObject({ outcome: 'committed' });
}

const comes = (what: string, hash: () => boolean | Promise<boolean>): Promise<void> =>
  until(what, hash, () => site.output);

describe('accords of the intent over real processes', { timeout: 300_000 }, () => {
  it('PO-2 come into force for whoever committed them, stay over kill -9 of both, and go with the intent that has none', async () => {
    const before = await inForce();
    expect(before).toMatch(/^[0-9a-f]{64}$/);
    await commit('local/journeyman', tight);
    await comes('they are in force', async () => (await inForce()) !== before);
    const after = await inForce();
    const { transitions } = await posture.history({ limit: 1, beforeEpoch: 0n }, CALL);
    expect(transitions).toMatchObject([
      {
        from: 5,
        to: 5,
        source: {
          ...{ channel: 'local', tier: 'journeyman', principal: 'user:ada' },
          reason: 'intent revision 2: a test',
        },
      },
    ]);
    await site.kill(intent);
    await site.kill(coordinator);
    coordinator = await site.startCoordinator();
    intent = await site.startIntent();
    posture = site.posture();
    const { epoch } = await posture.get({}, CALL);
    expect([await inForce(), await alarms()]).toEqual([after, '']);
    // Who may not loosen may not take them back either, and that is said.
    await commit('local/journeyman', '{}');
    await comes('it is refused', async () => (await alarms()).includes('POSTURE_NOT_AUTHORISED'));
    expect(await alarms()).toContain('what stood before the accords of the intent is not in force again');
    expect([await inForce(), (await posture.get({}, CALL)).epoch]).toEqual([after, epoch]);
    await commit('console', tight);
    await comes('they are as intended', async () => (await alarms()) === '');
    await commit('console', '{}');
    await comes('what stood before is in force', async () => (await inForce()) === before);
    await comes('nothing is wrong', async () => (await alarms()) === '');
  });

  it('PO-2 that came into force for a revision that was not confirmed are taken back, also over kill -9 between question and answer', async () => {
    const before = await inForce();
    site.way.silent = true;
    await commit('console', tight, 600);
    // The coordinator has decided; the intent never hears of it, and is killed.
    await comes('they are in force', async () => (await inForce()) !== before);
    await site.kill(intent);
    site.way.speak();
    intent = await site.startIntent();
    expect(await site.intent('console').status({}, CALL)).toMatchObject({ running: 3 });
    await comes('what stood before is in force', async () => (await inForce()) === before);
    await comes('nothing is wrong', async () => (await alarms()) === '');
  });

  it('PO-2 that cannot be used, or cannot be asked for, are an alarm, and the last valid set stays', async () => {
    const before = await inForce();
    const loose = siteOf((level) => {
      if (level.number === 1) level['default-verdict'] = 'pass';
    });
    await commit('console', loose);
    await comes('it is said', async () =>
      (await alarms()).includes('accords of revision 2 are not in force: ACCORD_LOOSENS'),
    );
    expect(await inForce()).toBe(before);
    await site.kill(coordinator);
    await commit('console', tight);
    await comes('it is said', async () =>
      (await alarms()).includes('accords of revision 3 are not in force: BUS_'),
    );
    coordinator = await site.startCoordinator();
    posture = site.posture();
    await comes('they are in force', async () => (await inForce()) !== before);
    await comes('nothing is wrong', async () => (await alarms()) === '');
  });
});
