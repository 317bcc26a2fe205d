// Requests to servers of which some are slow and some are down: the next attempt starts when the last one fails or takes too long; the
// first answer wins and the others end. Nobody is left running behind the caller's back.

#include <weft/weft.hpp>

#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;

namespace {

std::atomic<int> running = 0, started = 0;

struct server {
  std::string name;
  std::chrono::milliseconds takes;
  bool down = false;
};

std::string ask(server const& s) {
  ++running, ++started;
  weft::defer done([] { --running; });
  weft::sleep_for(s.takes);
  if (s.down) throw std::runtime_error(s.name + " is down");
  return "from " + s.name;
}

struct try_result {
  std::string text;
  std::exception_ptr error;
};

std::string hedged(std::vector<server> const& servers, std::chrono::milliseconds patience) {
  auto [tx, rx] = weft::make_ends<try_result>(servers.size());
  weft::task_group attempts;
  std::exception_ptr last;
  std::size_t next = 0, pending = 0;
  auto start = [&] {
    ++pending;
    attempts.spawn([&s = servers[next++], out = tx] {
      try_result r;
      try {
        r.text = ask(s);
      } catch (std::exception const&) {  // weft::cancelled passes: it is no std::exception
        r.error = std::current_exception();
      }
      out.send(std::move(r));
    });
  };
  start();
  while (pending > 0 || next < servers.size()) {
    bool const more = next < servers.size();
    auto const answer = weft::select(weft::on_recv(rx,
                                                   [&](try_result r) -> std::string {
                                                     --pending;
                                                     if (!r.error) return r.text;
                                                     last = r.error;
                                                     if (next < servers.size()) start();
                                                     return "";
                                                   }),
                                     weft::when(more, weft::on_timeout(patience, [&] { start(); })));
    if (answer && !answer->empty()) return *answer;  // ~task_group cancels the rest and waits
  }
  std::rethrow_exception(last);
}

bool is(bool ok, char const* what) {
  if (!ok) std::fprintf(stderr, "wrong: %s (running %d, started %d)\n", what, running.load(), started.load());
  return ok && running == 0;
}

}  // namespace

int main() {
  return weft::run([]() -> int {
    bool ok = is(hedged({{"a", 1ms}, {"b", 1ms}}, 10s) == "from a" && started == 1, "one attempt is enough");
    started = 0;
    ok &= is(hedged({{"a", 3600s}, {"b", 1ms}}, 2ms) == "from b" && started == 2, "the second wins");
    ok &= is(hedged({{"a", 1ms, true}, {"b", 1ms, true}, {"c", 1ms}}, 10s) == "from c",
             "failures go on to the next at once");
    try {
      (void)hedged({{"a", 1ms, true}, {"b", 2ms, true}}, 10s);
      ok = is(false, "all are down");
    } catch (std::runtime_error const& e) {
      ok &= is(std::string(e.what()) == "b is down", "the last error comes out");
    }
    auto const late = weft::within(5ms, [] { return hedged({{"a", 3600s}, {"b", 3600s}}, 1ms); });
    ok &= is(!late && late.error() == std::errc::timed_out, "the caller's deadline ends all attempts");
    ok &= is(weft::race([] { return ask({"x", 3600s}); }, [] { return ask({"y", 1ms}); },
                        [] { return ask({"z", 0ms, true}); }) == "from y",
             "race");
    return ok ? 0 : 1;
  });
}
