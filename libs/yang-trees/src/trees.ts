/**
 * The trees of yang/trees.json: which modules make up one tree of data, and where their files are.
 * It must not look into a module.
 */
import { KedgeError } from '@kedge/units';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** The project's own modules and trees.json. */
export const PROJECT_MODULES = fileURLToPath(new URL('../../../yang', import.meta.url));

/**
 * Where Debian's libyuma-base has the modules of the IETF and IANA. The first holds the revisions after NMDA
 * (RFC 8342) and goes before the second, which has older ones of the same names.
 */
export const STANDARD_MODULES = [
  '/usr/share/yuma/nmda-modules/ietf',
  '/usr/share/yuma/modules/ietf',
] as const;

const treesSchema = z.record(
  z.string().regex(/^[a-z][a-z-]*$/),
  z.strictObject({
    what: z.string().min(1),
    nodes: z.enum(['config', 'all']),
    modules: z.array(z.string()).min(1),
    bases: z.array(z.string()).optional(),
  }),
);

/** One tree of data: what is validated together. */
export interface Tree {
  readonly name: string;
  /** What its data are about, for people; begins lower-case and has no full stop. */
  readonly what: string;
  /** `config`: intent, without state nodes. `all`: what was read or came about, state nodes included. */
  readonly nodes: 'config' | 'all';
  /** Its modules, in the order of yang/trees.json. */
  readonly modules: readonly { readonly name: string; readonly file: string; readonly own: boolean }[];
  /** Files of modules that have no data here, and the bases of identities that some module derives from. */
  readonly bases: readonly string[];
  /** Directories in which imports are looked for. */
  readonly path: readonly string[];
}

/**
 * The trees of a directory, by name.
 *
 * @param directory has `trees.json` and the own modules; the project's own where none is given.
 * @throws KedgeError `SCHEMA_TREES` when the list cannot be read or names a module that is nowhere.
 */
export function treesOf(directory = PROJECT_MODULES): ReadonlyMap<string, Tree> {
  const file = join(directory, 'trees.json');
  const fail = (message: string, cause?: unknown): KedgeError =>
    new KedgeError({
      code: 'SCHEMA_TREES',
      message: `cannot use ${file}: ${message}`,
      help: 'the set-up installs the modules of the IETF with the package libyuma-base',
      ...(cause === undefined ? {} : { cause }),
    });
  let lists: z.output<typeof treesSchema>;
  try {
    lists = treesSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw fail('it is no list of trees', cause);
  }
  const places = moduleFiles([directory, ...STANDARD_MODULES]);
  const placeOf = (tree: string, module: string): string => {
    const found = places.get(module);
    if (found === undefined) throw fail(`the tree ${tree} has a module ${module}, which is nowhere`);
    return found;
  };
  return new Map(
    Object.entries(lists).map(([name, { what, nodes, modules, bases = [] }]) => [
      name,
      {
        name,
        what,
        nodes,
        path: [directory, ...STANDARD_MODULES],
        modules: modules.map((module) => {
          const file = placeOf(name, module);
          return { name: module, file, own: file === join(directory, `${module}.yang`) };
        }),
        bases: bases.map((module) => placeOf(name, module)),
      },
    ]),
  );
}

/** The file of every module in these directories; of several revisions the newest, wherever it stands. */
export function moduleFiles(directories: readonly string[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const revision = (path: string): string => /@([0-9-]+)\.yang$/.exec(path)?.[1] ?? '';
  for (const directory of directories) {
    let names: string[];
    try {
      names = readdirSync(directory).filter((name) => name.endsWith('.yang'));
    } catch {
      // A directory of a package that is not installed: what is missing is told by who needs it.
      continue;
    }
    for (const name of names) {
      const [module = ''] = basename(name, '.yang').split('@');
      const other = found.get(module);
      if (other === undefined || revision(name) > revision(other)) found.set(module, join(directory, name));
    }
  }
  return found;
}
