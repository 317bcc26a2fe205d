// on_native_stack: a deep call that does not wait, made where it touches none of the task's own pages.
#include "runtime/sched/native_call.hpp"
#include "runtime/platform/thread_sample.hpp"

#include <weft/weft.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/runtime_fixture.hpp"

namespace {

using weft::test::with_workers;

#if WEFT_SWITCH_BY_HAND
constexpr bool changes_stacks = true;
#else
constexpr bool changes_stacks = false;
#endif

[[gnu::noinline]] bool on_own_stack() {
  weft::rt::stack const* const on = weft::rt::current_worker()->on;
  auto const here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  return on != nullptr && here - reinterpret_cast<std::uintptr_t>(on->base) < on->size;
}

TEST_CASE("a call on the native stack leaves the task's own, gives its results, and comes back") {
  with_workers([] {
    auto look = [] {
      bool inside = true;
      std::vector<int> made;
      weft::rt::on_native_stack([&] {
        inside = on_own_stack();
        made.assign(100, 7);
      });
      return inside != changes_stacks && made.size() == 100 && made.back() == 7 && on_own_stack();
    };
    CHECK(look());
    std::vector<weft::join_handle<bool>> tasks;
    for (int i = 0; i < 50; ++i)
      tasks.push_back(weft::spawn([look] {
        bool good = true;
        for (int k = 0; k < 20; ++k) {
          good = good && look();
          weft::yield();
        }
        return good;
      }));
    for (auto& t : tasks) CHECK(t.join());
  });
}

TEST_CASE("a call on the native stack from within another one goes on there") {
  with_workers([] {
    int depth = 0;
    std::string text = "outer";
    weft::rt::on_native_stack([&] {
      char kept[512];
      for (char& c : kept) c = 'k';
      weft::rt::on_native_stack([&] {
        char other[2048];
        for (char& c : other) c = 'o';
        depth = other[7] == 'o' && on_own_stack() != changes_stacks ? 2 : 0;
      });
      for (char const c : kept)
        if (c != 'k') text = "written over";
    });
    CHECK(depth == 2);
    CHECK(text == "outer");
  });
}

TEST_CASE("what a call on the native stack throws is caught by the task") {
  with_workers([] {
    for (int i = 0; i < 100; ++i) {
      std::string caught;
      try {
        weft::rt::on_native_stack([&] {
          std::string const unwound(100, 'x');
          if (unwound.size() == 100) throw std::runtime_error("number " + std::to_string(i));
        });
      } catch (std::runtime_error const& e) {
        caught = e.what();
        weft::yield();
      }
      CHECK(caught == "number " + std::to_string(i));
      CHECK(on_own_stack());
    }
  });
}

TEST_CASE("a call on the native stack by a plain thread is a call") {
  int called = 0;
  weft::rt::on_native_stack([&] { ++called; });
  CHECK(called == 1);
}

#if WEFT_SWITCH_BY_HAND
TEST_CASE("the calls of a task can be told from a call on the native stack") {
  weft::run([] {
    void* calls[64];
    std::size_t within = 0, outside = weft::rt::current_calls(calls, 64);
    weft::rt::on_native_stack([&] { within = weft::rt::current_calls(calls, 64); });
    CHECK(within > outside);
  });
}
#endif

}  // namespace
