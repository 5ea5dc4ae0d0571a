/**
 * The commands that look an appliance over, on one lab: history, transition show, doctor, support bundle, the
 * drill's page, and the playbook that runs the drill.
 * Must not judge how a drill ends; the drill's own scenarios do.
 */
import { type Lab, labDown, labUp, PATIENT_BUDGETS } from '@kedge/lab';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { atTerminal, screenOf } from './pseudo-terminal.js';
import { kedge, kedgeError, kedgeJson } from './run-command.js';

const NAME = 'looked-over';
const LAB = ['--lab', NAME];
const COMMAND = fileURLToPath(new URL('../../apps/cli/bin/kedge.js', import.meta.url));
const PLAYBOOK = fileURLToPath(
  new URL('../../firmware/ansible/posture-transition-test.yml', import.meta.url),
);

/** Secrets of every kind, planted where services and people leave them. */
const SECRETS = {
  password: 'hunter2-of-the-broker',
  nested: 'deep under credentials',
  environment: 'env-8f3a-planted',
  bearer: 'tok.en.that-is-short',
  wireguard: 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=',
  pem: 'MC4CAQAwBQYDK2VwBCIEIPlantedPlantedPlanted',
  url: 'pa55w0rd-in-a-url',
};

interface DiagnosisJson {
  readonly healthy: boolean;
  readonly posture: { readonly level: number; readonly epoch: string };
  readonly findings: readonly {
    readonly id: string;
    readonly severity: string;
    readonly subject: string;
    readonly what: string;
    readonly todo: string;
  }[];
}
interface BundleJson {
  readonly file: string;
  readonly files: readonly {
    readonly path: string;
    readonly bytes: number;
    readonly sha256: string;
    readonly cut: boolean;
  }[];
}
interface HistoryJson {
  readonly transitions: readonly {
    readonly epoch: string;
    readonly to: number;
    readonly source: { readonly principal: string };
  }[];
}
interface TopJson {
  readonly posture: { readonly value: { readonly level: number } };
  readonly dataplane: {
    readonly value: {
      readonly received: number;
      readonly pairs: readonly { from: string; to: string; pass: number; drop: number }[];
      readonly drops: readonly { reason: string; perSecond: number; packets: string }[];
    };
  };
  readonly entries: {
    readonly value: { readonly rows: readonly { entry: string; verdict: string; packets: string }[] };
  };
}

let lab: Lab;
let work: string;

const change = (level: number, ...more: readonly string[]) =>
  kedgeJson(['posture', 'set', String(level), '--wait', ...more, ...LAB]);
const history = async (...more: readonly string[]): Promise<HistoryJson['transitions']> =>
  (await kedgeJson<HistoryJson>(['history', ...more, ...LAB])).transitions;
/** What a doctor says, however it ends. */
async function diagnosis(): Promise<DiagnosisJson & { status: number | null }> {
  const { status, out } = await kedge(['doctor', '--json', ...LAB]);
  return { ...(JSON.parse(out) as DiagnosisJson), status };
}
/** Every machine may refuse real-time priority; that is no finding about the lab. */
const aboutTheLab = ({ findings }: DiagnosisJson) =>
  findings.filter(({ id, severity }) => id !== 'realtime-missing' && severity !== 'notice');

beforeAll(async () => {
  await labDown(NAME);
  work = mkdtempSync(join(tmpdir(), 'kedge-looked-over-'));
  process.env['KEDGE_PLANTED_TOKEN'] = SECRETS.environment;
  try {
    lab = await labUp({ name: NAME, budgets: PATIENT_BUDGETS, foreground: true });
  } finally {
    delete process.env['KEDGE_PLANTED_TOKEN'];
  }
}, 120_000);

afterAll(async () => {
  await labDown(NAME);
  rmSync(work, { recursive: true, force: true });
});

