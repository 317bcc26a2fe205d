// What bytes are read into and written from: views of memory that the caller keeps alive during the call.
#pragma once

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <string_view>
#include <type_traits>

namespace weft::detail {

template <class T>
concept byte_like = std::same_as<T, std::byte> || std::same_as<T, char> || std::same_as<T, unsigned char> ||
                    std::same_as<T, signed char> || std::same_as<T, char8_t>;

}  // namespace weft::detail

namespace weft::net {

/// Bytes to write. From a span, string, string_view, literal, vector or array of char (plain, signed, unsigned or char8_t) or std::byte.
/// An array of plain char is taken as a C string, which ends at its first null; for all of it give a std::span.
struct const_buffer {
  std::span<std::byte const> bytes;

  const_buffer(char const* z) : const_buffer(std::string_view(z)) {}
  template <detail::byte_like B, std::size_t N>
    requires(!std::same_as<B, char>)
  const_buffer(B const (&a)[N]) : bytes(std::as_bytes(std::span(a))) {}
  template <std::ranges::contiguous_range R>
    requires std::ranges::sized_range<R> &&
             (!std::is_array_v<std::remove_cvref_t<R>>) && detail::byte_like<std::ranges::range_value_t<R>>
  const_buffer(R const& r) : bytes(std::as_bytes(std::span(std::ranges::data(r), std::ranges::size(r)))) {}
};

/// Room to read into. From a span, string, vector or array of the same.
struct mutable_buffer {
  std::span<std::byte> bytes;

  template <std::ranges::contiguous_range R>
    requires std::ranges::sized_range<R> && detail::byte_like<std::ranges::range_value_t<R>>
  mutable_buffer(R&& r) : bytes(std::as_writable_bytes(std::span(std::ranges::data(r), std::ranges::size(r)))) {}
};

}  // namespace weft::net
