/**
 * A place for an underlay as a process: a board with coordinator, warden and data plane, a kernel namespace with a port,
 * and an `ip` that can be made to wait.
 * Must not leave a namespace, a process or a file.
 */
import {
  type CarriedOutMessage,
  type CarryOutReply,
  type CarryOutRequest,
  devicesClient,
  type DevicesClient,
  type GateRefusal,
  sha256,
  underlayClient,
  type UnderlayClient,
} from '@kedge/bus';
import { compile } from '@kedge/compiler';
import type { LedgerRecord, Plan } from '@kedge/contracts';
import type { InventoryDevice, Reading } from '@kedge/driver-kit';
import { linuxDriver } from '@kedge/drivers';
import { type deviceTree, planData } from '@kedge/intent-model';
import { bundledService } from '@kedge/lab';
import { openSpool } from '@kedge/ledger';
import {
  createPostureSegment,
  createSegment,
  enums,
  layout,
  monotonicNs,
  type PostureWriter,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import type { Epoch } from '@kedge/units';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DEFAULTS = join(import.meta.dirname, '../../../yang/defaults');
const TIERS = ['site_owner', 'master', 'journeyman', 'apprentice'];
export const CALL = { deadlineMs: 60_000 };

/** The device that the process runs on. */
export const DEVICE: InventoryDevice = {
  id: 'appliance',
  driver: 'linux',
  capability: [
    'kedge-inventory:bridging',
    'kedge-inventory:port-state',
    'kedge-inventory:addressing',
    'kedge-inventory:static-routing',
  ],
  management: { local: [null] },
  interface: [{ name: 'port1', type: 'iana-if-type:ethernetCsmacd' }],
};

/** A bridge with the port and an address, and so many routes over it. */
export function intentOf(routes: number, second = 1): deviceTree.DeviceTree {
  return {
    'ietf-interfaces:interfaces': {
      interface: [
        {
          name: 'port1',
          type: 'iana-if-type:ethernetCsmacd',
          'kedge-bridging:bridge-port': { bridge: 'br0' },
        },
        {
          name: 'br0',
          type: 'iana-if-type:bridge',
          'ietf-ip:ipv4': { address: [{ ip: `10.7.${String(second)}.1`, 'prefix-length': 24 }] },
        },
      ],
    },
    'ietf-routing:routing': {
      'control-plane-protocols': {
        'control-plane-protocol': [
          {
            type: 'ietf-routing:static',
            name: 'site',
            'static-routes': {
              'ietf-ipv4-unicast-routing:ipv4': {
                route: Array.from({ length: routes }, (_, index) => ({
                  'destination-prefix': `10.90.${String(index)}.0/24`,
                  'next-hop': { 'next-hop-address': `10.7.${String(second)}.254` },
                })),
              },
            },
          },
        ],
      },
    },
  };
}

/** The plan that leads from what was read to an intent. */
export function planFor(intended: deviceTree.DeviceTree, actual: Reading, epoch = 1n): Plan {
  const [one] = compile(
    {
      'kedge-zones:zones': { zone: [{ name: 'branch', id: 2 }] },
      'kedge-inventory:devices': { device: [DEVICE] },
      'kedge-site:site': { name: 'lisbon', appliance: [DEVICE.id] },
    },
    [{ device: DEVICE.id, intended, actual }],
    { epoch: epoch as Epoch, gate: 'open', drivers: [linuxDriver], sha256 },
  );
  if (one?.outcome !== 'planned') throw new Error(JSON.stringify(one));
  return one.plan;
}

/** What a plan came to, its parts put together. */
export interface Became {
  readonly refusal: GateRefusal | undefined;
  readonly carried: CarriedOutMessage | undefined;
  readonly reading: Reading | undefined;
}

/** Everything that one test has; `remove` once. */
export class Stage {
  readonly root = mkdtempSync(join(tmpdir(), 'kedge-devices-'));
  readonly netns = `kedge-dv-${String(process.pid)}`;
  readonly state = join(this.root, 'state');
  readonly #posture: PostureWriter;
  readonly #dataplane: SegmentWriter;
  readonly #ends: (() => void | Promise<void>)[] = [];
  readonly #board = join(this.root, 'board');
  #count = 0;

  /** @param budgetMs of the path */
  constructor(budgetMs = 10_000) {
    const ways = ['console', ...TIERS.map((tier) => `local/${tier}`)];
    const own = ['board', 'sock/internal', 'sock/devices', 'tools'];
    for (const name of [...own, ...ways.map((way) => `sock/${way}/underlay`)])
      mkdirSync(join(this.root, name), { recursive: true });
    for (const name of ['', 'board', 'sock', 'sock/local', ...ways.map((way) => `sock/${way}`)])
      chmodSync(join(this.root, name), 0o755);
    this.#kernel();
    const directory = this.#board;
    this.#posture = createPostureSegment({ directory });
    const warden = createSegment({ directory, name: 'warden', kind: 'warden' });
    for (const [path, ms] of [1, 10_000, budgetMs].entries())
      warden.store64(layout.warden.budgetNs + 8 * path, BigInt(ms) * 1_000_000n);
    warden.store64(layout.warden.staleNs, 10_000_000_000n);
    this.#dataplane = createSegment({ directory, name: 'dataplane-reference', kind: 'dataplane' });
    this.#dataplane.store32(layout.dataplane.workers, 1);
    this.#dataplane.store32(layout.dataplane.worker + layout.worker.live, 1);
    const all = [this.#posture, warden, this.#dataplane];
    const beat = (): void => {
      for (const each of all) each.beat(true);
    };
    beat();
    const timer = setInterval(beat, 50);
    this.#ends.push(() => {
      clearInterval(timer);
      for (const each of all) each.close();
    });
    this.#posture.storeWord(1n, 5);
  }

  /** `ip` in the namespace. */
  ip(words: string): string {
    return execFileSync('ip', ['-n', this.netns, ...words.split(' ')], { encoding: 'utf8' });
  }

  /** The configuration that the kernel has. */
  kernel(): string {
    return this.ip('-br link show type bridge') + this.ip('-4 -br address') + this.ip('route show proto 109');
  }

  /** Starts the process in the namespace, with the `ip` that waits, and waits until it serves. */
  async serve(): Promise<ChildProcess> {
    const uid = process.getuid?.() ?? 0;
    const config = join(this.root, 'underlay.json');
    writeFileSync(
      config,
      JSON.stringify({
        appliance: 'test',
        board: {
          directory: this.#board,
          owners: { posture: uid, warden: uid, 'dataplane-reference': uid },
        },
        sockets: join(this.root, 'sock'),
        devicesSocket: join(this.root, 'sock/devices/devices.sock'),
        state: this.state,
        accords: join(DEFAULTS, 'accords.json'),
        zones: join(DEFAULTS, 'zones.json'),
        reconcileMs: 100,
      }),
    );
    const place = 'mount --bind "$0" "$1" && shift && exec "$@"';
    const real = realpathSync('/usr/sbin/ip');
    const child = spawn(
      'ip',
      [
        ...['netns', 'exec', this.netns, 'sh', '-c', place, join(this.root, 'tools/ip'), real],
        ...[process.execPath, bundledService('underlay'), '--config', config],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    this.#ends.push(() => this.end(child, 'SIGKILL'));
    const underlay = this.underlay();
    const devices = this.devices();
    await until(
      'the underlay serves',
      async () => {
        if (child.exitCode !== null) throw new Error(`it ended: ${said}`);
        const status = await underlay.status({}, { deadlineMs: 1_000 }).catch(() => undefined);
        if (status === undefined || status.appliedEpoch === 0n) return false;
        // The last socket to be there.
        return (await devices.health({ deadlineMs: 1_000 }).catch(() => '')) === 'SERVING';
      },
      () => said,
    );
    return child;
  }

  async end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  underlay(): UnderlayClient {
    const client = underlayClient(join(this.root, 'sock/internal/underlay.sock'));
    this.#ends.push(() => {
      client.close();
    });
    return client;
  }

  devices(way = 'devices/devices.sock'): DevicesClient {
    const client = devicesClient(join(this.root, 'sock', way));
    this.#ends.push(() => {
      client.close();
    });
    return client;
  }

  async read(device: InventoryDevice = DEVICE): Promise<Reading> {
    const own: string[] = [];
    const tree: Uint8Array[] = [];
    for await (const part of this.devices().read({ device: JSON.stringify(device) }, CALL)) {
      own.push(...part.own);
      tree.push(part.tree);
    }
    return { tree: JSON.parse(Buffer.concat(tree).toString()) as Reading['tree'], own };
  }

  async carryOut(plan: Plan, more: Partial<CarryOutRequest> = {}, signal?: AbortSignal): Promise<Became> {
    this.#count += 1;
    const replies: CarryOutReply[] = [];
    const request: CarryOutRequest = {
      ...{ id: `mutation-${String(this.#count)}`, principal: 'user:mia', tier: 'master', channel: 'console' },
      ...{ kind: 'ordinary', device: JSON.stringify(DEVICE), plan: JSON.stringify(planData(plan)) },
      ...more,
    };
    const options = signal === undefined ? CALL : { ...CALL, signal };
    for await (const reply of this.devices().carryOut(request, options)) replies.push(reply);
    const [first] = replies;
    const tree = replies.flatMap((each) => (each.outcome === 'reading' ? [each.reading.tree] : []));
    const own = replies.flatMap((each) => (each.outcome === 'reading' ? each.reading.own : []));
    return {
      refusal: first?.outcome === 'refusal' ? first.refusal : undefined,
      carried: first?.outcome === 'carried' ? first.carried : undefined,
      reading:
        tree.length === 0
          ? undefined
          : { tree: JSON.parse(Buffer.concat(tree).toString()) as Reading['tree'], own: [...own] },
    };
  }

  /** The next batch of `ip` does its work and then does not end, until it is released; all that follow, too, with `all`. */
  hold(all = false): void {
    writeFileSync(join(this.root, all ? 'tools/hang' : 'tools/hold'), '');
  }

  /** Waits until a batch is held. */
  async held(): Promise<void> {
    await until('a batch is held', () => existsSync(join(this.root, 'tools/held')));
  }

  release(): void {
    for (const name of ['hold', 'held', 'hang', 'taken'])
      rmSync(join(this.root, 'tools', name), { force: true });
  }

  /** A decision to tighten that the data plane has followed. */
  tighten(epoch: bigint, from: number, to: number): void {
    this.#posture.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });
    const now = monotonicNs();
    this.#dataplane.writeAck(layout.dataplane.worker + layout.worker.ack, {
      epoch,
      ...{ startedAtNs: now - 10n, finishedAtNs: now },
      ...{ stage: enums.stage.TIGHTEN, outcome: enums.outcome.APPLIED, level: to, changes: 0 },
    });
    this.#dataplane.ring();
  }

  /** What was recorded; the process has ended. */
  async records(): Promise<LedgerRecord[]> {
    const spool = await openSpool({ directory: join(this.state, 'records') });
    const found: LedgerRecord[] = [];
    for await (const { record } of spool.drain()) found.push(record);
    await spool.close();
    return found;
  }

  async remove(): Promise<void> {
    this.release();
    for (const end of this.#ends.reverse()) await end();
    execFileSync('ip', ['netns', 'delete', this.netns]);
    rmSync(this.root, { recursive: true, force: true });
  }

  #kernel(): void {
    const tools = join(this.root, 'tools');
    copyFileSync(realpathSync('/usr/sbin/ip'), join(tools, 'real'));
    writeFileSync(
      join(tools, 'ip'),
      `#!/bin/sh
case "$*" in *-batch*) ;; *) exec ${tools}/real "$@" ;; esac
# The routes of the underlay itself go by batches, too.
lines=$(cat)
real() { printf '%s\\n' "$lines" | ${tools}/real "$@"; }
case "$lines" in *br0*|*10.90.*) ;; *) real "$@"; exit ;; esac
wait=
if mv ${tools}/hold ${tools}/taken 2>/dev/null; then wait=held
elif [ -e ${tools}/hang ]; then
  wait=hang
  if [ -e ${tools}/held ]; then
    while [ -e ${tools}/hang ]; do sleep 0.02; done
    exit 1
  fi
fi
real "$@"
status=$?
[ -n "$wait" ] && touch ${tools}/held
while [ -n "$wait" ] && [ -e ${tools}/$wait ]; do sleep 0.02; done
exit $status
`,
      { mode: 0o755 },
    );
    execFileSync('ip', ['netns', 'add', this.netns]);
    this.ip('link add name port1 type veth peer name far1');
    this.ip('link set far1 up');
  }
}

/** Waits until something is so, at most a minute. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  more: () => string = () => '',
): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}; ${more()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
