/**
 * Addresses as drivers and plans compare them: canonical text, and whether an address lies within a subnet.
 * It must not resolve a name.
 */
import { prefixOf } from '@kedge/posture';

/** An address in canonical text, or undefined where it is none. */
export function canonicalAddress(text: string): string | undefined {
  if (text.includes('/')) return undefined;
  const host = prefixOf(`${text}/${text.includes(':') ? '128' : '32'}`);
  return host?.text.slice(0, host.text.indexOf('/'));
}

const SUBNETS = new Map<string, string | undefined>();
/** Most subnets that are remembered; reading one costs as much as comparing hundreds. */
const MOST = 20_000;

/** The subnet of an address and its prefix length in canonical text, "10.1.2.0/24"; undefined where there is none. */
export function subnetOf(ip: string, length: number): string | undefined {
  const key = `${ip}/${String(length)}`;
  if (SUBNETS.has(key)) return SUBNETS.get(key);
  const text = prefixOf(key)?.text;
  if (SUBNETS.size >= MOST) SUBNETS.clear();
  SUBNETS.set(key, text);
  return text;
}

/** True when an address lies within a subnet such as 10.1.2.0/24. */
export function isWithin(ip: string, subnet: string): boolean {
  const slash = subnet.lastIndexOf('/');
  if (ip.includes(':') !== subnet.includes(':')) return false;
  return (
    subnetOf(ip, Number(subnet.slice(slash + 1))) ===
    subnetOf(subnet.slice(0, slash), Number(subnet.slice(slash + 1)))
  );
}
