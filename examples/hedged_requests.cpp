// hedged_requests: the same question to several servers, the next one asked whenever the answer is late. The first answer wins, and the
// other attempts are cancelled: an hour's wait costs nothing.
//
// weft::race runs functions side by side and returns what the first of them returns. Those that fail lose against one that does not.
// weft::within puts a deadline on anything.
#include <atomic>
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>

#include <weft/context.hpp>
#include <weft/defer.hpp>
#include <weft/parallel.hpp>
#include <weft/task.hpp>

#include "support/interruptible.hpp"

using namespace std::chrono_literals;

namespace {

struct server {
  std::string name;
  std::chrono::milliseconds takes;
  bool down = false;
};

std::atomic<int> open_requests = 0;

std::string ask(server const& s) {
  ++open_requests;
  weft::defer close([] { --open_requests; });
  weft::sleep_for(s.takes);
  if (s.down) throw std::runtime_error(s.name + " is down");
  return s.name + " answered";
}

// An attempt that begins when the ones before it have had their time.
auto attempt(server s, std::chrono::milliseconds after) {
  return [s, after] {
    weft::sleep_for(after);
    return ask(s);
  };
}

void tell(char const* what, weft::result<std::string> const& r) {
  std::cout << what << ": " << (r ? *r : r.error().message()) << "; open requests: " << open_requests << '\n';
}

void app() {
  server const near{"near", 1ms}, far{"far", 5ms}, stuck{"stuck", 3'600'000ms}, broken{"broken", 1ms, true};

  tell("a fast server", weft::race(attempt(near, 0ms), attempt(far, 1000ms), attempt(stuck, 2000ms)));
  tell("a stuck one first", weft::race(attempt(stuck, 0ms), attempt(far, 10ms), attempt(near, 3'600'000ms)));
  tell("a broken one first", weft::race(attempt(broken, 0ms), attempt(near, 10ms)));
  tell("all stuck, 20 ms for it",
       weft::within(20ms, [&] { return weft::race(attempt(stuck, 0ms), attempt(stuck, 1ms)); }));
  try {
    tell("all broken", weft::race(attempt(broken, 0ms), attempt(broken, 1ms)));
  } catch (std::exception const& e) {
    std::cout << "all broken: " << e.what() << '\n';
  }
}

}  // namespace

int main() { return examples::interruptible(app); }
