// The contract of sync, as a program.

#include <weft/detail/annotations.hpp>
#include <weft/weft.hpp>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
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

}  // namespace

int main() {
  weft::run([] {
    locks();
    conditions();
    counters();
    values();
  });
  return 0;
}
