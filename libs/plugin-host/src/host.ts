/**
 * One process per plugin: started confined and with nothing inherited, its words judged, ended when it hangs, floods
 * or speaks wrongly, started again later and later.
 * It must not carry out anything that was not granted.
 */
import type { LoadedPlugin, LoadPlugin, PluginCapability, PluginManifest } from '@kedge/contracts';
import { KedgeError } from '@kedge/units';
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import type { Duplex } from 'node:stream';

import { LINE_BYTES_MAX, LineSplitter } from './lines.js';
import { checkPlugin } from './manifest.js';
import { type Answered, type HostAnswer, type Said, saidSchema, type Start } from './messages.js';

/** What a plugin asks for, after every check but authority. */
export interface PluginRequest {
  readonly plugin: string;
  readonly level: number;
  readonly reason: string;
  readonly key: string;
}

/** How a plugin stands. */
export type PluginStatus =
  | {
      readonly state: 'running';
      readonly pid: number;
      readonly restarts: number;
      readonly problem: string | undefined;
    }
  | {
      readonly state: 'waiting';
      readonly because: string;
      readonly retryInMs: number;
      readonly restarts: number;
    }
  | { readonly state: 'ended' };

/** Limits; the defaults are meant for appliances. */
export interface PluginLimits {
  /** No word for so long is a hang, milliseconds. */
  readonly silenceMs: number;
  /** Words of any kind at once, and how many come back each second. */
  readonly words: number;
  readonly wordsPerSecond: number;
  /** Requests at once, and how many come back each second; beyond it they are refused. */
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** Heap of the process, MiB. */
  readonly heapMiB: number;
  readonly backOffMs: number;
  readonly backOffMaxMs: number;
  /** Who ran that long starts with the first back-off again, milliseconds. */
  readonly steadyMs: number;
}

const LIMITS: PluginLimits = {
  silenceMs: 3_000,
  words: 200,
  wordsPerSecond: 50,
  requests: 20,
  requestsPerSecond: 2,
  heapMiB: 64,
  backOffMs: 200,
  backOffMaxMs: 30_000,
  steadyMs: 60_000,
};

/** What a plugin is loaded onto. */
export interface PluginGround {
  /** The plugin's folder. */
  readonly folder: string;
  /** build/kedge-confine of this package. */
  readonly confine: string;
  /** dist/child.js of this package. */
  readonly runner: string;
  /** Folders that the runner's imports come from; what of the machine a plugin can read besides its own folder. */
  readonly readable: readonly string[];
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** Files that it may read, by the names that it knows them by. */
  readonly files: Readonly<Record<string, string>>;
  readonly onRequest: (request: PluginRequest) => Promise<HostAnswer>;
  /** Something was refused or ended because the plugin broke its contract; told for the record. */
  readonly onViolation: (plugin: string, error: KedgeError) => void;
  readonly onStatus: (plugin: string, status: PluginStatus) => void;
  readonly limits?: Partial<PluginLimits>;
}

/** A loader for the plugin of one folder (see {@link LoadPlugin}). Throws where it cannot be loaded at all. */
export function postureSourceLoader(ground: PluginGround): LoadPlugin {
  return async (manifest, granted, signal) => {
    checkPlugin(ground.folder, manifest, granted);
    signal.throwIfAborted();
    const running = new PluginProcess(ground, manifest, granted);
    running.start();
    const unload = (): Promise<void> => running.end();
    signal.addEventListener('abort', () => void unload(), { once: true });
    return { manifest, granted, unload } satisfies LoadedPlugin;
  };
}

/** Room for so many at once that fills again with time. */
class Bucket {
  readonly #size: number;
  readonly #perSecond: number;
  #left: number;
  #at = performance.now();

  constructor(size: number, perSecond: number) {
    this.#size = size;
    this.#perSecond = perSecond;
    this.#left = size;
  }

