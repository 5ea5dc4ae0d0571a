/**
 * The underlay on a real board and a kernel in a namespace of its own: what becomes of mutations when the posture
 * changes under them.
 * Must not leave a namespace, a process or a file.
 */
import { PolicyKeeper } from '@kedge/authz';
import { type ExecuteReply, openDesiredStore, ParticipantSlot, PostureBoard } from '@kedge/bus';
import { readPathAccords, routeKind } from '@kedge/route-set';
import type { RouteSpec } from '@kedge/routes';
import {
  createPostureSegment,
  createSegment,
  enums,
  layout,
  monotonicNs,
  type PostureWriter,
  type SegmentWriter,
} from '@kedge/shared-memory-ipc';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { configSchema } from '../src/config.js';
import { proposalKind } from '../src/proposals.js';
import { Underlay } from '../src/underlay.js';

const NETNS = `kedge-ul-${process.pid}`;
const DEFAULTS = join(import.meta.dirname, '../../../yang/defaults');
const DESTINATION = '10.121.7.0/24';
const uid = process.getuid?.() ?? 0;

let directory: string;
let closing: (() => void | Promise<void>)[];

const ip = (...words: string[]): string => execFileSync('ip', words, { encoding: 'utf8' });
const inKernel = (): string => ip('-n', NETNS, 'route', 'show', 'table', 'all', 'proto', '107');

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-underlay-'));
  chmodSync(directory, 0o1775);
  closing = [];
  ip('netns', 'add', NETNS);
  ip('-n', NETNS, 'link', 'add', 'port0', 'type', 'veth', 'peer', 'name', 'far0');
  ip('-n', NETNS, 'addr', 'add', '10.7.0.1/24', 'dev', 'port0');
  ip('-n', NETNS, 'link', 'set', 'port0', 'up');
  ip('-n', NETNS, 'link', 'set', 'far0', 'up');
});
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  ip('netns', 'delete', NETNS);
  rmSync(directory, { recursive: true });
});

function keep<T extends { close(): void }>(thing: T): T {
  closing.push(() => {
    thing.close();
  });
  return thing;
}

/** Coordinator, warden and one data-plane worker, at level 5 of epoch 1. */
function neighbours(): { posture: PostureWriter; dataplane: SegmentWriter } {
  const posture = keep(createPostureSegment({ directory }));
  const warden = keep(createSegment({ directory, name: 'warden', kind: 'warden' }));
  for (const [path, ms] of [1n, 10_000n, 10_000n].entries())
    warden.store64(layout.warden.budgetNs + 8 * path, ms * 1_000_000n);
  warden.store64(layout.warden.staleNs, 10_000_000_000n);
  const dataplane = keep(createSegment({ directory, name: 'dataplane-reference', kind: 'dataplane' }));
  dataplane.store32(layout.dataplane.workers, 1);
  dataplane.store32(layout.dataplane.worker + layout.worker.live, 1);
  const beat = (): void => {
    for (const each of [posture, warden, dataplane]) each.beat(true);
  };
  beat();
  const timer = setInterval(beat, 50);
  closing.push(() => {
    clearInterval(timer);
  });
  posture.storeWord(1n, 5);
  return { posture, dataplane };
}

