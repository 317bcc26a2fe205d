// Many connections that all have something to do at any moment: each gets its turn.
#include "tests/net/everywhere.hpp"
#include "tests/support/compute.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/base/sanitizer.hpp"

using namespace weft::test;

namespace {

void send_back(weft::net::tcp_stream to) {
  std::array<char, 8> room;
  for (;;) {
    auto const n = to.read_some(room);
    if (!n || *n == 0 || !to.write_all(std::string_view(room.data(), *n))) return;
  }
}

/// A byte there and back. False: the connection is over.
bool round_trip(weft::net::tcp_stream& to) {
  std::array<char, 8> room{};
  return to.write_all(std::string_view(room.data(), 1)) && to.read_some(room) == 1u;
}

}  // namespace

TEST_CASE("of many connections that never rest none waits while others have their turns again and again") {
  // The tasks of 300 pairs all have room in run queues, of which one may be much longer than the others; of 1,500 pairs' most are in the
  // global queue or in the kernel's list at any moment.
  std::size_t const pairs = GENERATE(std::size_t{300}, std::size_t{weft::rt::tsan ? 600 : 1500});
  static constexpr std::size_t rounds_each = weft::rt::tsan || weft::rt::asan ? 15 : 30, least_each = rounds_each / 3;
  with_workers([pairs] {
    // The system may stop one worker's thread, with what is in its queue, while another's goes on: then it takes longer.
    std::size_t const enough = pairs * rounds_each, too_long = enough * (weft::current_metrics().workers == 1 ? 1 : 20);
    std::vector<std::pair<weft::net::tcp_stream, weft::net::tcp_stream>> connections;
    for (std::size_t i = 0; i != pairs; ++i) connections.push_back(tcp_pair());
    std::vector<std::size_t> rounds(pairs);  // each counted by a task of its own
    std::atomic<std::size_t> total = 0, served = 0;
    // No round before all are there: other workers would take the first tasks, and run them while the last are made.
    weft::latch all_there(1);
    weft::wait_group over;
    for (std::size_t i = 0; i != pairs; ++i) {
      auto& [a, b] = connections[i];
      over.go([to = std::move(b)]() mutable { send_back(std::move(to)); });
      over.go([&, i, to = std::move(a)]() mutable {
        all_there.wait();
        while ((total < enough || (served < pairs && total < too_long)) && round_trip(to)) {
          if (++rounds[i] == least_each) ++served;
          ++total;
        }
      });
    }
    all_there.count_down();
    over.wait();
    auto const [least, most] = std::minmax_element(rounds.begin(), rounds.end());
    INFO("between " << *least << " and " << *most << " rounds, " << total / pairs << " on average");
    CHECK(*least >= least_each);
  });
}

TEST_CASE("a few tasks from outside do not leave connections behind tasks that never rest for good") {
  weft::runtime runtime(weft::options{.workers = 1});
  std::atomic<bool> over = false;
  std::atomic<std::uint64_t> turns = 0, rounds = 0;
  auto const compute = [] {  // ten microseconds and more
    std::uint64_t volatile sum = 0;
    for (std::uint64_t n = 0; n != 20'000; ++n) sum = sum + n;
  };
  auto all = std::make_shared<weft::wait_group>();
  runtime
      .spawn([&] {
        for (int i = 0; i != 2; ++i) {  // the run queue is never empty
          auto there = weft::make_chan<int>(), back = weft::make_chan<int>();
          all->go([=] {
            for (int const v : there) {
              compute();
              back.send(v);
            }
          });
          all->go([&, there, back] {
            for (; !over; ++turns) {
              there.send(1);
              compute();
              back.recv();
            }
            there.close();
          });
        }
        for (int i = 0; i != 64; ++i) {
          auto [a, b] = tcp_pair();
          all->go([to = std::move(b)]() mutable { send_back(std::move(to)); });
          all->go([&, to = std::move(a)]() mutable {
            while (!over && round_trip(to)) ++rounds;
          });
        }
      })
      .join();
  // Counted in turns of those that never rest, not by the clock.
  auto const rounds_in = [&](std::uint64_t more_turns) {
    auto const at = turns.load(), before = rounds.load();
    while (turns < at + more_turns) std::this_thread::yield();
    // A turn's, however late this thread looks.
    return static_cast<double>(rounds - before) / static_cast<double>(turns - at);
  };
  constexpr std::uint64_t window = weft::rt::tsan || weft::rt::asan ? 1'000 : 5'000;
  rounds_in(window);  // until all have begun
  auto const before = rounds_in(window);
  std::atomic<int> ran = 0;
  for (int i = 0; i != 100; ++i)
    runtime.go([&] {
      compute();
      ++ran;
    });
  while (ran != 100) std::this_thread::yield();
  auto const after = rounds_in(window);
  over = true;
  runtime.spawn([all] { all->wait(); }).join();
  INFO(before << " rounds a turn before, " << after << " after");
  CHECK(after * 2 >= before);
}

TEST_CASE("handlers that have been short and begin to compute run beside each other all the same") {
  with_worker_count(2, [] {
    auto [one, first] = tcp_pair();
    auto [two, second] = tcp_pair();
    constexpr int short_rounds = 100, long_rounds = 20;
    std::atomic<int> computing = 0;
    weft::wait_group handlers;
    for (weft::net::tcp_stream* const s : {&first, &second}) {
      handlers.go([&computing, s] {
        std::array<char, 1> room;
        for (int i = 0; i != short_rounds + long_rounds; ++i) {
          if (s->read_some(room) != 1u) return;
          if (i < short_rounds) continue;
          ++computing;
          while (computing < 2 * (i - short_rounds + 1)) {  // the other one is computing too
          }
        }
      });
    }
    // A plain thread writes, so that both workers are asleep and one of them finds both connections readable.
    std::thread client([&] {
      for (int i = 0; i != short_rounds + long_rounds; ++i) {
        bool const written = one.write_all("x").has_value() && two.write_all("x").has_value();
        if (!written) return;
        if (i >= short_rounds)
          while (computing < 2 * (i - short_rounds + 1)) std::this_thread::yield();
      }
    });
    handlers.wait();
    client.join();
    CHECK(computing == 2 * long_rounds);
  });
}

TEST_CASE("a socket is looked at in time beside tasks that compute and yield") {
  // One pick in 61 looks at the network by itself. Counted in picks, not by the clock; it is the monitor that asks for one earlier.
  with_worker_count(1, [] {
    auto [near, far] = tcp_pair();
    weft::wait_group all;
    std::atomic<bool> over = false;
    std::atomic<int> picks = 0;
    all.go([to = std::move(far)]() mutable { send_back(std::move(to)); });
    for (int i = 0; i != 4; ++i)
      all.go([&] {
        for (; !over; ++picks) {
          weft::test::compute_for(std::chrono::microseconds(900));
          weft::yield();
        }
      });
    constexpr int rounds = 20;
    std::vector<int> taken;
    std::thread client([&, to = std::move(near)]() mutable {
      for (int i = 0; i != rounds; ++i) {
        for (int const at = picks; picks - at < 3 + i;) std::this_thread::yield();
        int const before = picks;
        if (!round_trip(to)) break;
        taken.push_back(picks - before);
      }
      over = true;
    });
    all.wait();
    client.join();
    REQUIRE(taken.size() == rounds);
    // The median: in some rounds the client itself has to wait for the machine.
    std::ranges::nth_element(taken, taken.begin() + rounds / 2);
    INFO("a round trip takes " << taken[rounds / 2] << " picks");
    CHECK(taken[rounds / 2] < 40);
  });
}
