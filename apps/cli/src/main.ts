/**
 * The command `kedge`: reads the command line, runs what it names, ends with the exit status of its outcome.
 * It must stay quick to load: what a command needs is imported when it runs.
 */
import { KedgeError } from '@kedge/units';

import { fail } from './failure.js';
import { CommanderError, programOf } from './program.js';

const HELP = 'kedge --help, and --help after any command, tell what is expected';

/** What the command line got wrong, as an error of the usual shape. */
function usageError(error: CommanderError): KedgeError {
  if (error.code === 'commander.help') {
    return new KedgeError({ code: 'CLI_USAGE', message: 'a command is missing', help: HELP });
  }
  const said = error.message.replace(/^error: /, '');
  // "option '--limit <n>' argument 'x' is invalid. expected a whole number." names field and expectation.
  const [, what, expected] = /^(.*? is invalid[^.]*)\. expected (.*)\.$/s.exec(said) ?? [];
  const field = /(--[a-z-]+)/.exec(said)?.[1] ?? /argument '(\w+)'/.exec(said)?.[1];
  return new KedgeError({
    code: 'CLI_USAGE',
    message: (what ?? said).replace(/^command-argument /, ''),
    ...(field === undefined ? {} : { field }),
    ...(expected === undefined ? {} : { expected }),
    help: HELP,
  });
}

async function main(args: readonly string[]): Promise<number> {
  const json = args.includes('--json');
  let status = 0;
  try {
    await programOf((given) => {
      status = given;
    }).parseAsync(['node', 'kedge', ...args]);
    return status;
  } catch (error) {
    if (error instanceof CommanderError) {
      // --help and --version end this way too.
      if (error.exitCode === 0) return 0;
      if (error.code === 'commander.help') {
        process.stderr.write(
          'kedge: a command is missing [CLI_USAGE]\n  kedge --help tells which there are\n',
        );
        return 2;
      }
      return fail(usageError(error), json);
    }
    return fail(error, json);
  }
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});
process.exitCode = await main(process.argv.slice(2));
