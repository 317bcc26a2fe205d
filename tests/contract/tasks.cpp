// The contract of starting and tasks, as a program: every name, in the ways in which it may be written.

#include <weft/weft.hpp>

#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

int twice(int n) { return 2 * n; }
void note(std::vector<int>& to, int n) { to.push_back(n); }

struct counter {
  int value = 0;
  int add(int n) { return value += n; }
};

struct move_only_call {
  std::unique_ptr<int> p;
  int operator()() { return *p; }
};

void going() {
  weft::wait_group all;
  all.add(5);
  weft::go([&] { all.done(); });
  weft::go([&](int) { all.done(); }, 1);
  weft::go([&](std::stop_token) { all.done(); });
  weft::go({.name = "named", .stack_size = 128 * 1024}, [&] { all.done(); });
  weft::go(weft::task_options{}, [&](std::stop_token, std::unique_ptr<int>) { all.done(); }, std::make_unique<int>(1));
  all.wait();
}

void spawning() {
  weft::join_handle<int> h = weft::spawn(twice, 4);
  require(h.joinable(), "joinable");
  require(h.join() == 8, "join");
  require(!h.joinable(), "joined");
  auto named = weft::spawn({.name = "n"}, [] { return std::string(weft::this_task::name()); });
  require(named.join() == "n", "name");
  auto stop = weft::spawn([](std::stop_token t, int n) { return t.stop_requested() ? 0 : n; }, 3);
  require(stop.join() == 3, "stop_token");
  auto only = weft::spawn(move_only_call{std::make_unique<int>(7)});
  require(only.join() == 7, "move-only callable");
  auto moved = weft::spawn([](std::unique_ptr<int> p) { return p; }, std::make_unique<int>(9));
  require(*moved.join() == 9, "move-only argument and result");
  std::vector<int> seen;
  weft::spawn(note, std::ref(seen), 5).join();
  require(seen.at(0) == 5, "reference argument");
  counter c;
  require(weft::spawn(&counter::add, &c, 4).join() == 4, "member function");
  weft::join_handle<int&> ref = weft::spawn([&]() -> int& { return c.value; });
  require(&ref.join() == &c.value, "reference result");
  auto fails = weft::spawn([]() -> int { throw std::runtime_error("x"); });
  try {
    fails.join();
    require(false, "rethrow");
  } catch (std::runtime_error const&) {
  }
}

void handles() {
  weft::join_handle<void> none;
  require(!none.joinable() && !none.done(), "default-constructed");
  try {
    none.join();
    require(false, "no task");
  } catch (std::system_error const& e) {
    require(e.code() == std::errc::invalid_argument, "invalid_argument");
  }
  weft::join_handle<void> h = weft::spawn([] { weft::sleep_for(1h); });
  weft::join_handle<void> const& view = h;
  require(!view.wait_for(1ms) && !view.done(), "still running");
  view.wait_for(std::chrono::duration<double>(0.001));
  weft::join_handle<void> other = std::move(h);
  none = std::move(other);
  none.cancel();
  none.wait();
  require(none.done(), "done");
  none.stop();
  none = weft::spawn([] { weft::sleep_for(1h); });
  none.stop();
  weft::spawn([] {}).detach();
  weft::join_handle<int> dropped = weft::spawn([] {
    weft::sleep_for(1h);
    return 1;
  });
}

void waiting() {
  weft::yield();
  weft::sleep_for(1ms);
  weft::sleep_for(std::chrono::duration<double, std::micro>(1.5));
  weft::sleep_for(-1s);
  weft::sleep_until(weft::now() + 1ms);
  weft::sleep_until(std::chrono::system_clock::now());
  weft::sleep_until(std::chrono::high_resolution_clock::now());
  weft::time_point const t = weft::now();
  weft::steady_clock::time_point const same = t;
  require(weft::now() >= same, "now");
}

void about_this_task() {
  weft::task_id const id = weft::this_task::id();
  require(id != 0, "id");
  weft::this_task::set_name("me");
  std::string_view const name = weft::this_task::name();
  require(name == "me", "set_name");
  weft::context const ctx = weft::this_task::context();
  require(!ctx.cancelled(), "context");
}

void deferring() {
  int n = 0;
  {
    weft::defer last([&] { require(n++ == 1, "last"); });
    weft::defer first{[&] { require(n++ == 0, "first"); }};
  }
  require(n == 2, "defer");
}

int app(int argc, char** argv) {
  require(argc >= 1 && argv != nullptr, "arguments");
  going();
  spawning();
  handles();
  waiting();
  about_this_task();
  deferring();
  return 0;
}

void runtimes() {
  weft::options o{.workers = 2,
                  .stack_size = 128 * 1024,
                  .hog_after = 10ms,
                  .blocked_after = 100us,
                  .max_threads = 100,
                  .shutdown_grace = 5s,
                  .on_stuck = weft::stuck::abort,
                  .on_quit = weft::quit::go_on};
  o.on_stuck = weft::stuck::exit;
  o.on_quit = weft::quit::exit;
  weft::runtime r(o);
  require(r.run(twice, 3) == 6, "runtime::run");
  r.run([] {});
  r.go([](int) {}, 1);
  r.go({.name = "g"}, [] {});
  weft::join_handle<int> h = r.spawn(twice, 1);
  weft::join_handle<int> named = r.spawn(weft::task_options{.name = "s"}, twice, 2);
  require(h.join() + named.join() == 6, "runtime::spawn");
  weft::runtime const& view = r;
  weft::runtime_metrics const m = view.metrics();
  require(m.workers == 2 && m.spawns >= 6, "metrics");
  std::cout << m.live + m.parked + m.runnable + m.steals + m.parks + m.polls + m.stacks + m.bytes << '\n';
  r.shutdown(1s);
  r.shutdown(std::chrono::milliseconds(5));
  r.shutdown();
  weft::runtime other;
}

void failing() {
  try {
    weft::go([] {});
    require(false, "no_runtime");
  } catch (weft::no_runtime const& e) {
    require(std::string(e.what()).size() > 0, "what");
  }
  try {
    weft::run([] { throw std::runtime_error("out"); });
    require(false, "run rethrows");
  } catch (std::exception const&) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  runtimes();
  failing();
  require(weft::run({.workers = 1}, [] { return 5; }) == 5, "run with options");
  weft::run(weft::options{}, [](int) {}, 1);
  return weft::run(app, argc, argv);
}
