/**
 * The posture coordinator is a process: it is started, never imported (`dist/main.js --config FILE`).
 * It must export nothing.
 */
export {};
