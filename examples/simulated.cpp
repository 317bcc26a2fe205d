// A cache that loads each key once, or so it seems: a thousand ordinary runs pass. explore tries other orders of the same tasks, finds one
// in which a key is loaded twice, shortens it, and replay shows it as often as you like. Then the cure, under the same search.
//
//   simulated
#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include <weft/sim.hpp>

namespace {

struct cache {
  weft::mutex lock;
  std::map<std::string, int> values;
  std::atomic<int> loads = 0;

  int load(std::string const& key) {
    ++loads;
    return static_cast<int>(key.size());
  }

  /// Looks, lets go, loads, stores: two callers may both find nothing.
  int get_badly(std::string const& key) {
    {
      std::lock_guard const hold(lock);
      if (auto const at = values.find(key); at != values.end()) return at->second;
    }
    int const value = load(key);
    std::lock_guard const hold(lock);
    return values[key] = value;
  }

  int get(std::string const& key) {
    std::lock_guard const hold(lock);
    auto const at = values.find(key);
    return at != values.end() ? at->second : values[key] = load(key);
  }
};

void program(int (cache::*get)(std::string const&)) {
  cache c;
  weft::wait_group clients;
  for (int i = 0; i < 3; ++i) clients.go([&] { (void)(c.*get)("weft"); });
  clients.wait();
  if (c.loads != 1) throw std::logic_error(std::to_string(c.loads.load()) + " loads of one key");
}

}  // namespace

int main() {
  auto const bad = [] { program(&cache::get_badly); };
  auto const good = [] { program(&cache::get); };

  for (int i = 0; i < 1000; ++i) weft::run({.workers = 1}, bad);
  std::puts("1000 ordinary runs: no complaint");

  weft::sim::result const r = weft::sim::explore(10'000, bad);
  if (!r.failed) return 1;
  std::printf("explore: seed %llu fails: %s\n", static_cast<unsigned long long>(r.seed), r.what.c_str());
  std::printf("its choices, shortened: %s\n", r.choices.c_str());
  for (int i = 0; i < 3; ++i) {
    try {
      weft::sim::replay(r.choices, bad);
      return 1;
    } catch (std::logic_error const& e) {
      std::printf("replay: %s\n", e.what());
    }
  }
  weft::sim::result const cured = weft::sim::explore(1000, good);
  std::printf("cured: %u simulated runs, %s\n", cured.runs, cured.failed ? cured.what.c_str() : "no complaint");
  return cured.failed ? 1 : 0;
}
