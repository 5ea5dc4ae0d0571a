/**
 * From validated intent and inventory to one plan per device: what the device is meant to hold, what of what it holds
 * is Kedge's, and the steps between the two.
 * It must not read a device or apply a plan; refusals are values, and those of one device stop no other.
 */
import type { Plan } from '@kedge/contracts';
import {
  type AnyDriver,
  baseOf,
  capabilityOf,
  compareNames,
  type DeviceObject,
  type DeviceObjects,
  driverFor,
  type InventoryDevice,
  isMade,
  isWithin,
  objectsOf,
  type Reading,
  staticInstances,
  STATIC_NAME,
  strangeNodes,
} from '@kedge/driver-kit';
import type { deviceTree, siteTree } from '@kedge/intent-model';
import { canonicalText, type GateMode, type Sha256 } from '@kedge/reconcile';
import { type Epoch, KedgeError } from '@kedge/units';

import { stepsBetween } from './transition.js';

/** One device to be compiled for. */
export interface DeviceInput {
  /** Its id in the inventory. */
  readonly device: string;
  /** What it is meant to be, validated. */
  readonly intended: deviceTree.DeviceTree;
  /** The intent that was carried out last; what it spoke of and `intended` no longer does is taken away. */
  readonly former?: deviceTree.DeviceTree;
  /** What was read from it. */
  readonly actual: Reading;
  /** The fingerprint of an earlier compilation that found nothing to do: where it still holds nothing is compared. */
  readonly known?: string;
}

/** How to compile. */
export interface CompileOptions {
  /** The epoch under which plans are made. */
  readonly epoch: Epoch;
  /** The mutation gate of the level in force: where plans cannot run, none are made (UN, table of levels). */
  readonly gate: GateMode;
  readonly drivers: readonly AnyDriver[];
  readonly sha256: Sha256;
}

/** Why intent cannot be carried out. */
export interface CompileRefusal {
  /** A row of docs/errors.md. */
  readonly code: string;
  /** Where in the intent of the device; of the site where it begins with kedge-site or kedge-inventory. */
  readonly path: string;
  readonly message: string;
  readonly expected: string;
}

/** What is intended and not in force under the rest of the intent. */
export interface Dormant {
  readonly path: string;
  readonly why: string;
}

/** What became of one device. */
export type DeviceCompilation =
  | {
      readonly device: string;
      readonly outcome: 'planned';
      /** At least one step. */
      readonly plan: Plan;
      readonly dormant: readonly Dormant[];
      /** False while the inventory has the device as planned. */
      readonly applicable: boolean;
      readonly fingerprint: string;
    }
  | {
      readonly device: string;
      readonly outcome: 'unchanged';
      readonly dormant: readonly Dormant[];
      /** True where the fingerprint that was known still held, so that nothing was compared. */
      readonly skipped: boolean;
      readonly base: string;
      readonly fingerprint: string;
    }
  | { readonly device: string; readonly outcome: 'refused'; readonly refusals: readonly CompileRefusal[] }
  /** Out of service: neither read nor written. */
  | { readonly device: string; readonly outcome: 'retired' };

/** Whether a gate lets plans be compiled: at `emergency-only` only those run that were compiled before. */
export function mayCompile(gate: GateMode): boolean {
  return gate === 'open' || gate === 'tiers';
}

/**
 * Compiles every device, in the order of their ids. Same input, same output, byte for byte; the order of members and
 * of lists that the user does not order decides nothing.
 *
 * @throws KedgeError `COMPILER_FROZEN` where the gate lets no plan be made, `COMPILER_TWICE` for two inputs of one
 *   device.
 */
export function compile(
  site: siteTree.SiteTree,
  inputs: readonly DeviceInput[],
  options: CompileOptions,
): DeviceCompilation[] {
  if (!mayCompile(options.gate))
    throw new KedgeError({
      code: 'COMPILER_FROZEN',
      message: `cannot compile: the mutation gate is ${options.gate}`,
      expected: 'a level whose gate is open or for tiers',
      help: 'at level 2 run a change that was approved beforehand',
    });
  const inventory = new Map(
    (site['kedge-inventory:devices']?.device ?? []).map((device) => [device.id, device]),
  );
  const sorted = inputs.toSorted((a, b) => compareNames(a.device, b.device));
  for (const [place, { device }] of sorted.entries())
    if (sorted[place + 1]?.device === device)
      throw new KedgeError({
        code: 'COMPILER_TWICE',
        message: `cannot compile: ${device} is given twice`,
        field: 'inputs',
        expected: 'each device once',
      });
  const context = contextOf(site, options.sha256);
  return sorted.map((input) => compileDevice(input, inventory.get(input.device), context, options));
}

