// A key and its value: one block of memory, so that a look-up touches as few lines of cache as can be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>

namespace cache {

/// Milliseconds since 1970; 0 in an entry: never.
using time_ms = std::int64_t;

struct entry {
  entry* next;  // in its bucket
  std::uint64_t hash;
  time_ms expires;
  entry *older, *newer;  // these three belong to the eviction policy
  std::uint64_t rank;
  std::uint32_t key_size, value_size, room;  // room: for key and value

  [[nodiscard]] char* data() noexcept { return reinterpret_cast<char*>(this + 1); }
  [[nodiscard]] char const* data() const noexcept { return reinterpret_cast<char const*>(this + 1); }
  [[nodiscard]] std::string_view key() const noexcept { return {data(), key_size}; }
  [[nodiscard]] std::string_view value() const noexcept { return {data() + key_size, value_size}; }
  [[nodiscard]] std::size_t bytes() const noexcept { return sizeof(entry) + room; }
  [[nodiscard]] bool expired(time_ms now) const noexcept { return expires != 0 && expires <= now; }

  /// What make() will take for so much text.
  [[nodiscard]] static std::size_t bytes_for(std::size_t text) noexcept { return sizeof(entry) + rounded(text); }

  [[nodiscard]] static entry* make(std::string_view key, std::uint64_t hash, std::size_t value_room) {
    auto const room = rounded(key.size() + value_room);
    auto* const e = ::new (::operator new(sizeof(entry) + room)) entry{};
    e->hash = hash;
    e->key_size = static_cast<std::uint32_t>(key.size());
    e->room = static_cast<std::uint32_t>(room);
    std::memcpy(e->data(), key.data(), key.size());
    return e;
  }
  static void destroy(entry* e) noexcept { ::operator delete(e); }

  /// There must be room.
  void assign(std::string_view value) noexcept {
    if (!value.empty()) std::memmove(data() + key_size, value.data(), value.size());
    value_size = static_cast<std::uint32_t>(value.size());
  }
  void append(std::string_view tail) noexcept {
    if (!tail.empty()) std::memcpy(data() + key_size + value_size, tail.data(), tail.size());
    value_size += static_cast<std::uint32_t>(tail.size());
  }

 private:
  static std::size_t rounded(std::size_t n) noexcept { return (n + 15) / 16 * 16; }
};

}  // namespace cache
