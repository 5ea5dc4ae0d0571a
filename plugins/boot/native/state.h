/*
 * What boot reads of the coordinator's state directory: the decision journal and the mark of a provisioned box.
 *
 * It must write nothing there, follow no link, and read no more than a journal can hold.
 */
#ifndef KEDGE_BOOT_STATE_H
#define KEDGE_BOOT_STATE_H

#include "recovery.h"

/* Names as the coordinator gives them. */
#define BOOT_JOURNAL_NAME "decisions.journal"
#define BOOT_MARK_NAME "provisioned"
/* As many records as a coordinator may be configured to keep, 128 bytes each. */
#define BOOT_JOURNAL_MAX_BYTES ((size_t)1048576u * 128u)

/*
 * Fills journal, size, trouble and provisioned of `findings`. What cannot be looked at, or is not what the
 * coordinator would have left (a link, another owner, writable by others, larger than any journal), is
 * trouble: `why` says it in words. The caller frees `findings->journal` (a cast away from const).
 */
void boot_state_read(const char *directory, struct boot_findings *findings, char *why, size_t room);

#endif
