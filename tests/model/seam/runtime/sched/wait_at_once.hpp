// W1 of the one task of a model's check, or of nobody: then it takes cancellation_point().
#pragma once

#include "runtime/sched/wait.hpp"

namespace weft::rt {

class waiting_caller {
 public:
  constexpr explicit waiting_caller(waiter* who) noexcept : who_(who) {}
  [[nodiscard]] constexpr bool is_nobody() const noexcept { return who_ == nullptr; }
  [[nodiscard]] waiter& who() const noexcept { return *who_; }
  [[nodiscard]] lock_owner owner() const noexcept { return passing_owner; }
  void make_ready(waiter& w) const noexcept { ready(w); }
  how park(waiter& self, park_request const& request) const noexcept { return rt::park(self, request); }

 private:
  waiter* who_;
};

waiting_caller wait_at_once() noexcept;
using detail::current_lock_owner;

}  // namespace weft::rt