  take(): boolean {
    const now = performance.now();
    this.#left = Math.min(this.#size, this.#left + ((now - this.#at) / 1_000) * this.#perSecond);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

class PluginProcess {
  readonly #ground: PluginGround;
  readonly #limits: PluginLimits;
  readonly #manifest: PluginManifest;
  readonly #granted: readonly PluginCapability[];
  readonly #requests: Bucket;
  #child: ChildProcess | undefined;
  #gone: Promise<void> = Promise.resolve();
  #ending = false;
  #restarts = 0;
  #backOffMs: number;
  #retry: NodeJS.Timeout | undefined;
  #problem: string | undefined;

  constructor(ground: PluginGround, manifest: PluginManifest, granted: readonly PluginCapability[]) {
    this.#ground = ground;
    this.#limits = { ...LIMITS, ...ground.limits };
    this.#manifest = manifest;
    this.#granted = granted;
    this.#backOffMs = this.#limits.backOffMs;
    // Over all of its lives: who crashes does not get a new allowance.
    this.#requests = new Bucket(this.#limits.requests, this.#limits.requestsPerSecond);
  }

  start(): void {
    const { confine, runner, readable, folder, files } = this.#ground;
    const { heapMiB, words, wordsPerSecond } = this.#limits;
    const read = [
      runner,
      dirname(runner),
      folder,
      ...readable,
      ...Object.values(files).map((path) => dirname(path)),
    ];
    const child = spawn(
      confine,
      [
        ...read.flatMap((path) => ['--read', path]),
        // The C library's configuration of cryptography is read by every Node at its start.
        ...['--read', '/etc/ssl/openssl.cnf'],
        ...['/usr', '/lib', '/lib64', process.execPath].flatMap((path) => ['--execute', path]),
        ...['--', process.execPath, `--max-old-space-size=${heapMiB}`, '--disable-proto=throw', runner],
      ],
      { cwd: '/', env: {}, stdio: ['ignore', 'ignore', 'pipe', 'pipe'], detached: false },
    );
    this.#child = child;
    this.#problem = undefined;
    const startedAt = performance.now();
    let why: KedgeError | undefined;
    let lastWords = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = `${lastWords}${chunk.subarray(-512).toString('utf8')}`.slice(-512);
    });
    const kill = (code: string, message: string): void => {
      if (why !== undefined) return;
      why = new KedgeError({ code, message: `the plugin ${this.#manifest.name} ${message}` });
      child.kill('SIGKILL');
      this.#ground.onViolation(this.#manifest.name, why);
    };

    const { silenceMs } = this.#limits;
    const hang = setTimeout(() => {
      kill('PLUGIN_HANGS', `has said nothing for ${silenceMs} ms`);
    }, silenceMs);
    const allowance = new Bucket(words, wordsPerSecond);
    const splitter = new LineSplitter(LINE_BYTES_MAX);
    const pipe = child.stdio[3] as Duplex | null;
    const tell = (told: Start | Answered): void => {
      if (why === undefined && pipe?.writable === true) pipe.write(`${JSON.stringify(told)}\n`);
    };
    pipe?.on('error', () => undefined);
    pipe?.on('data', (chunk: Buffer) => {
      for (const { text, cut } of splitter.push(chunk)) {
        if (why !== undefined) return;
        if (cut) {
          kill('PLUGIN_MESSAGE', `sent a line of more than ${LINE_BYTES_MAX} bytes`);
          return;
        }
        if (!allowance.take()) {
          kill('PLUGIN_FLOODS', `sent more than ${wordsPerSecond} messages a second`);
          return;
        }
        const said = wordOf(text);
        if (typeof said === 'string') {
          kill('PLUGIN_MESSAGE', `sent what is no message: ${said}`);
          return;
        }
        hang.refresh();
        this.#heard(said, tell);
      }
      if (splitter.overlong) kill('PLUGIN_MESSAGE', `sent a line of more than ${LINE_BYTES_MAX} bytes`);
    });

    this.#gone = new Promise((resolve) => {
      let done = false;
      const ended = (because: string): void => {
        if (done) return;
        done = true;
        clearTimeout(hang);
        pipe?.destroy();
        this.#child = undefined;
        const steady = performance.now() - startedAt >= this.#limits.steadyMs;
        this.#again(why?.message ?? `the plugin ${this.#manifest.name} ended: ${because}`, steady);
        resolve();
      };
      child.once('error', (error) => {
        ended(error.message);
      });
      child.once('close', (code, signal) => {
        const words = lastWords.trim().replaceAll(/\s+/g, ' ').slice(-300);
        ended(`${signal ?? `status ${code ?? 'unknown'}`}${words === '' ? '' : `, ${words}`}`);
      });
    });
    const { settings } = this.#ground;
    tell({ tell: 'start', entry: join(folder, this.#manifest.entry), settings, files });
    this.#tellStatus();
  }

  #heard(said: Said, tell: (told: Answered) => void): void {
    switch (said.say) {
      case 'running':
      case 'beat':
        return;
      case 'problem':
        this.#problem = said.text ?? undefined;
        this.#tellStatus();
        return;
      case 'tighten': {
        const { id, level, reason, key } = said;
        const answer = (given: HostAnswer): void => {
          tell({ tell: 'answer', id, answer: given });
        };
        const refuse = (code: string, why: string): void => {
          const error = new KedgeError({ code, message: `the plugin ${this.#manifest.name} ${why}` });
          this.#ground.onViolation(this.#manifest.name, error);
          answer({ outcome: 'refused', code, message: error.message });
        };
        // Before anything is told for the record: that it was too many is what was wrong, and is not told one by one.
        if (!this.#requests.take()) {
          answer({ outcome: 'refused', code: 'PLUGIN_RATE', message: 'too many requests; ask again later' });
          return;
        }
        if (!this.#granted.includes('posture.tighten')) {
          refuse('PLUGIN_NOT_GRANTED', 'was not granted posture.tighten');
          return;
        }
        this.#ground
          .onRequest({ plugin: this.#manifest.name, level, reason, key })
          .then(answer, (error: unknown) => {
            answer({
              outcome: 'refused',
              code: 'PLUGIN_UNANSWERED',
              message: error instanceof Error ? error.message.slice(0, 400) : 'the host failed',
            });
          });
      }
    }
  }

  #tellStatus(): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    const { name } = this.#manifest;
    this.#ground.onStatus(name, { state: 'running', pid, restarts: this.#restarts, problem: this.#problem });
  }

  #again(because: string, steady: boolean): void {
    const { name } = this.#manifest;
    if (this.#ending) {
      this.#ground.onStatus(name, { state: 'ended' });
      return;
    }
    if (steady) this.#backOffMs = this.#limits.backOffMs;
    const retryInMs = this.#backOffMs;
    this.#backOffMs = Math.min(this.#limits.backOffMaxMs, this.#backOffMs * 2);
    this.#restarts += 1;
    this.#ground.onStatus(name, { state: 'waiting', because, retryInMs, restarts: this.#restarts });
    this.#retry = setTimeout(() => {
      this.start();
    }, retryInMs);
  }

  async end(): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#retry);
    this.#child?.kill('SIGKILL');
    await this.#gone;
  }
}

/** The message of a line, or why it is none. */
function wordOf(text: string): Said | string {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return 'it is no JSON';
  }
  const parsed = saidSchema.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unknown'}`.slice(0, 200);
}
