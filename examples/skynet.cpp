// skynet: a tree of tasks. Each one spawns ten more until there are a million leaves; each leaf sends its number over a
// channel, and each inner task sends the sum of its ten. It shows how cheap a task is: a leaf that does not have to wait
// never gets a stack of its own.
//
//   skynet [LEAVES]
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <string_view>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/task.hpp>

#include "support/interruptible.hpp"

namespace {

constexpr std::uint64_t children = 10;

void node(weft::sender<std::uint64_t> parent, std::uint64_t first, std::uint64_t leaves) {
  if (weft::this_task::context().cancelled()) return;  // go is no cancellation point: the tree would go on growing
  if (leaves == 1) {
    (void)parent.push(first);  // send, but false where Ctrl-C has ended the parent already
    return;
  }
  auto [tx, rx] = weft::make_ends<std::uint64_t>();
  std::uint64_t const share = leaves / children;
  for (std::uint64_t i = 0; i < children; ++i) weft::go(node, tx, first + i * share, share);
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < children; ++i) sum += rx.recv().value();
  (void)parent.push(sum);
}

void app(std::uint64_t leaves) {
  auto const start = weft::now();
  auto [tx, rx] = weft::make_ends<std::uint64_t>();
  weft::go(node, tx, 0, leaves);
  std::uint64_t const sum = rx.recv().value();
  std::chrono::duration<double, std::milli> const took = weft::now() - start;
  std::cout << leaves << " leaves: sum " << sum << " in " << took.count() << " ms\n";
}

bool power_of_ten(std::uint64_t n) {
  while (n >= 10 && n % 10 == 0) n /= 10;
  return n == 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t leaves = 1'000'000;
  std::string_view const argument = argc > 1 ? argv[1] : "";
  if (argument == "--help" || argument == "-h") {
    std::cout << "usage: skynet [LEAVES]\nAdds up the numbers of LEAVES tasks: 1, 10, 100, ... (default 1000000).\n";
    return 0;
  }
  if (argc > 1) {
    auto const [end, error] = std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), leaves);
    if (error != std::errc() || *end != '\0' || !power_of_ten(leaves) || argc > 2) {
      std::cerr << "skynet: LEAVES must be a power of ten: see skynet --help\n";
      return 2;
    }
  }
  return examples::interruptible([leaves] { app(leaves); });
}
