/**
 * The quartermaster as the process that is shipped: streams that are cut, disks that are full, postures that change,
 * and what it answers, against what was given to it.
 * Must not leave a process, a mount or a file.
 */
import type { Batch, LedgerEntry, LedgerFilter } from '@kedge/bus';
import type { LedgerRecord } from '@kedge/contracts';
import {
  canonicalJson,
  isConsistent,
  isProven,
  leafHash,
  openCheckpoint,
  proofOf,
  verifierOf,
} from '@kedge/ledger';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { batchOf, CALL, part, recordOf, SOURCES, spoolOf, Stage, transit, until } from './stage.js';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(async () => {
  await stage.remove();
});

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, at) => from + at);

async function everything(filter?: LedgerFilter): Promise<LedgerEntry[]> {
  const ledger = stage.ledger();
  const found: LedgerEntry[] = [];
  for (let more = true; more;) {
    const after = found.at(-1)?.index;
    const reply = await ledger.query(
      {
        ...(filter === undefined ? {} : { filter }),
        limit: 1_000,
        newestFirst: false,
        ...(after === undefined ? {} : { after }),
      },
      CALL,
    );
    found.push(...reply.entries);
    ({ more } = reply);
  }
  return found;
}

const recordIn = ({ record }: LedgerEntry): LedgerRecord => JSON.parse(record) as LedgerRecord;

const metric = (name: string): Promise<number> => stage.metric(name);

