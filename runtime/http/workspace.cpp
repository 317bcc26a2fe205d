// The pool of workspaces, and the Date header.
#include "runtime/http/workspace.hpp"

#include "runtime/platform/platform.hpp"

#include <chrono>
#include <cstring>

namespace weft::rt {

namespace {

void put_digits(char* at, unsigned n, int digits) noexcept {
  while (digits-- > 0) {
    at[digits] = static_cast<char>('0' + n % 10);
    n /= 10;
  }
}

}  // namespace

std::string_view http_workspace::date() {
  std::int64_t const second = realtime_ns() / 1'000'000'000;
  if (second != date_second_) {
    date_second_ = second;
    std::chrono::sys_seconds const now{std::chrono::seconds(second)};
    auto const day = std::chrono::floor<std::chrono::days>(now);
    std::chrono::year_month_day const date(day);
    std::chrono::hh_mm_ss const time(now - day);
    static constexpr char weekdays[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    std::memcpy(date_, "Sun, 00 Jan 0000 00:00:00 GMT", sizeof date_);
    std::memcpy(date_, weekdays + 3 * std::chrono::weekday(day).c_encoding(), 3);
    put_digits(date_ + 5, static_cast<unsigned>(date.day()), 2);
    std::memcpy(date_ + 8, months + 3 * (static_cast<unsigned>(date.month()) - 1), 3);
    put_digits(date_ + 12, static_cast<unsigned>(static_cast<int>(date.year())), 4);
    put_digits(date_ + 17, static_cast<unsigned>(time.hours().count()), 2);
    put_digits(date_ + 20, static_cast<unsigned>(time.minutes().count()), 2);
    put_digits(date_ + 23, static_cast<unsigned>(time.seconds().count()), 2);
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
