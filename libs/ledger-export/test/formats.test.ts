/**
 * Every format over one record of each kind: against the texts in golden/, and read by somebody else's reader.
 */
import { RECORD_SCHEMAS } from '@kedge/contracts';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import {
  ecsOf,
  type Exported,
  exportedOf,
  factsOf,
  FORMATS,
  type FormatName,
  framed,
  type People,
  pieces,
  syslogMessage,
} from '../src/index.js';
import { ENTRIES, keyBy, keyOf, RECORDS } from './records.js';

const NAMES = Object.keys(FORMATS) as FormatName[];
const all = (people: People): Exported[] => ENTRIES.map((bytes, at) => exportedOf(40 + at, bytes, people));
const opened = all({ keyBy });
const textOf = (name: FormatName, entries: readonly Exported[] = opened): string =>
  [...pieces(FORMATS[name], entries)].join('');
const golden = (name: string): string => readFileSync(join(import.meta.dirname, 'golden', name), 'utf8');
const python = (program: string, input: string): unknown =>
  JSON.parse(execFileSync('python3', ['-c', program], { input, encoding: 'utf8' }));

describe('the formats', () => {
  it('are tried with every kind', () => {
    expect(RECORDS.map(({ schema }) => schema)).toEqual(RECORD_SCHEMAS);
    expect(NAMES).toHaveLength(5);
  });

  it.each(NAMES)('LE-9 writes each kind as %s to the letter', (name) => {
    expect(textOf(name)).toBe(golden(`${name}.txt`));
  });

  it.each(NAMES)('LE-9 writes pseudonyms as %s, and no name', (name) => {
    const text = textOf(name, all('pseudonyms'));
    expect(text).toContain(`subject:${keyOf('user:bob').id}`);
    for (const person of ['bob', 'ada', 'calc', 'drill']) expect(text).not.toContain(person);
  });

  it('LE-9 says which fields were erased, and nothing else of them', () => {
    const gone = keyOf('user:bob').id;
    const entries = all({ keyBy: (id) => (id === gone ? undefined : keyBy(id)) });
    expect(entries.filter(({ erased }) => erased.length > 0).map(({ erased }) => erased)).toEqual([
      ['peer'],
      ['principal'],
    ]);
    for (const name of NAMES) expect(textOf(name, entries)).not.toContain('user:bob');
    expect(textOf('jsonl', entries)).toContain('"erased":["peer"]');
    expect(entries.map((entry) => factsOf(entry).principal).filter((who) => who !== null)).toHaveLength(2);
  });

  it('without an entry are whole files', () => {
    expect(textOf('json', [])).toBe('[\n\n]\n');
    expect(JSON.parse(textOf('json', []))).toEqual([]);
    expect(textOf('csv', [])).toMatch(/^index,at,.*,record\r\n$/);
    expect(textOf('jsonl', [])).toBe('');
  });

  it('JSON is an array of what was recorded, and each line of JSON Lines is one of them', () => {
    const records = RECORDS.map((record, at) => ({ index: 40 + at, record }));
    expect(JSON.parse(textOf('json'))).toEqual(records);
    expect(
      textOf('jsonl')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(records);
  });

  it('LE-9 CSV is read by another reader, and no field of it is a formula', () => {
    const program =
      'import csv,json,sys; sys.stdout.write(json.dumps(list(csv.reader(sys.stdin, strict=True))))';
    // Python's text input would turn line ends inside of fields into others.
    const rows = python(
      `import io,sys; sys.stdin=io.TextIOWrapper(sys.stdin.buffer,'utf-8',newline='')\n${program}`,
      textOf('csv'),
    ) as string[][];
    const [names = [], ...lines] = rows;
    expect(lines).toHaveLength(RECORDS.length);
    for (const [at, line] of lines.entries()) {
      expect(line).toHaveLength(names.length);
      expect(JSON.parse(line.at(-1) ?? '')).toEqual(RECORDS[at]);
      for (const field of line) expect(field).not.toMatch(/^[=+\-@]/);
    }
    const column = (name: string): string[] => lines.map((line) => line[names.indexOf(name)] ?? '');
    expect(column('principal')[0]).toBe(`'=cmd|"calc"!A1`);
    expect(column('session')[4]).toBe("'@session]1");
    expect(column('device').slice(5, 7)).toEqual(["'+switch", "'-core"]);
  });

  it('LE-9 ECS names only categories and types that the schema has together', () => {
    /** Categories of ECS 8.11 with the types that go with them. */
    const types: Readonly<Record<string, readonly string[]>> = {
      api: [
        'access',
        'admin',
        'allowed',
        'change',
        'creation',
        'deletion',
        'denied',
        'end',
        'info',
        'start',
        'user',
      ],
      configuration: ['access', 'change', 'creation', 'deletion', 'info'],
      host: ['access', 'change', 'end', 'info', 'start'],
      network: ['access', 'allowed', 'connection', 'denied', 'end', 'info', 'protocol', 'start'],
      session: ['start', 'end', 'info'],
    };
    let seen = 0;
    for (const exported of opened) {
      const { event } = ecsOf(exported) as {
        event: { kind: string; category: string[]; type: string[]; outcome: string };
      };
      expect(['alert', 'event', 'state']).toContain(event.kind);
      expect(['success', 'failure', 'unknown']).toContain(event.outcome);
      const known = event.category.flatMap((category) => types[category] ?? []);
      for (const type of event.type) expect(known).toContain(type);
      seen += 1;
    }
    expect(seen).toBe(RECORDS.length);
  });

  it('LE-9 Splunk takes the events as they are written, with their time and host', async () => {
    const events: { time: number; host: string; sourcetype: string; event: unknown }[] = [];
    const collector = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        const isTold =
          request.url === '/services/collector/event' && request.headers.authorization === 'Splunk token';
        // Objects one behind the other, with any space between.
        for (const text of body.split(/(?<=\})\s*\n(?=\{)/)) events.push(JSON.parse(text));
        response.writeHead(isTold ? 200 : 403).end(JSON.stringify({ text: 'Success', code: 0 }));
      });
    });
    collector.listen(0, '127.0.0.1');
    await once(collector, 'listening');
    try {
      const { port } = collector.address() as AddressInfo;
      const { status } = await fetch(`http://127.0.0.1:${port}/services/collector/event`, {
        method: 'POST',
        headers: { authorization: 'Splunk token', 'content-type': FORMATS['splunk-hec'].mediaType },
        body: textOf('splunk-hec'),
      });
      expect(status).toBe(200);
    } finally {
      collector.close();
    }
    expect(events.map(({ event }) => event)).toEqual(RECORDS);
    expect(events.map(({ time }) => time * 1_000)).toEqual(RECORDS.map(({ at }) => Date.parse(at)));
    expect(events[4]).toMatchObject({ host: 'box-7', sourcetype: 'kedge:session-transit' });
  });
});

