/**
 * The coordinator without its doors: recovers the last decision from journal and posture word, and goes on with it.
 * It must not know how requests come in, nor take the posture segment by itself.
 */
import {
  DEFAULT_AUTHORITY,
  type DeescalationAuthority,
  PolicyKeeper,
  TIGHTEST_AUTHORITY,
} from '@kedge/authz';
import { PostureBoard, readWord, type WardenViolation } from '@kedge/bus';
import { openOutbox } from '@kedge/ledger-link';
import {
  authorityOf,
  EPOCH_BLOCK,
  EPOCH_JUMP,
  type JournalSummary,
  parseAccords,
  recoverJournal,
  recoveryOf,
  type RecoveryPlan,
} from '@kedge/posture';
import type { Logger } from '@kedge/runtime';
import type { PostureWriter } from '@kedge/shared-memory-ipc';
import { type Clock, EPOCH_MAX, EPOCH_NONE, isLevel, type Epoch, KedgeError } from '@kedge/units';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Accords, whyNot } from './accords.js';
import type { CoordinatorConfig } from './config.js';
import { IdempotencyStore } from './idempotency.js';
import { JournalFile, type JournalOptions, readJournal } from './journal-file.js';
import type { CoordinatorParts } from './posture.controller.js';
import { isProvisioned, provisioningMark } from './provisioning.js';
import { readReports, Reports } from './reports.js';
import { inTime } from './storage.js';
import { RequestDesk } from './request-desk.js';
import { readMark, ToldViolations } from './told-violations.js';
import { TransitionDriver } from './transition-driver.js';

/** What a coordinator is made with; `posture` stays its caller's. */
export interface CoordinatorGround {
  readonly settings: CoordinatorConfig;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly posture: PostureWriter;
}

/** A coordinator that has recovered. */
export interface Coordinator extends CoordinatorParts {
  /** What it made of journal and word. */
  readonly plan: RecoveryPlan;
  /** Waits for what is being written, and lets go of everything but the posture segment. */
  close(): Promise<void>;
}

