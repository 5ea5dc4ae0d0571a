/**
 * A network namespace that lives as long as a process which ends with its input: whatever happens to us, nothing of
 * it is left. Must not know what it is for.
 */
import { type ChildProcess, type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

/** Says its number as this side sees it, whatever pid namespace it is in. */
const HOLD = 'read -r pid rest < /proc/self/stat && echo "$pid" && exec cat';
const PRIVATE = `mount -t tmpfs none /run && mount -t sysfs none /sys && ${HOLD}`;

export class Namespace {
  readonly #holder: ChildProcess;
  readonly #enter: readonly string[];
  /** Process that holds it, as this side sees it. */
  readonly pid: number;

  private constructor(holder: ChildProcess, pid: number, apart: boolean) {
    this.#holder = holder;
    this.pid = pid;
    // Its root too: where the whole machine stands in a directory, that of the namespace lies above it.
    this.#enter = ['-t', String(pid), '-n', ...(apart ? ['-m', '-p', '-r', '-w'] : []), '--'];
  }

  /** `apart`: with processes that die with it, a `/run` of its own, and the `/sys` of its own interfaces. */
  static async start({ apart = false } = {}): Promise<Namespace> {
    const words = apart
      ? ['-n', '-m', '-p', '-f', '--kill-child', 'sh', '-c', PRIVATE]
      : ['-n', 'sh', '-c', HOLD];
    const holder = spawn('unshare', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    const pid = await new Promise<number>((resolve, reject) => {
      holder.stdout.once('data', (line: Buffer) => {
        resolve(Number(line.toString()));
      });
      holder.once('exit', () => {
        reject(new Error('bench: no network namespace could be made'));
      });
    });
    return new Namespace(holder, pid, apart);
  }

  /** Where its network is named, for who opens sockets in it. */
  get network(): string {
    return `/proc/${String(this.pid)}/ns/net`;
  }

  /** Where one of its files is seen from outside. */
  reach(path: string): string {
    return `/proc/${String(this.pid)}/root${path}`;
  }

  /** Runs a command in it to its end; its output. @throws Error where it fails */
  run(command: readonly string[], input = ''): string {
    return execFileSync('nsenter', [...this.#enter, ...command], {
      input,
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  /** Starts a command in it. */
  spawn(command: readonly string[]): ChildProcessByStdio<Writable, Readable, Readable> {
    return spawn('nsenter', [...this.#enter, ...command], { stdio: 'pipe' });
  }

  /** The words of one `ip` command. */
  ip(line: string): void {
    this.run(['ip', ...line.split(' ')]);
  }

  /** Switches of the kernel's network in it. */
  set(name: string, value: number): void {
    this.run(['sysctl', '-qw', `net.${name}=${String(value)}`]);
  }

  /** Lets it go. */
  end(): void {
    this.#holder.stdin?.end();
  }
}
