// defer: runs a function at the end of the block, whichever way the block is left.
//
//     conn.subscribe(topic);
//     weft::defer leave([&] { conn.unsubscribe(topic); });
#pragma once

#include <type_traits>
#include <utility>

#include <weft/context.hpp>

namespace weft {

/// Calls f in its destructor. Waiting in f ignores cancellation, since an exception must not leave it, and what f spawns starts under
/// without_cancel.
template <class F>
class [[nodiscard]] defer {
 public:
  [[nodiscard]] explicit defer(F f) noexcept(std::is_nothrow_move_constructible_v<F>) : f_(std::move(f)) {}
  ~defer() {
    detail::cleaning_up const shield;
    f_();
  }
  defer(defer const&) = delete;
  defer& operator=(defer const&) = delete;

 private:
  F f_;
};

template <class F>
defer(F) -> defer<F>;

}  // namespace weft
