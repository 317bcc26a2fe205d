// weft::broadcast: who gets what, in which order, what a slow subscriber loses and is told, and that nothing else is lost.
#include <weft/weft.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::await_receivers;
using weft::test::with_worker_count;
using weft::test::with_workers;
using namespace std::chrono_literals;

/// How a value stands in a channel is the business of its type; each of these stands there in another way.
struct plain {
  int n;
};
struct boxed {  // its copy cannot throw, which is taken for user code in its move
  explicit boxed(int v) noexcept : n(v) { alive.fetch_add(1); }
  boxed(boxed const& other) noexcept : n(other.n) { alive.fetch_add(1); }
  boxed& operator=(boxed const&) noexcept = default;
  ~boxed() { alive.fetch_sub(1); }
  int n;
  static inline std::atomic<int> alive{0};
};
struct inlined {
  explicit inlined(int v) : n(v), held(std::make_shared<int>(v)) { watched = held; }
  int n;
  std::shared_ptr<int> held;
  static inline std::weak_ptr<int> watched;
};

template <class T>
void each_gets_all() {
  with_workers([] {
    weft::broadcast<T> all(100);
    all.send(T(-1));  // nobody is there
    auto one = all.subscribe(), two = all.subscribe();
    for (int i = 0; i < 50; ++i) all.send(T(i));
    auto late = all.subscribe();
    for (int i = 50; i < 100; ++i) all.send(T(i));
    all.close();
    int wrong = 0;
    for (int i = 0; i < 100; ++i) wrong += one.recv().value().n != i;
    for (int i = 0; i < 100; ++i) wrong += two.recv().value().n != i;
    for (int i = 50; i < 100; ++i) wrong += late.recv().value().n != i;
    CHECK(wrong == 0);
    CHECK_FALSE(one.recv());
    CHECK_FALSE(two.recv());
    CHECK_FALSE(late.recv());
    CHECK(one.missed() + two.missed() + late.missed() == 0);
  });
}

TEST_CASE("each subscriber gets every value that was sent after it subscribed, in order, and then the end") {
  each_gets_all<plain>();
  each_gets_all<inlined>();
  each_gets_all<boxed>();
  CHECK(boxed::alive.load() == 0);
}

template <class T>
void slow_loses_oldest() {
  with_workers([] {
    weft::broadcast<T> all(3);
    auto slow = all.subscribe(), quick = all.subscribe();
    for (int i = 0; i < 10; ++i) {
      all.send(T(i));
      CHECK(quick.recv().value().n == i);
    }
    CHECK(quick.missed() == 0);
    CHECK(slow.missed() == 7);
    CHECK(slow.recv().value().n == 7);
    all.send(T(10));
    all.send(T(11));
    CHECK(slow.missed() == 8);
    for (int i : {9, 10, 11}) CHECK(slow.recv().value().n == i);
    CHECK_FALSE(slow.channel().try_recv());
    CHECK(slow.missed() == 8);
    weft::broadcast<T> single(1);
    auto last = single.subscribe();
    for (int i = 0; i < 5; ++i) single.send(T(i));
    CHECK(last.recv().value().n == 4);
    CHECK(last.missed() == 4);
  });
}

TEST_CASE("a slow subscriber loses the oldest values and is told how many, the others lose none") {
  slow_loses_oldest<plain>();
  slow_loses_oldest<inlined>();
  slow_loses_oldest<boxed>();
  CHECK(boxed::alive.load() == 0);
}

TEST_CASE("what a subscriber knows to have missed and what it received add up, whatever the speeds") {
  with_workers([] {
    constexpr std::uint64_t sent = 3000;
    weft::broadcast<std::uint64_t> all(8);
    std::vector<weft::join_handle<bool>> tasks;
    for (int pace = 0; pace < 4; ++pace) {
      tasks.push_back(weft::spawn([sub = all.subscribe(), pace] {
        std::uint64_t got = 0;
        while (auto v = sub.recv()) {
          // All before this one were received or missed, and it is counted by now.
          if (*v > got + sub.missed()) return false;
          ++got;
          for (int i = 0; i < pace; ++i) weft::yield();
        }
        return got + sub.missed() == sent;
      }));
    }
    std::thread outside([&] {
      for (std::uint64_t i = 0; i < sent; ++i) {
        all.send(i);
        if (i % 16 == 0) std::this_thread::yield();
      }
      all.close();
    });
    for (auto& h : tasks) CHECK(h.join());
    outside.join();
  });
}

