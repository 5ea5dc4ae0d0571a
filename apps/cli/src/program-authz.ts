/**
 * The commands for policies: check a set, explain an answer, run tests, have them read again.
 * It must not do anything itself.
 */
import type { Command } from 'commander';

import type { CommandOptions, ExplainOptions, PolicyReloadOptions } from './actions.js';
import { type Act, examples, EXITS, level, reason, seconds, target, WAYS_HELP } from './command-line.js';

const SETS_HELP = `
POLICIES is the name of a shipped set (default, production, development, admin) or a directory of .cedar files.
docs/authorisation.md tells what policies see, and what is built in.`;

/** Adds the commands to the program. */
export function authzCommands(program: Command, act: Act): void {
  const authz = program.command('authz').description('who may do what: policies, their tests, their answers');
  authz
    .command('check')
    .description('whether a set of policies would be taken; asks no appliance and changes nothing')
    .argument('<policies>', 'a shipped set or a directory')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `${SETS_HELP}\n${examples('kedge authz check /etc/kedge/policies', 'kedge authz check production --json')}\n\nEnds with 6 when it would be refused; every fault is named.\n${EXITS}`,
    )
    .action(
      act((actions, policies: string, options: Pick<CommandOptions, 'json'>) =>
        actions.authzCheck(policies, options),
      ),
    );
  authz
    .command('explain')
    .description('what a set of policies answers, and which policy decided; asks no appliance')
    .option('--policies <policies>', 'a shipped set or a directory', 'default')
    .requiredOption('--as <way>', 'who asks: console, or CHANNEL/TIER as in local/master')
    .requiredOption('--level <n>', 'the level in force', level)
    .option('--to <n>', 'the level asked for', level)
    .option('--action <name>', 'what is asked for; with --to it is posture.set')
    .option('--resource <name>', 'what it is asked of', 'posture')
    .option(
      '--second-factor <s>',
      'seconds since one was proven (default: never; the console: just now)',
      seconds(0, 86_400),
    )
    .option('--address <ip>', 'where the request comes from')
    .option(
      '--time <moment>',
      'when it is asked, as in 2026-03-02T08:00:00Z (default: the clock is in doubt)',
    )
    .option('--break-glass', 'asked under a break-glass session')
    .option('--accords <file>', 'accords that say what loosening needs, with --zones (default: the defaults)')
    .option('--zones <file>', 'the zones that they name')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `${SETS_HELP}\n${examples('kedge authz explain --as local/master --level 4 --to 5', 'kedge authz explain --policies production --as fleet/journeyman --level 5 --action mutation.execute --second-factor 30 --address 10.4.0.9', 'kedge authz explain --as console --level 1 --to 2 --json')}\n\nEnds with 0 whatever the answer is.\n${EXITS}`,
    )
    .action(act((actions, options: ExplainOptions) => actions.authzExplain(options)));
  authz
    .command('test')
    .description('run tests of policies; asks no appliance')
    .argument('<policies>', 'a shipped set or a directory')
    .argument('[files...]', 'files of tests (default: every *.test.json in the directory)')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `${SETS_HELP}\n${examples('kedge authz test /etc/kedge/policies', 'kedge authz test default my.test.json --json')}\n\nEnds with 6 when a test fails.\n${EXITS}`,
    )
    .action(
      act((actions, policies: string, files: string[], options: Pick<CommandOptions, 'json'>) =>
        actions.authzTest(policies, files, options),
      ),
    );
  target(authz.command('reload'), { timeoutMs: 15_000 })
    .description('have the coordinator read its policies again now; refused ones change nothing')
    .requiredOption('--reason <text>', 'why, for the record, 1 to 512 characters', reason)
    .option('--principal <name>', 'who asks, for the record (default: "user:" and your login name)')
    .addHelpText(
      'after',
      `
A directory of policies is watched, so that a change is in force within seconds without this; asking tells at
once whether it is, or why not. Needs the tier that the policies in force name, by default master.
${examples('kedge authz reload --reason "working hours"', 'kedge authz reload --reason "working hours" --json')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, options: PolicyReloadOptions) => actions.authzReload(options)));
}
