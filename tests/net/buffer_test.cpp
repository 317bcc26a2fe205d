// What converts to const_buffer and mutable_buffer: span, string, string_view, literal, vector, array, of char and std::byte.
#include <weft/net.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using weft::net::const_buffer;
using weft::net::mutable_buffer;

std::string text_of(const_buffer b) { return {reinterpret_cast<char const*>(b.bytes.data()), b.bytes.size()}; }

/// Writes into it, as a read would.
void fill(mutable_buffer b, char with) {
  for (std::byte& each : b.bytes) each = std::byte(with);
}

}  // namespace

TEST_CASE(
    "a const_buffer is taken from span, string, string_view, literal, vector and array of any char and std::byte") {
  std::string string = "ab";
  std::string const fixed = "ab";
  std::vector<char> chars{'a', 'b'};
  std::array<char, 2> char_array{'a', 'b'};
  std::vector<std::byte> bytes{std::byte{'a'}, std::byte{'b'}};
  std::array<std::byte, 2> const byte_array{std::byte{'a'}, std::byte{'b'}};
  std::byte raw_bytes[2] = {std::byte{'a'}, std::byte{'b'}};
  std::vector<unsigned char> unsigned_chars{'a', 'b'};
  std::array<std::uint8_t, 2> const octets{'a', 'b'};
  unsigned char raw_unsigned[] = {'a', 'b'};
  signed char raw_signed[] = {'a', 'b'};
  char const* pointer = "ab";
  char terminated[] = "ab";
  CHECK(text_of(string) == "ab");
  CHECK(text_of(fixed) == "ab");
  CHECK(text_of(std::string("ab")) == "ab");
  CHECK(text_of(std::string_view("abc").substr(0, 2)) == "ab");
  CHECK(text_of("ab") == "ab");
  CHECK(text_of(pointer) == "ab");
  CHECK(text_of(terminated) == "ab");
  CHECK(text_of(chars) == "ab");
  CHECK(text_of(char_array) == "ab");
  CHECK(text_of(bytes) == "ab");
  CHECK(text_of(byte_array) == "ab");
  CHECK(text_of(raw_bytes) == "ab");
  CHECK(text_of(unsigned_chars) == "ab");
  CHECK(text_of(octets) == "ab");
  CHECK(text_of(raw_unsigned) == "ab");
  CHECK(text_of(raw_signed) == "ab");
  CHECK(text_of(std::u8string(u8"ab")) == "ab");
  CHECK(text_of(std::span(chars)) == "ab");
  CHECK(text_of(std::span<char const>(chars)) == "ab");
  CHECK(text_of(std::span<std::byte>(bytes)) == "ab");
  CHECK(text_of(std::span<std::byte const, 2>(byte_array)) == "ab");
  CHECK(text_of(std::string("a\0b", 3)) == std::string("a\0b", 3));
  CHECK(text_of(std::string()).empty());
  CHECK(text_of(std::vector<std::byte>()).empty());
  STATIC_REQUIRE_FALSE(std::convertible_to<std::vector<int>, const_buffer>);
  STATIC_REQUIRE_FALSE(std::convertible_to<std::wstring, const_buffer>);
}

TEST_CASE("a mutable_buffer is taken from span, string, vector and array of char and std::byte") {
  std::string string = "..";
  std::vector<char> chars(2, '.');
  std::array<char, 2> char_array{};
  char raw_chars[2];
  std::vector<std::byte> bytes(2);
  std::array<std::byte, 2> byte_array{};
  std::byte raw_bytes[2];
  std::vector<std::uint8_t> octets(2);
  unsigned char raw_unsigned[2];
  fill(octets, 'h');
  fill(raw_unsigned, 'i');
  CHECK(text_of(octets) == "hh");
  CHECK(text_of(raw_unsigned) == "ii");
  fill(string, 'a');
  fill(chars, 'b');
  fill(char_array, 'c');
  fill(raw_chars, 'd');
  fill(bytes, 'e');
  fill(byte_array, 'f');
  fill(raw_bytes, 'g');
  CHECK(string == "aa");
  CHECK(text_of(chars) == "bb");
  CHECK(text_of(char_array) == "cc");
  CHECK(text_of(std::span(raw_chars)) == "dd");
  CHECK(text_of(bytes) == "ee");
  CHECK(text_of(byte_array) == "ff");
  CHECK(text_of(raw_bytes) == "gg");
  fill(std::span(string).first(1), 'h');
  fill(std::span(bytes).last(1), 'i');
  CHECK(string == "ha");
  CHECK(text_of(bytes) == "ei");
  STATIC_REQUIRE_FALSE(std::convertible_to<std::vector<int>&, mutable_buffer>);
}
