/**
 * The commands of `kedge` and what their help says. Actions are loaded when they run, so that help and errors
 * are quick.
 * It must not do anything itself.
 */
import type { Level } from '@kedge/units';
import { Command, CommanderError } from 'commander';

import type {
  CommandOptions,
  DrillCommandOptions,
  HistoryOptions,
  LabCommandOptions,
  SetOptions,
  WatchOptions,
} from './actions.js';
import {
  type Act,
  collector,
  epoch,
  drillLevel,
  examples,
  EXITS,
  level,
  LEVELS_HELP,
  moment,
  reason,
  source,
  target,
  WAYS_HELP,
  whole,
} from './command-line.js';
import type { FlowsOptions } from './flows.js';
import { accordsCommands } from './program-accords.js';
import { authzCommands } from './program-authz.js';
import { examinationCommands } from './program-examination.js';
import { intentCommands } from './program-intent.js';
import { ledgerCommands } from './program-ledger.js';
import { ledgerVerifyCommand } from './program-ledger-verify.js';
import { metricsCommand } from './program-metrics.js';
import { topCommand } from './program-top.js';
import { witnessCommands } from './program-witness.js';
import { VERSION } from './version.js';

/**
 * The whole command line. `finish` is told the exit status of the action that ran.
 *
 * @throws CommanderError for anything that the command line itself gets wrong, and for --help
 */
