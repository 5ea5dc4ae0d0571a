/** Types of bundle.mjs for its tests. Must not promise what bundle.mjs does not export. */
export function services(): string[];
export function bundle(service: string): Promise<boolean>;
export function bundleAll(say?: (line: string) => void): Promise<number>;
