// Blocks of lines and the pool they come from: all of the input's bytes that are in memory at a time.
//
// A block goes around: free list -> reader -> parsers -> router or writers -> free list. There is a fixed number of them, so a
// slow disk makes the reader wait instead of making the program grow. Lines are never copied on the way; messages point into
// the block, and the one copy is that into the buffer of the file they go to.
#pragma once

#include <weft/chan.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace logs {

/// A line of longest_line bytes or more, without its end, is malformed, whatever it says, and goes through in pieces.
inline constexpr std::size_t block_bytes = 256 * 1024, longest_line = 16 * 1024 * 1024;

/// The parser reads in wide steps: so many bytes behind a line must be there, whatever they hold.
inline constexpr std::size_t padding = 64;

/// A line that goes to a file: to that of a service, or of those that are malformed.
struct record {
  char const* text;
  std::uint32_t size;
  std::uint32_t service;
  [[nodiscard]] std::string_view view() const noexcept { return {text, size}; }
};

struct block {
  std::vector<char> room = std::vector<char>(block_bytes + padding);
  std::size_t size = 0;      // whole lines, each with its end; or a piece
  bool piece = false;        // bytes of one line that is too long; only the last of them has its end
  std::uint64_t number = 0;  // in the input, from 0

  // Pipeline of blocks: written by the parser, read by the router.
  std::vector<record> records;
  std::uint64_t lines = 0, below = 0, malformed = 0;

  // Pipeline of lines: lines that have not been dealt with; the last to leave frees the block.
  std::atomic<std::uint32_t> owed{0};

  [[nodiscard]] std::string_view text() const noexcept { return {room.data(), size}; }
  /// A piece as a record: what is written of one is a byte more than its size, otherwise a line's end.
  [[nodiscard]] record as_record() const noexcept { return {room.data(), static_cast<std::uint32_t>(size - 1), 0}; }
};

class block_pool {
 public:
  explicit block_pool(std::size_t n) : free_(weft::make_chan<block*>(n)) {
    for (std::size_t i = 0; i < n; ++i) {
      all_.push_back(std::make_unique<block>());
      free_.send(all_.back().get());
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
  /// Waits for a free one. A cancellation point.
  [[nodiscard]] block* take() const { return *free_.recv(); }
  /// Never waits, as there is room for all of them, and never throws: a group that is being cancelled may give, too.
  void give(block* b) const { (void)free_.try_send(b); }
  /// n of the lines that a block owes are done. acq_rel: who frees it has seen all that the others did with it.
  void leave(block* b, std::uint32_t n) const {
    if (b->owed.fetch_sub(n, std::memory_order_acq_rel) == n) give(b);
  }

 private:
  std::vector<std::unique_ptr<block>> all_;
  weft::chan<block*> free_;
};

/// Calls f(line) for each line of a text of whole lines, without their ends.
template <class F>
void each_line(std::string_view text, F f) {
  while (!text.empty()) {
    std::size_t const end = text.find('\n');
    f(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
}

}  // namespace logs
