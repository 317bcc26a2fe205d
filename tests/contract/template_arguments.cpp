// The contract of what may be called with template arguments given: in that order, whatever they could be deduced to.

#include <weft/http.hpp>
#include <weft/net.hpp>
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

struct numbers {  // converts to both ends
  weft::chan<int> ch = weft::make_chan<int>(4);
  operator weft::receiver<int>() const { return ch; }
  operator weft::sender<int>() const { return ch; }
};

struct own_source {
  using value_type = int;
  weft::chan<int> ch = weft::make_chan<int>(1);
  weft::receiver<int> channel() { return ch; }
};

int add(int a, int b) { return a + b; }

struct answer {
  using type = int;
};

// What is explicit, what throws nothing, and what is no std::exception.
static_assert(!std::is_convertible_v<weft::options, weft::runtime> && !std::is_convertible_v<int, weft::watch<int>>);
static_assert(!std::is_convertible_v<std::size_t, weft::broadcast<int>> &&
              !std::is_convertible_v<weft::counting_semaphore<>&, weft::permit>);
static_assert(!std::is_convertible_v<std::chrono::seconds, weft::timer> &&
              !std::is_convertible_v<weft::context, weft::scoped_context>);
static_assert(!std::is_base_of_v<std::exception, weft::cancelled>);
static_assert(noexcept(std::declval<weft::context const&>().cancelled()) &&
              noexcept(std::declval<weft::cancelled const&>().what()));
static_assert(noexcept(std::declval<weft::condition_variable&>().notify_all()) &&
              noexcept(std::declval<weft::latch const&>().try_wait()));
static_assert(noexcept(std::declval<weft::binary_semaphore&>().try_acquire()) &&
              noexcept(bool(std::declval<weft::chan<int> const&>())));

void channels() {
  auto c = weft::make_chan<int>(4);
  auto [tx, rx] = weft::make_ends<int>(4);
  (void)c.send_for<int>(1, std::chrono::duration<int>(0));
  (void)c.send_for<milliseconds::rep, milliseconds::period>(1, 1ms);
  (void)rx.recv_for<milliseconds::rep, std::milli>(1ms);
  (void)tx.send_for<milliseconds::rep, std::milli>(1, 1ms);
}

