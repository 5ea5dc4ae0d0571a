/**
 * The commands for the ledger: what they take, and what their help says.
 * It must not do anything itself.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';

import {
  type Act,
  examples,
  EXITS,
  level,
  moment,
  reason,
  target,
  WAYS_HELP,
  whole,
} from './command-line.js';
import type {
  LedgerCheckpointOptions,
  LedgerEraseOptions,
  LedgerExportOptions,
  LedgerOptions,
  LedgerProveOptions,
  LedgerQueryOptions,
  LedgerTailOptions,
} from './ledger.js';
import { ledgerGroup } from './program-ledger-verify.js';

/** Kinds of records, as a filter names them. */
const KINDS = [
  'posture-transition',
  'budget-violation',
  'authorisation-decision',
  'dataplane-event',
  'session-transit',
  'network-mutation',
  'drift-event',
  'intent-change',
  'posture-forensic-snapshot',
  'posture-forensic-part',
] as const;

const FORMATS = ['json', 'jsonl', 'csv', 'splunk-hec', 'ecs'] as const;

/** The number of an entry. */
function index(text: string): bigint {
  if (!/^\d{1,16}$/.test(text)) throw new InvalidArgumentError('expected the number of an entry, from 0.');
  return BigInt(text);
}

function kind(text: string, before: readonly string[] = []): readonly string[] {
  if (!KINDS.some((known) => known === text))
    throw new InvalidArgumentError(`expected one of ${KINDS.join(', ')}.`);
  return [...before, text];
}

function words(text: string): string {
  if (text.trim() === '' || text.length > 200)
    throw new InvalidArgumentError('expected 1 to 200 characters.');
  return text;
}

/** Options by which entries are chosen. */
function filter(command: Command): Command {
  return command
    .option('--since <when>', 'only what happened then or later', moment)
    .option('--until <when>', 'only what happened before', moment)
    .option('--kind <kind>', 'only records of this kind; given several times, of any of them', kind)
    .option('--level <n>', 'only what happened at this level, or went to it', level)
    .option('--principal <name>', 'only what this one did, in full: user:ada', words)
    .option('--device <name>', 'only what is about this device, target, data plane or subject', words)
    .option('--session <id>', 'only what is about this session', words)
    .option('--outcome <word>', 'only what came to this: allow, deny, cut, applied, late, …', words);
}

const FILTER_HELP = `
Every option that is given has to match. --since and --until take a date (2026-03-01), a date with a time
(2026-03-01T08:00Z), or how long ago: 30s, 90min, 2h, 7d, 4w.

Kinds are ${KINDS.slice(0, 4).join(', ')},
${KINDS.slice(4).join(', ')}.`;

