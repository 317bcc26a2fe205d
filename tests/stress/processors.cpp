// What takes processors away and gives them back: blocking calls, tasks that compute for long or sleep in the kernel, bursts of tasks, runtimes
// that come and go, and two of them at once that talk over a channel. All work is done once, and others go on meanwhile.
#include <weft/weft.hpp>

#include <unistd.h>

#include <optional>
#include <stdexcept>
#include <vector>

#include "tests/stress/ledger.hpp"
#include "tests/stress/stress.hpp"
#include "tests/support/compute.hpp"

namespace weft::stress {
namespace {

/// Tasks that keep their thread, each in its way, and a ring of tasks that pass a number round beside them.
void keep_threads(round& r) {
  with_runtime(r, [&](runtime& rt) {
    random& chance = r.chance;
    std::atomic<std::uint64_t> began{0}, ended{0};
    crew all(rt, chance);
    for (auto n = chance.between(1, 12); n > 0; --n)
      all.task([&, mine = chance.branch(), way = chance.below(5)]() mutable {
        for (auto times = mine.between(1, 4); times > 0; --times) {
          switch (way) {
            case 0: test::compute_for(20ms + mine.up_to(30ms)); break;
            case 1: ::usleep(static_cast<useconds_t>(mine.up_to(5ms).count())); break;
            case 2:
              ++began;
              check(blocking([&] {
                      std::this_thread::sleep_for(mine.up_to(2ms));
                      ++ended;
                      return 7;
                    }) == 7,
                    "blocking() gave another result");
              break;
            case 3:
              try {
                blocking([&] {
                  sleep_for(mine.up_to(1ms));  // it may wait as well
                  throw std::runtime_error("of blocking");
                });
                fail("an exception is lost in blocking()");
              } catch (std::runtime_error const&) {
              }
              break;
            default: {
              int ends[2];
              check(::pipe(ends) == 0, "no pipe");
              auto writer = spawn([to = ends[1], naps = mine.up_to(2ms)] {
                uncancellable const shield;
                sleep_for(naps);
                check(::write(to, "x", 1) == 1, "a pipe takes nothing");
              });
              char c = 0;
              check(::read(ends[0], &c, 1) == 1 && c == 'x',
                    "a read that blocks its thread got nothing");  // blocks until another task wrote
              {
                uncancellable const shield;
                writer.join();
              }
              ::close(ends[0]);
              ::close(ends[1]);
            }
          }
          count();
        }
      });
    auto const parties = chance.between(1U, 5);
    std::vector<chan<std::uint64_t>> ring;
    for (unsigned p = 0; p < parties; ++p) ring.push_back(make_chan<std::uint64_t>(1));
    auto const most = chance.between(std::uint64_t{1}, 2000);
    for (unsigned p = 0; p < parties; ++p)
      rt.go([in = ring[p], out = ring[(p + 1) % parties], most] {
        for (std::uint64_t n : in) {
          if (n >= most || !out.push(n + 1)) break;
          count();
        }
        out.close();
        in.close();
      });
    ring[0].send(0);
    for (auto& c : ring) {
      while (!c.closed()) std::this_thread::sleep_for(50us);
    }
    all.cancel_some(2, 5ms);
    all.wait();
    check(ended <= began, "a blocking call ended that had not begun");
  });
}

/// As a fork bomb does it: each task spawns, till all have been.
void burst(round& r) {
  with_runtime(r, [&](runtime& rt) {
    random& chance = r.chance;
    auto const most = chance.pick({100U, 1000U, 10000U}) / (r.slow ? 10 : 1);
    auto const branches = chance.between(1U, 50);
    std::atomic<unsigned> ran{0};
    bool const yields = chance.one_in(2);
    rt.run([&] {
      wait_group all;
      for (unsigned b = 0; b < branches; ++b)
        all.go([&, b] {
          for (unsigned n = b; n < most; n += branches)
            all.go([&] {
              if (yields) yield();
              ++ran;
            });
        });
      all.wait();
      check_equal(ran, most, "tasks of a burst that ran");
      std::vector<join_handle<unsigned>> handles;
      for (unsigned n = 0; n < most / 10; ++n) handles.push_back(spawn([n] { return n; }));
      unsigned n = 0;
      for (unsigned const v : join_all(handles)) check(v == n++, "join_all gave results out of their order");
    });
    count(most);
  });
}

/// Runtimes in a row. What is parked when they end is unwound, whatever it waits for.
void come_and_go(round& r) {
  random& chance = r.chance;
  for (auto n = chance.between(1, 10); n > 0; --n) {
    living all;
    with_runtime(r, [&](runtime& rt) {
      auto const never = make_chan<int>();
      for (auto tasks = chance.below(30); tasks > 0; --tasks)
        rt.go([&all, never, mine = chance.branch()]() mutable {
          living::token const here(all);
          defer const last([] { sleep_for(10us); });
          switch (mine.below(5)) {
            case 0: (void)never.recv(); break;
            case 1: sleep_for(1h); break;
            case 2: select(on_recv(never), on_timeout(mine.up_to(500us))); break;
            case 3:
              spawn([&all, never] {
                living::token const there(all);
                never.send(1);
              }).wait();
              break;
            default:
              scope([&](task_group& group) {
                for (int children = mine.between(1, 5); children > 0; --children)
                  group.spawn([&all] {
                    living::token const there(all);
                    sleep_for(1h);
                  });
              });
          }
        });
      if (chance.one_in(2)) rt.run([] { yield(); });
      if (chance.one_in(3)) std::this_thread::sleep_for(chance.up_to(500us));
      count();
    });
  }
}

/// Two runtimes, and plain threads between them, on one channel each way.
void talk_to_another(round& r) {
  random& chance = r.chance;
  auto const producers = chance.between(1U, 4);
  ledger book(producers);
  auto [there, arrived] = make_ends<item>(chance.pick<std::size_t>({0, 1, 16}));
  auto [back, returned] = make_ends<item>(chance.pick<std::size_t>({0, 1, 16}));
  with_runtime(r, [&](runtime& here) {
    runtime other(options_for(chance.between(1U, 3)));
    {
      crew passing(other, chance);
      for (auto n = chance.between(1, 3); n > 0; --n)
        passing.start([in = arrived, out = back] {
          for (item const i : in) out.send(i);
        });
      arrived = {};
      back = {};
      crew own(here, chance);
      for (std::uint32_t p = 0; p < producers; ++p)
        own.start([out = there, p, &sent = book.sent_by(p), most = chance.between(1U, 500),
                   mine = chance.branch()]() mutable {
          in_pieces(mine, [&] {
            for (; sent < most; ++sent) {
              out.send({p, sent});
              count();
            }
          });
        });
      there = {};
      random mine = chance.branch();
      for (auto n = chance.between(1, 3); n > 0; --n)
        own.task([in = returned, &page = book.open_page(), pieces = mine.branch()]() mutable {
          in_pieces(pieces, [&] {
            for (item const i : in) page.push_back(i);
          });
        });
      own.cancel_some(2, 3ms);
      ledger::page& rest = book.open_page();
      for (item const i : returned) rest.push_back(i);
    }
    other.shutdown();
    check_empty(other);
  });
  book.settle(false, 0);  // those who pass them on overtake each other
}

}  // namespace

void processors(round& r) {
  switch (r.chance.below(8)) {
    case 0: return keep_threads(r);
    case 1:
    case 2: return burst(r);
    case 3:
    case 4: return come_and_go(r);
    default: return talk_to_another(r);
  }
}

}  // namespace weft::stress
