/**
 * What trees take of the process's memory, with and without somebody who disposes of them.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';

import { interfaces, interfacesDocument } from './material.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

describe('memory', () => {
  it('UN-1 V8 knows what a tree weighs: it collects those that nobody disposed of in time', async () => {
    const context = interfaces();
    const document = interfacesDocument(500);
    const before = process.memoryUsage().rss;
    // Together they would take more than 170 MB.
    for (let i = 0; i < 200; i += 1) await context.parseConfiguration(document);
    expect(process.memoryUsage().rss - before).toBeLessThan(130_000_000);
    context.dispose();
  });

  it('UN-1 reading and disposing again and again, and being refused, needs no more memory than in the beginning', async () => {
    const context = interfaces();
    const document = interfacesDocument(50);
    const bad = '{"ietf-interfaces:interfaces":{"interface":[{"name":1}]}}';
    const rounds = async (count: number): Promise<number> => {
      for (let i = 0; i < count; i += 1) {
        const tree = await context.parseConfiguration(document);
        await expect(context.parseConfiguration(bad)).rejects.toThrow('cannot parse');
        tree.dispose();
      }
      collect();
      return process.memoryUsage().rss;
    };
    const before = await rounds(100);
    const after = await rounds(400);
    expect(after - before).toBeLessThan(20_000_000);
    context.dispose();
  });
});
