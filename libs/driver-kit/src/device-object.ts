/**
 * The tree of a device as objects: what is created, changed and removed as one, each at its YANG data path.
 * It must not know a device, an order or a driver.
 */
import type { PlanValue } from '@kedge/contracts';
import type { Capability, deviceTree } from '@kedge/intent-model';
import { KedgeError } from '@kedge/units';

import { compareNames } from './text-order.js';

type Interface = deviceTree.Interface;

/** What each kind of object holds: the node at its path without the nodes that are objects themselves. */
export interface ObjectValues {
  /** Its existence, and what it cannot change without being made again. */
  readonly interface: Pick<
    Interface,
    'name' | 'type' | 'kedge-bridging:vlan-interface' | 'kedge-tunnels:tunnel'
  >;
  readonly description: string;
  /** Octets of the largest IPv4 packet. Absent means what is usual for the kind of interface. */
  readonly mtu: number;
  /** True only; packets that are not forwarded are the default. */
  readonly 'forwarding-ipv4': boolean;
  readonly 'forwarding-ipv6': boolean;
  /** Seconds, other than the default of 300. */
  readonly 'ageing-time': number;
  readonly 'bridge-vlan': deviceTree.InterfaceBridgeVlan;
  readonly 'bridge-port': Pick<deviceTree.InterfaceBridgePort, 'bridge'>;
  readonly 'acceptable-frames': 'tagged' | 'untagged';
  /** False only; filtering is the default. */
  readonly 'ingress-filtering': boolean;
  /** A VLAN that a port is a member of; the tagging is always said. */
  readonly member: Required<deviceTree.InterfaceBridgePortVlan>;
  readonly pvid: number;
  readonly address: { readonly ip: string; readonly 'prefix-length': number };
  /** Whether the link is up; said for every interface. */
  readonly enabled: boolean;
  readonly route: deviceTree.RoutingControlPlaneProtocolStaticRoutesIpv4Route;
  /** A whole list with its rules in their order: rules have no life of their own. */
  readonly acl: deviceTree.Acl;
  readonly 'acl-attachment': deviceTree.AclsAttachment;
}

/** See {@link ObjectValues}. */
export type ObjectKind = keyof ObjectValues;

/** One object of a device. */
export type DeviceObject = {
  readonly [Kind in ObjectKind]: {
    readonly kind: Kind;
    /** RFC 7951 instance identifier. */
    readonly path: string;
    /** What people and plans call it: unique on the device, printable, without spaces: "member/port3/10". */
    readonly id: string;
    /** The interface that it belongs to; absent where it belongs to none. */
    readonly interface?: string;
    readonly value: ObjectValues[Kind];
  };
}[ObjectKind];

/** An object of one kind. */
export type ObjectOf<Kind extends ObjectKind> = Extract<DeviceObject, { readonly kind: Kind }>;

/** The objects of a device by their paths. */
export type DeviceObjects = ReadonlyMap<string, DeviceObject>;

/**
 * The kinds in the order of dependence, lower first: a bridge before its VLANs, these before the members, membership
 * before PVID, addresses before the link, routes and attachments last.
 */
export const OBJECT_KINDS = [
  'interface',
  'description',
  'mtu',
  'ageing-time',
  'bridge-vlan',
  'bridge-port',
  'acceptable-frames',
  'ingress-filtering',
  'member',
  'pvid',
  'forwarding-ipv4',
  'forwarding-ipv6',
  'address',
  'enabled',
  'acl',
  'acl-attachment',
  'route',
] as const satisfies readonly ObjectKind[];

