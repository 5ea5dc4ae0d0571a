/**
 * Everything that the addon can do, done a few times and tidied up, for LeakSanitizer: `node every-call.mjs ADDON MODULE
 * [leave]`. With `leave` it ends as a process that is killed would, with everything in its hands. Must not be quiet when a
 * call does something else than it should.
 */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const [, , path, module, leave] = process.argv;
const addon = createRequire(import.meta.url)(path);
const text = readFileSync(module, 'utf8');
const json = (all) => JSON.stringify({ 'everything:all': all });
const refused = async (call) => assert.rejects(async () => call());

for (let round = 0; round < 3; round += 1) {
  const context = addon.newContext([], 0);
  await refused(() => addon.parseModule(context, 'module broken {', false, undefined));
  await refused(() => addon.loadModule(context, 'absent', '2026-01-01', ['*']));
  addon.parseModule(context, text, false, ['extras']);
  assert(addon.modules(context).length > 0);
  assert(addon.schema(context, 'everything').data.length > 0);
  assert(addon.schemaAt(context, '/everything:all/rule', false).kind === 'list');
  await refused(() => addon.schemaAt(context, '/everything:none', false));
  const parse = (document, check = 0) => addon.parse(context, document, 0, 0, check, 128);
  const rule = [{ name: 'a', step: [{ at: 1, what: 'x' }] }, { name: 'b' }];
  const first = await parse(json({ i8: 1, u: 80, rule, peer: [{ host: 'a', port: 1 }], any: { a: [1] } }));
  const second = await parse(json({ i8: 2, u: 'auto', rule: [...rule].reverse(), loud: {}, order: ['x'] }));
  for (const bad of [
    '{',
    json({ i8: 200 }),
    json({ low: 5, high: 4 }),
    json({ favourite: 'x' }),
    json({ rule: [{}] }),
  ])
    await refused(() => parse(bad));
  await refused(() => addon.parse(context, '<all xmlns="urn:wrong"/>', 1, 0, 0, 128));
  const loose = await parse(json({ low: 5, high: 4 }), 2);
  await refused(() => addon.validate(loose, 0, undefined));
  addon.set(loose, '/everything:all/high', '6');
  await addon.validate(loose, 0, undefined);
  await refused(async () => addon.set(loose, '/everything:all/high', 'x'));
  assert(addon.remove(loose, '/everything:all/high'));
  assert(addon.set(loose, "/everything:all/rule[name='z']", undefined));
  assert(addon.set(loose, "/everything:all/rule[name='y']", undefined));
  addon.move(loose, "/everything:all/rule[name='y']", "/everything:all/rule[name='z']", true);
  assert(addon.get(loose, '/everything:all/low').value === '5');
  assert((await addon.find(first, '//everything:*', 1000)).length > 5);
  await refused(() => addon.find(first, '//everything:*', 1));
  await refused(() => addon.find(first, '//everything:*[', 1));
  for (const format of [0, 1]) assert((await addon.print(second, format, true, 2, true)).length > 20);
  const diff = await addon.diff(first, second);
  const { count, handle } = await addon.readChanges(diff);
  assert(addon.takeChanges(handle, 0, 1000).length === count && count > 5);
  const copy = await addon.duplicate(first);
  await addon.apply(diff, copy);
  await refused(() => addon.apply(diff, second));
  const back = await addon.reverse(diff);
  await addon.apply(back, copy);
  await addon.merge(copy, second);
  const message = (kind, document, reference) =>
    addon.parseMessage(context, document, 0, kind, 128, reference);
  const request = await message(2, '{"everything:ping":{"host":"a"}}', undefined);
  const reply = await message(3, '{"everything:ping":{"lost":1}}', undefined);
  const reset = (host) => json({ peer: [{ host, port: 1, reset: { hard: true } }] });
  const action = await message(2, reset('a'), first);
  await refused(() => message(2, reset('b'), first));
  await refused(() => message(4, '{"everything:started":{}}', undefined));
  if (leave === 'leave' && round === 2) process.reallyExit(0);
  for (const each of [first, second, loose, diff, copy, back, request, reply, action]) addon.closeTree(each);
  addon.closeContext(context);
}