/** What is the same for all devices. */
interface Context {
  readonly networks: ReadonlyMap<number, siteTree.SiteNetwork>;
  readonly uplinks: readonly siteTree.SiteUplink[];
  /** Canonical text of what of the site compilations look at. */
  readonly text: string;
}

function contextOf(site: siteTree.SiteTree, sha256: Sha256): Context {
  const networks = site['kedge-site:site']?.network ?? [];
  const uplinks = site['kedge-site:site']?.uplink ?? [];
  const byName = <Item extends { readonly name: string }>(items: readonly Item[]): Item[] =>
    items.toSorted((a, b) => compareNames(a.name, b.name));
  return {
    networks: new Map(networks.map((network) => [network['vlan-id'], network])),
    uplinks: byName(uplinks),
    text: sha256(
      canonicalText({
        networks: byName(networks).map(({ name, 'vlan-id': vlan, prefix }) => ({ name, vlan, prefix })),
        uplinks: byName(uplinks).map(({ name, device, interface: port }) => ({ name, device, port })),
      }),
    ),
  };
}

function compileDevice(
  input: DeviceInput,
  device: InventoryDevice | undefined,
  context: Context,
  { epoch, drivers, sha256 }: CompileOptions,
): DeviceCompilation {
  const refuse = (...refusals: readonly CompileRefusal[]): DeviceCompilation => ({
    device: input.device,
    outcome: 'refused',
    refusals: refusals.toSorted((a, b) => compareNames(a.path, b.path) || compareNames(a.code, b.code)),
  });
  if (device === undefined)
    return refuse({
      code: 'COMPILER_DEVICE',
      path: `/kedge-inventory:devices/device[id='${input.device}']`,
      message: `cannot compile for ${input.device}: it is not in the inventory`,
      expected: 'a device of the inventory',
    });
  if (device['life-cycle'] === 'retired') return { device: device.id, outcome: 'retired' };
  const driver = driverFor(drivers, device);
  if (!('manifest' in driver))
    return refuse({ ...driver, path: `/kedge-inventory:devices/device[id='${device.id}']/driver` });
  const there = objectsOf(input.actual.tree);
  const base = baseOf(input.actual, sha256, there);
  const fingerprint = sha256(`${base}\n${intentText(input, device, driver, context)}`);
  if (input.known === fingerprint)
    return { device: device.id, outcome: 'unchanged', dormant: [], skipped: true, base, fingerprint };
  const aim = aimOf(input, device, driver, context, there);
  if (aim.refusals.length > 0) return refuse(...aim.refusals);
  const steps = stepsBetween(aim.before, aim.after, driver, (path) => aim.origins.get(path) ?? path);
  const beyond = steps.flatMap(({ path }): CompileRefusal[] => {
    const object = aim.after.get(path) ?? aim.before.get(path);
    const needed = object === undefined ? undefined : capabilityOf(object);
    if (needed === undefined || (device.capability ?? []).includes(needed)) return [];
    return [
      {
        code: 'COMPILER_CAPABILITY',
        path,
        message: `cannot compile for ${device.id}: it has no capability ${needed}`,
        expected: `intent that asks for no other value, or ${needed} in the inventory`,
      },
    ];
  });
  if (beyond.length > 0) return refuse(...beyond);
  if (steps.length === 0)
    return {
      device: device.id,
      outcome: 'unchanged',
      dormant: aim.dormant,
      skipped: false,
      base,
      fingerprint,
    };
  const target = `device/${device.id}`;
  return {
    device: device.id,
    outcome: 'planned',
    plan: { id: `${target}/${String(epoch)}/${base.slice(0, 16)}`, epoch, target, base, steps },
    dormant: aim.dormant,
    applicable: device['life-cycle'] !== 'planned',
    fingerprint,
  };
}

/** Texts of intents that were asked for before: intents are never changed, but made anew. */
const TEXTS = new WeakMap<object, string>();

function textOf(value: object): string {
  let text = TEXTS.get(value);
  if (text === undefined) {
    text = canonicalText(value);
    TEXTS.set(value, text);
  }
  return text;
}

/** Everything but the reading that decides about a plan. */
function intentText(
  { intended, former }: DeviceInput,
  device: InventoryDevice,
  { manifest }: AnyDriver,
  { text }: Context,
): string {
  const before = former === undefined ? '' : textOf(former);
  return [manifest.name, manifest.version, text, textOf(device), textOf(intended), before].join('\n');
}

/** What is Kedge's on a device, as it is and as it is meant to be. */
export interface Aim {
  readonly before: DeviceObjects;
  readonly after: DeviceObjects;
  readonly dormant: readonly Dormant[];
  readonly refusals: readonly CompileRefusal[];
  /** Where in the site a value was taken from, by the path of the object that holds it. */
  readonly origins: ReadonlyMap<string, string>;
}