describe('an appliance that is looked over', () => {
  it('PO-20 the doctor finds nothing on a lab that works, and ends with 0', async () => {
    const said = await diagnosis();
    expect(aboutTheLab(said)).toEqual([]);
    expect(said.posture.level).toBe(5);
    expect(said.status).toBe(said.healthy ? 0 : 6);
    const { out } = await kedge(['doctor', ...LAB]);
    expect(out).toMatch(/^the lab "looked-over": level 5 normal, epoch \d+\n/);
  });

  it('PO-8 history is had by time, level and source, in a table that lines up', async () => {
    const from = new Date(Date.now() - 1_000).toISOString();
    await change(4, '--reason', 'looked at closely', '--principal', 'user:ada');
    await change(5, '--reason', 'all clear', '--principal', 'user:grace-hopper');
    const [newest, before] = await history('--since', '1h');
    expect([newest?.to, before?.to]).toEqual([5, 4]);
    expect(await history('--level', '4')).toEqual([before]);
    expect(await history('--source', 'user:ada')).toEqual([before]);
    expect(await history('--source', 'console')).toEqual([]);
    expect(await history('--since', from, '--limit', '1')).toEqual([newest]);
    expect(await history('--since', new Date(Date.now() + 60_000).toISOString())).toEqual([]);
    const { out } = await kedge(['history', ...LAB]);
    const lines = out.trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(2);
    const column = lines[0]?.indexOf('reason') ?? -1;
    expect(lines[1]?.slice(column)).toBe('all clear');
    expect(lines[2]?.slice(column)).toBe('looked at closely');
    expect(new Set(lines.slice(1).map((line) => line.indexOf('→'))).size).toBe(1);
  });

  it('PO-8 a transition is shown with everybody who took part, each against its budget', async () => {
    const [, tightening] = await history('--limit', '2');
    const { out } = await kedge(['transition', 'show', tightening?.epoch ?? '', ...LAB]);
    expect(out).toMatch(/\npath +participant +start +end +took +budget +outcome +changes\n/);
    expect(out).toMatch(/\ndataplane +\+[\d.]+ [nµm]?s +\+[\d.]+ [µm]s +[\d.]+ [µm]s +50\.0 ms {2}applied\n/);
    expect(out).toMatch(/\n +reference\/0 +\+.* applied +\d+\n/);
    for (const path of ['overlay', 'underlay']) expect(out).toMatch(new RegExp(`\n${path} `));
  });

  it('kedge top shows every class of the lab as it flows and as it is dropped, on a screen that fits', async () => {
    const top = async (): Promise<readonly TopJson[]> => {
      const { status, out } = await kedge(['top', '--json', '--count', '2', ...LAB]);
      expect(status).toBe(0);
      return out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as TopJson);
    };
    /** The classes: what has an entry of its own by its name, what has none by its zone pair. */
    const classes = ({ dataplane, entries }: TopJson) => {
      const verdictOf = (name: string): string | undefined =>
        entries.value.rows.find(({ entry, packets }) => entry === name && packets !== '0')?.verdict;
      const { pass, drop } =
        dataplane.value.pairs.find(({ from, to }) => from === 'guest' && to === 'servers') ?? {};
      return {
        management: verdictOf('management-snmp'),
        critical: verdictOf('critical-voice'),
        ordinary: verdictOf('ordinary-web'),
        unapproved:
          drop === 0 && (pass ?? 0) > 0 ? 'pass' : pass === 0 && (drop ?? 0) > 0 ? 'drop' : undefined,
      };
    };
    const open = await top();
    expect(open).toHaveLength(2);
    const flows = { management: 'pass', critical: 'pass', ordinary: 'pass', unapproved: 'pass' };
    expect(open.map(classes)).toEqual([flows, flows]);
    expect(open.every(({ dataplane }) => dataplane.value.received > 0)).toBe(true);

    await change(2, '--reason', 'to see what is dropped');
    try {
      const [, shut] = await top();
      expect(shut?.posture.value.level).toBe(2);
      expect(shut === undefined ? {} : classes(shut)).toEqual({
        ...flows,
        ordinary: 'drop',
        unapproved: 'drop',
      });
      const dropped = shut?.dataplane.value.drops.filter(({ perSecond }) => perSecond > 0);
      expect(dropped?.map(({ reason }) => reason)).toEqual(expect.arrayContaining(['entry', 'pair']));

      const size = { columns: 80, rows: 24 };
      const at = atTerminal(['top', '--count', '2', ...LAB], size);
      expect(await at.ended).toBe(0);
      const screen = screenOf(at.output(), size);
      expect(screen).toMatchObject({ beyond: [], givenBack: true });
      const text = screen.lines.join('\n');
      expect(text).toMatch(/^level 2 emergency {2}epoch \d+$/m);
      expect(text).toMatch(/^guest → servers +0 +0 +\d+ │/m);
      expect(text).toMatch(/^ordinary-web .* drop +\d/m);
    } finally {
      await change(5, '--reason', 'seen');
    }
  });

  it('PO-13 PO-19 the doctor tells what the warden saw, also where no line was set, and ends with 6', async () => {
    const [bridge] = lab.serviceProcesses('vpp-bridge');
    process.kill(bridge?.pid ?? 0, 'SIGKILL');
    writeFileSync(join(lab.board, 'participant-guest'), '');
    const died = /died and was started again; no line was set/;
    let said = await diagnosis();
    // It comes back by itself; what happened stays known.
    for (const until = performance.now() + 15_000; performance.now() < until; said = await diagnosis()) {
      const wrong = aboutTheLab(said);
      if (wrong.length === 2 && wrong.some(({ what }) => died.test(what))) break;
    }
    rmSync(join(lab.board, 'participant-guest'));
    expect(aboutTheLab(said)).toEqual([
      expect.objectContaining({ id: 'board-file-foreign', subject: 'participant-guest' }),
      expect.objectContaining({
        id: 'violation',
        subject: 'vpp-bridge',
        what: expect.stringMatching(died) as string,
      }),
    ]);
    expect(said.findings.every(({ todo }) => todo.length > 5)).toBe(true);
    expect(said).toMatchObject({ healthy: false, status: 6 });
  });

  it('a support bundle holds what helps and none of the secrets that were planted', async () => {
    writeFileSync(
      lab.reach('/run/kedge/etc/fleet.json'),
      JSON.stringify({
        broker: { host: 'broker.example', mqttPassword: SECRETS.password },
        credentials: { deep: [{ er: SECRETS.nested }] },
      }),
    );
    writeFileSync(lab.reach('/run/kedge/etc/private.pem'), 'never opened');
    appendFileSync(
      lab.reach('/run/kedge/log/planted.log'),
      [
        ...[
          `dial with ${SECRETS.password}`,
          `retry %s ${encodeURIComponent(SECRETS.nested)}`,
          SECRETS.environment,
        ],
        ...[`authorization: Bearer ${SECRETS.bearer}`, `{"err":"{\\"psk\\":\\"${SECRETS.wireguard}\\"}"}`],
        ...['-----BEGIN PRIVATE KEY-----', SECRETS.pem, '-----END PRIVATE KEY-----'],
        ...[`mqtts://site-7:${SECRETS.url}@broker.example`, Buffer.from(SECRETS.password).toString('base64')],
        'an ordinary line of the log',
      ].join('\n'),
    );
    appendFileSync(lab.reach('/run/kedge/log/large.log'), `${SECRETS.wireguard}\n`.repeat(20_000));
    await change(
      4,
      '--reason',
      `the fleet says ${SECRETS.password}`,
      '--principal',
      `user:${SECRETS.nested}`,
    );
    await change(5, '--reason', 'and back');

    const file = join(work, 'bundle.tar.gz');
    const bundle = await kedgeJson<BundleJson>(['support', 'bundle', '--output', file, ...LAB]);
    expect(bundle.file).toBe(file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    execFileSync('tar', ['-xzf', file, '-C', work]);
    const root = join(work, 'bundle');
    const paths = readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(root, join(entry.parentPath, entry.name)));
    const parts = ['doctor.txt', 'board/snapshot.json', 'posture/history.json', 'posture/state.json'];
    for (const part of [...parts, 'configuration/fleet.json', 'logs/planted.log', 'system/versions.json']) {
      expect(paths).toContain(part);
    }
    expect(paths.filter((path) => path.includes('pem'))).toEqual([]);

    // The manifest names every file, in order, with what is in it.
    const manifest = JSON.parse(readFileSync(join(root, 'manifest.json'), 'utf8')) as BundleJson;
    expect(manifest.files).toEqual(bundle.files);
    expect(manifest.files.map(({ path }) => path)).toEqual(
      paths.filter((path) => path !== 'manifest.json').sort(),
    );
    for (const { path, bytes, sha256 } of manifest.files) {
      const content = readFileSync(join(root, path));
      expect({
        path,
        bytes: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
      }).toEqual({
        path,
        bytes,
        sha256,
      });
    }
    const large = manifest.files.find(({ path }) => path === 'logs/large.log');
    expect(large).toMatchObject({ cut: true });
    expect(large?.bytes).toBeLessThan(256 * 1024);

    // Not one of them, in any form, in any file, in the names of files, or in the archive as it lies there.
    const everything = [...paths.map((path) => readFileSync(join(root, path), 'latin1')), paths.join('\n')];
    everything.push(execFileSync('gzip', ['-dc', file], { maxBuffer: 64 << 20, encoding: 'latin1' }));
    let searched = 0;
    for (const [kind, secret] of Object.entries(SECRETS)) {
      const base64 = Buffer.from(secret).toString('base64').replace(/=+$/, '');
      for (const form of [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), base64]) {
        expect(
          everything.filter((content) => content.includes(form)),
          kind,
        ).toEqual([]);
        searched += 1;
      }
    }
    expect(searched).toBe(Object.keys(SECRETS).length * 4);
    const log = readFileSync(join(root, 'logs/planted.log'), 'utf8');
    expect(log).toContain('an ordinary line of the log');
    expect(log).toContain('dial with [secret]');
    expect(readFileSync(join(root, 'configuration/fleet.json'), 'utf8')).toContain('broker.example');
    const services = readFileSync(join(root, 'system/services.json'), 'utf8');
    expect(services).toContain('"KEDGE_PLANTED_TOKEN"');

    // An archive is never written over another.
    expect(await kedgeError(['support', 'bundle', '--output', file, ...LAB])).toMatchObject({
      code: 'CLI_OUTPUT',
      field: '--output',
      status: 3,
    });
  });

  it('PO-21 the playbook drills a host, brings JSON and page here, and takes a bad end for a failure', async () => {
    const reports = join(work, 'reports');
    const play = (
      options: object,
      ...more: readonly string[]
    ): Promise<{ status: number | null; out: string }> =>
      new Promise((resolve, reject) => {
        const child = spawn(
          'ansible-playbook',
          [
            ...['-i', 'localhost,', '-c', 'local', ...more, PLAYBOOK],
            ...['-e', JSON.stringify({ kedge_become: false, kedge_report_directory: reports, ...options })],
          ],
          {
            env: {
              ...process.env,
              ANSIBLE_LOCAL_TEMP: join(work, 'ansible'),
              ANSIBLE_REMOTE_TEMP: join(work, 'ansible'),
              ANSIBLE_ASYNC_DIR: join(work, 'ansible-async'),
              ANSIBLE_NOCOLOR: '1',
            },
            stdio: ['ignore', 'pipe', 'pipe'],
          },
        );
        let out = '';
        child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
        child.stderr.on('data', (chunk: Buffer) => (out += chunk.toString()));
        child.on('error', reject);
        child.on('close', (status) => {
          resolve({ status, out });
        });
      });
    const fake = join(work, 'kedge-that-fails');
    const told = {
      ok: false,
      steps: [],
      violations: [{ kind: 'leak', epoch: '7', level: 2, message: '3 came through' }],
    };
    writeFileSync(
      fake,
      `#!/bin/sh\ncase "$1" in drill) echo '<p>page</p>' > "$4"; echo '${JSON.stringify(told)}'; exit 6;; esac\n`,
    );
    chmodSync(fake, 0o755);
    const [syntax, passed, failed, wrong] = await Promise.all([
      play({}, '--syntax-check'),
      play({
        kedge_command: [process.execPath, COMMAND],
        kedge_lab: NAME,
        kedge_level: 4,
        kedge_dwell_ms: 200,
      }),
      play({ kedge_command: [fake], kedge_report_directory: join(work, 'failed') }),
      play({ kedge_level: 5 }),
    ]);
    expect(syntax.status, syntax.out).toBe(0);
    expect(wrong.out).toContain('kedge_level has to be 1 to 4');
    expect(wrong.status).not.toBe(0);
    expect(failed.status).not.toBe(0);
    expect(failed.out).toContain('localhost: the drill FAILED, violations: 1');
    expect(failed.out).toContain('leak (epoch 7, level 2): 3 came through');
    expect(readFileSync(join(work, 'failed/localhost/drill.html'), 'utf8')).toContain('page');

    const json = JSON.parse(readFileSync(join(reports, 'localhost/drill.json'), 'utf8')) as {
      ok: boolean;
      steps: { to: number }[];
    };
    expect(json.steps.map(({ to }) => to)).toEqual([4, 5, 4, 5]);
    expect(passed.status === 0, passed.out).toBe(json.ok);
    const page = readFileSync(join(reports, 'localhost/drill.html'), 'utf8');
    expect(page).toContain(json.ok ? 'PASSED' : 'FAILED');
    expect(page).toContain(`the lab &quot;${NAME}&quot;`);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('kedge-drill-'))).toEqual([]);
  }, 240_000);

  it('a page that cannot be written is told before the drill', async () => {
    const path = join(work, 'not-there', 'drill.html');
    expect(await kedgeError(['drill', '--report', path, ...LAB])).toMatchObject({
      code: 'CLI_OUTPUT',
      field: '--report',
      status: 3,
    });
    expect(existsSync(path)).toBe(false);
  });
});
