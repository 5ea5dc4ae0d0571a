/**
 * The kit of posture-source plugins: what one is made of, and what it is given when it runs.
 * It must stay pure and without dependencies: a plugin reaches the world through its context alone.
 */

/** The version of this kit; a manifest's `api` names the versions that a plugin works with. */
export const POSTURE_SOURCE_API = '1.0.0';

/** A posture level: 5 normal, 4 watch, 3 restricted, 2 emergency, 1 lockdown. */
export type PostureLevel = 1 | 2 | 3 | 4 | 5;

/** What a plugin asks for. It can only ever tighten: a looser level is refused and recorded. */
export interface TightenRequest {
  readonly level: PostureLevel;
  /** Why, for the record: 1 to 400 characters on one line. */
  readonly reason: string;
  /** Names this very request: the same key within a day is the same request. 8 to 32 of A-Z a-z 0-9 . _ : - */
  readonly key: string;
}

/** What became of a request. `refused` is an answer, not an error: nothing has changed. */
export type TightenAnswer =
  | {
      readonly outcome: 'applied';
      /** The decision's number, as decimal text. */
      readonly epoch: string;
      readonly level: PostureLevel;
    }
  | { readonly outcome: 'refused'; readonly code: string; readonly message: string };

/** One line of a file. */
export interface Line {
  /** From 1. */
  readonly number: number;
  /** Without its end; at most 4096 characters of it. */
  readonly text: string;
  /** True where the line was longer than that. */
  readonly cut: boolean;
}

/** What a plugin is given when it runs. Everything it can do stands here. */
export interface PostureSourceContext {
  /** Its settings out of the appliance's configuration. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** Ends when the plugin is to stop; every wait below rejects then. */
  readonly signal: AbortSignal;
  /** Wall-clock time, milliseconds since 1970. */
  now(): number;
  /** Waits so many milliseconds. */
  sleep(ms: number): Promise<void>;
  /**
   * Reads a configured file line by line in bounded memory, by the name that the configuration gives it. A file that
   * is replaced or cut meanwhile is read as it was opened, or as far as it goes. A missing file has no lines.
   */
  lines(file: string): AsyncIterable<Line>;
  /** Waits until the file is another one, of another size or written to since `lines` began last. */
  changed(file: string): Promise<void>;
  /** Asks for a level, and waits for the answer. */
  tighten(request: TightenRequest): Promise<TightenAnswer>;
  /** Says what is wrong now, in one line of at most 400 characters; undefined = nothing any more. Shown to operators. */
  problem(sentence: string | undefined): void;
}

/** A plugin. */
export interface PostureSource {
  /** Works until it is told to stop. When it returns or throws, it is started again, later and later. */
  run(context: PostureSourceContext): Promise<void>;
}

/** What a plugin's module exports as its default: it is given the kit and gives back a plugin. */
export type PostureSourceModule = (kit: PostureSourceKit) => PostureSource;

/** The kit. */
export interface PostureSourceKit {
  readonly api: string;
  definePostureSource(source: PostureSource): PostureSource;
}

/**
 * Makes a plugin of its parts.
 *
 * @throws TypeError where `run` is no function.
 */
export function definePostureSource(source: PostureSource): PostureSource {
  if (typeof source.run !== 'function') {
    throw new TypeError(
      'a posture source needs run(context), a function that works until it is told to stop',
    );
  }
  return Object.freeze({ run: source.run.bind(source) });
}

/** The kit as plugins are given it. */
export const kit: PostureSourceKit = Object.freeze({ api: POSTURE_SOURCE_API, definePostureSource });