void cases() {
  auto c = weft::make_chan<int>(4);
  auto const handle = [](int) {};
  auto const end = [] {};
  auto next = [](int) {};

  weft::select(weft::on_recv<int>(c, handle), weft::otherwise());
  weft::select(weft::on_recv<int>(c), weft::on_recv<int>(c.rx()), weft::on_recv<int>(c.rx(), [](int) {}),
               weft::otherwise());
  weft::select(weft::on_recv<int, decltype(next)>(c, std::move(next)), weft::otherwise());
  weft::select(weft::on_recv<int, decltype(handle)&>(c, handle), weft::otherwise());
  weft::select(weft::on_recv<int, std::function<void(int)>>(c, [](int) {}), weft::otherwise());
  weft::select(weft::on_send<int>(c, 1, end), weft::on_send<int>(c.tx(), 2), weft::otherwise());
  int const two = 2;
  weft::select(weft::on_send<int>(c, two), weft::on_send<int>(c, two, [] {}), weft::otherwise());
  weft::select(weft::on_send<long>(weft::make_chan<long>(1), two), weft::otherwise());  // an int becomes a long
  auto texts = weft::make_chan<std::string>(2);
  weft::select(weft::on_send<std::string>(texts, "literal"), weft::on_send<std::string>(texts, std::string("rvalue")));
  weft::select(weft::on_recv<std::string>(texts, [](std::string const&) {}));
  auto pointers = weft::make_chan<std::unique_ptr<int>>(1);
  weft::select(weft::on_send<std::unique_ptr<int>>(pointers, std::make_unique<int>(1)));
  weft::select(weft::on_recv<std::unique_ptr<int>>(pointers, [](std::unique_ptr<int> p) { return *p; }));
  auto channels = weft::make_chan<weft::chan<int>>(2);
  weft::select(weft::on_send<weft::chan<int>>(channels, c));
  weft::select(weft::on_recv<weft::chan<int>>(channels, [](weft::chan<int> const&) {}));

  numbers both;
  weft::select(weft::on_send<int>(both, 1, end));
  weft::select(weft::on_recv<int>(both, handle));

  weft::timer t(1ms);
  own_source own;
  weft::oneshot<int> once;
  weft::select(weft::on_recv<weft::timer>(t), weft::on_recv<own_source>(own, [](int) {}),
               weft::on_recv<weft::oneshot<int>>(once));

  auto [ctx, cancel] = weft::with_cancel();
  auto h = weft::spawn([] { return 1; });
  weft::select(weft::on_timeout<milliseconds::rep, std::milli>(1ms, end),
               weft::on_timeout<int>(std::chrono::duration<int>(0)),
               weft::on_deadline<std::function<void()>>(weft::now(), [] {}),
               weft::on_done<std::function<void()>>(ctx, [] {}), weft::on_join<int>(h, [](int) {}));
  std::atomic<weft::time_point> at = weft::now();
  weft::select(weft::on_deadline(at, end), weft::on_deadline({}, end), weft::on_deadline({}));
  weft::select(weft::on_recv<int>(c), weft::otherwise<std::function<void()>>([] {}));

  weft::selector s;
  s.recv<int>(c, handle);
  s.recv<int>(c.rx(), [](std::optional<int>) {});
  s.recv<int, std::function<void(int)>>(both, [](int) {});
  std::size_t const sends = s.send<int>(c, 1, end);
  s.send<int>(c.tx(), two, [] {});
  s.send<int, std::function<void()>>(both, 'a', [] {});
  s.timeout<milliseconds::rep, std::milli>(1ms, end);
  s.deadline<std::function<void()>>(weft::now(), [] {});
  s.deadline(at, end);
  s.done<std::function<void()>>(ctx, [] {});
  auto later = weft::spawn([] { return 1; });
  s.join<int>(later, [](int) {});
  s.otherwise<std::function<void()>>([] {});
  s.wait();
  s.rearm<int>(sends, 2);
}

void tasks() {
  using call = std::function<int()>;
  weft::go<std::function<void()>>([] {});
  weft::go<std::function<void()>>({.name = "named"}, [] {});
  weft::go<int (*)(int, int)>(add, 1, 2);
  weft::spawn<call>([] { return 1; }).join();
  weft::spawn<call>(weft::task_options{.name = "named"}, [] { return 1; }).join();
  weft::spawn<int (*)(int, int), int, int>(add, 1, 2).join();
  weft::spawn<int (*)(int, int), int, int>({.name = "named"}, add, 1, 2).join();
  auto h = weft::spawn<int (*)(int, int)>(add, 1, 2);
  h.wait_for<milliseconds::rep, std::milli>(1ms);
  std::vector<weft::join_handle<int>> handles;
  handles.push_back(std::move(h));
  weft::join_all<int>(handles);
  weft::sleep_for<milliseconds::rep, std::milli>(1ms);
  weft::sleep_until<weft::steady_clock, weft::steady_clock::duration>(weft::now());
  weft::blocking<int (*)(int, int), int, int>(add, 1, 2);
  weft::defer<std::function<void()>> const at_end([] {});
}

void structured() {
  auto [ctx, cancel] = weft::with_timeout<milliseconds::rep, std::milli>(1ms);
  weft::with_timeout<milliseconds::rep, std::milli>(ctx, 1ms).second();
  auto const with = weft::with_value<answer>(ctx, 42);
  (void)with.value<answer>();
  weft::after_func<std::function<void()>>(ctx, [] {})();
  weft::after_func<milliseconds::rep, std::milli, std::function<void()>>(1ms, [] {})();
  (void)weft::within<milliseconds::rep, std::milli, std::function<int()>>(1ms, [] { return 1; });
  weft::task_group g;
  g.spawn<std::function<void()>>([] {});
  g.spawn<std::function<void()>>(weft::task_options{.name = "named"}, [] {});
  g.spawn<int (*)(int, int), int, int>(add, 1, 2);
  g.wait();
  weft::scope<std::function<void(weft::task_group&)>>([](weft::task_group&) {});
  std::vector<int> const some{1, 2};
  weft::parallel_map<std::vector<int> const&, std::function<int(int)>>(some, [](int i) { return i; });
  weft::parallel_for<std::vector<int> const&>(some, [](int) {});
  weft::race<std::function<int()>, std::function<int()>>([] { return 1; }, [] { return 2; });
}

