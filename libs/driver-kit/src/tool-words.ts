/**
 * What drivers of hosts speak: runs of system tools as lists of words.
 * It must not run a tool, nor join words into one text that a shell would take apart.
 */

/** One run of a tool, or one line of its batch; nothing in a word has a meaning beyond the word. */
export interface ToolWords {
  readonly tool: 'ip' | 'bridge';
  readonly words: readonly string[];
}
