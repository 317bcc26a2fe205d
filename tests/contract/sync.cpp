// The contract of sync, as a program.

#include <weft/detail/annotations.hpp>
#include <weft/weft.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

// Tries locks that it holds itself, to see that they are refused: the analysis would not have that.
void locks() WEFT_NO_THREAD_SAFETY_ANALYSIS {
  weft::mutex a, b;
  a.lock();
  bool const again = a.try_lock();
  require(!again, "held");
  a.unlock();
  {
    std::scoped_lock both(a, b);
  }
  {
    std::lock_guard guard(a);
    std::unique_lock<weft::mutex> other(b, std::try_to_lock);
    require(other.owns_lock(), "try_to_lock");
  }
  weft::shared_mutex s;
  s.lock();
  require(!s.try_lock() && !s.try_lock_shared(), "written");
  s.unlock();
  s.lock_shared();
  require(s.try_lock_shared(), "shared");
  s.unlock_shared();
  s.unlock_shared();
  {
    std::shared_lock reads(s);
    std::shared_lock<weft::shared_mutex> too(s);
  }
  std::unique_lock writes(s);
}

void conditions() {
  weft::mutex m;
  weft::condition_variable cv;
  bool ready = false;
  weft::go([&] {
    std::lock_guard hold(m);
    ready = true;
    cv.notify_one();
    cv.notify_all();
  });
  std::unique_lock<weft::mutex> hold(m);
  while (!ready) cv.wait(hold);
  cv.wait(hold, [&] { return ready; });
  require(cv.wait_for(hold, 1ms) == std::cv_status::timeout, "wait_for");
  require(cv.wait_for(hold, 1ms, [&] { return ready; }), "wait_for with a predicate");
  require(cv.wait_until(hold, weft::now() + 1ms) == std::cv_status::timeout, "wait_until");
  require(!cv.wait_until(hold, std::chrono::system_clock::now(), [] { return false; }), "wait_until with a predicate");
}

void counters() {
  weft::counting_semaphore<> many(2);
  weft::counting_semaphore<8> few(0);
  weft::binary_semaphore one(1);
  many.acquire();
  require(many.try_acquire() && !many.try_acquire(), "try_acquire");
  require(!many.try_acquire_for(1ms), "try_acquire_for");
  many.release();
  many.release(1);
  few.release(3);
  {
    weft::permit p(one);
    require(!one.try_acquire(), "permit");
  }
  one.acquire();
  one.release();

  weft::latch l(2);
  l.count_down();
  require(!l.try_wait(), "latch");
  weft::go([&] { l.count_down(1); });
  weft::latch const& view = l;
  view.wait();
  require(view.try_wait(), "open");
  weft::latch self(1);
  self.arrive_and_wait();

  int phases = 0;
  auto count = [&]() noexcept { ++phases; };
  weft::barrier with(2, count);
  weft::barrier<> without(1);
  without.arrive_and_wait();
  auto other = weft::spawn([&] {
    with.arrive_and_wait();
    with.arrive_and_drop();
  });
  with.arrive_and_wait();
  with.arrive_and_wait();
  other.join();
  require(phases == 2, "barrier");

  weft::once_flag flag;
  int called = 0;
  for (int i = 0; i < 3; ++i) weft::call_once(flag, [&](int n) { called += n; }, 1);
  require(called == 1, "call_once");

  weft::wait_group group;
  group.add();
  group.add(2);
  weft::go([&] { group.done(); });
  group.go([&] { group.done(); });
  group.go([&](int) { group.done(); }, 1);
  group.wait();
}

void values() {
  weft::guarded<std::map<std::string, int>> m;
  weft::guarded<std::string> text(3, 'x');
  weft::guarded<std::unique_ptr<int>> pointer(std::make_unique<int>(1));
  (*m.lock())["a"] = 1;
  m.lock()->emplace("b", 2);
  {
    auto held = m.lock();
    require(held->size() == 2 && (*held).at("b") == 2, "guarded");
  }
  require(m.with([](std::map<std::string, int>& all) { return all.size(); }) == 2, "with");
  text.with([](std::string& s) { s += "y"; });
  require(*text.lock() == "xxxy", "constructed from arguments");
  require(**pointer.lock() == 1, "move-only");

  weft::singleflight<std::string, int> flights;
  int calls = 0;
  require(flights.run("k", [&] { return ++calls; }) == 1, "singleflight");
  std::string const key = "k";
  require(flights.run(key, [&] { return ++calls; }) == 2, "the next call is another");
}

