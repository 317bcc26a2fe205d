#include "cache_pool.hpp"

#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

namespace api {

using weft::result;

namespace {

constexpr std::int64_t largest = 1024 * 1024;  // text that is an answer: items are much smaller

std::unexpected<std::error_code> bad_message() { return std::unexpected(std::make_error_code(std::errc::bad_message)); }

std::optional<std::int64_t> number_of(std::string_view s) {
  std::int64_t n = 0;
  auto const [end, failed] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (failed != std::errc() || end != s.data() + s.size()) return std::nullopt;
  return n;
}

}  // namespace

class cache_pool::connection {
 public:
  explicit connection(weft::net::tcp_stream s) : stream_(std::move(s)), in_(stream_) {}

  result<cache_answer> call(std::initializer_list<std::string_view> command) {
    std::string out = "*" + std::to_string(command.size()) + "\r\n";
    for (std::string_view const word : command)
      out.append("$").append(std::to_string(word.size())).append("\r\n").append(word).append("\r\n");
    if (auto const sent = stream_.write_all(out); !sent) return std::unexpected(sent.error());
    auto const line = in_.read_line();
    if (!line) return std::unexpected(line.error());
    if (!*line) return std::unexpected(make_error_code(weft::errc::eof));
    if ((*line)->empty()) return bad_message();
    std::string_view const rest = (*line)->substr(1);
    switch ((**line)[0]) {
      case '+': return cache_answer{cache_answer::text, std::string(rest)};
      case '-': return cache_answer{cache_answer::error, std::string(rest)};
      case ':': {
        auto const n = number_of(rest);
        if (!n) return bad_message();
        return cache_answer{cache_answer::number, {}, *n};
      }
      case '$': {
        auto const n = number_of(rest);
        if (!n || *n < -1 || *n > largest) return bad_message();
        if (*n == -1) return cache_answer{cache_answer::null, {}};
        auto const text = in_.read_exact(static_cast<std::size_t>(*n) + 2);
        if (!text) return std::unexpected(text.error());
        if (!text->ends_with("\r\n")) return bad_message();
        return cache_answer{cache_answer::text, std::string(text->substr(0, text->size() - 2))};
      }
      default: return bad_message();
    }
  }
  /// Something has come that was not asked for: it must not be taken for the next answer.
  [[nodiscard]] bool has_more() const noexcept { return in_.buffered() != 0; }
  /// So has something since the last answer, or the end.
  [[nodiscard]] bool is_stale() const {
    return weft::net::wait_readable(stream_.native_handle(), std::chrono::seconds(0)).has_value();
  }

 private:
  weft::net::tcp_stream stream_;
  weft::net::reader<weft::net::tcp_stream> in_;
};

cache_pool::cache_pool(std::string address, std::size_t most)
    : address_(std::move(address)), free_(static_cast<std::ptrdiff_t>(most)) {}

cache_pool::~cache_pool() = default;

result<cache_answer> cache_pool::call(std::initializer_list<std::string_view> command) {
  weft::permit const one(free_);
  std::unique_ptr<connection> c;
  do {
    c.reset();
    idle_.with([&](auto& idle) {
      if (!idle.empty()) c = std::move(idle.back()), idle.pop_back();
    });
  } while (c && c->is_stale());
  if (!c) {
    auto stream = weft::net::tcp_stream::connect(address_);
    if (!stream) return std::unexpected(stream.error());
    c = std::make_unique<connection>(std::move(*stream));
  }
  auto answer = c->call(command);
  if (answer && c->has_more()) answer = bad_message();
  if (answer) {
    idle_.lock()->push_back(std::move(c));
  } else {
    idle_.lock()->clear();  // what broke this one has most likely broken them all: a server that was started anew
  }
  return answer;
}

}  // namespace api
