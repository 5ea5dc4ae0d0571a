export function holdsHeaders(directory: string, version?: string): boolean;
export function fetchHeaders(kept: string, version?: string): void;