TEST_CASE("all subscribers get the values of several senders in one order") {
  with_workers([] {
    constexpr int senders = 4, each = 500;
    weft::broadcast<std::pair<int, int>> all(senders * each);
    std::array<weft::broadcast<std::pair<int, int>>::subscriber, 3> subs{all.subscribe(), all.subscribe(),
                                                                         all.subscribe()};
    weft::wait_group group;
    for (int s = 0; s < senders; ++s) {
      group.go([&all, s] {
        for (int i = 0; i < each; ++i) {
          all.send({s, i});
          if (i % 8 == 0) weft::yield();
        }
      });
    }
    group.wait();
    all.close();
    std::array<std::vector<std::pair<int, int>>, 3> seen;
    for (std::size_t i = 0; i < subs.size(); ++i) subs[i].channel().recv_many(seen[i], senders * each + 1);
    CHECK(seen[0].size() == std::size_t{senders} * each);
    CHECK(seen[0] == seen[1]);
    CHECK(seen[0] == seen[2]);
    std::array<int, senders> next{};
    int wrong = 0;
    for (auto const& [s, i] : seen[0]) wrong += next[static_cast<std::size_t>(s)]++ != i;
    CHECK(wrong == 0);
  });
}

TEST_CASE("a broadcast is closed by close or with its last handle, and a send to a closed one throws") {
  with_workers([] {
    std::optional<weft::broadcast<int>> all(std::in_place, 2);
    auto copy = all;
    auto sub = all->subscribe();
    auto waiting = weft::spawn([sub] { return !sub.recv(); });
    await_receivers(sub.channel());
    all.reset();
    copy->send(1);
    CHECK_FALSE(waiting.join());
    auto again = weft::spawn([sub] { return !sub.recv(); });
    await_receivers(sub.channel());
    copy.reset();
    CHECK(again.join());

    weft::broadcast<std::string> other(1);
    auto rest = other.subscribe();
    other.send("left");
    other.close();
    other.close();
    CHECK_THROWS_AS(other.send("more"), weft::closed_channel);
    CHECK(rest.recv() == "left");
    CHECK_FALSE(rest.recv());
    CHECK_FALSE(other.subscribe().recv());
  });
}

TEST_CASE("a subscription ends with its last handle or receiver, and what it had not received goes at once") {
  with_workers([] {
    weft::broadcast<boxed> all(4);
    {
      auto sub = all.subscribe();
      auto same = sub;
      for (int i = 0; i < 3; ++i) all.send(boxed(i));
      CHECK(boxed::alive.load() == 3);
      CHECK(same.recv()->n == 0);
      CHECK(sub.recv()->n == 1);
    }
    CHECK(boxed::alive.load() == 0);
    weft::receiver<boxed> rx = all.subscribe().channel();
    all.send(boxed(7));
    CHECK(rx.recv()->n == 7);
    all.send(boxed(8));
    rx = {};
    CHECK(boxed::alive.load() == 0);
    all.send(boxed(9));
    CHECK(boxed::alive.load() == 0);
    for (int i = 0; i < 1000; ++i) (void)all.subscribe();  // nobody sends: the list does not grow for that
  });
  CHECK(boxed::alive.load() == 0);
  with_worker_count(1, [] {
    weft::broadcast<inlined> all(2);
    auto sub = all.subscribe();
    all.send(inlined(1));
    sub = {};
    CHECK(inlined::watched.expired());
    auto kept = all.subscribe();
    for (int i = 0; i < 3; ++i) all.send(inlined(i));
    all = weft::broadcast<inlined>(1);
    CHECK(kept.recv()->n == 1);
    CHECK(kept.recv()->n == 2);
    CHECK_FALSE(kept.recv());
  });
}

TEST_CASE("a subscriber in a select gets what recv would have got, and a default one never anything") {
  with_workers([] {
    weft::broadcast<int> all(4);
    auto sub = all.subscribe();
    decltype(sub) const none;
    CHECK(none.missed() == 0);
    for (int i = 0; i < 6; ++i) all.send(i);
    all.close();
    std::vector<int> got;
    for (bool more = true; more;)
      weft::select(weft::on_recv(sub, [&](std::optional<int> v) { v ? got.push_back(*v) : void(more = false); }),
                   weft::on_recv(none, [&](int v) { got.push_back(-v); }));
    CHECK(got == std::vector<int>{2, 3, 4, 5});
    CHECK(sub.missed() == 2);
  });
}

