/**
 * What `kedge posture set` makes of answers, against a server that gives them.
 * Must not need an appliance.
 */
import { postureService, provide, serveUnix, type SetReply, type SetRequest } from '@kedge/bus';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { postureSet } from './actions.js';

const report = {
  epoch: 12n,
  from: 2,
  to: 4,
  outcome: 'completed',
  receivedAtNs: 1n,
  decidedAtNs: 2n,
  storedAtNs: 3n,
  journaledAtNs: 4n,
  completedAtNs: 5n,
  durable: true,
  paths: [],
  decidedAtWallMs: 0n,
};
const ended: (() => Promise<void> | void)[] = [];

/** A coordinator that gives these answers to Set, one after the other. */
async function answering(answers: readonly SetReply[]) {
  const socket = mkdtempSync(join(tmpdir(), 'kedge-cli-'));
  mkdirSync(join(socket, 'local/master'), { recursive: true, mode: 0o755 });
  const asked: SetRequest[] = [];
  const never = () => {
    throw new Error('not asked for here');
  };
  const server = await serveUnix({
    path: join(socket, 'local/master/posture.sock'),
    services: [
      provide(postureService, {
        set: (request: SetRequest) => {
          asked.push(request);
          return Promise.resolve(answers[Math.min(asked.length, answers.length) - 1] as SetReply);
        },
        transition: () => Promise.resolve({ outcome: 'report', report } as const),
        get: never,
        reloadAccords: never,
        reloadPolicies: never,
        watch: never,
        history: never,
      }),
    ],
  });
  ended.push(
    () => server.close(0),
    () => {
      rmSync(socket, { recursive: true, force: true });
    },
  );
  return { asked, options: { socket, as: 'master', timeout: 5_000, reason: 'a test' } };
}

describe('kedge posture set', () => {
  afterEach(async () => {
    vi.restoreAllMocks();
    for (const end of ended.splice(0)) await end();
  });
  const waiting = { outcome: 'waiting', waiting: { behindEpoch: 11n } } as const;

  it('PO-10 with --wait a request that has to wait is asked about under its own key until its turn is over', async () => {
    const said = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const decision = { epoch: 12n, from: 2, to: 4, durable: true, receivedAtNs: 1n, decidedAtNs: 2n };
    const { asked, options } = await answering([waiting, waiting, { outcome: 'decision', decision }]);
    expect(await postureSet(4, { ...options, wait: true })).toBe(0);
    expect(asked).toHaveLength(3);
    expect(new Set(asked.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(String(said.mock.calls.at(-1)?.[0])).toContain('epoch 12: 2 emergency → 4 watch, completed');
  });

  it('PO-10 with --wait a request that is refused in its turn ends as a refusal', async () => {
    const refusal = {
      code: 'POSTURE_SUPERSEDED',
      message: 'm',
      field: '',
      expected: '',
      help: '',
      rule: 'r',
    };
    const { options } = await answering([waiting, { outcome: 'refusal', refusal }]);
    await expect(postureSet(4, { ...options, wait: true })).rejects.toMatchObject({
      code: 'POSTURE_SUPERSEDED',
    });
  });

  it('without --wait it says that it waits', async () => {
    const said = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const { asked, options } = await answering([waiting]);
    expect(await postureSet(4, options)).toBe(0);
    expect(asked).toHaveLength(1);
    expect(String(said.mock.calls.at(-1)?.[0])).toContain('waiting: it is looked at again');
  });
});
