// Lines of JSON on standard error, written by one task: a request does not wait for a slow terminal.
//
// When the writer is too far behind, lines are dropped and counted; the next line that goes out says how many.
#pragma once

#include <weft/chan.hpp>
#include <weft/http.hpp>
#include <weft/task.hpp>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace api {

class json_log {
 public:
  json_log();
  json_log(json_log const&) = delete;
  json_log& operator=(json_log const&) = delete;
  ~json_log();  // writes what is there

  /// {"time":"2026-01-31T12:00:00.000Z","level":"info","event":"request", ...}
  void write(std::string_view level, std::string_view event, weft::http::json_fields fields);

 private:
  weft::chan<std::string> lines_ = weft::make_chan<std::string>(4096);
  std::atomic<std::uint64_t> dropped_{0};
  weft::join_handle<void> writer_;
};

}  // namespace api
