// Connections to a cache that speaks the Redis protocol, kept for the next request.
//
// At most so many are in use at once; who finds them all in use waits, and is cancelled there as anywhere. A connection in which
// something went wrong, a cancellation in the middle of an answer included, is closed and not used again: the next one would
// read the rest of that answer as its own.
#pragma once

#include <weft/error.hpp>
#include <weft/guarded.hpp>
#include <weft/net.hpp>
#include <weft/semaphore.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace api {

struct cache_answer {
  enum kind : std::uint8_t { null, text, number, error } is;
  std::string value;  // of text, and what an error says
  std::int64_t n = 0;
};

class cache_pool {
 public:
  /// Connects when there is something to ask. `most` connections at once.
  cache_pool(std::string address, std::size_t most);
  ~cache_pool();

  /// One command and its answer. Waits; a cancellation point. Errors are those of the connection, and bad_message for what is no
  /// answer to a command of this program, or larger than any of its items.
  [[nodiscard]] weft::result<cache_answer> call(std::initializer_list<std::string_view> command);

  /// So many are open and not in use.
  [[nodiscard]] std::size_t idle() { return idle_.lock()->size(); }

 private:
  class connection;
  std::string address_;
  weft::counting_semaphore<> free_;
  weft::guarded<std::vector<std::unique_ptr<connection>>> idle_;
};

}  // namespace api