/** The names of interfaces that a tree speaks of. */
function namesIn(tree: deviceTree.DeviceTree | undefined): string[] {
  return (tree?.['ietf-interfaces:interfaces']?.interface ?? []).map(({ name }) => name);
}

/** Sides of a device: what it holds and what it is meant to hold, without anything that is not Kedge's. */
function aimOf(
  input: DeviceInput,
  device: InventoryDevice,
  driver: AnyDriver,
  context: Context,
  read: DeviceObjects,
): Aim {
  const { intended, former, actual } = input;
  const refusals: CompileRefusal[] = [];
  const refuse = (code: string, path: string, what: string, expected: string): void => {
    refusals.push({ code, path, message: `cannot compile for ${device.id}: ${what}`, expected });
  };
  for (const path of strangeNodes(intended))
    refusals.push({
      code: 'COMPILER_UNSUPPORTED',
      path,
      message: `cannot compile for ${device.id}: nothing is known of this node`,
      expected: 'a node that plans can carry',
    });
  const instances = staticInstances(intended);
  if (instances.length > 1)
    refuse(
      'COMPILER_UNSUPPORTED',
      '/ietf-routing:routing/control-plane-protocols',
      'it has several instances of static routes',
      'one instance of type static',
    );
  const instance =
    instances[0] ?? (former === undefined ? undefined : staticInstances(former)[0]) ?? STATIC_NAME;
  const wanted = objectsOf(intended, instance);
  // Routes stand under the name that intent has for their instance.
  const isNamed = staticInstances(actual.tree).every((name) => name === instance);
  const there = isNamed ? read : objectsOf(actual.tree, instance);
  const origins = new Map<string, string>();
  checkSite(wanted, context, device, actual, refuse);
  nameVlans(wanted, context, origins);
  checkInterfaces(wanted, there, input, device, driver, refuse);

  const after = new Map<string, DeviceObject>();
  const dormant: Dormant[] = [];
  for (const object of wanted.values()) {
    const shaped = driver.shape(object, wanted, device);
    if (shaped.as === 'held') after.set(object.path, shaped.object);
    else if (shaped.as === 'implied') continue;
    else if (shaped.as === 'dormant') dormant.push({ path: object.path, why: shaped.why });
    else
      refusals.push({
        code: 'COMPILER_UNSUPPORTED',
        path: object.path,
        message: `cannot compile for ${device.id}: ${shaped.why}`,
        expected: `what ${driver.manifest.name} can carry out`,
      });
  }
  dormant.sort((a, b) => compareNames(a.path, b.path));
  const before = ownOf(there, wanted, input, instance, driver);
  keepInventory(before, after, device);
  return { before, after, dormant, refusals, origins };
}

/** What of the objects of a device is Kedge's. */
function ownOf(
  there: DeviceObjects,
  wanted: DeviceObjects,
  { intended, former, actual }: DeviceInput,
  instance: string,
  { manifest }: AnyDriver,
): Map<string, DeviceObject> {
  const governed = new Set([...namesIn(intended), ...namesIn(former), ...actual.own]);
  const spoken = former === undefined ? undefined : objectsOf(former, instance);
  const own = new Map<string, DeviceObject>();
  for (const [path, object] of there) {
    const { kind, interface: name } = object;
    const isGoverned =
      kind === 'route' || kind === 'acl' || kind === 'acl-attachment'
        ? manifest.marks || wanted.has(path) || spoken?.has(path) === true
        : name !== undefined && governed.has(name);
    if (isGoverned) own.set(path, object);
  }
  return own;
}

/** An interface of the inventory does not go with its intent: what was configured goes, the link stays as it is. */
function keepInventory(
  before: DeviceObjects,
  after: Map<string, DeviceObject>,
  device: InventoryDevice,
): void {
  const known = new Set((device.interface ?? []).map(({ name }) => name));
  for (const [path, object] of before) {
    if (after.has(path) || !known.has(object.interface ?? '')) continue;
    if (object.kind === 'interface' || object.kind === 'enabled') after.set(path, object);
  }
}

type Refuse = (code: string, path: string, what: string, expected: string) => void;

