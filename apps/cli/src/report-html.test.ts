/**
 * The page of a drill: what it says, what it never does, whatever is in the report.
 * Must not need a drill.
 */
import { describe, expect, it } from 'vitest';

import { chaosPage, drillPage, PAGE_MAX_BYTES } from './report-html.js';
import { escaped } from './report-markup.js';
import { BOUNDS } from './report-view.js';

const HOSTILE = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onload='alert(1)",
  '</style><script>alert(1)</script>',
  '</title><svg onload=alert(1)>',
  '--><b>',
  ']]><b>',
  '&lt;b&gt;',
  '`${alert(1)}`',
  'javascript:alert(1)',
  '\u0000\u001b[2J\u202eevil\ud800',
  'url(https://evil.example/x)',
];

const participant = (name: string, ms: number, changes = 3) => ({ name, ms, outcome: 'applied', changes });
const step = (epoch: string, from: number, to: number, more: object = {}) => ({
  epoch,
  from,
  to,
  ok: true,
  paths: {
    dataplane: { ms: 0.31, budgetMs: 1, ok: true, participants: [participant('reference/0', 0.31)] },
    overlay: { ms: 120, budgetMs: 5_000, ok: true, participants: [participant('overlay', 120, 400)] },
  },
  traffic: {
    management: { sent: 50, received: 50, allowed: 'pass', deprioritised: 0 },
    ordinary: { sent: 1_000, received: 0, allowed: 'drop', deprioritised: 0 },
  },
  ...more,
});
const ROUTES = { there: 3, withdrawn: ['10.90.0.0/24 via mesh-a'], restored: [], asked: 9, ok: true };
const GATE = { mode: 'emergency-only', ordinary: [], emergency: ['site_owner'], ok: true };
const REPORT = {
  ok: true,
  dataplane: 'reference',
  steps: [step('2', 5, 2), step('3', 2, 5)],
  violations: [],
};
const FACTS = [
  ['when', '2026-03-01 08:00:00 UTC'],
  ['appliance', 'the lab "lab"'],
] as const;

/** Tags that stand in a page, by name. */
const tags = (page: string): Set<string> =>
  new Set([...page.matchAll(/<\/?([a-z][a-z0-9]*)/gi)].map(([, name = '']) => name.toLowerCase()));