/** The capability that a change of an object needs. */
export function capabilityOf(object: DeviceObject): Capability {
  switch (object.kind) {
    case 'interface':
      if (object.value['kedge-tunnels:tunnel'] !== undefined) return 'kedge-inventory:tunnelling';
      if (object.value['kedge-bridging:vlan-interface'] !== undefined) return 'kedge-inventory:addressing';
      return 'kedge-inventory:bridging';
    case 'ageing-time':
    case 'bridge-port':
      return 'kedge-inventory:bridging';
    case 'bridge-vlan':
    case 'acceptable-frames':
    case 'ingress-filtering':
    case 'member':
    case 'pvid':
      return 'kedge-inventory:vlan-bridging';
    case 'description':
    case 'mtu':
    case 'enabled':
      return 'kedge-inventory:port-state';
    case 'address':
      return 'kedge-inventory:addressing';
    case 'forwarding-ipv4':
    case 'forwarding-ipv6':
    case 'route':
      return 'kedge-inventory:static-routing';
    case 'acl':
    case 'acl-attachment':
      return 'kedge-inventory:filtering';
  }
}

/** True for the type of an interface that Kedge makes and takes away; every other one is there or is not. */
export function isMade(type: string): boolean {
  return MADE.has(type);
}
const MADE: ReadonlySet<string> = new Set([
  'iana-if-type:bridge',
  'iana-if-type:l2vlan',
  'iana-if-type:tunnel',
]);

const INTERFACES = '/ietf-interfaces:interfaces/interface';
const PROTOCOLS = '/ietf-routing:routing/control-plane-protocols/control-plane-protocol';
const STATIC = 'ietf-routing:static';
/** Name of the one instance of static routes where neither intent nor device has one. */
export const STATIC_NAME = 'static';

/** A key of an instance identifier, which knows no escape. */
function keyOf(name: string, value: string): string {
  if (!value.includes("'")) return `[${name}='${value}']`;
  if (!value.includes('"')) return `[${name}="${value}"]`;
  throw new KedgeError({
    code: 'DRIVER_NAME',
    message: `cannot write a path to ${value}: it has quotation marks of both kinds`,
    field: name,
    expected: 'a name with quotation marks of one kind at most',
  });
}

/** The path of an interface. @throws KedgeError `DRIVER_NAME` */
export function interfacePath(name: string): string {
  return `${INTERFACES}${keyOf('name', name)}`;
}

/** The path of a static route. @throws KedgeError `DRIVER_NAME` */
export function routePath(instance: string, destination: string): string {
  const family = destination.includes(':') ? 6 : 4;
  return (
    `${PROTOCOLS}${keyOf('type', STATIC)}${keyOf('name', instance)}/static-routes` +
    `/ietf-ipv${family}-unicast-routing:ipv${family}/route${keyOf('destination-prefix', destination)}`
  );
}

/** Takes what makes an object: its kind, its place, its value, and whose it is. */
type Put = <Kind extends ObjectKind>(
  kind: Kind,
  path: string,
  id: string,
  value: ObjectValues[Kind],
  owner?: string,
) => void;

function made<Kind extends ObjectKind>(
  kind: Kind,
  path: string,
  id: string,
  value: ObjectValues[Kind],
  owner: string | undefined,
): DeviceObject {
  const [name, ordered] = [`${kind}/${id}`, sorted(value)];
  const object =
    owner === undefined
      ? { kind, path, id: name, value: ordered }
      : { kind, path, id: name, value: ordered, interface: owner };
  return object as unknown as DeviceObject;
}

/** Members in one order, so that two ways of writing one value are the same text; the value itself where they are. */
function sorted(value: unknown): unknown {
  if (isSorted(value)) return value;
  if (Array.isArray(value)) return value.map(sorted);
  const members = value as Readonly<Record<string, unknown>>;
  const result: Record<string, unknown> = {};
  for (const name of Object.keys(members).sort()) result[name] = sorted(members[name]);
  return result;
}

function isSorted(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isSorted);
  const members = value as Readonly<Record<string, unknown>>;
  let last = '';
  for (const name of Object.keys(members)) {
    if (name < last || !isSorted(members[name])) return false;
    last = name;
  }
  return true;
}

/** Next hops in the order of their index: the list is the system's to order. */
function routeValue(route: ObjectValues['route']): ObjectValues['route'] {
  const list = route['next-hop']['next-hop-list']?.['next-hop'];
  if (list === undefined) return route;
  const ordered = list.toSorted((a, b) => compareNames(a.index, b.index));
  return { ...route, 'next-hop': { 'next-hop-list': { 'next-hop': ordered } } };
}

