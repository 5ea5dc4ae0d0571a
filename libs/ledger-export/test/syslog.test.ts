/**
 * The sender against rsyslog over TLS, and against a receiver that is slow, gone, or somebody else.
 */
import { certificatesIn } from '@kedge/lab';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer as createPlainServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { exportedOf, syslogMessage, SyslogSender, type SyslogSenderOptions } from '../src/index.js';
import { ENTRIES, keyBy, RECORDS } from './records.js';

let scratch: string;
let pem: (file: string) => string;
const senders: SyslogSender[] = [];
const children: ChildProcess[] = [];
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'kedge-syslog-'));
  pem = certificatesIn(scratch);
});
afterEach(async () => {
  await Promise.all(senders.splice(0).map((sender) => sender.close()));
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'close');
  }
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const code = (name: string): unknown => expect.objectContaining({ code: name });
const message = (at: number): string =>
  syslogMessage(exportedOf(at, ENTRIES[at] ?? Buffer.of(), { keyBy }), { enterpriseNumber: 32_473 });

function sender(port: number, more: Partial<SyslogSenderOptions> = {}): SyslogSender {
  const made = new SyslogSender({
    host: '127.0.0.1',
    port,
    name: 'receiver.example',
    authorities: pem('authority.pem'),
    identity: { certificate: pem('sender.pem'), key: pem('sender.key') },
    retryMs: 50,
    ...more,
  });
  senders.push(made);
  return made;
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let waited = 0; !isSo(); waited += 20) {
    if (waited > 20_000) throw new Error(`it never was so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function freePort(): Promise<number> {
  const server = createPlainServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('the sender and rsyslog', () => {
  const out = (): string => join(scratch, 'received');
  const received = (): string[][] =>
    existsSync(out())
      ? readFileSync(out(), 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line) => line.split('\t'))
      : [];

  async function receiver(port: number): Promise<ChildProcess> {
    const at = (name: string): string => JSON.stringify(join(scratch, name));
    const properties = ['pri', 'hostname', 'app-name', 'msgid', 'structured-data', 'msg', 'rawmsg'];
    const template = properties.map((name) => `%${name}%`).join('\\t');
    writeFileSync(
      join(scratch, 'rsyslog.conf'),
      `global(workDirectory=${JSON.stringify(scratch)} maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile=${at('authority.pem')} defaultNetstreamDriverCertFile=${at('receiver.pem')}
  defaultNetstreamDriverKeyFile=${at('receiver.key')})
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name"
  permittedPeer=["sender.example"])
template(name="fields" type="string" string="${template}\\n")
input(type="imtcp" port="${port}" address="127.0.0.1")
action(type="omfile" file=${JSON.stringify(out())} template="fields")
`,
    );
    const conf = ['-n', '-f', join(scratch, 'rsyslog.conf'), '-i', join(scratch, 'rsyslog.pid')];
    const child = spawn('/usr/sbin/rsyslogd', conf, { stdio: ['ignore', 'ignore', 'inherit'] });
    children.push(child);
    return child;
  }

  it('LE-9 every kind arrives whole, is understood, and what waited for a receiver that was away follows', async () => {
    const port = await freePort();
    const first = await receiver(port);
    const to = sender(port);
    await Promise.all(RECORDS.slice(0, 6).map((_, at) => to.send(message(at))));
    await until('six received', () => received().length === 6);
    first.kill('SIGTERM');
    await once(first, 'close');
    await until('the loss seen', () => !to.status.connected);
    const later = RECORDS.slice(6).map((_, at) => to.send(message(6 + at)));
    expect(to.status).toMatchObject({ connected: false, sent: 6, pending: 3 });
    await receiver(port);
    await Promise.all(later);
    await until('all received', () => received().length === RECORDS.length);
    for (const [at, line] of received().entries()) {
      const [priority, host, app, id, data = '', text = '', raw] = line;
      const sent = message(at);
      expect(raw).toBe(sent);
      expect([host, app]).toEqual(['box-7', 'kedge']);
      expect(sent.startsWith(`<${priority}>1 `)).toBe(true);
      expect(RECORDS[at]?.schema).toBe(`kedge.${id}/1`);
      expect(data).toMatch(/^\[kedge@32473 .*\]$/);
      expect(JSON.parse(text)).toEqual(RECORDS[at]);
    }
    expect(to.status).toMatchObject({ connected: true, sent: 9, pending: 0, pendingBytes: 0 });
  });

  it.each([
    ['an authority that is not trusted', { authorities: 'stranger.pem' }, /SELF_SIGNED|VERIFY|ISSUER/],
    ['another name', { name: 'other.example' }, /ERR_TLS_CERT_ALTNAME_INVALID/],
    ['the address for a name', { name: '127.0.0.1' }, /ERR_TLS_CERT_ALTNAME_INVALID/],
  ])(
    'LE-9 sends nothing to a receiver that proves itself by %s',
    async (_, { authorities, ...more }: { authorities?: string; name?: string }, reason) => {
      const said: Buffer[] = [];
      const server = createServer({ cert: pem('receiver.pem'), key: pem('receiver.key') }, (socket) => {
        socket.on('data', (chunk: Buffer) => said.push(chunk)).on('error', () => undefined);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const to = sender(port, {
        ...more,
        ...(authorities === undefined ? {} : { authorities: pem(authorities) }),
      });
      const lost = expect(to.send(message(0))).rejects.toEqual(code('EXPORT_CLOSED'));
      await until('refused', () => to.status.reason !== '');
      expect(to.status.reason).toMatch(reason);
      expect(to.status).toMatchObject({ connected: false, sent: 0, pending: 1 });
      await to.close();
      await lost;
      expect(Buffer.concat(said).toString()).toBe('');
      server.close();
    },
  );
});

describe('a receiver that does not read', () => {
  it('LE-9 holds the sender up within its bound, and gets everything in order once it reads', async () => {
    const sockets: TLSSocket[] = [];
    const server = createServer({ cert: pem('receiver.pem'), key: pem('receiver.key') }, (socket) => {
      socket.pause();
      sockets.push(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const pendingBytes = 2_000_000;
    const to = sender(port, { pendingBytes });
    await until('connected', () => sockets.length === 1);
    const sent: Promise<void>[] = [];
    let refused: unknown;
    let count = 0;
    // The system's own buffers take some megabytes before nothing goes on.
    while (refused === undefined && count < 100_000) {
      const next = to.send(`${String(count).padStart(6, '0')} ${'x'.repeat(4_000)}`);
      count += 1;
      next.catch((error: unknown) => {
        refused = error;
        count -= 1;
      });
      sent.push(next);
      await new Promise(setImmediate);
      expect(to.status.pendingBytes).toBeLessThanOrEqual(pendingBytes);
    }
    expect(refused).toEqual(code('EXPORT_FULL'));
    let text = '';
    sockets[0]?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    sockets[0]?.resume();
    await Promise.allSettled(sent);
    await until('everything read', () => (text.match(/\d{6} x/g) ?? []).length === count);
    const numbers = [...text.matchAll(/4007 (\d{6}) x/g)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: count }, (__, number) => number));
    await to.close();
    await expect(to.send('x')).rejects.toEqual(code('EXPORT_CLOSED'));
    for (const socket of sockets) socket.destroy();
    server.close();
  });
});
