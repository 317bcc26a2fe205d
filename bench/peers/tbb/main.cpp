// The rows that TBB's tasks can do: they cannot wait for each other, so that there are no channels, yields or sleepers.
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>
#include <oneapi/tbb/version.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <vector>

#include "../peer.hpp"

namespace {

void spawn_tasks(long n, long tasks) {
  tbb::task_group group;
  for (; n > 0; --n) {
    for (long i = 0; i < tasks; ++i) group.run([] {});
    group.wait();
  }
}

void spawn_one_join(long n) {
  tbb::task_group group;
  for (; n > 0; --n) group.run_and_wait([] {});
}

int fib(int n) {
  if (n < 2) return n;
  int left = 0;
  tbb::task_group group;
  group.run([&left, n] { left = fib(n - 1); });
  int const right = fib(n - 2);
  group.wait();
  return left + right;
}

constexpr std::size_t indices = 1'000'000, chunk = 1000;

struct squares {
  std::vector<std::uint32_t> in = std::vector<std::uint32_t>(indices, 3), out = std::vector<std::uint32_t>(indices);

  [[gnu::noinline]] void of_chunk(std::size_t which) {
    for (std::size_t i = which * chunk; i < (which + 1) * chunk; ++i) out[i] = in[i] * in[i] + 1;
  }
};

void parallel_for(long n) {
  squares work;
  for (; n > 0; --n) {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, indices / chunk), [&](auto const& r) {
      for (std::size_t c = r.begin(); c != r.end(); ++c) work.of_chunk(c);
    });
  }
  peer::require(work.out.front() == 10 && work.out.back() == 10, "an index was left out");
}

void chunks_alone(long n) {
  squares work;
  for (; n > 0; --n) {
    for (std::size_t c = 0; c < indices / chunk; ++c) work.of_chunk(c);
    asm volatile("" ::: "memory");
  }
}

void blocked_64x10ms(long n) {
  tbb::task_group group;
  for (; n > 0; --n) {
    for (int t = 0; t < 64; ++t)
      group.run([] {
        for (int i = 0; i < 10; ++i) {
          timespec left{0, 10'000'000};
          while (::nanosleep(&left, &left) != 0) {
          }
        }
      });
    group.wait();
  }
}

std::vector<peer::row> rows() {
  std::vector<peer::row> out{
      {"spawn_join", 1e6, [](long n) { spawn_tasks(n, 1'000'000); }, {}},
      {"spawn_one_join", 1, spawn_one_join, {}},
      {"fib_27",
       1,
       [](long n) {
         for (; n > 0; --n) peer::require(fib(27) == 196'418, "a wrong number");
       },
       {}},
      {"parallel_for", indices / chunk, parallel_for, {}},
      {"chunks_alone", indices / chunk, chunks_alone, {}},
      {"blocked_64x10ms", 640, blocked_64x10ms, {}},
  };
  for (long tasks = 100; tasks <= 1'000'000; tasks *= 10)
    out.push_back({"spawn_tasks_" + std::to_string(tasks),
                   static_cast<double>(tasks),
                   [tasks](long n) { spawn_tasks(n, tasks); },
                   {}});
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  return peer::run(argc, argv, "oneTBB " TBB_VERSION_STRING, rows(), [](unsigned workers, long, auto f) {
    tbb::global_control const limit(tbb::global_control::max_allowed_parallelism, workers);
    tbb::task_arena arena(static_cast<int>(workers));
    arena.execute(f);
  });
}
