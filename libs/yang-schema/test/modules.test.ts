/**
 * Holds the modules in yang/ against the lint, and every rule of the lint against a module that breaks it.
 * Must not lint the modules of others.
 */
import { STANDARD_MODULES, treesOf } from '@kedge/yang-trees';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { compiled, type Exemption, lintFaults, type RuleName, RULES } from '../src/index.js';

const ROOT = join(import.meta.dirname, '../../..');
const YANG = join(ROOT, 'yang');
const trees = treesOf(YANG);
const own = readdirSync(YANG)
  .filter((name) => name.endsWith('.yang'))
  .map((name) => ({ name: name.replace(/\.yang$/, ''), text: readFileSync(join(YANG, name), 'utf8') }));

const EXEMPTIONS: readonly Exemption[] = [
  {
    rule: 'kebab-case',
    module: 'kedge-accords',
    argument: 'site_owner',
    why: 'the name of the tier on every other interface',
  },
  {
    rule: 'nothing-mandatory-at-the-top',
    module: 'kedge-zones',
    argument: 'zones',
    why: 'a site without a management zone could not be reached at any level',
  },
  {
    rule: 'nothing-mandatory-at-the-top',
    module: 'kedge-accords',
    argument: 'accords',
    why: 'silence would have to mean everything or nothing, and neither is a posture that somebody wrote down',
  },
];

const SEARCHED: readonly (readonly [module: string, argument: string, why: string])[] = [
  ['kedge-zones', 'count(/kz:zones/kz:zone/kz:port[. = current()]) = 1', 'at most 15 zones'],
  [
    'kedge-site',
    'count(/ksite:site/ksite:network/ksite:prefix[. = current()]) = 1',
    'a site has few networks',
  ],
  [
    'kedge-site',
    '/kinv:devices/kinv:device[kinv:id = current()/../device]/kinv:interface/kinv:name',
    'a site has a handful of uplinks',
  ],
  ['kedge-acl', '../../acl[kacl:family = current()/../family]/name', 'a device has few lists'],
  [
    'kedge-mesh',
    'count(/kmesh:mesh/kmesh:peer/kmesh:prefix[kmesh:prefix = current()]) = 1',
    '0.2 s for 1,000 peers, and no reference leads to who else has the prefix',
  ],
  [
    'kedge-mesh',
    'not(/kmesh:mesh/kmesh:peer[kmesh:public-key = current()])',
    'keys rotate peer by peer: few have a next one',
  ],
];

/** A module that no rule finds fault with, with something of each kind in it. */
const SOUND = `module sound {
  yang-version 1.1;
  namespace "urn:kedge:yang:sound";
  prefix so;

  import ietf-inet-types {
    prefix inet;
    reference
      "RFC 6991";
  }

  organization
    "The Kedge project";
  contact
    "The maintainers";
  description
    "A module without fault.";
  reference
    "Kedge specification: UN-5";

  revision 2026-11-29 {
    description
      "Second revision.";
    reference
      "Kedge specification: UN-5";
  }
  revision 2026-11-28 {
    description
      "Initial revision.";
    reference
      "Kedge specification: UN-5";
  }

  feature fast {
    description
      "It is fast.";
  }

  identity colour {
    description
      "A colour.";
  }

  identity blue {
    base colour;
    description
      "Blue.";
  }

  typedef small {
    type uint8 {
      range "1..9";
    }
    description
      "A small number.";
  }

  grouping place {
    description
      "A place.";
    leaf address {
      type inet:ip-address;
      description
        "Where it is.";
    }
  }

  container things {
    must "count(/so:things/so:thing) < 9" {
      error-message "there are too many things";
      description
        "Nobody can count them.";
    }
    description
      "The things.";
    list thing {
      key "name";
      description
        "A thing.";
      leaf name {
        type string {
          length "1..9";
        }
        description
          "What it is called.";
      }
      leaf interval {
        if-feature "fast";
        type small;
        units "seconds";
        description
          "How often.";
      }
      leaf wait-time {
        type uint8 {
          range "1..200";
        }
        units "seconds";
        description
          "How long.";
      }
      leaf colour {
        type identityref {
          base colour;
        }
        description
          "Its colour.";
      }
      uses place;
      container seen {
        config false;
        description
          "What was seen.";
        leaf size {
          type uint8;
          description
            "How large.";
        }
      }
    }
  }
}
`;
const MUST = '    must "count(/so:things/so:thing) < 9" {';

