// Linux: tgkill and backtrace(3). See thread_sample.hpp for the steps.
#include "runtime/base/lock.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread_sample.hpp"

#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weft::rt {
namespace {

constexpr std::int64_t patience_ns = 10'000'000;

enum : std::uint32_t { nothing, asked, taken, answered };

// What the handler may touch.
std::atomic<std::uint32_t> state{nothing};  // futex word
std::atomic<int> target{0};                 // written before `asked`
std::uint64_t (*tag_of)() noexcept = nullptr;
thread_sample* answer = nullptr;

constinit object_lock one_at_a_time;

void* where([[maybe_unused]] void* context) noexcept {
#if defined(__x86_64__)
  return reinterpret_cast<void*>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<void*>(static_cast<ucontext_t*>(context)->uc_mcontext.pc);
#else
  return nullptr;
#endif
}

void on_signal(int, siginfo_t*, void* context) noexcept {
  int const kept = errno;
  std::uint32_t expected = asked;
  if (target.load(std::memory_order_relaxed) == current_thread_id() &&
      state.compare_exchange_strong(expected, taken, std::memory_order_acq_rel)) {  // N2
    thread_sample& to = *answer;
    int const n = ::backtrace(to.frames, static_cast<int>(thread_sample::most));
    void** const end = to.frames + std::max(n, 0);
    // The handler's own calls come first, and then the interrupted one, by its exact address.
    void* const here = where(context);
    void** const first = std::find(to.frames, end, here);
    if (first != end) {
      std::copy(first, end, to.frames);
      to.frames[0] = static_cast<char*>(here) + 1;  // as if it were a return address
      to.count = static_cast<std::size_t>(end - first);
    } else {
      to.count = static_cast<std::size_t>(end - to.frames);
    }
    to.tag = tag_of();
    state.store(answered, std::memory_order_release);
    futex_wake(state, 1);
  }
  errno = kept;
}

bool is_ours(struct sigaction const& a) noexcept {
  return (a.sa_flags & SA_SIGINFO) != 0 && a.sa_sigaction == on_signal;
}

bool ask(int thread_id) noexcept {
  target.store(thread_id, std::memory_order_relaxed);
  state.store(asked, std::memory_order_release);
  if (::syscall(SYS_tgkill, ::getpid(), thread_id, SIGURG) != 0) {
    state.store(nothing, std::memory_order_relaxed);
    return false;
  }
  std::int64_t const deadline = monotonic_ns() + patience_ns;
  for (;;) {
    std::uint32_t now = state.load(std::memory_order_acquire);  // N3; pairs with `answered`
    if (now == answered) return true;
    if (now == asked && monotonic_ns() >= deadline && state.compare_exchange_strong(now, nothing)) return false;
    (void)futex_wait_until(state, now, now == asked ? deadline : monotonic_ns() + patience_ns);
  }
}

}  // namespace

std::size_t current_calls(void** out, std::size_t most) noexcept {
  return static_cast<std::size_t>(std::max(::backtrace(out, static_cast<int>(most)), 0));
}

bool sample_thread(int thread_id, std::uint64_t (*tag)() noexcept, thread_sample& out) noexcept {
  int const kept = errno;
  guard const hold(one_at_a_time);
  void* frame[1];
  ::backtrace(frame, 1);
  struct sigaction before{};
  bool got = false;
  if (::sigaction(SIGURG, nullptr, &before) == 0 && (before.sa_flags & SA_SIGINFO) == 0 &&
      (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN)) {
    struct sigaction ours{};
    ours.sa_sigaction = on_signal;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    ::sigfillset(&ours.sa_mask);
    tag_of = tag;
    answer = &out;
    if (::sigaction(SIGURG, &ours, nullptr) == 0) {  // N1
      got = ask(thread_id);
      struct sigaction now{};
      if (::sigaction(SIGURG, nullptr, &now) == 0 && is_ours(now)) ::sigaction(SIGURG, &before, nullptr);
    }
  }
  state.store(nothing, std::memory_order_relaxed);
  errno = kept;
  return got;
}

}  // namespace weft::rt