describe('the quartermaster', { timeout: 90_000 }, () => {
  it('LE-5 killed in the middle of streams it has everything that it acknowledged, and nothing twice', async () => {
    const total = 3_000;
    let acknowledged = new Map<string, bigint>();
    let started = await stage.serve();
    for (let life = 0; life < 4; life += 1) {
      const streams = SOURCES.map(async (source, at) => {
        const spool = spoolOf(at);
        const client = stage.intake(source);
        async function* batches(): AsyncGenerator<Batch> {
          yield { spool, first: 0n, records: [] };
          // Begins a little before what is kept, as one does who did not hear the last answer.
          const kept = Number(acknowledged.get(source) ?? 0n);
          for (let first = Math.max(1, kept - 10); first <= total; first += 25) {
            const numbers = range(first, Math.min(first + 25, total + 1));
            yield batchOf(
              spool,
              BigInt(first),
              numbers.map((number) => recordOf(at * total + number)),
            );
          }
        }
        try {
          for await (const { upTo } of client.deliver(batches(), CALL)) {
            if (upTo > (acknowledged.get(source) ?? 0n)) acknowledged = acknowledged.set(source, upTo);
          }
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^BUS_/) as string });
        }
      });
      if (life < 3) {
        const goal = BigInt(400 * (life + 1));
        await until('some were acknowledged', () => [...acknowledged.values()].some((upTo) => upTo > goal));
        await stage.end(started.child, 'SIGKILL');
      }
      await Promise.all(streams);
      if (life === 3) break;
      started = await stage.serve();
      for (const [at, source] of SOURCES.entries()) {
        const [kept] = await stage.deliver(source, [{ spool: spoolOf(at), first: 0n, records: [] }]);
        expect(kept?.upTo).toBeGreaterThanOrEqual(acknowledged.get(source) ?? 0n);
      }
    }
    const entries = await everything();
    const ids = entries.map((entry) => recordIn(entry).id);
    expect(ids).toHaveLength(SOURCES.length * total);
    expect(new Set(ids).size).toBe(ids.length);
    const given = range(0, SOURCES.length).flatMap((at) =>
      range(1, total + 1).map((number) => canonicalJson(recordOf(at * total + number))),
    );
    expect(entries.map(({ record }) => record).sort()).toEqual(given.sort());
    const { sources } = await stage.ledger().status({}, CALL);
    expect(sources.map(({ service, upTo }) => [service, upTo])).toEqual(
      SOURCES.map((source) => [source, BigInt(total)]),
    );
  });

  it('LE-5 refuses loudly on a full disk, keeps what it acknowledged, and goes on when there is room', async () => {
    mkdirSync(stage.directory, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=0700', 'tmpfs', stage.directory]);
    stage.atEnd(() => {
      execFileSync('umount', ['-l', stage.directory]);
    });
    const { child, output } = await stage.serve();
    const spool = spoolOf(1);
    let kept = 0n;
    const fill = async (): Promise<void> => {
      for (let first = kept + 1n; ; first = kept + 1n) {
        const records = range(0, 200).map((at) =>
          transit(Number(first) + at, { reason: 'x'.repeat(500), peer: '' }),
        );
        const [answer] = await stage.deliver('overlay', [batchOf(spool, first, records)]);
        kept = answer?.upTo ?? kept;
        if (kept > 40_000n) return;
      }
    };
    await expect(fill()).rejects.toMatchObject({ code: 'LEDGER_FULL' });
    expect(kept).toBeGreaterThan(0n);
    const status = await stage.ledger().status({}, CALL);
    expect(status).toMatchObject({ refusing: true, why: expect.stringContaining('LEDGER_FULL') as string });
    expect(status.alarms.join('\n')).toContain('the ledger takes no records');
    expect(output()).toContain('"msg":"the ledger refuses records"');
    expect(child.exitCode).toBeNull();
    expect(await stage.ledger().health(CALL)).toBe('SERVING');
    execFileSync('mount', ['-o', 'remount,size=64m', stage.directory]);
    const before = kept;
    const records = range(0, 50).map((at) =>
      transit(Number(before) + 1 + at, { reason: 'x'.repeat(500), peer: '' }),
    );
    await until('records are taken again', async () => {
      const [answer] = await stage
        .deliver('overlay', [batchOf(spool, before + 1n, records)])
        .catch(() => [undefined] as const);
      return answer?.upTo === before + 50n;
    });
    // The index is on the same disk, and tries again a second later.
    await until('no alarm is left', async () => {
      const { refusing, alarms } = await stage.ledger().status({}, CALL);
      return !refusing && alarms.length === 0;
    });
    const ids = (await everything()).map((entry) => recordIn(entry).id);
    expect(ids).toEqual(range(1, Number(before) + 51).map((number) => transit(number).id));
  });

  it('LE-6 a second one over the same ledger is refused, and the first goes on', async () => {
    await stage.serve();
    for (const over of [{}, { board: { ...stage.config.board, directory: await otherBoard() } }]) {
      const second = stage.start(over);
      expect(await once(second.child, 'exit')).toEqual([4, null]);
      expect(second.output()).toMatch(/SEGMENT_BUSY|BUS_BUSY/);
    }
    const [kept] = await stage.deliver('overlay', [batchOf(spoolOf(1), 1n, [recordOf(1)])]);
    expect(kept?.upTo).toBe(1n);
  });

  async function otherBoard(): Promise<string> {
    const board = join(stage.root, 'board-2');
    mkdirSync(board);
    const { createPostureSegment } = await import('@kedge/shared-memory-ipc');
    const writer = createPostureSegment({ directory: board });
    stage.atEnd(() => {
      writer.close();
    });
    return board;
  }

  it('PO-3 a service delivers by its own directory only, and what it delivers is its own', async () => {
    for (const [at, source] of SOURCES.entries()) {
      const directory = join(stage.sockets, 'sources', source);
      chownSync(directory, 0, 64_801 + at);
      execFileSync('chmod', ['0750', directory]);
    }
    await stage.serve();
    const as = (group: number, source: string): string => {
      const socket = join(stage.sockets, 'sources', source, 'ledger.sock');
      execFileSync('chmod', ['0666', socket]);
      return execFileSync(
        'setpriv',
        [
          ...['--reuid=64801', '--regid=64700', `--groups=${group}`, '--'],
          ...[process.execPath, join(import.meta.dirname, 'deliver.mjs'), socket],
        ],
        { encoding: 'utf8' },
      );
    };
    expect(as(64_801, 'posture-coordinator')).toBe('kept 0');
    expect(as(64_801, 'vpp-bridge')).toBe('BUS_FORBIDDEN');
    expect(as(64_803, 'overlay')).toBe('kept 0');
    // The name of somebody else's spool is no way to its place in it.
    await stage.deliver('overlay', [batchOf(spoolOf(1), 1n, [recordOf(1)])]);
    const [kept] = await stage.deliver('underlay', [{ spool: spoolOf(1), first: 0n, records: [] }]);
    expect(kept?.upTo).toBe(0n);
  });

  it('LE-4 records are flushed each by itself while the posture is 2 or 1, otherwise together', async () => {
    await stage.serve();
    await until(
      'metrics are served',
      async () => (await metric('kedge_ledger_flushes_total').catch(() => NaN)) >= 0,
    );
    const flushesOf = async (first: number): Promise<number> => {
      const before = await metric('kedge_ledger_flushes_total');
      await stage.deliver('overlay', [
        batchOf(spoolOf(1), BigInt(first), range(first, first + 30).map(recordOf)),
      ]);
      return (await metric('kedge_ledger_flushes_total')) - before;
    };
    const mode = async (): Promise<string> => (await stage.ledger().status({}, CALL)).flush;
    expect(await mode()).toBe('batched');
    expect(await flushesOf(1)).toBeLessThan(5);
    let first = 31;
    for (const [epoch, from, to, expected] of [
      [2n, 5, 2, 'every'],
      [3n, 2, 1, 'every'],
      [4n, 1, 3, 'batched'],
      [5n, 3, 4, 'batched'],
    ] as const) {
      if (to < from) stage.tighten(epoch, from, to);
      else stage.reach(epoch, from, to);
      await until(`the mode of level ${to}`, async () => {
        const { level, flush } = await stage.ledger().status({}, CALL);
        return level === to && flush === expected;
      });
      const flushes = await flushesOf(first);
      if (expected === 'every') expect(flushes).toBeGreaterThanOrEqual(30);
      else expect(flushes).toBeLessThan(5);
      first += 30;
    }
  });

  it('LE-7 every question is answered with what a plain filter over the same records gives', async () => {
    await stage.serve();
    const records = range(1, 701).map(recordOf);
    for (let at = 0; at < records.length; at += 100)
      await stage.deliver('overlay', [batchOf(spoolOf(1), BigInt(at + 1), records.slice(at, at + 100))]);
    const levelOf = (record: LedgerRecord): number =>
      record.schema === 'kedge.session-transit/1'
        ? record.posture_level_at_transit
        : 'level' in record
          ? (record.level ?? 0)
          : 0;
    const whoOf = (record: LedgerRecord): string =>
      'peer' in record ? record.peer : 'principal' in record ? record.principal : '';
    const came = (record: LedgerRecord): string =>
      record.schema === 'kedge.session-transit/1'
        ? record.kind
        : record.schema === 'kedge.network-mutation/1'
          ? record.result
          : record.schema === 'kedge.authorisation-decision/1' && record.allow
            ? 'allow'
            : 'deny';
    const none = { kinds: [] };
    const cases: readonly [LedgerFilter, (record: LedgerRecord) => boolean][] = [
      [none, () => true],
      [
        { kinds: ['session-transit'], level: 3 },
        (record) => record.schema === 'kedge.session-transit/1' && levelOf(record) === 3,
      ],
      [{ ...none, principal: 'user:peer-3' }, (record) => whoOf(record) === 'user:peer-3'],
      [{ ...none, principal: 'user:nobody' }, () => false],
      [{ ...none, outcome: 'deny' }, (record) => came(record) === 'deny'],
      [{ ...none, outcome: 'cut', level: 5 }, (record) => came(record) === 'cut' && levelOf(record) === 5],
      [
        { ...none, device: 'access-2' },
        (record) => 'target' in record && record.target === 'device/access-2',
      ],
      [{ ...none, session: 'session-9' }, (record) => 'session' in record && record.session === 'session-9'],
      [
        { ...none, fromWallMs: 1_790_000_100_000n, toWallMs: 1_790_000_200_000n },
        ({ at }) => Date.parse(at) >= 1_790_000_100_000 && Date.parse(at) < 1_790_000_200_000,
      ],
      [
        {
          ...{ kinds: ['network-mutation', 'authorisation-decision'], level: 2, principal: 'user:peer-1' },
          fromWallMs: 1_790_000_050_000n,
        },
        (record) =>
          record.schema !== 'kedge.session-transit/1' &&
          levelOf(record) === 2 &&
          whoOf(record) === 'user:peer-1' &&
          Date.parse(record.at) >= 1_790_000_050_000,
      ],
    ];
    let visited = 0;
    for (const [filter, holds] of cases) {
      const expected = records.filter(holds).map((record) => canonicalJson(record));
      const found = await everything(filter);
      expect(
        found.map(({ record }) => record),
        JSON.stringify(Object.keys(filter)),
      ).toEqual(expected);
      const newest = await stage.ledger().query({ filter, limit: 7, newestFirst: true }, CALL);
      expect(newest.count).toBe(BigInt(expected.length));
      expect(newest.entries.map(({ record }) => record)).toEqual(expected.toReversed().slice(0, 7));
      expect(newest.more).toBe(expected.length > 7);
      visited += 1;
    }
    expect(visited).toBe(10);
    const lines: Buffer[] = [];
    for await (const { bytes } of stage
      .ledger()
      .export({ filter: cases[1]?.[0] ?? none, format: 'jsonl', pseudonymised: false }, CALL))
      lines.push(Buffer.from(bytes));
    const [, [, atThree] = [none, () => false]] = cases;
    const told = Buffer.concat(lines).toString().trimEnd().split('\n');
    expect(told.map((line) => (JSON.parse(line) as { record: LedgerRecord }).record)).toEqual(
      records.filter(atThree),
    );
    for (const [filter, field] of [
      [{ kinds: ['no-such-kind'] }, 'kinds'],
      [{ ...none, level: 6 }, 'level'],
      [{ ...none, session: '' }, 'session'],
    ] as const) {
      await expect(
        stage.ledger().query({ filter, limit: 1, newestFirst: false }, CALL),
      ).rejects.toMatchObject({
        code: 'LEDGER_QUESTION',
        field,
      });
    }
  });

  it('LE-2 LE-9 proofs hold against the key alone, growth is proven, and an erasure breaks neither', async () => {
    await stage.serve();
    await stage.deliver('overlay', [batchOf(spoolOf(1), 1n, range(1, 301).map(recordOf))]);
    const ledger = stage.ledger();
    const old = await ledger.getCheckpoint({}, CALL);
    const key = verifierOf(old.verifier);
    const first = openCheckpoint(old.checkpoint, key);
    expect(first.size).toBe(300);
    const proven = await ledger.prove({ index: 41n }, CALL);
    expect(isProven(leafHash(proven.entry), proofOf(proven.proof), key)).toBe(true);
    expect(isProven(leafHash(Buffer.from('another')), proofOf(proven.proof), key)).toBe(false);
    await expect(ledger.prove({ index: 4_000n }, CALL)).rejects.toMatchObject({ code: 'LEDGER_NO_ENTRY' });
    const subject = 'user:peer-0';
    const about = (await everything()).filter(({ record }) => record.includes(`"${subject}"`));
    expect(about.length).toBeGreaterThan(30);
    const order = { subject, reason: 'asked for it', principal: 'user:ada' };
    expect(await ledger.erase(order, CALL)).toEqual({ erased: true });
    expect(await ledger.erase(order, CALL)).toEqual({ erased: false });
    const after = await everything();
    expect(after.slice(0, 300).filter(({ record }) => record.includes(`"${subject}"`))).toEqual([]);
    expect(after[Number(about[0]?.index)]?.erased).toHaveLength(1);
    expect(after.slice(300).map((entry) => recordIn(entry))).toMatchObject([
      {
        schema: 'kedge.authorisation-decision/1',
        allow: true,
        action: 'ledger.erase',
        principal: 'user:ada',
      },
    ]);
    expect(isProven(leafHash(proven.entry), proofOf(proven.proof), key)).toBe(true);
    const grown = await ledger.getCheckpoint({ oldSize: 300n }, CALL);
    const second = openCheckpoint(grown.checkpoint, key);
    const claim = { first: 300, firstRoot: first.root, second: second.size, secondRoot: second.root };
    expect(isConsistent({ ...claim, proof: grown.consistency.map((hash) => Buffer.from(hash)) })).toBe(true);
    expect(statSync(stage.config.key).mode & 0o777).toBe(0o600);
  });

  it('LE-7 what becomes durable is told to whoever follows, once and in order', async () => {
    await stage.serve();
    await stage.deliver('overlay', [batchOf(spoolOf(1), 1n, range(1, 101).map(recordOf))]);
    const seen: number[] = [];
    const filtered: string[] = [];
    const ending = new AbortController();
    const options = { deadlineMs: 5_000, signal: ending.signal };
    const follow = async (): Promise<void> => {
      for await (const { entries } of stage.ledger().tail({ from: 50n }, options))
        seen.push(...entries.map(({ index }) => Number(index)));
    };
    const followTransits = async (): Promise<void> => {
      for await (const { entries } of stage
        .ledger()
        .tail({ filter: { kinds: ['session-transit'] } }, options))
        filtered.push(...entries.map((entry) => recordIn(entry).id));
    };
    const following = Promise.allSettled([follow(), followTransits()]);
    await until('the past was told', () => seen.length === 50);
    for (let first = 101; first <= 400; first += 100)
      await stage.deliver('overlay', [
        batchOf(spoolOf(1), BigInt(first), range(first, first + 100).map(recordOf)),
      ]);
    const transits = range(101, 401).filter((number) => number % 3 === 0);
    await until('all was told', () => seen.length === 350 && filtered.length === transits.length);
    ending.abort();
    await following;
    expect(seen).toEqual(range(50, 400));
    expect(filtered).toEqual(transits.map((number) => transit(number).id));
  });

  it('PO-5 who is not trusted enough is refused by the way in, and that is recorded', async () => {
    await stage.serve();
    await stage.deliver('overlay', [batchOf(spoolOf(1), 1n, [recordOf(1)])]);
    const forbidden = { code: 'LEDGER_FORBIDDEN' };
    const query = { limit: 1, newestFirst: false };
    const low = stage.ledger('local/apprentice');
    expect((await low.status({}, CALL)).size).toBe(1n);
    await expect(low.query(query, CALL)).rejects.toMatchObject(forbidden);
    await expect(low.prove({ index: 0n }, CALL)).rejects.toMatchObject(forbidden);
    const order = { subject: 'user:peer-1', reason: 'no', principal: 'user:eve' };
    await expect(stage.ledger('local/master').erase(order, CALL)).rejects.toMatchObject(forbidden);
    const middle = stage.ledger('local/journeyman');
    expect((await middle.query(query, CALL)).count).toBeGreaterThanOrEqual(1n);
    const exporting = async (): Promise<void> => {
      for await (const _ of middle.export({ format: 'json', pseudonymised: true }, CALL))
        expect.unreachable();
    };
    await expect(exporting()).rejects.toMatchObject(forbidden);
    await until('the refusals are recorded', async () => (await everything()).length === 5);
    const refusals = (await everything()).slice(1).map((entry) => recordIn(entry));
    expect(
      refusals.map((record) => 'action' in record && [record.allow, record.action, record.tier]),
    ).toEqual([
      [false, 'ledger.read', 'apprentice'],
      [false, 'ledger.read', 'apprentice'],
      [false, 'ledger.erase', 'master'],
      [false, 'ledger.export', 'journeyman'],
    ]);
    expect((await stage.ledger('console').query(query, CALL)).entries).toHaveLength(1);
  });

  it('SE-2 a site decides by policies of its own who reads, and is told which of them refused', async () => {
    const policies = join(stage.root, 'policies');
    mkdirSync(policies);
    const file = join(policies, 'site.cedar');
    writeFileSync(
      file,
      '@id("all")\npermit (principal, action, resource);\n@id("console-reads")\n@reason("{tier} reads at the console")\n' +
        'forbid (principal, action == Kedge::Action::"ledger.read", resource) unless { context.channel == "console" };\n',
    );
    await stage.serve({ authorisation: { policies } });
    const query = { limit: 1, newestFirst: false };
    const owner = stage.ledger('local/site_owner');
    await until('the policies', async () =>
      owner.status({}, CALL).then(
        () => true,
        () => false,
      ),
    );
    await expect(owner.query(query, CALL)).rejects.toMatchObject({
      code: 'LEDGER_FORBIDDEN',
      message: 'ledger.read is not allowed: site_owner reads at the console',
    });
    await stage.ledger('console').query(query, CALL);
    writeFileSync(file, 'permit (');
    await until('the alarm', async () =>
      (await owner.status({}, CALL)).alarms.some((alarm) =>
        alarm.startsWith('the newest policies are not in force: '),
      ),
    );
    const { entries } = await stage.ledger('console').query({ limit: 1, newestFirst: true }, CALL);
    expect(entries.map((entry) => recordIn(entry))).toMatchObject([
      { action: 'ledger.read', allow: false, rule: 'console-reads', tier: 'site_owner' },
    ]);
  });

  it('LE-8 level 1 brings a snapshot of all parts, or one that says what is missing, in bounded time', async () => {
    const { child } = await stage.serve({ snapshotWaitMs: 3_000 });
    const whole = [
      ['overlay', [part(2n, 'overlay', 'mesh'), part(2n, 'overlay', 'tunnels', { items: [] })]],
      ['overlay', [part(2n, 'overlay', 'routes', { part: 1, parts: 2 })]],
      ['underlay', [part(2n, 'underlay', 'routes'), part(2n, 'underlay', 'devices')]],
      ['overlay', [part(2n, 'overlay', 'routes', { part: 2, parts: 2 })]],
    ] as const;
    stage.tighten(2n, 5, 1);
    const next = new Map<string, bigint>();
    const give = async (source: 'overlay' | 'underlay', records: readonly LedgerRecord[]) => {
      const first = next.get(source) ?? 1n;
      await stage.deliver(source, [batchOf(spoolOf(SOURCES.indexOf(source)), first, records)]);
      next.set(source, first + BigInt(records.length));
    };
    for (const [source, records] of whole) await give(source, records);
    const taken = async (epoch: bigint) => {
      let found: LedgerRecord | undefined;
      await until(`the snapshot of epoch ${epoch}`, async () => {
        const entries = await everything({ kinds: ['posture-forensic-snapshot'] });
        found = entries.map(recordIn).find(({ id }) => id === `forensic-snapshot/box-7/${epoch}`);
        return found !== undefined;
      });
      if (found?.schema !== 'kedge.posture-forensic-snapshot/1') throw new Error('no snapshot');
      return found;
    };
    const complete = await taken(2n);
    expect(complete.complete).toBe(true);
    const routes = [
      ...(whole[1][1][0]?.items ?? []),
      ...(whole[3][1][0]?.items ?? []),
      ...(whole[2][1][0]?.items ?? []),
    ];
    expect(complete.sections.find(({ section }) => section === 'routes')).toEqual({
      ...{ section: 'routes', complete: true, reason: '', items: 3, parts: 3 },
      sha256: createHash('sha256').update(canonicalJson(routes)).digest('hex'),
    });
    const [processes] = (await everything({ kinds: ['posture-forensic-part'] }))
      .map(recordIn)
      .flatMap((record) =>
        record.schema === 'kedge.posture-forensic-part/1' && record.section === 'processes' ? [record] : [],
      );
    expect(processes?.items).toContainEqual(
      expect.objectContaining({
        name: expect.stringMatching(new RegExp(`^${child.pid} `)) as string,
        facts: expect.objectContaining({ program: process.execPath, parent: process.pid }) as object,
      }),
    );
    stage.reach(3n, 1, 5);
    const startedAt = performance.now();
    stage.tighten(4n, 5, 1);
    await give('overlay', [part(4n, 'overlay', 'mesh'), part(4n, 'overlay', 'routes', { parts: 3 })]);
    await give('underlay', [part(4n, 'underlay', 'devices', { reason: 'one switch did not answer' })]);
    const lacking = await taken(4n);
    expect(performance.now() - startedAt).toBeLessThan(5_500);
    expect(lacking.complete).toBe(false);
    expect(lacking.sections.map(({ section, complete: is, reason }) => [section, is, reason])).toEqual([
      ['mesh', true, ''],
      ['tunnels', false, 'no part of overlay came in time'],
      ['routes', false, '1 of 3 parts of overlay came in time; no part of underlay came in time'],
      ['sessions', true, ''],
      ['devices', false, 'underlay: one switch did not answer'],
      ['processes', true, ''],
    ]);
    const { snapshot } = await stage.ledger().status({}, CALL);
    expect(snapshot).toMatchObject({ id: 'forensic-snapshot/box-7/4', complete: false });
  });

  it('LE-8 killed in the middle of a snapshot it goes on with what is durable of it, and takes none a second time', async () => {
    const first = await stage.serve({ snapshotWaitMs: 4_000 });
    stage.tighten(2n, 5, 1);
    const early = [
      part(2n, 'overlay', 'mesh'),
      part(2n, 'overlay', 'tunnels'),
      part(2n, 'overlay', 'routes'),
    ];
    await stage.deliver('overlay', [batchOf(spoolOf(1), 1n, early)]);
    const parts = async () => (await everything({ kinds: ['posture-forensic-part'] })).map(recordIn);
    await until('its own part is there', async () => (await parts()).length === 4);
    await stage.end(first.child, 'SIGKILL');

    const second = await stage.serve({ snapshotWaitMs: 4_000 });
    const late = [part(2n, 'underlay', 'routes'), part(2n, 'underlay', 'devices')];
    await stage.deliver('underlay', [batchOf(spoolOf(2), 1n, late)]);
    const snapshots = async () => (await everything({ kinds: ['posture-forensic-snapshot'] })).map(recordIn);
    await until('the snapshot is recorded', async () => (await snapshots()).length === 1, second.output);
    expect((await snapshots())[0]).toMatchObject({ id: 'forensic-snapshot/box-7/2', complete: true });
    expect(await parts()).toHaveLength(6);
    await stage.end(second.child, 'SIGKILL');

    const third = await stage.serve({ snapshotWaitMs: 100 });
    const told = async () => (await stage.ledger().status({}, CALL)).snapshot;
    await until('it knows its snapshot', async () => (await told()) !== undefined, third.output);
    expect(await told()).toMatchObject({ id: 'forensic-snapshot/box-7/2', complete: true, missing: [] });
    expect(await snapshots()).toHaveLength(1);
    expect(third.output()).not.toContain('could not be recorded');
  });

  it('a batch that is none, or that lacks what came before it, ends its stream and is told', async () => {
    await stage.serve();
    const refused = async (batch: Batch, code: string, field?: string): Promise<void> => {
      await expect(stage.deliver('overlay', [batch])).rejects.toMatchObject({
        code,
        ...(field && { field }),
      });
    };
    await refused({ spool: 'mine', first: 1n, records: [] }, 'LEDGER_BATCH', 'spool');
    await refused({ spool: spoolOf(1), first: 0n, records: [Buffer.from('{}')] }, 'LEDGER_BATCH', 'first');
    // What is no record is passed over, and what is one behind it is kept.
    const [kept] = await stage.deliver('overlay', [
      {
        ...batchOf(spoolOf(1), 1n, [recordOf(1)]),
        records: [Buffer.from('{}'), ...batchOf('', 1n, [recordOf(1)]).records],
      },
    ]);
    expect(kept?.upTo).toBe(2n);
    expect(await stage.ledger().status({}, CALL)).toMatchObject({ size: 1n, keptOut: 1n, alarms: [] });
    await refused(batchOf(spoolOf(1), 9n, [recordOf(1)]), 'LEDGER_GAP');
    expect((await stage.ledger().status({}, CALL)).alarms.join('\n')).toContain('LEDGER_GAP');
    const [next] = await stage.deliver('overlay', [batchOf(spoolOf(1), 3n, [recordOf(2)])]);
    expect(next?.upTo).toBe(3n);
    expect(await stage.ledger().status({}, CALL)).toMatchObject({ size: 2n, alarms: [] });
  });

  it('ends when it is told to, and begins where it ended', async () => {
    const { child } = await stage.serve();
    await stage.deliver('overlay', [batchOf(spoolOf(1), 1n, range(1, 20).map(recordOf))]);
    const { verifier } = await stage.ledger().getCheckpoint({}, CALL);
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await gone).toEqual([0, null]);
    await stage.serve();
    expect(await stage.ledger().getCheckpoint({}, CALL)).toMatchObject({ verifier });
    expect(await everything()).toHaveLength(19);
  });
});
