// A library that uses weft: a part of a program whose symbols are hidden (hidden.cpp), and a plug-in (host.cpp).
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <chrono>
#include <csignal>

#include "part.hpp"

extern "C" __attribute__((visibility("default"))) int part_value() {
  return weft::this_task::value<part_key>().value_or(-1);
}

extern "C" __attribute__((visibility("default"))) int part_run(int n) {
  return weft::run([n] {
    auto numbers = weft::make_chan<int>();
    weft::go([tx = numbers.tx(), n] { tx.send(n); });
    return numbers.recv().value_or(-1);
  });
}

namespace {
weft::runtime* lasting = nullptr;
}

extern "C" __attribute__((visibility("default"))) void part_begin() { lasting = new weft::runtime; }
extern "C" __attribute__((visibility("default"))) void part_end() { delete lasting; }

extern "C" __attribute__((visibility("default"))) int part_finds_deadlock() {
  try {
    weft::run([] { (void)weft::make_chan<int>().recv(); });
  } catch (weft::deadlock const&) {
    return 1;
  }
  return 0;
}

extern "C" __attribute__((visibility("default"))) void part_gives_up_a_look_up() {
  weft::run(
      [] { (void)weft::within(std::chrono::milliseconds(20), [] { (void)weft::net::resolve("host.example:1"); }); });
}

extern "C" __attribute__((visibility("default"))) void part_asks_for_signals() {
  weft::run([] { (void)weft::signals({SIGUSR2}); });
}
