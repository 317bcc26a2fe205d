// pub_sub: a feed of prices to subscribers of different speeds, and a status line that anybody can look at.
//
// broadcast gives every subscriber every price, but waits for none: the slow one loses the oldest and is told how many.
// watch keeps only the latest: who looks is told of a change, not of each. Ctrl-C ends the feed and its subscribers.
#include <weft/weft.hpp>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>

#include "support/command_line.hpp"

using namespace std::chrono_literals;

namespace {

using feed = weft::broadcast<int>;

struct tally {
  int seen = 0, missed = 0;
};

tally follow(feed::subscriber prices, std::chrono::milliseconds work) {
  tally all;
  while (std::optional<int> price = prices.recv()) {  // until the feed is closed and everything was received
    ++all.seen;
    weft::sleep_for(work);
  }
  all.missed = static_cast<int>(prices.missed());
  return all;
}

int show_status(weft::watch<std::string>::subscriber status) {
  int changes = 0;
  for (std::printf("status: %s\n", status.get().c_str()); auto text = status.changed(); ++changes)
    std::printf("status: %s\n", text->c_str());
  return changes;
}

int publish(int count) {
  auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM});
  feed prices(8);
  weft::watch<std::string> status("opening");
  auto quick = weft::spawn(follow, prices.subscribe(), 0ms);
  auto slow = weft::spawn(follow, prices.subscribe(), 20ms);
  auto shown = weft::spawn(show_status, status.subscribe());

  weft::ticker next(1ms);
  int sent = 0;
  for (bool open = true; open && (count == 0 || sent < count);) {
    weft::select(weft::on_recv(next, [&] { prices.send(100 + sent++ % 7); }),
                 weft::on_done(until, [&] { open = false; }));
    if (sent == 1) status.send("open");
  }
  prices.close();
  status.send("closed");
  status.close();

  tally const a = quick.join(), b = slow.join();
  std::printf("%d prices; a quick subscriber saw %d and missed %d; a slow one missed %s\n", sent, a.seen, a.missed,
              b.missed > 0 ? "some" : "none");
  bool const complete = a.seen + a.missed == sent && b.seen + b.missed == sent;
  std::printf("seen and missed add up: %s\n", complete && shown.join() > 0 ? "yes" : "no");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 200;
  examples::command_line line("pub_sub", "A feed of prices, and its subscribers.");
  line.number("--prices", count, "how many, one a millisecond; 0: until Ctrl-C", 0, 100'000'000);
  if (auto const status = line.parse(argc, argv)) return *status;
  return weft::run(publish, count);
}
