/**
 * What accords and zones say beyond their modules (PO-2): what the coordinator would refuse is found before anything is
 * in force.
 * It must not judge by rules of its own.
 */
import type { Container, Finding } from '@kedge/datastores';
import { compileAccords, findLoosenings, validateAccords } from '@kedge/posture';
import { KedgeError } from '@kedge/units';

const ACCORDS = 'kedge-accords:accords';

/** What is wrong with accords that their modules accept; the code of each as its tag. */
export function accordsFindings(tree: Container): readonly Finding[] {
  const { [ACCORDS]: accords, ...zones } = tree;
  const reading = validateAccords({ [ACCORDS]: accords }, zones);
  if (!reading.valid) return reading.faults.map(findingOf);
  const { set } = reading;
  return [
    ...findLoosenings(set).map(findingOf),
    ...notCompiled(() => compileAccords(set.accords, set.zones)),
  ];
}

function findingOf({ code, path, message }: { code: string; path: string; message: string }): Finding {
  return { path, message, appTag: code };
}

/** Tables hold so much; the compiler says it at the first entry too many. */
function notCompiled(work: () => unknown): readonly Finding[] {
  try {
    work();
    return [];
  } catch (error) {
    if (!(error instanceof KedgeError)) throw error;
    const { field: path = '', message, code } = error;
    // The place stands in the message too, with what was tried before it.
    return [
      { path, message: message.slice(message.indexOf(`${path}: `)).slice(path.length + 2), appTag: code },
    ];
  }
}
