// A task sends, the first task receives: enough to need the library, its headers and what it is linked with.
#include <weft/weft.hpp>

#include <cstdio>

int main() {
  int const got = weft::run([] {
    auto numbers = weft::make_chan<int>();
    weft::go([tx = numbers.tx()] { tx.send(42); });
    return numbers.recv().value_or(0);
  });
  std::printf("received %d\n", got);
  return got == 42 ? 0 : 1;
}
