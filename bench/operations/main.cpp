// One kind of operation, a number of times, on one worker: what scripts/bench instructions counts, by running it twice
// under valgrind with different numbers.
//
//   operations ping_pong 10000
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>

#include <weft/chan.hpp>
#include <weft/mutex.hpp>
#include <weft/run.hpp>
#include <weft/select.hpp>
#include <weft/task.hpp>
#include <weft/task_group.hpp>
#include <weft/wait_group.hpp>

namespace {

using message = std::int64_t;

/// Everything below returns n if it has done what it should n times.
message ping_pong(message n) {
  auto const there = weft::make_chan<message>(), back = weft::make_chan<message>();
  auto other = weft::spawn([&] {
    while (auto const v = there.recv()) back.send(*v);
  });
  message sum = 0;
  for (message i = 0; i < n; ++i) {
    there.send(1);
    sum += *back.recv();
  }
  there.close();
  other.join();
  return sum;
}

message buffered(message n) {
  auto const c = weft::make_chan<message>(128);
  auto other = weft::spawn([&] {
    for (message i = 0; i < n; ++i) c.send(1);
    c.close();
  });
  message sum = 0;
  while (auto const v = c.recv()) sum += *v;
  other.join();
  return sum;
}

message yielding(message n) {
  message sum = 0;
  auto const half = [&sum, n] {
    for (message i = 0; i < n / 2; ++i) {
      weft::yield();
      ++sum;
    }
  };
  auto other = weft::spawn(half);
  half();
  other.join();
  return sum;
}

message spawn_join(message n) {
  message sum = 0;
  for (message i = 0; i < n; ++i) sum += weft::spawn([] { return message{1}; }).join();
  return sum;
}

message go(message n) {
  message sum = 0;
  weft::wait_group all;
  for (message i = 0; i < n; ++i) all.go([&sum] { ++sum; });
  all.wait();
  return sum;
}

message group(message n) {
  message sum = 0;
  weft::task_group all;
  for (message i = 0; i < n; ++i) all.spawn([&sum] { ++sum; });
  all.wait();
  return sum;
}

message lock(message n) {
  weft::mutex m;
  message sum = 0;
  for (message i = 0; i < n; ++i) {
    m.lock();
    ++sum;
    m.unlock();
  }
  return sum;
}

/// One task sends to `channels` channels in turn, another receives by a select of all of them.
template <std::size_t... I>
message select_of(message n, std::index_sequence<I...>) {
  weft::chan<message> const c[] = {((void)I, weft::make_chan<message>())...};
  auto other = weft::spawn([&] {
    for (message i = 0; i < n; ++i) c[static_cast<std::size_t>(i) % sizeof...(I)].send(1);
  });
  message sum = 0;
  for (message i = 0; i < n; ++i) weft::select(weft::on_recv(c[I], [&](auto const& v) { sum += *v; })...);
  other.join();
  return sum;
}

message fib(int n) {
  if (n < 2) return n;
  auto left = weft::spawn([n] { return fib(n - 1); });
  message const right = fib(n - 2);
  return left.join() + right;
}

/// Trees of forks, with n of them or some more.
message forks(message n) {
  message done = 0;
  while (done < n) {
    if (fib(12) != 144) return done;
    done += 232;  // fib(12) spawns fib(13) - 1 tasks
  }
  return n;
}

std::map<std::string, message (*)(message)> const operations = {
    {"ping_pong", ping_pong},
    {"buffered", buffered},
    {"yield", yielding},
    {"spawn_join", spawn_join},
    {"group", group},
    {"go", go},
    {"lock", lock},
    {"fork", forks},
    {"select_2", [](message n) { return select_of(n, std::make_index_sequence<2>()); }},
    {"select_8", [](message n) { return select_of(n, std::make_index_sequence<8>()); }},
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Does one kind of operation a number of times on one worker; for scripts/bench instructions.");
  std::string name;
  message times = 0;
  std::string names;
  for (auto const& [known, run] : operations) names += (names.empty() ? "" : ", ") + known;
  app.add_option("operation", name, names)->required();
  app.add_option("times", times, "how often")->required()->check(CLI::Range(message{0}, message{1} << 40));
  CLI11_PARSE(app, argc, argv);
  auto const found = operations.find(name);
  if (found == operations.end()) {
    std::fprintf(stderr, "operations: no operation \"%s\": %s\n", name.c_str(), names.c_str());
    return 2;
  }
  return weft::run(weft::options{.workers = 1}, [&] {
    message const did = found->second(times);
    if (did == times) return 0;
    std::fprintf(stderr, "operations: %s came to %jd, not %jd\n", name.c_str(), std::intmax_t{did},
                 std::intmax_t{times});
    return 1;
  });
}
