// A library that uses weft: a part of a program whose symbols are hidden (hidden.cpp), and a plug-in (host.cpp).
#include <weft/weft.hpp>

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
