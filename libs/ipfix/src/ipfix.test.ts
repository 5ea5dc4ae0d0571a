/**
 * IPFIX messages, encoded and read back.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  addressBytes,
  APPLICATIONS_MAX,
  decodeMessage,
  type DecodedMessage,
  FLOW_ENDS,
  IpfixEncoder,
  type IpfixFlow,
  MESSAGE_BYTES,
  TemplateMemory,
  VERDICTS,
} from './index.js';

const OPTIONS = { observationDomain: 77, enterpriseNumber: 32_473 };
const UINT64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const byteUpTo = (max: number) => fc.integer({ min: 0, max });
const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,30}$/);
const zone = fc.record({ index: fc.integer({ min: 1, max: 15 }), name: fc.constant('zone') });

const flows = fc.constantFrom(4, 16).chain((width) =>
  fc.record<IpfixFlow>({
    startMs: UINT64,
    endMs: UINT64,
    packets: UINT64,
    octets: UINT64,
    source: fc.uint8Array({ minLength: width, maxLength: width }),
    destination: fc.uint8Array({ minLength: width, maxLength: width }),
    sourcePort: byteUpTo(65_535),
    destinationPort: byteUpTo(65_535),
    protocol: fc.oneof(byteUpTo(255), fc.constantFrom(1, 6, 17, 58)),
    tcpFlags: byteUpTo(255),
    dscp: byteUpTo(63),
    end: fc.constantFrom(...FLOW_ENDS),
    from: zone,
    to: zone,
    verdict: fc.constantFrom(...VERDICTS),
    reason: word,
    entry: fc.oneof(fc.constant(''), word),
    level: fc.integer({ min: 1, max: 5 }),
    epoch: fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }),
    application: fc.oneof(fc.constant(''), fc.constantFrom('tls', 'dns', 'http')),
    name: fc.oneof(fc.constant(''), fc.stringMatching(/^…?[!-~]{1,152}$/)),
    dataplane: word,
  }),
);

const number = (bytes: Uint8Array): bigint => bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);

function read(message: Uint8Array, templates: TemplateMemory): DecodedMessage {
  const decoded = decodeMessage(message, templates);
  if (decoded === undefined) throw new Error('not a message');
  return decoded;
}

/** What a collector makes of one record, with the names that its own message gave. */
function expected(flow: IpfixFlow): object {
  const isIcmp = flow.protocol === 1 || flow.protocol === 58;
  const ip4 = flow.source.length === 4;
  const tos = BigInt(flow.dscp * 4);
  return {
    flowStartMilliseconds: flow.startMs,
    flowEndMilliseconds: flow.endMs,
    packetDeltaCount: flow.packets,
    octetDeltaCount: flow.octets,
    [ip4 ? 'sourceIPv4Address' : 'sourceIPv6Address']: flow.source,
    [ip4 ? 'destinationIPv4Address' : 'destinationIPv6Address']: flow.destination,
    ...(isIcmp
      ? { [ip4 ? 'icmpTypeCodeIPv4' : 'icmpTypeCodeIPv6']: BigInt(flow.destinationPort) }
      : {
          sourceTransportPort: BigInt(flow.sourcePort),
          destinationTransportPort: BigInt(flow.destinationPort),
          tcpControlBits: BigInt(flow.tcpFlags),
        }),
    protocolIdentifier: BigInt(flow.protocol),
    ipClassOfService: tos,
    postIpClassOfService: flow.verdict === 'deprioritise' ? 4n : tos,
    ingressInterface: BigInt(flow.from.index),
    egressInterface: flow.verdict === 'drop' ? 0n : BigInt(flow.to.index),
    flowEndReason: BigInt(FLOW_ENDS.indexOf(flow.end) + 1),
    forwardingStatus: flow.verdict === 'drop' ? 130n : 64n,
    postureLevel: BigInt(flow.level),
    postureEpoch: flow.epoch,
    verdict: BigInt(VERDICTS.indexOf(flow.verdict) + 1),
    reason: flow.reason,
    entry: flow.entry,
    fromZone: flow.from.name,
    toZone: flow.to.name,
    application: flow.application,
    name: flow.name,
    dataplane: flow.dataplane,
  };
}

