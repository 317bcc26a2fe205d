// The protocols that are checked: for each, small programs that between them use every step of it.
#pragma once

#include <span>

#include "tests/model/explorer.hpp"

namespace model {

/// A mutation that changes nothing that may be relied on: why. Or one that is beyond the bounds of the programs: then that is the reason.
struct harmless {
  char const* label;  // as label() gives it; with a * at its end, whatever begins so
  change what;        // none: whatever is done to it
  char const* why;
};

struct protocol {
  char const* name;
  char const* code;  // the files of the runtime whose steps are changed
  std::span<scenario const> scenarios;
  std::span<harmless const> harmless_ones;
};

extern protocol const hand_over, biased_locking, biased_holding, waiting, running, idle, walk, selecting, group_places,
    own_contexts, registration;

/// The explorer's own test.
void litmus();

}  // namespace model