/** The static instances of a tree, by name. */
export function staticInstances(tree: deviceTree.DeviceTree): string[] {
  return (tree['ietf-routing:routing']?.['control-plane-protocols']?.['control-plane-protocol'] ?? [])
    .filter(({ type }) => type === STATIC)
    .map(({ name }) => name ?? STATIC_NAME);
}

/**
 * The objects of a tree. Values that are defaults of the modules are not objects, except what is said for every
 * interface; nodes that no kind holds are found by {@link strangeNodes}.
 *
 * @param instance what the instance of static routes is called; its own name when left out.
 * @throws KedgeError `DRIVER_NAME`
 */
export function objectsOf(tree: deviceTree.DeviceTree, instance?: string): Map<string, DeviceObject> {
  const objects = new Map<string, DeviceObject>();
  const put: Put = (kind, path, id, value, owner) => {
    objects.set(path, made(kind, path, id, value, owner));
  };
  for (const each of tree['ietf-interfaces:interfaces']?.interface ?? []) interfaceObjects(each, put);
  for (const { type, name, 'static-routes': routes } of tree['ietf-routing:routing']?.[
    'control-plane-protocols'
  ]?.['control-plane-protocol'] ?? []) {
    if (type !== STATIC) continue;
    for (const route of [
      ...(routes?.['ietf-ipv4-unicast-routing:ipv4']?.route ?? []),
      ...(routes?.['ietf-ipv6-unicast-routing:ipv6']?.route ?? []),
    ]) {
      const { 'destination-prefix': destination } = route;
      put('route', routePath(instance ?? name ?? STATIC_NAME, destination), destination, routeValue(route));
    }
  }
  for (const acl of tree['kedge-acl:acls']?.acl ?? []) {
    const { family = 'ipv4', name = '' } = acl;
    put(
      'acl',
      `/kedge-acl:acls/acl${keyOf('family', family)}${keyOf('name', name)}`,
      `${family}/${name}`,
      acl,
    );
  }
  for (const attachment of tree['kedge-acl:acls']?.attachment ?? []) {
    const { interface: name = '', direction = 'ingress', family = 'ipv4' } = attachment;
    put(
      'acl-attachment',
      `/kedge-acl:acls/attachment${keyOf('interface', name)}${keyOf('direction', direction)}${keyOf('family', family)}`,
      `${name}/${direction}/${family}`,
      attachment,
      name,
    );
  }
  return objects;
}

function interfaceObjects(each: Interface, put: Put): void {
  const { name, type } = each;
  const at = interfacePath(name);
  const own = <Kind extends ObjectKind>(
    kind: Kind,
    below: string,
    value: ObjectValues[Kind],
    last?: string,
  ): void => {
    put(kind, `${at}${below}`, last === undefined ? name : `${name}/${last}`, value, name);
  };
  const vlan = each['kedge-bridging:vlan-interface'];
  const tunnel = each['kedge-tunnels:tunnel'];
  own('interface', '', {
    name,
    type,
    ...(vlan === undefined ? {} : { 'kedge-bridging:vlan-interface': vlan }),
    ...(tunnel === undefined ? {} : { 'kedge-tunnels:tunnel': tunnelValue(tunnel) }),
  });
  own('enabled', '/enabled', each.enabled ?? true);
  if (each.description !== undefined) own('description', '/description', each.description);
  const bridge = each['kedge-bridging:bridge'];
  const ageing = bridge?.['ageing-time'];
  if (ageing !== undefined && ageing !== DEFAULT_AGEING)
    own('ageing-time', '/kedge-bridging:bridge/ageing-time', ageing);
  for (const known of bridge?.vlan ?? [])
    own(
      'bridge-vlan',
      `/kedge-bridging:bridge/vlan${keyOf('id', String(known.id))}`,
      known,
      String(known.id),
    );
  const port = each['kedge-bridging:bridge-port'];
  if (port !== undefined) {
    const below = '/kedge-bridging:bridge-port';
    own('bridge-port', below, { bridge: port.bridge });
    const frames = port['acceptable-frames'];
    if (frames !== undefined && frames !== 'all')
      own('acceptable-frames', `${below}/acceptable-frames`, frames);
    if (port['ingress-filtering'] === false) own('ingress-filtering', `${below}/ingress-filtering`, false);
    if (port.pvid !== undefined) own('pvid', `${below}/pvid`, port.pvid);
    for (const { id, tagging = 'tagged' } of port.vlan ?? [])
      own('member', `${below}/vlan${keyOf('id', String(id))}`, { id, tagging }, String(id));
  }
  for (const family of [4, 6] as const) {
    const ip = each[`ietf-ip:ipv${family}`];
    const below = `/ietf-ip:ipv${family}`;
    if (family === 4 && ip?.mtu !== undefined) own('mtu', `${below}/mtu`, ip.mtu);
    if (ip?.forwarding === true) own(`forwarding-ipv${family}`, `${below}/forwarding`, true);
    for (const address of ip?.address ?? []) {
      const length =
        address['prefix-length'] ?? ('netmask' in address ? maskLength(address.netmask) : undefined);
      own(
        'address',
        `${below}/address${keyOf('ip', address.ip)}`,
        { ip: address.ip, 'prefix-length': length ?? (family === 4 ? 32 : 128) },
        address.ip,
      );
    }
  }
}

