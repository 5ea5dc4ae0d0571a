/**
 * Frames that lie: for each layer the ways in which a sender can break its headers, by name, with the reason
 * under which the data plane has to count them; and the wrong ones that a switch carries to whom they concern.
 * It must not use the core, whose reading of these frames is what the tests are about.
 */
import {
  ARP,
  arp,
  ethernet,
  extension,
  fragment6,
  icmp,
  IP4,
  ip4,
  type Ip4,
  IP6,
  ip6,
  mac,
  tcp,
  udp,
} from './frames.js';

/** As the index of enum kedge_reason in the counters. */
export const REASON = { malformed: 4, ethertype: 5, fragment: 6 } as const;

export interface Malformation {
  readonly layer: 'ethernet' | 'vlan' | 'arp' | 'ip4' | 'ip6' | 'fragment' | 'tcp' | 'udp' | 'icmp' | 'other';
  readonly name: string;
  readonly reason: keyof typeof REASON;
  /** The whole frame to a station. */
  readonly frame: (to: number[]) => Buffer;
}

const ones = (n: number): number[] => Array<number>(n).fill(1);
const datagram = udp(4000, 443, ones(20));
const segment = tcp(4000, 443, ones(20));

/** A copy with some bytes replaced. */
function patched(bytes: readonly number[], changes: Readonly<Record<number, number>>): number[] {
  return bytes.map((byte, at) => changes[at] ?? byte);
}

type Draft = readonly [name: string, payload: readonly number[]];

function of(
  layer: Malformation['layer'],
  type: number,
  reason: Malformation['reason'],
  drafts: readonly Draft[],
): Malformation[] {
  return drafts.map(([name, payload]) => ({
    layer,
    name,
    reason,
    frame: (to) => ethernet({ to, type }, payload),
  }));
}

const packet4 = (o: Partial<Ip4>, payload: readonly number[] = datagram): number[] =>
  ip4({ protocol: 17, ...o }, payload);
const whole4 = packet4({});
const whole6 = ip6({ next: 17 }, datagram);
const chain = (n: number): number[] => (n === 0 ? datagram : extension(n === 1 ? 17 : 60, chain(n - 1)));
const quoted4 = packet4({}, udp(9, 9));
const quoted6 = ip6({ next: 17 }, udp(9, 9));

