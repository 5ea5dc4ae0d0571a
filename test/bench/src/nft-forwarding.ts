/**
 * The classifier's peer: the kernel forwards the flows of the bench through a network namespace, by turns with
 * nftables sets of the same entries and without rules. Must not touch a namespace but the two of its own, nor leave
 * one behind.
 */
import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Namespace } from './namespace.js';

const PROGRAM = fileURLToPath(new URL('../build/forwarding', import.meta.url));
const FLOWS = 65_536;
const TURNS = 8;
const PASSES = 3;
const MAX_RULES = 1 << 26;

export interface NftForwarding {
  /** Nanoseconds per packet of each pass without rules. */
  readonly bare: readonly number[];
  /** Nanoseconds per packet of each pass with the sets. */
  readonly ruled: readonly number[];
}

interface Options {
  readonly entries: number;
  /** Per family. */
  readonly shapes: number;
  readonly cpu: number;
  readonly progress: (line: string) => void;
}

const MAC = { in: '02:00:00:00:00:01', out: '02:00:00:00:00:03', sink: '02:00:00:00:00:04' } as const;

/** Joins both namespaces by two wires and lets the router forward from the first to the second. */
function wire(router: Namespace, outside: Namespace): void {
  outside.ip(`link add source type veth peer name in address ${MAC.in} netns ${String(router.pid)}`);
  outside.ip(
    `link add sink address ${MAC.sink} type veth peer name out address ${MAC.out} netns ${String(router.pid)}`,
  );
  // What arrives outside belongs to nobody there and goes no further.
  for (const family of ['ipv4.ip_forward', 'ipv6.conf.all.forwarding']) outside.set(family, 0);
  router.set('ipv4.ip_forward', 1);
  router.set('ipv6.conf.all.forwarding', 1);
  for (const name of ['all', 'in', 'out']) router.set(`ipv4.conf.${name}.rp_filter`, 0);
  router.ip('address add 192.0.2.1/24 dev out');
  router.ip('address add 2001:db8::1/64 dev out nodad');
  for (const [holder, name] of [
    [outside, 'source'],
    [outside, 'sink'],
    [router, 'in'],
    [router, 'out'],
  ] as const)
    holder.ip(`link set ${name} up`);
  for (const neighbour of ['192.0.2.2', '2001:db8::2'])
    router.ip(`neighbour add ${neighbour} lladdr ${MAC.sink} dev out nud permanent`);
  router.ip('route add default via 192.0.2.2 dev out');
  router.ip('-6 route add default via 2001:db8::2 dev out');
}

/** Packets that came out at the far end so far. */
function arrived(outside: Namespace): number {
  const [link] = JSON.parse(outside.run(['ip', '-j', '-s', 'link', 'show', 'sink'])) as readonly {
    stats64: { rx: { packets: number } };
  }[];
  return link?.stats64.rx.packets ?? 0;
}

/** Packets that no set named, as the last rule counts them. */
function strangers(router: Namespace): number {
  const [, count] =
    /counter packets (\d+)/.exec(router.run(['nft', 'list', 'chain', 'inet', 'kedge_bench', 'forward'])) ??
    [];
  return Number(count);
}

/** Measures both by turns. Refuses figures of passes that lost packets or that the sets judged otherwise. */
export async function nftForwarding({ entries, shapes, cpu, progress }: Options): Promise<NftForwarding> {
  const sized = [String(entries), String(shapes)];
  const rules = execFileSync(PROGRAM, ['rules', ...sized], { encoding: 'utf8', maxBuffer: MAX_RULES });
  const ending: (() => void)[] = [];
  try {
    const router = await Namespace.start();
    ending.push(() => {
      router.end();
    });
    const outside = await Namespace.start();
    ending.push(() => {
      outside.end();
    });
    wire(router, outside);
    const sender = outside.spawn([PROGRAM, 'send', ...sized, 'source', String(cpu)]);
    sender.stderr.pipe(process.stderr, { end: false });
    ending.push(() => sender.stdin.end());
    const answers = createInterface({ input: sender.stdout })[Symbol.asyncIterator]();
    const pass = async (): Promise<number> => {
      const before = arrived(outside);
      sender.stdin.write('\n');
      const answer = await answers.next();
      if (answer.done === true) throw new Error('bench: the sender has ended');
      const came = arrived(outside) - before;
      if (came < FLOWS || came > FLOWS + 100)
        throw new Error(`bench: of ${String(FLOWS)} packets ${String(came)} were forwarded`);
      return Number(answer.value) / 1_000;
    };
    const bare: number[] = [];
    const ruled: number[] = [];
    await pass();
    for (let turn = 0; turn < TURNS; turn += 1) {
      for (let i = 0; i < PASSES; i += 1) bare.push(await pass());
      router.run(['nft', '-f', '-'], rules);
      for (let i = 0; i < PASSES; i += 1) ruled.push(await pass());
      const judged = strangers(router);
      if (Math.abs(judged - (PASSES * FLOWS) / 2) > 100)
        throw new Error(`bench: nftables took ${String(judged)} packets for strangers, not half`);
      router.run(['nft', 'flush', 'ruleset']);
      progress(`turn ${String(turn + 1)} of ${String(TURNS)}`);
    }
    return { bare, ruled };
  } finally {
    for (const end of ending) end();
  }
}
