/**
 * PO-2 accords and zones as documents of the intent: decided for whoever committed them, brought into force like any
 * other set, refused by every other way in.
 */
import { type Client, intentPostureClient, type PostureApi, type ReloadAccordsRequest } from '@kedge/bus';
import type { Channel, Tier } from '@kedge/contracts';
import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Appliance, until } from './appliance.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

interface Level {
  number: number;
  arp?: boolean;
  'default-verdict': string;
}
interface AccordsFile {
  'kedge-accords:accords': { level: Level[] };
}

/** A coordinator that keeps accords in force, with the socket of the intent. Nobody looks at tables. */
class Accorded extends Appliance {
  readonly kept = join(this.state, 'accords');
  readonly intentSocket = join(this.sockets, 'for-others/intent/posture.sock');
  #intent: Client<PostureApi> | undefined;

  constructor() {
    super();
    mkdirSync(join(this.sockets, 'for-others/intent'), { recursive: true, mode: 0o755 });
    Object.assign(this.config, {
      accordsInForce: this.kept,
      intentSocket: this.intentSocket,
      accordsPublishMs: 1_000,
      verifyMs: 4_000,
    });
  }

  /** The coordinator as the intent reaches it. */
  intent(): Client<PostureApi> {
    return (this.#intent ??= intentPostureClient(this.intentSocket));
  }

  pointers(): { tables: string; paths: string } {
    const at = (name: string): string => readlinkSync(join(this.kept, name));
    return { tables: at('tables'), paths: at('paths') };
  }

  override async close(): Promise<void> {
    this.#intent?.close();
    await super.close();
  }
}

let box: Accorded;
beforeEach(async () => {
  box = new Accorded();
  box.startWarden();
  await box.start();
  await box.ended();
}, 90_000);
afterEach(() => box.close());

/** The shipped documents, with every level changed. */
function documents(change: (level: Level) => void = () => undefined) {
  const text = (name: string) => readFileSync(join(root, `yang/defaults/${name}.json`), 'utf8');
  const accords = JSON.parse(text('accords')) as AccordsFile;
  for (const level of accords['kedge-accords:accords'].level) change(level);
  return { accords: JSON.stringify(accords), zones: text('zones') };
}

const withoutArp = (level: Level): void => {
  delete level.arp;
};

/** What the intent asks for revision 7. */
function asked(
  by: readonly [Channel, Tier],
  given: ReloadAccordsRequest['documents'],
  more: { readonly key?: string; readonly askedMsAgo?: bigint } = {},
): ReloadAccordsRequest {
  const [channel, tier] = by;
  const { key = `intent-7-${String(Math.random()).slice(2)}`, askedMsAgo } = more;
  return {
    principal: 'user:ada',
    reason: 'intent revision 7',
    idempotencyKey: key,
    onBehalf: { channel, tier, ...(askedMsAgo === undefined ? {} : { askedMsAgo }) },
    ...(given === undefined ? {} : { documents: given }),
  };
}

const CALL = { deadlineMs: 8_000 };
const reload = (request: ReloadAccordsRequest) => box.intent().reloadAccords(request, CALL);
const hash = async (): Promise<string | undefined> => (await box.get()).accordsHash;

describe('accords of the intent', { timeout: 120_000 }, () => {
  it('PO-2 come into force by a transition, decided for whoever committed them, and stay over kill -9', async () => {
    const before = { hash: await hash(), epoch: box.read().epoch };
    expect(box.pointers()).toEqual({ tables: before.hash, paths: before.hash });
    const tighter = documents(withoutArp);
    const reply = await reload(asked(['local', 'journeyman'], tighter));
    expect(reply).toMatchObject({ decision: { epoch: before.epoch + 1n, from: 5, to: 5, durable: true } });
    const report = await box.ended(before.epoch + 1n);
    expect(report).toMatchObject({
      outcome: 'completed',
      source: { channel: 'local', tier: 'journeyman', principal: 'user:ada', reason: 'intent revision 7' },
    });
    const after = await hash();
    expect(after).not.toBe(before.hash);
    // The same set again is no transition: the answer is the decision in force.
    expect(await reload(asked(['local', 'journeyman'], tighter))).toMatchObject({
      decision: { epoch: before.epoch + 1n },
    });
    expect(box.read().epoch).toBe(before.epoch + 1n);
    await box.kill();
    await box.start();
    expect(await hash()).toBe(after);
    expect(box.pointers()).toEqual({ tables: after, paths: after });
    // The way back to the configured files is a request without documents.
    expect(await reload(asked(['local', 'journeyman'], undefined))).toMatchObject({
      refusal: { code: 'POSTURE_NOT_AUTHORISED' },
    });
    const records = await box.records();
    expect(records).toContainEqual(
      expect.objectContaining({
        allow: true,
        action: 'governance.reload',
        principal: 'user:ada',
        tier: 'journeyman',
        reason: 'intent revision 7',
      }),
    );
    expect(records).toContainEqual(
      expect.objectContaining({
        allow: false,
        action: 'governance.reload',
        reason: expect.stringContaining('asked for: intent revision 7'),
      }),
    );
    expect(records).toContainEqual(
      expect.objectContaining({
        schema: 'kedge.posture-transition/1',
        source: expect.objectContaining({ principal: 'user:ada', reason: 'intent revision 7' }),
      }),
    );
  });

  it('PO-3 never say by another way in for whom they are, and the socket of the intent may nothing by itself', async () => {
    const before = { word: box.read().word, pointers: box.pointers() };
    const request = asked(['console', 'site_owner'], documents(withoutArp));
    for (const way of ['console', 'local/site_owner', 'local/apprentice'] as const) {
      expect(await box.client(way).reloadAccords(request, CALL)).toMatchObject({
        refusal: { code: 'POSTURE_ON_BEHALF', field: 'on_behalf', rule: 'authority-by-the-way-in' },
      });
      const { onBehalf: _nobody, ...nameless } = request;
      expect(await box.client(way).reloadAccords(nameless, CALL)).toMatchObject({
        refusal: { code: 'POSTURE_ON_BEHALF', field: 'documents' },
      });
    }
    const wrong = { ...request, onBehalf: { channel: 'console', tier: 'owner' } };
    expect(await reload(wrong)).toMatchObject({ refusal: { field: 'on_behalf.tier' } });
    expect(await reload({ ...request, onBehalf: { channel: 'tty', tier: 'master' } })).toMatchObject({
      refusal: { field: 'on_behalf.channel' },
    });
    const terms = { principal: 'service:intent', reason: 'a test', idempotencyKey: 'by-itself-1' };
    expect(await box.intent().set({ ...terms, level: 4 }, CALL)).toMatchObject({
      refusal: { code: 'POSTURE_NOT_AUTHORISED' },
    });
    expect({ word: box.read().word, pointers: box.pointers() }).toEqual(before);
    expect(await box.records()).toContainEqual(
      expect.objectContaining({ allow: false, tier: 'apprentice', rule: 'authority-by-the-way-in' }),
    );
  });

  it('PO-4 loosen for those alone who may loosen by themselves, with a second factor as old as the commit', async () => {
    await reload(asked(['console', 'site_owner'], documents(withoutArp)));
    await box.ended();
    const tight = box.pointers();
    // Level 1 loosens too: only somebody at the console may, and with a fresh second factor.
    const back = documents();
    for (const by of [
      ['local', 'apprentice'],
      ['local', 'journeyman'],
      ['local', 'site_owner'],
    ] as const)
      expect(await reload(asked(by, back))).toMatchObject({ refusal: { code: 'POSTURE_NOT_AUTHORISED' } });
    for (const age of [undefined, 301_000n, 1n << 60n])
      expect(
        await reload(asked(['console', 'site_owner'], back, age === undefined ? {} : { askedMsAgo: age })),
      ).toMatchObject({ refusal: { rule: 'loosening-second-factor' } });
    expect(box.pointers()).toEqual(tight);
    expect(await reload(asked(['console', 'site_owner'], back, { askedMsAgo: 1_000n }))).toMatchObject({
      decision: { from: 5, to: 5 },
    });
    expect(await box.ended()).toMatchObject({ outcome: 'completed' });
    expect(await hash()).not.toBe(tight.tables);
  });

  it('PO-2 that cannot be used are refused by path and reason, and the last valid set stays', async () => {
    const before = box.pointers();
    const by = ['console', 'site_owner'] as const;
    const loosens = documents((level) => {
      if (level.number === 1) level['default-verdict'] = 'pass';
    });
    expect(await reload(asked(by, loosens))).toMatchObject({
      refusal: { code: 'ACCORD_LOOSENS', field: "/kedge-accords:accords/level[number='1']/default-verdict" },
    });
    const { accords, zones } = documents(withoutArp);
    expect(await reload(asked(by, { accords, zones: '{}' }))).toMatchObject({
      refusal: { code: 'ACCORD_INVALID', field: '/kedge-zones:zones' },
    });
    expect(await reload(asked(by, { accords: '{', zones }))).toMatchObject({
      refusal: { code: 'ACCORD_SYNTAX', message: 'cannot read the accords from the request: it is not JSON' },
    });
    const large = `${accords}${' '.repeat(4 * 1024 * 1024)}`;
    expect(await reload(asked(by, { accords: large, zones }))).toMatchObject({
      refusal: { code: 'ACCORD_UNREADABLE' },
    });
    await expect(reload(asked(by, { accords: large, zones: large + large }))).rejects.toMatchObject({
      code: 'BUS_TOO_LARGE',
    });
    // By the ways in of people nothing of that size is even read.
    const raw = { principal: 'user:ada', reason: 'x'.repeat(70_000), idempotencyKey: 'too-large-1' };
    await expect(box.client('local/apprentice').reloadAccords(raw, CALL)).rejects.toMatchObject({
      code: 'BUS_TOO_LARGE',
    });
    expect(box.pointers()).toEqual(before);
    expect(box.read().epoch).toBe((await box.get()).epoch);
  });

  it('PO-5 under one key are one request; the same key with other documents is a replay', async () => {
    const key = 'intent-7-once';
    const first = await reload(asked(['local', 'master'], documents(withoutArp), { key }));
    expect(await reload(asked(['local', 'master'], documents(withoutArp), { key }))).toEqual(first);
    expect(await reload(asked(['local', 'master'], documents(), { key }))).toMatchObject({
      refusal: { code: 'POSTURE_REPLAYED' },
    });
    // Known again after a restart, too.
    await box.ended();
    await box.kill();
    await box.start();
    expect(await reload(asked(['local', 'master'], documents(), { key }))).toMatchObject({
      refusal: { code: 'POSTURE_REPLAYED' },
    });
  });

  it('PO-2 that are looser wait for the running transition, and those whose asker has gone are not decided', async () => {
    const mesh = box.participant('mesh', 'overlay');
    const beating = setInterval(() => {
      mesh.beat(true);
    }, 50);
    const acknowledge = (level: number): void => {
      mesh.acknowledge({
        ...{ epoch: box.read().line, level, stage: 'tighten', outcome: 'applied', changes: 0 },
        ...{ startedAtNs: 1n, finishedAtNs: 1n },
      } as Parameters<typeof mesh.acknowledge>[0]);
    };
    try {
      mesh.beat(true);
      acknowledge(5);
      await until('the mesh', async () =>
        (await box.get()).services.some(({ name, serving }) => name === 'participant-mesh' && serving)
          ? true
          : undefined,
      );
      const tightening = await reload(asked(['console', 'site_owner'], documents(withoutArp)));
      const epoch = tightening.outcome === 'decision' ? tightening.decision.epoch : -1n;
      const back = asked(['console', 'site_owner'], documents(), { askedMsAgo: 0n, key: 'intent-8-waits' });
      expect(await reload(back)).toMatchObject({ waiting: { behindEpoch: epoch } });
      expect(await reload(back)).toMatchObject({ outcome: 'waiting' });
      acknowledge(5);
      await box.ended(epoch);
      const told = await until('it has its turn', async () => {
        const reply = await reload(back);
        return reply.outcome === 'decision' ? reply.decision : undefined;
      });
      expect(told.epoch).toBe(epoch + 1n);
      acknowledge(5);
      expect(await box.ended(epoch + 1n)).toMatchObject({ outcome: 'completed' });
    } finally {
      clearInterval(beating);
    }
    // While another one is prepared in vain, for there are no tables, whoever waits behind it gives up.
    await box.kill();
    box.config['board'] = { directory: box.board, owners: { warden: 0, tables: 0 } };
    await box.start();
    await box.ended();
    const before = { word: box.read().word, pointers: box.pointers() };
    const tight = documents(withoutArp);
    const prepared = reload(asked(['local', 'journeyman'], tight));
    await until('the set is prepared', () =>
      box.pointers().tables === before.pointers.tables ? undefined : true,
    );
    const gone = asked(['local', 'journeyman'], tight, { key: 'intent-9-gone' });
    await expect(box.intent().reloadAccords(gone, { deadlineMs: 300 })).rejects.toMatchObject({
      code: 'BUS_DEADLINE',
    });
    expect(await prepared).toMatchObject({ refusal: { code: 'ACCORD_NOT_PUBLISHED' } });
    expect({ word: box.read().word, pointers: box.pointers() }).toEqual(before);
    // It is no answer that stands: under its key it is asked anew, and is prepared in vain itself.
    expect(await reload(gone)).toMatchObject({ refusal: { code: 'ACCORD_NOT_PUBLISHED' } });
    expect(await box.records()).toContainEqual(expect.objectContaining({ rule: 'nobody-waits' }));
  });
});
