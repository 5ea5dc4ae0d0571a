/**
 * The direction of a change of accords: what is looser anywhere is looser, what cannot be told is looser.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { accordsChange, accordsIdentity } from './accords-change.js';
import { type AccordSet, parseAccords } from './accords.js';

const json = (file: 'accords' | 'zones'): unknown =>
  JSON.parse(
    readFileSync(new URL(`../../../yang/defaults/${file}.json`, import.meta.url), 'utf8'),
  ) as unknown;
const defaults = parseAccords(json('accords'), json('zones'));

/** The defaults with every level changed by `change`, and the zones. */
function changed(
  change: (
    level: Record<string, unknown> & { number: number },
    zones: Record<string, Record<string, Record<string, unknown>[]>>,
    accords: Record<string, unknown>,
  ) => void,
): AccordSet {
  const accords = json('accords') as { 'kedge-accords:accords': { level: { number: number }[] } };
  const zones = json('zones') as Record<string, Record<string, Record<string, unknown>[]>>;
  for (const level of accords['kedge-accords:accords'].level)
    change(level, zones, accords['kedge-accords:accords']);
  return parseAccords(accords, zones);
}

const both = (other: AccordSet): readonly string[] => [
  accordsChange(defaults, other).direction,
  accordsChange(other, defaults).direction,
];

describe('the direction of a change of accords', () => {
  it('PO-2 is none between equal sets, however their documents were written', () => {
    const again = parseAccords(json('accords'), json('zones'));
    expect(accordsIdentity(again)).toBe(accordsIdentity(defaults));
    expect(accordsChange(defaults, again)).toEqual({ direction: 'none', looserAt: [], because: '' });
  });

  it('PO-2 is tighter where something is taken, looser where it is given back, with the levels that it loosens', () => {
    const noArp = changed((level) => {
      delete level['arp'];
    });
    expect(both(noArp)).toEqual(['tighter', 'looser']);
    const noneBelowFive = changed((level) => {
      if (level.number < 5) delete level['arp'];
    });
    expect(accordsChange(noneBelowFive, defaults)).toMatchObject({
      direction: 'looser',
      looserAt: [4, 3, 2, 1],
      because: 'level 4: arp',
    });
  });

  it('PO-2 is looser where somebody may loosen who might not, at the level that he may loosen to', () => {
    const open = changed((level) => {
      if (level.number === 5) level['authority'] = { 'minimum-tier': 'apprentice' };
    });
    expect(accordsChange(defaults, open)).toEqual({
      direction: 'looser',
      looserAt: [5],
      because: 'level 5: the tier apprentice may loosen to it',
    });
    const console = changed((_level, _zones, accords) => {
      accords['lockdown-exit'] = { channel: ['console'] };
    });
    expect(both(console)).toEqual(['tighter', 'looser']);
    expect(accordsChange(console, defaults).looserAt).toEqual([1]);
  });

  it('PO-2 an entry that comes or goes is looser, whatever the pairs say; zones that change cannot be told', () => {
    const without = changed((level, zones) => {
      const entries = (zones['kedge-zones:allowlist']?.['entry'] ?? []) as { name: string }[];
      const [first] = (json('zones') as { 'kedge-zones:allowlist': { entry: { name: string }[] } })[
        'kedge-zones:allowlist'
      ].entry;
      zones['kedge-zones:allowlist'] = { entry: entries.filter(({ name }) => name !== first?.name) };
      const named = (level['entry'] ?? []) as { name: string }[];
      level['entry'] = named.filter(({ name }) => name !== first?.name);
    });
    expect(accordsChange(without, defaults).direction).toBe('looser');
    const more = changed((_level, zones) => {
      zones['kedge-zones:zones'] = {
        zone: [
          ...(json('zones') as { 'kedge-zones:zones': { zone: Record<string, unknown>[] } })[
            'kedge-zones:zones'
          ].zone,
          { name: 'another', id: 9 },
        ],
      };
    });
    expect(accordsChange(defaults, more)).toMatchObject({
      direction: 'looser',
      looserAt: expect.arrayContaining([1, 2, 3, 4, 5]),
      because: expect.stringContaining('the zones themselves changed'),
    });
  });
});
