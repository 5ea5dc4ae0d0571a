/**
 * Runs the command `kedge` at a pseudo-terminal, as a person at a screen does, and says what the screen shows.
 * Must not understand what is shown; knows only the few sequences that a full screen needs, and refuses others.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const COMMAND = fileURLToPath(new URL('../../apps/cli/bin/kedge.js', import.meta.url));

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A screen as it stands, or as it stood before it was given back. */
export interface Screen {
  readonly lines: readonly string[];
  /** What was written beyond the right or the lower end since the screen was cleared last; empty = all fits. */
  readonly beyond: readonly string[];
  /** The ordinary screen is back, with its cursor and its wrapping. */
  readonly givenBack: boolean;
  readonly coloured: boolean;
}

/** What a terminal of this size makes of what it is sent. @throws Error for a sequence that is not expected */
export function screenOf(output: string, { columns, rows }: Size): Screen {
  let lines: string[] = [];
  let beyond: string[] = [];
  let [row, column] = [0, 0];
  let coloured = false;
  const modes = new Map<string, boolean>();
  // Everything that is no sequence is text; what is neither is shown to whoever wrote it.
  const parts = output.matchAll(
    // eslint-disable-next-line no-control-regex -- this is what a terminal does
    /\u001b\[\?(?<mode>\d+)(?<set>[hl])|\u001b\[(?<code>[\d;]*)(?<verb>[HJKm])|(?<text>[^\u0000-\u001f\u007f-\u009f]+)|(?<other>[^]{1,8})/gu,
  );
  for (const { groups = {} } of parts) {
    const { mode, set, code = '', verb, text, other } = groups;
    if (other !== undefined) throw new Error(`not expected at a terminal: ${JSON.stringify(other)}`);
    if (mode !== undefined) modes.set(mode, set === 'h');
    else if (verb === 'H')
      [row, column] = code.split(';').map((each) => Number(each) - 1) as [number, number];
    else if (verb === 'K') lines[row] = '';
    else if (verb === 'm') coloured ||= code !== '0';
    else if (verb === 'J') [lines, beyond] = [[], []];
    else if (text !== undefined) {
      lines[row] = (lines[row] ?? '').padEnd(column).slice(0, column) + text;
      column += [...text].length;
      if (column > columns || row >= rows) beyond.push(lines[row] ?? '');
    }
  }
  return {
    lines: Array.from(lines, (line = '') => line.trimEnd()),
    beyond,
    givenBack: modes.get('1049') === false && modes.get('25') === true && modes.get('7') === true,
    coloured,
  };
}

export interface AtTerminal {
  /** Everything that was sent to the terminal until now. */
  readonly output: () => string;
  /** Types at the keyboard. */
  readonly type: (keys: string) => void;
  /** The process `kedge` itself. @throws Error before it runs */
  readonly pid: () => number;
  /** Exit status as the shell tells it: 128 + number for a signal. */
  readonly ended: Promise<number | null>;
}

/** Runs `kedge ARGS` at a terminal of this size; `aside` is shell that runs beside it at the same terminal. */
export function atTerminal(
  args: readonly string[],
  { columns, rows }: Size,
  { env = {}, aside = 'true' }: { readonly env?: NodeJS.ProcessEnv; readonly aside?: string } = {},
): AtTerminal {
  const quoted = [process.execPath, COMMAND, ...args].map((each) => `'${each}'`).join(' ');
  const child: ChildProcess = spawn(
    'script',
    ['-qefc', `stty cols ${columns} rows ${rows}; { ${aside}; } & exec ${quoted}`, '/dev/null'],
    {
      env: { PATH: process.env['PATH'], TERM: 'xterm-256color', SHELL: '/bin/sh', ...env },
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve(status);
    });
  });
  return {
    output: () => output,
    type: (keys) => child.stdin?.write(keys),
    pid: () => {
      const of = child.pid ?? 0;
      const [pid = ''] = readFileSync(`/proc/${of}/task/${of}/children`, 'utf8').split(' ');
      if (pid === '') throw new Error('kedge does not run');
      return Number(pid);
    },
    ended,
  };
}
