/**
 * The commands that look an appliance over: doctor and support bundle.
 * It must not do anything itself.
 */
import type { Command } from 'commander';

import type { BundleOptions, CommandOptions } from './actions.js';
import { type Act, examples, EXITS, target, WAYS_HELP } from './command-line.js';

/** Adds the commands to the program. */
export function examinationCommands(program: Command, act: Act): void {
  target(program.command('doctor'))
    .description('what is late, stale, disagreeing or missing, what it means, and what to do')
    .addHelpText(
      'after',
      `
Looks at the coordinator, the bridge and every other service that can be asked; at the board with its
heartbeats, acknowledgements, fail-closed lines and the warden's own list of violations (also those that set no
line); at the decision journal, the accords, disk space and real-time priority. Nothing is changed.

Each finding has a severity:
  failure  the posture is not enforced as decided, or cannot be relied on
  warning  it holds, but something is degraded or somebody should look
  notice   worth knowing; does not count against the exit status

Some of it only root can see; what could not be looked at is a notice of its own. docs/cli.md lists every finding.
${examples('kedge doctor', 'kedge doctor --json', 'kedge doctor --lab other')}\n${WAYS_HELP}\n${EXITS}

Ends with 0 when there is no failure and no warning, with 6 when there is one, whatever could be reached.`,
    )
    .action(act((actions, options: CommandOptions) => actions.doctorRun(options)));

  const support = program.command('support').description('what somebody needs who is to help');
  target(support.command('bundle'))
    .description('one archive for whoever is to help: state, history, logs, findings; never a secret')
    .option('--output <file>', 'where to write it (default: kedge-support-DATE.tar.gz, here)')
    .addHelpText(
      'after',
      `
The archive holds versions, configuration, the board, the last transitions, the ends of all logs, what
kedge doctor found, and facts about the kernel. manifest.json names each file with its size and SHA-256, and
what could not be had. It is at most 16 MiB before compression, and mode 0600.

Secrets are left out: values under names that say so (password, token, key, …), whatever looks like a key or a
token, and every place where one of those values appears again. Of the services' environments only names are
kept. Look it through all the same before you hand it on: names, addresses and reasons are in it.
${examples('kedge support bundle', 'kedge support bundle --output /tmp/site-7.tar.gz', 'kedge support bundle --json')}\n${EXITS}`,
    )
    .action(act((actions, options: BundleOptions) => actions.supportBundleRun(options)));
}
