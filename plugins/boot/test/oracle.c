/*
 * Answers cases from standard input with what recovery.c makes of them, one line each, so that a test can ask
 * thousands of times without a process for each. Built under sanitizers; every journal is exactly as large as
 * it says, so that one byte beyond its end is seen.
 *
 * A case: u32 size, u8 present, u8 trouble, u8 provisioned, u8 provisioning level, u64 word, u64 line epoch,
 * u8 from, u8 to, 6 bytes unused, then `size` bytes of journal. Little-endian.
 *
 * It must not know what the right answer is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kedge/layout.h"
#include "recovery.h"

int main(void)
{
  uint8_t head[32];
  while (fread(head, sizeof(head), 1, stdin) == 1) {
    uint32_t size;
    struct boot_findings findings = {.trouble = (enum boot_doubt)head[5], .provisioned = head[6] != 0,
                                     .provisioning_level = head[7], .line_from = head[24], .line_to = head[25]};
    struct boot_plan plan;
    memcpy(&size, head, sizeof(size));
    memcpy(&findings.word, head + 8, 8);
    memcpy(&findings.line_epoch, head + 16, 8);
    uint8_t *journal = malloc(size > 0 ? size : 1);
    if (journal == NULL || fread(journal, 1, size, stdin) != size)
      return 1;
    findings.journal = head[4] != 0 ? journal : NULL;
    findings.size = size;
    boot_plan_of(&findings, &plan);
    printf("%s %d %u %u %" PRIu64 " %u %d %d %" PRIu64 " %u %u\n", boot_because_text(plan.because), (int)plan.doubt, plan.level,
           kedge_word_raw_level(plan.word), kedge_word_epoch(plan.word), kedge_word_flags(plan.word), plan.stands, plan.with_line,
           plan.epoch, plan.from, plan.to);
    free(journal);
  }
  return 0;
}
