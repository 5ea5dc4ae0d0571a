/**
 * `kedge intent devices`, `drift`, `plan`, `remedy` and `check` on the command line, and what their help says.
 * It must not do anything itself.
 */
import { type Command, InvalidArgumentError } from 'commander';

import { type Act, examples, EXITS, target, WAYS_HELP } from './command-line.js';
import type { IntentOptions } from './intent.js';
import type { IntentPlanOptions, IntentRemedyOptions } from './intent-devices.js';

const STATES_HELP = `
States:
  accorded     as intended
  drifted      as intended but for the drifts
  applying     a plan is being carried out
  waiting      a plan is there and may not run now; WHY says for what it waits
  refused      the intent cannot be carried out on it: kedge intent devices ID says why
  unreachable  it could not be read; what is known of it is older
  new          not read yet
  retired      the inventory has it so; neither read nor written

REVISION is the one whose intent was carried out on it last, READ when it was read last.`;

const AS_INTENDED_HELP = `
Ends with 0 where every device is as intended, or differs only in what an exception tolerates. Ends with 6 where
anything else differs, and where a device could not be read or is still to be changed: nothing is said of it then.`;

function device(text: string): string {
  if (text.trim() === '' || text.length > 64) throw new InvalidArgumentError('expected the id of a device.');
  return text;
}

function path(text: string): string {
  if (!text.startsWith('/'))
    throw new InvalidArgumentError(
      "expected a data path: /ietf-interfaces:interfaces/interface[name='br0'].",
    );
  return text;
}

/** Adds the commands to `kedge intent`. */
export function intentDevicesCommands(intent: Command, act: Act): void {
  target(intent.command('devices'))
    .description('how each device stands to the intent, as it was read last')
    .argument('[id]', 'one device in full: what is refused, what is not in force', device)
    .addHelpText(
      'after',
      `${STATES_HELP}
${examples('kedge intent devices', 'kedge intent devices access-1', 'kedge intent devices --json')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(
      act((actions, id: string | undefined, options: IntentOptions) => actions.intentDevices(id, options)),
    );
  target(intent.command('drift'))
    .description('what differs between devices and intent; ends with 6 where that is something')
    .argument('[id]', 'only this device', device)
    .addHelpText(
      'after',
      `
Nothing is read for it: it shows what the last reading of each device came to. kedge intent check reads now.
Under each difference stands where it is, and what is intended → what was found; "nothing" is nothing. Causes are
probable ones: unmanaged-change, failed-commit, device-replaced, unknown. What is done about it follows from the
accord in force: it is remedied by itself, it waits for kedge intent remedy, or nothing is done; at the levels 2
and 1 nothing ever is.
${AS_INTENDED_HELP}
${examples('kedge intent drift', 'kedge intent drift access-1', 'kedge intent drift --json | jq \'.drifts[] | select(.severity == "critical")\'')}\n${EXITS}`,
    )
    .action(
      act((actions, id: string | undefined, options: IntentOptions) => actions.intentDrift(id, options)),
    );
  target(intent.command('plan'), { timeoutMs: 60_000 })
    .description('what would be written to a device now; reads it, and writes nothing')
    .argument('<id>', 'the device', device)
    .option('--candidate', 'for the candidate, as if it were committed (default: for what is running)')
    .addHelpText(
      'after',
      `
A line for each step, in their order: "." where work may stop after it and leave the device right, "|" where it may
not; "+" adds, "-" removes, "~" changes. Lines "not in force" name what of the intent has no effect under the rest of
it. With --json the plan is a document of the module kedge-plan, with the way back of each step; without a step it
has no plan in it.

It needs the tier journeyman or above, because a device is read for it. At the levels 2 and 1 no plans are made.
${examples('kedge intent plan access-1', 'kedge intent plan access-1 --candidate', 'kedge intent plan access-1 --candidate --json > plan.json')}\n${EXITS}`,
    )
    .action(act((actions, id: string, options: IntentPlanOptions) => actions.intentPlan(id, options)));
  target(intent.command('remedy'), { timeoutMs: 120_000 })
    .description('bring back to the intent what differs on a device')
    .argument('<id>', 'the device', device)
    .option('--path <path>', 'only what differs there and below', path)
    .option('--principal <name>', 'who asks, for the record (default: "user:" and your login name)')
    .addHelpText(
      'after',
      `
Only what the accord in force lets be remedied is, whether by itself or on request; kedge intent drift says of each
difference which it is, and kedge intent plan what would be written. It goes the way of every change: through the
gate, under the level in force, recorded. It needs what committing needs: journeyman at the levels 5 and 4, master at
3. At the levels 2 and 1 nothing is remedied.

When the answer does not come in time (status 5) it may have been done or not: kedge intent check tells.
${examples('kedge intent remedy access-1', 'kedge intent remedy access-1 --path "/ietf-interfaces:interfaces/interface[name=\'port3\']"')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, id: string, options: IntentRemedyOptions) => actions.intentRemedy(id, options)));
  target(intent.command('check'), { timeoutMs: 60_000 })
    .description('read a device now, or all of them, and compare; ends with 6 where something differs')
    .argument('[id]', 'only this device', device)
    .addHelpText(
      'after',
      `
It shows what kedge intent devices shows, and below it what differs. It needs the tier journeyman or above, because
devices are read for it.
${AS_INTENDED_HELP}
${examples('kedge intent check', 'kedge intent check access-1', 'kedge intent check --timeout 300000 --json')}\n${EXITS}`,
    )
    .action(
      act((actions, id: string | undefined, options: IntentOptions) => actions.intentCheck(id, options)),
    );
}