TEST_CASE("cancelled receivers lose no value: every one is received or still there") {
  with_workers([] {
    constexpr int sent = 2000;
    weft::broadcast<int> all(sent);
    auto sub = all.subscribe();
    std::atomic<int> got{0};
    std::atomic<long> sum{0};
    auto receive = [&](bool by_select) {
      auto take = [&](std::optional<int> v) {
        if (v) got.fetch_add(1), sum.fetch_add(*v);
        return v.has_value();
      };
      for (bool more = true; more;) {
        if (by_select) weft::select(weft::on_recv(sub, [&](std::optional<int> v) { more = take(v); }));
        else more = take(sub.recv());
      }
    };
    auto sender = weft::spawn([&] {
      for (int i = 1; i <= sent; ++i) {
        all.send(i);
        if (i % 4 == 0) weft::yield();
      }
    });
    for (int round = 0; round < 500; ++round) {
      auto doomed = weft::spawn(receive, round % 2 == 0);
      for (int i = 0; i < round % 5; ++i) weft::yield();
      doomed.stop();
    }
    sender.join();
    all.close();
    receive(false);
    CHECK(got.load() == sent);
    CHECK(sum.load() == long{sent} * (sent + 1) / 2);
    CHECK(sub.missed() == 0);
  });
}

TEST_CASE("subscribers may come and go while others send") {
  with_workers([] {
    weft::broadcast<boxed> all(4);
    std::atomic<bool> stop{false};
    weft::wait_group group;
    for (int s = 0; s < 2; ++s) {
      group.go([&] {
        for (int i = 0; !stop.load(); ++i) {
          all.send(boxed(i));
          weft::yield();
        }
      });
    }
    weft::latch received(1);
    std::thread outside([&] {
      for (int i = 0; i < 200; ++i) (void)all.subscribe().recv();
      received.count_down();
    });
    for (int i = 0; i < 300; ++i) {
      std::vector<weft::broadcast<boxed>::subscriber> some;
      for (int n = 0; n < i % 7; ++n) some.push_back(all.subscribe());
      for (auto& sub : some) (void)sub.recv();
    }
    received.wait();  // not join(): that would keep the one worker from sending
    outside.join();
    stop.store(true);
    group.wait();
  });
  CHECK(boxed::alive.load() == 0);
}

struct faulty {
  explicit faulty(int* left) : copies_left(left) {}
  faulty(faulty const& other) : copies_left(other.copies_left) {
    if ((*copies_left)-- == 0) throw std::runtime_error("no more copies");
  }
  int* copies_left;
};

TEST_CASE("if a copy throws, nobody has got the value") {
  with_workers([] {
    weft::broadcast<faulty> all(4);
    auto one = all.subscribe(), two = all.subscribe(), three = all.subscribe();
    int left = 2;
    faulty const v(&left);
    CHECK_THROWS_AS(all.send(v), std::runtime_error);
    for (auto* sub : {&one, &two, &three}) CHECK(sub->channel().size() == 0);
    left = 1000;
    all.send(v);
    for (auto* sub : {&one, &two, &three}) CHECK(sub->recv().has_value());
  });
}

TEST_CASE("copies and destructors of a broadcast's values may use the broadcast") {
  with_workers([] {
    struct nosy {
      weft::broadcast<nosy>* in;
      int* subscribed;
      nosy(weft::broadcast<nosy>* b, int* n) : in(b), subscribed(n) {}
      nosy(nosy const& other) : in(other.in), subscribed(other.subscribed) { use(); }
      ~nosy() { use(); }
      void use() const {
        if (in == nullptr || ++*subscribed > 20) return;
        (void)in->subscribe();
      }
    };
    weft::broadcast<nosy> all(1);
    auto sub = all.subscribe();
    int uses = 0;
    all.send(nosy(&all, &uses));
    all.send(nosy(&all, &uses));
    CHECK(uses > 0);
    CHECK(sub.recv());
    CHECK(sub.missed() == 1);
  });
}

TEST_CASE("a broadcast works between plain threads") {
  weft::broadcast<std::string> all(2);
  auto sub = all.subscribe();
  std::thread sender([all] { all.send("from a thread"); });
  CHECK(sub.recv() == "from a thread");
  sender.join();
}

TEST_CASE("a broadcast without capacity is an invalid argument") {
  CHECK_THROWS_AS(weft::broadcast<int>(0), std::invalid_argument);
}

TEST_CASE("a broadcast that was moved to a task is closed with that task") {
  with_workers([] {
    weft::broadcast<int> all(4);
    auto first = all.subscribe();
    auto const sub = std::move(first);
    weft::go([all = std::move(all)] { all.send(1); });
    CHECK(sub.recv() == 1);
    CHECK(sub.recv() == std::nullopt);
  });
}

TEST_CASE("use of a broadcast that was moved from ends the process and names the call") {
  auto const end = weft::test::run_in_child([] {
    weft::broadcast<int> all(4);
    auto const kept = std::move(all);
    all.send(1);
  });
  CHECK(end.aborted);
  CHECK(end.said.find("broadcast::send: the handle was moved from") != std::string::npos);
}

}  // namespace