describe('the page of a drill', () => {
  it('PO-21 tells verdict, every step against its budgets, traffic, and what was withdrawn and brought back', () => {
    const page = drillPage(REPORT, FACTS);
    for (const said of [
      '<title>Kedge drill: passed</title>',
      'PASSED',
      'the lab &quot;lab&quot; · 2026-03-01 08:00:00 UTC · reference data plane',
      '310 µs · 31 %',
      'budget 1.00 ms',
      '120 ms · 2.4 %',
      'budget 5.00 s',
      'level 2: 0 of 1000 arrived',
      '>−400<',
      '>+400<',
      '0 of 2,000',
      '<td>5\u00a0→\u00a02</td>',
    ]) {
      expect(page, said).toContain(said);
    }
  });

  it('OV-13 routes are told as the kernel shows them, and whom the gate let through', () => {
    const routed = [
      step('2', 5, 2, { routes: { overlay: ROUTES }, gate: GATE }),
      step('3', 2, 5, { gate: { ...GATE, ok: false } }),
    ];
    const page = drillPage({ ...REPORT, steps: routed }, FACTS);
    const parts = [
      '>−1<',
      '10.90.0.0/24 via mesh-a',
      'emergency-only',
      'nobody',
      'emergency-only ✗',
      '>+400<',
    ];
    for (const said of parts) expect(page, said).toContain(said);
    expect(drillPage(REPORT, FACTS)).toContain('The report holds no gate: nobody asked.');
  });

  it('PO-21 what the ledger holds of the drill is told level by level, and a difference is marked', () => {
    const levels = [
      { level: 2, seen: 18, held: 18, ok: true },
      { level: 1, seen: 9, held: 7, ok: false },
    ];
    const page = drillPage({ ...REPORT, ledger: { levels, ok: false } }, FACTS);
    for (const said of ['What the ledger holds of it', 'the same', 'DIFFERS', '>7<'])
      expect(page, said).toContain(said);
    expect(drillPage(REPORT, FACTS)).toContain('The report holds nothing of the ledger: it was not asked.');
  });

  it('PO-13 a violation is told in words, and everything that belongs to it is marked without colour, too', () => {
    const late = {
      overlay: { ms: 6_000, budgetMs: 5_000, ok: false, participants: [participant('overlay', 6_000)] },
    };
    const leak = { ordinary: { sent: 1_000, received: 7, allowed: 'drop', deprioritised: 0 } };
    const page = drillPage(
      {
        ...REPORT,
        ok: false,
        steps: [step('2', 5, 2, { ok: false, paths: late, traffic: leak })],
        violations: [{ kind: 'leak', epoch: '2', level: 2, class: 'ordinary', message: '7 packets arrived' }],
      },
      FACTS,
    );
    for (const said of [
      'FAILED',
      '7 packets arrived',
      '6.00 s · 120 % ✗',
      '>7 ✗<',
      'class="leak"',
      'class="late"',
    ]) {
      expect(page, said).toContain(said);
    }
  });

  it('what is absent is said to be absent', () => {
    const page = drillPage(REPORT, []);
    expect(page).toContain('No participant of this path took part in any step: it was not drilled.');
    expect(page).toContain('nothing was withdrawn, nothing brought back');
    expect(page).toContain('Nothing is known about the host.');
    const partly = { ...REPORT, steps: [step('2', 5, 2), step('3', 2, 5, { paths: {}, traffic: {} })] };
    expect(drillPage(partly, [])).toContain('1 of 2 steps say nothing about this path.');
    for (const nothing of [undefined, null, 7, 'x', [], {}, { steps: 'no' }, { steps: [] }]) {
      expect(drillPage(nothing, [])).toContain('The report holds no steps.');
      expect(chaosPage(nothing, [])).toContain('The report holds no acts.');
    }
  });

  it('reports of any kind make a page that is well-formed, and never a claim of success', () => {
    for (const odd of [
      { ok: 'yes', steps: [{}] },
      { ok: 1, steps: [null, 7, { from: 99, to: -3, paths: [], traffic: 'x' }] },
      { steps: [{ paths: { dataplane: { ms: Infinity, budgetMs: NaN } } }] },
      { steps: [{ paths: { dataplane: { ms: 0, budgetMs: 0, participants: [{}] } } }], violations: {} },
      { steps: [{ traffic: { a: { sent: -1, received: 1e308, allowed: 'maybe' } } }] },
    ]) {
      const page = drillPage(odd, []);
      expect(page).toContain('FAILED');
      expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/);
    }
  });

  it('nothing that a report holds becomes markup', () => {
    const pagesWith = (text: string): readonly string[] => {
      const paths = {
        dataplane: {
          ms: 0.1,
          budgetMs: 1,
          ok: true,
          participants: [{ name: text, ms: 0.1, outcome: text, changes: 1 }],
        },
        [text]: { ms: 1, budgetMs: 2, ok: false, participants: [] },
      };
      const traffic = { [text]: { sent: 5, received: 1, allowed: text, deprioritised: 0 } };
      const more = {
        paths,
        traffic,
        routes: { overlay: { ...ROUTES, withdrawn: [text] }, [text]: ROUTES },
        gate: { ...GATE, mode: text, ordinary: [text] },
      };
      const told = { kind: text, epoch: text, act: text, level: 2, message: text };
      const acts = [{ name: text, ok: false, convergedMs: 5 }];
      return [
        drillPage({ ok: false, dataplane: text, steps: [step(text, 5, 2, more)], violations: [told] }, [
          [text, text],
        ]),
        chaosPage({ ok: false, seconds: 1, acts, violations: [told] }, [[text, text]]),
      ];
    };
    // Tags with the names of their attributes, in order: what the browser makes of the page, without any text.
    const skeleton = (page: string): readonly string[] =>
      [...page.matchAll(/<[^>]*>/g)].map(([tag]) => tag.replace(/"[^"]*"/g, '""'));
    const known = pagesWith('harmless').map(skeleton);
    let seen = 0;
    for (const text of HOSTILE) {
      const pages = pagesWith(text);
      for (const [at, page] of pages.entries()) {
        expect(skeleton(page), text).toEqual(known[at]);
        expect(page, text).toContain(escaped(text));
        expect(/[\p{Cs}\u202e]|(?!\n)\p{Cc}/u.test(page), text).toBe(false);
        seen += 1;
      }
    }
    expect(seen).toBe(HOSTILE.length * 2);
  });

  it('the page needs nothing from outside, and the browser is told so', () => {
    const page = drillPage(REPORT, FACTS);
    expect(page).toContain("content=\"default-src 'none'; style-src 'unsafe-inline'");
    expect(page).not.toMatch(/https?:|src=|href=|@import|url\(|<script|<link|<iframe/i);
    expect([...tags(page)].sort()).toEqual(
      [
        ...[
          'b',
          'body',
          'circle',
          'dd',
          'dl',
          'div',
          'doctype',
          'dt',
          'figcaption',
          'figure',
          'footer',
          'g',
          'h1',
        ],
        ...[
          'h2',
          'head',
          'header',
          'html',
          'i',
          'li',
          'line',
          'main',
          'meta',
          'p',
          'path',
          'rect',
          'section',
        ],
        ...['span', 'style', 'svg', 'table', 'tbody', 'td', 'text', 'th', 'thead', 'title', 'tr', 'ul'],
      ]
        .filter((name) => name !== 'doctype')
        .sort(),
    );
    for (const look of ['prefers-color-scheme:dark', '@media print']) expect(page).toContain(look);
    expect(drillPage(REPORT, FACTS)).toBe(page);
  });

  it('the page stays bounded, and says what it left out', () => {
    const long = '<'.repeat(5_000);
    const participants = Array.from({ length: 1_000 }, (_, at) => participant(`${long}${at}`, 1));
    const paths = Object.fromEntries(
      ['dataplane', 'overlay', 'underlay', ...Array.from({ length: 40 }, (_, at) => `p${at}`)].map((name) => [
        name,
        { ms: 1, budgetMs: 2, ok: true, participants },
      ]),
    );
    const traffic = Object.fromEntries(
      Array.from({ length: 100 }, (_, at) => [`${long}${at}`, { sent: 9, received: 9, allowed: 'pass' }]),
    );
    const huge = {
      ok: false,
      steps: Array.from({ length: 500 }, (_, at) => step(String(at), 5, 1, { paths, traffic })),
      violations: Array.from({ length: 5_000 }, () => ({ kind: long, epoch: long, message: long })),
    };
    const page = drillPage(huge, FACTS);
    expect(Buffer.byteLength(page)).toBeLessThan(PAGE_MAX_BYTES);
    expect(page).toContain(`${500 - BOUNDS.steps} more steps are in the JSON report.`);
    expect(page).toContain(`and ${5_000 - BOUNDS.violations} more, in the JSON report`);
    const acts = Array.from({ length: 2_000 }, () => ({ name: long, ok: true, convergedMs: 1 }));
    const chaos = chaosPage({ ok: true, seconds: 2, acts, violations: huge.violations }, FACTS);
    expect(Buffer.byteLength(chaos)).toBeLessThan(PAGE_MAX_BYTES);
    expect(chaos).toContain(`${2_000 - BOUNDS.acts} more acts`);
  });

  it('a chaos drill has a page of its own', () => {
    const acts = [
      {
        name: 'KILL forwarder at stored of a tightening',
        ok: true,
        struck: 1,
        convergedMs: 300,
        offered: 2_000,
      },
      { name: 'STOP warden', ok: false, violations: [] },
    ];
    const page = chaosPage(
      {
        ok: false,
        seconds: 12,
        acts,
        violations: [{ act: 'STOP warden', kind: 'not-struck', message: 'no' }],
      },
      FACTS,
    );
    for (const said of [
      'Kedge chaos drill: FAILED',
      '2 acts in 12 s',
      'STOP warden',
      '300 ms',
      'not-struck',
    ]) {
      expect(page, said).toContain(said);
    }
  });
});
