/**
 * Documents for tests, and their canonical text.
 * Must not be used by shipped code.
 */
import type { PlanValue } from '@kedge/contracts';
import type { Container } from '@kedge/datastores';
import { canonicalText } from '@kedge/reconcile';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const YANG = join(import.meta.dirname, '../../../yang');

export const read = (path: string): Container =>
  JSON.parse(readFileSync(join(YANG, path), 'utf8')) as Container;
export const filesIn = (path: string): string[] => readdirSync(join(YANG, path)).sort();
export const textOf = (value: PlanValue): string => canonicalText(value);

export const SITE = read('examples/valid/site/branch-office.json');
export const SWITCH = read('examples/valid/device/access-switch.json');

/** A document with a site and some devices. */
export const whole = (devices: Readonly<Record<string, Container>>, more: Container = {}): Container => ({
  ...SITE,
  ...more,
  'kedge-intent:device': Object.entries(devices).map(([id, tree]) => ({ id, ...tree })),
});

/** Something far inside a document, changed in a copy of it. */
export function changedAt(
  document: Container,
  path: readonly (string | number)[],
  value: unknown,
): Container {
  const copy = structuredClone(document) as Record<string, unknown>;
  let here: Record<string | number, unknown> = copy;
  for (const step of path.slice(0, -1)) here = here[step] as Record<string | number, unknown>;
  const last = path.at(-1) ?? '';
  if (value === undefined && Array.isArray(here)) here.splice(Number(last), 1);
  else if (value === undefined) Reflect.deleteProperty(here, last);
  else here[last] = value;
  return copy as Container;
}

/** Interfaces of a large device; each `moved`-th is described otherwise. */
export function interfaces(count: number, moved = Infinity): Container {
  const list = Array.from({ length: count }, (_, at) => ({
    name: `eth${at}`,
    type: 'iana-if-type:ethernetCsmacd',
    description: `${(at + 1) % moved === 0 ? 'moved' : 'access'} port ${at}`,
    'ietf-ip:ipv4': { address: [{ ip: `10.0.${at >> 8}.${at & 255}`, 'prefix-length': 24 }] },
  }));
  return { 'ietf-interfaces:interfaces': { interface: list } };
}