export function programOf(finish: (status: number) => void): Command {
  const program = new Command('kedge');
  const act: Act =
    (run) =>
    async (...rest) => {
      finish(await run(await import('./actions.js'), ...rest));
    };
  program
    .description('Ask an appliance for postures, watch its transitions, run the lab and the drill.')
    .version(VERSION, '-V, --version', 'the version')
    .helpOption('-h, --help', 'what a command does, with examples')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .addHelpText(
      'after',
      `${examples('kedge posture get', 'kedge posture set 2 --reason "strange traffic from guests"', 'kedge transition show', 'kedge lab up && kedge drill && kedge lab down')}\n${LEVELS_HELP}\n${EXITS}`,
    );

  const history = (parent: Command, name: string): void => {
    target(parent.command('history'))
      .description('transitions, newest first: when, from where to where, how it ended, by whom and why')
      .option('--since <when>', 'only those decided then or later', moment)
      .option('--level <n>', 'only those that went to this level', level)
      .option('--source <who>', 'only those asked for by this channel or principal, in full', source)
      .option('--limit <n>', 'at most so many', whole(1, 1000), 20)
      .option('--before <epoch>', 'only those with a smaller epoch', epoch)
      .addHelpText(
        'after',
        `
--since takes a date (2026-03-01), a date with a time (2026-03-01T08:00Z), or how long ago: 30s, 90min, 2h,
7d, 4w. It is compared with the appliance's wall clock, which is for people; durations are measured with the
monotonic clock. --source takes a channel (console, local) or a principal (user:ada).
${examples(`${name} --limit 5`, `${name} --since 24h --level 1`, `${name} --source console --json`)}\n${EXITS}`,
      )
      .action(act((actions, options: HistoryOptions) => actions.postureHistory(options)));
  };

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
  history(posture, 'kedge posture history');
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
    .description('one transition on a line of time against its budgets, with everybody who took part')
    .argument('[epoch]', 'its epoch; the newest without one', epoch)
    .addHelpText(
      'after',
      `
Times count from the decision. The bar is logarithmic: its left end is one microsecond, | is the end of a
budget, ! a mark that came after it. Below stands each path and participant: when it started and was done,
what part of its budget that is, how it ended, and how many things it withdrew or brought back.
${examples('kedge transition show', 'kedge transition show 17 --json')}\n${EXITS}`,
    )
    .action(
      act((actions, which: bigint | undefined, options: CommandOptions) =>
        actions.transitionShow(which, options),
      ),
    );

  history(program, 'kedge history');
  topCommand(program, act);
  metricsCommand(program, act);
  examinationCommands(program, act);
  accordsCommands(program, act);
  authzCommands(program, act);
  intentCommands(program, act);
  ledgerCommands(program, act);
  ledgerVerifyCommand(program, finish);
  witnessCommands(program, finish);

  const governance = program.command('governance').description('what the data plane works with');
  target(governance.command('show'))
    .description('tables of all levels, data planes, workers, counters')
    .addHelpText('after', `${examples('kedge governance show', 'kedge governance show --json')}\n${EXITS}`)
    .action(act((actions, options: CommandOptions) => actions.governanceShow(options)));
  target(governance.command('flows'))
    .description('flows as they end, with the posture and epoch at which they were judged')
    .option('--follow', 'go on until Ctrl-C')
    .option('--seconds <n>', 'without --follow: listen so long', whole(1, 3600), 5)
    .option('--count <n>', 'end after so many flows', whole(1, 1_000_000))
    .option('--ipfix <host:port>', 'send them to this collector as IPFIX instead of showing them', collector)
    .option('--observation-domain <n>', 'with --ipfix: the observation domain', whole(1, 4_294_967_295), 1)
    .option(
      '--enterprise <n>',
      'with --ipfix: the number under which posture, epoch and entry are sent',
      whole(1, 4_294_967_295),
      32_473,
    )
    .addHelpText(
      'after',
      `
A record is one direction of a flow while one judgement held: a change of epoch, level, entry or verdict ends it
and begins the next. It is shown when it ends: when the flow was idle, was closed, went on for long, or was judged
anew. Names are TLS server names, DNS questions and HTTP hosts; a leading … marks one of which the front is missing.
What this command missed, because it read too slowly, is told on stderr.

With --json every flow is one object on a line of its own; times are CLOCK_MONOTONIC nanoseconds, as strings.

--ipfix takes an address, 4739 where no port is given, and goes on until Ctrl-C unless --seconds or --count is
given. Records follow RFC 7011 over UDP. Zones are interfaces with their names; what was dropped has egress
interface 0; what a flow was recognised as is an application with a name, as RFC 6759 has it. Posture, epoch, entry
and verdict are elements of the enterprise number 32473, which RFC 5612 keeps for documentation; --enterprise takes
another. The bridge exports by itself when its configuration names collectors (ipfix).
${examples('kedge governance flows', 'kedge governance flows --follow --json', 'kedge governance flows --ipfix 10.0.0.5:4739', 'nfcapd -p 4739 -w /var/flows & kedge governance flows --ipfix 127.0.0.1:4739 --seconds 60', "nfdump -R /var/flows -o 'fmt:%ts %pr %sap %dap %pkt %byt %inam %onam %nbnam'")}\n${EXITS}`,
    )
    .action(
      act((actions, options: FlowsOptions, command: Command) =>
        actions.governanceFlows({
          ...options,
          follow:
            options.follow === true ||
            (options.ipfix !== undefined && command.getOptionValueSource('seconds') !== 'cli'),
        }),
      ),
    );

  program
    .command('drill')
    .description('escalate and de-escalate through all levels under live traffic, judged where it arrives')
    .option('--lab <name>', 'the lab to drill', 'lab')
    .option('--chaos', 'kill and stop every service at every step of a tightening and a loosening as well')
    .option('--short-budgets', 'with --chaos: drill a lab of its own with short budgets, which is quicker')
    .option('--only <text>', 'with --chaos: only the acts whose name contains this')
    .option('--dwell <ms>', 'how long each level is held', whole(200, 60_000), 500)
    .option('--level <n>', 'the tightest level to enter, 1 to 4', drillLevel, 1)
    .option('--report <file>', 'write the report as one self-contained HTML page as well')
    .option('--json', 'one JSON object instead of text')
    .addHelpText(
      'after',
      `
The drill goes 5 4 3 2 1 2 3 4 5 and 5 1 5; with --level only down to that level and back, twice. Level 1 is
left by the console. At every level each class of traffic is compared with a fixed table, and no packet may
arrive that was sent after the last worker had acknowledged a level that drops it. The lab ends at level 5. The
report is printed, and stored in the appliance's state directory, drills/.

With --chaos every service is killed and stopped (SIGKILL, SIGSTOP) once at every step of a tightening and of
a loosening, the bridge is away, and the warden is stopped and killed. The last of these ends the lab; with
--short-budgets a lab of its own is brought up for it.

The page of --report needs nothing but a browser: no network, no script. It is written when the drill failed,
too; an existing file is replaced.
${examples('kedge lab up && kedge drill && kedge lab down', 'kedge drill --json', 'kedge drill --report drill.html', 'kedge drill --chaos --short-budgets')}\n${EXITS}`,
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
Five zones in network namespaces, joined by the reference data plane, four classes of traffic between them, and
a few conversations a second with hosts that have names: DNS questions, then TLS. Needs root. Everything lives in private
namespaces under one init, and ends with it.
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