/** Reads what stands on board and disk, then goes on from there: nothing is written before all of it was read. */
export async function recoverCoordinator(ground: CoordinatorGround): Promise<Coordinator> {
  const { settings, logger, clock, posture } = ground;
  const board = new PostureBoard({
    directory: settings.board.directory,
    owners: { ...settings.board.owners, posture: process.getuid?.() ?? 0 },
    violationsFrom: 0n,
  });
  // What happened while nobody was here is told at the first look, which does not wait for the journal to be read.
  const early: WardenViolation[] = [];
  const hear = (violation: WardenViolation): void => {
    early.push(violation);
  };
  board.on('warden.violation', hear);
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  const at = (name: string): string => join(settings.state, name);
  const idempotency = new IdempotencyStore(clock);
  const troubles: string[] = [];
  const accords = await accordsFrom(settings, logger, troubles);
  const authority = accords === undefined ? authorityFrom(settings, troubles) : undefined;
  let onAlarm: (sentence: string | undefined) => void = () => undefined;
  const policies = new PolicyKeeper({
    ...settings.authorisation,
    kept: at('policies.kept'),
    authority: () => accords?.authority ?? authority ?? TIGHTEST_AUTHORITY,
    onChanged: ({ name, generation }) => {
      logger.info({ policies: name, generation }, 'other policies are in force');
    },
    onTrouble: (error) => {
      if (error !== undefined) logger.error({ err: error }, 'the policies cannot be used');
    },
    onAlarm: (sentence) => {
      onAlarm(sentence);
    },
  });
  const { authoriser } = policies;

  // What stands on the board and on the disk, before anything is written to either.
  const word = readWord(posture.word());
  const line = posture.transition();
  const mark = at('provisioned');
  const answerMs = settings.storageAnswerMs;
  // The journal first and alone: every call that hangs keeps one of the few threads that all file access shares.
  const found = await inTime('read the decision journal', answerMs, journalAt(at('decisions.journal'))).catch(
    silent,
  );
  const answers = found?.silence === undefined;
  const [provisioned, left, toldUpTo] = answers
    ? await Promise.all([
        inTime('see whether this box is provisioned', answerMs, isProvisioned(mark)).catch(() => true),
        inTime('read the reports', answerMs, readReports(at('reports.jsonl'))).catch(() => []),
        inTime('read which violations were told', answerMs, readMark(at('violations.told'), boot)).catch(
          () => undefined,
        ),
      ])
    : [true, [], undefined];
  const reports = new Reports(at('reports.jsonl'), settings.reports, left);
  const records = openOutbox({
    directory: answers ? at('records') : undefined,
    ledger: settings.ledger,
    clock,
    log: logger,
  });
  const plan = recoveryOf({
    journal: found,
    provisioned,
    provisioningLevel: settings.provisioningLevel,
    word: word.valid && word.epoch > EPOCH_NONE ? { epoch: word.epoch, level: word.level } : undefined,
    line:
      line !== undefined && isLevel(line.from) && isLevel(line.to)
        ? { epoch: line.epoch as Epoch, from: line.from, to: line.to }
        : undefined,
    wordDoubt: posture.replaced === undefined || posture.replaced === 'boot' ? undefined : posture.replaced,
  });
  const bootId = Buffer.from(boot.replaceAll('-', ''), 'hex');
  idempotency.restore(found?.keyed ?? [], bootId);

  const options: JournalOptions = {
    path: at('decisions.journal'),
    capacity: settings.journalRecords,
    bootId,
    clock,
    answerMs,
  };
  const journal = answers
    ? await JournalFile.open(options, found)
    : JournalFile.failed(options, found.silence);
  const told = new ToldViolations(at('violations.told'), boot, toldUpTo);
  const driver = new TransitionDriver({
    config: settings,
    posture,
    board,
    journal,
    reports,
    records,
    idempotency,
    authoriser,
    accords,
    clock,
    logger,
    boot,
    told,
    takeEarly: () => {
      board.off('warden.violation', hear);
      return early.splice(0);
    },
    onProvisioned: provisioningMark(mark, provisioned),
  });
  for (const sentence of troubles) driver.alarm(sentence);

  const upTo = plan.above + EPOCH_BLOCK;
  const reservedUpTo = (upTo > EPOCH_MAX ? EPOCH_MAX : upTo) as Epoch;
  const reserved = await reserve(journal, reservedUpTo, plan, clock);
  if (reserved !== undefined) {
    logger.error({ err: reserved }, 'the decision journal cannot be written');
    const why = journal.failure?.cause;
    driver.alarm(
      `${why instanceof KedgeError ? `${why.code}: ` : ''}the decision journal takes no records: tightenings are not durable, nothing loosens`,
    );
  }
  // Epochs that no journal knows of must not be issued again by whoever reads that journal after a power cut;
  // a word that is beyond it already says that this process is not the first to leave it.
  const beyond = plan.word.epoch > EPOCH_NONE && plan.word.epoch >= plan.above;
  const leaves = reserved !== undefined && !beyond;
  const nextEpoch = plan.above + 1n + (leaves ? EPOCH_JUMP + BigInt(randomInt(Number(EPOCH_JUMP))) : 0n);
  driver.recover(plan, nextEpoch as Epoch, reserved === undefined ? reservedUpTo : plan.above);
  logger.info(
    { action: plan.action, level: plan.level, decision: plan.decision, resumeTo: plan.resumeTo },
    'recovered',
  );

  const desk = new RequestDesk({ driver, idempotency, accords });
  onAlarm = (sentence) => {
    desk.trouble('policies', sentence);
  };
  return {
    driver,
    desk,
    reports,
    records,
    idempotency,
    authoriser,
    policies,
    accords,
    intentSocket: settings.intentSocket,
    clock,
    plan,
    close: async () => {
      await policies.close();
      driver.close();
      await accords?.settled();
      await journal.close();
      await reports.close();
      await records.close();
      await inTime('say which violations were told', answerMs, told.settled()).catch(() => undefined);
      accords?.close();
      board.close();
    },
  };
}

