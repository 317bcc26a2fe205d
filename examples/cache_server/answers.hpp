// Answers on their way to a client. Mostly one write takes them. For a client that does not read, a task of its own writes them, so
// that the connection can go on with requests: a client may send all it has to ask before it reads the first answer.
#pragma once

#include <weft/guarded.hpp>
#include <weft/net.hpp>
#include <weft/task_group.hpp>

#include <cstddef>
#include <optional>
#include <string>

namespace cache {

/// What the writer has yet to take.
struct unwritten {
  std::string bytes;
  std::size_t skip = 0;  // of them, written already
  bool writing = false, broken = false, awaited = false;
};

/// Belongs to the task that reads `stream`; cancels the writing when it is destroyed.
class answers {
 public:
  static constexpr std::size_t most = 16 * 1024 * 1024;  // that wait beside what is being written

  explicit answers(weft::net::tcp_stream& stream) : stream_(stream) {}

  /// Takes all of `out`. Does not wait for the client. False: the connection has broken.
  [[nodiscard]] bool send(std::string& out);
  /// No more answers should be made now. When there is room again the next read, or the one that waits, says timed_out:
  /// set its deadline to never then, and ask again.
  [[nodiscard]] bool full();
  /// Until all is written, or the connection has broken.
  void wait();

 private:
  void write();

  weft::net::tcp_stream& stream_;
  weft::guarded<unwritten> queue_;
  bool queued_ = false;                     // there was a writer when last looked
  std::optional<weft::task_group> writer_;  // last: it uses the others
};

}  // namespace cache
