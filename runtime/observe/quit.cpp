// SIGQUIT: what all tasks do, on standard error, and the process ends with status 131; or goes on, if all its runtimes say so.
//
//   K1 the first runtime of the process finds that nobody handles SIGQUIT: it installs the handler. A thread is started with it, but
//      for weft::run, whose caller starts it when the first task has not ended within a millisecond: a thread's beginning and end are a
//      tenth of what a program takes that ends sooner
//   K2 the handler, on whatever thread and stack: notes the signal, wakes the thread by an eventfd. Nothing else is safe there;
//      errno is kept
//   K3 the thread takes a census and writes it. Nothing of it needs a worker: the program may stand still in a loop or a system call.
//      What was noted before it began is the first thing that it looks for
//   K4 the last runtime's end puts back what was there, unless somebody has put another handler over ours, joins the thread, and
//      answers what nobody has answered
//
// A handler that was saved by others (weft::signals, a library that chains) may be called after K4, or in a child that fork made
// and that shares the eventfd: then nobody listens here, and it does what SIGQUIT does by default.
//
// A program that handles SIGQUIT, or was started with it ignored, keeps it so. Rejected: a thread made when the signal comes (not to be
// had in a handler), reading the eventfd through the poller (no worker may be there to look).

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

#include "runtime/base/check.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/base/message.hpp"
#include "runtime/observe/report.hpp"
#include "runtime/observe/reports.hpp"
#include "runtime/platform/descriptor.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {
namespace {

constexpr int exit_status = 128 + SIGQUIT;

// What the handler may touch.
std::atomic<int> wake_fd{-1};     // made once, never closed
std::atomic<pid_t> listening{0};  // the process that has installed it, and answers; 0: nobody
std::atomic<bool> asked{false};   // K2, taken by the thread
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void wake() noexcept {
  std::uint64_t const one = 1;
  [[maybe_unused]] ssize_t const n = ::write(wake_fd.load(std::memory_order_relaxed), &one, sizeof one);
}

extern "C" void weft_note_quit(int signal) {
  int const kept = errno;
  if (listening.load(std::memory_order_acquire) == ::getpid()) {
    asked.store(true, std::memory_order_release);
    wake();
  } else {
    ::signal(signal, SIG_DFL);
    ::raise(signal);  // blocked until the handler returns
  }
  errno = kept;
}

struct watch {
  ranked_lock lock{lock_rank::registry};
  unsigned runtimes WEFT_GUARDED_BY(lock) = 0;
  struct sigaction before WEFT_GUARDED_BY(lock) = {};
  std::thread thread WEFT_GUARDED_BY(lock);
  std::atomic<unsigned> exiting{0};  // runtimes that want the process to end
  std::atomic<bool> ends{false};     // the thread is to
};

watch& of_process() {
  static auto* w = new watch;  // never destroyed: a runtime may be a static
  return *w;
}

void report_all() noexcept {
  try {
    write_error(describe(take_census(nullptr)));
  } catch (std::bad_alloc const&) {
    warn("SIGQUIT: out of memory for the list of tasks");
  }
}

void answer_if_asked(watch& w) noexcept {
  if (!asked.exchange(false, std::memory_order_acquire)) return;
  report_all();
  if (w.exiting.load(std::memory_order_acquire) != 0) std::_Exit(exit_status);
}

void listen(watch& w) noexcept {
  sources.threads.fetch_add(1, std::memory_order_acq_rel);
  set_thread_name("weft-quit");
  while (!w.ends.load(std::memory_order_acquire)) {
    answer_if_asked(w);  // K3
    std::uint64_t wakes = 0;
    [[maybe_unused]] ssize_t const n = ::read(wake_fd.load(std::memory_order_relaxed), &wakes, sizeof wakes);
  }
  sources.threads.fetch_sub(1, std::memory_order_acq_rel);
}

void install_locked(watch& w) noexcept WEFT_REQUIRES(w.lock) {
  if (::sigaction(SIGQUIT, nullptr, &w.before) != 0 || (w.before.sa_flags & SA_SIGINFO) != 0 ||
      w.before.sa_handler != SIG_DFL)
    return;
  if (wake_fd.load(std::memory_order_relaxed) < 0) {
    int const fd = fault(fault_kind::eventfd) ? -1 : above_standard(::eventfd(0, EFD_CLOEXEC));
    if (fd < 0) return warn("SIGQUIT will end the program without a list of its tasks: no descriptor");
    wake_fd.store(fd, std::memory_order_relaxed);
  }
  listening.store(::getpid(), std::memory_order_release);
  struct sigaction ours{};
  ours.sa_handler = weft_note_quit;
  ours.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  ::sigaction(SIGQUIT, &ours, nullptr);
}

void put_back_locked(watch& w) noexcept WEFT_REQUIRES(w.lock) {
  struct sigaction now{};
  if (::sigaction(SIGQUIT, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == weft_note_quit)
    ::sigaction(SIGQUIT, &w.before, nullptr);
  listening.store(0, std::memory_order_release);
}

void start_locked(watch& w) noexcept WEFT_REQUIRES(w.lock) {
  if (listening.load(std::memory_order_relaxed) == 0 || w.thread.joinable()) return;
  w.ends.store(false, std::memory_order_relaxed);
  try {
    signals_blocked const meanwhile;
    w.thread = start_thread([&w] { listen(w); });
  } catch (std::exception const& e) {  // std::system_error or std::bad_alloc
    put_back_locked(w);
    warn("SIGQUIT will end the program without a list of its tasks: %s", e.what());
  }
}

void stop_locked(watch& w) WEFT_REQUIRES(w.lock) {
  if (listening.load(std::memory_order_relaxed) == 0) return;
  put_back_locked(w);
  if (w.thread.joinable()) {
    w.ends.store(true, std::memory_order_release);
    wake();
    w.thread.join();
  }
}

bool wants_exit(scheduler& s) noexcept { return s.opts().on_quit == quit::exit; }

}  // namespace

void begin_watching_quit(scheduler& s) {
  watch& w = of_process();
  guard hold(w.lock);
  if (wants_exit(s)) w.exiting.fetch_add(1, std::memory_order_acq_rel);
  if (w.runtimes++ == 0) install_locked(w);  // K1
}

void listen_for_quit() noexcept {
  watch& w = of_process();
  {
    guard hold(w.lock);
    start_locked(w);
  }
  answer_if_asked(w);  // there may be no thread to be had
}

void end_watching_quit(scheduler& s) noexcept {
  watch& w = of_process();
  {
    guard hold(w.lock);
    if (--w.runtimes == 0) stop_locked(w);  // K4
  }
  answer_if_asked(w);
  if (wants_exit(s)) w.exiting.fetch_sub(1, std::memory_order_acq_rel);
}

}  // namespace weft::rt
