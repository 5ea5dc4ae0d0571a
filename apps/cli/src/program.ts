/**
 * The commands of `kedge` and what their help says. Actions are loaded when they run, so that help and errors
 * are quick.
 * It must not do anything itself.
 */
import { type Level, LEVELS } from '@kedge/units';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';

import type {
  CommandOptions,
  DrillCommandOptions,
  LabCommandOptions,
  SetOptions,
  WatchOptions,
} from './actions.js';
import { WAYS_IN } from './ways-in.js';

type Actions = typeof import('./actions.js');

const EXITS = `
Exit status:
  0  done
  1  unexpected
  2  used wrongly: an argument, an option, a field
  3  refused: not allowed, or not valid
  4  not reachable, not up, or not set up
  5  no answer in time
  6  a drill or a check failed
  7  damaged data

With --json every result is one JSON object on stdout and every error
{ "error": { code, message, field?, expected?, help? } } on stderr; 64-bit numbers are strings.
docs/errors.md explains every code.`;

const LEVELS_HELP = `
Levels:
  5 normal       standard flow rules
  4 watch        the same, looked at closely
  3 restricted   what is not essential is marked low priority
  2 emergency    critical flows only
  1 lockdown     only what was approved beforehand`;

const WAYS_HELP = `
The way in (--as) is a socket directory, and the directory is the proof of channel and tier: a request counts
as what its socket stands for, whatever it says. Without --as it is the most trusted local one that you can
reach; the console has to be asked for.`;

function level(text: string): Level {
  const found = LEVELS.find((known) => String(known) === text);
  if (found === undefined)
    throw new InvalidArgumentError('expected a posture level, 1 (lockdown) to 5 (normal).');
  return found;
}