/** The underlay with an `ip` that waits while it is held. */
async function stand() {
  const { posture, dataplane } = neighbours();
  const hold = join(directory, 'hold');
  const tools = join(directory, 'tools');
  mkdirSync(tools);
  writeFileSync(
    join(tools, 'ip'),
    `#!/bin/sh\nwhile [ -e ${hold} ]; do sleep 0.02; done\nexec /usr/sbin/ip "$@"\n`,
    { mode: 0o755 },
  );
  const config = configSchema.parse({
    appliance: 'test',
    board: { directory, owners: { posture: uid, warden: uid, 'dataplane-reference': uid } },
    sockets: directory,
    state: join(directory, 'state'),
    accords: join(DEFAULTS, 'accords.json'),
    zones: join(DEFAULTS, 'zones.json'),
    reconcileMs: 50,
  });
  const file = join(config.state, 'routes.json');
  const routes = await openDesiredStore({ path: file, kind: routeKind('underlay') });
  const nothing = (): void => undefined;
  const underlay = new Underlay({
    config,
    board: keep(new PostureBoard({ directory, owners: config.board.owners, realtime: false, rescanMs: 20 })),
    slot: keep(ParticipantSlot.create({ directory, name: 'underlay', path: 'underlay' })),
    routes,
    proposals: await openDesiredStore({ path: join(config.state, 'proposals.json'), kind: proposalKind }),
    accords: readPathAccords(config),
    authoriser: new PolicyKeeper({ policies: 'default' }).authoriser,
    clock: { monotonicNs, wallMs: () => Date.now() },
    log: { info: nothing, warn: nothing, error: nothing },
    tools: { netns: NETNS, timeoutMs: 20_000, toolDirectory: tools },
  });
  closing.push(() => underlay.close());
  await expect
    .poll(() => underlay.status(), { timeout: 10_000 })
    .toMatchObject({ gate: 'open', appliedEpoch: 1n });
  return {
    underlay,
    routes,
    file,
    hold: () => {
      writeFileSync(hold, '');
      closing.push(() => {
        rmSync(hold, { force: true });
      });
    },
    release: () => {
      unlinkSync(hold);
    },
    tighten: (epoch: bigint, from: number, to: number) => {
      posture.tighten({ epoch, from, to, receivedAtNs: monotonicNs() });
      const now = monotonicNs();
      dataplane.writeAck(layout.dataplane.worker + layout.worker.ack, {
        epoch,
        startedAtNs: now - 10n,
        finishedAtNs: now,
        stage: enums.stage.TIGHTEN,
        outcome: enums.outcome.APPLIED,
        level: to,
        changes: 0,
      });
      dataplane.ring();
    },
    execute: (id: string, via: string): Promise<ExecuteReply> =>
      underlay.execute(
        {
          id,
          principal: 'user:mia',
          kind: 'ordinary',
          what: 'change',
          change: {
            add: [
              {
                destination: DESTINATION,
                via,
                dev: 'port0',
                metric: 0,
                purpose: 'management',
                tier: 'site_owner',
              },
            ],
            remove: [],
          },
        },
        { tier: 'site_owner', channel: 'local', signal: new AbortController().signal },
      ),
  };
}

const viaOf = (items: readonly RouteSpec[]): (string | undefined)[] => items.map(({ via }) => via);

describe('mutations that a tightening overtakes', () => {
  it('UN-14 of two of the same route nothing is kept, whichever is taken back first', async () => {
    const { underlay, routes, hold, release, tighten, execute } = await stand();
    hold();
    const replies = Promise.all([execute('mutation-a', '10.7.0.2'), execute('mutation-b', '10.7.0.3')]);
    // The first one stands in the file and waits for the kernel.
    await expect.poll(() => routes.durable.items.length, { timeout: 10_000 }).toBe(1);
    expect(underlay.status().permits).toBe(2);
    tighten(2n, 5, 2);
    for (const reply of await replies)
      expect(reply).toMatchObject({ outcome: 'refusal', refusal: { code: 'GATE_SHUT' } });
    release();
    await expect
      .poll(() => underlay.status(), { timeout: 10_000 })
      .toMatchObject({ appliedEpoch: 2n, permits: 0 });
    expect(viaOf(routes.durable.items)).toEqual([]);
    expect(inKernel()).not.toContain(DESTINATION);
  });

  it('UN-14 whose taking back the disk refuses are told so, and reach the kernel all the same not', async () => {
    const { underlay, routes, file, hold, release, tighten, execute } = await stand();
    hold();
    const reply = execute('mutation-a', '10.7.0.2');
    await expect.poll(() => routes.durable.items.length, { timeout: 10_000 }).toBe(1);
    mkdirSync(`${file}.new`);
    tighten(2n, 5, 2);
    expect(await reply).toMatchObject({
      outcome: 'refusal',
      refusal: { code: 'UNDERLAY_NOT_TAKEN_BACK', rule: 'one-epoch-per-permit' },
    });
    release();
    await expect
      .poll(() => underlay.status(), { timeout: 10_000 })
      .toMatchObject({ appliedEpoch: 2n, desired: 0 });
    expect(underlay.status().alarms).toEqual([
      expect.stringContaining('still stands in the file, and a start would bring it about: routes 1'),
    ]);
    expect(inKernel()).not.toContain(DESTINATION);
    rmdirSync(`${file}.new`);
    await expect.poll(() => viaOf(routes.durable.items), { timeout: 10_000 }).toEqual([]);
    await expect.poll(() => underlay.status().alarms).toEqual([]);
    expect(inKernel()).not.toContain(DESTINATION);
  });
});
