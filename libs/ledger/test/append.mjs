/**
 * Appends records to a spool without end, or until it is refused, and says what was acknowledged: one line each.
 * With `again` it goes on after refusals for some rounds, with small records given while the refusal is under way.
 * It must not acknowledge anything by itself.
 */
import { openSpool } from '@kedge/ledger';

const [directory, atOnce, again] = process.argv.slice(2);
const spool = await openSpool({ directory, ...(again === undefined ? { fileBytes: 16 * 1024 } : {}) });
const record = (number, reason = 'x'.repeat(number % 300)) => ({
  schema: 'kedge.authorisation-decision/1',
  id: `authorisation/box/${String(number).padStart(8, '0')}`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  allow: false,
  rule: 'default-deny',
  reason,
  principal: 'user:ada',
  tier: 'apprentice',
  channel: 'local',
  action: 'posture.set',
  resource: 'posture/5',
  level: 3,
  askedAtNs: String(number),
});
let number = Number(spool.status().durable);
let refused;
for (let round = 0; round < 20 && again !== undefined; round++) {
  let full = false;
  const appended = Array.from({ length: Number(atOnce) }, () =>
    spool.append(record((number += 1), 'x'.repeat(500))).catch(() => (full = true)),
  );
  while (!full) {
    await new Promise(setImmediate);
    appended.push(
      spool.append(record((number += 1), '')).then(
        ({ sequence }) => process.stdout.write(`${sequence}\n`),
        () => undefined,
      ),
    );
  }
  await Promise.all(appended);
}
while (refused === undefined) {
  await Promise.all(
    Array.from({ length: Number(atOnce) }, async () => {
      number += 1;
      try {
        const { sequence } = await spool.append(record(number));
        process.stdout.write(`${sequence}\n`);
      } catch (error) {
        refused ??= error;
      }
    }),
  );
}
// What is smaller than the group that was refused may still fit.
let last;
while (last === undefined) {
  number += 1;
  await spool.append(record(number)).then(
    ({ sequence }) => process.stdout.write(`${sequence}\n`),
    (error) => (last = error),
  );
}
process.stdout.write(`refused ${refused.code} then ${last.code}\n`);
process.exit(0);
