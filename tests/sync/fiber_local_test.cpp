// weft::fiber_local: whose value it is, when it is made, and when it goes.
#include <weft/weft.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::with_worker_count;
using weft::test::with_workers;

std::atomic<int> alive{0};

struct counted {
  explicit counted(int v = 0) : value(v) { alive.fetch_add(1); }
  counted(counted const&) = delete;
  ~counted() { alive.fetch_sub(1); }
  int value;
};

/// Says when it goes.
struct mark {
  mark(std::vector<int>& to, int n) : log(&to), number(n) {}
  mark(mark const&) = delete;
  ~mark() { log->push_back(number); }
  std::vector<int>* log;
  int number;
};

TEST_CASE("each task has a value of its own, wherever it goes on") {
  with_workers([] {
    weft::fiber_local<int> number;
    std::vector<weft::join_handle<bool>> tasks;
    for (int id = 1; id <= 20; ++id) {
      tasks.push_back(weft::spawn([&, id] {
        bool ok = *number == 0;
        *number = id;
        int const* const at = &*number;
        for (int turn = 0; turn < 50; ++turn) {
          weft::yield();
          ok = ok && *number == id && &*number == at;
        }
        return ok;
      }));
    }
    CHECK(*number == 0);
    for (auto& h : tasks) CHECK(h.join());
    CHECK(*number == 0);
  });
}

TEST_CASE("a value is made on first use, and gone when a join of its task returns") {
  with_workers([] {
    weft::fiber_local<counted> local(7);
    weft::spawn([&] { CHECK(alive.load() == 0); }).join();
    weft::spawn([&] {
      CHECK(local->value == 7);
      CHECK(alive.load() == 1);
      local->value = 8;
      CHECK(local->value == 8);
    }).join();
    CHECK(alive.load() == 0);
    weft::wait_group group;
    std::atomic<int> most{0};
    for (int i = 0; i < 10; ++i) {
      group.go([&] {
        (void)*local;
        most.store(std::max(most.load(), alive.load()));
      });
    }
    group.wait();
    CHECK(most.load() >= 1);
  });
  CHECK(alive.load() == 0);  // those of `go` have gone with their runtime at the latest
}

TEST_CASE("values go in the reverse of the order in which they were made, one made by another's constructor first") {
  with_workers([] {
    std::vector<int> log;
    struct outer_mark : mark {
      outer_mark(std::vector<int>& to, weft::fiber_local<mark>& inner) : mark(to, 1) { (void)*inner; }
    };
    weft::fiber_local<mark> first(std::ref(log), 0), inner(std::ref(log), 2), last(std::ref(log), 3);
    weft::fiber_local<outer_mark> outer(std::ref(log), std::ref(inner));
    weft::spawn([&] {
      (void)*first;
      (void)*outer;
      (void)*last;
      (void)*inner;
    }).join();
    CHECK(log == std::vector<int>{3, 1, 2, 0});
  });
}

TEST_CASE("a plain thread has a value too, which goes with the thread") {
  weft::fiber_local<counted> local(3);
  std::vector<int> log;
  weft::fiber_local<mark> one(std::ref(log), 1), two(std::ref(log), 2);
  int seen = 0;
  std::thread([&] {
    local->value += 1;
    (void)*two;
    (void)*one;
    seen = local->value * 10 + alive.load();
  }).join();
  CHECK(seen == 41);
  CHECK(alive.load() == 0);
  CHECK(log == std::vector<int>{1, 2});
}

TEST_CASE("a thread_local's destructor may use a fiber_local after the thread's values have gone") {
  static weft::fiber_local<counted> local(5);
  static int seen = 0;
  struct late {
    ~late() { seen = local->value; }
  };
  std::thread([] {
    thread_local late runs_last;  // made before the value: destroyed after it
    (void)&runs_last;
    local->value = 6;
  }).join();
  CHECK(seen == 5);
  CHECK(alive.load() == 0);
}

TEST_CASE("a fiber_local may go before its tasks: the values stay with these, and a new one in its place finds none") {
  with_workers([] {
    std::optional<weft::fiber_local<counted>> local(std::in_place, 1);
    auto touched = weft::make_chan<int>(), replaced = weft::make_chan<int>();
    auto task = weft::spawn([&] {
      int* const before = &(*local)->value;
      *before = 10;
      touched.send(0);
      replaced.recv();
      bool const kept = *before == 10 && alive.load() == 1;
      return kept && (*local)->value == 2 && alive.load() == 2;
    });
    touched.recv();
    local.emplace(2);
    replaced.send(0);
    CHECK(task.join());
    CHECK(alive.load() == 0);
    auto last = weft::spawn([&] {
      (void)**local;
      touched.send(0);
      replaced.recv();
    });
    touched.recv();
    local.reset();
    CHECK(alive.load() == 1);
    replaced.send(0);
    last.join();
    CHECK(alive.load() == 0);
  });
}

