/**
 * A mount namespace with a BPF file system of its own and the two posture maps in it, for tests.
 * It must not mount anything where the tests themselves live: its files are reached through its holder's root.
 */
import { levelValueOf, preparePostureMaps } from '@kedge/bpf-posture';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const INDEX = fileURLToPath(new URL('../../../libs/shared-memory-ipc/dist/index.js', import.meta.url));

export class BpfRoom {
  readonly #place: string;
  readonly #holder: ChildProcess;
  readonly directory: string;

  private constructor(holder: ChildProcess, place: string) {
    this.#holder = holder;
    this.#place = place;
    this.directory = `/proc/${holder.pid}/root${place}`;
  }

  static async open(): Promise<BpfRoom> {
    const place = mkdtempSync(join(tmpdir(), 'kedge-bpf-'));
    const holder = spawn(
      'unshare',
      [
        '-m',
        'sh',
        '-c',
        'mount -t bpf -o mode=0755 bpf "$1" && echo ready && exec sleep 600',
        'holder',
        place,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await new Promise<void>((resolve, reject) => {
      holder.stdout?.once('data', () => resolve());
      holder.once('exit', () => reject(new Error('no BPF file system could be mounted')));
    });
    return new BpfRoom(holder, place);
  }

  get level(): string {
    return join(this.directory, 'posture_level');
  }

  get inForce(): string {
    return join(this.directory, 'posture_in_force');
  }

  /** Makes both maps as the set-up of an appliance does. */
  prepare(): readonly string[] {
    return preparePostureMaps({ directory: this.directory, uid: process.getuid?.() ?? 0, gid: 0 });
  }

  /** Another process writes a value. */
  write(level: number, sequence = 0): void {
    const script = `
      import { openBpfArray } from ${JSON.stringify(INDEX)};
      const map = openBpfArray({ path: process.argv[1], shape: { valueSize: 8, entries: 1 }, owner: 'any', access: 'write' });
      map.update(0, Buffer.from(process.argv[2], 'hex'));
      map.close();`;
    execFileSync(process.execPath, [
      ...['--input-type=module', '-e', script],
      ...[this.level, levelValueOf(level, sequence).toString('hex')],
    ]);
  }

  close(): void {
    this.#holder.kill('SIGKILL');
    rmSync(this.#place, { recursive: true, force: true });
  }
}