const DEFAULT_AGEING = 300;
/** Defaults of kedge-tunnels. */
const HOP_LIMIT = 64;
const VXLAN_PORT = 4789;

/** With every default said, so that two ways of saying one tunnel are the same. */
function tunnelValue(tunnel: deviceTree.InterfaceTunnel): deviceTree.InterfaceTunnel {
  const { vxlan } = tunnel;
  return {
    ...tunnel,
    'hop-limit': tunnel['hop-limit'] ?? HOP_LIMIT,
    ...(vxlan === undefined
      ? {}
      : { vxlan: { ...vxlan, 'destination-port': vxlan['destination-port'] ?? VXLAN_PORT } }),
  };
}

/** Bits of a netmask such as 255.255.255.0. */
function maskLength(mask: string | undefined): number | undefined {
  if (mask === undefined) return undefined;
  let bits = 0;
  for (const octet of mask.split('.')) bits += Number(octet).toString(2).replaceAll('0', '').length;
  return bits;
}

/** A tree under construction. */
type Building = Record<string, unknown>;

/**
 * The tree of objects: what {@link objectsOf} takes apart. Lists stand in the order of the objects; defaults that
 * are no objects are not there. Objects of an interface whose own object is missing are left out.
 */
export function treeOf(objects: Iterable<DeviceObject>): deviceTree.DeviceTree {
  const interfaces = new Map<string, Building>();
  const [routes4, routes6, acls, attachments]: [unknown[], unknown[], unknown[], unknown[]] = [
    [],
    [],
    [],
    [],
  ];
  let instance = STATIC_NAME;
  const all = [...objects];
  for (const each of all) if (each.kind === 'interface') interfaces.set(each.value.name, { ...each.value });
  const child = (of: Building, name: string): Building => (of[name] ??= {}) as Building;
  const append = (of: Building, name: string, value: unknown): void => {
    ((of[name] ??= []) as unknown[]).push(value);
  };
  for (const each of all) {
    if (each.kind === 'route') {
      instance = instanceOf(each.path);
      (each.value['destination-prefix'].includes(':') ? routes6 : routes4).push(each.value);
    } else if (each.kind === 'acl') acls.push(each.value);
    else if (each.kind === 'acl-attachment') attachments.push(each.value);
    else {
      const at = interfaces.get(each.interface ?? '');
      if (at !== undefined) putInto(at, each, child, append);
    }
  }
  return {
    ...(interfaces.size === 0
      ? {}
      : { 'ietf-interfaces:interfaces': { interface: [...interfaces.values()] } }),
    ...(routes4.length + routes6.length === 0
      ? {}
      : {
          'ietf-routing:routing': {
            'control-plane-protocols': {
              'control-plane-protocol': [
                {
                  type: STATIC,
                  name: instance,
                  'static-routes': {
                    ...(routes4.length === 0 ? {} : { 'ietf-ipv4-unicast-routing:ipv4': { route: routes4 } }),
                    ...(routes6.length === 0 ? {} : { 'ietf-ipv6-unicast-routing:ipv6': { route: routes6 } }),
                  },
                },
              ],
            },
          },
        }),
    ...(acls.length + attachments.length === 0
      ? {}
      : {
          'kedge-acl:acls': {
            ...(acls.length === 0 ? {} : { acl: acls }),
            ...(attachments.length === 0 ? {} : { attachment: attachments }),
          },
        }),
  } as unknown as deviceTree.DeviceTree;
}