export const MALFORMATIONS: readonly Malformation[] = [
  {
    layer: 'ethernet',
    name: 'a group as sender',
    reason: 'malformed',
    frame: (to) => ethernet({ to, from: [3, 0, 0, 0, 0, 0x20], type: IP4 }, whole4),
  },
  ...of('ethernet', 0x88b5, 'ethertype', [['an unknown type', ones(46)]]),
  ...of('ethernet', 46, 'ethertype', [['a length in place of a type', ones(46)]]),
  ...of('ethernet', IP6, 'malformed', [['an IPv4 packet under the type of IPv6', whole4]]),
  ...of('ethernet', IP4, 'malformed', [['an IPv6 packet under the type of IPv4', whole6]]),
  ...of('ethernet', IP4, 'malformed', [['nothing behind the type', []]]),
  {
    layer: 'vlan',
    name: 'three tags',
    reason: 'ethertype',
    frame: (to) => ethernet({ to, type: IP4, tags: [[0x8100, 1], [0x8100, 2], [0x8100, 3]] }, whole4), // prettier-ignore
  },
  {
    layer: 'vlan',
    name: 'three service tags',
    reason: 'ethertype',
    frame: (to) => ethernet({ to, type: IP4, tags: [[0x88a8, 1], [0x88a8, 2], [0x88a8, 3]] }, whole4), // prettier-ignore
  },
  {
    layer: 'vlan',
    name: 'an unknown type behind a tag',
    reason: 'ethertype',
    frame: (to) => ethernet({ to, type: 0x88b5, tags: [[0x8100, 1]] }, ones(46)),
  },
  {
    layer: 'vlan',
    name: 'a cut packet behind two tags',
    reason: 'malformed',
    frame: (to) => ethernet({ to, type: IP4, tags: [[0x88a8, 1], [0x8100, 2]] }, whole4.slice(0, 30)), // prettier-ignore
  },
  ...of('arp', ARP, 'malformed', [
    ['cut short', arp().slice(0, 27)],
    ['another hardware', patched(arp(), { 1: 6 })],
    ['another protocol', patched(arp(), { 2: 0x86, 3: 0xdd })],
    ['long hardware addresses', patched(arp(), { 4: 8 })],
    ['long protocol addresses', patched(arp(), { 5: 16 })],
    ['operation 0', arp(0)],
    ['operation 9', arp(9)],
  ]),
  ...of('ip4', IP4, 'malformed', [
    ['cut in its header', whole4.slice(0, 19)],
    ['version 0', packet4({ version: 0 })],
    ['version 15', packet4({ version: 15 })],
    ['a header of 16 bytes', patched(whole4, { 0: 0x44 })],
    ['a header of no bytes', patched(whole4, { 0: 0x40 })],
    ['a header longer than the packet', patched(packet4({}, udp(4000, 443)), { 0: 0x4f })],
    ['a total length shorter than the header', packet4({ totalLength: 19 })],
    ['a total length of 0', packet4({ totalLength: 0 })],
    ['a total length beyond the frame', packet4({ totalLength: whole4.length + 200 })],
    ['a total length of 65535', packet4({ totalLength: 65_535 })],
    ['an option longer than the options', packet4({ options: [7, 39, 4, 0] })],
    ['an option of length 0', packet4({ options: [7, 0, 4, 0] })],
    ['an option of length 1', packet4({ options: [7, 1, 4, 0] })],
    ['an option without its length', packet4({ options: [1, 1, 1, 7] })],
    ['a loose source route', packet4({ options: [131, 7, 4, 10, 0, 0, 1, 0] })],
    ['a strict source route', packet4({ options: [137, 7, 4, 10, 0, 0, 1, 0] })],
    ['a source route behind no-operations', packet4({ options: [1, 131, 7, 4, 10, 0, 0, 1] })],
  ]),
  ...of('ip6', IP6, 'malformed', [
    ['cut in its header', whole6.slice(0, 39)],
    ['version 4', patched(whole6, { 0: 0x40 })],
    ['version 7', patched(whole6, { 0: 0x70 })],
    ['a payload length beyond the frame', ip6({ next: 17, payloadLength: 1400 }, datagram)],
    ['a payload length of 65535', ip6({ next: 17, payloadLength: 65_535 }, datagram)],
    ['a payload length of 0 over UDP', ip6({ next: 17, payloadLength: 0 }, datagram)],
    ['hop-by-hop options behind another header', ip6({ next: 60 }, extension(0, extension(17, datagram)))],
    ['hop-by-hop options twice', ip6({ next: 0 }, extension(0, extension(17, datagram)))],
    ['a routing header with segments left', ip6({ next: 43 }, extension(17, datagram, [0, 1, 0, 0, 0, 0]))],
    ['a routing header of type 4 with segments left', ip6({ next: 43 }, extension(17, datagram, [4, 3, 0, 0, 0, 0]))],
    ['nine extension headers', ip6({ next: 60 }, chain(9))],
    ['forty extension headers', ip6({ next: 60 }, chain(40))],
    ['an extension header beyond the packet', ip6({ next: 60 }, patched(extension(17, datagram), { 1: 200 }))],
    ['an extension header cut short', ip6({ next: 60 }, [17, 0, 1, 2])],
    ['an authentication header of no length', ip6({ next: 51 }, [17, 255, 0, 0, ...ones(8), ...datagram])],
    ['a chain that ends without what it names', ip6({ next: 60 }, extension(6, []))],
  ]), // prettier-ignore
  ...of('fragment', IP4, 'malformed', [
    ['a first fragment without its ports', packet4({ more: true }, datagram.slice(0, 4))],
    ['a first fragment that is tiny', packet4({ protocol: 6, more: true }, segment.slice(0, 8))],
    ['a second fragment over the ports of TCP', packet4({ protocol: 6, offset: 8 }, segment)],
    ['an empty later fragment', packet4({ offset: 1480 }, [])],
    ['a middle fragment of odd length', packet4({ offset: 1480, more: true }, ones(13))],
    ['an end beyond 65535', packet4({ offset: 65_528 }, ones(100))],
  ]),
  ...of('fragment', IP6, 'malformed', [
    ['a first IPv6 fragment without its ports', ip6({ next: 44 }, fragment6(17, 0, true, []))],
    ['a tiny first IPv6 fragment', ip6({ next: 44 }, fragment6(6, 0, true, segment.slice(0, 16)))],
    ['two fragment headers', ip6({ next: 44 }, fragment6(44, 0, false, fragment6(17, 0, false, datagram)))],
    ['an empty later IPv6 fragment', ip6({ next: 44 }, fragment6(17, 1480, false, []))],
    ['a middle IPv6 fragment of odd length', ip6({ next: 44 }, fragment6(17, 1480, true, ones(13)))],
    ['an IPv6 end beyond 65535', ip6({ next: 44 }, fragment6(17, 65_528, false, ones(100)))],
    ['neighbour discovery in an atomic fragment', ip6({ next: 44, hops: 255 }, fragment6(58, 0, false, icmp(135, 0, ones(16))))],
  ]), // prettier-ignore
  ...of('fragment', IP4, 'fragment', [
    ['a later fragment that nobody asked for', packet4({ offset: 1480 }, ones(40))],
    ['a later fragment over the first', packet4({ offset: 8 }, ones(40))],
  ]),
  ...of('fragment', IP6, 'fragment', [
    ['a later IPv6 fragment that nobody asked for', ip6({ next: 44 }, fragment6(17, 1480, false, ones(40)))],
    ['a later IPv6 fragment over the first', ip6({ next: 44 }, fragment6(17, 8, false, ones(40)))],
  ]),
  ...of('tcp', IP4, 'malformed', [
    ['cut in its header', packet4({ protocol: 6 }, segment.slice(0, 19))],
    ['a header of 16 bytes', packet4({ protocol: 6 }, patched(segment, { 12: 0x40 }))],
    ['a header of no bytes', packet4({ protocol: 6 }, patched(segment, { 12: 0 }))],
    ['a header longer than the segment', packet4({ protocol: 6 }, patched(segment, { 12: 0xf0 }))],
  ]),
  ...of('tcp', IP6, 'malformed', [
    ['cut in its header over IPv6', ip6({ next: 6 }, segment.slice(0, 19))],
    ['a header longer than the segment over IPv6', ip6({ next: 6 }, patched(segment, { 12: 0xf0 }))],
  ]),
  ...of('udp', IP4, 'malformed', [
    ['cut in its header', packet4({}, datagram.slice(0, 7))],
    ['a length of 0', packet4({}, patched(datagram, { 4: 0, 5: 0 }))],
    ['a length of 7', packet4({}, patched(datagram, { 4: 0, 5: 7 }))],
    ['a length beyond the packet', packet4({}, patched(datagram, { 4: 4 }))],
  ]),
  ...of('udp', IP6, 'malformed', [
    ['a length of 0 over IPv6', ip6({ next: 17 }, patched(datagram, { 4: 0, 5: 0 }))],
    ['a length beyond the packet over IPv6', ip6({ next: 17 }, patched(datagram, { 4: 4 }))],
  ]),
  ...of('icmp', IP4, 'malformed', [
    ['cut in its header', packet4({ protocol: 1 }, [8, 0, 0, 0])],
    ['an error that quotes nothing', packet4({ protocol: 1 }, icmp(3, 1, []))],
    ['an error that quotes half a header', packet4({ protocol: 1 }, icmp(3, 1, quoted4.slice(0, 19)))],
    ['an error that quotes another version', packet4({ protocol: 1 }, icmp(11, 0, quoted6))],
  ]),
  ...of('icmp', IP6, 'malformed', [
    ['an ICMPv6 error that quotes nothing', ip6({ next: 58 }, icmp(1, 0, []))],
    ['an ICMPv6 error that quotes half a header', ip6({ next: 58 }, icmp(3, 0, quoted6.slice(0, 39)))],
    ['an ICMPv6 error that quotes another version', ip6({ next: 58 }, icmp(2, 0, [...quoted4, ...ones(20)]))],
    ['neighbour discovery from beyond a router', ip6({ next: 58, hops: 254 }, icmp(135, 0, ones(16)))],
    ['a redirect with a code', ip6({ next: 58, hops: 255 }, icmp(137, 1, ones(32)))],
  ]),
  ...of('other', IP4, 'malformed', [
    ['SCTP cut in its header', packet4({ protocol: 132 }, ones(11))],
    ['DCCP cut in its header', packet4({ protocol: 33 }, ones(11))],
    ['UDP-Lite cut in its header', packet4({ protocol: 136 }, ones(7))],
  ]),
];

/** Wrong, but judged by what is right in them: whoever they are sent to finds out. They arrive as they were sent. */
export const CARRIED: readonly (readonly [name: string, frame: Buffer])[] = [
  ['a wrong IPv4 header checksum', ethernet({ to: mac(3), type: IP4 }, patched(whole4, { 10: 0x55, 11: 0xaa }))],
  ['a wrong UDP checksum', ethernet({ to: mac(3), type: IP4 }, packet4({}, patched(datagram, { 6: 0x55 })))],
  ['a wrong TCP checksum', ethernet({ to: mac(3), type: IP4 }, packet4({ protocol: 6 }, patched(segment, { 16: 0x55 })))],
  ['every TCP flag at once', ethernet({ to: mac(3), type: IP4 }, packet4({ protocol: 6 }, patched(segment, { 13: 0xff })))],
  ['a source that is the destination', ethernet({ to: mac(3), type: IP4 }, packet4({ source: '10.77.0.30' }))],
  ['a source that is the destination over IPv6', ethernet({ to: mac(3), type: IP6 }, ip6({ next: 17, source: 'fd77::30' }, datagram))],
]; // prettier-ignore
