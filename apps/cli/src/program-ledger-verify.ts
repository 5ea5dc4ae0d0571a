/**
 * The command that verifies a copy of a ledger: what its help says, and the program that it hands over to.
 * It must not look at a ledger itself: whoever verifies runs nothing of the services.
 */
import type { Command } from 'commander';

import { examples } from './command-line.js';
import type { LedgerVerifyOptions } from './ledger-verify.js';

/** The command group that others add to; made where it is missing. */
export function ledgerGroup(program: Command): Command {
  const known = program.commands.find((command) => command.name() === 'ledger');
  return known ?? program.command('ledger').description('what was recorded, and the proofs of it');
}

/** Adds the command to the program. `finish` is told the exit status. */
export function ledgerVerifyCommand(program: Command, finish: (status: number) => void): void {
  ledgerGroup(program)
    .command('verify')
    .description('whether a copy of a ledger is what its box has signed; asks no box')
    .argument('<directory>', 'the copy: checkpoint, tile/')
    .requiredOption('--key <key>', 'the verifier key of the ledger, NAME+ID+KEY')
    .option('--kept <file...>', 'checkpoints of it that were kept elsewhere')
    .option('--witness <key...>', 'keys of witnesses that have to have cosigned')
    .option('--kept-from <entry>', 'entries below it may be gone by retention')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
Checks the checkpoint's signature, every hash of the tree, every entry against its hash, every record for canonical
form, schema, an id of its own, parts that belong together and rightly sampled sessions. Each fault is told with its
file, the entries that it touches, and what it is. Personal fields stay sealed. How far it is stands on stderr.

A whole log that was put back to an older state is whole: that shows against a checkpoint that was kept elsewhere
(--kept) or with a witness. Give both where there are any.

It runs kedge-ledger-verify, a small program that needs nothing but node and can be copied to where the copy is;
docs/ledger-proofs.md does a part of the same with openssl alone.
${examples('kedge ledger verify /mnt/copy --key "$(cat box-7.key)"', 'kedge ledger verify /mnt/copy --key "$KEY" --kept monday.checkpoint --witness "$WITNESS" --json')}

Exit status, other than that of other commands:
  0  sound
  1  tampered with: the findings say where
  2  used wrongly
  4  cannot be read, or not to the end: nothing follows about the ledger`,
    )
    .action(async (directory: string, options: LedgerVerifyOptions) => {
      const { ledgerVerify } = await import('./ledger-verify.js');
      finish(await ledgerVerify(directory, options));
    });
}
