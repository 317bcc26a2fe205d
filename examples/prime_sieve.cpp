// prime_sieve: a chain of tasks, one for each prime found, that drop its multiples from the stream of numbers.
//
// It shows ends of channels. make_ends gives a sender and a receiver; when the last receiver goes, push returns false.
// So the main task lets go of the last receiver, and the whole chain comes down from its end to its start: no flag, no
// message and no task left behind.
//
//   prime_sieve [N]
#include <charconv>
#include <csignal>
#include <cstring>
#include <iostream>
#include <string_view>
#include <utility>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/run.hpp>
#include <weft/signal.hpp>
#include <weft/task.hpp>

namespace {

void generate(weft::sender<int> out) {
  for (int i = 2; out.push(i); ++i) {
  }
}

void filter(weft::receiver<int> in, weft::sender<int> out, int prime) {
  for (int n : in)
    if (n % prime != 0 && !out.push(n)) return;
}

int print_primes(int count) {
  auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT});
  auto [numbers, rest] = weft::make_ends<int>();
  weft::go(generate, std::move(numbers));
  for (int i = 0; i < count && !until.cancelled(); ++i) {  // Ctrl-C cancels it
    int const prime = rest.recv().value();
    std::cout << prime << (i + 1 == count ? "\n" : " ");
    auto [filtered, next] = weft::make_ends<int>();
    weft::go(filter, std::move(rest), std::move(filtered), prime);
    rest = std::move(next);
  }
  if (!until.cancelled()) return 0;
  std::cout << "\ninterrupted\n";
  return 130;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 20;
  std::string_view const argument = argc > 1 ? argv[1] : "";
  if (argument == "--help" || argument == "-h") {
    std::cout << "usage: prime_sieve [N]\nPrints the first N primes (default 20).\n";
    return 0;
  }
  if (argc > 1) {
    auto const [end, error] = std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), count);
    if (error != std::errc() || *end != '\0' || count < 0 || argc > 2) {
      std::cerr << "prime_sieve: N must be one number of at least 0: see prime_sieve --help\n";
      return 2;
    }
  }
  return weft::run(print_primes, count);
}
