/**
 * What a tree says beyond what objects hold: nodes of the modules that no kind of object stands for.
 * It must not refuse anything; whoever compiles says what becomes of them.
 */
import type { deviceTree } from '@kedge/intent-model';

import { interfacePath } from './device-object.js';

/** Members that objects stand for, or their default: a value that changes nothing. */
type Known = Readonly<Record<string, true | { readonly default: unknown } | { readonly below: Known }>>;

const ADDRESS: Known = { ip: true, 'prefix-length': true, netmask: true };
const IP = (more: Known): Known => ({
  enabled: { default: true },
  forwarding: true,
  address: { below: ADDRESS },
  ...more,
});
const HOP: Known = { index: true, 'outgoing-interface': true, 'next-hop-address': true };
const ROUTES: Known = {
  route: {
    below: {
      'destination-prefix': true,
      description: true,
      'next-hop': {
        below: {
          'outgoing-interface': true,
          'next-hop-address': true,
          'special-next-hop': true,
          'next-hop-list': { below: { 'next-hop': { below: HOP } } },
        },
      },
    },
  },
};
const INTERFACE: Known = {
  name: true,
  type: true,
  description: true,
  enabled: true,
  'kedge-bridging:vlan-interface': true,
  'kedge-tunnels:tunnel': true,
  'kedge-bridging:bridge': { below: { 'ageing-time': true, vlan: { below: { id: true, name: true } } } },
  'kedge-bridging:bridge-port': {
    below: {
      bridge: true,
      pvid: true,
      'acceptable-frames': true,
      'ingress-filtering': true,
      vlan: { below: { id: true, tagging: true } },
    },
  },
  'ietf-ip:ipv4': { below: IP({ mtu: true }) },
  'ietf-ip:ipv6': { below: IP({ 'dup-addr-detect-transmits': { default: 1 } }) },
};
const TREE: Known = {
  'ietf-interfaces:interfaces': { below: { interface: { below: INTERFACE } } },
  'ietf-routing:routing': {
    below: {
      'control-plane-protocols': {
        below: {
          'control-plane-protocol': {
            below: {
              type: true,
              name: true,
              'static-routes': {
                below: {
                  'ietf-ipv4-unicast-routing:ipv4': { below: ROUTES },
                  'ietf-ipv6-unicast-routing:ipv6': { below: ROUTES },
                },
              },
            },
          },
        },
      },
    },
  },
  'kedge-acl:acls': true,
};

/**
 * Paths of nodes that no object stands for, in the order of the tree: what a plan would pass over in silence.
 * List entries other than interfaces stand without their keys.
 */
export function strangeNodes(tree: deviceTree.DeviceTree): string[] {
  const found: string[] = [];
  // Paths are made only where there is something to tell.
  if (hasStrange(tree, TREE)) walk(tree, TREE, '', found);
  for (const [index, { type }] of (
    tree['ietf-routing:routing']?.['control-plane-protocols']?.['control-plane-protocol'] ?? []
  ).entries())
    if (type !== 'ietf-routing:static')
      found.push(
        `/ietf-routing:routing/control-plane-protocols/control-plane-protocol[${String(index + 1)}]/type`,
      );
  return found;
}

function hasStrange(value: unknown, known: Known): boolean {
  if (Array.isArray(value)) return value.some((entry) => hasStrange(entry, known));
  if (typeof value !== 'object' || value === null) return false;
  const members = value as Readonly<Record<string, unknown>>;
  return Object.keys(members).some((name) => {
    const rule = Object.hasOwn(known, name) ? known[name] : undefined;
    if (rule === true) return false;
    if (rule === undefined) return true;
    return 'below' in rule ? hasStrange(members[name], rule.below) : members[name] !== rule.default;
  });
}

function walk(value: unknown, known: Known, path: string, found: string[]): void {
  if (Array.isArray(value)) {
    for (const entry of value as unknown[]) walk(entry, known, entryPath(path, entry), found);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [name, child] of Object.entries(value as Readonly<Record<string, unknown>>)) {
    const rule = Object.hasOwn(known, name) ? known[name] : undefined;
    const at = `${path}/${name}`;
    if (rule === undefined) found.push(at);
    else if (rule !== true) {
      if ('below' in rule) walk(child, rule.below, at, found);
      else if (child !== rule.default) found.push(at);
    }
  }
}

function entryPath(path: string, entry: unknown): string {
  if (path !== '/ietf-interfaces:interfaces/interface') return path;
  const name = typeof entry === 'object' && entry !== null && 'name' in entry ? entry.name : undefined;
  return typeof name === 'string' ? interfacePath(name) : path;
}
