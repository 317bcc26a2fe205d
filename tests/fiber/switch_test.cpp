#include "runtime/fiber/switch.hpp"

#include "runtime/base/check.hpp"
#include "runtime/fiber/stack_pool.hpp"
#include "tests/support/catch.hpp"

#include <cerrno>
#include <cfenv>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace weft::rt;

namespace {

void jump(execution& from, execution& to) {
  thread_globals const here = current_thread_globals();
  switch_to(from, to, here.exceptions, here.errno_pointer);
}

// One body on one stack, entered and left by hand: enough of a scheduler for these tests. Resumer and body take turns,
// which ThreadSanitizer is told here, since the switch itself draws no edge.
class coroutine {
 public:
  coroutine(stack_pool& pool, std::function<void(coroutine&)> body)
      : pool_(pool), stack_(pool.get()), body_(std::move(body)) {
    REQUIRE(stack_ != nullptr);
    if (stack_->fresh) stack_->prepare_entry(&coroutine::loop, stack_);
    stack_->owner = this;
  }
  ~coroutine() { pool_.put(stack_); }
  coroutine(coroutine const&) = delete;
  coroutine& operator=(coroutine const&) = delete;

  // Runs the body until it yields or ends; true while it has not ended.
  bool resume() {
    execution native;
    init_native(native);
    caller_ = &native;
    execution& there = stack_->exec;
    tsan_release(this);
    jump(native, there);
    tsan_acquire(this);
    return !ended_;
  }

  void yield() {
    execution& here = stack_->exec;
    execution& back = *caller_;
    tsan_release(this);
    jump(here, back);
    tsan_acquire(this);
  }

  stack& on() { return *stack_; }

 private:
  // A suspended loop: after one body it waits on its stack for the next user.
  static void loop(void* argument) {
    auto* const self = static_cast<stack*>(argument);
    for (;;) {
      coroutine* const current = owner_of(*self);
      tsan_acquire(current);
      current->body_(*current);
      current->ended_ = true;
      execution& back = *current->caller_;
      tsan_release(current);
      jump(self->exec, back);
    }
  }

  // Read before the edge is drawn that orders it.
  WEFT_NO_TSAN static coroutine* owner_of(stack const& of) { return static_cast<coroutine*>(of.owner); }

  stack_pool& pool_;
  stack* const stack_;
  std::function<void(coroutine&)> body_;
  execution* caller_ = nullptr;
  bool ended_ = false;
};

__attribute__((noinline)) int depth(int n) {
  int volatile here = n;
  return n == 0 ? 0 : depth(n - 1) + (here == n ? 1 : 0);
}

}  // namespace

TEST_CASE("a switch goes to another stack and back to where it left") {
  stack_pool pool(64 * 1024);
  std::string log;
  coroutine other(pool, [&](coroutine& self) {
    auto* const frame = static_cast<char*>(__builtin_frame_address(0));
    CHECK(frame > self.on().base);
    CHECK(frame < self.on().top());
    log += "b";
    self.yield();
    log += "d";
  });
  log += "a";
  CHECK(other.resume());
  log += "c";
  CHECK_FALSE(other.resume());
  CHECK(log == "abcd");
}

TEST_CASE("a stack whose body ended is a suspended loop and serves the next body without a reset") {
  stack_pool pool(64 * 1024);
  int ran = 0;
  for (int i = 0; i < 1000; ++i) {
    coroutine each(pool, [&](coroutine&) { ran += depth(20) / 20; });
    CHECK_FALSE(each.resume());
  }
  CHECK(ran == 1000);
  CHECK(pool.counts().cut == (tsan ? 64 : 1));
}

