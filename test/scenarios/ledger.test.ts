/**
 * The ledger of one lab: what the services recorded while the posture went up and down, asked by the command and
 * compared with the files of the log itself.
 * Must not trust the ledger's service for what the log holds: its files are read, and checked, by themselves.
 */
import { dialUnix, intakeClient, ledgerClient, overlayService } from '@kedge/bus';
import type { LedgerRecord, SessionTransit } from '@kedge/contracts';
import { type Lab, labDown, labUp, linksOf, PATIENT_BUDGETS } from '@kedge/lab';
import {
  CHECKPOINT_PATH,
  checkLog,
  encodeRecord,
  isRecorded,
  openCheckpoint,
  verifierOf,
} from '@kedge/ledger';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { kedge, kedgeJson } from './run-command.js';

const NAME = 'ledger';
const LAB = ['--lab', NAME];
const CALL = { deadlineMs: 10_000 };
const LOG = '/run/kedge/state/quartermaster/ledger/log';

interface Told {
  readonly count: string;
  readonly entries: readonly { readonly index: string; readonly record: LedgerRecord }[];
}

let lab: Lab;

const set = (level: number): Promise<{ readonly epoch: string }> =>
  kedgeJson([
    'posture',
    'set',
    String(level),
    ...['--reason', 'a test', '--as', 'console', '--wait'],
    ...LAB,
  ]);
const query = (...words: readonly string[]): Promise<Told> =>
  kedgeJson<Told>(['ledger', 'query', '--limit', '1000', ...words, ...LAB]);

/** Entries of the log, sealed as they were hashed, once its files hold all that is durable now. */
async function logged(): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const ledger = lab.ledger();
  const { checkpoint, verifier } = await ledger.getCheckpoint({}, CALL);
  const key = verifierOf(verifier);
  const wanted = openCheckpoint(checkpoint, key).size;
  const read = (path: string): Buffer | undefined => {
    try {
      return readFileSync(lab.reach(join(LOG, path)));
    } catch {
      return undefined;
    }
  };
  const onDisk = () => openCheckpoint(read(CHECKPOINT_PATH) ?? Buffer.alloc(0), key);
  await expect.poll(() => onDisk().size, { timeout: 15_000 }).toBeGreaterThanOrEqual(wanted);
  const { size, root } = onDisk();
  const entries: Buffer[] = [];
  const { faults } = checkLog({ size, root, read, onEntry: (_, entry) => entries.push(entry) });
  expect(faults).toEqual([]);
  return entries.map((entry) => JSON.parse(entry.toString('utf8')) as Readonly<Record<string, unknown>>);
}

/** What the sessions of an appliance would say of themselves. */
function transit(number: number, level: SessionTransit['posture_level_at_transit']): SessionTransit {
  return {
    schema: 'kedge.session-transit/1',
    id: `session-transit/${NAME}/${level}/${number}`,
    appliance: NAME,
    at: new Date().toISOString(),
    epoch: '1',
    session: `session-${number}`,
    kind: number % 2 === 0 ? 'cut' : 'admitted',
    peer: `user:peer-${number % 3}`,
    tier: 'journeyman',
    sessionType: 'operator',
    critical: false,
    posture_level_at_transit: level,
    sampledPercent: 100,
    reason: '',
    seenAtNs: String(number),
    frames: null,
  };
}

const spool = randomBytes(16).toString('hex');
let delivered = 0n;

async function deliver(records: readonly SessionTransit[]): Promise<void> {
  const client = intakeClient(lab.reach('/run/kedge/sock/sources/vpp-bridge/ledger.sock'));
  const first = delivered + 1n;
  async function* batch() {
    await Promise.resolve();
    yield { spool, first, records: records.map((record) => encodeRecord(record).bytes) };
  }
  try {
    for await (const { upTo } of client.deliver(batch(), CALL)) delivered = upTo;
  } finally {
    client.close();
  }
  expect(delivered).toBe(first - 1n + BigInt(records.length));
}

/** Changes of the underlay, each under a permit of the gate. */
async function mutate(level: number, count: number): Promise<readonly string[]> {
  const [link] = linksOf('underlay');
  const ids: string[] = [];
  for (let number = 0; number < count; number += 1) {
    const id = `ledger-test-${level}-${number}`;
    const route = {
      ...{ destination: `10.121.${level * 20 + number}.0/24`, via: link.via4, dev: link.name, metric: 0 },
      ...{ purpose: 'management', tier: 'site_owner' },
    };
    const change = { add: [route], remove: [] };
    const reply = await lab
      .underlay('local/site_owner')
      .execute({ id, principal: 'user:ada', kind: 'ordinary', what: 'change', change }, CALL);
    if (reply.outcome !== 'refusal') ids.push(id);
  }
  return ids;
}

