/**
 * An `ip` inside of a lab that does half of a batch and then fails, while it is told to.
 * It must only ever change the lab's own mount namespace.
 */
import type { Lab } from '@kedge/lab';
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';

const PLACE = '/run/kedge/soak';
const SCRIPT = `#!/bin/sh
if [ -e ${PLACE}/fail ]; then
  for word; do
    if [ "$word" = -batch ] || [ "$word" = -b ]; then
      lines=$(cat)
      half=$(( ($(printf '%s\\n' "$lines" | wc -l) + 1) / 2 ))
      printf '%s\\n' "$lines" | head -n "$half" | ${PLACE}/ip "$@"
      echo "ip: no buffer space available" >&2
      : > ${PLACE}/struck
      exit 1
    fi
  done
fi
exec ${PLACE}/ip "$@"
`;

/** The fault, put in place. It goes with the lab. */
export class IpFault {
  readonly #lab: Lab;

  constructor(lab: Lab) {
    this.#lab = lab;
    const place = lab.reach(PLACE);
    const real = realpathSync(execFileSync('sh', ['-c', 'command -v ip'], { encoding: 'utf8' }).trim());
    mkdirSync(place, { mode: 0o777 });
    chmodSync(place, 0o777);
    copyFileSync(real, `${place}/ip`);
    chmodSync(`${place}/ip`, 0o755);
    writeFileSync(`${place}/wrapper`, SCRIPT);
    chmodSync(`${place}/wrapper`, 0o755);
    execFileSync('nsenter', ['-t', String(lab.pid), '-m', 'mount', '--bind', `${PLACE}/wrapper`, real]);
  }

  failing(fails: boolean): void {
    const path = this.#lab.reach(`${PLACE}/fail`);
    if (fails) writeFileSync(path, '');
    else rmSync(path, { force: true });
  }
}
