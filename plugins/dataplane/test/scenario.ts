/**
 * Starts the scenario program in namespaces of its own and speaks its line protocol.
 * It must leave nothing behind: the program is pid 1 of its own pid namespace and dies with this process.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Brings a target of the package's Makefile up to date. */
export function make(...targets: string[]): void {
  execFileSync('make', ['-s', '-C', ROOT, ...targets], { stdio: ['ignore', 'ignore', 'inherit'] });
}

export class Scenario {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.stderr.pipe(process.stderr, { end: false });
  }

  static async start(): Promise<Scenario> {
    const child = spawn(
      'unshare',
      ['-n', '-m', '-p', '-f', '--mount-proc', '--kill-child', `${ROOT}build/test/scenario`],
      { stdio: 'pipe' },
    );
    const scenario = new Scenario(child);
    await scenario.#answer('start');
    return scenario;
  }

  async #answer(line: string): Promise<Record<string, never>> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the scenario ended at '${line}'`);
    const answer = JSON.parse(String(value)) as Record<string, never>;
    if ('error' in answer) throw new Error(`'${line}': ${String(answer['error'])}`);
    return answer;
  }

  /** One command and its answer. */
  async do<T = Record<string, number>>(line: string): Promise<T> {
    this.#child.stdin.write(`${line}\n`);
    return (await this.#answer(line)) as unknown as T;
  }

  async end(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    await exited;
  }
}