describe('IPFIX messages', () => {
  it('DP-12 say every field of every flow, in messages of bounded size that number their records', () => {
    fc.assert(
      fc.property(fc.array(flows, { minLength: 1, maxLength: 40 }), (given) => {
        const encoder = new IpfixEncoder(OPTIONS);
        const templates = new TemplateMemory();
        read(encoder.templates(1), templates);
        const messages = encoder.messages(given, 1_700_000_000);
        let sequence = 0;
        const told: object[] = [];
        for (const message of messages) {
          expect(message.length).toBeLessThanOrEqual(MESSAGE_BYTES);
          const decoded = read(message, templates);
          expect(decoded).toMatchObject({
            exportS: 1_700_000_000,
            observationDomain: 77,
            sequence,
            unknown: [],
          });
          sequence += decoded.records.length;
          const applications = new Map<bigint, string>();
          for (const { values, options } of decoded.records) {
            if (options && 'applicationName' in values)
              applications.set(
                number(values['applicationId'] as Uint8Array),
                `${values['applicationName'] as string} ${values['applicationDescription'] as string}`,
              );
            if (options) continue;
            const { applicationId, ...rest } = values;
            const id = number(applicationId as Uint8Array);
            const { application, name } = rest;
            // What an id means stands in the message that uses it.
            if (application !== '' || name !== '')
              expect(applications.get(id)).toBe(`${application as string} ${name as string}`);
            else expect(id).toBe(6n << 24n);
            told.push(rest);
          }
        }
        // Records are grouped by template inside a message: compared as sets.
        const text = (value: object): string =>
          JSON.stringify(value, (_key, item: unknown) =>
            typeof item === 'bigint' ? String(item) : item instanceof Uint8Array ? [...item] : item,
          );
        const sorted = (values: readonly object[]): string[] =>
          values
            .map((value) =>
              text(Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))),
            )
            .sort();
        expect(sorted(told)).toEqual(sorted(given.map(expected)));
      }),
      { numRuns: 200 },
    );
  });

  const plain: IpfixFlow = {
    startMs: 1n,
    endMs: 2n,
    packets: 3n,
    octets: 4n,
    source: Uint8Array.of(10, 0, 0, 1),
    destination: Uint8Array.of(10, 0, 0, 2),
    sourcePort: 1,
    destinationPort: 443,
    protocol: 6,
    tcpFlags: 2,
    dscp: 0,
    end: 'idle',
    from: { index: 2, name: 'servers' },
    to: { index: 3, name: 'guests' },
    verdict: 'pass',
    reason: 'pair',
    entry: '',
    level: 5,
    epoch: 9n,
    application: 'tls',
    name: 'www.example.com',
    dataplane: 'reference',
  };

  it('DP-12 the longest flow and the templates fit into one message', () => {
    const long = 'x'.repeat(10_000);
    const encoder = new IpfixEncoder({ ...OPTIONS, messageBytes: 1 });
    const [message, ...more] = encoder.messages(
      [
        {
          ...plain,
          source: new Uint8Array(16),
          destination: new Uint8Array(16),
          from: { index: 1, name: long },
          to: { index: 2, name: long },
          reason: long,
          entry: long,
          application: long,
          name: long,
          dataplane: long,
        },
      ],
      1,
    );
    expect(more).toEqual([]);
    expect(message?.length).toBeLessThanOrEqual(MESSAGE_BYTES);
    expect(encoder.templates(1).length).toBeLessThanOrEqual(MESSAGE_BYTES);
  });

  it('DP-12 a name keeps its id while it is used, and an id is not given to another soon', () => {
    const encoder = new IpfixEncoder(OPTIONS);
    const templates = new TemplateMemory();
    read(encoder.templates(1), templates);
    const idOf = (name: string): bigint => {
      const [message = new Uint8Array()] = encoder.messages([{ ...plain, name }], 1);
      const record = read(message, templates).records.find(({ options }) => !options);
      return number(record?.values['applicationId'] as Uint8Array);
    };
    const first = idOf('kept.example.com');
    const seen = new Set<bigint>([first]);
    for (let count = 0; count < APPLICATIONS_MAX + 10; count += 1) {
      seen.add(idOf(`${String(count)}.example.com`));
      if (count % 100 === 0) expect(idOf('kept.example.com')).toBe(first);
    }
    expect(seen.size).toBe(APPLICATIONS_MAX + 11);
    expect(seen.has(idOf('0.example.com'))).toBe(false);
  });

  it('of too long a name the end is told, and no letter is cut in two', () => {
    const encoder = new IpfixEncoder(OPTIONS);
    const templates = new TemplateMemory();
    read(encoder.templates(1), templates);
    const [message = new Uint8Array()] = encoder.messages(
      [{ ...plain, name: `${'ä'.repeat(200)}.example` }],
      1,
    );
    const record = read(message, templates).records.find(({ options }) => !options);
    expect(record?.values['name']).toMatch(/^ä+\.example$/);
  });

  it('the decoder answers anything that is no message with nothing, and never throws', () => {
    const encoder = new IpfixEncoder(OPTIONS);
    const whole = encoder.messages([plain, { ...plain, protocol: 1 }], 1);
    const templates = new TemplateMemory();
    read(encoder.templates(1), templates);
    for (const message of [encoder.templates(1), ...whole])
      for (let length = 0; length < message.length; length += 1)
        expect(decodeMessage(message.subarray(0, length), templates)).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 0, max: 3 }), (noise, at) => {
        const message = (whole[0] ?? new Uint8Array()).slice();
        message.set(noise.subarray(0, message.length - 20 - at), 20 + at);
        decodeMessage(message, templates);
        decodeMessage(noise, new TemplateMemory());
      }),
    );
  });

  it('addresses are read as they are written, and nothing else is', () => {
    expect(addressBytes('10.77.0.10')).toEqual(Uint8Array.of(10, 77, 0, 10));
    expect(addressBytes('fd77::10')).toEqual(
      Uint8Array.from([0xfd, 0x77, ...new Array<number>(13).fill(0), 0x10]),
    );
    expect(addressBytes('::')).toEqual(new Uint8Array(16));
    expect(addressBytes('::ffff:192.0.2.1')?.slice(10)).toEqual(Uint8Array.of(255, 255, 192, 0, 2, 1));
    const none = [
      '',
      '10.77.0',
      '10.77.0.256',
      '10.77.0.01',
      'a',
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      'g::',
    ];
    for (const text of [...none, '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7::8', '::1%eth0'])
      expect(addressBytes(text), text).toBeUndefined();
  });
});
