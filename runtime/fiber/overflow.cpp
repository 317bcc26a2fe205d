// See overflow.hpp.
#include "runtime/fiber/overflow.hpp"

#include "runtime/base/check.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/base/message.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread_sample.hpp"

#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

namespace weft::rt {
namespace {

constexpr int signals[] = {SIGSEGV, SIGBUS};
constexpr int frames_most = 48;  // an endless recursion repeats itself long before

constinit object_lock install_lock;
constinit unsigned installs = 0;                             // guarded by install_lock
constinit std::atomic<overflow_describe> describe{nullptr};  // written under install_lock, read in the handler
struct sigaction previous[2];                                // written before our handler is in place, read in it
// What the program had put above our handler when that was to go stays, and may call ours as what stood below it. Ours is put above that the next time, so
// a fault may come round: it goes to what stood below ours before all of these then.
struct sigaction bottom[2];  // as `previous`
bool stayed_above[2] = {};   // guarded by install_lock
struct passing {
  void const* context = nullptr;  // of the fault that this thread is passing on
  void const* frame =
      nullptr;  // of our handler. One that is left by a jump leaves this behind: a fault that comes round has its frame below
};
thread_local constinit passing on_the_way __attribute__((tls_model("initial-exec")));

int index_of(int signal) noexcept { return signal == signals[0] ? 0 : 1; }

void put_default_back(int signal) noexcept {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(signal, &action, nullptr);
}

void report(overflow_info const& found) noexcept {
  message line;
  line << "weft: stack overflow in task " << found.task;
  if (found.name != nullptr && found.name[0] != '\0') line << " \"" << found.name << "\"";
  line << " (" << std::uint64_t{found.stack_size / 1024} << " KiB)";
  line.write_line();
  if (found.spawn_file != nullptr) {
    line << "weft: spawned at " << found.spawn_file << ":" << std::uint64_t{found.spawn_line};
    line.write_line();
  }
  line << "weft: raise options::stack_size or task_options::stack_size; the innermost calls:";
  line.write_line();
  void* frames[frames_most];
  ::backtrace_symbols_fd(frames, static_cast<int>(current_calls(frames, frames_most)), STDERR_FILENO);
}

// O1. The faulting instruction runs again when the handler returns; a signal that somebody sent must be sent again.
void pass_on(struct sigaction const& before, int signal, siginfo_t* info, void* context) noexcept {
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else if (info->si_code > 0) {
    put_default_back(signal);  // the kernel treats an ignored fault as the default action too
  } else if (before.sa_handler == SIG_DFL) {
    put_default_back(signal);
    ::raise(signal);  // blocked until the handler returns
  }
}

void on_fault(int signal, siginfo_t* info, void* context) noexcept {
  int const kept = errno;
  overflow_info found;
  overflow_describe const ask = describe.load(std::memory_order_acquire);
  if (info->si_code > 0 && ask != nullptr && ask(info->si_addr, found)) {
    report(found);  // O2
    put_default_back(signal);
  } else {
    passing const now{context, __builtin_frame_address(0)};
    bool const comes_round = on_the_way.context == context && now.frame < on_the_way.frame;
    passing const outer = std::exchange(on_the_way, now);
    pass_on((comes_round ? bottom : previous)[index_of(signal)], signal, info, context);
    on_the_way = outer;
  }
  errno = kept;
}

}  // namespace

void install_overflow_report(overflow_describe ask) noexcept {
  guard const held(install_lock);
  describe.store(ask, std::memory_order_release);
  if (installs++ > 0) return;

  void* frame[1];
  (void)current_calls(frame, 1);  // the unwinder sets itself up, which a signal handler may not do
  for (int const signal : signals) {
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    struct sigaction now{};
    WEFT_CHECK(::sigaction(signal, nullptr, &now) == 0, "no signal action to be had");
    if (now.sa_sigaction == on_fault) continue;  // the program has put it back: what stood below it does
    previous[index_of(signal)] = now;
    if (!stayed_above[index_of(signal)]) bottom[index_of(signal)] = now;
    WEFT_CHECK(::sigaction(signal, &action, nullptr) == 0, "the overflow handler cannot be installed");
  }
}

void remove_overflow_report() noexcept {
  guard const held(install_lock);
  WEFT_CHECK(installs > 0, "removed more often than installed");
  if (--installs > 0) return;
  describe.store(nullptr, std::memory_order_release);
  for (int const signal : signals) {
    struct sigaction now{};
    if (::sigaction(signal, nullptr, &now) != 0) continue;
    if (now.sa_sigaction == on_fault) ::sigaction(signal, &previous[index_of(signal)], nullptr);
    else stayed_above[index_of(signal)] = true;
  }
}

alternate_stack::alternate_stack() noexcept {
  sigset_t faults;
  sigset_t before;
  ::sigemptyset(&faults);
  ::sigemptyset(&blocked_);
  for (int const signal : signals) ::sigaddset(&faults, signal);
  if (::pthread_sigmask(SIG_UNBLOCK, &faults, &before) == 0)
    for (int const signal : signals)
      if (::sigismember(&before, signal) == 1) ::sigaddset(&blocked_, signal);

  stack_t there{};
  constexpr std::size_t enough = 32 * 1024;  // the unwinder and the report need about a third
  if (::sigaltstack(nullptr, &there) == 0 && (there.ss_flags & SS_DISABLE) == 0 && there.ss_size >= enough) return;
  memory_ = reserve_pages(size);
  if (memory_ == nullptr) return;  // an overflow still ends the process, unexplained
  stack_t ours{};
  ours.ss_sp = memory_;
  ours.ss_size = size;
  if (::sigaltstack(&ours, nullptr) != 0) {
    release_pages(memory_, size);
    memory_ = nullptr;
  }
}

alternate_stack::~alternate_stack() {
  ::pthread_sigmask(SIG_BLOCK, &blocked_, nullptr);
  if (memory_ == nullptr) return;
  stack_t now{};
  if (::sigaltstack(nullptr, &now) == 0 && now.ss_sp == memory_) {
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    ::sigaltstack(&off, nullptr);
  }
  release_pages(memory_, size);
}

}  // namespace weft::rt
