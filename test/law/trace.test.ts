/**
 * Holds the account of requirements: what counts as a test of one, and that each tested one has a mutant.
 * Must not run the mutants; `npm run mutants` does.
 */
import { describe, expect, it } from 'vitest';
import { mutants, occurrences } from './mutants.mjs';
import { idsOf, namedTests, owedList, requirements, titlesIn, trace } from './trace.mjs';

describe('requirement ids in titles', () => {
  it('counts ids at the start of a title only, several of them too', () => {
    expect(idsOf('PO-7 stores the word first')).toEqual(['PO-7']);
    expect(idsOf('PO-7, PO-22 store first and wait for nothing')).toEqual(['PO-7', 'PO-22']);
    expect(idsOf('PO-15 PO-16 keep their promises')).toEqual(['PO-15', 'PO-16']);
    expect(idsOf('stores the word as PO-7 says')).toEqual([]);
    expect(idsOf('PO-7')).toEqual([]);
  });

  it('finds titles of plain, parametrised and templated tests, and nothing in comments', () => {
    const text = [
      "it('PO-1 plain', () => {});",
      "test.each([1])('PO-2 each %s', () => {});",
      'it(`PO-3 ${name}`, () => {});',
      "it.for([2])('PO-4 for', () => {});",
      "// it('PO-5 comment', () => {});",
      "describe('PO-6 group', () => {});",
    ].join('\n');
    expect(titlesIn(text)).toEqual(['PO-1 plain', 'PO-2 each %s', 'PO-3 ', 'PO-4 for']);
  });
});

describe('the account', () => {
  it('lists every requirement once', () => {
    const ids = requirements().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBe(127);
  });

  it('says of every id that it is tested or owed later, and of nothing that it is unknown', () => {
    const { untested, unknown, ids } = trace();
    expect({ untested, unknown }).toEqual({ untested: [], unknown: [] });
    expect(ids.filter(({ tests }) => tests.length > 0).length).toBeGreaterThanOrEqual(23);
  });

  it('owes each part with a reason, and parts only of what is tested otherwise', () => {
    const whole = new Set(owedList().flatMap((item) => (item.clause === undefined ? [item.id] : [])));
    for (const item of owedList()) {
      expect(item.why.length, item.id).toBeGreaterThan(10);
      if (item.clause !== undefined)
        expect(whole.has(item.id), `${item.id} is owed in whole and in part`).toBe(false);
    }
    expect(owedList().length).toBeGreaterThanOrEqual(50);
  });
});

describe('mutants', () => {
  const known = mutants();

  it('exist for every id that has a test', () => {
    const tested = new Set(namedTests().flatMap((test) => test.ids));
    const owedWhole = new Set(owedList().flatMap((item) => (item.clause === undefined ? [item.id] : [])));
    const without = [...tested].filter(
      (id) => !owedWhole.has(id) && !known.some((mutant) => mutant.id === id),
    );
    expect(without).toEqual([]);
    expect(known.length).toBeGreaterThanOrEqual(23);
  });

  it('apply exactly once and change something', () => {
    const wrong = known.filter((mutant) => occurrences(mutant) !== 1 || mutant.find === mutant.replace);
    expect(wrong.map(({ id, file }) => `${id} in ${file}`)).toEqual([]);
  });

  it('name a test that exists and claims the id', () => {
    const tests = namedTests();
    const lost = known.filter(
      ({ id, test }) =>
        !tests.some(
          ({ file, title, ids }) => file === test.file && title.includes(test.title) && ids.includes(id),
        ),
    );
    expect(lost.map(({ id, test }) => `${id}: ${test.file}: ${test.title}`)).toEqual([]);
  });
});
