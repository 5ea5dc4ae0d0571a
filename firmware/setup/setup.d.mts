export function told(output: string): string;
export function modulesFollowLock(root?: string): boolean;
