// A small fast source of random numbers for the runtime's own choices: which processor to steal from, the order in
// which select tries its ready cases. One a processor, written by its holder alone. Wyrand: one multiplication a number,
// passes the usual test batteries; no good for secrets.
#pragma once

#include <cstdint>

namespace weft::rt {

class random_source {
 public:
  constexpr random_source() noexcept = default;
  constexpr explicit random_source(std::uint64_t start) noexcept { seed(start); }

  // Any value is a good seed; equal seeds give equal sequences.
  constexpr void seed(std::uint64_t start) noexcept { state_ = start; }

  constexpr std::uint64_t next() noexcept {
    state_ += 0xa0761d6478bd642fULL;
    return fold(state_, state_ ^ 0xe7037ed1a0b428dbULL);
  }

  // A number in [0, n); n must not be 0. The bias is below n / 2^64.
  constexpr std::uint64_t below(std::uint64_t n) noexcept {
    return static_cast<std::uint64_t>((static_cast<wide>(next()) * n) >> 64);
  }

 private:
  __extension__ using wide = unsigned __int128;

  static constexpr std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
    wide const product = static_cast<wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }

  std::uint64_t state_ = 0x9e3779b97f4a7c15ULL;
};

}  // namespace weft::rt
