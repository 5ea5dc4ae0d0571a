#!/usr/bin/env node
/**
 * Starts the verifier of ledgers as it was built.
 * It must not do anything itself.
 */
import '../dist/main.js';
