// Locks that are taken in a circle (runtime/sync/lock_order.cpp), on standard error.

#include <cstdio>
#include <new>
#include <string>

#include "runtime/base/check.hpp"
#include "runtime/base/message.hpp"
#include "runtime/observe/report.hpp"
#include "runtime/observe/reports.hpp"

namespace weft::rt {

void say_locks_in_circle(std::vector<lock_step> const& circle) noexcept {
  try {
    std::string text = "weft: lock order: " + std::to_string(circle.size()) +
                       " locks are taken in a circle; if the tasks meet, each waits for the next for ever\n";
    for (lock_step const& s : circle) {
      char locks[96];
      std::snprintf(locks, sizeof locks, " held %p and wanted %p\n", s.held, s.wanted);
      text += "  " + (s.task != 0 ? who(s.task, s.name, nullptr, 0) : std::string("a plain thread")) + locks;
      text += describe_calls(s.calls);
    }
    write_error(text);
  } catch (std::bad_alloc const&) {
    warn("lock order: locks are taken in a circle; out of memory for more");
  }
}

}  // namespace weft::rt
