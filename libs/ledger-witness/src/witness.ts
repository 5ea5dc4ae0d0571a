/**
 * A witness: the newest checkpoint of each log in a directory, kept before it is cosigned (LE-4).
 * It must not give a cosignature for what it would not know after a crash, nor know how requests reach it.
 *
 * In the directory: `lock`; `held/ORIGINHASH`, the newest checkpoint of each log; `evidence/ORIGINHASH-…json`, pairs of
 * checkpoints that do not go together.
 */
import { replaceFile, syncDirectory, UNFINISHED } from '@kedge/durable-files';
import { type Checkpoint, cosigned, type NoteSigner, type NoteVerifier, openCheckpoint } from '@kedge/ledger';
import { KedgeError } from '@kedge/units';
import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { addCheckpointOf, type Answer, originHash, refusal } from './add-checkpoint.js';
import { lockDirectory } from './directory-lock.js';
import { type Contradiction, type Held, judgementOf } from './judgement.js';

/** Requests of one log that may wait for each other. */
const WAITING_MAX = 64;
/** Pairs of each kind that are kept of a log; the first ones, for a later one says no more. */
const EVIDENCE_MAX = 16;

/** A log has signed two checkpoints that do not go together. */
export interface WitnessAlarm {
  readonly kind: Contradiction['kind'];
  readonly held: Checkpoint;
  readonly offered: Checkpoint;
  /** The file with both; undefined where enough are kept already. */
  readonly evidence: string | undefined;
}

/** How a witness is opened. */
export interface WitnessOptions {
  /** Made (0700) where it is missing. One process at a time. */
  readonly directory: string;
  /** Kind `witness`. */
  readonly signer: NoteSigner;
  /** The logs that it watches, one key for each name. */
  readonly logs: readonly NoteVerifier[];
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly onAlarm?: (alarm: WitnessAlarm) => void;
}

/** A witness that answers. */
export interface Witness {
  /**
   * The answer to a request, given when what was accepted is on stable storage.
   *
   * @throws KedgeError `WITNESS_STORAGE`; the log is then answered 503 until the witness was started again, for nobody
   *   knows which of two checkpoints its file holds.
   */
  addCheckpoint(body: Uint8Array): Promise<Answer>;
  /** What is held of a log, cosigned, by the hash of its name; 404 where there is nothing. */
  checkpoint(hash: string): Answer;
  /** Waits for what is under way. Takes nothing afterwards. */
  close(): Promise<void>;
}

/**
 * Opens a witness on what its directory holds.
 *
 * @throws KedgeError `WITNESS_OPTIONS`, `WITNESS_BUSY`, `WITNESS_STORAGE`, `WITNESS_HELD_DAMAGED` (what it holds of a
 *   log cannot be read: without it a fork would not be seen).
 */
export async function openWitness(options: WitnessOptions): Promise<Witness> {
  const { directory, logs, signer } = options;
  const names = new Set(logs.map(({ name }) => name));
  if (signer.kind !== 'witness' || logs.some(({ kind }) => kind !== 'log') || names.size !== logs.length) {
    throw new KedgeError({
      code: 'WITNESS_OPTIONS',
      message: 'cannot open the witness with these keys',
      expected: 'the key of a witness, and one key for each log',
    });
  }
  try {
    for (const path of [directory, join(directory, 'held'), join(directory, 'evidence')])
      await mkdir(path, { recursive: true, mode: 0o700 });
    const lock = await lockDirectory(directory);
    try {
      await tidied(directory);
      const watched = await Promise.all(logs.map((log) => watchedLog(log, directory)));
      return new OpenWitness(options, watched, lock);
    } catch (error) {
      await lock.close();
      throw error;
    }
  } catch (cause) {
    throw cause instanceof KedgeError ? cause : storageError(directory, 'open', cause);
  }
}

/** A log, what is held of it, and the requests that wait for each other. */
interface WatchedLog {
  readonly log: NoteVerifier;
  readonly path: string;
  held: Held | undefined;
  /** The cosignature that was given last. */
  cosignature: string | undefined;
  failed: boolean;
  waiting: number;
  turn: Promise<unknown>;
}

/** What a crash left: unfinished files go, and what was renamed is on stable storage before anything follows from it. */
async function tidied(directory: string): Promise<void> {
  for (const part of ['held', 'evidence']) {
    const path = join(directory, part);
    for (const name of await readdir(path)) if (name.endsWith(UNFINISHED)) await rm(join(path, name));
    await syncDirectory(path);
  }
  await syncDirectory(directory);
}

