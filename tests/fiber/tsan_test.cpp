// What ThreadSanitizer must see and must not see. In other builds these tests only show that the calls do no harm.
#include "runtime/fiber/stack_pool.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

#include <atomic>
#include <string>

using namespace weft::rt;

namespace {

struct loop_state {
  stack* on = nullptr;
  execution* native = nullptr;
  void (*body)() = nullptr;
};

void jump(execution& from, execution& to) {
  thread_globals const here = current_thread_globals();
  switch_to(from, to, here.exceptions, here.errno_pointer);
}

WEFT_NO_TSAN void run_body(loop_state* state) { state->body(); }
WEFT_NO_TSAN void leave(loop_state* state) { jump(state->on->exec, *state->native); }

WEFT_NO_TSAN void loop(void* argument) {
  auto* const state = static_cast<loop_state*>(argument);
  for (;;) {
    run_body(state);
    leave(state);
  }
}

// Runs the bodies one after the other on one OS thread, each on a stack of its own.
void run_on_stacks(std::initializer_list<void (*)()> bodies) {
  stack_pool pool(64 * 1024);
  execution native;
  init_native(native);
  stack* used = nullptr;
  static loop_state states[4];
  std::size_t n = 0;
  for (auto* const body : bodies) {
    loop_state& state = states[n++];
    state = {pool.get(), &native, body};
    state.on->prepare_entry(loop, &state);
    jump(native, state.on->exec);
    state.on->next = used;
    used = state.on;
  }
  pool.put_many(used);
}

int shared_plain = 0;
std::atomic<int> flag{0};

void write_plain() { shared_plain = shared_plain + 1; }
void write_then_publish() {
  shared_plain = 1;
  flag.store(1, std::memory_order_release);
}
void read_after_flag() {
  if (flag.load(std::memory_order_acquire) == 1) shared_plain = 2;
}

bool reports_race(child_end const& end) { return end.errors.find("data race") != end.errors.npos; }

}  // namespace

TEST_CASE("two executions on one thread that touch a plain variable without order are reported as a race") {
  auto const end = run_child([] {
    run_on_stacks({write_plain, write_plain});
    return 0;
  });
  CHECK(reports_race(end) == tsan);
}

TEST_CASE("two executions on one thread that are ordered by an atomic are not reported") {
  auto const end = run_child([] {
    run_on_stacks({write_then_publish, read_after_flag});
    return 0;
  });
  INFO(end.errors);
  CHECK_FALSE(reports_race(end));
}

TEST_CASE("what happens under tsan_ignore is not looked at") {
  auto const end = run_child([] {
    void (*const ignoring)() = [] {
      tsan_ignore const ignored;
      write_plain();
    };
    run_on_stacks({ignoring, ignoring});
    return 0;
  });
  INFO(end.errors);
  CHECK_FALSE(reports_race(end));
}
