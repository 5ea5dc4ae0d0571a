/**
 * A shipped set, taken apart by the form that its files are written in: quick enough for a request that waits.
 * It must not be used for anybody else's policies; a test holds it to what the engine itself reads.
 */
import type { PolicySet } from './candidate.js';
import type { Policy } from './cedar.js';
import { generationOf, type PolicyFile, policySourceOf, readPolicies } from './policy-source.js';

/** The set of this name. @throws KedgeError `AUTHZ_SET_UNKNOWN`, `AUTHZ_SET_UNREADABLE` */
export function shippedSet(name: string): PolicySet {
  const files = readPolicies(policySourceOf(name));
  return { name, generation: generationOf(files), policies: files.flatMap(policiesOf) };
}

/** In our own files every policy begins with its name at the beginning of a line. */
function policiesOf({ name: file, text }: PolicyFile): readonly Policy[] {
  return text
    .split(/^(?=@id\(")/m)
    .slice(1)
    .map((part) => ({
      id: /^@id\("([^"]+)"\)/.exec(part)?.[1] ?? '',
      effect: /^forbid \(/m.test(part) ? 'forbid' : 'permit',
      reason: /^@reason\("([^"]*)"\)$/m.exec(part)?.[1] ?? '',
      file,
      text: part.slice(0, part.lastIndexOf(';') + 1),
    }));
}
