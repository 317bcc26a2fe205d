#include "progress.hpp"

#include <weft/context.hpp>
#include <weft/task.hpp>
#include <weft/time.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

namespace logs {

void draw_progress(std::function<std::uint64_t()> done, std::uint64_t whole) {
  constexpr std::size_t width = 40;
  auto const began = weft::now();
  try {
    weft::ticker tick(std::chrono::milliseconds(100));
    for ([[maybe_unused]] auto _ : tick.channel()) {
      auto const n = static_cast<double>(done());
      double const seconds = std::chrono::duration<double>(weft::now() - began).count();
      if (whole != 0) {
        double const part = std::min(1.0, n / static_cast<double>(whole));
        auto const full = static_cast<std::size_t>(part * width);
        std::fprintf(stderr, "\r[%s%s] %3.0f %%, %.2f GB/s ", std::string(full, '#').c_str(),
                     std::string(width - full, ' ').c_str(), 100 * part, n / 1e9 / seconds);
      } else {
        std::fprintf(stderr, "\r%.1f MB, %.2f GB/s ", n / 1e6, n / 1e9 / seconds);
      }
    }
  } catch (weft::cancelled const&) {
    std::fprintf(stderr, "\r\033[K");
    throw;
  }
}

}  // namespace logs
