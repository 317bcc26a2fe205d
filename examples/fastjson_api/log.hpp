// Lines of JSON on standard error, written by one task: a request does not wait for a slow terminal.
//
// When the writer is too far behind, lines are dropped and counted; the next line that goes out says how many, and so does the last one.
// The end waits two seconds for whoever reads them, no longer.
#pragma once

#include <weft/chan.hpp>
#include <weft/http.hpp>
#include <weft/task.hpp>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace api {

class json_log {
 public:
  json_log();
  json_log(json_log const&) = delete;
  json_log& operator=(json_log const&) = delete;
  ~json_log();  // as finish(), without a line

  /// {"time":"2026-01-31T12:00:00.000Z","level":"info","event":"request", ...}
  void write(std::string_view level, std::string_view event, weft::http::json_fields fields);
  /// Writes what is there, and then a last line, if standard error takes it. To be called once, after the last write().
  void finish(std::string_view level, std::string_view event, weft::http::json_fields fields);

 private:
  struct line {
    std::string text;
    std::uint64_t dropped_before;
  };
  void write_lines(weft::receiver<line> lines);
  void write_batch(std::vector<line>& batch);
  void drop(line const& l) noexcept { dropped_.fetch_add(1 + l.dropped_before, std::memory_order_relaxed); }
  [[nodiscard]] line made(std::string_view level, std::string_view event, weft::http::json_fields fields);
  void close();

  weft::chan<line> lines_ = weft::make_chan<line>(4096);
  std::atomic<std::uint64_t> dropped_{0};
  bool cut_ = false;  // the writer's, and after its end finish()'s: the last line that was begun has no end
  weft::join_handle<void> writer_;
};

}  // namespace api
