// The explorer itself: the well-known small programs, and which of their outcomes it must find and which it must not.

#include <set>

#include "tests/model/atomic.hpp"
#include "tests/model/protocols.hpp"
#include "tests/support/catch.hpp"

namespace model {
namespace {

using word = modelled_atomic<int>;
constexpr auto relaxed = std::memory_order_relaxed;
void no_fence(where) {}
std::set<int>* seen = nullptr;  // what both threads read, as one number

template <void (*First)(word&, word&, int&), void (*Second)(word&, word&, int&)>
struct pair final : program {
  word x{0}, y{0};
  int read[2] = {};
  [[nodiscard]] unsigned threads() const override { return 2; }
  void run(unsigned thread) override {
    if (thread == 0) First(x, y, read[0]);
    else Second(x, y, read[1]);
  }
  void end() override { seen->insert(read[0] * 10 + read[1]); }
};

/// Thread 1 finds what thread 0 has stored, and thread 2 does not, though it looks after a fence: does 1 see what came before that fence? Not by
/// C++ alone, on multi-copy atomic processors always.
template <void (*Fence)(where)>
struct read_to_write final : program {
  word x{0}, y{0};
  int read[3] = {};
  [[nodiscard]] unsigned threads() const override { return 3; }
  void run(unsigned thread) override {
    if (thread == 0) {
      x.store(1, relaxed);
      full_fence();
    } else if (thread == 1) {
      read[0] = x.load(order::acquire);
      Fence(where::current());
      read[1] = y.load(relaxed);
    } else {
      y.store(1, relaxed);
      full_fence();
      read[2] = x.load(relaxed);
    }
  }
  void end() override { seen->insert(read[0] * 100 + read[1] * 10 + read[2]); }
};

template <class Program>
std::set<int> outcomes(bool membarrier = true, bool compiler_moves = false) {
  std::set<int> all;
  seen = &all;
  outcome const o = explore({"litmus", make<Program>, membarrier, compiler_moves});
  CHECK(o.complete);
  return all;
}

template <order Store, order Load>
void store_x_load_y(word& x, word& y, int& r) {
  x.store(1, Store);
  r = y.load(Load);
}
template <order Store, order Load>
void store_y_load_x(word& x, word& y, int& r) {
  y.store(1, Store);
  r = x.load(Load);
}
template <void (*Fence)(where)>
void store_x_fence_load_y(word& x, word& y, int& r) {
  x.store(1, relaxed);
  Fence(where::current());
  r = y.load(relaxed);
}
template <void (*Fence)(where)>
void store_y_fence_load_x(word& x, word& y, int& r) {
  y.store(1, relaxed);
  Fence(where::current());
  r = x.load(relaxed);
}
template <order Store>
void send(word& x, word& y, int&) {
  x.store(1, relaxed);
  y.store(1, Store);
}
template <order Load>
void receive_it(word& x, word& y, int& r) {
  if (y.load(Load) == 1) r = 1 + x.load(relaxed);
}
}  // namespace

void litmus() {
  using enum std::memory_order;
  // Store buffering: both may read 0, unless everything is seq_cst or fenced.
  CHECK(outcomes<pair<store_x_load_y<relaxed, relaxed>, store_y_load_x<relaxed, relaxed>>>() == std::set{0, 1, 10, 11});
  CHECK(outcomes<pair<store_x_load_y<release, acquire>, store_y_load_x<release, acquire>>>() == std::set{0, 1, 10, 11});
  CHECK(outcomes<pair<store_x_load_y<seq_cst, seq_cst>, store_y_load_x<seq_cst, seq_cst>>>() == std::set{1, 10, 11});
  CHECK(outcomes<pair<store_x_fence_load_y<full_fence>, store_y_fence_load_x<full_fence>>>() == std::set{1, 10, 11});
  CHECK(outcomes<pair<store_x_fence_load_y<full_fence>, store_y_fence_load_x<no_fence>>>() == std::set{0, 1, 10, 11});
  // A light fence beside a heavy one, two light ones, and a compiler that moves the store where there is none.
  CHECK(outcomes<pair<store_x_fence_load_y<light_fence>, store_y_fence_load_x<heavy_fence>>>(true, true) ==
        std::set{1, 10, 11});
  CHECK(outcomes<pair<store_x_fence_load_y<light_fence>, store_y_fence_load_x<heavy_fence>>>(false) ==
        std::set{1, 10, 11});
  CHECK(outcomes<pair<store_x_fence_load_y<light_fence>, store_y_fence_load_x<light_fence>>>() ==
        std::set{0, 1, 10, 11});
  CHECK(outcomes<pair<store_x_fence_load_y<no_fence>, store_y_fence_load_x<heavy_fence>>>(true, true) ==
        std::set{0, 1, 10, 11});
  // Passing a message: what was stored before a release is seen after an acquire.
  CHECK(outcomes<pair<send<release>, receive_it<acquire>>>() == std::set{0, 2});
  CHECK(outcomes<pair<send<release>, receive_it<relaxed>>>() == std::set{0, 1, 2});
  CHECK(outcomes<pair<send<relaxed>, receive_it<acquire>>>() == std::set{0, 1, 2});
  // C++ is not multi-copy atomic.
  CHECK(outcomes<read_to_write<no_fence>>().contains(100));
  CHECK_FALSE(outcomes<read_to_write<full_fence>>().contains(100));
}

}  // namespace model
