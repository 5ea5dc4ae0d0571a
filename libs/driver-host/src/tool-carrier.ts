/**
 * The way to a Linux host: `ip` and `bridge`, asked for JSON and written to in batches.
 * It must not join words into a text that is taken apart in another way than it was joined.
 */
import type { ToolWords } from '@kedge/driver-kit';
import { namespaceArguments, runTool, type ToolOptions, type ToolRun } from '@kedge/routes';
import { KedgeError } from '@kedge/units';

import type { Carrier, Written } from './carrier.js';

/** Runs a tool to its end. @throws KedgeError when it could not be run or waited for. */
export type RunTool = (
  tool: string,
  args: readonly string[],
  input: string,
  signal: AbortSignal,
) => Promise<ToolRun>;

/** Where the tools run. */
export interface ToolCarrierOptions extends Pick<ToolOptions, 'netns' | 'timeoutMs' | 'toolDirectory'> {
  /** Runs them; as processes of this host when left out. */
  readonly run?: RunTool;
}

/** The most words of one line of a batch. */
const MOST_WORDS = 90;

/**
 * A word as it stands in a batch, or undefined where it cannot: `#` begins a comment there, quotes know no escape, and
 * a backslash at the end of a line joins it with the next.
 */
function batchWord(word: string): string | undefined {
  if (/[#\n\r]/.test(word)) return undefined;
  if (word !== '' && !/[\s'"\\]/.test(word)) return word;
  if (!word.includes("'")) return `'${word}'`;
  return word.includes('"') ? undefined : `"${word}"`;
}

/** One line of a batch, or undefined where the command needs a run of its own. */
function batchLine({ words }: ToolWords): string | undefined {
  if (words.length > MOST_WORDS) return undefined;
  const written = words.map(batchWord);
  return written.some((word) => word === undefined) ? undefined : written.join(' ');
}

/** One run: a batch of lines, or a single command. */
interface Run {
  readonly tool: ToolWords['tool'];
  readonly commands: readonly ToolWords[];
  /** undefined = the words of the only command are arguments. */
  readonly batch: string | undefined;
}

/** As few runs as keep the order. */
export function runsOf(commands: readonly ToolWords[]): Run[] {
  const runs: { tool: ToolWords['tool']; commands: ToolWords[]; lines: string[] | undefined }[] = [];
  for (const command of commands) {
    const line = batchLine(command);
    const last = runs.at(-1);
    if (line !== undefined && last?.lines !== undefined && last.tool === command.tool) {
      last.commands.push(command);
      last.lines.push(line);
    } else
      runs.push({ tool: command.tool, commands: [command], lines: line === undefined ? undefined : [line] });
  }
  return runs.map(({ tool, commands: own, lines }) => ({
    tool,
    commands: own,
    batch: lines === undefined ? undefined : lines.map((line) => `${line}\n`).join(''),
  }));
}

/** The way to this host, or to one of its network namespaces. */
export function toolCarrier(options: ToolCarrierOptions = {}): Carrier<ToolWords, string, ToolWords> {
  const { run: given, ...toolOptions } = options;
  const run: RunTool =
    given ?? ((tool, args, input, signal) => runTool(tool, args, { ...toolOptions, signal }, input));
  const place = namespaceArguments(options);
  return {
    ask: (questions, signal) =>
      Promise.all(
        questions.map(async ({ tool, words }) => {
          const { status, stdout, stderr } = await run(tool, [...place, ...words], '', signal);
          if (status === 0) return stdout;
          throw new KedgeError({
            code: 'DRIVER_READ',
            message: `cannot read the device: ${tool} ended with status ${String(status)}: ${firstLine(stderr)}`,
            field: [tool, ...words].join(' '),
            expected: 'status 0',
          });
        }),
      ),
    write: async (commands, signal) => {
      let done = 0;
      for (const each of runsOf(commands)) {
        const written = await writeRun(each, run, place, signal);
        if (written.failure !== undefined)
          return { ...written, done: written.done === undefined ? undefined : done + written.done };
        done += each.commands.length;
      }
      return { done };
    },
  };
}

async function writeRun(
  { tool, commands, batch }: Run,
  run: RunTool,
  place: readonly string[],
  signal: AbortSignal,
): Promise<Written> {
  const args = batch === undefined ? (commands[0]?.words ?? []) : ['-batch', '-'];
  let result: ToolRun;
  try {
    result = await run(tool, [...place, ...args], batch ?? '', signal);
  } catch (error) {
    // It may have come anywhere.
    const code = error instanceof KedgeError ? error.code : 'DRIVER_WRITE';
    return {
      done: undefined,
      failure: { code, message: error instanceof Error ? error.message : String(error) },
    };
  }
  if (result.status === 0) return { done: commands.length };
  const line = Number(
    /^Command failed -:(\d+)$/m.exec(result.stderr)?.[1] ?? (batch === undefined ? '1' : 'NaN'),
  );
  const failed = commands[line - 1];
  return {
    done: failed === undefined ? undefined : line - 1,
    failure: {
      code: 'DRIVER_REFUSED',
      message: `the device refused \`${[tool, ...(failed?.words ?? ['-batch'])].join(' ')}\`: ${firstLine(result.stderr)}`,
    },
  };
}

function firstLine(text: string): string {
  return (text.trim().split('\n')[0] ?? '').slice(0, 200);
}
