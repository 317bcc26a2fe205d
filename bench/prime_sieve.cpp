// The first 2000 primes by a chain of filters, one task and one unbuffered channel a prime, as in the Go tour. The task that takes
// the last prime closes nothing: it drops its end, and each send up the chain then throws, which ends the filters one by one.
#include <cstdint>
#include <utility>

#include <weft/chan.hpp>
#include <weft/task.hpp>
#include <weft/wait_group.hpp>

#include "measure.hpp"

namespace {

constexpr int primes = 2000, last_prime = 17'389;

void generate(weft::sender<int> const& out) {
  for (int i = 2; out.push(i); ++i) {
  }
}

void filter(weft::receiver<int> const& in, weft::sender<int> const& out, int prime) {
  while (auto const i = in.recv())
    if (*i % prime != 0 && !out.push(*i)) return;
}

int nth_prime() {
  weft::wait_group all;
  int prime = 0;
  {
    auto [first_out, in] = weft::make_ends<int>();
    all.go([out = std::move(first_out)] { generate(out); });
    for (int i = 0; i < primes; ++i) {
      prime = *in.recv();
      auto [tx, rx] = weft::make_ends<int>();
      all.go([from = std::move(in), to = std::move(tx), prime] { filter(from, to, prime); });
      in = std::move(rx);
    }
  }
  all.wait();
  return prime;
}

void prime_sieve(benchmark::State& state) {
  bench::run(state, 1, [&state] {
    bool right = true;
    for (auto _ : state) right = nth_prime() == last_prime && right;
    if (!right) state.SkipWithError("not the 2000th prime");
  });
}
BENCHMARK(prime_sieve)->Apply(bench::workers_as_asked)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
