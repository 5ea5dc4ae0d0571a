/**
 * What runs inside of a plugin's process: it waits to be told which plugin, gives it its context and carries its words
 * to the host. Started by the host through kedge-confine, with the host at descriptor 3.
 * It must not be trusted by the host: whatever runs here may be the plugin.
 */
import { kit, type Line, type PostureSourceContext, type TightenAnswer } from '@kedge/posture-source-kit';
import { open, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

import { LINE_BYTES_MAX, LineSplitter } from './lines.js';
import type { Answered, Said, Start } from './messages.js';

const HOST = 3;
const BEAT_MS = 250;
/** How often a file is looked at, milliseconds. */
const LOOK_MS = 100;
/** Bytes of a file's line that a plugin sees. */
const FILE_LINE_MAX = 4_096;
const READ_BYTES = 65_536;

const host = new Socket({ fd: HOST, readable: true, writable: true });
const stop = new AbortController();
const waiting = new Map<number, (answer: TightenAnswer) => void>();
let requests = 0;

const say = (said: Said): void => {
  host.write(`${JSON.stringify(said)}\n`);
};

const splitter = new LineSplitter(LINE_BYTES_MAX);
host.on('data', (chunk: Buffer) => {
  for (const { text } of splitter.push(chunk)) {
    const told = JSON.parse(text) as Start | Answered;
    if (told.tell === 'start') void begin(told);
    else {
      waiting.get(told.id)?.(told.answer as TightenAnswer);
      waiting.delete(told.id);
    }
  }
});
host.on('close', () => {
  stop.abort();
  process.exit(0);
});
host.on('error', () => process.exit(0));
setInterval(() => {
  say({ say: 'beat' });
}, BEAT_MS);

async function begin({ entry, settings, files }: Start): Promise<void> {
  try {
    const module = (await import(pathToFileURL(entry).href)) as { default?: unknown };
    if (typeof module.default !== 'function')
      throw new TypeError('its module exports no function as default');
    const source = (
      module.default as (given: typeof kit) => { run(context: PostureSourceContext): Promise<void> }
    )(kit);
    say({ say: 'running' });
    await source.run(contextOf(settings, files));
    end('it returned');
  } catch (error) {
    end(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  }
}

/** The last word goes to standard error, of which the host keeps the end. */
function end(why: string): void {
  process.stderr.write(`${why}\n`, () => process.exit(1));
}

type Look = string;

function contextOf(settings: Start['settings'], files: Start['files']): PostureSourceContext {
  const seen = new Map<string, Look>();
  const pathOf = (file: string): string => {
    const path = files[file];
    if (path === undefined) throw new RangeError(`no file is configured under the name ${file}`);
    return path;
  };
  return {
    settings,
    signal: stop.signal,
    now: () => Date.now(),
    sleep: (ms) => pause(ms, undefined, { signal: stop.signal }),
    lines: (file) => linesOf(pathOf(file), (look) => seen.set(file, look)),
    changed: async (file) => {
      const path = pathOf(file);
      while ((await lookOf(path)) === seen.get(file))
        await pause(LOOK_MS, undefined, { signal: stop.signal });
    },
    tighten: ({ level, reason, key }) => {
      requests += 1;
      const id = requests;
      say({ say: 'tighten', id, level, reason, key });
      return new Promise((resolve) => waiting.set(id, resolve));
    },
    problem: (sentence) => {
      say({ say: 'problem', text: sentence?.slice(0, 400) ?? null });
    },
  };
}

const look = ({ ino, size, mtimeNs }: { ino: bigint; size: bigint; mtimeNs: bigint }): Look =>
  `${ino} ${size} ${mtimeNs}`;

async function lookOf(path: string): Promise<Look> {
  try {
    return look(await stat(path, { bigint: true }));
  } catch {
    return 'missing';
  }
}

async function* linesOf(path: string, note: (look: Look) => void): AsyncGenerator<Line> {
  const file = await open(path, 'r').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) {
    note('missing');
    return;
  }
  try {
    // Before the first byte is read: what is written meanwhile counts as a change.
    note(look(await file.stat({ bigint: true })));
    const lines = new LineSplitter(FILE_LINE_MAX);
    const buffer = Buffer.alloc(READ_BYTES);
    let number = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES);
      if (bytesRead === 0) break;
      for (const line of lines.push(buffer.subarray(0, bytesRead))) {
        number += 1;
        yield { number, ...line };
      }
    }
    const rest = lines.rest();
    if (rest !== undefined) yield { number: number + 1, ...rest };
  } finally {
    await file.close();
  }
}
