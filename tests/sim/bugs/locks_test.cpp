// Bugs in the use of locks and their relatives.
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/sim/bugs/planted.hpp"

namespace {

template <class... F>
void together(F... f) {
  weft::wait_group all;
  (all.go(std::move(f)), ...);
  all.wait();
}

template <class L, class F>
auto locked(L& lock, F f) {
  std::lock_guard const hold(lock);
  return f();
}

}  // namespace

TEST_CASE("explore finds a lost update") {
  is_found([] {
    weft::mutex m;
    int n = 0;
    auto const add = [&] {
      int const seen = locked(m, [&] { return n; });
      locked(m, [&] { n = seen + 1; });
    };
    together(add, add);
    must(n == 2, "an update was lost");
  });
}

TEST_CASE("explore finds a deadlock by lock order") {
  auto const with = [](bool ordered) {
    return [ordered] {
      weft::mutex a, b;
      together([&] { locked(a, [&] { locked(b, [] {}); }); },
               [&] {
                 if (ordered) locked(a, [&] { locked(b, [] {}); });
                 else locked(b, [&] { locked(a, [] {}); });
               });
    };
  };
  is_found(with(false));
  is_sound(with(true));
}

TEST_CASE("explore finds a check that is stale when it is acted on") {
  is_found([] {
    weft::mutex m;
    std::map<int, int> made;
    int constructions = 0;
    auto const get = [&] {
      if (locked(m, [&] { return made.contains(1); })) return;
      locked(m, [&] {
        ++constructions;
        made.emplace(1, 1);
      });
    };
    together(get, get, get);
    must(constructions == 1, "made twice");
  });
}

TEST_CASE("explore finds a lock that an early return leaves held") {
  is_found([] {
    weft::mutex m;
    int tickets = 1;
    auto const take = [&]() WEFT_NO_THREAD_SAFETY_ANALYSIS {
      m.lock();
      if (tickets == 0) return;
      --tickets;
      m.unlock();
    };
    together(take, take);
    locked(m, [] {});
  });
}

TEST_CASE("explore finds a condition that is looked at once, not in a loop") {
  auto const with = [](bool loops) {
    return [loops] {
      weft::mutex m;
      weft::condition_variable filled;
      std::vector<int> items;
      auto const consume = [&] {
        std::unique_lock lock(m);
        if (loops) filled.wait(lock, [&] { return !items.empty(); });
        else if (items.empty()) filled.wait(lock);
        must(!items.empty(), "nothing to consume");
        items.pop_back();
      };
      auto const produce = [&] {
        locked(m, [&] { items.push_back(1); });
        filled.notify_one();
      };
      together(consume, consume, produce, produce);
    };
  };
  is_found(with(false));
  is_sound(with(true));
}

TEST_CASE("explore finds a notify that comes before the wait") {
  is_found([] {
    weft::mutex m;
    weft::condition_variable c;
    bool done = false;
    together(
        [&] {
          if (locked(m, [&] { return done; })) return;
          std::unique_lock lock(m);
          c.wait(lock);
        },
        [&] {
          locked(m, [&] { done = true; });
          c.notify_one();
        });
  });
}

TEST_CASE("explore finds one notify for two kinds of waiters") {
  is_found([] {
    weft::mutex m;
    weft::condition_variable changed;
    int count = 0;
    constexpr int room = 1;
    auto const produce = [&] {
      std::unique_lock lock(m);
      changed.wait(lock, [&] { return count < room; });
      ++count;
      changed.notify_one();
    };
    auto const consume = [&] {
      std::unique_lock lock(m);
      changed.wait(lock, [&] { return count > 0; });
      --count;
      changed.notify_one();
    };
    together(consume, consume, produce, produce);
  });
}

TEST_CASE("explore finds a semaphore that is released once too often") {
  is_found([] {
    weft::counting_semaphore<> slots(1);
    int inside = 0;
    auto const use = [&](bool impatient) {
      bool const got = slots.try_acquire_for(std::chrono::milliseconds(impatient ? 1 : 100));
      if (got) {
        must(++inside == 1, "two inside");
        weft::sleep_for(std::chrono::milliseconds(2));
        --inside;
      }
      slots.release();  // also if it was not acquired
    };
    together([&] { use(true); }, [&] { use(true); }, [&] { use(false); });
  });
}

TEST_CASE("explore finds a read-modify-write over two guarded values") {
  is_found([] {
    weft::guarded<int> from(10), to(0);
    auto const move = [&] {
      int const have = from.with([](int& v) { return v; });
      if (have < 10) return;
      from.with([](int& v) { v -= 10; });
      to.with([](int& v) { v += 10; });
    };
    together(move, move);
    must(from.with([](int& v) { return v; }) >= 0, "overdrawn");
  });
}

TEST_CASE("explore finds a sum that is torn between two locks") {
  is_found([] {
    weft::guarded<int> a(5), b(5);
    together(
        [&] {
          a.with([](int& v) { v -= 1; });
          b.with([](int& v) { v += 1; });
        },
        [&] {
          int const sum = a.with([](int& v) { return v; }) + b.with([](int& v) { return v; });
          must(sum == 10, "torn");
        });
  });
}

TEST_CASE("explore finds an index that was freed and used again in between") {
  is_found([] {
    weft::mutex m;
    std::vector<int> next{1, 2, -1};  // a free list
    int head = 0;
    std::vector<int> users(3, 0);
    auto const pop = [&] {
      int const i = locked(m, [&] { return head; });
      if (i < 0) return -1;
      int const after = locked(m, [&] { return next[static_cast<std::size_t>(i)]; });
      if (!locked(m, [&] { return head == i && (head = after, true); })) return -1;
      must(++users[static_cast<std::size_t>(i)] == 1, "one slot, two users");
      return i;
    };
    auto const push = [&](int i) {
      locked(m, [&] {
        --users[static_cast<std::size_t>(i)];
        next[static_cast<std::size_t>(i)] = head;
        head = i;
      });
    };
    together([&] { pop(); },
             [&] {
               int const a = pop();
               int const b = pop();
               if (a >= 0) push(a);
               if (b < 0) return;
               pop();
               pop();
             });
  });
}

TEST_CASE("explore finds a writer that lets go to upgrade") {
  is_found([] {
    weft::shared_mutex m;
    int version = 0, written = 0;
    auto const upgrade = [&] {
      m.lock_shared();
      int const seen = version;
      m.unlock_shared();
      locked(m, [&] {
        version = seen + 1;
        ++written;
      });
    };
    together(upgrade, upgrade);
    must(version == written, "a version was lost");
  });
}

TEST_CASE("explore finds a lazy value that is published before it is made") {
  is_found([] {
    struct config {
      int limit = 0;
    };
    weft::mutex m;
    std::shared_ptr<config> current;
    together(
        [&] {
          auto fresh = std::make_shared<config>();
          locked(m, [&] { current = fresh; });
          fresh->limit = 10;
        },
        [&] {
          auto const c = locked(m, [&] { return current; });
          must(c == nullptr || c->limit == 10, "half made");
        });
  });
}
