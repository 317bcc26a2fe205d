// The contract of contexts, cancellation, structured concurrency and signals, as a program.

#include <weft/weft.hpp>

#include <atomic>
#include <csignal>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

struct user {
  using type = std::string;
};

void contexts() {
  weft::context const root = weft::context::background();
  weft::receiver<weft::unit> const done = root.done();
  require(!root.cancelled() && !root.err() && root.cause() == nullptr && !root.deadline(), "background");
  root.throw_if_cancelled();

  auto [a, cancel_a] = weft::with_cancel();
  auto [b, cancel_b] = weft::with_cancel(a);
  auto [c, cancel_c] = weft::with_timeout(b, 1h);
  auto [d, cancel_d] = weft::with_timeout(std::chrono::duration<double>(3600));
  auto [e, cancel_e] = weft::with_deadline(b, weft::now() + 1h);
  auto [f, cancel_f] = weft::with_deadline(weft::now() + 1h);
  std::pair<weft::context, weft::cancel_fn> const pair = weft::with_cancel(weft::this_task::context());
  weft::cancel_fn const copy = cancel_a;
  copy();
  cancel_a(std::make_exception_ptr(std::runtime_error("late")));
  pair.second(std::make_exception_ptr(std::runtime_error("why")));
  require(b.cancelled() && c.cancelled() && e.cancelled() && !d.cancelled() && !f.cancelled(), "below");
  require(b.err() == std::errc::operation_canceled, "err");
  try {
    std::rethrow_exception(pair.first.cause());
  } catch (std::runtime_error const&) {
  }
  try {
    b.throw_if_cancelled();
    require(false, "throw_if_cancelled");
  } catch (weft::cancelled const& x) {
    std::error_code const code = x.code();
    require(code == std::errc::operation_canceled && x.what() != nullptr, "cancelled");
  }
  cancel_b(), cancel_c(), cancel_d(), cancel_e(), cancel_f();

  weft::context const with = weft::with_value<user>(root, "ann");
  std::optional<std::string> const name = with.value<user>();
  require(name == "ann", "value");
  require(weft::without_cancel(with).value<user>() == "ann", "without_cancel");
  {
    weft::scoped_context in(with);
    require(weft::this_task::value<user>().value_or("-") == "ann", "scoped_context");
  }
  std::stop_source source;
  weft::context const from = weft::context::from(source.get_token());
  std::stop_token const token = from.stop_token();
  source.request_stop();
  require(from.cancelled() && token.stop_requested(), "stop_token");
  require(weft::cancelled{}.code() == std::errc::operation_canceled, "of no context");
  weft::context assigned = root;
  assigned = from;
  require(assigned.cancelled(), "assigned");
}

void functions() {
  auto ran = weft::make_chan<int>(4);
  auto [ctx, cancel] = weft::with_cancel();
  weft::stop_fn const stop = weft::after_func(ctx, [ran] { ran.send(1); });
  weft::after_func(ctx, [ran] { ran.send(1); });
  weft::stop_fn const other = weft::after_func(ctx, [] {});
  require(other(), "stopped");
  cancel();
  require(ran.recv() == 1 && ran.recv() == 1, "after_func");
  require(!stop(), "too late");

  weft::result<int> const r = weft::within(1s, [] { return 1; });
  require(r == 1, "within");
  weft::result<void> const v = weft::within(1ms, [] { weft::sleep_for(1h); });
  require(!v && v.error() == std::errc::timed_out, "within");
  weft::result<std::string> const flat = weft::within(1s, []() -> weft::result<std::string> { return "x"; });
  require(flat == "x", "flat");
  {
    weft::uncancellable shield;
    weft::sleep_for(1us);
  }
}

void groups() {
  weft::task_group g;
  weft::task_group limited({.limit = 2});
  weft::task_group under(weft::this_task::context(),
                         {.limit = 2, .cancel_on_error = false, .on_error = [](std::exception_ptr) {}});
  weft::task_group plain(weft::context::background());
  std::atomic<int> n = 0;
  g.spawn([&] { ++n; });
  g.spawn([&](std::atomic<int>& k, std::string const&) { ++k; }, std::ref(n), "text");
  g.spawn({.name = "named"}, [&] { ++n; });
  g.spawn(weft::task_options{}, [](std::unique_ptr<int>) {}, std::make_unique<int>(1));
  g.limit(1);
  g.wait();
  require(n == 3, "spawn");
  weft::task_group const& view = g;
  weft::context const ctx = view.ctx();
  g.cancel();
  require(ctx.cancelled(), "ctx");
  under.spawn([] { throw std::runtime_error("taken"); });
  under.wait();
  limited.spawn([] { throw std::runtime_error("first"); });
  try {
    limited.wait();
    require(false, "rethrows");
  } catch (std::runtime_error const&) {
  }

  int const r = weft::scope([](weft::task_group& s) {
    s.spawn([] {});
    return 3;
  });
  require(r == 3, "scope");
  weft::scope([](weft::task_group&) {});

  std::vector<int> in{1, 2, 3};
  std::vector<int> const doubled = weft::parallel_map(in, [](int k) { return 2 * k; });
  require(doubled == std::vector<int>{2, 4, 6}, "parallel_map");
  std::vector<std::string> const texts = weft::parallel_map(in | std::views::transform([](int k) { return k + 1; }),
                                                            [](int k) { return std::to_string(k); }, {.limit = 2});
  require(texts.back() == "4", "parallel_map of a view");
  weft::parallel_for(in, [](int& k) { ++k; });
  weft::parallel_for(std::views::iota(0, 3), [](int) {}, {.limit = 1});
  std::vector<weft::join_handle<int>> handles;
  handles.push_back(weft::spawn([] { return 1; }));
  require(weft::join_all(handles) == std::vector<int>{1}, "join_all");
  std::string const first = weft::race([] { return std::string("a"); },
                                       [] {
                                         weft::sleep_for(1h);
                                         return "b";
                                       });
  require(first == "a", "race");
}

void signals() {
  weft::receiver<int> const some = weft::signals({SIGUSR1, SIGUSR2});
  std::raise(SIGUSR1);
  require(some.recv() == SIGUSR1, "signals");
  auto waits = weft::spawn([] { weft::wait_signal({SIGUSR2}); });
  while (!waits.wait_for(1ms)) std::raise(SIGUSR2);
  auto [ctx, cancel] = weft::with_signals(weft::this_task::context(), {SIGUSR1});
  std::raise(SIGUSR1);
  require(!ctx.done().recv() && ctx.cancelled(), "with_signals");
  cancel();
}

}  // namespace

int main() {
  weft::run([] {
    contexts();
    functions();
    groups();
    signals();
  });
  return 0;
}
