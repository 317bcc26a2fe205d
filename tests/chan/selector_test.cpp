// selector: select with cases put together at run time.
#include <weft/selector.hpp>
#include <weft/weft.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using namespace std::chrono_literals;
using weft::test::with_workers;

TEST_CASE("a selector merges any number of channels and says which it was") {
  with_workers([] {
    std::vector<weft::chan<int>> inputs(20);
    for (int i = 0; i < 20; ++i) {
      auto& c = inputs[static_cast<std::size_t>(i)] = weft::make_chan<int>();
      weft::go([c, i] {
        for (int k = 0; k < 10; ++k) c.send(i);
      });
    }
    weft::selector s;
    std::vector<int> counts(20);
    std::size_t wrong = 0;
    int last = -1;
    for (auto& in : inputs) s.recv(in, [&](int v) { ++counts[static_cast<std::size_t>(last = v)]; });
    for (int n = 0; n < 200; ++n) wrong += s.wait() != static_cast<std::size_t>(last);
    CHECK(wrong == 0);
    CHECK(counts == std::vector<int>(20, 10));
  });
}

TEST_CASE("a send case that happened stays off until it is rearmed") {
  with_workers([] {
    auto c = weft::make_chan<std::string>(10);
    weft::selector s;
    int sent = 0;
    auto const send = s.send(c, "first", [&] { ++sent; });
    auto const none = s.otherwise();
    CHECK(s.wait() == send);
    CHECK(s.wait() == none);
    s.rearm(send, std::string("second"));
    CHECK(s.wait() == send);
    CHECK(s.wait() == none);
    CHECK(sent == 2);
    CHECK(c.recv() == "first");
    CHECK(c.recv() == "second");
  });
}

TEST_CASE("handlers may rearm, add cases and clear") {
  with_workers([] {
    auto c = weft::make_chan<std::unique_ptr<int>>(3);
    weft::selector s;
    std::size_t send = 0;
    int n = 0;
    send = s.send(c.tx(), std::make_unique<int>(0), [&] {
      if (++n < 3) s.rearm(send, std::make_unique<int>(n));
      else
        s.recv(c, [&](std::unique_ptr<int> p) {
          n = 10 + *p;
          s.clear();
        });
    });
    for (int i = 0; i < 3; ++i) CHECK(s.wait() == send);
    CHECK(s.wait() == 1);
    CHECK(n == 10);
    CHECK(s.otherwise() == 0);
    CHECK(s.wait() == 0);
  });
}

TEST_CASE("timeouts of a selector count from each wait, deadlines do not") {
  with_workers([] {
    weft::selector s;
    s.recv(weft::chan<int>(), [](int) {});
    auto const after = s.timeout(2ms);
    for (int i = 0; i < 3; ++i) {
      auto const begin = weft::now();
      CHECK(s.wait() == after);
      CHECK(weft::now() - begin >= 2ms);
    }
    s.clear();
    auto const at = s.deadline(weft::now() + 2ms);
    CHECK(s.wait() == at);
    CHECK(s.wait() == at);
  });
}

TEST_CASE("a selector that waits for the task's own context takes its clause and does not throw") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto const never = weft::make_chan<int>();
    auto waiting = weft::spawn([never, under = ctx] {
      weft::scoped_context const in(under);
      weft::selector s;
      s.recv(never, [](int) {});
      bool told = false;
      auto const done = s.done(under, [&] { told = true; });
      return s.wait() == done && told;
    });
    while (weft::test::waiting(never, false) == 0) weft::yield();
    cancel();
    CHECK(waiting.join());
  });
}

TEST_CASE("a selector waits for contexts and tasks, and throws what select throws") {
  with_workers([] {
    auto [ctx, cancel] = weft::with_cancel();
    auto task = weft::spawn([] { return 5; });
    weft::selector s;
    int got = 0;
    auto const join = s.join(task, [&](int v) { got = v; });
    auto const done = s.done(ctx, [&] { got = -1; });
    CHECK(s.wait() == join);
    CHECK(got == 5);
    cancel();
    CHECK(s.wait() == done);  // the task is joined: only this is left
    CHECK(got == -1);
    auto c = weft::make_chan<int>();
    c.close();
    s.clear();
    s.send(c, 1);
    CHECK_THROWS_AS(s.wait(), weft::closed_channel);
    s.clear();
    s.recv(c, [](int) {});
    CHECK_THROWS_AS(s.wait(), weft::closed_channel);
  });
}

TEST_CASE("rearm takes what send takes: texts, durations, values of optional ones") {
  with_workers([] {
    auto const text = weft::make_chan<std::string_view>(2);
    auto const time = weft::make_chan<std::chrono::milliseconds>(2);
    auto const maybe = weft::make_chan<std::optional<int>>(2);
    auto const number = weft::make_chan<long double>(2);
    weft::selector s;
    auto const a = s.send(text, "a");
    auto const b = s.send(time, 1s);
    auto const c = s.send(maybe, 1);
    auto const d = s.send(number, 1);
    for (int i = 0; i < 4; ++i) s.wait();
    s.rearm(a, "b");
    s.rearm(b, 5s);
    s.rearm(c, 5);
    s.rearm(d, 1.5);
    for (int i = 0; i < 4; ++i) s.wait();
    (void)(text.recv(), time.recv(), maybe.recv(), number.recv());
    CHECK(text.recv() == "b");
    CHECK(time.recv() == 5s);
    CHECK(*maybe.recv() == 5);
    CHECK(number.recv() == 1.5L);
  });
}

