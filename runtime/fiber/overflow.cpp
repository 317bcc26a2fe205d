// See overflow.hpp.
#include "runtime/fiber/overflow.hpp"

#include "runtime/base/check.hpp"
#include "runtime/base/lock.hpp"
#include "runtime/base/message.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/platform/symbols.hpp"
#include "runtime/platform/thread_sample.hpp"

#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <span>
#include <utility>

namespace weft::rt {
namespace {

constexpr int signals[] = {SIGSEGV, SIGBUS};
constexpr std::size_t frames_most = 32;            // an endless recursion repeats itself long before
constexpr std::size_t outer_most = 16;             // the way to it
constexpr std::size_t looked_at_most = 1'000'000;  // in a stack of many megabytes; takes a second

constinit object_lock install_lock;
constinit unsigned installs = 0;                             // guarded by install_lock
constinit std::atomic<overflow_describe> describe{nullptr};  // written under install_lock, read in the handler
constinit std::uintptr_t bias_of_program = 0;                // so is this

// What the program had put above our handler when that was to go stays, and may call ours as what stood below it, or put it back. So the next time another
// entry of ours goes above that: each knows for good what stood below it, and no fault comes round. Where all are taken what stands there stays on top.
constexpr unsigned entries_most = 8;
struct sigaction previous[entries_most][2];  // below each entry; written before it is in place, read in it
unsigned entries_taken[2] = {};              // of each signal; guarded by install_lock

int index_of(int signal) noexcept { return signal == signals[0] ? 0 : 1; }

void put_default_back(int signal) noexcept {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(signal, &action, nullptr);
}

void say_calls(std::span<void* const> frames) noexcept {
  Dl_info known;
  bool const is_static = ::dladdr(reinterpret_cast<void const*>(&say_calls), &known) == 0;
  if (!is_static) return ::backtrace_symbols_fd(frames.data(), static_cast<int>(frames.size()), STDERR_FILENO);
  message line;
  for (void* const frame : frames) {  // the loader, which is asked there too, knows nothing of them
    auto const address = reinterpret_cast<std::uintptr_t>(frame);
    line << "program(+";
    line.hex(address - bias_of_program) << ")[";
    line.hex(address) << "]";
    line.write_line();
  }
}

void report(overflow_info const& found) noexcept {
  message line;
  line << "weft: stack overflow in task " << found.task;
  if (found.name != nullptr && found.name[0] != '\0') {
    line << " \"";
    line.on_the_line(found.name, 200) << "\"";
  }
  line << " (" << std::uint64_t{found.stack_size / 1024} << " KiB)";
  line.write_line();
  if (found.spawn_file != nullptr) {
    line << "weft: spawned at " << found.spawn_file << ":" << std::uint64_t{found.spawn_line};
    line.write_line();
  }
  line << "weft: raise options::stack_size or task_options::stack_size; the innermost calls:";
  line.write_line();
  void* frames[frames_most];
  std::size_t const count = current_calls(frames, frames_most);
  say_calls(std::span(frames, count));
  if (count < frames_most) return;
  void* outer[outer_most];  // of an endless recursion the calls that led there tell more
  std::size_t const all = outermost_calls(outer, outer_most, looked_at_most);
  if (all <= frames_most || all == looked_at_most) return;
  std::size_t const more = std::min(all - frames_most, outer_most);
  line << "weft: of " << std::uint64_t{all} << " calls the outermost:";
  line.write_line();
  say_calls(std::span(outer).last(more));
}

/// The kernel has blocked what our own action says; a handler that leaves by longjmp() counts on what its action says.
void block_as_for(struct sigaction const& handler, int signal) noexcept {
  if ((handler.sa_flags & static_cast<int>(SA_NODEFER)) != 0) {
    sigset_t just_this;
    ::sigemptyset(&just_this);
    ::sigaddset(&just_this, signal);
    ::pthread_sigmask(SIG_UNBLOCK, &just_this, nullptr);
  }
  ::pthread_sigmask(SIG_BLOCK, &handler.sa_mask, nullptr);
}

// O1. The faulting instruction runs again when the handler returns; a signal that somebody sent must be sent again.
void pass_on(struct sigaction const& before, int signal, siginfo_t* info, void* context) noexcept {
  if ((before.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) put_default_back(signal);
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    block_as_for(before, signal);
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    block_as_for(before, signal);
    before.sa_handler(signal);
  } else if (info->si_code > 0) {
    put_default_back(signal);  // the kernel treats an ignored fault as the default action too
  } else if (before.sa_handler == SIG_DFL) {
    put_default_back(signal);
    ::raise(signal);  // blocked until the handler returns
  }
}

void take_fault(unsigned entry, int signal, siginfo_t* info, void* context) noexcept {
  int const kept = errno;
  overflow_info found;
  overflow_describe const ask = describe.load(std::memory_order_acquire);
  if (info->si_code > 0 && ask != nullptr && ask(info->si_addr, found)) {
    report(found);  // O2
    put_default_back(signal);
  } else {
    pass_on(previous[entry][index_of(signal)], signal, info, context);
  }
  errno = kept;
}

using fault_handler = void (*)(int, siginfo_t*, void*);
template <unsigned... Entry>
constexpr std::array<fault_handler, entries_most> make_entries(std::integer_sequence<unsigned, Entry...>) {
  return {+[](int signal, siginfo_t* info, void* context) { take_fault(Entry, signal, info, context); }...};
}
constexpr auto entries = make_entries(std::make_integer_sequence<unsigned, entries_most>());

/// Which of ours it is; entries_most: none.
unsigned entry_of(struct sigaction const& action) noexcept {
  return static_cast<unsigned>(std::ranges::find(entries, action.sa_sigaction) - entries.begin());
}

}  // namespace

void install_overflow_report(overflow_describe ask) noexcept {
  guard const held(install_lock);
  describe.store(ask, std::memory_order_release);
  if (installs++ > 0) return;

  void* frame[1];
  bias_of_program = program_bias();
  (void)current_calls(frame, 1);  // the unwinder sets itself up, which a signal handler may not do
  for (int const signal : signals) {
    struct sigaction now{};
    WEFT_CHECK(::sigaction(signal, nullptr, &now) == 0, "no signal action to be had");
    unsigned& taken = entries_taken[index_of(signal)];
    // One of ours may be there, where the program has put it back.
    if (entry_of(now) != entries_most || taken == entries_most) continue;
    previous[taken][index_of(signal)] = now;
    struct sigaction action{};
    action.sa_sigaction = entries[taken];
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ++taken;
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
    unsigned const entry = entry_of(now);
    if (entry == entries_most) continue;
    ::sigaction(signal, &previous[entry][index_of(signal)], nullptr);
    entries_taken[index_of(signal)] = entry;
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

  constexpr std::size_t enough = 32 * 1024;  // the unwinder and the report need about a third
  before_.ss_flags = SS_DISABLE;
  if (::sigaltstack(nullptr, &before_) == 0 && (before_.ss_flags & SS_DISABLE) == 0 && before_.ss_size >= enough)
    return;
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
  if (::sigaltstack(nullptr, &now) == 0 && now.ss_sp == memory_) ::sigaltstack(&before_, nullptr);
  release_pages(memory_, size);
}

}  // namespace weft::rt
