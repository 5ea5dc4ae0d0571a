/**
 * Tries to deliver one question to the intake behind a socket, as whoever it runs as; prints the code it came to.
 * It must not deliver a record.
 */
import { intakeClient } from '@kedge/bus';

const client = intakeClient(process.argv[2]);
async function* question() {
  yield { spool: '0'.repeat(32), first: 0n, records: [] };
}
try {
  for await (const { upTo } of client.deliver(question(), { deadlineMs: 5_000 }))
    process.stdout.write(`kept ${upTo}`);
} catch (error) {
  process.stdout.write(error.code);
}
client.close();
