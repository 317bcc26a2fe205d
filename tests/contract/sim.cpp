// <weft/sim.hpp>, as its users write it.
#include <weft/sim.hpp>

#include <memory>
#include <string>

namespace {
void free_function() {}
}  // namespace

int main() {
  namespace sim = weft::sim;
  int const a = sim::run(42, [] { return 1; });
  std::string const b =
      sim::run(sim::options{.seed = 7, .pick = sim::policy::pct, .depth = 4}, [] { return std::string("x"); });
  auto c = sim::run({.seed = 1}, [p = std::make_unique<int>(1)]() mutable { return std::move(p); });
  sim::run(std::uint64_t{1}, free_function);
  sim::run(1, [] { sim::wait_idle(); });
  sim::result const r = sim::explore(10, free_function);
  sim::result const s = sim::explore(10u, [] { weft::yield(); }, {.seed = 5, .pick = sim::policy::round_robin});
  bool const failed = r.failed || s.failed || r.seed == 1 || !r.choices.empty() || !r.what.empty() || r.runs != 10;
  int const d = sim::replay("w1", [] { return 3; });
  return a == 1 && b == "x" && *c == 1 && d == 3 && !failed ? 0 : 1;
}