async function watchedLog(log: NoteVerifier, directory: string): Promise<WatchedLog> {
  const path = join(directory, 'held', originHash(log.name));
  const free = { log, path, cosignature: undefined, failed: false, waiting: 0, turn: Promise.resolve() };
  if (!existsSync(path)) return { ...free, held: undefined };
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  const note = await readFile(path, 'utf8');
  try {
    return { ...free, held: { checkpoint: openCheckpoint(note, log), note } };
  } catch (cause) {
    throw new KedgeError({
      code: 'WITNESS_HELD_DAMAGED',
      message: `cannot read the checkpoint that is held of ${log.name}`,
      field: path,
      expected: 'a checkpoint with the signature of this log',
      cause,
    });
  }
}

class OpenWitness implements Witness {
  readonly #options: WitnessOptions;
  readonly #byOrigin: ReadonlyMap<string, WatchedLog>;
  readonly #byHash: ReadonlyMap<string, WatchedLog>;
  readonly #lock: FileHandle;
  #closed = false;

  constructor(options: WitnessOptions, watched: readonly WatchedLog[], lock: FileHandle) {
    this.#options = options;
    this.#byOrigin = new Map(watched.map((each) => [each.log.name, each]));
    this.#byHash = new Map(watched.map((each) => [originHash(each.log.name), each]));
    this.#lock = lock;
  }

  async addCheckpoint(body: Uint8Array): Promise<Answer> {
    const request = addCheckpointOf(body);
    if (request === undefined) return refusal(400, 'no request to add a checkpoint');
    const end = request.checkpoint.indexOf('\n');
    const watched = this.#byOrigin.get(request.checkpoint.slice(0, Math.max(end, 0)));
    if (watched === undefined) return refusal(404, 'this log is not watched here');
    if (this.#closed || watched.waiting >= WAITING_MAX) return refusal(503, 'too much at once');
    watched.waiting += 1;
    // One at a time: what is compared with is what is replaced.
    const turn = watched.turn.then(async () => {
      if (watched.failed) return refusal(503, 'what is held of this log is not known: start again');
      const judgement = judgementOf(request, watched.log, watched.held);
      if (judgement.verdict === 'accepted') return await this.#accepted(watched, judgement.offered);
      if (judgement.contradiction !== undefined) await this.#contradicted(watched, judgement.contradiction);
      return judgement.answer;
    });
    watched.turn = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      watched.waiting -= 1;
    }
  }

  checkpoint(hash: string): Answer {
    const watched = this.#byHash.get(hash);
    if (watched?.held === undefined || watched.failed) return refusal(404, 'nothing is held of this log');
    watched.cosignature ??= this.#cosignature(watched.held);
    return { status: 200, type: 'text/plain; charset=utf-8', body: watched.held.note + watched.cosignature };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#byOrigin.values()].map(({ turn }) => turn));
    await this.#lock.close();
  }

  async #accepted(watched: WatchedLog, offered: Held): Promise<Answer> {
    if (watched.held?.note !== offered.note) await this.#keep(watched, offered);
    watched.held = offered;
    watched.cosignature = this.#cosignature(offered);
    return { status: 200, type: 'text/plain; charset=utf-8', body: watched.cosignature };
  }

  async #keep(watched: WatchedLog, { note }: Held): Promise<void> {
    try {
      await replaceFile(watched.path, note);
    } catch (cause) {
      watched.failed = true;
      throw storageError(watched.path, 'write', cause);
    }
  }

  #cosignature({ note }: Held): string {
    const { signer, nowMs } = this.#options;
    return cosigned(note, signer, Math.floor(nowMs() / 1_000)).slice(note.length);
  }

  async #contradicted({ path, log }: WatchedLog, { kind, held, offered }: Contradiction): Promise<void> {
    const { directory, nowMs, onAlarm } = this.#options;
    const folder = join(directory, 'evidence');
    const start = `${originHash(log.name)}-${kind}-`;
    const { size, root } = offered.checkpoint;
    const name = `${start}${size}-${root.toString('hex').slice(0, 16)}.json`;
    let evidence: string | undefined;
    try {
      const names = (await readdir(folder)).filter((each) => each.startsWith(start));
      if (names.includes(name)) evidence = join(folder, name);
      else if (names.length < EVIDENCE_MAX) {
        evidence = join(folder, name);
        const seen = new Date(nowMs()).toISOString();
        const pair = { kind, log: log.text, seen, held: held.note, offered: offered.note };
        await replaceFile(evidence, `${JSON.stringify(pair, undefined, 2)}\n`);
      }
    } catch (cause) {
      throw storageError(path, 'write evidence beside', cause);
    } finally {
      // Also where it could not be written: somebody has to look.
      onAlarm?.({ kind, held: held.checkpoint, offered: offered.checkpoint, evidence });
    }
  }
}

function storageError(path: string, what: string, cause: unknown): KedgeError {
  return new KedgeError({ code: 'WITNESS_STORAGE', message: `cannot ${what} ${path}`, cause });
}
