// The functions behind sched's observer (runtime/sched/observer.hpp says when each is called).
#pragma once

#include <string>

#include "runtime/sched/observer.hpp"

namespace weft::rt {

[[nodiscard]] idle_verdict all_idle(scheduler& s) noexcept;  // deadlock.cpp
void begin_watching_quit(scheduler& s);                      // quit.cpp
void listen_for_quit() noexcept;
void end_watching_quit(scheduler& s) noexcept;
void say_keeps_thread(kept_thread const& k) noexcept;                     // watchdog.cpp
void say_locks_in_circle(std::vector<lock_step> const& circle) noexcept;  // lock_order.cpp
/// Asked for so that a linker takes it from the archive (debugger.cpp).
[[nodiscard]] void const* debugger_layout() noexcept;

}  // namespace weft::rt
