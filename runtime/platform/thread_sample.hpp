// Where another thread of this process is, at this moment: its calls, taken by a signal handler on that thread.
//
//   N1 the sampler, one at a time: finds that nobody handles SIGURG, installs the handler, asks (state 1), sends the signal to the thread
//   N2 the handler, on the right thread, with state 1: takes the request (2), notes calls and tag in memory that is there, 3, wakes
//   N3 the sampler, after 3, or after waiting in vain and taking the request back (1 to 0): puts back what was there
// SIGURG is ignored by default, so a signal that arrives after N3 does nothing; the handler without a request does nothing either.
// current_calls is called once before N1, since the unwinder sets itself up in its first call. System calls go on (SA_RESTART), but for the few that
// never do, sleep and poll among them: so sample threads that run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace weft::rt {

struct thread_sample {
  static constexpr std::size_t most = 64;
  void* frames[most];  // return addresses, innermost first; the first stands for where the thread was
  std::size_t count = 0;
  std::uint64_t tag = 0;
};

/// `tag` is called in the handler, on the thread: async-signal-safe. False: the program handles SIGURG itself, the thread has gone, or it
/// did not answer in time: a thread that runs does so at its next turn on a processor. Any thread but the one that is sampled. Keeps errno.
[[nodiscard]] bool sample_thread(int thread_id, std::uint64_t (*tag)() noexcept, thread_sample& out,
                                 std::int64_t patience_ns) noexcept;
/// The same; nothing, at once, while another thread samples, which may take that one's whole patience.
[[nodiscard]] std::optional<bool> try_sample_thread(int thread_id, std::uint64_t (*tag)() noexcept, thread_sample& out,
                                                    std::int64_t patience_ns) noexcept;

/// The calling thread's own calls, innermost first, the caller of this the first; how many. By the unwinder that is linked in anyway: backtrace(3)
/// loads its library at run time, of which a program with libgcc inside has no copy open. Async-signal-safe once it has been called.
[[nodiscard]] std::size_t current_calls(void** out, std::size_t most) noexcept;
/// The same, but of all of them, up to `most`, the outermost that `out` has places for; how many there are.
[[nodiscard]] std::size_t outermost_calls(void** out, std::size_t places, std::size_t most) noexcept;

}  // namespace weft::rt
