// Linux: tgkill and the compiler's unwinder. See thread_sample.hpp for the steps.
#include "runtime/base/lock.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread_sample.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <cerrno>

namespace weft::rt {
namespace {

enum : std::uint32_t { nothing, asked, taken, answered };

// What the handler may touch.
std::atomic<std::uint32_t> state{nothing};  // futex word
std::atomic<int> target{0};                 // written before `asked`
std::uint64_t (*tag_of)() noexcept = nullptr;
thread_sample* answer = nullptr;

constinit object_lock one_at_a_time;

struct calls {
  void** out;
  std::size_t places;  // in `out`, which begins anew when they are used up
  std::size_t most;
  std::size_t n = 0;
  bool inside = false;            // current_calls itself has been passed
  std::uintptr_t last_frame = 0;  // of the call noted last
};

_Unwind_Reason_Code note_call(_Unwind_Context* context, void* arg) noexcept {
  calls& to = *static_cast<calls*>(arg);
  if (!to.inside) {
    to.inside = true;
    return _URC_NO_REASON;
  }
  std::uintptr_t const frame = _Unwind_GetCFA(context);
  auto* const address = reinterpret_cast<void*>(_Unwind_GetIP(context));
  // Where tables are wrong the unwinder may find the same call for ever.
  bool const stands = to.n > 0 && frame == to.last_frame && address == to.out[(to.n - 1) % to.places];
  if (to.n == to.most || address == nullptr || stands) return _URC_END_OF_STACK;
  to.out[to.n++ % to.places] = address;
  to.last_frame = frame;
  return _URC_NO_REASON;
}

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
    void** const end = to.frames + current_calls(to.frames, thread_sample::most);
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

bool ask(int thread_id, std::int64_t patience_ns) noexcept {
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

bool sample_locked(int thread_id, std::uint64_t (*tag)() noexcept, thread_sample& out,
                   std::int64_t patience_ns) noexcept WEFT_REQUIRES(one_at_a_time) {
  int const kept = errno;
  void* frame[1];
  (void)current_calls(frame, 1);
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
      got = ask(thread_id, patience_ns);
      struct sigaction now{};
      if (::sigaction(SIGURG, nullptr, &now) == 0 && is_ours(now)) ::sigaction(SIGURG, &before, nullptr);
    }
  }
  state.store(nothing, std::memory_order_relaxed);
  errno = kept;
  return got;
}

}  // namespace

__attribute__((noinline)) std::size_t current_calls(void** out, std::size_t most) noexcept {
  calls to{out, most, most};
  _Unwind_Backtrace(note_call, &to);
  return to.n;
}

__attribute__((noinline)) std::size_t outermost_calls(void** out, std::size_t places, std::size_t most) noexcept {
  calls to{out, places, most};
  _Unwind_Backtrace(note_call, &to);
  if (to.n > places) std::rotate(out, out + to.n % places, out + places);
  return to.n;
}

bool sample_thread(int thread_id, std::uint64_t (*tag)() noexcept, thread_sample& out,
                   std::int64_t patience_ns) noexcept {
  guard const hold(one_at_a_time);
  return sample_locked(thread_id, tag, out, patience_ns);
}

std::optional<bool> try_sample_thread(int thread_id, std::uint64_t (*tag)() noexcept, thread_sample& out,
                                      std::int64_t patience_ns) noexcept {
  if (!one_at_a_time.try_lock()) return std::nullopt;
  bool const got = sample_locked(thread_id, tag, out, patience_ns);
  one_at_a_time.unlock();
  return got;
}

}  // namespace weft::rt
