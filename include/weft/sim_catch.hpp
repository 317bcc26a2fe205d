// Simulated runs as tests of Catch2, 2.13 or 3.
//
//     #include <weft/sim_catch.hpp>
//
//     WEFT_SIM_TEST("transfers keep the sum", .runs = 1000) {
//       ...
//       REQUIRE(sum == 100);   // in any task: all of them are on the test's thread
//     }
//
// The body is run with 1,000 seeds (or .runs) in a child process, whose output is dropped, so that the thousands of failures of a search
// are not reported and a crash ends the search alone. If a run fails, its shortened choices are run again in the test itself, where the
// assertion fails in sight, with the seed and the choices beside it. WEFT_SIM_CHOICES=... runs these alone, WEFT_SIM_SEED=n that seed.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#elif __has_include(<catch2/catch.hpp>)
#include <catch2/catch.hpp>
#else
#error "<weft/sim_catch.hpp> needs Catch2, 2.13 or 3"
#endif

#include <cstdint>
#include <cstdlib>
#include <string>

#include <weft/sim.hpp>

namespace weft::sim {

struct test_options {
  unsigned runs = 1000;
  policy pick = policy::random;
  unsigned depth = 3;
  std::uint64_t seed = 0;
};

/// What WEFT_SIM_TEST does with its body.
inline void test(void (*f)(), test_options const& t = {}) {
  options o{.seed = t.seed, .pick = t.pick, .depth = t.depth};
  if (char const* choices = std::getenv("WEFT_SIM_CHOICES"); choices != nullptr && *choices != '\0') {
    INFO("choices " << choices);
    sim::replay(choices, f);
    return;
  }
  if (char const* seed = std::getenv("WEFT_SIM_SEED"); seed != nullptr && *seed != '\0') {
    o.seed = std::strtoull(seed, nullptr, 10);
    INFO("seed " << o.seed);
    sim::run(o, f);
    return;
  }
  result const r = explore_apart(t.runs, f, o);
  if (!r.failed) {
    SUCCEED(std::to_string(r.runs) + " simulated runs");
    return;
  }
  INFO("run " << r.runs << " failed: " << r.what);
  INFO("again: WEFT_SIM_SEED=" << r.seed << " or WEFT_SIM_CHOICES=" << r.choices);
  if (r.choices.empty()) FAIL("the process of the simulated runs was ended by seed " << r.seed);
  sim::replay(r.choices, f);
  FAIL("the choices did not make it fail again: does it depend on anything but them?");
}

}  // namespace weft::sim

#define WEFT_SIM_JOIN_(a, b) a##b
#define WEFT_SIM_JOIN(a, b) WEFT_SIM_JOIN_(a, b)
#define WEFT_SIM_TEST_AS(function, name, ...)                      \
  static void function();                                          \
  TEST_CASE(name) { ::weft::sim::test(&function, {__VA_ARGS__}); } \
  static void function()
/// WEFT_SIM_TEST("name", .runs = 1000, .pick = weft::sim::policy::pct) { body }: all but the name may be left out.
#define WEFT_SIM_TEST(...) WEFT_SIM_TEST_AS(WEFT_SIM_JOIN(weft_sim_test_, __LINE__), __VA_ARGS__)
