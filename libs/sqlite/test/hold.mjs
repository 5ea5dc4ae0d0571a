/**
 * Has a file open until its input ends; with `fill`, fills it until there is no room and once more when a ballast is
 * gone, and says how it went.
 * It must not mend anything.
 */
import { faultOf, openDatabase } from '@kedge/sqlite';
import { unlinkSync } from 'node:fs';

const [, , path, course, ballast] = process.argv;
const options = { flush: 'every-commit', pageBytes: 4096, cacheKiB: 1024, checkpointPages: 20 };
const database = openDatabase(path, options);
if (course === 'fill') {
  database.exec('CREATE TABLE row (number INTEGER PRIMARY KEY, text TEXT) STRICT');
  const insert = database.prepare('INSERT INTO row VALUES (NULL, ?)');
  const count = () => database.prepare('SELECT count(*) FROM row').pluck().get();
  const put = database.transaction(() => {
    for (let at = 0; at < 10; at++) insert.run('x'.repeat(2000));
  });
  let rows = 0;
  for (let fault; fault === undefined;) {
    try {
      put();
      rows += 10;
    } catch (error) {
      fault = faultOf(error);
      process.stdout.write(`${fault} after ${rows}, then ${count()}, `);
    }
  }
  // Without room nothing can be taken away either.
  unlinkSync(ballast);
  put();
  database.close();
  const again = openDatabase(path, options);
  const left = again.prepare('SELECT count(*) FROM row').pluck().get();
  process.stdout.write(`then ${left}, ${again.pragma('integrity_check', { simple: true })}\n`);
  again.close();
} else {
  process.stdout.write('open\n');
  process.stdin.resume().on('end', () => {
    database.close();
    process.exit(0);
  });
}
