// The biased lock of objects that tasks of one worker use most of the time: object_lock inside, with membarrier's fences.
#pragma once

#include <atomic>
#include <cstdint>

#include "runtime/base/bias.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/platform/platform.hpp"

namespace weft::rt {

struct bias_policy {
  static constexpr std::uint16_t first_bias = 64, last_bias = 1u << 14;
  /// Relaxed: how many there were lately is good enough.
  static std::uint16_t worth() noexcept {
    constexpr std::uint16_t among_others = 1024;
    return possible_owners.load(std::memory_order_relaxed) > 1 ? among_others : first_bias;
  }
  /// Threads that have a name now. Counted by who gives them (set_current_worker).
  static constinit std::atomic<std::uint32_t> possible_owners;
  /// Without membarrier(2) no thread has a name to be an owner by (new_lock_owner): there is no bias, and nothing to ask for here.
  static void light() noexcept { detail::light_fence(); }
  static void heavy() noexcept { heavy_fence(); }
  /// The owner is a few dozen instructions from writing another one, unless the operating system has preempted it. Spins, then sleeps.
  static std::uint8_t wait_while(std::atomic<std::uint8_t>& word, std::uint8_t value) noexcept;  // lock_wait.cpp
};

using biased_lock = biased<object_lock, bias_policy>;

}  // namespace weft::rt