/** What YANG cannot compare because it stands in two trees. */
function checkSite(
  wanted: DeviceObjects,
  { networks, uplinks }: Context,
  device: InventoryDevice,
  actual: Reading,
  refuse: Refuse,
): void {
  const vlanOf = new Map<string, number>();
  for (const { kind, value, path, interface: name = '' } of wanted.values()) {
    const id =
      kind === 'bridge-vlan'
        ? value.id
        : kind === 'interface'
          ? value['kedge-bridging:vlan-interface']?.['vlan-id']
          : undefined;
    if (id === undefined) continue;
    if (kind === 'interface') vlanOf.set(name, id);
    if (!networks.has(id))
      refuse(
        'COMPILER_VLAN',
        path,
        `VLAN ${String(id)} is no network of the site`,
        'the VLAN of a network of the site',
      );
  }
  for (const { kind, value, path, interface: name = '' } of wanted.values()) {
    if (kind !== 'address') continue;
    const prefixes = networks.get(vlanOf.get(name) ?? 0)?.prefix ?? [];
    if (prefixes.length > 0 && !prefixes.some((prefix) => isWithin(value.ip, prefix)))
      refuse(
        'COMPILER_ADDRESS',
        path,
        `${value.ip} is not within the network of VLAN ${String(vlanOf.get(name))}`,
        `an address within ${prefixes.join(' or ')}`,
      );
  }
  const names = new Set([...namesIn(actual.tree)]);
  for (const uplink of uplinks)
    if (uplink.device === device.id && !names.has(uplink.interface))
      refuse(
        'COMPILER_UPLINK',
        `/kedge-site:site/uplink[name='${uplink.name}']/interface`,
        `its uplink ${uplink.name} leads out of ${uplink.interface}, which it does not have`,
        'an interface of the device',
      );
}

/** A VLAN without a name has that of its network. */
function nameVlans(
  wanted: Map<string, DeviceObject>,
  { networks }: Context,
  origins: Map<string, string>,
): void {
  for (const object of wanted.values()) {
    if (object.kind !== 'bridge-vlan' || object.value.name !== undefined) continue;
    const network = networks.get(object.value.id);
    if (network === undefined) continue;
    wanted.set(object.path, { ...object, value: { ...object.value, name: network.name } });
    origins.set(object.path, `/kedge-site:site/network[name='${network.name}']`);
  }
}

/** Interfaces are of the inventory, of Kedge's making, or refused. */
function checkInterfaces(
  wanted: DeviceObjects,
  there: DeviceObjects,
  { former, actual }: DeviceInput,
  device: InventoryDevice,
  { manifest }: AnyDriver,
  refuse: Refuse,
): void {
  const inventory = new Map((device.interface ?? []).map(({ name, type }) => [name, type]));
  const ours = new Set([...actual.own, ...namesIn(former)]);
  for (const { kind, value, path } of wanted.values()) {
    if (kind !== 'interface') continue;
    const { name, type } = value;
    const known = inventory.get(name);
    const found = there.get(path);
    if (known !== undefined && known !== type) {
      refuse(
        'COMPILER_INTERFACE',
        path,
        `${name} is ${known} in the inventory, not ${type}`,
        `type ${known}`,
      );
    } else if (known === undefined && !isMade(type)) {
      refuse(
        'COMPILER_INTERFACE',
        path,
        `${name} is neither in the inventory nor of a kind that is made`,
        'an interface of the inventory, a bridge, a VLAN interface or a tunnel',
      );
    } else if (known !== undefined && found === undefined) {
      refuse('COMPILER_MISSING', path, `it does not have ${name}`, 'an interface that the device has now');
    } else if (known === undefined && found !== undefined && manifest.marks && !ours.has(name)) {
      refuse(
        'COMPILER_FOREIGN',
        path,
        `${name} is there and somebody else's`,
        'another name, or the interface in the inventory',
      );
    } else if (known !== undefined && found?.kind === 'interface' && found.value.type !== type) {
      refuse(
        'COMPILER_INTERFACE',
        path,
        `${name} is ${found.value.type} on the device, not ${type}`,
        `type ${found.value.type}`,
      );
    }
  }
}

/**
 * Both sides of one device, for whoever compares without planning.
 *
 * @throws KedgeError `COMPILER_DEVICE` when the inventory does not have it; `DRIVER_UNKNOWN`, `DRIVER_CAPABILITY` and
 *   `DRIVER_ACCESS` as {@link driverFor} refuses.
 */
export function aimAt(
  site: siteTree.SiteTree,
  input: DeviceInput,
  { drivers, sha256 }: Pick<CompileOptions, 'drivers' | 'sha256'>,
): Aim {
  const device = (site['kedge-inventory:devices']?.device ?? []).find(({ id }) => id === input.device);
  if (device === undefined)
    throw new KedgeError({
      code: 'COMPILER_DEVICE',
      message: `cannot compare ${input.device}: it is not in the inventory`,
      expected: 'a device of the inventory',
    });
  const driver = driverFor(drivers, device);
  if (!('manifest' in driver)) throw new KedgeError(driver);
  return aimOf(input, device, driver, contextOf(site, sha256), objectsOf(input.actual.tree));
}
