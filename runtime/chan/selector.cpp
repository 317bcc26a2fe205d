// selector: keeps the cases of a select; the waiting itself is select_run's.

#include <weft/selector.hpp>

#include <exception>

#include "runtime/base/check.hpp"

namespace weft {

namespace detail {
void fatal_rearm(std::size_t index, std::size_t count) noexcept {
  rt::fatal("weft::selector::rearm: case %zu of %zu is no send of that type", index, count);
}
}  // namespace detail

std::size_t selector::add(std::unique_ptr<detail::selector_entry> entry) {
  table_.resize(entries_.size() + 1);
  entries_.push_back(std::move(entry));
  return entries_.size() - 1;
}

std::size_t selector::wait() {
  std::size_t const count = entries_.size();
  for (std::size_t i = 0; i < count; ++i) {
    table_[i] = {};
    entries_[i]->describe(table_[i]);
  }
  detail::select_outcome outcome{count, false};
  std::exception_ptr unsettled;  // of a move back to what was not sent: comes out behind all else, as select's
  auto const settle_all = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      try {
        entries_[i]->settle(outcome.index == i && outcome.ok);
      } catch (...) {
        unsettled = std::current_exception();
      }
    }
  };
  try {
    outcome = detail::select_run(table_.data(), count, false);
  } catch (...) {
    settle_all();
    if (unsettled) std::rethrow_exception(unsettled);
    throw;
  }
  settle_all();
  std::shared_ptr<detail::selector_entry> const chosen = entries_[outcome.index];
  chosen->finish(outcome.ok);
  if (unsettled) std::rethrow_exception(unsettled);
  return outcome.index;
}

}  // namespace weft
