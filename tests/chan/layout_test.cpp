#include "runtime/chan/channel.hpp"

#include "tests/support/catch.hpp"

#include <cstddef>
#include <cstdint>

using weft::detail::chan_core;
using weft::detail::elem_ops;
using weft::rt::channel;

TEST_CASE("a channel is two cache lines, and its elements lie behind them as their type is aligned") {
  static_assert(sizeof(channel) == 128 && alignof(channel) == 64);
  auto const align = static_cast<std::size_t>(GENERATE(1, 8, 16, 32, 64, 128, 256, 4096));
  elem_ops const ops{.size = align, .align = align, .move = nullptr, .relocate = nullptr, .destroy = nullptr};
  chan_core* cores[8];  // several: memory that comes first is often aligned better
  for (chan_core*& c : cores) {
    c = weft::detail::make_core(ops, 3);
    CHECK(reinterpret_cast<std::uintptr_t>(c) % alignof(channel) == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(weft::rt::channel_of(*c).place(0)) % align == 0);
  }
  for (chan_core* c : cores) weft::detail::drop_ends(*c, chan_core::one_sender | chan_core::one_receiver);
}
