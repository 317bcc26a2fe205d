// A property that does not hold ends the process, which is how a fuzzer learns of it.
#pragma once

#include <cstdio>
#include <cstdlib>

inline void require(bool holds, char const* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}