TEST_CASE("rearm converts between numbers, and makes strings of texts") {
  with_workers([] {
    auto numbers = weft::make_chan<std::uint64_t>(4);
    auto texts = weft::make_chan<std::string>(4);
    weft::selector s;
    auto const number = s.send(numbers, 1u);
    auto const text = s.send(texts, "a");
    s.wait(), s.wait();
    s.rearm(number, 2);
    s.rearm(text, "b");
    s.wait(), s.wait();
    s.rearm(number, 3.0);
    s.rearm(text, std::string_view("c"));
    s.wait(), s.wait();
    for (std::uint64_t n : {1u, 2u, 3u}) CHECK(numbers.recv() == n);
    for (char const* t : {"a", "b", "c"}) CHECK(texts.recv() == t);
  });
}

#if !WEFT_TSAN
TEST_CASE("rearming with another type, or what is no send, is a fatal misuse") {
  auto const end = weft::test::run_in_child([] {
    auto c = weft::make_chan<std::string>(1);
    weft::selector s;
    s.send(c, "x");
    s.rearm(0, std::vector<int>{1});
  });
  CHECK(end.aborted);
  CHECK(end.said.find("selector::rearm") != std::string::npos);
}
#endif

TEST_CASE("a selector's handlers get T, T& or an optional by their declaration, and close is as in select") {
  with_workers([] {
    auto const c = weft::make_chan<std::string>(8);
    std::string got;
    weft::selector s;
    auto const next = [&](auto handler) {
      s.clear();
      c.send("v");
      s.recv(c, handler);
      s.wait();
    };
    next([&](std::string v) { got += v; });
    next([&](std::string& v) { got += std::move(v); });
    next([&](std::optional<std::string> v) { got += *v; });
    next([&](auto v) { got += v.value(); });
    next([&] { got += "-"; });
    CHECK(got == "vvvv-");
    s.clear();
    c.send("kept");
    auto const receive = s.recv(c.rx());
    CHECK(s.wait() == receive);
    CHECK(c.size() == 0);  // without a handler it is received all the same
    c.close();
    int closed = 0;
    s.clear();
    s.recv(c, [&](std::optional<std::string> v) { closed += !v; });
    s.wait();
    s.clear();
    s.recv(c, [&] { ++closed; });
    s.wait();
    CHECK(closed == 2);
    s.clear();
    s.recv(c, [&](std::string&) {});
    CHECK_THROWS_AS(s.wait(), weft::closed_channel);
  });
}

TEST_CASE("a selector chooses uniformly among what is ready, two sends on one channel included") {
  with_workers([] {
    auto const ready = weft::make_chan<int>();
    ready.close();
    weft::selector s;
    for (int i = 0; i < 3; ++i) s.recv(ready);
    constexpr int rounds = 3000;
    std::vector<int> counts(3);
    for (int i = 0; i < rounds; ++i) ++counts.at(s.wait());
    for (int n : counts) CHECK(std::abs(n - rounds / 3) < 250);  // nearly ten standard deviations

    auto const out = weft::make_chan<int>(1);
    weft::selector sends;
    sends.send(out, 0);
    sends.send(out, 1);
    int ones = 0;
    for (int i = 0; i < rounds; ++i) {
      std::size_t const which = sends.wait();
      CHECK(out.recv() == static_cast<int>(which));
      ones += which == 1;
      sends.rearm(which, static_cast<int>(which));
    }
    CHECK(std::abs(ones - rounds / 2) < 280);
  });
}

TEST_CASE("a selector of nothing, or of nil channels and rested sends alone, blocks for ever") {
  with_workers([] {
    auto nothing = weft::spawn([] { weft::selector().wait(); });
    auto nil = weft::spawn([] {
      weft::selector s;
      s.recv(weft::chan<int>());
      s.send(weft::sender<int>(), 1);
      s.timeout(std::chrono::hours::max());
      s.wait();
    });
    auto rested = weft::spawn([] {
      weft::selector s;
      auto const c = weft::make_chan<int>(5);
      s.send(c, 1);
      s.wait();
      s.wait();
    });
    CHECK_FALSE(nothing.wait_for(2ms));
    CHECK_FALSE(nil.done());
    CHECK_FALSE(rested.done());
    nothing.stop();
    nil.stop();
    rested.stop();
  });
}

TEST_CASE("what a selector's handler throws goes out of wait, and the selector can be used again") {
  with_workers([] {
    auto const c = weft::make_chan<std::unique_ptr<int>>(2);
    weft::selector s;
    bool fail = true;
    auto const send = s.send(c, std::make_unique<int>(1), [&] {
      if (fail) throw std::runtime_error("handler");
    });
    auto const none = s.otherwise();
    CHECK_THROWS_AS(s.wait(), std::runtime_error);
    CHECK(c.size() == 1);  // the case had happened: it rests
    CHECK(s.wait() == none);
    fail = false;
    s.rearm(send, std::make_unique<int>(2));
    CHECK(s.wait() == send);
  });
}

}  // namespace
