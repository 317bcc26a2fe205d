// What a connection needs while it works on requests, and not while it is idle: kept in a pool, so that ten thousand idle
// connections hold none and a busy one allocates nothing.
#pragma once

#include "runtime/base/lock.hpp"
#include "runtime/http/http_date.hpp"
#include "runtime/http/state.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::rt {

struct http_workspace {
  http::request request = http_access::make_request();  // clear where a request begins
  std::string out;                                      // responses that have not been written yet
  std::unique_ptr<char[]> in;                           // for what is not read and parsed at once
  std::size_t in_size = 0;

  /// "Sun, 06 Nov 1994 08:49:37 GMT": formatted anew once a second. A copy a workspace rather than one a server: nothing to share.
  [[nodiscard]] std::string_view date();

  /// Makes `in` at least this large, and keeps its first `kept` bytes.
  void grow_in(std::size_t size, std::size_t kept);
  /// Ready for the next holder; gives back what was uncommonly large.
  void reset() noexcept;

 private:
  std::int64_t date_second_ = -1;
  char date_[http_date_size];
};

/// A shelf for each CPU, and some at least, as there may be more workers: every request of a busy server takes a workspace and puts it
/// back, one lock for all would be their limit on many processors, and a workspace that another worker has had comes from its caches.
class workspace_pool {
 public:
  workspace_pool();
  [[nodiscard]] std::unique_ptr<http_workspace> get();
  void put(std::unique_ptr<http_workspace> w) noexcept;

 private:
  static constexpr std::size_t most_kept = 64;  // by a shelf
  static constexpr unsigned least_shelves = 16, most_shelves = 1024;
  struct alignas(64) shelf {
    ranked_lock lock{lock_rank::leaf};
    std::vector<std::unique_ptr<http_workspace>> idle WEFT_GUARDED_BY(lock);  // last in, first out: the warm one
  };
  shelf& here() noexcept;

  std::vector<shelf> shelves_;
};

/// Holds a workspace for a block.
class workspace_lease {
 public:
  explicit workspace_lease(workspace_pool& pool) : pool_(pool), held_(pool.get()) {}
  ~workspace_lease() { pool_.put(std::move(held_)); }
  workspace_lease(workspace_lease const&) = delete;
  workspace_lease& operator=(workspace_lease const&) = delete;
  [[nodiscard]] http_workspace& operator*() const noexcept { return *held_; }

 private:
  workspace_pool& pool_;
  std::unique_ptr<http_workspace> held_;
};

}  // namespace weft::rt
