/**
 * What is remembered of devices, a file for each: on stable storage when `keep` resolves.
 * It must not know what a memory means; one that is damaged is put aside, never repaired.
 */
import { isMissing, makeDirectory, replaceFile } from '@kedge/durable-files';
import { sha256 } from '@kedge/intent-store';
import { type DeviceMemory, memoryText, parsedMemory } from '@kedge/rollout';
import { KedgeError } from '@kedge/units';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';

/** Memory of a device; `damage` where there was one that is not what was written. Neither: it is new. */
export interface Remembered {
  readonly memory?: DeviceMemory;
  readonly damage?: KedgeError;
}

/** Files below one directory; one writer of a device at a time. */
export class DeviceFiles {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** @throws system errors where the directory cannot be made. */
  static async open(directory: string): Promise<DeviceFiles> {
    await makeDirectory(directory);
    return new DeviceFiles(directory);
  }

  /**
   * What is remembered.
   *
   * @throws system errors where that cannot be read now: it may be whole.
   */
  async read(device: string): Promise<Remembered> {
    const path = this.#pathOf(device);
    try {
      return { memory: parsedMemory(await readFile(path, 'utf8'), device, sha256) };
    } catch (error) {
      if (isMissing(error)) return {};
      if (!(error instanceof KedgeError)) throw error;
      // For whoever looks into it; the next memory takes its name.
      await rename(path, `${path}.damaged`);
      return { damage: error };
    }
  }

  /** @throws SyncFailure and system errors: the old memory or the new one is there. */
  async keep(memory: DeviceMemory): Promise<void> {
    await replaceFile(this.#pathOf(memory.device), memoryText(memory, sha256));
  }

  #pathOf(device: string): string {
    return join(this.#directory, `${encodeURIComponent(device)}.json`);
  }
}
