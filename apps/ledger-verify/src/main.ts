/**
 * The program that verifies a copy of a ledger: `kedge-ledger-verify DIRECTORY --key KEY`.
 * It must not take part in anything else, so that whoever trusts nobody has little to read.
 */
import { type OpenedCheckpoint, openCheckpoint, type NoteVerifier, verifierOf } from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

import { fileAt, filesIn } from './log-files.js';
import { reportJson, reportText } from './report-text.js';
import { verification } from './verification.js';

const EXIT = { sound: 0, tampered: 1, usage: 2, unreadable: 4 } as const;
const FINDINGS_MAX = 100;
const PROGRESS_MS = 2_000;

const USAGE = `usage: kedge-ledger-verify DIRECTORY --key KEY [--kept FILE]... [--witness KEY]... [--kept-from ENTRY] [--json]

  DIRECTORY          a copy of a ledger: checkpoint, tile/
  --key KEY          the key of the ledger, NAME+ID+KEY
  --kept FILE        a checkpoint of it that was kept elsewhere
  --witness KEY      the key of a witness that has to have cosigned
  --kept-from ENTRY  entries below it may be gone by retention; their hashes are checked all the same
  --json             one JSON object instead of text

Exit status: 0 sound, 1 tampered with, 2 used wrongly, 4 cannot be read.
`;

interface Request {
  readonly directory: string;
  readonly log: NoteVerifier;
  readonly kept: readonly OpenedCheckpoint[];
  readonly witnesses: readonly NoteVerifier[];
  readonly keptFrom: number;
  readonly json: boolean;
}

function wrong(message: string, cause?: unknown): KedgeError {
  return new KedgeError({ code: 'VERIFY_USAGE', message, ...(cause === undefined ? {} : { cause }) });
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        key: { type: 'string' },
        kept: { type: 'string', multiple: true },
        witness: { type: 'string', multiple: true },
        'kept-from': { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (cause) {
    throw wrong(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function keyOf(text: string, kind: NoteVerifier['kind']): NoteVerifier {
  let key: NoteVerifier;
  try {
    key = verifierOf(text);
  } catch (cause) {
    throw wrong(`this is no key: ${text}`, cause);
  }
  if (key.kind !== kind) throw wrong(`this is no key of a ${kind}: ${text}`);
  return key;
}

function keptIn(path: string, log: NoteVerifier): OpenedCheckpoint {
  const note = fileAt(path);
  if (note === undefined)
    throw new KedgeError({
      code: 'VERIFY_UNREADABLE',
      message: `cannot read ${path}: there is no such file`,
    });
  try {
    return openCheckpoint(note, log);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw wrong(`${path} cannot be used as a checkpoint that was kept: ${why}`, cause);
  }
}

/** What is asked for; undefined = help. */
function requestOf(args: readonly string[]): Request | undefined {
  const { values, positionals } = parsed(args);
  if (values.help === true) return undefined;
  const [directory] = positionals;
  if (directory === undefined || positionals.length !== 1) throw wrong('one directory is expected');
  if (values.key === undefined) throw wrong('--key is missing');
  const from = values['kept-from'] ?? '0';
  if (!/^(0|[1-9][0-9]{0,15})$/.test(from) || !Number.isSafeInteger(Number(from)))
    throw wrong(`--kept-from: no number of an entry: ${from}`);
  const log = keyOf(values.key, 'log');
  return {
    directory,
    log,
    kept: (values.kept ?? []).map((path) => keptIn(path, log)),
    witnesses: (values.witness ?? []).map((key) => keyOf(key, 'witness')),
    keptFrom: Number(from),
    json: values.json ?? false,
  };
}

/** Tells on stderr how far it is, when it takes long. */
function progress(): (entries: number, size: number) => void {
  const start = performance.now();
  let next = start + PROGRESS_MS;
  return (entries, size) => {
    const now = performance.now();
    if (now < next) return;
    next = now + PROGRESS_MS;
    const rate = Math.round((entries / (now - start)) * 1_000);
    const part = Math.floor((100 * entries) / size);
    process.stderr.write(`read ${entries} of ${size} entries (${part} %), ${rate} a second\n`);
  };
}

function failed(error: unknown, json: boolean): number {
  const known =
    error instanceof KedgeError
      ? error
      : new KedgeError({
          code: 'VERIFY_FAILED',
          message: `cannot verify the ledger: ${error instanceof Error ? error.message : String(error)}`,
        });
  if (process.env['KEDGE_TRACE'] === '1' && error instanceof Error)
    process.stderr.write(`${error.stack ?? ''}\n`);
  const more = [known.expected, known.help].filter(Boolean).join('; ');
  process.stderr.write(
    json
      ? `${JSON.stringify({ error: known })}\n`
      : `kedge-ledger-verify: ${known.message} [${known.code}]\n${more === '' ? '' : `  ${more}\n`}`,
  );
  if (known.code === 'VERIFY_USAGE' && !json) process.stderr.write(`\n${USAGE}`);
  return known.code === 'VERIFY_USAGE' ? EXIT.usage : EXIT.unreadable;
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const request = requestOf(args);
    if (request === undefined) {
      process.stdout.write(USAGE);
      return EXIT.sound;
    }
    const found = await verification({
      ...request,
      read: filesIn(request.directory),
      threads: Math.min(8, availableParallelism()),
      findingsMax: FINDINGS_MAX,
      onProgress: progress(),
    });
    process.stdout.write(request.json ? reportJson(found) : reportText(found));
    return found.faults.length === 0 ? EXIT.sound : EXIT.tampered;
  } catch (error) {
    return failed(error, args.includes('--json'));
  }
}

process.exitCode = await main(process.argv.slice(2));
