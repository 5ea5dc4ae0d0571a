/*
 * Conversations of every protocol there is a vector for, mixed, and what following them costs per packet (DP-10).
 *
 * It must not judge: timed is kedge_flows_observe alone, over frames that were parsed and judged before.
 */
#ifndef KEDGE_BENCH_CONVERSATIONS_H
#define KEDGE_BENCH_CONVERSATIONS_H

#include <stdbool.h>
#include <stdint.h>

#define CONVERSATION_PACKETS 65536u

struct conversations; /* the packets of one mixture, and the table that follows them */

/*
 * So many conversations at a time, in a table of KEDGE_FLOWS_DEFAULT places; of a thousand packets twenty begin
 * another. Each begins with its greeting, says its vector, and goes on with data in both directions. The same for the
 * same number. Ends the process where memory is short.
 */
struct conversations *conversations_of(uint32_t number);
void conversations_free(struct conversations *conversations);

/*
 * All packets once, from an empty table on: every conversation is looked into anew. Nanoseconds that it took; how many
 * packets belonged to a conversation whose protocol was known. `deeper`: at a level that looks deeper.
 */
uint64_t conversations_pass(struct conversations *conversations, bool deeper, uint32_t *known);

#endif