struct request_id {
  std::string text = "none";
};
weft::fiber_local<request_id> current_request;  // at namespace scope, as a program would have it

void locals() {
  weft::fiber_local<int> counter;
  ++*counter;
  current_request->text = "first";
  auto other = weft::spawn([&] { return current_request->text + std::to_string(*counter); });
  require(other.join() == "none0" && *counter == 1 && current_request->text == "first", "one a task");
  std::thread outside([&] { *counter += 5; });
  outside.join();
  require(*counter == 1, "one a thread");
  weft::fiber_local<std::string> name(3, 'x');
  weft::fiber_local<std::unique_ptr<int>> made([] { return std::make_unique<int>(7); });
  require(*name == "xxx" && **made == 7, "the first value");
}

void oneshots() {
  weft::oneshot<std::unique_ptr<int>> reply;
  weft::go([reply] { reply.send(std::make_unique<int>(1)); });
  require(*reply.recv() == 1, "recv");
  require(!reply.send(std::make_unique<int>(2)), "once");
  weft::oneshot<int> number;
  require(number.send(3), "the first");
  weft::receiver<int> in = number.channel();
  require(in.recv() == 3 && !in.recv(), "channel");
  weft::oneshot<int> late;
  require(weft::select(weft::on_recv(late, [](int) {}), weft::on_timeout(1ms)) == 1, "select");
}

void broadcasts() {
  weft::broadcast<std::string> news(2);
  weft::broadcast<std::string>::subscriber one = news.subscribe();
  auto two = news.subscribe();
  auto reader = weft::spawn([two]() mutable {
    std::string all;
    while (std::optional<std::string> item = two.recv()) all += *item;
    return all;
  });
  for (char const* item : {"a", "b", "c"}) news.send(item);
  std::uint64_t const missed = one.missed();
  require(missed == 1 && one.recv() == "b", "the oldest is lost");
  std::string got;
  weft::select(weft::on_recv(one, [&](std::string s) { got = s; }), weft::on_timeout(1h));
  require(got == "c", "select");
  news.close();
  require(!one.recv(), "closed");
  weft::receiver<std::string> in = one.channel();
  require(!in.recv(), "channel");
  std::string const all = reader.join();
  require(all == "abc" || all == "bc", "the other subscriber");
  bool refused = false;
  try {
    news.send("d");
  } catch (weft::closed_channel const&) {
    refused = true;
  }
  require(refused, "send after close");
}

void watches() {
  auto setting = std::make_unique<weft::watch<int>>(1);
  weft::watch<int>::subscriber sub = setting->subscribe();
  require(setting->get() == 1 && sub.get() == 1, "get");
  setting->send(2);
  setting->send(3);
  require(sub.changed() == 3, "changed gives the latest");
  auto waits = weft::spawn([sub]() mutable { return sub.changed(); });
  setting->send(4);
  require(waits.join() == 4, "changed waits");
  require(weft::select(weft::on_recv(sub, [](int) {}), weft::otherwise()) == 1, "select");
  setting.reset();
  require(!sub.changed() && sub.get() == 4, "the watch has gone");
  weft::receiver<int> in = sub.channel();
  require(!in.recv(), "channel");
}

void limits() {
  weft::rate_limiter limit(1000, 3);
  auto const start = weft::now();
  for (int i = 0; i < 8; ++i) limit.wait();
  require(weft::now() - start >= 5ms, "the rate is kept");
  weft::rate_limiter slow(0.001);
  require(slow.try_take() && !slow.try_take(), "try_take");
  auto waits = weft::spawn([&] { slow.wait(); });
  waits.stop();
  bool refused = false;
  try {
    weft::rate_limiter(0.0, 1.0);
  } catch (std::invalid_argument const&) {
    refused = true;
  }
  require(refused, "no such rate");
}

}  // namespace

int main() {
  weft::run([] {
    locks();
    conditions();
    counters();
    values();
    locals();
    oneshots();
    broadcasts();
    watches();
    limits();
  });
  return 0;
}