/** What is known of a journal. */
type Found = JournalSummary & {
  /** Set where storage did not even say what is there: it is not written to either. */
  readonly silence?: unknown;
};

const unreadable = (why: string): Found => ({
  ...recoverJournal(new Uint8Array()),
  damage: { offset: 0, why },
});

/** What the journal says; one that cannot even be read counts as damaged. */
async function journalAt(path: string): Promise<Found | undefined> {
  try {
    const bytes = await readJournal(path);
    return bytes === undefined ? undefined : recoverJournal(bytes);
  } catch {
    return unreadable('it cannot be read');
  }
}

const silent = (silence: unknown): Found => ({ ...unreadable('its storage does not answer'), silence });

/** Reserves epochs, and journals a word that is newer than the journal; why it failed, if it did. */
async function reserve(
  journal: JournalFile,
  upTo: Epoch,
  { journalFirst, holds }: RecoveryPlan,
  clock: Clock,
): Promise<unknown> {
  const draft = {
    decidedAtNs: clock.monotonicNs(),
    decidedAtWallMs: clock.wallMs(),
    keyHash: undefined,
    contentHash: undefined,
    channel: undefined,
    tier: undefined,
    completed: false,
    carried: false,
    accord: false,
    holds,
  } as const;
  try {
    await Promise.all([
      journal.append({
        ...draft,
        kind: 'reserve',
        epoch: EPOCH_NONE,
        reservedUpTo: upTo,
        from: undefined,
        to: undefined,
        requested: undefined,
        recovered: false,
      }),
      ...(journalFirst === undefined
        ? []
        : [
            journal.append({
              ...draft,
              kind: 'decision',
              ...journalFirst,
              requested: journalFirst.to,
              recovered: true,
            }),
          ]),
    ]);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** The accords that are kept in force; undefined where none are kept, or none can be used. */
async function accordsFrom(
  { accords, zones, accordsInForce: directory, accordsPublishMs, board, storageAnswerMs }: CoordinatorConfig,
  logger: Logger,
  troubles: string[],
): Promise<Accords | undefined> {
  if (directory === undefined || accords === undefined || zones === undefined) return undefined;
  const offered = { accords, zones };
  try {
    return await inTime(
      'read the accords in force',
      storageAnswerMs,
      Accords.open({
        directory,
        offered,
        board: board.directory,
        tablesOwner: board.owners['tables'],
        publishMs: accordsPublishMs,
        storageAnswerMs,
        logger,
      }),
    );
  } catch (error) {
    logger.error({ err: error }, 'the accords cannot be used');
    troubles.push(notInUse(whyNot(error, offered)));
    return undefined;
  }
}

const notInUse = (why: string): string =>
  `the accords are not in use, only the console may loosen until a restart with them: ${why}`;

/** Who may loosen, where no accords are kept; where they cannot be used the tightest reading holds. */
function authorityFrom(
  { accords, zones, accordsInForce }: CoordinatorConfig,
  troubles: string[],
): DeescalationAuthority {
  if (accords === undefined) return DEFAULT_AUTHORITY;
  if (accordsInForce !== undefined && zones !== undefined) return TIGHTEST_AUTHORITY;
  try {
    if (zones === undefined) throw new Error('no zones are configured');
    const read = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
    return authorityOf(parseAccords(read(accords), read(zones)).accords);
  } catch (error) {
    troubles.push(notInUse(whyNot(error, { accords, zones: zones ?? 'the zones' })));
    return TIGHTEST_AUTHORITY;
  }
}