/** For each rule a change to the sound module that breaks it, and nothing else. */
const PLANTS: Readonly<Record<RuleName, readonly [from: string, to: string, from2?: string, to2?: string]>> =
  {
    'named-as-its-file': ['module sound {', 'module found {'],
    'one-namespace': ['urn:kedge:yang:sound', 'urn:kedge:yang:round'],
    'yang-1.1': ['yang-version 1.1;', 'yang-version 1;'],
    'prefix-of-its-own': ['prefix so;', 'prefix other;'],
    'same-prefix-everywhere': [
      '  organization\n',
      '  import other {\n    prefix ot;\n    reference\n      "other";\n  }\n\n  organization\n',
      'so:thing) < 9',
      'so:thing/ot:part) < 9',
    ],
    'told-whose-it-is': ['  contact\n    "The maintainers";\n', ''],
    'revisions-newest-first': ['revision 2026-11-28', 'revision 2026-11-30'],
    described: ['        description\n          "How often.";\n', ''],
    referenced: ['    reference\n      "RFC 6991";\n', ''],
    'must-says-why': ['      error-message "there are too many things";\n', ''],
    'kebab-case': ['leaf wait-time', 'leaf Wait-time'],
    'prefix-short': ['prefix inet;', 'prefix internettypes;', 'type inet:', 'type internettypes:'],
    'imports-used': ['type inet:ip-address;', 'type small;'],
    'typedefs-used': ['type small;', 'type uint8 {\n          range "1..9";\n        }'],
    'groupings-used': ['      uses place;\n', ''],
    'features-used': ['        if-feature "fast";\n', ''],
    'identities-hang-together': ['    base colour;\n    description', '    description'],
    'config-said-where-it-changes': [
      '        leaf size {\n',
      '        leaf size {\n          config false;\n',
    ],
    'state-has-no-default': ['          type uint8;\n', '          type uint8;\n          default "1";\n'],
    'nothing-mandatory-at-the-top': ['key "name";', 'key "name";\n      min-elements 1;'],
    'text-bounded': ['type string {\n          length "1..9";\n        }', 'type string;'],
    'units-of-measures': ['        }\n        units "seconds";\n', '        }\n'],
    'ranges-of-numbers': ['type uint8 {\n          range "1..200";\n        }', 'type uint8;'],
    'no-anyxml': [
      'leaf colour {\n        type identityref {\n          base colour;\n        }',
      'anyxml colour {',
    ],
    'paths-name-what-they-mean': ['count(/so:things/so:thing)', 'count(/so:things/*)'],
    'absolute-paths-prefixed': ['count(/so:things/so:thing)', 'count(/things/so:thing)'],
    'looked-up-not-searched': [
      'count(/so:things/so:thing) <',
      'count(/so:things/so:thing[so:name = current()]) <',
    ],
    'sections-in-order': [
      '  feature fast {',
      '  import ietf-yang-types {\n    prefix inet;\n    reference\n      "RFC 6991";\n  }\n  feature fast {',
    ],
    indented: ['        leaf size {', '         leaf size {'],
    'lines-of-80': ['"A module without fault."', `"A module without fault.${' And more.'.repeat(6)}"`],
  };

/** A second module, so that rules about several have something to look at. */
const OTHER = `module other {
  yang-version 1.1;
  namespace "urn:kedge:yang:other";
  prefix other;

  organization
    "The Kedge project";
  contact
    "The maintainers";
  description
    "Another module.";
  reference
    "Kedge specification: UN-5";

  revision 2026-11-29 {
    description
      "Initial revision.";
    reference
      "Kedge specification: UN-5";
  }
}
`;
const linted = (text: string): string[] => [
  ...new Set(
    lintFaults([
      { name: 'sound', text },
      { name: 'other', text: OTHER },
    ])
      .filter(({ module }) => module === 'sound')
      .map(({ rule }) => rule),
  ),
];

