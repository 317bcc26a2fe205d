// Reading into memory of the thread's, for who would otherwise hold a buffer for as long as nothing comes.
//
// A server's connections wait most of their lives. A buffer in each of them is memory that lies idle, and, where thousands take turns, memory
// that is cold when the bytes come. The thread's has just been used by the task before, and is large enough that a request with its body
// takes one read. What is left there belongs to the next reader on this thread: whoever may wait, or switch tasks in another way, takes what he
// still needs out of it first.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

#include <weft/error.hpp>
#include <weft/net/stream.hpp>

#include "runtime/base/sanitizer.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {

inline constexpr std::size_t scratch_size = 16 * 1024;

/// The calling thread's, good until the task next may switch. Empty if there is no memory for it. Only from a task.
[[nodiscard]] inline std::span<std::byte> scratch_here() noexcept {
  tsan_ignore const threads_own;
  std::unique_ptr<std::byte[]>& scratch = current_worker()->scratch;
  // ThreadSanitizer takes tasks on one thread for strangers: a block for each.
  if (scratch == nullptr || tsan) [[unlikely]] {
    scratch.reset(new (std::nothrow) std::byte[scratch_size]);
    if (scratch == nullptr) return {};
  }
  asan_unpoison(scratch.get(), scratch_size);
  return {scratch.get(), scratch_size};
}

/// To say that what lies in a part of it is not needed any more: a late look is then found by AddressSanitizer.
inline void done_with_scratch(std::span<char const> part) noexcept { asan_poison(part.data(), part.size()); }

struct stream_access {
  /// As s.read_some, into the scratch of the thread that the caller is on when the bytes have come: a view of what has been read, empty at the
  /// end of the stream. std::errc::not_enough_memory if there is no scratch. A cancellation point. Only from a task.
  [[nodiscard]] static result<std::span<char>> read_to_scratch(net::stream_base& s);

  /// As s.native_handle(), for who asks the kernel something at once and neither keeps nor duplicates the number: the stream is closed as one of
  /// which no duplicates can exist.
  [[nodiscard]] static int descriptor_of(net::stream_base const& s) noexcept;

  /// A number that has changed if the other side has taken in some of what a large write sends it.
  [[nodiscard]] static std::uint64_t progress_of(net::stream_base const& s) noexcept;
};

}  // namespace weft::rt
