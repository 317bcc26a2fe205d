// fan_out_fan_in: a sum over many pieces, each in a task of its own, gathered over one channel; and what happens when one piece fails.
//
// A task_group is a nursery: what it spawns ends before it does. The first exception cancels the others, wherever they wait, and comes
// out of wait(). No flag is looked at, and no task is left behind.
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>

#include <weft/chan.hpp>
#include <weft/defer.hpp>
#include <weft/guarded.hpp>
#include <weft/task_group.hpp>

#include "support/interruptible.hpp"

using namespace std::chrono_literals;

namespace {

struct tally {
  int finished = 0, cancelled = 0;
};

// Piece `n` of the work. Piece 13 of a bad batch cannot be read; the later ones of that batch take long.
int piece(int n, bool bad) {
  if (bad && n == 13) throw std::runtime_error("piece 13 cannot be read");
  weft::sleep_for(bad && n > 13 ? 1h : std::chrono::microseconds(n));
  return n * n;
}

int sum(int pieces, bool bad, weft::guarded<tally>& seen) {
  auto [out, results] = weft::make_ends<int>(16);
  weft::task_group group;
  for (int n = 0; n < pieces; ++n)  // fan out: each task has its own copy of the sender
    group.spawn([n, bad, out, &seen] {
      bool finished = false;
      weft::defer count([&] { seen.with([&](tally& t) { ++(finished ? t.finished : t.cancelled); }); });
      out.send(piece(n, bad));
      finished = true;
    });
  out = {};  // the tasks' senders are the last ones: when they have gone, the channel is closed

  int total = 0;
  for (int r : results) total += r;  // fan in
  group.wait();                      // all have ended; the first exception, if there was one, comes out here
  return total;
}

void app() {
  weft::guarded<tally> good, bad;
  std::cout << "100 pieces: " << sum(100, false, good) << '\n';
  try {
    int const total = sum(100, true, bad);
    std::cout << "never printed: " << total << '\n';
  } catch (std::exception const& e) {
    auto const seen = bad.lock();
    std::cout << "failed: " << e.what() << ", " << seen->finished + seen->cancelled << " tasks have ended, "
              << (seen->cancelled >= 87 ? "the slow ones by cancellation" : "too few by cancellation") << '\n';
  }
}

}  // namespace

int main() { return examples::interruptible(app); }
