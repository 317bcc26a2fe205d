// Every sync type between tasks and plain threads, with time-outs and cancellation. What a lock guards is plain data; permits, arrivals, notifies
// and values are counted.
#include <weft/weft.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <stdexcept>
#include <vector>

#include "tests/stress/ledger.hpp"
#include "tests/stress/stress.hpp"

namespace weft::stress {
namespace {

void use_locks(runtime& rt, random& chance) {
  mutex one;
  shared_mutex other;
  guarded<std::uint64_t> third;
  std::uint64_t by_one = 0, by_other = 0, by_other_too = 0;
  std::atomic<std::uint64_t> ones{0}, others{0}, thirds{0};
  {
    crew users(rt, chance);
    for (auto n = chance.between(2, 8); n > 0; --n)
      users.start([&, mine = chance.branch()]() mutable {
        auto const linger = [&mine] {
          if (mine.one_in(8)) yield();
          if (mine.one_in(50)) std::this_thread::sleep_for(mine.up_to(50us));
        };
        for (auto times = mine.between(1, 300); times > 0; --times) {
          count();
          switch (mine.below(7)) {
            case 0:
              if (std::unique_lock const lock(one, std::try_to_lock); lock) ++by_one, ++ones;
              break;
            case 1: {
              std::scoped_lock const lock(one, other);
              linger();
              check(by_other == by_other_too, "two data that a lock keeps the same differ");
              ++by_one, ++ones, ++by_other, ++by_other_too, ++others;
              break;
            }
            case 2: {
              std::unique_lock const lock(other);
              ++by_other;
              linger();
              ++by_other_too, ++others;
              break;
            }
            case 3:
            case 4: {
              std::shared_lock const lock(other);
              linger();
              check(by_other == by_other_too, "a reader sees what a writer has half done");
              break;
            }
            case 5: third.with([&](std::uint64_t& held) { ++held, ++thirds; }); break;
            default: {
              std::unique_lock const lock(one);
              linger();
              ++by_one, ++ones;
              if (mine.one_in(30)) sleep_for(mine.up_to(100us));  // a cancellation point, under the lock
            }
          }
        }
      });
    users.cancel_some(3, 3ms);
  }
  check_equal(by_one, ones, "what a mutex guards");
  check_equal(by_other, others, "what a shared_mutex guards");
  check_equal(*third.lock(), thirds, "what a guarded<T> holds");
}

/// A queue made of a mutex and two condition variables; each change wakes one waiter, so none of the notifies may be lost.
void use_condition_variables(runtime& rt, random& chance) {
  auto const producers = chance.between(1U, 5), consumers = chance.between(1U, 5);
  auto const most = chance.between(std::size_t{1}, 5);
  mutex guard;
  condition_variable not_full, not_empty;
  std::deque<item> queue;
  bool closed = false;
  ledger book(producers);
  auto const take = [&](ledger::page& page, bool whole, random& mine) {
    for (;;) {
      std::unique_lock lock(guard);
      auto const ready = [&] { return closed || !queue.empty(); };
      if (!whole && mine.one_in(3)) {
        if (!not_empty.wait_for(lock, mine.up_to(300us), ready)) continue;
      } else {
        not_empty.wait(lock, ready);
      }
      if (queue.empty()) return;
      page.push_back(queue.front());
      queue.pop_front();
      not_full.notify_one();
    }
  };
  {
    crew consuming(rt, chance);
    for (auto n = consumers; n > 0; --n)
      consuming.start([&, &page = book.open_page(), mine = chance.branch()]() mutable {
        in_pieces(mine, [&] { take(page, false, mine); });
      });
    random last = chance.branch();
    consuming.thread([&, &page = book.open_page()] { take(page, true, last); });  // when the others have been cancelled
    {
      crew producing(rt, chance);
      for (std::uint32_t p = 0; p < producers; ++p)
        producing.start([&, p, &sent = book.sent_by(p), mine = chance.branch(), n = chance.between(1U, 200)]() mutable {
          in_pieces(mine, [&] {
            while (sent < n) {
              std::unique_lock lock(guard);
              auto const room = [&] { return queue.size() < most; };
              if (mine.one_in(3)) {
                if (!not_full.wait_until(lock, now() + mine.up_to(300us), room)) continue;
              } else {
                not_full.wait(lock, room);
              }
              queue.push_back({p, sent++});
              not_empty.notify_one();
              count();
            }
          });
        });
      producing.cancel_some(2, 3ms);
      consuming.cancel_some(2, 3ms);
    }
    std::unique_lock const lock(guard);
    closed = true;
    not_empty.notify_all();
  }
  book.settle(true, 0);
}

void use_semaphore(runtime& rt, random& chance) {
  auto const permits = chance.between(std::ptrdiff_t{1}, 4);
  counting_semaphore<8> slots(permits);
  std::atomic<std::ptrdiff_t> inside{0};
  auto const use = [&](random& mine) {
    check(++inside <= permits, "more hold a permit than there are");
    if (mine.one_in(2)) yield();
    if (mine.one_in(10)) std::this_thread::sleep_for(mine.up_to(50us));
    --inside;
    count();
  };
  {
    crew users(rt, chance);
    for (auto n = chance.between(2, 8); n > 0; --n)
      users.start([&, mine = chance.branch()]() mutable {
        auto times = mine.between(1, 200);
        in_pieces(mine, [&] {
          for (; times > 0; --times) {
            bool held = true;
            switch (mine.below(4)) {
              case 0: {
                permit const p(slots);
                use(mine);
                continue;
              }
              case 1: held = slots.try_acquire(); break;
              case 2: held = slots.try_acquire_for(mine.up_to(200us)); break;
              default: slots.acquire();
            }
            if (!held) continue;
            use(mine);
            slots.release();
          }
        });
      });
    users.cancel_some(3, 3ms);
  }
  for (std::ptrdiff_t n = 0; n < permits; ++n) check(slots.try_acquire(), "a permit is lost");
  check(!slots.try_acquire(), "there are more permits than there were");
}

void use_barrier(runtime& rt, random& chance) {
  auto const parties = chance.between(1, 6);
  std::atomic<int> here{0}, leaving{0}, expected{parties};
  int phases = 0, longest = 0;
  auto const completion = [&] {
    check(here.exchange(0) == expected.load(), "a barrier's phase ended without all having arrived, or with more");
    expected -= leaving.exchange(0);
    ++phases;
  };
  barrier meet(parties, completion);
  {
    crew users(rt, chance);
    for (int p = 0; p < parties; ++p) {
      int const times = chance.between(0, 50);
      longest = std::max(longest, times);
      users.start([&, times, mine = chance.branch()]() mutable {
        for (int n = 0; n < times; ++n) {
          ++here;
          auto arrival = meet.arrive();
          if (mine.one_in(20)) sleep_within_a_shield(mine.up_to(100us));
          try {
            meet.wait(std::move(arrival));
          } catch (cancelled const&) {
            uncancellable const shield;  // it has arrived; and may not again before the others have
            meet.wait(std::move(arrival));
          }
          count();
        }
        ++here, ++leaving;
        meet.arrive_and_drop();
      });
    }
    users.cancel_some(2, 2ms);
  }
  check_equal(static_cast<std::uint64_t>(phases), static_cast<std::uint64_t>(longest) + 1, "phases of a barrier");
}

void use_countdowns(runtime& rt, random& chance) {
  auto const workers = chance.between(1, 30);
  latch opened(workers);
  wait_group all_done;
  std::uint64_t work = 0;  // plain: each count_down and each done comes before the wait that it lets go
  mutex guard;
  {
    crew users(rt, chance);
    for (auto n = chance.between(1, 4); n > 0; --n)
      users.start([&, mine = chance.branch()]() mutable {
        in_pieces(mine, [&] { opened.wait(); });
        std::unique_lock const lock(guard);
        check(work >= static_cast<std::uint64_t>(workers), "a latch opened too early");
      });
    all_done.add(workers);
    for (int n = 0; n < workers; ++n)
      users.start([&, mine = chance.branch()]() mutable {
        if (mine.one_in(3)) std::this_thread::sleep_for(mine.up_to(100us));
        {
          std::unique_lock const lock(guard);
          ++work;
        }
        count();
        opened.count_down();
        all_done.done();
      });
    all_done.wait();
    check_equal(work, static_cast<std::uint64_t>(workers), "what a wait_group waited for");
    check(opened.try_wait(), "a latch is closed that all have counted down");
  }
  rt.run([&] {
    std::atomic<int> ended{0};
    for (int n = 0; n < workers; ++n) all_done.go([&] { ++ended; });
    all_done.wait();
    check(ended == workers, "a wait_group's wait returned too early");
  });
}

struct failed_call : std::runtime_error {
  failed_call() : std::runtime_error("the call failed") {}
};

void use_calls(runtime& rt, random& chance) {
  once_flag flag;
  int made = 0, attempts = chance.between(1, 4);
  singleflight<int, int> flights;
  std::atomic<int> in_flight[3] = {};
  crew users(rt, chance);
  for (auto n = chance.between(2, 8); n > 0; --n)
    users.start([&, mine = chance.branch()]() mutable {
      try {
        call_once(flag, [&] {
          yield();
          if (--attempts > 0) throw failed_call();
          ++made;
        });
        check(made == 1, "call_once returned before its call had, or called twice");
      } catch (failed_call const&) {
      }
      auto times = mine.between(1, 40);
      in_pieces(mine, [&] {
        for (; times > 0; --times) {
          int const key = mine.between(0, 2);
          try {
            int const got = flights.run(key, [&] {
              check(in_flight[key]++ == 0, "two calls of one key at once");
              defer const landed([&] { --in_flight[key]; });
              sleep_for(mine.up_to(100us));
              if (mine.one_in(10)) throw failed_call();
              return key * 10;
            });
            check(got == key * 10, "singleflight gave another key's result");
          } catch (failed_call const&) {
          }
          count();
        }
      });
    });
  users.cancel_some(2, 2ms);
}

void use_rate_limiter(runtime& rt, random& chance) {
  double const rate = chance.pick({2000.0, 10000.0, 100000.0}), burst = static_cast<double>(chance.between(1, 5));
  std::atomic<std::uint64_t> passed{0};
  auto const start = now();
  rate_limiter limit(rate, burst);
  {
    crew users(rt, chance);
    for (auto n = chance.between(1, 6); n > 0; --n)
      users.start([&, mine = chance.branch()]() mutable {
        auto times = mine.between(1, 10);
        in_pieces(mine, [&] {
          for (; times > 0; --times) {
            if (mine.one_in(4)) {
              if (limit.try_take()) ++passed;
            } else {
              limit.wait();
              ++passed;
            }
            count();
          }
        });
      });
    users.cancel_some(2, 2ms);
  }
  std::chrono::duration<double> const took = now() - start;
  check(static_cast<double>(passed) <= burst + rate * took.count() + 1e-3,
        "a rate_limiter let through more than its rate");
}

void use_broadcast(runtime& rt, random& chance) {
  auto const senders = chance.between(1U, 3);
  auto const capacity = chance.pick<std::size_t>({1, 4, 1000});
  broadcast<item> news(capacity);
  watch<std::uint64_t> latest(0);
  std::atomic<std::uint64_t> sent{0};
  std::mutex guard;
  std::vector<std::vector<item>> whole;  // of those who missed nothing
  {
    crew hearing(rt, chance);
    for (auto n = chance.between(1, 5); n > 0; --n)
      hearing.start([&, sub = news.subscribe(), numbers = latest.subscribe(), mine = chance.branch()]() mutable {
        std::vector<item> got;
        std::vector<std::int64_t> last(senders, -1);
        in_pieces(mine, [&] {
          while (auto const i = sub.recv()) {
            got.push_back(*i);
            check(i->number > last[i->producer], "a broadcast gave values of one sender out of their order");
            last[i->producer] = i->number;
          }
        });
        std::uint64_t seen = 0;
        in_pieces(mine, [&] {
          while (auto const v = numbers.changed()) {
            check(*v > seen && numbers.get() >= *v, "a watch went back");
            seen = *v;
          }
        });
        check_equal(got.size() + sub.missed(), sent, "values that a subscriber received and missed");
        check_equal(seen, latest.get(), "the last value that a watch told");
        if (sub.missed() != 0) return;
        std::lock_guard const lock(guard);
        whole.push_back(std::move(got));
      });
    {
      crew telling(rt, chance);
      for (std::uint32_t s = 0; s < senders; ++s)
        telling.start([&, s, mine = chance.branch()]() mutable {
          for (std::uint32_t n = 0, most = mine.between(1U, 100); n < most; ++n) {
            news.send({s, n});
            ++sent;
            if (s == 0) latest.send(n + 1);
            if (mine.one_in(20)) sleep_within_a_shield(mine.up_to(100us));
            count();
          }
        });
      hearing.cancel_some(1, 2ms);
    }
    news.close();
    latest.close();
  }
  for (auto const& w : whole)
    for (std::size_t i = 0; i < w.size(); ++i)
      check(w[i].producer == whole[0][i].producer && w[i].number == whole[0][i].number,
            "two subscribers have different orders");
}

void use_oneshot(runtime& rt, random& chance) {
  oneshot<std::unique_ptr<int>> answer;
  std::atomic<int> accepted{0}, winner{-1}, received{0}, got{-1};
  {
    crew users(rt, chance);
    for (int n = chance.between(1, 4); n > 0; --n)
      users.start([&, n, mine = chance.branch()]() mutable {
        sleep_for(mine.up_to(200us));
        if (answer.send(std::make_unique<int>(n))) ++accepted, winner = n;
      });
    for (int n = chance.between(1, 4); n > 0; --n)
      users.start([&, mine = chance.branch()]() mutable {
        try {
          in_pieces(mine, [&] { got = *answer.recv(), ++received; });
        } catch (closed_channel const&) {
        }
        count();
      });
    answer.send(std::make_unique<int>(0)) ? (++accepted, winner = 0) : 0;
    users.cancel_some(3, 500us);
  }
  if (auto const left = answer.channel().try_recv()) got = **left, ++received;
  check(accepted == 1 && received == 1 && got == winner, "a oneshot took, or gave, more or less than one value");
}

}  // namespace

void sync(round& r) {
  constexpr void (*all[])(runtime&, random&) = {use_locks,        use_condition_variables, use_semaphore,
                                                use_barrier,      use_countdowns,          use_calls,
                                                use_rate_limiter, use_broadcast,           use_oneshot};
  with_runtime(r, [&](runtime& rt) {
    for (auto n = r.chance.between(1, 3); n > 0; --n) all[r.chance.below(std::size(all))](rt, r.chance);
  });
}

}  // namespace weft::stress
