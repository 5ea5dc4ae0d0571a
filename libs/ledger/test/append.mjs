/**
 * Appends records to a spool without end, or until it is refused, and says what was acknowledged: one line each.
 * It must not acknowledge anything by itself.
 */
import { openSpool } from '@kedge/ledger';

const [directory, atOnce] = process.argv.slice(2);
const spool = await openSpool({ directory, fileBytes: 16 * 1024 });
const record = (number) => ({
  schema: 'kedge.authorisation-decision/1',
  id: `authorisation/box/${String(number).padStart(8, '0')}`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  allow: false,
  rule: 'default-deny',
  reason: 'x'.repeat(number % 300),
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
const again = await spool.append(record(999_999)).catch((error) => error);
process.stdout.write(`refused ${refused.code} then ${again.code ?? 'taken'}\n`);
process.exit(0);
