#include "log.hpp"

#include <weft/context.hpp>
#include <weft/net.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <ctime>
#include <utility>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace api {

namespace {

using namespace std::chrono;
constexpr seconds patience{2};  // with whoever reads the log, at the end

std::string timestamp() {
  auto const now = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  std::time_t const now_s = now / 1000;
  std::tm at{};
  gmtime_r(&now_s, &at);
  char text[32], out[40];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &at);
  std::snprintf(out, sizeof out, "%s.%03dZ", text, static_cast<int>(now % 1000));
  return out;
}

bool takes_bytes(steady_clock::time_point until = {}) noexcept {
  pollfd p{STDERR_FILENO, POLLOUT, 0};
  auto const left = std::max(ceil<milliseconds>(until - steady_clock::now()), 0ms);
  return ::poll(&p, 1, static_cast<int>(left.count())) != 0;  // an error, too: write() tells
}

/// What a pipe takes at once if it takes anything. A file takes all.
std::size_t at_once() noexcept {
  struct stat s{};
  return ::fstat(STDERR_FILENO, &s) == 0 && S_ISREG(s.st_mode) ? 64 * 1024 : PIPE_BUF;
}

/// Parks until standard error takes bytes: a thread that is stuck in write() could not be called off. False: nobody reads it any more.
bool write_some(std::string_view& text, std::size_t most) {
  while (!takes_bytes()) {
    if (!weft::net::wait_writable(STDERR_FILENO)) break;
  }
  ssize_t const n = ::write(STDERR_FILENO, text.data(), std::min(text.size(), most));
  if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
  return n >= 0 || errno == EINTR || errno == EAGAIN;
}

}  // namespace

/// Under no one's cancellation but close()'s: the last lines are those of the shutdown.
json_log::json_log() {
  weft::scoped_context const for_ever(weft::without_cancel(weft::this_task::context()));
  writer_ = weft::spawn([this, lines = lines_.rx()] { write_lines(lines); });
}

json_log::~json_log() { close(); }

/// Until the channel is closed, or close() has waited for long enough.
void json_log::write_lines(weft::receiver<line> lines) {
  std::vector<line> batch;
  try {
    for (; lines.recv_many(batch, 256) != 0; batch.clear()) write_batch(batch);
  } catch (weft::cancelled const&) {
    while (auto const left = lines.try_recv()) drop(*left);
  }
}

void json_log::write_batch(std::vector<line>& batch) {
  std::size_t const most = at_once();
  std::string text;
  for (std::size_t from = 0, to = 0; to < batch.size(); from = to) {
    for (text.clear(); to < batch.size() && (from == to || text.size() + batch[to].text.size() <= most); ++to)
      text += batch[to].text;
    try {
      for (std::string_view rest = text; !rest.empty() && write_some(rest, most);
           cut_ = !rest.empty() && rest.data() != text.data() && rest.data()[-1] != '\n') {
      }
    } catch (weft::cancelled const&) {
      for (; from < batch.size(); ++from) drop(batch[from]);
      throw;
    }
  }
}

void json_log::close() {
  weft::uncancellable const whole;
  lines_.close();
  if (!writer_.joinable()) return;
  (void)writer_.wait_for(patience);
  writer_.stop();
}

json_log::line json_log::made(std::string_view level, std::string_view event, weft::http::json_fields fields) {
  std::string text = R"({"time":")" + timestamp() + "\"";
  auto const add = [&text](std::string_view name, weft::http::json_value const& v) {
    text += ',';
    weft::http::append_json_string(text, name);
    text += ':';
    if (v.quoted()) weft::http::append_json_string(text, v.text());
    else text += v.text();
  };
  add("level", level);
  add("event", event);
  for (auto const& [name, value] : fields) add(name, value);
  auto const before = dropped_.exchange(0, std::memory_order_relaxed);
  if (before != 0) add("dropped_before", before);
  return {text += "}\n", before};
}

void json_log::write(std::string_view level, std::string_view event, weft::http::json_fields fields) {
  auto l = made(level, event, fields);
  auto const before = l.dropped_before;
  if (lines_.try_send(std::move(l)) != weft::chan_status::ok) dropped_.fetch_add(before + 1, std::memory_order_relaxed);
}

void json_log::finish(std::string_view level, std::string_view event, weft::http::json_fields fields) {
  auto const until = steady_clock::now() + patience;
  close();
  auto const last = (cut_ ? "\n" : "") + made(level, event, fields).text;
  if (std::string_view rest = last; takes_bytes(until)) (void)write_some(rest, PIPE_BUF);
}

}  // namespace api
