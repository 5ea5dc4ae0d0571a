/**
 * What the tests read: where the IETF's modules are, a module with every kind of node and type, and documents.
 * Must not hold an expectation.
 */
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
export const EVERYTHING = `module everything {
  yang-version 1.1;
  namespace "urn:test:everything";
  prefix e;
  revision 2026-11-01;
  feature extras;
  identity animal;
  identity dog { base animal; }
  identity poodle { base dog; }
  identity cat { base animal; if-feature extras; }
  typedef percent { type uint8 { range "0..100"; } units percent; }
  container all {
    leaf i8 { type int8; }
    leaf i64 { type int64; }
    leaf u32 { type uint32 { range "1..10 | 20..30"; } }
    leaf u64 { type uint64; }
    leaf d { type decimal64 { fraction-digits 2; range "-1.5..99.75"; } }
    leaf s { type string { length "1..8"; pattern "[a-z]*"; } }
    leaf b { type boolean; }
    leaf e { type empty; }
    leaf bin { type binary; }
    leaf bits { type bits { bit one; bit two; bit four; } }
    leaf colour { type enumeration { enum red; enum green { value 7; } } }
    leaf animal { type identityref { base animal; } }
    leaf u { type union { type uint16; type enumeration { enum auto; } type string; } }
    leaf share { type percent; default 50; }
    leaf-list tags { type string; }
    leaf-list order { type string; ordered-by user; }
    anydata any;
    container quiet { leaf inner { type string; default "still"; } }
    container loud { presence "is loud"; leaf volume { type uint8; default 3; } }
    choice way {
      default by-name;
      case by-name { leaf name { type string; } }
      case by-number { leaf number { type uint16; } leaf prefix { type string; } }
    }
    list peer {
      key "host port";
      unique "label";
      leaf host { type string; }
      leaf port { type uint16; }
      leaf label { type string; }
      leaf weight { type uint8; default 1; }
      leaf seen { type uint32; config false; }
      action reset { input { leaf hard { type boolean; mandatory true; } } output { leaf resets { type uint32; } } }
      notification lost { leaf why { type string; } }
    }
    list rule {
      key name;
      ordered-by user;
      leaf name { type string; }
      leaf verdict { type string; }
      list step { key at; ordered-by user; leaf at { type uint8; } leaf what { type string; } }
    }
    leaf favourite { type leafref { path "../peer/host"; } }
    leaf low { type uint8; }
    leaf high {
      type uint8;
      must ". >= ../low" { error-message "high is below low"; error-app-tag "too-low"; }
    }
    leaf extra { if-feature extras; type string; }
    leaf uptime { type uint64; config false; mandatory true; }
    list log { config false; leaf line { type string; } }
  }
  rpc ping {
    input { leaf host { type string; mandatory true; } leaf count { type uint8; default 4; } }
    output { leaf lost { type uint8; } }
  }
  notification started { leaf at { type string; mandatory true; } }
}`;

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
