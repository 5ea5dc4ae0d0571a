/*
 * A race that ThreadSanitizer has to see, on the same kind of memory as the native tests: one thread writes a
 * transition line by its front door, another reads a field of it without the line's lock.
 *
 * It must stay wrong. Some sanitizers' runtimes see nothing on some kernels and say nothing about it; a run of
 * the tests counts only beside a report of this one.
 */
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <thread>

#include "kedge/segment.h"

int main()
{
  void *memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return 1;
  auto *line = static_cast<kedge_transition *>(memory);
  std::thread writer([line] {
    for (uint64_t epoch = 1; epoch <= 20000; epoch++) {
      kedge_transition_view view = {};
      view.epoch = epoch;
      kedge_transition_write(line, &view);
    }
  });
  uint64_t sum = 0;
  for (int i = 0; i < 20000; i++) {
    uint64_t epoch;
    std::memcpy(&epoch, static_cast<const void *>(&line->epoch), sizeof(epoch));
    sum += epoch;
  }
  writer.join();
  std::printf("not seen (%llu)\n", static_cast<unsigned long long>(sum));
  return 0;
}
