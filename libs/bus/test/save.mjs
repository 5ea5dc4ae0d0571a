/**
 * Saves desired sets one after the other and says what became of each: "durable N" or "refused N CODE".
 * It must not say that anything is durable by itself.
 */
import { openDesiredStore } from '../dist/desired-store.js';

const [path, first, last, width = '40'] = process.argv.slice(2);
const kind = { schema: 'kedge.numbers/1', keyOf: ({ key }) => key, parse: (value) => value };
const store = await openDesiredStore({ path, kind });
if (store.damage !== undefined) process.stdout.write(`damaged ${store.damage.field}\n`);
for (let number = Number(first); number <= Number(last); number++) {
  const items = Array.from({ length: Number(width) }, (_, index) => ({ key: `n${index}`, value: number }));
  await store.save({ epochTaken: BigInt(number), items }).then(
    () => process.stdout.write(`durable ${number}\n`),
    (error) => process.stdout.write(`refused ${number} ${error.code} ${error.cause?.code}\n`),
  );
}
await store.close();
