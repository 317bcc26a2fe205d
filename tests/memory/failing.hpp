// Allocations that fail when a test asks for it: this program's own operator new, and malloc as weft's objects call it
// (--wrap=malloc).
#pragma once

#include <atomic>

namespace failing {

/// By operator new, and not given back.
extern std::atomic<long> outstanding;

/// On the calling thread: after n allocations the next ones fail, `times` of them.
void fail_after(long n, long times = 1) noexcept;
/// True: at least one has failed.
bool stop_failing() noexcept;

/// On all threads of that name, each allocation until the end of this object.
class fail_on {
 public:
  explicit fail_on(char const* thread_name) noexcept;
  ~fail_on();
  fail_on(fail_on const&) = delete;
  fail_on& operator=(fail_on const&) = delete;
};

}  // namespace failing
