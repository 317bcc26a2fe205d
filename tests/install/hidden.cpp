// Compiled with -fvisibility=hidden, and so is the library that has weft: what weft's headers keep must not be there twice.
#include <weft/sim.hpp>
#include <weft/weft.hpp>

#include <cstdio>
#include <stdexcept>

#include "part.hpp"

int main() {
  int const seen = weft::run([] {
    weft::scoped_context in(weft::with_value<part_key>(weft::this_task::context(), 5));
    return part_value();
  });
  if (seen != 5) return std::printf("a value of a context is %d in a library\n", seen), 1;

  auto const found = weft::sim::explore(200, [] {  // fails where a simulated run may switch between the two locks
    weft::mutex m;
    weft::wait_group both;
    int count = 0;
    auto locked = [&m](auto f) {
      std::scoped_lock hold(m);
      return f();
    };
    for (int i = 0; i < 2; ++i)
      both.go([&] {
        int const before = locked([&] { return count; });
        locked([&] { return count = before + 1; });
      });
    both.wait();
    if (count != 2) throw std::runtime_error("an update is lost");
  });
  if (!found.failed) return std::puts("simulated runs do not switch in calls of weft"), 1;
  return part_run(3) == 3 ? 0 : 1;
}
