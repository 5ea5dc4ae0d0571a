/**
 * The commands for accords: check files, bring them into force.
 * It must not do anything itself.
 */
import type { Command } from 'commander';

import type { CommandOptions, ReloadOptions } from './actions.js';
import { type Act, examples, EXITS, reason, target, WAYS_HELP } from './command-line.js';

/** Adds the commands to the program. */
export function accordsCommands(program: Command, act: Act): void {
  const accords = program
    .command('accords')
    .description('what each level allows: check it, bring it into force');
  target(accords.command('reload'))
    .description('bring the accords and zones that the coordinator is configured with into force')
    .requiredOption('--reason <text>', 'why, for the record, 1 to 512 characters', reason)
    .option('--principal <name>', 'who asks, for the record (default: "user:" and your login name)')
    .option(
      '--idempotency-key <key>',
      'the same key within 24 hours is the same request (default: a fresh one)',
    )
    .addHelpText(
      'after',
      `
Other accords come into force by a transition from the level in force to itself. Where they permit nothing
more at any level it is a tightening: everybody with a way in may ask for it, and it begins at the data plane.
Otherwise it is a loosening, ends at the data plane, and needs the tier of the level in force and of every
level that it loosens. What cannot be told is a loosening. Files that are not valid are refused by path and
reason, and what was in force stays; accords that are in force already change nothing.
${examples('kedge accords reload --reason "guests may print"', 'kedge accords reload --reason "no more printing" --json')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, options: ReloadOptions) => actions.accordsReload(options)));
  accords
    .command('check')
    .description('whether two files would be taken; asks no appliance and changes nothing')
    .argument('<accords>', 'accords, RFC 7951 JSON of yang/kedge-accords.yang')
    .argument('<zones>', 'zones and allowlist, RFC 7951 JSON of yang/kedge-zones.yang')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `${examples('kedge accords check accords.json zones.json', 'kedge accords check accords.json zones.json --json')}\n\nEnds with 6 when they would be refused; every fault is named by its path.\n${EXITS}`,
    )
    .action(
      act((actions, accordsFile: string, zonesFile: string, options: Pick<CommandOptions, 'json'>) =>
        actions.accordsCheck(accordsFile, zonesFile, options),
      ),
    );
}
