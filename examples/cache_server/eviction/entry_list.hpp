// A list of entries through their own links, oldest first.
#pragma once

#include "../entry.hpp"

namespace cache {

class entry_list {
 public:
  [[nodiscard]] entry* oldest() const noexcept { return oldest_; }
  [[nodiscard]] bool is_newest(entry const& e) const noexcept { return newest_ == &e; }

  void add_newest(entry& e) noexcept {
    e.older = newest_;
    e.newer = nullptr;
    (newest_ != nullptr ? newest_->newer : oldest_) = &e;
    newest_ = &e;
  }
  void remove(entry& e) noexcept {
    (e.older != nullptr ? e.older->newer : oldest_) = e.newer;
    (e.newer != nullptr ? e.newer->older : newest_) = e.older;
  }

 private:
  entry *oldest_ = nullptr, *newest_ = nullptr;
};

}  // namespace cache
