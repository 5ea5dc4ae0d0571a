/**
 * `kedge intent` on the command line, and what its help says.
 * It must not do anything itself.
 */
import { type Command, InvalidArgumentError } from 'commander';

import { type Act, examples, EXITS, target, WAYS_HELP, whole } from './command-line.js';
import type {
  IntentCommitOptions,
  IntentEditOptions,
  IntentHistoryOptions,
  IntentLockOptions,
  IntentOptions,
  IntentUnlockOptions,
} from './intent.js';
import { intentDevicesCommands } from './program-intent-devices.js';

const SOURCES_HELP = `
A document is named by its datastore (candidate, running, startup, intended, operational) or by the number of a
revision.`;

const revision = whole(1, 4_294_967_295);

function comment(text: string): string {
  if (text.length > 512 || /\p{Cc}/u.test(text)) {
    throw new InvalidArgumentError('expected one line of at most 512 characters.');
  }
  return text;
}

/** Options of every command that changes something. */
function changing(command: Command): Command {
  return target(command, { timeoutMs: 30_000 }).option(
    '--principal <name>',
    'who asks, for the record (default: "user:" and your login name)',
  );
}

function terms(command: Command): Command {
  return changing(command)
    .option('--comment <text>', 'why, for the history and the record', comment, '')
    .option('--confirmed <seconds>', 'put back by itself unless it is confirmed in time', whole(1, 86_400))
    .option('--if-revision <n>', 'refuse unless this revision is running', revision);
}