TEST_CASE("caught and flying exceptions stay with the execution that has them") {
  stack_pool pool(64 * 1024);
  std::vector<std::string> seen;
  auto const body = [&](std::string const& name) {
    return [&seen, name](coroutine& self) {
      struct on_unwind {
        coroutine& self;
        ~on_unwind() {
          if (std::uncaught_exceptions() != 1) check_failed(__FILE__, __LINE__, "uncaught", "before");
          self.yield();  // an exception of this stack is in flight
          if (std::uncaught_exceptions() != 1) check_failed(__FILE__, __LINE__, "uncaught", "after");
        }
      };
      try {
        on_unwind const yields{self};
        throw std::runtime_error(name);
      } catch (std::runtime_error const& caught) {
        self.yield();  // inside a catch block
        try {
          throw;
        } catch (std::runtime_error const& again) {
          self.yield();
          seen.push_back(std::string(caught.what()) + again.what());
        }
        CHECK(std::uncaught_exceptions() == 0);
      }
      CHECK(std::current_exception() == nullptr);
    };
  };
  coroutine one(pool, body("one")), two(pool, body("two")), three(pool, body("three"));
  bool more = true;
  while (more) {
    more = false;
    for (coroutine* each : {&one, &two, &three}) {
      more |= each->resume();
      CHECK(std::uncaught_exceptions() == 0);
      CHECK(std::current_exception() == nullptr);
    }
  }
  CHECK(seen == std::vector<std::string>{"oneone", "twotwo", "threethree"});
}

TEST_CASE("an exception caught by the native stack is not seen on another") {
  stack_pool pool(64 * 1024);
  bool saw = true;
  coroutine other(pool, [&](coroutine&) { saw = std::current_exception() != nullptr; });
  try {
    throw 1;
  } catch (int n) {
    other.resume();
    CHECK(n == 1);
    CHECK(std::current_exception() != nullptr);
  }
  CHECK_FALSE(saw);
}

TEST_CASE("errno belongs to the execution") {
  stack_pool pool(64 * 1024);
  int before = -1, after = -1;
  coroutine other(pool, [&](coroutine& self) {
    before = current_thread_globals().errno_pointer[0];
    current_thread_globals().errno_pointer[0] = 5;
    self.yield();
    after = current_thread_globals().errno_pointer[0];
  });
  errno = 7;
  other.resume();
  CHECK(errno == 7);
  errno = 8;
  other.resume();
  CHECK(errno == 8);
  CHECK(before == 0);
  CHECK(after == 5);
}

TEST_CASE("the rounding mode belongs to the execution, whatever flags either has raised") {
  stack_pool pool(64 * 1024);
  auto const third = [] {
    double volatile three = 3;
    return 1 / three;  // raises "inexact"
  };
  auto const nearest = third();
  double upward = 0, upward_again = 0, at_start = 0;
  coroutine other(pool, [&](coroutine& self) {
    at_start = third();
    std::fesetround(FE_UPWARD);
    upward = third();
    self.yield();
    upward_again = third();
  });
  other.resume();
  CHECK(std::fegetround() == FE_TONEAREST);
  CHECK(third() == nearest);
  std::feclearexcept(FE_ALL_EXCEPT);
  other.resume();
  CHECK(std::fegetround() == FE_TONEAREST);
  CHECK(at_start == nearest);
  CHECK(upward > nearest);
  CHECK(upward_again == upward);
}

#if defined(__x86_64__)
TEST_CASE("a rounding mode set in one of the two control words alone belongs to the execution, too") {
  stack_pool pool(64 * 1024);
  unsigned sse_again = 0;
  std::uint16_t x87_again = 0;
  auto const x87 = [] {
    std::uint16_t word;
    __asm__ volatile("fnstcw %0" : "=m"(word));
    return word;
  };
  std::uint16_t const x87_before = x87();
  coroutine by_sse(pool, [&](coroutine& self) {
    _MM_SET_ROUNDING_MODE(_MM_ROUND_DOWN);
    self.yield();
    sse_again = _MM_GET_ROUNDING_MODE();
  });
  coroutine by_x87(pool, [&](coroutine& self) {
    std::uint16_t const upward = x87() | FE_UPWARD;
    __asm__ volatile("fldcw %0" : : "m"(upward));
    self.yield();
    x87_again = x87();
  });
  for (int i = 0; i < 2; ++i) {
    by_sse.resume();
    CHECK(_MM_GET_ROUNDING_MODE() == _MM_ROUND_NEAREST);
    by_x87.resume();
    CHECK(x87() == x87_before);
  }
  CHECK(sse_again == _MM_ROUND_DOWN);
  CHECK(x87_again == (x87_before | FE_UPWARD));
}

