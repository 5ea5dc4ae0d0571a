/**
 * The feed of the quartermaster that is shipped, against rsyslog over TLS: killed, away, behind, and started again.
 * Must not leave a process or a file.
 */
import { certificatesIn } from '@kedge/lab';
import { canonicalJson, pseudonymised } from '@kedge/ledger';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer as createPlainServer } from 'node:net';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { batchOf, CALL, recordOf, spoolOf, Stage, transit, until } from './stage.js';

let stage: Stage;
let port: number;
beforeEach(async () => {
  stage = new Stage();
  certificatesIn(stage.root);
  const server = createPlainServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
  server.close();
  await once(server, 'close');
});
afterEach(async () => {
  await stage.remove();
});

const out = (): string => join(stage.root, 'received');
const at = (name: string): string => join(stage.root, name);

const feed = (over: object = {}) => ({
  ...{
    name: 'siem',
    host: '127.0.0.1',
    port,
    serverName: 'receiver.example',
    authorities: at('authority.pem'),
  },
  identity: { certificate: at('sender.pem'), key: at('sender.key') },
  ...{ enterpriseNumber: 32_473, settleMs: 300 },
  ...over,
});

/** The index and the record of every whole message that was received, in their order. */
function received(): { readonly index: number; readonly record: unknown }[] {
  if (!existsSync(out())) return [];
  return readFileSync(out(), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [data = '', text = ''] = line.split('\t');
      return { index: Number(/ index="(\d+)"/.exec(data)?.[1]), record: JSON.parse(text) as unknown };
    });
}