/** Adds the commands to the program. */
export function intentCommands(program: Command, act: Act): void {
  const intent = program
    .command('intent')
    .description('edit, validate, commit and take back what is intended; see how devices stand to it');
  target(intent.command('status'))
    .description('what is running, what is being edited, who has the lock, what waits')
    .addHelpText(
      'after',
      `${examples('kedge intent status', 'kedge intent status --json')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, options: IntentOptions) => actions.intentStatus(options)));
  target(intent.command('show'), { timeoutMs: 30_000 })
    .description('a document, as JSON of RFC 7951')
    .argument('[source]', 'which one', 'running')
    .addHelpText(
      'after',
      `${SOURCES_HELP}\n${examples('kedge intent show', 'kedge intent show candidate', 'kedge intent show 41 > old.json')}\n${EXITS}`,
    )
    .action(act((actions, source: string, options: IntentOptions) => actions.intentShow(source, options)));
  changing(intent.command('load'))
    .description('put a whole document into the candidate, on top of what is running')
    .argument(
      '<files...>',
      'JSON of RFC 7951, in one file or with its members in several; - for standard input',
    )
    .addHelpText(
      'after',
      `\nNothing comes into force by it. What was edited before is replaced.\n${examples('kedge intent load whole.json', 'kedge intent load yang/defaults/{accords,zones,site}.json', 'kedge intent show | jq … | kedge intent load -')}\n${EXITS}`,
    )
    .action(act((actions, files: string[], options: IntentOptions) => actions.intentLoad(files, options)));
  changing(intent.command('edit'))
    .description('edit the candidate at a data path')
    .argument('[kind]', 'merge, replace, create, delete, remove')
    .argument('[path]', "/module:name[key='value']/name")
    .argument('[value]', 'JSON, or a text that is none; with merge, replace and create')
    .option(
      '--file <file>',
      'several edits, made all or none: [ { "kind", "path", "value" } ]; - for standard input',
    )
    .addHelpText(
      'after',
      `
merge leaves what stands beside the value, in containers and in lists by their keys. create refuses where something
stands, delete where nothing does; replace and remove do not ask. An entry of a list is named by its keys, and its
value has to have them as well. A number in quotes is a text: '"10"'.
${examples('kedge intent edit replace "/site:vlan[id=\'10\']/name" guests', 'kedge intent edit merge /site:vlan \'[{"id": 10, "name": "guests"}]\'', 'kedge intent edit create "/site:vlan[id=\'20\']" \'{"id": 20}\'', 'kedge intent edit delete "/site:vlan[id=\'20\']"', 'kedge intent edit --file edits.json')}\n${EXITS}`,
    )
    .action(
      act(
        (
          actions,
          kind: string | undefined,
          path: string | undefined,
          value: string | undefined,
          options: IntentEditOptions,
        ) => actions.intentEdit(kind, path, value, options),
      ),
    );
  target(intent.command('validate'), { timeoutMs: 30_000 })
    .description('what the modules have against a document; ends with 6 where that is something')
    .argument('[source]', 'which one', 'candidate')
    .addHelpText(
      'after',
      `${SOURCES_HELP}\n${examples('kedge intent validate', 'kedge intent validate 41 --json')}\n${EXITS}`,
    )
    .action(
      act((actions, source: string, options: IntentOptions) => actions.intentValidate(source, options)),
    );
  target(intent.command('compare'), { timeoutMs: 30_000 })
    .description('the changes that lead from one document to another')
    .argument('[from]', 'from which one', 'running')
    .argument('[to]', 'to which one', 'candidate')
    .addHelpText(
      'after',
      `${SOURCES_HELP}\n${examples('kedge intent compare', 'kedge intent compare 40 41', 'kedge intent compare intended operational')}\n${EXITS}`,
    )
    .action(
      act((actions, from: string, to: string, options: IntentOptions) =>
        actions.intentCompare(from, to, options),
      ),
    );
  terms(intent.command('commit'))
    .description('put the candidate in force, as a revision')
    .addHelpText(
      'after',
      `
It is refused where another revision came between since the candidate was begun; the message names it. At the
levels 2 and 1 nothing comes into force. With --confirmed what stood before is put back by itself unless
kedge intent confirm comes in time, also where the appliance loses its power meanwhile.
${examples('kedge intent commit --comment "guests get a VLAN"', 'kedge intent commit --confirmed 300', 'kedge intent commit --if-revision 41')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, options: IntentCommitOptions) => actions.intentCommit(options)));
  changing(intent.command('confirm'))
    .description('keep a commit that has to be confirmed')
    .argument('[revision]', 'the one that is meant; without it whichever waits', revision)
    .addHelpText('after', `${examples('kedge intent confirm', 'kedge intent confirm 42')}\n${EXITS}`)
    .action(
      act((actions, which: number | undefined, options: IntentOptions) =>
        actions.intentConfirm(which, options),
      ),
    );
  changing(intent.command('cancel'))
    .description('put back at once what stood before such a commit')
    .argument('[revision]', 'the one that is meant; without it whichever waits', revision)
    .addHelpText('after', `${examples('kedge intent cancel', 'kedge intent cancel 42 --json')}\n${EXITS}`)
    .action(
      act((actions, which: number | undefined, options: IntentOptions) =>
        actions.intentCancel(which, options),
      ),
    );
  terms(intent.command('rollback'))
    .description('put the document of an older revision in force, as a new one')
    .argument('<revision>', 'which one', revision)
    .addHelpText(
      'after',
      `
It is validated anew by the modules in use. The candidate follows, unless somebody has changed it.
${examples('kedge intent rollback 40 --comment "back to what worked"', 'kedge intent rollback 40 --confirmed 300')}\n${EXITS}`,
    )
    .action(act((actions, to: number, options: IntentCommitOptions) => actions.intentRollback(to, options)));
  target(intent.command('history'))
    .description('revisions, newest first: when, why, by whom')
    .option('--limit <n>', 'at most so many', whole(1, 1000), 20)
    .option('--before <n>', 'only those before this one', revision)
    .addHelpText(
      'after',
      `${examples('kedge intent history', 'kedge intent history --before 40 --json')}\n${EXITS}`,
    )
    .action(act((actions, options: IntentHistoryOptions) => actions.intentHistory(options)));
  changing(intent.command('discard'))
    .description('make the candidate what is running')
    .addHelpText('after', `${examples('kedge intent discard', 'kedge intent discard --json')}\n${EXITS}`)
    .action(act((actions, options: IntentOptions) => actions.intentDiscard(options)));
  changing(intent.command('lock'))
    .description('keep everybody else from changing anything, until it is unlocked')
    .option('--comment <text>', 'why, for whoever finds it', comment, '')
    .addHelpText(
      'after',
      `\nIt survives restarts. You are the principal by the way in: the same name by another way is somebody else.\n${examples('kedge intent lock --comment "moving the uplink"', 'kedge intent unlock')}\n${EXITS}`,
    )
    .action(act((actions, options: IntentLockOptions) => actions.intentLock(options)));
  changing(intent.command('unlock'))
    .description('give the lock back')
    .option('--force', 'also that of somebody else; what they had begun is discarded')
    .addHelpText('after', `${examples('kedge intent unlock', 'kedge intent unlock --force')}\n${EXITS}`)
    .action(act((actions, options: IntentUnlockOptions) => actions.intentUnlock(options)));
  intentDevicesCommands(intent, act);
}
