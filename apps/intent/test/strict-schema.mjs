/**
 * A small strict schema, for tests alone: `site:name`, a text, has to be there; `site:vlan` is a list with `id` 1 to 4094
 * and a `name` that no other entry has; nothing else is known.
 * It must not be taken for the modules of the appliance.
 */
import { createHash } from 'node:crypto';

export class StrictSchema {
  modules = createHash('sha256').update('strict 1').digest('hex');

  keysOf(path) {
    return path === '/site:vlan' ? ['id'] : undefined;
  }

  async validate(text) {
    const tree = JSON.parse(text);
    const findings = [];
    const find = (path, message, appTag) =>
      findings.push({ path, message, ...(appTag === undefined ? {} : { appTag }) });
    for (const name of Object.keys(tree)) {
      if (!['site:name', 'site:vlan'].includes(name)) find(`/${name}`, 'unknown node');
    }
    if (typeof tree['site:name'] !== 'string')
      find('/site:name', 'mandatory node is missing', 'missing-instance');
    const names = new Set();
    for (const { id, name, ...others } of tree['site:vlan'] ?? []) {
      const path = `/site:vlan[id='${id}']`;
      if (!Number.isInteger(id) || id < 1 || id > 4094) find(`${path}/id`, 'is out of range');
      if (name !== undefined && names.has(name)) find(`${path}/name`, 'is not unique', 'data-not-unique');
      for (const other of Object.keys(others)) find(`${path}/${other}`, 'unknown node');
      names.add(name);
    }
    return { findings, complete: true };
  }

  async diff(from, to) {
    const [before, after] = [JSON.parse(from), JSON.parse(to)];
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].sort().flatMap((name) => {
      const [was, is] = [before[name], after[name]];
      if (JSON.stringify(was) === JSON.stringify(is)) return [];
      if (was === undefined) return [{ path: `/${name}`, kind: 'create', after: is }];
      return is === undefined
        ? [{ path: `/${name}`, kind: 'delete', before: was }]
        : [{ path: `/${name}`, kind: 'replace', before: was, after: is }];
    });
  }
}