void locks() {
  weft::mutex m;
  weft::condition_variable changed;
  std::unique_lock lock(m);
  changed.wait<std::function<bool()>>(lock, [] { return true; });
  changed.wait_for<milliseconds::rep, std::milli>(lock, 1ms);
  changed.wait_for<milliseconds::rep, std::milli, std::function<bool()>>(lock, 1ms, [] { return true; });
  changed.wait_until<weft::steady_clock, weft::steady_clock::duration>(lock, weft::now());
  changed.wait_until<weft::steady_clock, weft::steady_clock::duration, std::function<bool()>>(lock, weft::now(),
                                                                                              [] { return true; });
  weft::counting_semaphore<> permits(1);
  (void)permits.try_acquire_for<milliseconds::rep, std::milli>(1ms);
  weft::once_flag once;
  weft::call_once<int (*)(int, int), int, int>(once, add, 1, 2);
  weft::wait_group group;
  group.go<std::function<void()>>([] {});
  group.go<int (*)(int, int), int, int>(add, 1, 2);
  group.wait();
  weft::guarded<int> value(1);
  value.with<std::function<void(int&)>>([](int& v) { ++v; });
  weft::singleflight<int, int> flights;
  flights.run<std::function<int()>>(1, [] { return 1; });
  weft::timer t(1ms);
  t.reset<milliseconds::rep, std::milli>(1ms);
  weft::ticker every(1ms);
  every.reset<milliseconds::rep, std::milli>(1ms);
  (void)weft::after<milliseconds::rep, std::milli>(1ms);
  (void)weft::tick<milliseconds::rep, std::milli>(1ms);
}

void others(weft::net::tcp_stream& a, weft::net::tcp_stream& b, weft::net::tcp_listener& l) {
  namespace net = weft::net;
  (void)a.write_all<std::string, char const*>("a", "b");
  (void)net::copy<net::tcp_stream, net::tcp_stream>(a, b);
  (void)net::copy_both<net::tcp_stream, net::tcp_stream>(a, b);
  (void)net::serve<net::tcp_listener, std::function<void(net::tcp_stream)>>(l, [](net::tcp_stream) {});
  weft::http::router routes;
  routes.get<weft::http::handler>("/", [](weft::http::request&) { return weft::http::response(204); });
  routes.post<weft::http::handler>("/", [](weft::http::request&) { return weft::http::response(204); });
  routes.handle<weft::http::handler>("PUT", "/", [](weft::http::request&) { return weft::http::response(204); });
}

}  // namespace

int main() {
  weft::runtime own;
  own.go<std::function<void()>>([] {});
  own.go<std::function<void()>>(weft::task_options{.name = "named"}, [] {});
  own.spawn<std::function<int()>>([] { return 1; }).join();
  own.spawn<int (*)(int, int), int, int>(add, 1, 2).join();
  own.spawn<std::function<int()>>(weft::task_options{.name = "named"}, [] { return 1; }).join();
  own.run<int (*)(int, int), int, int>(add, 1, 2);
  weft::run<int (*)(int, int), int, int>(weft::options{.workers = 1}, add, 1, 2);
  weft::sim::run<std::function<void()>>(1, [] {});
  weft::sim::run<std::function<void()>>(weft::sim::options{.seed = 1}, [] {});
  (void)weft::sim::explore<std::function<void()>>(1, [] {});
  (void)weft::sim::replay<std::function<int()>>("w1", [] { return 1; });
  weft::run<std::function<void()>>([] {
    channels();
    cases();
    tasks();
    structured();
    locks();
  });
  (void)&others;
}
