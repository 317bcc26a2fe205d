// The pool of workspaces, and the Date header.
#include "runtime/http/workspace.hpp"

#include "runtime/platform/platform.hpp"

#include <cstring>

namespace weft::rt {

std::string_view http_workspace::date() {
  std::int64_t const second = realtime_ns() / 1'000'000'000;
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
  out.clear();
  if (out.capacity() > 2 * common) out = {};
  if (in_size > common) in.reset(), in_size = 0;
}

workspace_pool::workspace_pool() { idle_.reserve(most_kept); }

std::unique_ptr<http_workspace> workspace_pool::get() {
  {
    guard const held(lock_);
    if (!idle_.empty()) {
      auto w = std::move(idle_.back());
      idle_.pop_back();
      return w;
    }
  }
  return std::make_unique<http_workspace>();
}

void workspace_pool::put(std::unique_ptr<http_workspace> w) noexcept {
  w->reset();
  guard const held(lock_);
  if (idle_.size() < most_kept) idle_.push_back(std::move(w));  // reserved: does not throw
}

}  // namespace weft::rt
