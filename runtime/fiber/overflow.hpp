// The report of a stack overflow: which task, how large its stack is, where it was spawned, the calls, what to set.
//
// A fault in a guard arrives as SIGSEGV or SIGBUS on a stack that has no room left, so every thread that runs tasks has
// an alternate signal stack. The handler asks the scheduler whose stack the address guards (`describe`):
//   O1  nobody's: hand the signal to the handler that was there before, or let the default action run.
//   O2  a task's: write the report, put the default action back, return. The instruction faults again and the process
//       ends as it would have without weft, core file included.
// Everything in it is async-signal-safe; current_calls is called once at installation, since the unwinder sets itself up in its first call.
#pragma once

#include <signal.h>

#include <cstddef>
#include <cstdint>

namespace weft::rt {

struct overflow_info {
  std::uint64_t task = 0;
  char const* name = nullptr;  // may be null or empty
  std::size_t stack_size = 0;
  char const* spawn_file = nullptr;  // may be null
  unsigned spawn_line = 0;
};

// Called in the signal handler: true and fills the second argument if the address lies in the guard of the stack that
// the current worker runs on.
using overflow_describe = bool (*)(void* fault_address, overflow_info& info);

// Installs the handler for the process, once however often it is called; the last describe given holds. remove undoes
// one install; with the last one the handlers of before come back, unless somebody has put theirs over ours.
void install_overflow_report(overflow_describe describe) noexcept;
void remove_overflow_report() noexcept;

// The calling thread's alternate signal stack while this lives, and its mask lets the signals of a fault through: the kernel ends a process
// that faults with its signal blocked, without a word. Keeps a stack that is there and large enough; a smaller one comes back in the end.
class alternate_stack {
 public:
  alternate_stack() noexcept;
  ~alternate_stack();
  alternate_stack(alternate_stack const&) = delete;
  alternate_stack& operator=(alternate_stack const&) = delete;

 private:
  static constexpr std::size_t size = 64 * 1024;
  void* memory_ = nullptr;  // null: nothing installed by us
  stack_t before_{};        // what memory_ stands for
  sigset_t blocked_;        // of the signals of a fault those that were
};

}  // namespace weft::rt
