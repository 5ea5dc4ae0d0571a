import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { routesOutput, rulesOutput } from './route-output.js';

const ROUTE = {
  type: '1',
  dst: '10.80.0.0/16',
  dev: 'mesh0',
  table: '254',
  scope: '253',
  metric: 18600,
  flags: [],
};
const read = (...rows: unknown[]): string[] =>
  routesOutput(JSON.stringify(rows), 'overlay').map(({ text }) => text);

describe('what ip prints', () => {
  it('becomes the words with which it is added', () => {
    expect(
      read(
        ROUTE,
        { ...ROUTE, dst: '10.0.0.1', gateway: '10.7.0.2', flags: ['onlink', 'linkdown'], table: '10700' },
        { ...ROUTE, dst: 'default', tos: '0x10' },
        { ...ROUTE, dst: 'default', pref: 'medium', gateway: 'fe80::2' },
        { ...ROUTE, dst: '::1.2.3.0/120', pref: 'medium' },
        { type: '6', dst: '10.3.0.0/16', table: '254', scope: '0', flags: [] },
        {
          ...ROUTE,
          via: { family: 'inet6', host: 'fe80::7' },
          prefsrc: '10.1.0.1',
          metrics: [{ mtu: 1300 }],
        },
        {
          ...ROUTE,
          dev: undefined,
          nexthops: [
            { gateway: '10.1.0.3', dev: 'v0', weight: 1, flags: [] },
            { gateway: '10.1.0.4', dev: 'v1', weight: 2, flags: ['onlink'] },
          ],
        },
      ),
    ).toEqual([
      '10.80.0.0/16 dev mesh0 table 254 metric 18600 proto 107',
      '10.0.0.1/32 via 10.7.0.2 dev mesh0 onlink table 10700 metric 18600 proto 107',
      '0.0.0.0/0 dev mesh0 tos 0x10 table 254 metric 18600 proto 107',
      '::/0 via fe80::2 dev mesh0 table 254 metric 18600 proto 107',
      '::102:300/120 dev mesh0 table 254 metric 18600 proto 107',
      'blackhole 10.3.0.0/16 table 254 metric 0 proto 107',
      '10.80.0.0/16 via inet6 fe80::7 dev mesh0 src 10.1.0.1 table 254 metric 18600 proto 107 mtu 1300',
      '10.80.0.0/16 table 254 metric 18600 proto 107 nexthop via 10.1.0.3 dev v0 weight 1 nexthop via 10.1.0.4 dev v1 weight 2 onlink',
    ]);
  });

  it('means the same read as rows that are alike and as any JSON, whatever stood before', () => {
    const mean = (text: string): unknown => {
      try {
        return routesOutput(text, 'overlay');
      } catch (error) {
        return (error as { code?: unknown }).code;
      }
    };
    const odd = [
      { dst: '10.80.1.0/24' },
      { dst: '10.80.1.0/24', metric: 7 },
      { dst: '10.80.1.0/33' },
      { dst: 'fd80::/32' },
      { dst: 'default' },
      { dst: 'default', pref: 'medium' },
      { dst: 'x' },
      { dst: '10.0.0.0/8","dev":"lo' },
      { dst: '\u0031.2.3.4' },
      { dst: 7 },
      { encap: { dst: '10.9.0.0/16' }, dst: '10.9.0.0/16' },
      {
        nexthops: [
          { dev: 'v0', weight: 1, flags: [] },
          { dev: 'v1', weight: 1, flags: [] },
        ],
      },
      { dev: 'a"b' },
      { dev: 'a}b{' },
      { table: '10700' },
      { table: '-1' },
      null,
      7,
      [],
    ].map((more) =>
      typeof more === 'object' && more !== null && !Array.isArray(more) ? { ...ROUTE, ...more } : more,
    );
    let believed = 0;
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...odd.slice(0, 6), ...odd), { maxLength: 6 }), (rows) => {
        const meaning = mean(JSON.stringify(rows));
        expect(meaning).toEqual(mean(JSON.stringify(rows, null, 1)));
        if (Array.isArray(meaning)) believed += meaning.length;
      }),
      { numRuns: 500 },
    );
    expect(believed).toBeGreaterThan(100);
    const right = JSON.stringify([ROUTE, { ...ROUTE, dst: '10.81.0.0/16' }]);
    for (let length = 1; length < right.length; length++)
      expect(mean(right.slice(0, length)), right.slice(0, length)).toBe('ROUTES_OUTPUT');
    for (const after of [']', ',', ' 7', '[]']) expect(mean(right + after)).toBe('ROUTES_OUTPUT');
    expect(mean(`${right}\n`)).toEqual(mean(right));
  });

  it('that nobody here ever wrote equals nothing that is desired', () => {
    for (const odd of [{ pref: 'high' }, { nhid: 7 }, { flags: ['pervasive'] }])
      expect(read({ ...ROUTE, ...odd })).toEqual(['10.80.0.0/16 table 254 metric 18600 proto 107']);
  });

  it('is refused where it cannot be believed', () => {
    const damaged = [
      'Segmentation fault',
      '{}',
      '[',
      '[7]',
      '[null]',
      '[[]]',
      JSON.stringify([{ ...ROUTE, dst: undefined }]),
      JSON.stringify([{ ...ROUTE, dst: '10.80.0.0/33' }]),
      JSON.stringify([{ ...ROUTE, dst: '10.80.0.0/16 dev lo' }]),
      JSON.stringify([{ ...ROUTE, dev: 'a b' }]),
      JSON.stringify([{ ...ROUTE, dev: 'x\nroute flush table all' }]),
      JSON.stringify([{ ...ROUTE, gateway: 'nowhere' }]),
      JSON.stringify([{ ...ROUTE, table: '-1' }]),
      JSON.stringify([{ ...ROUTE, metric: 2 ** 32 }]),
      JSON.stringify([{ ...ROUTE, flags: 'onlink' }]),
      JSON.stringify([{ ...ROUTE, nexthops: 'many' }]),
    ];
    for (const text of damaged)
      expect(() => routesOutput(text, 'overlay'), text).toThrow(
        expect.objectContaining({ code: 'ROUTES_OUTPUT' }),
      );
    expect(routesOutput('', 'overlay')).toEqual([]);
    expect(() => rulesOutput('[{"priority":"many"}]', 'overlay', 4)).toThrow(
      expect.objectContaining({ code: 'ROUTES_OUTPUT' }),
    );
  });

  it("tells Kedge's rules, the other mode's and those of others apart", () => {
    const rules = [
      { priority: 0, src: 'all', table: '255', protocol: '2' },
      { priority: 50, src: 'all', table: '254', protocol: '4' },
      { priority: 60, src: '10.0.0.0', srclen: 8, table: '254', protocol: '4' },
      { priority: 100, src: 'all', table: '10700', protocol: '107' },
      {
        priority: 110,
        src: 'all',
        iif: 'lo',
        ipproto: 'ipproto-17',
        dport: 67,
        table: '254',
        protocol: '107',
      },
      {
        priority: 112,
        src: 'all',
        iif: 'lo',
        ipproto: 'udp',
        dport_start: 3784,
        dport_end: 3785,
        table: '254',
        protocol: '107',
      },
      { priority: 120, src: 'all', fwmark: '0x7', table: '254', protocol: '107' },
      { priority: 149, src: 'all', action: '8', protocol: '107' },
      { priority: 150, src: 'all', table: '10700', protocol: '108' },
      { priority: 32766, src: 'all', table: '254', protocol: '2' },
    ];
    const { entries, strangers } = rulesOutput(JSON.stringify(rules), 'overlay', 4);
    expect(entries.map(({ text }) => text)).toEqual([
      'pref 100 lookup 10700 protocol 107',
      'pref 110 iif lo ipproto udp dport 67 lookup 254 protocol 107',
      'pref 112 iif lo ipproto udp dport 3784-3785 lookup 254 protocol 107',
      'pref 120 protocol 107',
      'pref 149 prohibit protocol 107',
    ]);
    expect(strangers).toEqual(['ipv4 pref 50 lookup 254', 'ipv4 pref 60 with a selector lookup 254']);
  });
});