beforeAll(async () => {
  await labDown(NAME);
  lab = await labUp({ name: NAME, foreground: true, budgets: PATIENT_BUDGETS });
}, 120_000);

afterAll(async () => {
  await lab.down();
});

describe('the ledger of a lab', { timeout: 120_000 }, () => {
  it('LE-1 LE-7 every transit and permit while the site was at level 3 is one query, and what the log itself holds', async () => {
    const permitted: string[] = [];
    for (const level of [4, 3, 2, 3, 4, 5] as const) {
      await set(level);
      await deliver([1, 2, 3].map((number) => transit(Number(delivered) + number, level)));
      const ids = await mutate(level, 2);
      if (level === 3) permitted.push(...ids);
    }
    expect(permitted.length).toBeGreaterThan(0);
    const kinds = ['session-transit', 'network-mutation', 'authorisation-decision'];
    const ask = (): Promise<Told> => query('--level', '3', ...kinds.flatMap((kind) => ['--kind', kind]));
    // The services hand their records on by themselves, a moment later.
    await expect
      .poll(
        async () => {
          const mutations = (await ask()).entries.flatMap(({ record }) =>
            'mutation' in record ? [record.mutation] : [],
          );
          return permitted.filter((id) => !mutations.some((mutation) => mutation.includes(id)));
        },
        { timeout: 15_000 },
      )
      .toEqual([]);
    const told = await ask();
    const holds = (entry: Readonly<Record<string, unknown>>): boolean =>
      kinds.some((kind) => entry['schema'] === `kedge.${kind}/1`) &&
      (entry['posture_level_at_transit'] ?? entry['level']) === 3;
    const inLog = (await logged())
      .map((entry, index) => ({ entry, index }))
      .filter(({ entry }) => holds(entry))
      .map(({ entry, index }) => [String(index), entry['id']]);
    expect(told.entries.map(({ index, record }) => [index, record.id])).toEqual(inLog);
    expect(told.count).toBe(String(inLog.length));
    expect(told.entries.filter(({ record }) => record.schema === 'kedge.session-transit/1')).toHaveLength(6);
  });

  it('LE-3 of routine transits a share within binomial bounds is there at 5 and 4, of refused and drained ones each', async () => {
    const SESSIONS = 2_000;
    for (const [level, percent] of [
      [5, 10],
      [4, 50],
    ] as const) {
      const all = Array.from({ length: SESSIONS }, (_, number): SessionTransit => {
        const session = `sampled-${level}-${number}`;
        const kind = number % 20 === 0 ? 'refused' : number % 20 === 1 ? 'drained' : 'admitted';
        const id = `session-transit/${NAME}/${session}`;
        return { ...transit(number, level), id, session, kind, sampledPercent: percent };
      });
      await deliver(all.filter((each) => isRecorded(each, percent)));
      const held = async (outcome: string): Promise<number> => {
        const words = ['--kind', 'session-transit', '--level', String(level), '--outcome', outcome];
        const { entries, count } = await query(...words);
        // What the site itself recorded in other tests is not of these sessions.
        const own = entries.filter(({ record }) => record.id.includes(`/sampled-${level}-`)).length;
        expect(entries).toHaveLength(Number(count));
        return own;
      };
      const always = SESSIONS / 20;
      await expect.poll(() => held('refused'), { timeout: 15_000 }).toBe(always);
      await expect.poll(() => held('drained'), { timeout: 15_000 }).toBe(always);
      const routine = SESSIONS - 2 * always;
      const share = percent / 100;
      const four = 4 * Math.sqrt(routine * share * (1 - share));
      const admitted = await held('admitted');
      expect(Math.abs(admitted - routine * share)).toBeLessThanOrEqual(four);
      expect(admitted).toBe(
        all.filter((each) => each.kind === 'admitted' && isRecorded(each, percent)).length,
      );
    }
  });

  it('LE-1 every transition is in the ledger, as the coordinator reports it', async () => {
    await set(4);
    await set(5);
    const history = await kedgeJson<{
      transitions: { epoch: string; from: number; to: number }[];
    }>(['history', '--limit', '100', ...LAB]);
    const expected = history.transitions.map(({ epoch, from, to }) => [epoch, from, to]).sort();
    const recorded = async (): Promise<unknown[]> =>
      (await query('--kind', 'posture-transition')).entries
        .flatMap(({ record }) => (record.schema === 'kedge.posture-transition/1' ? [record] : []))
        .map(({ epoch, from, to }) => [epoch, from, to])
        .sort();
    await expect.poll(recorded, { timeout: 15_000 }).toEqual(expected);
  });

  it('PO-5 LE-1 who is refused an edit of the overlay is in the ledger, also with what is no request at all', async () => {
    const malformed = dialUnix(lab.reach('/run/kedge/sock/internal/overlay.sock'), {
      ...overlayService,
      methods: overlayService.methods.map((method) => ({
        ...method,
        encodeRequest: () => Buffer.from([0x0f]),
      })),
    });
    const request = { routes: [], principal: 'user:eve' };
    try {
      await expect(malformed.addRoutes(request, CALL)).rejects.toMatchObject({ code: 'BUS_MESSAGE_INVALID' });
      await expect(malformed.listRoutes({ limit: 1, offset: 0 }, CALL)).rejects.toMatchObject({
        code: 'BUS_MESSAGE_INVALID',
      });
    } finally {
      malformed.close();
    }
    await expect(lab.overlay().addRoutes(request, CALL)).rejects.toMatchObject({ field: 'routes' });
    const refused = async (): Promise<unknown[]> =>
      (await query('--kind', 'authorisation-decision')).entries.flatMap(({ record }) =>
        record.schema === 'kedge.authorisation-decision/1' && record.resource === 'routes/overlay'
          ? [[record.rule, record.allow, record.action, record.principal]]
          : [],
      );
    // A list changes nothing: who asks for one wrongly is answered and not recorded.
    await expect
      .poll(refused, { timeout: 15_000 })
      .toEqual(
        ['BUS_MESSAGE_INVALID', 'ROUTE_SET_REQUEST'].map((rule) => [rule, false, 'mutation.execute', '']),
      );
  });

  it('PO-22 LE-5 a ledger that is stopped or killed holds up no transition, and lacks nothing afterwards', async () => {
    const [keeper] = lab.serviceProcesses('quartermaster');
    if (keeper === undefined) throw new Error('no quartermaster');
    process.kill(keeper.pid, 'SIGSTOP');
    const report = await set(2);
    await set(5);
    const shown = await kedgeJson<{ outcome: string }>(['transition', 'show', report.epoch, ...LAB]);
    expect(shown.outcome).toBe('completed');
    // The warden sees that it is stopped, and kills it by itself.
    await expect
      .poll(() => lab.serviceProcesses('quartermaster')[0]?.pid, { timeout: 30_000 })
      .not.toBe(keeper.pid);
    await expect
      .poll(
        () =>
          lab
            .ledger()
            .health({ deadlineMs: 1_000 })
            .catch(() => 'away'),
        { timeout: 30_000 },
      )
      .toBe('SERVING');
    await expect
      .poll(
        async () => {
          const { entries } = await query('--kind', 'posture-transition', '--level', '2', '--newest');
          return entries.some(({ record }) => record.epoch === report.epoch);
        },
        { timeout: 30_000 },
      )
      .toBe(true);
    const ids = (await logged()).map((entry) => entry['id']);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('LE-8 a lockdown leaves a snapshot of all that the services had, inside the budget of the overlay', async () => {
    await set(1);
    await expect
      .poll(async () => (await query('--kind', 'posture-forensic-snapshot')).count, { timeout: 15_000 })
      .toBe('1');
    const [entry] = (await query('--kind', 'posture-forensic-snapshot')).entries;
    const snapshot = entry?.record;
    if (snapshot?.schema !== 'kedge.posture-forensic-snapshot/1') throw new Error('no snapshot');
    expect(snapshot.sections.map(({ section, reason }) => `${section} ${reason}`)).toEqual(
      ['mesh', 'tunnels', 'routes', 'sessions', 'devices', 'processes'].map((section) => `${section} `),
    );
    expect(snapshot.complete).toBe(true);
    expect(BigInt(snapshot.finishedAtNs) - BigInt(snapshot.startedAtNs)).toBeLessThan(5_000_000_000n);
    await set(5);
  });

  it('PO-3 nobody but its service reaches the intake of a service, and the doctor knows the ledger', async () => {
    const { size, sources, alarms } = await lab.ledger().status({}, CALL);
    expect(alarms).toEqual([]);
    expect(size).toBeGreaterThan(0n);
    expect(new Set(sources.map(({ service }) => service))).toEqual(
      new Set(['posture-coordinator', 'vpp-bridge', 'overlay', 'underlay', 'intent']),
    );
    const said = await kedge(['ledger', 'status', ...LAB]);
    expect(said.out).toContain('kedge.example/ledger');
    const status = await kedge(['lab', 'status', '--name', NAME]);
    expect(status.out).toMatch(/^quartermaster +1 /m);
    const other = ledgerClient(lab.reach('/run/kedge/sock/local/apprentice/ledger/ledger.sock'));
    await expect(other.query({ limit: 1, newestFirst: false }, CALL)).rejects.toMatchObject({
      code: 'LEDGER_FORBIDDEN',
    });
    other.close();
  });
});
