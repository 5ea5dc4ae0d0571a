/**
 * What the tests read: where the IETF's modules are, a module with every kind of node and type, and documents.
 * Must not hold an expectation.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Context, type ContextOptions } from '../src/index.js';

/** Debian's libyuma-base; the NMDA revisions come first. */
export const IETF = ['/usr/share/yuma/nmda-modules/ietf', '/usr/share/yuma/modules/ietf'] as const;

/** Interfaces with addresses, in their NMDA revisions. */
export function interfaces(options: ContextOptions = {}): Context {
  const context = new Context({ searchDirectories: IETF, ...options });
  context.load('ietf-interfaces', { features: 'all', revision: '2018-02-20' });
  context.load('ietf-ip', { features: 'all', revision: '2018-02-22' });
  context.load('iana-if-type');
  return context;
}

/** A module with every kind of node and type. */
export const EVERYTHING = readFileSync(join(import.meta.dirname, 'everything.yang'), 'utf8');

/** A context with nothing but that module. */
export function everything(options: ContextOptions = {}, features: readonly string[] = []): Context {
  const context = new Context(options);
  context.loadText(EVERYTHING, { features });
  return context;
}

/** Configuration of `count` interfaces with one address each. */
export function interfacesDocument(count: number, more: (at: number) => object = () => ({})): string {
  const list = Array.from({ length: count }, (_, at) => ({
    name: `eth${at}`,
    description: `port ${at}`,
    type: 'iana-if-type:ethernetCsmacd',
    enabled: at % 2 === 0,
    'ietf-ip:ipv4': {
      mtu: 1400 + (at % 100),
      address: [{ ip: `10.${(at >> 16) & 255}.${(at >> 8) & 255}.${at & 255}`, 'prefix-length': 24 }],
    },
    ...more(at),
  }));
  return JSON.stringify({ 'ietf-interfaces:interfaces': { interface: list } });
}