function putInto(
  at: Building,
  each: DeviceObject,
  child: (of: Building, name: string) => Building,
  append: (of: Building, name: string, value: unknown) => void,
): void {
  const BRIDGE = 'kedge-bridging:bridge';
  const PORT = 'kedge-bridging:bridge-port';
  switch (each.kind) {
    case 'enabled':
      // True is the default.
      if (!each.value) at['enabled'] = false;
      return;
    case 'description':
      at['description'] = each.value;
      return;
    case 'mtu':
      child(at, 'ietf-ip:ipv4')['mtu'] = each.value;
      return;
    case 'forwarding-ipv4':
      child(at, 'ietf-ip:ipv4')['forwarding'] = each.value;
      return;
    case 'forwarding-ipv6':
      child(at, 'ietf-ip:ipv6')['forwarding'] = each.value;
      return;
    case 'ageing-time':
      child(at, BRIDGE)['ageing-time'] = each.value;
      return;
    case 'bridge-vlan':
      append(child(at, BRIDGE), 'vlan', each.value);
      return;
    case 'bridge-port':
      child(at, PORT)['bridge'] = each.value.bridge;
      return;
    case 'acceptable-frames':
    case 'ingress-filtering':
    case 'pvid':
      child(at, PORT)[each.kind] = each.value;
      return;
    case 'member':
      append(child(at, PORT), 'vlan', each.value);
      return;
    case 'address':
      append(child(at, each.value.ip.includes(':') ? 'ietf-ip:ipv6' : 'ietf-ip:ipv4'), 'address', each.value);
      return;
    case 'interface':
    case 'route':
    case 'acl':
    case 'acl-attachment':
      return;
  }
}

/** The name of the static instance in the path of a route. */
export function instanceOf(path: string): string {
  const [, single, double] = /\[name=(?:'([^']*)'|"([^"]*)")\]\/static-routes/.exec(path) ?? [];
  return single ?? double ?? STATIC_NAME;
}

/** The objects of a plan's step, from its path and a value there. */
const SHAPES: readonly [kind: ObjectKind, pattern: RegExp][] = (() => {
  const key = (name: string): string => `\\[${name}=(?:'[^']*'|"[^"]*")\\]`;
  const at = `^${INTERFACES}${key('name')}`;
  const port = '/kedge-bridging:bridge-port';
  const shape = (kind: ObjectKind, rest: string): [ObjectKind, RegExp] => [kind, new RegExp(`${rest}$`)];
  return [
    shape('interface', at),
    shape('description', `${at}/description`),
    shape('enabled', `${at}/enabled`),
    shape('mtu', `${at}/ietf-ip:ipv4/mtu`),
    shape('forwarding-ipv4', `${at}/ietf-ip:ipv4/forwarding`),
    shape('forwarding-ipv6', `${at}/ietf-ip:ipv6/forwarding`),
    shape('address', `${at}/ietf-ip:ipv[46]/address${key('ip')}`),
    shape('ageing-time', `${at}/kedge-bridging:bridge/ageing-time`),
    shape('bridge-vlan', `${at}/kedge-bridging:bridge/vlan${key('id')}`),
    shape('bridge-port', `${at}${port}`),
    shape('acceptable-frames', `${at}${port}/acceptable-frames`),
    shape('ingress-filtering', `${at}${port}/ingress-filtering`),
    shape('pvid', `${at}${port}/pvid`),
    shape('member', `${at}${port}/vlan${key('id')}`),
    shape(
      'route',
      `^${PROTOCOLS}${key('type')}${key('name')}/static-routes/ietf-ipv[46]-unicast-routing:ipv[46]/route${key('destination-prefix')}`,
    ),
    shape('acl', `^/kedge-acl:acls/acl${key('family')}${key('name')}`),
    shape(
      'acl-attachment',
      `^/kedge-acl:acls/attachment${key('interface')}${key('direction')}${key('family')}`,
    ),
  ];
})();