TEST_CASE("the first value comes from arguments or a factory, and T need be neither movable nor ordinarily aligned") {
  with_worker_count(1, [] {
    weft::fiber_local<std::string> repeated(3, 'x'), text("abc");
    CHECK(*repeated == "xxx");
    CHECK(text->size() == 3);
    int calls = 0;
    weft::fiber_local<int> numbered([&] { return ++calls; });
    CHECK(*numbered == 1);
    CHECK(*numbered == 1);
    CHECK(weft::spawn([&] { return *numbered; }).join() == 2);
    weft::fiber_local<std::unique_ptr<int>> pointer([] { return std::make_unique<int>(4); });
    CHECK(**pointer == 4);
    weft::fiber_local<std::mutex> plain;
    std::lock_guard hold(*plain);
    weft::fiber_local<std::mutex> made([] { return std::mutex(); });
    CHECK(made->try_lock());
    made->unlock();
    struct alignas(256) wide {
      char byte = 1;
    };
    weft::fiber_local<wide> aligned;
    CHECK(reinterpret_cast<std::uintptr_t>(&*aligned) % 256 == 0);
    weft::fiber_local<std::function<int()>> function([] { return 9; });  // a value, not a factory
    CHECK((*function)() == 9);
  });
}

TEST_CASE("what making a value throws comes out of its use, which may be tried again") {
  with_workers([] {
    int tries = 0;
    weft::fiber_local<counted> local([&] {
      if (++tries == 1) throw std::runtime_error("not yet");
      return counted(tries);
    });
    CHECK_THROWS_AS(*local, std::runtime_error);
    CHECK(local->value == 2);
  });
}

TEST_CASE("a task may have many, and finds each") {
  with_workers([] {
    std::deque<weft::fiber_local<int>> locals;
    for (int i = 0; i < 3000; ++i) locals.emplace_back(i);
    weft::spawn([&] {
      for (int i = 2999; i >= 0; --i) *locals[static_cast<std::size_t>(i)] += 1;
      int wrong = 0;
      for (int i = 0; i < 3000; ++i) wrong += *locals[static_cast<std::size_t>(i)] != i + 1;
      CHECK(wrong == 0);
    }).join();
  });
}

TEST_CASE("a value's destructor may wait in a cancelled task, and use values that have gone already") {
  with_workers([] {
    weft::fiber_local<counted> later(1);
    auto gate = weft::make_chan<int>(), parked = weft::make_chan<int>(1);
    std::atomic<int> got{0};
    struct waits {
      weft::chan<int> in, out;
      weft::fiber_local<counted>* other;
      std::atomic<int>* got;
      ~waits() {
        (void)out.try_send(1);
        *got = in.recv().value() + (*other)->value;
      }
    };
    weft::fiber_local<waits> waiting([&] { return waits{gate, parked, &later, &got}; });
    auto task = weft::spawn([&] {
      (void)*waiting;
      later->value = 50;
      weft::sleep_for(std::chrono::hours(1));
    });
    while (alive.load() == 0) weft::yield();
    task.cancel();
    parked.recv();
    gate.send(20);
    task.wait();
    CHECK(got.load() == 21);
    CHECK(alive.load() == 0);
  });
}

TEST_CASE("what the destructors of a task's result and context values use goes too") {
  with_workers([] {
    static weft::fiber_local<counted> local(1);
    struct uses {
      bool on = false;
      uses() = default;
      explicit uses(bool o) : on(o) {}
      uses(uses&& other) noexcept : on(std::exchange(other.on, false)) {}
      ~uses() {
        if (on) local->value = 2;
      }
    };
    struct key {
      using type = std::shared_ptr<uses>;
    };
    auto ended = weft::make_chan<int>(1);
    {
      auto dropped = weft::spawn([ended] {
        weft::defer tell([&] { (void)ended.try_send(1); });
        return uses(true);
      });
      dropped.detach();
    }
    {
      weft::scoped_context in(weft::with_value<key>(weft::this_task::context(), std::make_shared<uses>(true)));
      // Joined: the runtime's end, on a plain thread, may hold the context for a moment, and its destruction would be that thread's.
      weft::spawn([] { (void)*local; }).join();
    }
    ended.recv();
  });
  CHECK(alive.load() == 0);
}

TEST_CASE("a value whose constructor uses its own fiber_local ends the process with a message") {
  auto const end = weft::test::run_in_child([] {
    static weft::fiber_local<int>* self = nullptr;
    weft::fiber_local<int> local([] { return **self; });
    self = &local;
    (void)*local;
  });
  CHECK(end.aborted);
  CHECK(end.said.find("fiber_local: the constructor of a value uses the fiber_local that it is made for") !=
        std::string::npos);
}

TEST_CASE("destructors that make values without end end the process with a message") {
  auto const end = weft::test::run_in_child([] {
    struct again;
    static weft::fiber_local<again>* self = nullptr;
    struct again {
      ~again() { (void)**self; }
    };
    static weft::fiber_local<again> local;
    self = &local;
    (void)*local;
    std::exit(0);  // the end of the child's main thread
  });
  CHECK(end.aborted);
  CHECK(end.said.find("without end") != std::string::npos);
}

}  // namespace