TEST_CASE("a look at the control words sees each rounding mode and raises no flag") {
  int const mode = GENERATE(FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO);
  std::feclearexcept(FE_ALL_EXCEPT);
  std::fesetround(mode);
  float_control const seen = current_float_control();
  std::fesetround(FE_TONEAREST);
  float_control const usual = current_float_control();
  CHECK(std::fetestexcept(FE_ALL_EXCEPT) == 0);
  CHECK(rounds_to_nearest(usual));
  CHECK(rounds_to_nearest(seen) == (mode == FE_TONEAREST));
  CHECK(to_nearest(seen) == usual);
  change_float_control(usual, seen);
  CHECK(std::fegetround() == mode);
  CHECK(current_float_control() == seen);
  change_float_control(seen, usual);
  CHECK(current_float_control() == usual);
}

TEST_CASE("the exceptions that trap belong to the execution") {
  stack_pool pool(64 * 1024);
  int trapping_again = 0;
  coroutine other(pool, [&](coroutine& self) {
    feenableexcept(FE_DIVBYZERO);
    self.yield();
    trapping_again = fegetexcept();
    CHECK((_mm_getcsr() & _MM_MASK_DIV_ZERO) == 0);
  });
  for (int i = 0; i < 2; ++i) {
    other.resume();
    CHECK(fegetexcept() == 0);
    CHECK((_mm_getcsr() & _MM_MASK_DIV_ZERO) != 0);
  }
  CHECK(trapping_again == FE_DIVBYZERO);
}
#endif

TEST_CASE("an execution with a caught exception goes on on another thread") {
  stack_pool pool(64 * 1024);
  bool right = false;
  coroutine other(pool, [&](coroutine& self) {
    try {
      throw std::runtime_error("kept");
    } catch (std::exception const&) {
      self.yield();
      try {
        throw;
      } catch (std::runtime_error const& e) {
        right = e.what() == std::string("kept");
      }
    }
  });
  CHECK(other.resume());
  std::thread([&] {
    CHECK_FALSE(other.resume());
    CHECK(std::current_exception() == nullptr);
  }).join();
  CHECK(right);
}

TEST_CASE("an exception thrown from deep frames is caught on its own stack") {
  stack_pool pool(64 * 1024);
  int caught = 0;
  std::function<void(int)> deep = [&](int n) {
    std::string const room(static_cast<std::size_t>(n), 'x');  // to be destroyed on the way up
    if (room.empty()) throw std::runtime_error("bottom");
    deep(n - 1);
  };
  for (int i = 0; i < 10; ++i) {
    coroutine each(pool, [&](coroutine&) {
      try {
        deep(50);
      } catch (std::runtime_error const&) {
        ++caught;
      }
    });
    each.resume();
  }
  CHECK(caught == 10);
}

TEST_CASE("five thousand executions can be away at once") {
  constexpr int n =
      weft::rt::tsan ? 1000 : 5000;  // each is a logical thread there, which takes it milliseconds to make
  stack_pool pool(16 * 1024);
  std::vector<std::unique_ptr<coroutine>> all;
  int ended = 0;
  for (int i = 0; i < n; ++i) {
    all.push_back(std::make_unique<coroutine>(pool, [&](coroutine& self) {
      self.yield();
      ++ended;
    }));
    CHECK(all.back()->resume());
  }
  for (auto& each : all) each->resume();
  CHECK(ended == n);
}
