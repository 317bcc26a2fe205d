// W1 of the one task of a model's check, or of nobody: then it takes cancellation_point().
#pragma once

#include "runtime/sched/wait.hpp"

namespace weft::rt {

waiting_caller wait_at_once() noexcept;
using detail::current_lock_owner;

}  // namespace weft::rt