const KEYS = /\[[a-z-]+=(?:'([^']*)'|"([^"]*)")\]/g;

/**
 * The object at a path with a value, as a plan carries it. The value is looked at as far as an encoder relies on it.
 *
 * @throws KedgeError `DRIVER_STEP` when no kind of object stands at the path, or the value is none of its kind.
 */
export function objectAt(path: string, value: PlanValue): DeviceObject {
  const kind = SHAPES.find(([, pattern]) => pattern.test(path))?.[0];
  if (kind === undefined)
    throw new KedgeError({
      code: 'DRIVER_STEP',
      message: `cannot tell what stands at ${path}`,
      field: 'path',
      expected: 'the path of an object of a device',
    });
  const keys = [...path.matchAll(KEYS)].map(([, single, double]) => single ?? double ?? '');
  if (!VALUE_OF[kind](value, keys))
    throw new KedgeError({
      code: 'DRIVER_STEP',
      message: `cannot use the value at ${path}: it is no ${kind}`,
      field: 'value',
      expected: `the value of ${kind} as its module describes it`,
    });
  const ids = kind === 'route' ? keys.slice(2) : keys;
  const owner = kind === 'route' || kind === 'acl' ? undefined : keys[0];
  return made(kind, path, ids.join('/'), value as never, owner);
}

/** What an encoder relies on: kinds of values, and that keys in path and value are one. */
const VALUE_OF: Readonly<Record<ObjectKind, (value: PlanValue, keys: readonly string[]) => boolean>> =
  (() => {
    const isNode = (value: PlanValue): value is Readonly<Record<string, PlanValue>> =>
      typeof value === 'object' && value !== null && !Array.isArray(value);
    const isNumber = (value: PlanValue | undefined, least: number, most: number): boolean =>
      typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
    const isFlag = (value: PlanValue): boolean => typeof value === 'boolean';
    const vlan = (value: PlanValue, keys: readonly string[]): boolean =>
      isNode(value) && isNumber(value['id'], 1, 4094) && Number(keys[1]) === value['id'];
    return {
      interface: (value, [name]) =>
        isNode(value) && value['name'] === name && typeof value['type'] === 'string',
      description: (value) => typeof value === 'string',
      mtu: (value) => isNumber(value, 68, 65535),
      'forwarding-ipv4': isFlag,
      'forwarding-ipv6': isFlag,
      'ageing-time': (value) => isNumber(value, 10, 1_000_000),
      'bridge-vlan': vlan,
      'bridge-port': (value) => isNode(value) && typeof value['bridge'] === 'string',
      'acceptable-frames': (value) => value === 'tagged' || value === 'untagged',
      'ingress-filtering': isFlag,
      member: (value, keys) =>
        vlan(value, keys) &&
        isNode(value) &&
        (value['tagging'] === 'tagged' || value['tagging'] === 'untagged'),
      pvid: (value) => isNumber(value, 1, 4094),
      address: (value, keys) =>
        isNode(value) && value['ip'] === keys[1] && isNumber(value['prefix-length'], 0, 128),
      enabled: isFlag,
      route: (value, keys) => isNode(value) && value['destination-prefix'] === keys[2],
      acl: (value, keys) => isNode(value) && value['name'] === keys[1],
      'acl-attachment': (value, keys) =>
        isNode(value) && value['interface'] === keys[0] && typeof value['acl'] === 'string',
    };
  })();
