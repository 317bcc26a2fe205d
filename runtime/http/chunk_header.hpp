// What has come where a header is due and is not whole: whether it can become so, or nobody need wait for more of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::rt {

/// Beast's parser asserts that it is not called again for a last chunk of which it has fewer bytes than the shortest one has
/// ("0\r\n\r\n"). More must come in any case, wherever in a chunked body we are.
inline constexpr std::size_t shortest_last_chunk = 5;

/// Of a message's header, too: its sender sees the end of a line there. The first `looked` bytes have none: who is sent a byte at a time
/// looks at each once.
[[nodiscard]] bool has_bare_line_feed(std::string_view unread, std::size_t looked) noexcept;

/// Of a chunk's extensions. Beast takes others in a quoted string; whoever sees the end of a line there sees another message behind it.
[[nodiscard]] inline bool stays_in_line(std::string_view extensions) noexcept {
  return extensions.find_first_of("\r\n") == extensions.npos;
}

/// The extensions of all chunks of a body, by as much as they are longer than its data. They tell us nothing: without a limit their
/// sender could keep us reading for ever for a body of few bytes (RFC 9112, 7.1.1).
class extension_excess {
 public:
  /// Of the next chunk. What a chunk may be said to be in a few bytes is never too much. False: there are more than `most` now.
  [[nodiscard]] bool add(std::size_t extensions, std::uint64_t data, std::size_t most) noexcept {
    constexpr std::uint64_t always = 16;
    bytes_ += extensions;
    bytes_ -= std::min(bytes_, always);
    bytes_ -= std::min(bytes_, data);
    return bytes_ <= most;
  }

 private:
  std::uint64_t bytes_ = 0;
};

/// Of what is unread where a chunk's header is due and not whole yet, with trailers if it is the last chunk's: whether more behind it
/// can make it whole. Behind another chunk it begins with the end of that one's line. It was true of the first `looked` bytes.
[[nodiscard]] bool may_become_chunk_header(std::string_view unread, bool behind_another, std::size_t looked) noexcept;

}  // namespace weft::rt
