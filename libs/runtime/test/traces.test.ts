/**
 * Spans that leave a process: what a real receiver of OTLP/HTTP and a file get, and what becomes of those that cannot.
 * It must not know what a service says of a transition; a scenario shows that.
 */
import type { Span } from '@kedge/contracts';
import { wallOffsetNs } from '@kedge/shared-memory-ipc';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createLogger, Traces, tracesSchema } from '../src/index.js';

const BOOT = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim().replaceAll('-', '');
const span = (epoch: bigint, place = 1): Span => ({
  epoch,
  place,
  ...(place === 1 ? {} : { parent: 1 }),
  name: 'transition',
  startNs: 1_000n,
  endNs: 2_000n,
  failed: place !== 1,
  attributes: { outcome: 'completed', level: 2, share: 0.5, durable: true, far: 2n ** 60n },
});

let directory: string;
let receiver: Server;
let received: { url: string | undefined; type: string | undefined; body: string }[];
let status: number;
let lines: string[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kedge-traces-'));
  received = [];
  lines = [];
  status = 200;
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      received.push({ url: request.url, type: request.headers['content-type'], body });
      response.statusCode = status;
      response.end('{}');
    });
  });
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
});
afterEach(() => {
  receiver.close();
  receiver.closeAllConnections();
  rmSync(directory, { recursive: true });
});

function traces(more: object = {}): Traces {
  const { port } = receiver.address() as AddressInfo;
  return new Traces({
    settings: tracesSchema.parse({ collector: `http://127.0.0.1:${String(port)}/v1/traces`, ...more }),
    service: 'overlay',
    appliance: 'box-1',
    wallOffsetNs: () => 1_700_000_000_000_000_000n,
    logger: createLogger({ name: 'x', destination: { write: (line) => lines.push(line) } }),
  });
}

describe('spans', () => {
  it('FW-7 reach a collector as OTLP/HTTP with JSON, and a file as the same', async () => {
    const file = join(directory, 'spans.jsonl');
    const each = traces({ file });
    each.say(span(0xabcn), span(0xabcn, 0x2001));
    each.say(span(0xabdn));
    await each.close();
    expect(received).toHaveLength(1);
    expect(received[0]).toMatchObject({ url: '/v1/traces', type: 'application/json' });
    const body = received[0]?.body ?? '';
    expect(readFileSync(file, 'utf8')).toBe(`${body}\n`);
    const traceId = `${BOOT.slice(0, 20)}000000000abc`;
    const root = {
      traceId,
      spanId: '000000000abc0001',
      name: 'transition',
      kind: 1,
      startTimeUnixNano: '1700000000000001000',
      endTimeUnixNano: '1700000000000002000',
      attributes: [
        { key: 'kedge.epoch', value: { intValue: '2748' } },
        { key: 'kedge.outcome', value: { stringValue: 'completed' } },
        { key: 'kedge.level', value: { intValue: '2' } },
        { key: 'kedge.share', value: { doubleValue: 0.5 } },
        { key: 'kedge.durable', value: { boolValue: true } },
        { key: 'kedge.far', value: { intValue: '1152921504606846976' } },
      ],
      status: { code: 0 },
    };
    expect(JSON.parse(body)).toMatchObject({
      resourceSpans: [
        {
          resource: {
            attributes: [
              { key: 'service.namespace', value: { stringValue: 'kedge' } },
              { key: 'service.name', value: { stringValue: 'overlay' } },
              { key: 'service.instance.id', value: { stringValue: 'box-1' } },
            ],
          },
          scopeSpans: [
            {
              spans: [
                root,
                {
                  traceId,
                  spanId: '000000000abc2001',
                  parentSpanId: '000000000abc0001',
                  status: { code: 2 },
                },
                { traceId: `${BOOT.slice(0, 20)}000000000abd`, spanId: '000000000abd0001' },
              ],
            },
          ],
        },
      ],
    });
  });

  it('FW-7 that cannot leave are counted and said once, and never more than a number wait', async () => {
    status = 503;
    const each = traces();
    for (let epoch = 1n; epoch <= 600n; epoch += 1n) each.say(span(epoch));
    expect(each.lost).toBe(88);
    await each.close();
    expect(each.lost).toBe(600);
    each.say(span(601n));
    await each.close();
    expect(each.lost).toBe(601);
    expect(lines.filter((line) => line.includes('spans do not leave'))).toHaveLength(1);
    status = 200;
    each.say(span(602n));
    await each.close();
    expect(each.lost).toBe(601);
    expect(received.at(-1)?.body).toContain('00000000025a0001');
  });

  it('FW-7 leave the box through a collector on it only', () => {
    for (const collector of [
      'https://127.0.0.1:4318/v1/traces',
      'http://collector.example:4318/v1/traces',
      'http://127.0.0.1.example:4318/v1/traces',
      'http://localhost@example.org/v1/traces',
      'http://127.0.0.1:4318',
    ])
      expect(tracesSchema.safeParse({ collector }).success, collector).toBe(false);
    expect(tracesSchema.safeParse({}).success).toBe(false);
    expect(tracesSchema.safeParse({ collector: 'http://[::1]:4318/v1/traces' }).success).toBe(true);
  });

  it('PO-14 moments of the monotonic clock are told in wall time, to within what the two clocks can be read', () => {
    const before = BigInt(Date.now()) * 1_000_000n;
    const now = process.hrtime.bigint() + wallOffsetNs();
    const after = BigInt(Date.now() + 1) * 1_000_000n;
    expect(now).toBeGreaterThanOrEqual(before);
    expect(now).toBeLessThanOrEqual(after);
  });
});
