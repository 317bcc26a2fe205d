// How weft starts a thread.
#pragma once

#include <signal.h>

#include <cerrno>
#include <chrono>
#include <future>
#include <system_error>
#include <thread>
#include <utility>

#include "runtime/platform/fault.hpp"
#include "runtime/platform/platform.hpp"

namespace weft::rt {

/// As the constructor of std::thread. Throws std::system_error, std::bad_alloc.
template <class F>
[[nodiscard]] std::thread start_thread(F&& f) {
  if (fault(fault_kind::thread)) throw std::system_error(errno, std::generic_category());
  return std::thread(std::forward<F>(f));
}

/// A thread that nobody joins. dlclose() leaves the library in memory that weft is linked into as long as it runs, also where it has not come
/// to its first instruction before the caller goes on. Throws std::system_error, std::bad_alloc.
template <class F>
void start_detached(F f) {
  // Where the caller is waited for by a library's constructor that thread holds the loader's lock: the new one comes later, and nothing is unloaded.
  constexpr std::chrono::seconds patience(1);
  std::promise<void> begun;
  auto const has_begun = begun.get_future();
  auto const tell = [](std::promise<void> to) { to.set_value(); };  // and what it shares goes
  start_thread([f = std::move(f), begun = std::move(begun), tell]() mutable {
    keep_loaded();
    tell(std::move(begun));
    f();
  }).detach();
  has_begun.wait_for(patience);
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
