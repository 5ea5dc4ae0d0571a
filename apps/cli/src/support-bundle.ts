export const supportBundle = (_: unknown): Promise<{ x: 1 }> => Promise.resolve({ x: 1 });
export const bundleText = (_: unknown): string => '';
