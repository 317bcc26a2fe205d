// How weft starts a thread.
#pragma once

#include <signal.h>

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

/// Signals meant for the program are not for the thread that is started meanwhile: all are blocked. The caller's mask
/// comes back however that ends.
class signals_blocked {
 public:
  signals_blocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  signals_blocked(signals_blocked const&) = delete;
  signals_blocked& operator=(signals_blocked const&) = delete;

 private:
  sigset_t before_;
};

}  // namespace weft::rt
