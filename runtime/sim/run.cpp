// sim::run, explore and replay.
//
// Shortening a list of choices. A run is a function of its deviations, so a shorter list that still fails is as good an explanation, and
// easier to read. Delta debugging: leave out halves, quarters, ... single deviations; a shorter list that fails with an exception of the
// same type is taken, as the deviations that its run really made (what no longer fits is treated as 0, and counts as made no more). At
// most shortenings_most runs.

#include <weft/sim.hpp>

#include <algorithm>
#include <exception>
#include <typeinfo>

#include <cxxabi.h>

#include "runtime/base/check.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sim/network.hpp"
#include "runtime/sim/policy.hpp"

namespace weft::sim {

void wait_idle() { rt::wait_until_idle(); }

namespace detail {
namespace {

constexpr unsigned shortenings_most = 2000;

void run_with(rt::chooser& by, std::uint64_t max_steps, body f, void* arg) {
  if (rt::current_task() != nullptr)
    rt::fatal("weft::sim called inside a task: a simulated run is a runtime of its own");
  weft::options o;
  o.workers = 1;
  o.hog_after = o.blocked_after = std::chrono::nanoseconds(0);
  rt::install_observer();
  rt::simulation s(by, max_steps);
  network sockets(by);
  s.network = &sockets;
  rt::scheduler sched(o, &s);
  sched.run_simulated(f, arg);
}

struct failure {
  bool failed = false;
  std::type_info const* type = nullptr;
  std::string what;
};

failure attempt(rt::chooser& by, std::uint64_t max_steps, body f, void* arg) {
  try {
    run_with(by, max_steps, f, arg);
    return {};
  } catch (std::exception const& e) {
    return {true, &typeid(e), e.what()};
  } catch (cancelled const& e) {
    return {true, &typeid(e), e.what()};
  } catch (...) {
    std::type_info const* const type = abi::__cxa_current_exception_type();
    return {true, type, std::string("an exception of type ") + (type != nullptr ? type->name() : "that is not known")};
  }
}

std::vector<deviation> shorten(recorder const& of, failure& found, std::uint64_t max_steps, body f, void* arg) {
  std::vector<deviation> list = of.made();
  // A run that was given up for its length stays as it is. Another may take longer with fewer deviations, but not for ever.
  if (of.count() > max_steps / 2) return list;
  max_steps = std::min(max_steps, of.count() * 20 + 1'000'000);
  unsigned tries = 0;
  for (std::size_t chunk = (list.size() + 1) / 2; chunk != 0 && tries < shortenings_most;) {
    bool shorter = false;
    for (std::size_t at = 0; at < list.size() && tries < shortenings_most;) {
      std::vector<deviation> without(list);
      auto const first = without.begin() + static_cast<std::ptrdiff_t>(at);
      without.erase(first, first + static_cast<std::ptrdiff_t>(std::min(chunk, list.size() - at)));
      from_list by(without, false);
      ++tries;
      failure const now = attempt(by, max_steps, f, arg);
      if (now.failed && now.type != nullptr && found.type != nullptr && *now.type == *found.type &&
          by.made().size() < list.size()) {
        list = by.made();
        found = now;
        shorter = true;
      } else {
        at += chunk;
      }
    }
    if (chunk == 1 && !shorter) break;
    chunk = chunk > 1 ? chunk / 2 : 1;
  }
  return list;
}

}  // namespace

void run(options const& o, body f, void* arg) {
  auto const by = make_policy(o);
  run_with(*by, o.max_steps, f, arg);
}

result explore(unsigned runs, body f, void* arg, options const& o) {
  result r;
  for (; r.runs < runs; ++r.runs) {
    options one = o;
    one.seed = o.seed + r.runs;
    auto const by = make_policy(one);
    failure found = attempt(*by, o.max_steps, f, arg);
    if (!found.failed) continue;
    ++r.runs;
    r.failed = true;
    r.seed = one.seed;
    r.choices = to_text(shorten(*by, found, o.max_steps, f, arg));
    r.what = found.what;
    break;
  }
  return r;
}

void replay(std::string_view choices, body f, void* arg) {
  from_list by(from_text(choices), true);
  try {
    run_with(by, options{}.max_steps, f, arg);
  } catch (...) {
    // A run that went astray may fail in its own way, but that is not what the list is of.
    if (std::string const why = by.misfit(); !why.empty())
      throw mismatch("weft::sim::replay: these choices do not fit this program: " + why);
    throw;
  }
  if (std::string const why = by.misfit(); !why.empty())
    throw mismatch("weft::sim::replay: these choices do not fit this program: " + why);
}

}  // namespace detail
}  // namespace weft::sim