function whole(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}.`);
    }
    return value;
  };
}

function epoch(text: string): bigint {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('expected an epoch, a whole number.');
  return BigInt(text);
}

function reason(text: string): string {
  if (text.trim() === '' || text.length > 512)
    throw new InvalidArgumentError('expected 1 to 512 characters.');
  return text;
}

/** Options that every command has which talks to an appliance. */
function target(command: Command): Command {
  return command
    .option('--socket <dir>', 'talk to the sockets under DIR (it holds console/ and local/)')
    .option('--lab <name>', 'talk to the lab of this name; without it the lab "lab", when it is up')
    .addOption(new Option('--as <way>', `the way in: ${WAYS_IN.join(', ')}`))
    .option('--timeout <ms>', 'deadline of each call, milliseconds', whole(1, 600_000), 5_000)
    .option('--json', 'one JSON object instead of text');
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

/**
 * The whole command line. `finish` is told the exit status of the action that ran.
 *
 * @throws CommanderError for anything that the command line itself gets wrong, and for --help
 */
export function programOf(finish: (status: number) => void): Command {
  const program = new Command('kedge');
  const act =
    <Rest extends unknown[]>(run: (actions: Actions, ...rest: Rest) => Promise<number>) =>
    async (...rest: Rest): Promise<void> => {
      finish(await run(await import('./actions.js'), ...rest));
    };
  program
    .description('Ask an appliance for postures, watch its transitions, run the lab and the drill.')
    .version('0.1.0', '-V, --version', 'the version')
    .helpOption('-h, --help', 'what a command does, with examples')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .addHelpText(
      'after',
      `${examples('kedge posture get', 'kedge posture set 2 --reason "strange traffic from guests"', 'kedge transition show', 'kedge lab up && kedge drill && kedge lab down')}\n${LEVELS_HELP}\n${EXITS}`,
    );

  const posture = program.command('posture').description('read, change and follow the posture');
  target(posture.command('get'))
    .description('the posture in force, what is under way, services and alarms')
    .addHelpText(
      'after',
      `${examples('kedge posture get', 'kedge posture get --json')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, options: CommandOptions) => actions.postureGet(options)));
  target(posture.command('set'))
    .description('ask for a level; answered when the decision is durable')
    .argument('<level>', 'the level asked for, 1 to 5', level)
    .requiredOption('--reason <text>', 'why, for the record, 1 to 512 characters', reason)
    .option('--principal <name>', 'who asks, for the record (default: "user:" and your login name)')
    .option(
      '--idempotency-key <key>',
      'the same key within 24 hours is the same request (default: a fresh one)',
    )
    .option('--if-epoch <epoch>', 'refuse unless this epoch is in force', epoch)
    .option('--wait', 'wait until the transition has ended and show it against its budgets')
    .addHelpText(
      'after',
      `${LEVELS_HELP}

Tightening (a lower number) is open to everybody with a way in; packets obey it before the answer comes.
Loosening needs the tier that the accord of the level names, and level 1 is left by the console only.
${examples('kedge posture set 2 --reason "guests scan the servers"', 'kedge posture set 5 --reason "all clear" --wait', 'kedge posture set 2 --as console --reason "lockdown ends"')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, to: Level, options: SetOptions) => actions.postureSet(to, options)));
  target(posture.command('watch'))
    .description('the present state, then every change, one line each, until Ctrl-C')
    .option('--count <n>', 'end after so many states', whole(1, 1_000_000))
    .addHelpText(
      'after',
      `${examples('kedge posture watch', 'kedge posture watch --json --count 1')}\n\nWith --json every state is one object on a line of its own.\n${EXITS}`,
    )
    .action(act((actions, options: WatchOptions) => actions.postureWatch(options)));
  target(posture.command('history'))
    .description('transitions, newest first')
    .option('--limit <n>', 'at most so many', whole(1, 1000), 20)
    .option('--before <epoch>', 'only those with a smaller epoch', epoch)
    .addHelpText(
      'after',
      `${examples('kedge posture history --limit 5', 'kedge posture history --before 100 --json')}\n${EXITS}`,
    )
    .action(
      act((actions, options: CommandOptions & { limit: number; before?: bigint }) =>
        actions.postureHistory(options),
      ),
    );
  target(posture.command('plan'))
    .description('what a change would cut or restore, by the traffic seen lately; changes nothing')
    .argument('<level>', 'the level to compare with, 1 to 5', level)
    .option('--window <seconds>', 'the traffic of the last so many seconds', whole(1, 3600), 300)
    .addHelpText(
      'after',
      `${examples('kedge posture plan 2', 'kedge posture plan 1 --window 60 --json')}\n${EXITS}`,
    )
    .action(
      act((actions, to: Level, options: CommandOptions & { window: number }) =>
        actions.posturePlan(to, options),
      ),
    );

  const transition = program.command('transition').description('how transitions went');
  target(transition.command('show'))
    .description('one transition on a line of time against its budgets')
    .argument('[epoch]', 'its epoch; the newest without one', epoch)
    .addHelpText(
      'after',
      `
Times count from the decision. The bar is logarithmic: its left end is one microsecond, | is the end of a
budget, ! a mark that came after it.
${examples('kedge transition show', 'kedge transition show 17 --json')}\n${EXITS}`,
    )
    .action(
      act((actions, which: bigint | undefined, options: CommandOptions) =>
        actions.transitionShow(which, options),
      ),
    );

  const governance = program.command('governance').description('what the data plane works with');
  target(governance.command('show'))
    .description('tables of all levels, data planes, workers, counters')
    .addHelpText('after', `${examples('kedge governance show', 'kedge governance show --json')}\n${EXITS}`)
    .action(act((actions, options: CommandOptions) => actions.governanceShow(options)));

  program
    .command('drill')
    .description('escalate and de-escalate through all levels under live traffic, judged where it arrives')
    .option('--lab <name>', 'the lab to drill', 'lab')
    .option('--chaos', 'kill and stop every service at every step of a tightening and a loosening as well')
    .option('--short-budgets', 'with --chaos: drill a lab of its own with short budgets, which is quicker')
    .option('--only <text>', 'with --chaos: only the acts whose name contains this')
    .option('--dwell <ms>', 'how long each level is held', whole(200, 60_000), 500)
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
The drill goes 5 4 3 2 1 2 3 4 5 and 5 1 5. Level 1 is left by the console. At every level each class of
traffic is compared with a fixed table, and no packet may arrive that was sent after the last worker had
acknowledged a level that drops it. The lab ends at level 5. The report is printed, and stored in the
appliance's state directory, drills/.

With --chaos every service is killed and stopped (SIGKILL, SIGSTOP) once at every step of a tightening and of
a loosening, the bridge is away, and the warden is stopped and killed. The last of these ends the lab; with
--short-budgets a lab of its own is brought up for it.
${examples('kedge lab up && kedge drill && kedge lab down', 'kedge drill --json', 'kedge drill --chaos --short-budgets')}\n${EXITS}`,
    )
    .action(act((actions, options: DrillCommandOptions) => actions.drillRun(options)));

  const lab = program.command('lab').description('one appliance on this machine, in namespaces of its own');
  lab
    .command('up')
    .description('bring the lab up and wait until all of it works')
    .option('--foreground', 'stay, show what gets through, and end the lab with Ctrl-C')
    .option('--name <name>', 'its name, so that several can run', 'lab')
    .option('--short-budgets', 'short budgets, as the chaos drill uses them')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
Five zones in network namespaces, joined by the reference data plane, and four classes of traffic between
them. Needs root. Everything lives in private namespaces under one init, and ends with it.
${examples('kedge lab up', 'kedge lab up --foreground', 'kedge lab up --name other')}\n${EXITS}`,
    )
    .action(act((actions, options: LabCommandOptions) => actions.labUpRun(options)));
  lab
    .command('down')
    .description('end the lab and everything in it')
    .option('--name <name>', 'its name', 'lab')
    .option('--json', 'one JSON object instead of text')
    .addHelpText('after', `${examples('kedge lab down')}\n${EXITS}`)
    .action(act((actions, options: LabCommandOptions) => actions.labDownRun(options)));
  lab
    .command('status')
    .description('whether the lab is up, what runs in it, and where to look')
    .option('--name <name>', 'its name', 'lab')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `${examples('kedge lab status', 'kedge lab status --json')}\n\nEnds with 4 when the lab is not up.\n${EXITS}`,
    )
    .action(act((actions, options: LabCommandOptions) => actions.labStatusRun(options)));

  // Sub-commands inherit these only when they are set on each of them.
  const everywhere = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => undefined });
    for (const child of command.commands) everywhere(child);
  };
  everywhere(program);
  return program;
}

export { CommanderError };