describe('the modules in yang/', () => {
  it('UN-5 pass the lint, but for what was decided', () => {
    const searched = SEARCHED.map(([module, argument, why]): Exemption => ({
      rule: 'looked-up-not-searched',
      module,
      argument,
      why,
    }));
    expect(lintFaults(own, [...EXEMPTIONS, ...searched])).toEqual([]);
    expect(own.length).toBe(12);
  });

  it('UN-5 compile without a warning, each in some tree, with standard modules from the package alone', async () => {
    const used = new Set<string>();
    let visited = 0;
    for (const tree of trees.values()) {
      // A warning is a refusal here: what yanglint has to say is never dropped.
      expect((await compiled(tree, 'info')).length).toBeGreaterThan(1000);
      for (const { name, file, own: ours } of tree.modules) {
        used.add(name);
        expect(ours ? dirname(file) : STANDARD_MODULES.includes(dirname(file) as never), file).toBeTruthy();
        expect(existsSync(join(YANG, `${name}.yang`)), name).toBe(ours);
      }
      visited++;
    }
    expect(visited).toBe(6);
    expect(own.filter(({ name }) => !used.has(name))).toEqual([]);
  });

  it('UN-5 each have a row on the page on intent, and each tree one with its own modules', () => {
    const rows = readFileSync(join(ROOT, 'docs/intent.md'), 'utf8').split('\n');
    for (const { name } of own)
      expect(rows.filter((row) => row.startsWith(`| \`${name}\` |`)).length, name).toBe(1);
    for (const tree of trees.values()) {
      const row = rows.find((one) => one.startsWith(`| \`${tree.name}\` |`)) ?? '';
      expect(row).toContain(tree.name);
      // The tree of what was read has the modules of what is meant, and says so.
      if (row.includes('as `device`')) continue;
      for (const { name } of tree.modules) expect(row).toContain(`\`${name}\``);
    }
  });

  it('UN-5 stand on the revisions of the standard modules that follow NMDA', () => {
    const files = [...(trees.get('device-state')?.modules ?? [])].map(({ file }) =>
      file.replace(/^.*\//, ''),
    );
    for (const revision of [
      'ietf-interfaces@2018-02-20',
      'ietf-ip@2018-02-22',
      'ietf-routing@2018-03-13',
      'ietf-ipv4-unicast-routing@2018-03-13',
      'ietf-ipv6-unicast-routing@2018-03-13',
      'ietf-hardware@2018-03-13',
    ])
      expect(files).toContain(`${revision}.yang`);
  });

  it('UN-5 say of bridges how they map to ieee802-dot1q-bridge, and the page says it of every node', () => {
    const bridging = own.find(({ name }) => name === 'kedge-bridging')?.text ?? '';
    const page = readFileSync(join(ROOT, 'docs/intent.md'), 'utf8');
    const nodes = [...bridging.matchAll(/^ +(?:leaf|list|container) ([a-z-]+) \{$/gm)].map(
      ([, name = '']) => name,
    );
    expect(new Set(nodes).size).toBeGreaterThanOrEqual(12);
    const rows = page.split('\n').filter((line) => line.startsWith('| `kedge-bridging:'));
    for (const node of nodes)
      expect(
        rows.some((row) => new RegExp(`^\\| \`[^\`]*\\b${node}\``).test(row)),
        node,
      ).toBe(true);
    expect(bridging).toContain('vlan-registration-entry');
  });
});

describe('the lint', () => {
  it('finds no fault with a sound module', () => {
    expect(linted(SOUND)).toEqual([]);
    expect(SOUND).toContain(MUST);
  });

  it('has a planted fault for each of its rules', () => {
    expect(Object.keys(PLANTS).sort()).toEqual([...RULES].sort());
    expect(RULES.length).toBe(30);
  });

  it.each(RULES)('%s fires, and no other rule', (rule) => {
    const [from, to, from2 = '', to2 = ''] = PLANTS[rule];
    const broken = SOUND.replace(from, to).replace(from2, to2);
    expect(broken).not.toBe(SOUND);
    expect(linted(broken)).toEqual([rule]);
  });

  it('tells of an exemption that nothing needs', () => {
    const exemption = { rule: 'kebab-case', module: 'sound', argument: 'thing', why: 'none' } as const;
    expect(lintFaults([{ name: 'sound', text: SOUND }], [exemption])).toEqual([
      { rule: 'kebab-case', module: 'sound', line: 1, what: 'the exemption of thing is needed no more' },
    ]);
  });
});