/** Adds the commands to the program. */
export function ledgerCommands(program: Command, act: Act): void {
  const ledger = ledgerGroup(program);
  filter(target(ledger.command('query')))
    .description('records that match, one line each, and how many there are')
    .option('--limit <n>', 'at most so many', whole(1, 1000), 50)
    .option('--after <index>', 'only those behind this entry, to go on where the last page ended', index)
    .option('--newest', 'the newest first')
    .addHelpText(
      'after',
      `${FILTER_HELP}

The answer comes from an index over everything that the ledger keeps; how many match is counted over all of it,
whatever --limit says. Records are shown with their people, so it needs the tier journeyman or above. What was
erased is shown empty.
${examples('kedge ledger query --kind session-transit --level 3', 'kedge ledger query --since 24h --outcome deny --newest', 'kedge ledger query --principal user:ada --json', 'kedge ledger query --kind network-mutation --after 5120 --limit 1000')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(act((actions, options: LedgerQueryOptions) => actions.ledgerQuery(options)));
  filter(target(ledger.command('tail')))
    .description('records as they become durable, one line each, until Ctrl-C')
    .option('--from <index>', 'begin with this entry instead of with what comes now', index)
    .option('--count <n>', 'end after so many', whole(1, 1_000_000_000))
    .addHelpText(
      'after',
      `${FILTER_HELP}

A record is shown when it is on stable storage, and once. With --json each is one object on a line of its own.
${examples('kedge ledger tail', 'kedge ledger tail --kind posture-transition --count 1', 'kedge ledger tail --from 0 --json')}\n${EXITS}`,
    )
    .action(act((actions, options: LedgerTailOptions) => actions.ledgerTail(options)));
  target(ledger.command('prove'))
    .description('the proof that one entry stands in the ledger, for somebody who has only its key')
    .argument('<index>', 'the number of the entry, from 0', index)
    .option('--output <file>', 'write the proof to this file')
    .option('--entry <file>', 'write the entry, as it was hashed, to this file')
    .addHelpText(
      'after',
      `
The proof is text (C2SP tlog-proof): the index, the audit path, and the checkpoint that it leads to. It is checked
offline; docs/ledger-proofs.md shows how to do it with openssl alone. People stay sealed in the entry.
${examples('kedge ledger prove 41', 'kedge ledger prove 41 --output 41.proof --entry 41.json')}\n${EXITS}`,
    )
    .action(
      act((actions, entry: bigint, options: LedgerProveOptions) => actions.ledgerProve(entry, options)),
    );
  target(ledger.command('checkpoint'))
    .description('the newest durable checkpoint, signed, as it is kept elsewhere')
    .option('--old-size <n>', 'with the proof that the ledger only grew since it had so many entries', index)
    .addHelpText(
      'after',
      `
Keep it away from the appliance: whoever has it finds any change of what was recorded before, and whether the whole
ledger was put back to an older state.
${examples('kedge ledger checkpoint > box-7.checkpoint', 'kedge ledger checkpoint --old-size 5120 --json')}\n${EXITS}`,
    )
    .action(act((actions, options: LedgerCheckpointOptions) => actions.ledgerCheckpoint(options)));
  filter(target(ledger.command('export')))
    .description('records that match, all of them, in the format of another system')
    .addOption(new Option('--format <format>', 'the format').choices(FORMATS).default('jsonl'))
    .option('--pseudonymised', 'people as pseudonyms, the same one for the same person')
    .option('--output <file>', 'write to this file instead of stdout')
    .addHelpText(
      'after',
      `${FILTER_HELP}

json is one array, jsonl one object a line, csv one row a record (RFC 4180), splunk-hec events for Splunk's HTTP Event
Collector, ecs documents of the Elastic Common Schema. It needs the tier master or above, and is recorded itself.
${examples('kedge ledger export --format csv --since 7d --output week.csv', 'kedge ledger export --kind network-mutation --pseudonymised | jq .')}\n${EXITS}`,
    )
    .action(act((actions, options: LedgerExportOptions) => actions.ledgerExport(options)));
  target(ledger.command('erase'))
    .description('destroy the key of a person: what names them cannot be read any more')
    .argument('<subject>', 'in full, as it stands in the records: user:ada', words)
    .requiredOption('--reason <text>', 'why, for the record, 1 to 512 characters', reason)
    .option('--principal <name>', 'who asks, for the record (default: "user:" and your login name)')
    .addHelpText(
      'after',
      `
No hash changes and every proof stands; what named the person is empty from then on, for good. It needs the tier
site_owner and is recorded itself, with the name of whoever asked and not of whom it was about.
${examples('kedge ledger erase user:eve --reason "asked for it by letter"')}\n${WAYS_HELP}\n${EXITS}`,
    )
    .action(
      act((actions, subject: string, options: LedgerEraseOptions) => actions.ledgerErase(subject, options)),
    );
  target(ledger.command('status'))
    .description('where the ledger stands: size, sources, index, witness, alarms')
    .addHelpText('after', `${examples('kedge ledger status', 'kedge ledger status --json')}\n${EXITS}`)
    .action(act((actions, options: LedgerOptions) => actions.ledgerStatus(options)));
}
