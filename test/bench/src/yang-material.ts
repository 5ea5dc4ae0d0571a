/** Modules and documents that the benchmark of the YANG binding reads. Must not measure. */
import { Context } from '@kedge/libyang-ts';

/** Debian's libyuma-base; the NMDA revisions come first. */
export const DIRECTORIES = ['/usr/share/yuma/nmda-modules/ietf', '/usr/share/yuma/modules/ietf'] as const;

/** Configuration of so many interfaces, of which every so many is described otherwise. */
export function documentOf(count: number, otherwise = Infinity): string {
  const list = Array.from({ length: count }, (_, i) => ({
    name: `eth${i}`,
    description: (i + 1) % otherwise === 0 ? `moved port number ${i}` : `access port number ${i}`,
    type: 'iana-if-type:ethernetCsmacd',
    enabled: i % 2 === 0,
    'ietf-ip:ipv4': {
      mtu: 1400 + (i % 100),
      address: [{ ip: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`, 'prefix-length': 24 }],
    },
    'ietf-ip:ipv6': { address: [{ ip: `2001:db8::${i.toString(16)}`, 'prefix-length': 64 }] },
  }));
  return JSON.stringify({ 'ietf-interfaces:interfaces': { interface: list } });
}

/** A context with the modules of that configuration. */
export function load(): Context {
  const context = new Context({ searchDirectories: DIRECTORIES });
  for (const name of ['ietf-interfaces', 'ietf-ip', 'iana-if-type']) context.load(name, { features: 'all' });
  return context;
}
