/**
 * Frames written by hand, for the tests: each function puts one header before what it is given.
 * It must not use the core, whose reading of these frames is what the tests are about.
 */

/** `02:00:00:00:00:N0`, the address of the station in the lab's zone N. */
export function mac(zone: number): number[] {
  return [2, 0, 0, 0, 0, zone << 4];
}

function be16(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff];
}

export function bytesOf(address: string): number[] {
  if (!address.includes(':')) return address.split('.').map(Number);
  const [head = '', tail] = address.split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').flatMap((group) => be16(parseInt(group, 16)));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  return [...left, ...new Array<number>(16 - left.length - right.length).fill(0), ...right];
}

/** Ones' complement sum of RFC 1071. */
export function checksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function ethernet(
  o: {
    from?: number[];
    to?: number[];
    type: number;
    tags?: readonly (readonly [type: number, tci: number])[];
  },
  payload: readonly number[],
): Buffer {
  const tags = (o.tags ?? []).flatMap(([type, tci]) => [...be16(type), ...be16(tci)]);
  return Buffer.from([...(o.to ?? mac(3)), ...(o.from ?? mac(2)), ...tags, ...be16(o.type), ...payload]);
}

export interface Ip4 {
  source?: string;
  destination?: string;
  protocol: number;
  tos?: number;
  options?: number[];
  /** In bytes, a multiple of eight. */
  offset?: number;
  more?: boolean;
  totalLength?: number;
  version?: number;
}

export function ip4(o: Ip4, payload: readonly number[]): number[] {
  const options = o.options ?? [];
  const length = 20 + options.length;
  const header = [
    ((o.version ?? 4) << 4) | (length / 4),
    o.tos ?? 0,
    ...be16(o.totalLength ?? length + payload.length),
    ...[0, 1],
    ...be16(((o.more ?? false) ? 0x2000 : 0) | ((o.offset ?? 0) >> 3)),
    ...[64, o.protocol, 0, 0],
    ...bytesOf(o.source ?? '10.77.0.20'),
    ...bytesOf(o.destination ?? '10.77.0.30'),
    ...options,
  ];
  [header[10], header[11]] = be16(checksum(header)) as [number, number];
  return [...header, ...payload];
}

export interface Ip6 {
  source?: string;
  destination?: string;
  next: number;
  hops?: number;
  trafficClass?: number;
  payloadLength?: number;
}

export function ip6(o: Ip6, payload: readonly number[]): number[] {
  const tc = o.trafficClass ?? 0;
  return [
    ...[0x60 | (tc >> 4), (tc & 15) << 4, 0, 0],
    ...be16(o.payloadLength ?? payload.length),
    ...[o.next, o.hops ?? 64],
    ...bytesOf(o.source ?? 'fd77::20'),
    ...bytesOf(o.destination ?? 'fd77::30'),
    ...payload,
  ];
}

/** An extension header of 8 bytes (hop-by-hop, destination options, routing). */
export function extension(next: number, payload: readonly number[], body = [0, 0, 0, 0, 0, 0]): number[] {
  return [next, 0, ...body, ...payload];
}

/** `offset` in bytes. */
export function fragment6(next: number, offset: number, more: boolean, payload: readonly number[]): number[] {
  return [next, 0, ...be16(offset | (more ? 1 : 0)), 0, 0, 0, 7, ...payload];
}

export function udp(source: number, destination: number, payload: readonly number[] = []): number[] {
  return [...be16(source), ...be16(destination), ...be16(8 + payload.length), 0, 0, ...payload];
}

export function tcp(source: number, destination: number, payload: readonly number[] = []): number[] {
  return [
    ...be16(source),
    ...be16(destination),
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0x50,
    2,
    0,
    0,
    0,
    0,
    0,
    0,
    ...payload,
  ];
}

export function icmp(type: number, code: number, payload: readonly number[] = [0, 0, 0, 0]): number[] {
  return [type, code, 0, 0, 0, 0, 0, 0, ...payload];
}

export function arp(operation = 1, sender = '10.77.0.20', target = '10.77.0.30', from = mac(2)): number[] {
  return [
    ...[0, 1, 8, 0, 6, 4],
    ...be16(operation),
    ...from,
    ...bytesOf(sender),
    ...[0, 0, 0, 0, 0, 0],
    ...bytesOf(target),
  ];
}

export const IP4 = 0x0800;
export const IP6 = 0x86dd;
export const ARP = 0x0806;
export const BROADCAST = [255, 255, 255, 255, 255, 255];
