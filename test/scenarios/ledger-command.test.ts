/**
 * `kedge witness` and `kedge ledger verify` as people run them: processes, files, a real port.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  consistencyProof,
  nodesInTiles,
  openCheckpoint,
  signCheckpoint,
  signerOf,
  TiledLog,
  verifierOf,
} from '@kedge/ledger';
import { type AnchorRequest, openAnchor } from '@kedge/ledger-witness';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { kedge, kedgeError, kedgeJson } from './run-command.js';

const COMMAND = fileURLToPath(new URL('../../apps/cli/bin/kedge.js', import.meta.url));
const box = signerOf('kedge.example/box-7', generateKeyPairSync('ed25519').privateKey);
const entryOf = (number: number): Buffer =>
  Buffer.from(
    `{"action":"posture.set","allow":true,"appliance":"box-7","askedAtNs":"${number}","at":"2026-11-22T18:00:00.000Z","channel":"console","epoch":"7","id":"authorisation/box-7/${number}","level":3,"principal":"user:ada","reason":"","resource":"posture/2","rule":"console-may-tighten","schema":"kedge.authorisation-decision/1","tier":"master"}`,
  );

describe('the command for ledgers', () => {
  let room: string;
  let child: ChildProcess | undefined;
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'kedge-ledger-command-'));
  });
  afterEach(async () => {
    if (child?.exitCode === null) {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
    child = undefined;
    rmSync(room, { recursive: true, force: true });
  });

  /** Writes a log of so many records; what is to be anchored. */
  function write(directory: string, size: number, offset = 0): AnchorRequest {
    const log = TiledLog.open();
    for (let at = 0; at < size; at++) log.append(entryOf(at + offset));
    const checkpoint = signCheckpoint({ origin: box.name, size, root: log.root() }, box);
    const files = [...log.takeFiles(), { path: 'checkpoint', bytes: Buffer.from(checkpoint) }];
    for (const { path, bytes } of files) {
      mkdirSync(dirname(join(directory, path)), { recursive: true });
      writeFileSync(join(directory, path), bytes);
    }
    const nodes = nodesInTiles(size, (path) => files.find((file) => file.path === path)?.bytes);
    return { checkpoint, proofFrom: (from) => consistencyProof(from, size, nodes) };
  }

  it('LE-4 kedge witness makes a key, cosigns over HTTP, raises an alarm for a fork, and ends with a signal', async () => {
    const keyFile = join(room, 'key');
    const made = await kedge(['witness', 'key', keyFile, '--name', 'witness.example/w']);
    expect(made.status).toBe(0);
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    const witness = verifierOf(made.out.trim());
    expect(await kedgeError(['witness', 'key', keyFile, '--name', 'w'])).toMatchObject({
      code: 'WITNESS_KEY_EXISTS',
      status: 3,
    });
    const serve = ['witness', 'serve', '--directory', join(room, 'held'), '--key', keyFile];
    expect((await kedge(serve)).status).toBe(2);
    expect((await kedge([...serve, '--log', box.text, '--listen', 'nowhere'])).status).toBe(2);
    expect((await kedge([...serve, '--log', box.text, '--tls-cert', keyFile])).status).toBe(2);

    const listening = [...serve, '--log', box.text, '--listen', '127.0.0.1:0'];
    const started = spawn(process.execPath, [COMMAND, ...listening, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child = started;
    let said = '';
    started.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const [line] = (await once(started.stdout, 'data')) as [Buffer];
    const { url, logs } = JSON.parse(line.toString()) as { url: string; logs: string[] };
    expect(logs).toEqual([box.name]);
    expect(await kedgeError(listening)).toMatchObject({ code: 'WITNESS_BUSY', status: 4 });

    const anchor = openAnchor({ url, witness, log: box });
    const verdict = await anchor.anchor(write(join(room, 'log'), 300));
    expect(verdict.verdict).toBe('cosigned');
    const cosigned = verdict.verdict === 'cosigned' ? verdict.checkpoint : '';
    expect(openCheckpoint(cosigned, box, [witness]).witnesses).toHaveLength(1);
    expect((await anchor.anchor(write(join(room, 'fork'), 300, 1))).verdict).toBe('fork');
    anchor.close();
    started.kill('SIGTERM');
    const [status] = (await once(started, 'close')) as [number];
    expect(status).toBe(0);
    const [evidence = ''] = readdirSync(join(room, 'held/evidence'));
    expect(JSON.parse(said.split('\n')[0] ?? '')).toEqual({
      alarm: {
        kind: 'fork',
        origin: box.name,
        held: 300,
        offered: 300,
        evidence: join(room, 'held/evidence', evidence),
      },
    });

    // The cosigned checkpoint beside the files is what the verifier asks for.
    const verify = ['ledger', 'verify', join(room, 'log'), '--key', box.text, '--witness', witness.text];
    expect((await kedge(verify)).status).toBe(1);
    writeFileSync(join(room, 'log/checkpoint'), cosigned);
    expect((await kedge(verify)).status).toBe(0);
  });

  it('LE-2 kedge ledger verify passes on what the verifier says and how it ends', async () => {
    const directory = join(room, 'log');
    const { checkpoint } = write(directory, 300);
    const kept = join(room, 'kept');
    writeFileSync(kept, checkpoint);
    const verify = ['ledger', 'verify', directory, '--key', box.text];
    expect(await kedgeJson([...verify, '--kept', kept])).toMatchObject({
      sound: true,
      checkpoint: { origin: box.name, size: 300 },
      records: 300,
      faults: [],
    });
    const bundle = join(directory, 'tile/entries/000');
    const bytes = readFileSync(bundle);
    writeFileSync(bundle, bytes.with(40, (bytes[40] ?? 0) ^ 1));
    const { status, out, err } = await kedge(verify);
    expect(status).toBe(1);
    expect(err).toBe('');
    expect(out).toContain(
      'FILE              ENTRIES  WHAT\ntile/entries/000        0  is not what the checkpoint',
    );
    expect(out.endsWith('\nNOT SOUND: 1 fault\n')).toBe(true);
    rmSync(directory, { recursive: true });
    write(directory, 200);
    expect((await kedge([...verify, '--kept', kept])).out).toContain(
      'the log was put back [older-than-kept]',
    );
    expect((await kedge(['ledger', 'verify', join(room, 'nowhere'), '--key', box.text])).status).toBe(4);
    expect((await kedge(['ledger', 'verify', directory])).status).toBe(2);
    expect((await kedge(['ledger', 'verify', directory, '--key', 'x'])).status).toBe(2);
  });
});
