/**
 * The commands of a witness: make a key, serve.
 * It must not do anything itself.
 */
import { type Command, InvalidArgumentError } from 'commander';

import { examples, EXITS } from './command-line.js';
import type { WitnessServeOptions } from './witness.js';

/** An address and a port to listen at. */
function listener(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535)
    throw new InvalidArgumentError('expected an address and a port: 127.0.0.1:7645, [::1]:7645.');
  return { host, port: Number(port) };
}

const gathered = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

/** Adds the commands to the program. `finish` is told the exit status. */
export function witnessCommands(program: Command, finish: (status: number) => void): void {
  const witness = program
    .command('witness')
    .description('cosign ledgers of others, and find those that were put back or have forked');
  witness
    .command('key')
    .description('make the key of a witness in a new file, and print what others have to know of it')
    .argument('<file>', 'where to keep it, mode 0600; an existing file is never replaced')
    .requiredOption('--name <name>', 'its name, as in a URL without scheme: witness.example/w1')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
Prints the verifier key, NAME+ID+KEY. Whoever checks cosignatures is configured with it; the file stays here.
${examples('kedge witness key /var/lib/witness/key --name witness.example/w1')}\n${EXITS}`,
    )
    .action(async (file: string, options: { readonly name: string; readonly json?: boolean }) => {
      finish((await import('./witness.js')).witnessKey(file, options));
    });
  witness
    .command('serve')
    .description('answer ledgers that ask for a cosignature, until Ctrl-C')
    .requiredOption('--directory <dir>', 'where it keeps what it has seen; made where it is missing')
    .requiredOption('--key <file>', 'its key, as "kedge witness key" has made it')
    .requiredOption('--log <key>', 'the verifier key of a ledger that may ask; once for each', gathered)
    .option('--listen <host:port>', 'where to listen', listener, { host: '127.0.0.1', port: 7645 })
    .option('--tls-cert <file>', 'certificate chain, PEM: serve HTTPS')
    .option('--tls-key <file>', 'its private key, PEM')
    .option('--json', 'one JSON object a line instead of text')
    .addHelpText(
      'after',
      `
A witness remembers the newest checkpoint of each ledger, and cosigns another one only with a proof that the ledger
has only grown (C2SP tlog-witness: POST /add-checkpoint, GET /ORIGINHASH/checkpoint). A checkpoint is on stable storage
before its cosignature is given, so that no crash makes it forget what it has signed.

When a ledger was put back to an older state, or shows another history than before, it is refused, a line is printed
on stderr, and both checkpoints are kept in evidence/ under the directory:
  fork      two histories of one size; the box has signed both
  older     fewer entries than were seen before: put back, or an old checkpoint that somebody has sent again
  unproven  larger, without a proof that it has grown out of what was seen

Run it on another machine than the ledgers. It listens on the loopback unless --listen says otherwise; requests carry
their own signatures, so that TLS only hides which ledgers there are. One process at a time uses a directory. Without
the directory a witness knows nothing: do not put an older copy of it back.
${examples('kedge witness serve --directory /var/lib/witness --key /var/lib/witness/key --log "$(cat box-7.key)"', 'kedge witness serve --directory w --key w.key --log "$A" --log "$B" --listen 0.0.0.0:7645 --tls-cert w.crt --tls-key w.pem')}\n${EXITS}`,
    )
    .action(async (options: WitnessServeOptions) => {
      finish(await (await import('./witness.js')).witnessServe(options));
    });
}
