import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { basculeService } from './bascule-api.js';
import { devicesService } from './devices-api.js';
import { governanceService } from './governance-api.js';
import { intentService } from './intent-api.js';
import { intentDevicesService } from './intent-devices-api.js';
import { intakeService, ledgerService } from './ledger-api.js';
import { overlayService } from './overlay-api.js';
import { postureService, type PostureState, type SetReply } from './posture-api.js';
import { underlayService } from './underlay-api.js';

/** Sends a message of a method there and back. */
const throughOf =
  ({ methods }: { readonly methods: typeof postureService.methods }) =>
  (name: string, side: 'Request' | 'Reply', value: object): void => {
    const found = methods.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no method ${name}`);
    expect(found[`decode${side}`](found[`encode${side}`](value))).toEqual(value);
  };

const method = (name: string) => {
  const found = [...postureService.methods, ...governanceService.methods].find((each) => each.name === name);
  if (found === undefined) throw new Error(`no method ${name}`);
  return found;
};

const state: PostureState = {
  epoch: 281_474_976_710_655n,
  level: 2,
  target: 3,
  transition: {
    epoch: 7n,
    from: 2,
    to: 3,
    outcome: 'running',
    source: { channel: 'console', tier: 'site_owner', principal: 'user:ada', reason: 'drill' },
    receivedAtNs: 1n,
    decidedAtNs: 9_007_199_254_740_993n,
    storedAtNs: 3n,
    journaledAtNs: 4n,
    completedAtNs: 0n,
    durable: true,
    paths: [
      {
        path: 'dataplane',
        budgetNs: 1_000_000n,
        startNs: 2n,
        endNs: 0n,
        outcome: 'running',
        participants: [
          {
            name: 'reference/0',
            startedAtNs: 2n,
            finishedAtNs: 0n,
            outcome: 'running',
            level: 2,
            changes: 0,
          },
        ],
      },
    ],
    decidedAtWallMs: 1_790_000_000_000n,
  },
  failClosed: [{ path: 'dataplane', level: 2, epoch: 6n, setAtNs: 5n }],
  services: [
    { name: 'vpp-bridge', beatAgeNs: 4n, stale: false, serving: true, pid: 41, epoch: 7n, level: 2 },
  ],
  atNs: 18_446_744_073_709_551_615n,
  alarms: ['the data plane is late'],
  disagreements: [
    {
      who: 'mesh',
      path: 'overlay',
      believesEpoch: 8n,
      believesLevel: 5,
      inForceEpoch: 9n,
      inForceLevel: 2,
      ageNs: 6_000_000_000n,
      overdue: true,
      away: false,
    },
  ],
  violations: [
    {
      number: 3n,
      atNs: 1n,
      epoch: 9n,
      kind: 'budget',
      path: 'overlay',
      subject: 'mesh',
      deadlineNs: 1n,
      actedAtNs: 2n,
      level: 2,
    },
  ],
};

describe('messages', () => {
  it('a reply comes back as it was sent, 64-bit numbers whole', () => {
    const get = method('get');
    expect(get.decodeReply(get.encodeReply(state))).toEqual(state);
    const show = method('show');
    const shown = {
      generation: 3n,
      builtAtNs: 4n,
      accordsHash: Buffer.from('ab'.repeat(32), 'hex'),
      levels: [{ level: 5, valid: true, entries: 12, shapesIp4: 3, shapesIp6: 2, classify: false }],
      dataplanes: [
        {
          name: 'reference',
          alive: true,
          safeLevel: 0,
          telemetryGaps: 0n,
          flowGaps: 2n ** 62n,
          workers: [
            {
              index: 0,
              epoch: 7n,
              level: 2,
              generation: 3n,
              received: 2n ** 63n,
              sent: 1n,
              dropped: 2n,
              deprioritised: 3n,
              reasons: { pair: 2n ** 60n, entry: 1n },
              applications: { tls: { packets: 4n, bytes: 2n ** 61n } },
              queues: { ordinary: { sent: 5n, waited: 4n, lost: 3n, withdrawn: 2n, waiting: 1n } },
              pairs: [{ fromZone: 2, toZone: 3, verdict: 'drop', packets: 6n }],
              flows: { live: 1n, begun: 4n, evicted: 2n, written: 3n },
            },
          ],
        },
      ],
      zones: [{ id: 1, name: 'management' }],
      waiting: '',
      alarms: ['accords refused'],
    };
    expect(show.decodeReply(show.encodeReply(shown))).toEqual(shown);
  });

  it('an absent message is absent, an absent optional number too, and a missing number is 0', () => {
    const get = method('get');
    expect(get.decodeReply(get.encodeReply({ level: 5 }))).toEqual({
      epoch: 0n,
      level: 5,
      target: 0,
      failClosed: [],
      services: [],
      atNs: 0n,
      alarms: [],
      disagreements: [],
      violations: [],
    });
    const set = method('set');
    const request = { level: 3, reason: 'why', principal: 'user:ada', idempotencyKey: '12345678' };
    expect(set.decodeRequest(set.encodeRequest(request))).toEqual(request);
    expect(set.decodeRequest(set.encodeRequest({ ...request, ifEpoch: 0n }))).toEqual({
      ...request,
      ifEpoch: 0n,
    });
  });

  it('the outcome of a reply says which of its messages is there', () => {
    const set = method('set');
    const reply: SetReply = { outcome: 'waiting', waiting: { behindEpoch: 9n } };
    expect(set.decodeReply(set.encodeReply(reply))).toEqual(reply);
    expect(() => set.encodeReply({ outcome: 'decision', waiting: { behindEpoch: 9n } })).toThrow(
      expect.objectContaining({ code: 'BUS_MESSAGE_INVALID', field: 'outcome' }),
    );
  });

  it('every field that goes out is checked against the .proto and named by its path', () => {
    const get = method('get');
    const wrong: [unknown, string][] = [
      [{ ...state, epoch: 7 }, 'epoch'],
      [{ ...state, epoch: -1n }, 'epoch'],
      [{ ...state, epoch: 2n ** 64n }, 'epoch'],
      [{ ...state, level: 2n }, 'level'],
      [{ ...state, level: 2.5 }, 'level'],
      [{ ...state, level: -1 }, 'level'],
      [{ ...state, level: 2 ** 32 }, 'level'],
      [{ ...state, alarms: 'late' }, 'alarms'],
      [{ ...state, alarms: [1] }, 'alarms[0]'],
      [{ ...state, transition: 'none' }, 'transition'],
      [{ ...state, failClosed: [{ path: 7 }] }, 'failClosed[0].path'],
      [{ ...state, services: [{ serving: 1 }] }, 'services[0].serving'],
      [{ ...state, colour: 'red' }, 'colour'],
    ];
    for (const [message, field] of wrong) {
      expect(() => get.encodeReply(message)).toThrow(
        expect.objectContaining({ code: 'BUS_MESSAGE_INVALID', field }),
      );
    }
    expect(wrong).toHaveLength(13);
    expect(() => method('show').encodeReply({ accordsHash: 'ab' })).toThrow(
      expect.objectContaining({ field: 'accordsHash' }),
    );
    expect(() =>
      method('show').encodeReply({ dataplanes: [{ workers: [{ reasons: { pair: 1 } }] }] }),
    ).toThrow(expect.objectContaining({ field: 'dataplanes[0].workers[0].reasons["pair"]' }));
  });

  it('bytes at random are a message or an error, never anything else', () => {
    const every = [
      postureService,
      governanceService,
      overlayService,
      underlayService,
      basculeService,
      intentService,
      intentDevicesService,
      intakeService,
      ledgerService,
    ].flatMap(({ methods }) => methods);
    expect(every).toHaveLength(49);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(48), (bytes, index) => {
        try {
          expect(every[index]?.decodeRequest(Buffer.from(bytes))).toBeTypeOf('object');
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
    );
  });
});

describe('overlay and underlay', () => {
  const route = {
    destination: '10.90.1.0/24',
    via: '10.254.1.2',
    dev: 'site-a',
    metric: 0,
    purpose: 'ordinary',
    tier: 'master',
  };

  it('routes, changes and proposals come back as they were sent', () => {
    throughOf(overlayService)('addRoutes', 'Request', { routes: [route, route], principal: 'service:cni' });
    throughOf(overlayService)('listRoutes', 'Reply', {
      routes: [{ route, allowed: false }],
      total: 1,
      epoch: 2n ** 47n,
      level: 3,
    });
    const change = { add: [route], remove: [{ destination: 'fd90:1::/64', metric: 7 }] };
    const executed = { id: 'mutation-1', principal: 'user:ada', kind: 'emergency' };
    throughOf(underlayService)('execute', 'Request', { ...executed, what: 'change', change });
    throughOf(underlayService)('execute', 'Request', {
      ...executed,
      what: 'proposal',
      proposal: 'mutation-0',
    });
    throughOf(underlayService)('ask', 'Reply', { outcome: 'granted', granted: { epoch: 9n, level: 4 } });
    throughOf(underlayService)('listProposals', 'Reply', {
      proposals: [
        {
          id: 'mutation-0',
          principal: 'user:eve',
          tier: 'apprentice',
          channel: 'local',
          reason: 'a pod moved',
          change,
          epoch: 8n,
          atWallMs: 1_790_000_000_000n,
        },
      ],
    });
  });
});

describe('intent', () => {
  it('requests, revisions and refusals come back as they were sent', () => {
    const through = throughOf(intentService);
    const by = { principal: 'user:ada', tier: 'master', channel: 'local' };
    const revision = {
      ...{ number: 7, id: 'ab'.repeat(32), parent: '', atWallMs: 2n ** 41n, by, cause: 'rollback', of: 3 },
      ...{ confirmSeconds: 600, comment: 'back', hash: 'cd'.repeat(32), bytes: 2n ** 33n, modules: '' },
    };
    const { by: _, ...own } = revision;
    through('load', 'Request', { principal: 'user:ada', document: 'x'.repeat(5_000_000) });
    const edits = [
      { kind: 'replace', path: '/a', value: '""' },
      { kind: 'delete', path: '/b' },
    ];
    through('edit', 'Request', { principal: 'user:ada', edits });
    const terms = { principal: 'user:ada', comment: '', confirmSeconds: 0, ifRevision: 6 };
    through('commit', 'Request', terms);
    through('rollback', 'Request', { ...terms, to: 3 });
    through('commit', 'Reply', { outcome: 'committed', committed: { revision, confirmByWallMs: 2n ** 41n } });
    through('cancel', 'Reply', { outcome: 'cancelled', cancelled: { revision: own, was: 6 } });
    const findings = [{ path: '/a', message: 'no', appTag: '' }];
    const refusal = {
      ...{ code: 'INTENT_RACED', message: 'no', field: 'base', expected: '', help: '', rule: '' },
      ...{ between: revision, findings, complete: true },
    };
    through('commit', 'Reply', { outcome: 'refusal', refusal });
    through('compare', 'Reply', { path: '/a', kind: 'create', after: '""' });
    const candidate = { base: 7, hash: 'cd'.repeat(32), changed: false, atWallMs: 0n };
    through('status', 'Reply', {
      ...{ phase: 'confirming', level: 5, frozen: false, running: 7, startup: 6, intended: 0, candidate },
      ...{ lock: { by, atWallMs: 1n, comment: '' }, modules: '', validity: 'valid', revisions: 2, bytes: 9n },
      ...{ pending: { revision: 7, by, untilWallMs: 3n, waiting: false }, alarms: ['one'] },
    });
  });
});

describe('devices of the intent', () => {
  const through = throughOf(intentDevicesService);

  it('UN-6 devices, differences, plans and remedies come back as they were sent', () => {
    const device = {
      ...{ device: 'access-1', driver: 'linux', state: 'refused', why: 'a VLAN is none of the site' },
      ...{ revision: 7, readAtWallMs: 2n ** 41n, nextAtWallMs: 0n, drifts: 2, complete: true },
      refusals: [{ code: 'COMPILER_VLAN', path: '/a', message: 'no', expected: 'a network' }],
      dormant: [{ path: '/b', why: 'the interface is off' }],
    };
    through('listDevices', 'Request', { device: '' });
    through('listDevices', 'Reply', device);
    through('check', 'Reply', { ...device, refusals: [], dormant: [], complete: false });
    const drift = {
      ...{ device: 'access-1', path: '/a', sinceWallMs: 1n, seenWallMs: 2n ** 62n, severity: 'major' },
      ...{ cause: 'unmanaged-change', remediation: 'proposed', exception: '' },
    };
    through('listDrifts', 'Reply', { ...drift, intended: '{"id":20}' });
    through('listDrifts', 'Reply', { ...drift, actual: '""' });
    through('plan', 'Request', { device: 'access-1', source: 'candidate' });
    const head = { steps: 2, dormant: device.dormant, complete: true };
    through('plan', 'Reply', { part: 'head', head });
    through('plan', 'Reply', { part: 'text', text: Buffer.from('+ a') });
    through('plan', 'Reply', { part: 'data', data: Buffer.from('{}') });
    through('remedy', 'Request', { principal: 'user:ada', device: 'access-1', path: '/a' });
    through('remedy', 'Reply', { outcome: 'remedied', remedied: { remedied: 2, device } });
  });
});

describe('devices', () => {
  it('requests, readings and what was carried out come back as they were sent', () => {
    const through = throughOf(devicesService);
    const part = { tree: Buffer.from('{"a":1}'), own: ['br0'] };
    through('read', 'Request', { device: '{}' });
    through('read', 'Reply', part);
    const asked = { id: 'mutation-a', principal: 'user:ada', tier: 'master', channel: 'local' };
    through('carryOut', 'Request', { ...asked, kind: 'ordinary', device: '{}', plan: '{}' });
    through('carryOut', 'Reply', { outcome: 'reading', reading: part });
    const refusal = { code: 'GATE_FROZEN', message: 'no', field: '', expected: '', help: '', rule: 'frozen' };
    through('carryOut', 'Reply', { outcome: 'refusal', refusal: { ...refusal, epoch: 2n ** 47n, level: 1 } });
    const carried = { result: 'failed', done: ['add/1'], remaining: [], wasRead: true };
    const failure = { code: 'DRIVER_STALE', message: 'other', step: '' };
    const remaining = [{ path: '/a:b', intended: 'null', actual: '{"c":1}' }];
    through('carryOut', 'Reply', { outcome: 'carried', carried });
    // false is something else than absent.
    through('carryOut', 'Reply', {
      outcome: 'carried',
      carried: { ...carried, failure, rolledBack: false, remaining },
    });
  });
});

describe('ledger', () => {
  const filter = {
    fromWallMs: 1n,
    toWallMs: 2n ** 62n,
    kinds: ['session-transit'],
    level: 3,
    principal: 'user:ada',
    device: 'access-1',
    session: 'session-1',
    outcome: 'cut',
  };

  it('batches, filters, entries and status come back as they were sent', () => {
    const records = [Buffer.from('{}'), Buffer.alloc(0), Buffer.alloc(60_000, 7)];
    throughOf(intakeService)('deliver', 'Request', { spool: 'ab'.repeat(16), first: 2n ** 63n, records });
    throughOf(intakeService)('deliver', 'Reply', { spool: 'ab'.repeat(16), upTo: 2n ** 63n });
    throughOf(ledgerService)('query', 'Request', { filter, limit: 7, after: 0n, newestFirst: true });
    throughOf(ledgerService)('query', 'Request', { limit: 0, newestFirst: false });
    const entries = [{ index: 2n ** 52n, record: '{}', erased: ['source.principal'] }];
    throughOf(ledgerService)('query', 'Reply', { count: 9n, entries, more: true, indexed: 10n });
    throughOf(ledgerService)('tail', 'Request', { filter: { kinds: [] }, from: 0n });
    throughOf(ledgerService)('tail', 'Reply', { entries, next: 11n });
    throughOf(ledgerService)('prove', 'Reply', {
      proof: 'text',
      entry: Buffer.from('e'),
      leafHash: Buffer.alloc(32),
    });
    throughOf(ledgerService)('getCheckpoint', 'Reply', {
      checkpoint: 'note',
      consistency: [Buffer.alloc(32, 1)],
      verifier: 'key',
    });
    throughOf(ledgerService)('status', 'Reply', {
      origin: 'kedge.example/box',
      verifier: 'key',
      size: 5n,
      keptFrom: 0n,
      flush: 'every',
      level: 2,
      refusing: true,
      why: 'the disk is full',
      indexed: 5n,
      sources: [{ service: 'overlay', spool: 'cd', upTo: 4n, streams: 1, records: 3n, duplicates: 2n }],
      witness: { url: 'http://127.0.0.1:1', state: 'fork', size: 4n, why: 'another history' },
      alarms: ['the disk is full'],
      snapshot: { id: 'forensic-snapshot/box/7', complete: false, missing: ['routes: late'], tookNs: 5n },
      keptOut: 7n,
    });
    throughOf(ledgerService)('erase', 'Request', {
      subject: 'user:eve',
      reason: 'asked',
      principal: 'user:ada',
    });
    throughOf(ledgerService)('export', 'Reply', { bytes: Buffer.from('[]'), entries: 2 });
  });
});
