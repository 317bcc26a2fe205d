// How weft starts a thread.
#pragma once

#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "runtime/platform/fault.hpp"

namespace weft::rt {

/// As the constructor of std::thread. Throws std::system_error, std::bad_alloc.
template <class F>
[[nodiscard]] std::thread start_thread(F&& f) {
  if (fault(fault_kind::thread)) throw std::system_error(errno, std::generic_category());
  return std::thread(std::forward<F>(f));
}

}  // namespace weft::rt
