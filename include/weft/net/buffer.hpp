// What bytes are read into and written from: views of memory that the caller keeps alive during the call.
#pragma once

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

namespace weft::net {

/// Bytes to write. From a span, string, string_view, literal, vector or array of char or std::byte. An array of char is taken
/// as a C string, which ends at its first null; for all of it give a std::span.
struct const_buffer {
  std::span<std::byte const> bytes;

  const_buffer(char const* z) : const_buffer(std::string_view(z)) {}
  template <std::size_t N>
  const_buffer(std::byte const (&a)[N]) : bytes(a) {}
  template <std::ranges::contiguous_range R>
    requires std::ranges::sized_range<R> && (!std::is_array_v<std::remove_cvref_t<R>>) &&
             (std::same_as<std::ranges::range_value_t<R>, std::byte> ||
              std::same_as<std::ranges::range_value_t<R>, char>)
  const_buffer(R const& r) : bytes(std::as_bytes(std::span(std::ranges::data(r), std::ranges::size(r)))) {}
};

/// Room to read into. From a span, string, vector or array of char or std::byte.
struct mutable_buffer {
  std::span<std::byte> bytes;

  template <std::ranges::contiguous_range R>
    requires std::ranges::sized_range<R> && (std::same_as<std::ranges::range_value_t<R>, std::byte> ||
                                             std::same_as<std::ranges::range_value_t<R>, char>)
  mutable_buffer(R&& r) : bytes(std::as_writable_bytes(std::span(std::ranges::data(r), std::ranges::size(r)))) {}
};

}  // namespace weft::net
