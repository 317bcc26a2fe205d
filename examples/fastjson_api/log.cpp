#include "log.hpp"

#include <weft/context.hpp>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <vector>

namespace api {

namespace {

std::string timestamp() {
  using namespace std::chrono;
  auto const now = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  std::time_t const seconds = now / 1000;
  std::tm at{};
  gmtime_r(&seconds, &at);
  char text[32], out[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &at);
  std::snprintf(out, sizeof out, "%s.%03dZ", text, static_cast<int>(now % 1000));
  return out;
}

/// Until the channel is closed. Under no one's cancellation: the last lines are those of the shutdown.
void write_lines(weft::receiver<std::string> lines) {
  std::vector<std::string> batch;
  std::string text;
  while (lines.recv_many(batch, 256) != 0) {
    for (auto const& line : batch) text += line;
    std::fwrite(text.data(), 1, text.size(), stderr);
    batch.clear();
    text.clear();
  }
}

}  // namespace

json_log::json_log() {
  weft::scoped_context const for_ever(weft::without_cancel(weft::this_task::context()));
  writer_ = weft::spawn([lines = lines_.rx()] { write_lines(lines); });
}

json_log::~json_log() {
  weft::uncancellable const whole;
  lines_.close();
  writer_.join();
}

void json_log::write(std::string_view level, std::string_view event, weft::http::json_fields fields) {
  std::string line = R"({"time":")" + timestamp() + "\"";
  auto const add = [&line](std::string_view name, weft::http::json_value const& v) {
    line += ',';
    weft::http::append_json_string(line, name);
    line += ':';
    if (v.quoted()) weft::http::append_json_string(line, v.text());
    else line += v.text();
  };
  add("level", level);
  add("event", event);
  for (auto const& [name, value] : fields) add(name, value);
  auto const before = dropped_.exchange(0, std::memory_order_relaxed);
  if (before != 0) add("dropped_before", before);
  line += "}\n";
  if (lines_.try_send(std::move(line)) != weft::chan_status::ok)
    dropped_.fetch_add(before + 1, std::memory_order_relaxed);
}

}  // namespace api
