/**
 * Flows as text for people, and where they can be sent.
 */
import type { FlowReport } from '@kedge/bus';
import { describe, expect, it } from 'vitest';

import { collector } from './command-line.js';
import { flowLine, flowsText, flowTitles } from './flows.js';

const flow: FlowReport = {
  dataplane: 'reference',
  worker: 0,
  firstAtNs: 1_000_000_000n,
  lastAtNs: 3_500_000_000n,
  packets: 12n,
  bytes: 3_456n,
  epoch: 7n,
  level: 4,
  source: 'fd77::10',
  destination: 'fd77::20',
  sourcePort: 40_001,
  destinationPort: 443,
  protocol: 6,
  fromZone: 'guests',
  toZone: 'servers',
  verdict: 'deprioritise',
  reason: 'entry',
  entry: 'web',
  application: 'tls',
  name: 'www.example.com',
  end: 'detected',
  tcpFlags: 0x1b,
  dscp: 0,
};

const ping: FlowReport = {
  ...flow,
  protocol: 1,
  source: '10.77.0.10',
  destination: '10.77.1.20',
  sourcePort: 0,
  destinationPort: 8 << 8,
  entry: '',
  reason: 'pair',
  application: '',
  name: '',
};

describe('kedge governance flows', () => {
  it('shows what went where, for how long, and by what it was judged', () => {
    expect(flowsText([flow, ping])).toBe(
      [
        'epoch  level  verdict       from    to       proto     source            destination     packets  bytes  lasted  end       judged by  seen  name',
        '    7      4  deprioritise  guests  servers  tcp       [fd77::10]:40001  [fd77::20]:443       12   3456  2.50 s  detected  web        tls   www.example.com',
        '    7      4  deprioritise  guests  servers  icmp 8/0  10.77.0.10        10.77.1.20           12   3456  2.50 s  detected  pair',
      ].join('\n'),
    );
    expect(flowsText([])).toBe('no flow ended meanwhile');
  });

  it('a list that goes on has the same columns, and shows no control character of anybody', () => {
    const line = flowLine({ ...flow, name: 'a\u001b[2Jb' });
    expect(line).toContain('a�[2Jb');
    expect(line.indexOf('deprioritise')).toBe(flowTitles().indexOf('verdict'));
    expect(line.indexOf('tls')).toBe(flowTitles().indexOf('seen'));
  });

  it('takes a collector by its address, with the registered port where none is given', () => {
    expect(collector('10.0.0.5:2055')).toEqual({ host: '10.0.0.5', port: 2_055 });
    expect(collector('10.0.0.5')).toEqual({ host: '10.0.0.5', port: 4_739 });
    expect(collector('[fd77::5]:9995')).toEqual({ host: 'fd77::5', port: 9_995 });
    for (const wrong of [
      '',
      'collector:4739',
      '10.0.0.5:0',
      '10.0.0.5:65536',
      '10.0.0.5:x',
      '[fe80::1%eth0]:1',
    ])
      expect(() => collector(wrong), wrong).toThrow('expected an address');
  });
});
