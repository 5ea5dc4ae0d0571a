/**
 * The conversations with names of a lab as a program: `answer` in the zone that has the hosts, `ask` in the one whose
 * people want them.
 * It must not be in anybody's way: it yields to everything else that runs.
 */
import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';

import { answerNames, askForNames } from './names.js';
import { IDENTITY, ip4Of, ip6Of, NAMED } from './topology.js';

const NICE = 10;

async function main(role: string | undefined): Promise<void> {
  setPriority(NICE);
  const certificate = readFileSync(IDENTITY.certificate, 'utf8');
  const { hosts, dnsPort, tlsPort, to } = NAMED;
  if (role === 'answer') {
    await answerNames({
      address: '::',
      dnsPort,
      tlsPort,
      hosts,
      ip4: ip4Of(to),
      ip6: ip6Of(to),
      certificate,
      key: readFileSync(IDENTITY.key, 'utf8'),
    });
    return;
  }
  if (role !== 'ask') throw new Error('expected: names-program answer|ask');
  let failing = false;
  const told = (host: string, failure: unknown): void => {
    // What a tighter level does to it is said once, not for every try.
    if (failing === (failure !== undefined)) return;
    failing = failure !== undefined;
    const why = failure instanceof Error ? failure.message : 'answered again';
    process.stderr.write(`names: ${host}: ${why}\n`);
  };
  const resolvers = [
    { family: 4, address: ip4Of(to), port: dnsPort },
    { family: 6, address: ip6Of(to), port: dnsPort },
  ] as const;
  await askForNames({ resolvers, tlsPort, hosts, certificate, told }, new AbortController().signal);
}

await main(process.argv[2]);