describe('syslog messages', () => {
  const options = { enterpriseNumber: 32_473 };
  const messages = opened.map((exported) => syslogMessage(exported, options));

  it('LE-9 say each kind to the letter', () => {
    expect(`${messages.join('\n')}\n`).toBe(golden('syslog.txt'));
  });

  it('are ASCII but for names, and framed by bytes and not by characters', () => {
    const [first = ''] = messages;
    expect(first.slice(first.indexOf('] ') + 2)).toMatch(/^[ -~]+$/);
    const frame = framed('é]').toString();
    expect(frame).toBe('3 é]');
    expect(framed(first).toString()).toBe(`${Buffer.byteLength(first)} ${first}`);
  });

  it('name a record that is longer than a message may be', () => {
    const [first] = opened;
    if (first === undefined) throw new Error('no record');
    const whole = syslogMessage(first, options);
    expect(syslogMessage(first, { ...options, maxBytes: Buffer.byteLength(whole) })).toBe(whole);
    const named = syslogMessage(first, { ...options, maxBytes: Buffer.byteLength(whole) - 1 });
    expect(named.slice(named.indexOf('] {') + 2)).toBe(
      `{"id":"posture-transition/box-7/9","omittedBytes":${Buffer.byteLength(whole)},"schema":"kedge.posture-transition/1"}`,
    );
  });
});
