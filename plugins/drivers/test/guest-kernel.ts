/**
 * A Linux kernel of its own as an ordinary process (User Mode Linux), with everything that a site's appliance has and
 * the kernel of this machine may lack: bridges that know VLANs, VLAN interfaces, tunnels of every kind.
 * Must not leave a process or a file, nor let the guest write outside its scratch directory.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import type { RunTool } from '@kedge/driver-host';

const MODULES = '/usr/lib/uml/modules';
const HERE = import.meta.dirname;
/** AVX-512 state is not kept across switches in the guest: its programs are told not to use it. */
const TUNABLES = ['F', 'VL', 'BW', 'DQ', 'CD'].map((name) => `-AVX512${name}`).join(',');

/** A guest that runs tools, one at a time. */
export interface Guest {
  readonly run: RunTool;
  /** Ends it. */
  stop(): Promise<void>;
}

/** Boots a guest; takes about two seconds. */
export async function bootGuest(): Promise<Guest> {
  const scratch = mkdtempSync(join(tmpdir(), 'kedge-guest-'));
  const [library, init, modules] = ['xstate.so', 'init', 'modules'].map((name) => join(scratch, name)) as [
    string,
    string,
    string,
  ];
  const flags = ['-O1', '-Wall', '-Wextra', '-Werror'];
  execFileSync('gcc', [...flags, '-shared', '-fPIC', '-o', library, join(HERE, 'guest-xstate.c')]);
  // Static: a dynamic loader in a guest costs more than the program.
  execFileSync('gcc', [...flags, '-static', '-o', init, join(HERE, 'guest-init.c')]);
  writeFileSync(modules, modulesInOrder().join('\n'));
  const child = spawn(
    'linux.uml',
    [
      ...['mem=128M', 'quiet', 'rootfstype=hostfs', 'rootflags=/', 'ro', 'con=null', 'con0=fd:0,fd:1'],
      ...[`uml_dir=${scratch}`, `init=${init}`],
      ...[`KEDGE_MODULES=${modules}`, `KEDGE_SCRATCH=${scratch}`],
      `GLIBC_TUNABLES=glibc.cpu.hwcaps=${TUNABLES}`,
    ],
    {
      env: { PATH: process.env['PATH'], LD_PRELOAD: library, TMPDIR: scratch },
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    },
  );
  const lines = new Lines(child);
  const over = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const clean = (): void => rmSync(scratch, { recursive: true, force: true });
  try {
    await lines.next((line) => line === 'ready', 30_000);
  } catch (error) {
    endGroup(child);
    clean();
    throw error;
  }
  let last = Promise.resolve();
  let count = 0;
  const runOne = async (tool: string, args: readonly string[], input: string) => {
    count += 1;
    const file = (end: string): string => join(scratch, `${String(count)}.${end}`);
    writeFileSync(file('words'), [tool, ...args].map((word) => `${word}\0`).join(''));
    writeFileSync(file('in'), input);
    child.stdin?.write(`${String(count)}\n`);
    const answer = await lines.next((line) => line.startsWith(`${String(count)} `), 20_000);
    return {
      status: Number(answer.split(' ')[1]),
      stdout: readFileSync(file('out'), 'utf8'),
      stderr: readFileSync(file('err'), 'utf8'),
    };
  };
  return {
    run: (tool, args, input) => {
      const result = last.then(() => runOne(tool, args, input));
      last = result.then(
        () => undefined,
        () => undefined,
      );
      return result;
    },
    stop: async () => {
      child.stdin?.write('0\n');
      const timer = setTimeout(() => endGroup(child), 5000);
      await over;
      clearTimeout(timer);
      clean();
    },
  };
}

/** Files of the modules that are needed, each behind those that it needs itself. */
function modulesInOrder(): string[] {
  const directory = join(MODULES, readdirSync(MODULES)[0] ?? '');
  const needs = new Map(
    readFileSync(join(directory, 'modules.dep'), 'utf8')
      .split('\n')
      .map((line): [string, string[]] => {
        const [file = '', others = ''] = line.split(/:\s*/);
        const name = basename(file)
          .replace(/\.ko.*$/, '')
          .replaceAll('-', '_');
        return [name, [...others.split(' ').filter(Boolean).reverse(), file]];
      }),
  );
  const files = [
    'ipv6',
    'bridge',
    '8021q',
    'veth',
    'vxlan',
    'ip_gre',
    'ip6_gre',
    'ipip',
    'ip6_tunnel',
  ].flatMap((name) => needs.get(name) ?? []);
  return [...new Set(files)].map((file) => join(directory, file));
}

/** The kernel and what it runs are one group of processes. */
function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

/** Lines of the guest's console. */
class Lines {
  #text = '';
  readonly #seen: string[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (this.#text + chunk).split(/\r?\n/);
      this.#text = lines.pop() ?? '';
      this.#seen.push(...lines);
      this.#wake?.();
    });
    child.once('exit', () => {
      this.#ended = true;
      this.#wake?.();
    });
    child.once('error', () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  async next(wanted: (line: string) => boolean, timeoutMs: number): Promise<string> {
    const until = performance.now() + timeoutMs;
    const before: string[] = [];
    for (;;) {
      for (let line = this.#seen.shift(); line !== undefined; line = this.#seen.shift()) {
        if (wanted(line)) return line;
        before.push(line);
      }
      const left = until - performance.now();
      if (this.#ended || left <= 0) throw new Error(`the guest says nothing more:\n${before.join('\n')}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
