/**
 * Conversations with names on the loopback interface: both halves against each other, and each against peers that
 * are not ours.
 * Must not use a port that another run could have.
 */
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';

import { type Answering, answerNames, type AnsweringOptions, askForNames, pauseAfter } from './names.js';

const HOSTS = ['one.kedge.example', 'two.kedge.example'];
let identity: Pick<AnsweringOptions, 'certificate' | 'key'>;
let running: { close(): Promise<void> }[] = [];

beforeAll(() => {
  const directory = mkdtempSync(join(tmpdir(), 'kedge-names-'));
  try {
    const [certificate, key] = [join(directory, 'certificate.pem'), join(directory, 'key.pem')];
    const names = HOSTS.map((host) => `DNS:${host}`).join(',');
    const parameters = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    execFileSync(
      'openssl',
      [
        ...[...parameters, '-days', '2', '-subj', '/CN=a test', '-addext', `subjectAltName=${names}`],
        ...['-keyout', key, '-out', certificate],
      ],
      { stdio: 'ignore' },
    );
    identity = { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(directory, { recursive: true });
  }
});
afterEach(async () => {
  for (const each of running) await each.close();
  running = [];
});

async function answering(over: Partial<AnsweringOptions> = {}): Promise<Answering> {
  const options = { address: '::', dnsPort: 0, tlsPort: 0, hosts: HOSTS, ip4: '127.0.0.1', ip6: '::1' };
  const started = await answerNames({ ...options, ...identity, ...over });
  running.push(started);
  return started;
}

/** Asks until so many conversations were told of; how each of them went. */
async function asking(
  { dnsPort, tlsPort }: { readonly dnsPort: number; readonly tlsPort: number },
  count: number,
): Promise<readonly string[]> {
  const ending = new AbortController();
  const seen: string[] = [];
  const resolvers = [
    { family: 4, address: '127.0.0.1', port: dnsPort },
    { family: 6, address: '::1', port: dnsPort },
  ] as const;
  const told = (host: string, failure: unknown): void => {
    seen.push(`${host} ${failure === undefined ? 'answers' : 'fails'}`);
    if (seen.length === count) ending.abort();
  };
  await askForNames(
    { resolvers, tlsPort, hosts: HOSTS, certificate: identity.certificate, told },
    ending.signal,
  );
  return seen;
}

describe('conversations with names', () => {
  it('ask for every host in turn, by both families, and speak with the one that was meant', async () => {
    const seen = await asking(await answering(), 4);
    expect(seen).toEqual([...HOSTS, ...HOSTS].map((host) => `${host} answers`));
  });

  it('believe nobody with the certificate of somebody else', async () => {
    const { dnsPort, tlsPort } = await answering();
    const other = { ...identity };
    try {
      const made = execFileSync(
        'openssl',
        [
          ...[
            'req',
            '-x509',
            '-newkey',
            'ec',
            '-pkeyopt',
            'ec_paramgen_curve:P-256',
            '-nodes',
            '-keyout',
            '-',
          ],
          ...['-days', '2', '-subj', '/CN=other', '-addext', `subjectAltName=DNS:${HOSTS[0] ?? ''}`],
        ],
        { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' },
      );
      identity = { ...identity, certificate: made.slice(made.indexOf('-----BEGIN CERTIFICATE')) };
      expect(await asking({ dnsPort, tlsPort }, 1)).toEqual([`${HOSTS[0] ?? ''} fails`]);
    } finally {
      identity = other;
    }
  });

  it('go on after nobody answered, when somebody does', async () => {
    const gone = await answering();
    const { dnsPort, tlsPort } = gone;
    await gone.close();
    running = [];
    const seen = asking({ dnsPort, tlsPort }, 2);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await answering({ dnsPort, tlsPort });
    const [first, second] = await seen;
    expect(first).toBe(`${HOSTS[0] ?? ''} fails`);
    expect(second).toBe(`${HOSTS[1] ?? ''} answers`);
  });

  it('wait longer after each that failed, up to five seconds', () => {
    expect([0, 1, 2, 3, 4, 1_000_000].map(pauseAfter)).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  });
});

describe('the one who answers', () => {
  it('answers a resolver for its hosts, and knows no other name', async () => {
    const { dnsPort } = await answering();
    const resolver = new Resolver({ timeout: 2_000, tries: 1 });
    resolver.setServers([`127.0.0.1:${dnsPort}`]);
    const host = HOSTS[0] ?? '';
    expect(await resolver.resolve4(host)).toEqual(['127.0.0.1']);
    expect(await resolver.resolve6(host.toUpperCase())).toEqual(['::1']);
    await expect(resolver.resolveTxt(host)).rejects.toMatchObject({ code: 'ENODATA' });
    await expect(resolver.resolve4('three.kedge.example')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('outlives datagrams and connections that are nothing, and ends those that stay', async () => {
    const { dnsPort, tlsPort } = await answering();
    const socket = createSocket('udp4');
    for (const size of [0, 1, 12, 511, 600]) socket.send(Buffer.alloc(size, size), dnsPort, '127.0.0.1');
    const nobody = connectTcp(tlsPort, '127.0.0.1');
    nobody.write('GET / HTTP/1.0\r\n\r\n');
    const silent = connectTcp(tlsPort, '127.0.0.1');
    await Promise.all(
      [nobody, silent].map((each) =>
        once(
          each.on('error', () => undefined),
          'close',
        ),
      ),
    );
    socket.close();
    expect(await asking({ dnsPort, tlsPort }, 1)).toEqual([`${HOSTS[0] ?? ''} answers`]);
  });

  it('speaks also with who says no name', async () => {
    const { tlsPort } = await answering();
    const socket = connect({
      host: '127.0.0.1',
      port: tlsPort,
      ca: identity.certificate,
      checkServerIdentity: () => undefined,
    });
    const [reply] = (await once(socket, 'data')) as [Buffer];
    expect(reply.toString()).toBe('\n');
    socket.destroy();
  });
});
