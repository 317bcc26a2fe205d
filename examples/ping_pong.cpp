// ping_pong: two tasks and two channels. A send on a channel without a buffer returns when a receiver has the value, so
// the two take turns; on one worker each turn is a switch of stacks and no system call.
//
//   ping_pong [ROUNDS]
#include <charconv>
#include <chrono>
#include <cstring>
#include <iostream>
#include <string_view>

#include <weft/chan.hpp>
#include <weft/task.hpp>

#include "support/interruptible.hpp"

namespace {

void play(long rounds) {
  auto ping = weft::make_chan<long>();
  auto pong = weft::make_chan<long>();

  // The range-for receives until the channel is closed. Copies of a channel are handles to the same one.
  weft::go([ping, pong] {
    for (long ball : ping) pong.send(ball + 1);
    pong.close();
  });

  auto const start = weft::now();
  long ball = 0;
  for (long i = 0; i < rounds; ++i) {
    ping.send(ball);
    ball = pong.recv().value();  // no value: closed
  }
  std::chrono::duration<double, std::nano> const took = weft::now() - start;
  ping.close();
  bool const ended = !pong.recv().has_value();

  std::cout << "the ball came back " << ball << " times" << (ended ? ", and the partner has left\n" : "\n");
  if (rounds > 0) std::cout << took.count() / static_cast<double>(rounds) << " ns a round trip\n";
}

}  // namespace

int main(int argc, char** argv) {
  long rounds = 100'000;
  std::string_view const argument = argc > 1 ? argv[1] : "";
  if (argument == "--help" || argument == "-h") {
    std::cout << "usage: ping_pong [ROUNDS]\nSends a ball between two tasks, ROUNDS times (default 100000).\n";
    return 0;
  }
  if (argc > 1) {
    auto const [end, error] = std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), rounds);
    if (error != std::errc() || *end != '\0' || rounds < 0 || argc > 2) {
      std::cerr << "ping_pong: ROUNDS must be one number of at least 0: see ping_pong --help\n";
      return 2;
    }
  }
  return examples::interruptible([rounds] { play(rounds); });
}
