// How many simulated runs a test adds to those on the machine: fewer where each takes ten times as long.
#pragma once

#include <cstdint>

namespace weft::test {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr std::uint64_t simulated_seeds = 2;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
inline constexpr std::uint64_t simulated_seeds = 2;
#else
inline constexpr std::uint64_t simulated_seeds = 8;
#endif
#else
inline constexpr std::uint64_t simulated_seeds = 8;
#endif

}  // namespace weft::test
