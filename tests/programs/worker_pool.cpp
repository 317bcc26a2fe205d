// A pool of workers that is ended by a deadline, or when enough has come: jobs go in over one channel, answers come out over another, and
// in the end every job is accounted for: answered, given up by its worker, or still in the queue.

#include <weft/weft.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct job {
  int number;
};
struct answer {
  int number;
  long value;
};

struct outcome {
  std::size_t answered = 0, given_up = 0, left = 0;
};

long work(job const& j) {
  if (j.number % 50 == 49) weft::sleep_for(1h);  // one that never comes back
  weft::yield();
  return static_cast<long>(j.number) * j.number;
}

outcome run_pool(int workers, int jobs, std::chrono::milliseconds limit, std::size_t enough) {
  auto todo = weft::make_chan<job>(static_cast<std::size_t>(jobs));
  for (int i = 0; i < jobs; ++i) todo.send({i});
  todo.close();
  auto answers = weft::make_chan<answer>();
  std::atomic<std::size_t> given_up = 0;

  outcome o;
  weft::result<void> const in_time = weft::within(limit, [&] {
    weft::task_group pool;
    for (int w = 0; w < workers; ++w)
      pool.spawn({.name = "worker " + std::to_string(w)}, [&given_up, in = todo.rx(), out = answers.tx()] {
        for (job const& j : in) {
          bool done = false;
          weft::defer count([&] { given_up += done ? 0 : 1; });
          long const value = work(j);
          out.send({j.number, value});
          done = true;
        }
      });
    auto results = answers.rx();
    answers = {};  // the workers' senders are the last: the loop ends with them
    for (answer const& a : results) {
      if (a.value != static_cast<long>(a.number) * a.number) std::abort();
      if (++o.answered == enough) pool.cancel();
    }
    pool.wait();
  });
  o.given_up = given_up;
  o.left = todo.size();
  if (!in_time && in_time.error() != std::errc::timed_out) std::abort();
  return o;
}

int app(int, char**) {
  outcome const few = run_pool(2, 400, 20ms, 400);   // both workers meet a job that never ends
  outcome const many = run_pool(100, 400, 1h, 392);  // eight of them do
  std::printf("2 workers: %zu answered, %zu given up, %zu left\n", few.answered, few.given_up, few.left);
  std::printf("100 workers: %zu answered, %zu given up, %zu left\n", many.answered, many.given_up, many.left);
  bool const few_right = few.given_up <= 2 && few.answered <= 98 && few.answered + few.given_up + few.left == 400;
  bool const many_right = many.answered == 392 && many.given_up + many.left == 8;
  return few_right && many_right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return weft::run(app, argc, argv); }
