// The pool of workspaces, and the Date header.
#include "runtime/http/workspace.hpp"

#include "runtime/platform/platform.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/wait.hpp"
#include "runtime/sched/worker.hpp"

#include <weft/detail/simulated.hpp>

#include <algorithm>
#include <cstring>

namespace weft::rt {

namespace {

/// In a simulated run the virtual one, so that a response is the same for its seed.
std::int64_t since_1970_ns() noexcept {
  if (detail::simulations.load(std::memory_order_relaxed) != 0 && current_simulation() != nullptr) [[unlikely]]
    return clock_ns();
  return realtime_ns();
}

}  // namespace

std::string_view http_workspace::date() {
  std::int64_t const second = since_1970_ns() / 1'000'000'000;
  if (second != date_second_) {
    date_second_ = second;
    write_http_date(date_, second);
  }
  return {date_, sizeof date_};
}

void http_workspace::grow_in(std::size_t size, std::size_t kept) {
  if (size <= in_size) return;
  auto larger = std::make_unique_for_overwrite<char[]>(size);
  if (kept != 0) std::memcpy(larger.get(), in.get(), kept);
  in = std::move(larger);
  in_size = size;
}

void http_workspace::reset() noexcept {
  constexpr std::size_t common = 64 * 1024;
  http_access::clear(request);  // here, where the destructors of what a handler left may do anything
  out.clear();
  if (out.capacity() > 2 * common) std::string().swap(out);  // assigning an empty one would keep the memory
  if (in_size > common) in.reset(), in_size = 0;
}

workspace_pool::workspace_pool() : shelves_(std::clamp(usable_cpus(), least_shelves, most_shelves)) {
  for (auto& s : shelves_) {
    guard const held(s.lock);
    s.idle.reserve(most_kept);
  }
}

workspace_pool::shelf& workspace_pool::here() noexcept { return shelves_[current_worker()->index % shelves_.size()]; }

std::unique_ptr<http_workspace> workspace_pool::get() {
  {
    auto& s = here();
    guard const held(s.lock);
    if (!s.idle.empty()) {
      auto w = std::move(s.idle.back());
      s.idle.pop_back();
      return w;
    }
  }
  return std::make_unique<http_workspace>();
}

void workspace_pool::put(std::unique_ptr<http_workspace> w) noexcept {
  w->reset();
  auto& s = here();
  guard const held(s.lock);
  if (s.idle.size() < most_kept) s.idle.push_back(std::move(w));  // reserved: does not throw
}

}  // namespace weft::rt
