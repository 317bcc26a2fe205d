// Starts a runtime, runs one task, and ends: what bench/start_exit.cpp starts again and again.
#include <weft/run.hpp>

int main() {
  return weft::run([] { return 0; });
}
