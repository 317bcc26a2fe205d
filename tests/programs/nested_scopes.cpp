// Scopes in scopes: errors stay where they are caught, deadlines narrow on the way down, values are seen below, and a subtree that is
// cancelled leaves its siblings alone.

#include <weft/weft.hpp>

#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct trace_id {
  using type = std::string;
};

bool right = true;
void check(bool ok, char const* what) {
  if (ok) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  right = false;
}

std::string who() { return weft::this_task::value<trace_id>().value_or("nobody"); }

/// A tree of scopes; leaves wait, and the one called `fails` throws. Counts leaves that ended in order.
int tree(int depth, std::string const& path, std::string const& fails) {
  if (depth == 0) {
    weft::sleep_for(std::chrono::microseconds(50));
    if (path == fails) throw std::runtime_error(who() + " failed at " + path);
    return 1;
  }
  std::atomic<int> sum = 0;
  weft::scope([&](weft::task_group& g) {
    for (char side : {'l', 'r'}) g.spawn([&, side] { sum += tree(depth - 1, path + side, fails); });
  });
  return sum;
}

void errors_stay_where_they_are_caught() {
  int parts = 0;
  std::string error;
  weft::scope([&](weft::task_group& outer) {
    auto ends = weft::make_chan<int>(2);
    outer.spawn([&, ends] {
      try {
        (void)tree(5, "", "lrlrl");
      } catch (std::runtime_error const& e) {
        error = e.what();
      }
      ends.send(0);
    });
    outer.spawn([ends] { ends.send(tree(5, "", "")); });
    parts = *ends.recv() + *ends.recv();
  });
  check(parts == 32, "the other tree is whole");
  check(error == "main failed at lrlrl", "the error of the one, with a value from above");
}

void deadlines_narrow() {
  auto const outer = weft::within(1h, [] {
    auto const far = *weft::this_task::context().deadline();
    auto const inner = weft::within(5ms, [&] {
      check(*weft::this_task::context().deadline() < far, "the inner deadline is earlier");
      auto child = weft::spawn([&] { return weft::this_task::context().deadline(); });
      check(child.join() == weft::this_task::context().deadline(), "and inherited");
      return tree(3, "", "") + (weft::sleep_for(1h), 0);
    });
    check(!inner && inner.error() == std::errc::timed_out, "the inner one ends");
    auto const wider = weft::within(2h, [&] { return weft::this_task::context().deadline() == far; });
    check(wider == true, "a later one does not widen");
    return 1;
  });
  check(outer == 1, "the outer one goes on");
}

void cancelled_subtrees() {
  weft::task_group a, b;
  std::atomic<int> a_ended = 0, b_ended = 0;
  auto gate = weft::make_chan<weft::unit>();
  for (int i = 0; i < 20; ++i) {
    a.spawn([&] {
      weft::defer count([&] { ++a_ended; });
      weft::scope([&](weft::task_group& g) { g.spawn([&] { gate.recv(); }); });
    });
    b.spawn([&] {
      weft::scope([&](weft::task_group& g) { g.spawn([&] { gate.recv(); }); });
      ++b_ended;
    });
  }
  a.cancel();
  a.wait();
  check(a_ended == 20 && b_ended == 0, "one half is gone");
  gate.close();
  b.wait();
  check(b_ended == 20, "the other ends in order");
}

}  // namespace

int main() {
  weft::run([] {
    weft::scoped_context traced(weft::with_value<trace_id>(weft::this_task::context(), "main"));
    errors_stay_where_they_are_caught();
    deadlines_narrow();
    cancelled_subtrees();
  });
  return right ? 0 : 1;
}
