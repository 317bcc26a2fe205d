// What the watchdog (runtime/sched/watchdog.hpp) has found, on standard error.

#include <cinttypes>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "runtime/base/check.hpp"
#include "runtime/base/message.hpp"
#include "runtime/observe/report.hpp"
#include "runtime/observe/reports.hpp"

namespace weft::rt {

void say_keeps_thread(kept_thread const& k) noexcept {
  try {
    char kept[160];
    std::snprintf(kept, sizeof kept, " has kept its thread for %" PRId64 " ms%s", k.for_ns / 1'000'000,
                  k.computes ? ", computing" : ", in a system call");
    std::string text = "weft: watchdog: " + who(k.task, k.name, k.file, k.line) + kept;
    if (k.left_out != 0) text += "; " + std::to_string(k.left_out) + " more such times were not told of";
    text += '\n';
    if (k.call_count != 0) text += describe_calls({k.calls, k.calls + k.call_count});
    write_error(text);
  } catch (std::bad_alloc const&) {
    warn("watchdog: task %" PRIu64 " keeps its thread; out of memory for more", k.task);
  }
}

}  // namespace weft::rt
