/**
 * A service that does nothing but record: appends numbered records without end, and prints the number of each that was
 * acknowledged. With `drain` it appends nothing and ends when the ledger keeps all of them.
 * It must not acknowledge anything by itself.
 */
import { openOutbox } from '@kedge/ledger-link';

const [directory, ledger, drain] = process.argv.slice(2);
const nothing = () => undefined;
const outbox = openOutbox({
  directory,
  ledger,
  clock: { monotonicNs: () => process.hrtime.bigint() },
  log: { info: nothing, warn: nothing, error: nothing },
});
await outbox.ready();
const record = (number) => ({
  schema: 'kedge.authorisation-decision/1',
  id: `authorisation/box/${number}`,
  appliance: 'box',
  at: '2026-11-22T18:00:00.000Z',
  epoch: '7',
  allow: true,
  rule: 'console',
  reason: 'x'.repeat(number % 300),
  principal: 'user:ada',
  tier: 'master',
  channel: 'local',
  action: 'posture.set',
  resource: 'posture/3',
  level: 3,
  askedAtNs: String(number),
});
if (drain === undefined) {
  let number = Number(outbox.status().spool.durable);
  for (;;) {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { id } = await outbox.append(record((number += 1)));
        process.stdout.write(`${id}\n`);
      }),
    );
  }
}
while (outbox.status().link.waiting > 0n) await new Promise((resolve) => setTimeout(resolve, 10));
process.stdout.write(`${outbox.status().spool.durable}\n`);
await outbox.close();
