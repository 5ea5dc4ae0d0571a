/**
 * The command for the live view: what it takes, and what its help says.
 * It must not do anything itself.
 */
import type { Command } from 'commander';

import { type Act, examples, EXITS, seconds, target, WAYS_HELP, whole } from './command-line.js';
import type { TopOptions } from './top.js';

/** Adds the command to the program. */
export function topCommand(program: Command, act: Act): void {
  target(program.command('top'), { timeoutMs: 1_000 })
    .description('one screen that shows what goes on now: posture, budgets, traffic, drops, queues, names')
    .option('--interval <seconds>', 'between two readings, 0.2 to 60', seconds(0.2, 60), 1)
    .option('--count <n>', 'end after so many intervals', whole(1, 1_000_000))
    .option('--ascii', 'nothing but ASCII, for terminals that know nothing else')
    .addHelpText(
      'after',
      `
The head of the screen:
  level, epoch   what packets obey now, and what was decided where that differs
  last           the last transition, and what each path took of its budget
  services       each with the age of its last beat
  in red, yellow what is wrong: fail-closed paths, stale services, workers behind the epoch, alarms
  data plane     workers and gaps; packets per second in, out, low priority, dropped; flows
Below it, as much as there is room for; 3/12 in a title means 3 of 12 rows:
  ZONE PAIR      packets per second that the pair's own verdict passed, marked low priority, dropped
  ENTRY          entries of the accord by packets, over the last 10 seconds, with the verdict in force
  DROPPED BY     reason, packets per second, and since the workers began: pair (no entry matched), entry,
                 minimum (no valid table), neighbour, malformed, ethertype, fragment, zone (port without one)
  QUEUE          packets that wait now; per second: had to wait, lost, withdrawn by a tighter level
  NAME           TLS server names, DNS questions and HTTP hosts of flows that ended, newest first
  APPLICATION    what level 4 recognised, packets and bytes per second

Rates are of the time since the reading before. A "-" is not known yet. Who does not answer is told on the screen
and asked again; the view goes on. Counters that fell belong to a worker that was restarted: it is marked, and
counts from nothing. Text from the network is shown as printable ASCII, everything else in it as "?".

Keys:
  q, Ctrl-C  leave
  p          hold the screen, and go on
  s          sort by packets, by drops, by name

On a terminal it takes the whole screen, from 80 columns and 24 rows with all panels, and gives it back however it
ends. Otherwise, and on a dumb terminal, it prints one page of text per interval. Colours are left out when NO_COLOR
is set. With --json every interval is one object on a line of its own, the first after one interval; a part that
did not answer is { "seen": false, code, message }.
${examples('kedge top', 'kedge top --interval 0.5 --lab other', 'kedge top --count 1 > now.txt', 'kedge top --json --count 60 | jq .dataplane.value.drops')}\n${WAYS_HELP}\n${EXITS}

Ends with 0 when it was left or --count is reached. When neither coordinator nor bridge answers at the start it
ends as the coordinator's error does: 4 not reachable, 5 no answer in time, 3 not allowed.`,
    )
    .action(act((actions, options: TopOptions) => actions.topRun(options)));
}
