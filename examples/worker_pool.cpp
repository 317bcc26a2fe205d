// worker_pool: a fixed number of tasks share a channel of jobs and answer on a channel of results.
//
// The buffer of `jobs` is what bounds the work under way: when it is full, the producer waits. A wait_group closes
// `results` once the last worker has left, which ends the loop that adds them up.
#include <cstdint>
#include <iostream>
#include <vector>

#include <weft/chan.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "support/interruptible.hpp"

namespace {

constexpr int workers = 4;
constexpr int job_count = 1000;

struct result {
  int worker;
  std::uint64_t steps;
};

// The length of the Collatz sequence: some work that differs from job to job.
std::uint64_t steps_to_one(std::uint64_t n) {
  std::uint64_t steps = 0;
  for (; n != 1; ++steps) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  return steps;
}

void app() {
  auto jobs = weft::make_chan<int>(16);
  auto results = weft::make_chan<result>(16);

  weft::wait_group pool;
  for (int id = 0; id < workers; ++id) {
    pool.go([id, jobs, results] {
      for (int job : jobs) results.send({id, steps_to_one(static_cast<std::uint64_t>(job))});
    });
  }
  weft::go([jobs] {
    for (int job = 1; job <= job_count; ++job) jobs.send(job);
    jobs.close();  // the workers drain what is left, then their loops end
  });
  auto closer = weft::spawn([&pool, results] {
    pool.wait();
    results.close();
  });

  std::uint64_t steps = 0;
  std::vector<int> done(workers);
  for (result const& r : results) {
    steps += r.steps;
    done[static_cast<std::size_t>(r.worker)] += 1;
  }
  closer.join();

  int jobs_done = 0;
  for (int id = 0; id < workers; ++id) {
    std::cout << "worker " << id << ": " << done[static_cast<std::size_t>(id)] << " jobs\n";
    jobs_done += done[static_cast<std::size_t>(id)];
  }
  std::cout << jobs_done << " jobs, " << steps << " steps in all\n";
}

}  // namespace

int main() { return examples::interruptible(app); }
