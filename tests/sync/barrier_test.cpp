// weft::barrier: phases, the completion, parties that leave, the end of life.
#include <weft/weft.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using weft::test::with_workers;

TEST_CASE("no party enters the next phase before all have ended this one, in tasks and a thread") {
  with_workers([] {
    constexpr int parties = 5, phases = 200;
    int completions = 0;           // written by the completion alone
    std::vector<int> at(parties);  // each its party's own, read by the completion
    std::atomic<int> uneven{0};
    weft::barrier barrier(parties, [&]() noexcept {
      for (int phase : at) {
        if (phase != completions) uneven.fetch_add(1);
      }
      ++completions;
    });
    auto party = [&](std::size_t self) {
      for (int phase = 0; phase < phases; ++phase) {
        at[self] = phase;
        barrier.arrive_and_wait();
      }
    };
    std::vector<weft::join_handle<void>> tasks;
    for (std::size_t i = 1; i < parties; ++i) tasks.push_back(weft::spawn(party, i));
    std::thread outside(party, 0);
    for (auto& h : tasks) h.join();
    outside.join();
    CHECK(uneven.load() == 0);
    CHECK(completions == phases);
  });
}

TEST_CASE("an arrival can be waited for later, and a party that drops out is not expected again") {
  with_workers([] {
    int completions = 0;
    weft::barrier barrier(2, [&] { ++completions; });
    auto token = barrier.arrive();
    auto other = weft::spawn([&] { barrier.arrive_and_drop(); });
    barrier.wait(std::move(token));
    other.join();
    CHECK(completions == 1);
    barrier.arrive_and_wait();  // alone now
    barrier.arrive_and_wait();
    CHECK(completions == 3);
  });
}

TEST_CASE("a cancelled task does not arrive, one cancelled while it waits has arrived") {
  with_workers([] {
    weft::barrier barrier(2);
    std::atomic<bool> cancelled{false};
    auto early = weft::spawn([&] {
      while (!cancelled.load()) weft::yield();
      try {
        barrier.arrive_and_wait();
      } catch (weft::cancelled const&) {
        return true;
      }
      return false;
    });
    early.cancel();
    cancelled.store(true);
    CHECK(early.join());
    std::atomic<bool> begun{false};
    auto late = weft::spawn([&] {
      auto token = barrier.arrive();
      begun.store(true);
      try {
        barrier.wait(std::move(token));
      } catch (weft::cancelled const&) {
        return true;
      }
      return false;
    });
    while (!begun.load()) weft::yield();
    late.cancel();
    CHECK(late.join());
    barrier.arrive_and_wait();  // the second arrival of the phase
  });
}

TEST_CASE("a barrier may be destroyed when all waits have returned") {
  with_workers([] {
    for (int round = 0; round < 5000; ++round) {
      auto barrier = std::make_unique<weft::barrier<>>(2);
      std::atomic<int> left{2};
      auto party = [&] {
        barrier->arrive_and_wait();
        if (left.fetch_sub(1) == 1) barrier.reset();
      };
      auto other = weft::spawn(party);
      party();
      other.join();
    }
  });
}

TEST_CASE("more arrivals than are expected end the process and name the call") {
  auto const end = weft::test::run_in_child([] {
    weft::barrier barrier(2);
    (void)barrier.arrive(3);
  });
  CHECK(end.aborted);
  CHECK(end.said.find("barrier::arrive") != std::string::npos);
}

}  // namespace