/** A receiver that has written what it has read before it reads on. */
function rsyslog(): ChildProcess {
  const quoted = (name: string): string => JSON.stringify(at(name));
  writeFileSync(
    at('rsyslog.conf'),
    `global(workDirectory=${quoted('')} maxMessageSize="64k" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile=${quoted('authority.pem')} defaultNetstreamDriverCertFile=${quoted('receiver.pem')}
  defaultNetstreamDriverKeyFile=${quoted('receiver.key')})
main_queue(queue.type="Direct")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name"
  permittedPeer=["sender.example"])
template(name="fields" type="string" string="%structured-data%\\t%msg%\\n")
input(type="imtcp" port="${port}" address="127.0.0.1")
action(type="omfile" file=${JSON.stringify(out())} template="fields")
`,
  );
  const child = spawn('/usr/sbin/rsyslogd', ['-n', '-f', at('rsyslog.conf'), '-i', at('rsyslog.pid')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  stage.atEnd(() => stage.end(child, 'SIGKILL'));
  return child;
}

let delivered = 0;
async function deliver(count: number, reason?: string): Promise<void> {
  for (const end = delivered + count; delivered < end;) {
    const numbers = Array.from(
      { length: Math.min(250, end - delivered) },
      (_, place) => delivered + 1 + place,
    );
    await stage.deliver('overlay', [
      batchOf(
        spoolOf(1),
        BigInt(delivered + 1),
        numbers.map(reason === undefined ? recordOf : (number) => transit(number, { reason })),
      ),
    ]);
    delivered += numbers.length;
  }
}
beforeEach(() => {
  delivered = 0;
});

const alarms = async (): Promise<string> => (await stage.ledger().status({}, CALL)).alarms.join('\n');
const cursor = (): number =>
  (JSON.parse(readFileSync(join(stage.directory, 'feed-siem.json'), 'utf8')) as { next: number }).next;

/** Everything arrived; in order but for what was sent again, and nothing else. */
function expectAll(count: number): void {
  const indices = received().map(({ index }) => index);
  const firsts = indices.filter((index, place) => indices.indexOf(index) === place);
  expect(firsts).toEqual(Array.from({ length: count }, (_, index) => index));
}

describe('the feed of the quartermaster', { timeout: 180_000 }, () => {
  it('LE-9 every record reaches rsyslog at least once, whoever of both is killed, and a quiet start repeats nothing', async () => {
    const feeds = [feed()];
    const receiver = rsyslog();
    const first = await stage.serve({ feeds: [feed({ settleMs: 20_000 })] });
    await deliver(1_000);
    await until('some were received', () => received().length > 200);
    // Killed with something that has reached its system, and that it has not read.
    receiver.kill('SIGSTOP');
    await deliver(1_000);
    await until(
      'more was sent than was read',
      async () =>
        (await stage.metric('kedge_ledger_feed_messages_total{feed="siem"}')) > received().length + 200,
    );
    // Wholly gone: the next one does not start beside the pid of the first.
    await stage.end(receiver, 'SIGKILL');
    rsyslog();
    await until('more were received', () => received().length > 1_200);
    await stage.end(first.child, 'SIGKILL');
    const second = await stage.serve({ feeds });
    await deliver(500);
    await until('all were received', () => cursor() === 2_500, second.output);
    expectAll(2_500);
    const before = received().length;
    second.child.kill('SIGTERM');
    expect(await once(second.child, 'exit')).toEqual([0, null]);
    await stage.serve({ feeds });
    await deliver(1);
    await until('one more was received', () => cursor() === 2_501);
    expect(
      received()
        .slice(before)
        .map(({ index }) => index),
    ).toEqual([2_500]);
    // People leave the box as pseudonyms; nothing else of a record is changed.
    const { entry } = await stage.ledger().prove({ index: 41n }, CALL);
    const told = received().find(({ index }) => index === 41);
    expect(canonicalJson(told?.record)).toBe(canonicalJson(pseudonymised(entry)));
    expect(readFileSync(out(), 'utf8')).not.toContain('user:peer');
  });

  it('LE-9 says that its receiver is gone, takes records all the same, and catches up when it is there', async () => {
    await stage.serve({ feeds: [feed({ people: 'names' })] });
    await deliver(300);
    await until('the alarm', async () =>
      /the receiver of feed siem is gone: ECONNREFUSED/.test(await alarms()),
    );
    // More than may wait in memory for a receiver.
    await deliver(6_000, 'x'.repeat(500));
    expect(await stage.metric('kedge_ledger_feed_lag{feed="siem"}')).toBe(6_300);
    expect(await stage.metric('kedge_ledger_feed_connected{feed="siem"}')).toBe(0);
    rsyslog();
    await until(
      'all were received',
      () => existsSync(join(stage.directory, 'feed-siem.json')) && cursor() === 6_300,
    );
    expectAll(6_300);
    expect(await alarms()).toBe('');
    expect(await stage.metric('kedge_ledger_feed_lag{feed="siem"}')).toBe(0);
    expect(received().some(({ record }) => JSON.stringify(record).includes('user:peer-3'))).toBe(true);
  });

  it('LE-9 a receiver that does not read holds up neither the ledger nor its memory, and is said to be behind', async () => {
    const sockets: TLSSocket[] = [];
    const keys = { cert: readFileSync(at('receiver.pem')), key: readFileSync(at('receiver.key')) };
    const server = createServer(keys, (socket) => {
      socket.pause().on('error', () => undefined);
      sockets.push(socket);
    }).listen(port, '127.0.0.1');
    stage.atEnd(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { child } = await stage.serve({ feeds: [feed({ behindMs: 1_000, settleMs: 60_000 })] });
    await deliver(8_000, 'x'.repeat(500));
    await until('the alarm', async () => /feed siem is behind: \d+ entries wait/.test(await alarms()));
    const memory = (): number =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1_024;
    const before = memory();
    await deliver(4_000, 'x'.repeat(500));
    expect((await stage.ledger().status({}, CALL)).size).toBe(12_000n);
    expect(memory() - before).toBeLessThan(64);
    expect(existsSync(join(stage.directory, 'feed-siem.json')) && cursor()).toBe(0);
  });

  it('LE-9 sends everything again where its place is of another history', async () => {
    rsyslog();
    const feeds = [feed()];
    const { child } = await stage.serve({ feeds });
    await deliver(50);
    await until(
      'all were received',
      () => existsSync(join(stage.directory, 'feed-siem.json')) && cursor() === 50,
    );
    child.kill('SIGTERM');
    await once(child, 'exit');
    const file = join(stage.directory, 'feed-siem.json');
    for (const wrong of [
      { next: 999 },
      { leaf: '0'.repeat(64) },
      { origin: 'another.example/log' },
      { odd: 1 },
    ]) {
      const kept = readFileSync(file, 'utf8');
      writeFileSync(file, JSON.stringify({ ...(JSON.parse(kept) as object), ...wrong }));
      const before = received().length;
      const again = await stage.serve({ feeds });
      await until('all were received again', () => received().length === before + 50, again.output);
      await until('it is kept', () => readFileSync(file, 'utf8') === kept);
      again.child.kill('SIGTERM');
      await once(again.child, 'exit');
    }
  });
});
