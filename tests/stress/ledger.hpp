// Who sent what, and who received it. A producer numbers its values in the order in which it sends them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "tests/stress/stress.hpp"

namespace weft::stress {

struct item {
  std::uint32_t producer, number;
};

class ledger {
 public:
  using page = std::vector<item>;

  explicit ledger(std::size_t producers) : sent_(producers) {}

  /// How many have been sent, and are no longer the producer's. Written by that producer alone, and by nobody beside settle().
  [[nodiscard]] std::uint32_t& sent_by(std::size_t producer) { return sent_[producer]; }

  /// A page for one consumer. Stays where it is.
  [[nodiscard]] page& open_page() { return pages_.emplace_back(); }

  /// No value came twice, or without having been sent; on each page each producer's values stand in the order in which they were sent (if
  /// `in_order`); and all but at most `most_lost` have come. Where one was lost, so were those that its producer sent later.
  void settle(bool in_order, std::size_t most_lost) const {
    std::vector<std::vector<bool>> came(sent_.size());
    for (std::size_t p = 0; p < sent_.size(); ++p) came[p].resize(sent_[p]);
    for (page const& of : pages_) {
      std::vector<std::int64_t> last(sent_.size(), -1);
      for (item const i : of) {
        check(i.producer < sent_.size(), "a value that nobody made was received");
        if (i.number >= sent_[i.producer]) fail(name(i) + " was received, and is still its sender's");
        if (came[i.producer][i.number]) fail(name(i) + " was received twice");
        came[i.producer][i.number] = true;
        if (in_order && i.number <= last[i.producer]) fail(name(i) + " came after a later one");
        last[i.producer] = i.number;
      }
    }
    std::size_t lost = 0;
    for (std::uint32_t p = 0; p < sent_.size(); ++p)
      for (std::uint32_t n = 0; n < sent_[p]; ++n) {
        if (!came[p][n]) {
          ++lost;
          if (most_lost == 0) fail(name({p, n}) + " was sent, and received by nobody");
        } else if (in_order && n > 0 && !came[p][n - 1]) {
          fail(name({p, n - 1}) + " was lost, and a later one was not");
        }
      }
    if (lost > most_lost)
      fail(std::to_string(lost) + " values are lost; " + std::to_string(most_lost) + " at most were in the channel");
  }

 private:
  static std::string name(item i) {
    return "value " + std::to_string(i.number) + " of producer " + std::to_string(i.producer);
  }

  std::vector<std::uint32_t> sent_;
  std::deque<page> pages_;
};

}  // namespace weft::stress
