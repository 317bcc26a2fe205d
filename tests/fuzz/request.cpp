// Arbitrary bytes as a connection's input. What must hold:
//
//   1. How the bytes are split makes no difference: the same requests come out, with the same parts. (A refusal may come sooner
//      or later, but what one split accepts none refuses.)
//   2. A body that is read as it comes is the body that would have been collected.
//   3. Nothing is smuggled: each request, written out again in the plainest form, is that one request to the parser, and no more.
//
// The first byte of the input chooses limits and the splits.
#include "runtime/http/parser.hpp"
#include "runtime/http/state.hpp"

#include "tests/fuzz/require.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rt = weft::rt;

namespace {

enum class body_mode { collected, streamed };

struct parsed_request {
  std::string method, target, path, body;
  std::vector<std::pair<std::string, std::string>> fields, trailers;
  bool keep_alive = false, http11 = false, expects_continue = false;
  bool operator==(parsed_request const&) const = default;
};

struct outcome {
  std::vector<parsed_request> requests;
  int refused = 0;
};

/// Gives `bytes` in pieces, as a connection does: what is not taken comes again with more behind it.
class feeder {
 public:
  feeder(std::string_view bytes, std::uint32_t seed) : bytes_(bytes), seed_(seed) {}

  [[nodiscard]] std::string_view unread() const { return unread_; }
  void consume(std::size_t n) {
    require(n <= unread_.size(), "the parser takes no more than it was given");
    unread_.erase(0, n);
  }
  bool more() {
    if (given_ == bytes_.size()) return false;
    std::size_t piece = bytes_.size();
    if (seed_ == 1) piece = 1;
    else if (seed_ > 1) piece = 1 + (state_ = state_ * 1664525u + seed_) % 61;
    auto const next = bytes_.substr(given_, piece);
    unread_ += next;
    given_ += next.size();
    return true;
  }

 private:
  std::string_view bytes_;
  std::uint32_t seed_, state_ = 1;
  std::string unread_;
  std::size_t given_ = 0;
};

auto strings(std::vector<rt::text_pair> const& from) {
  std::vector<std::pair<std::string, std::string>> all;
  for (auto const& f : from) all.emplace_back(f.name, f.value);
  return all;
}

/// One request. False: there is none, or it is refused.
bool parse_one(feeder& in, rt::parse_limits const& limits, body_mode mode, outcome& into) {
  rt::request_state q;
  rt::request_parser parser(q, limits);
  std::string window, body;
  rt::text_arena text;
  std::vector<rt::text_pair> trailers;
  bool streamed = false;
  while (parser.refused() == 0 && !parser.done()) {
    std::size_t const n = parser.feed(in.unread());
    in.consume(n);
    if (mode == body_mode::streamed && !streamed && parser.header_done() && parser.has_body()) {
      streamed = true;
      parser.stream_into(window, text, trailers, limits.body);
    }
    body += window;
    window.clear();
    if (parser.refused() != 0 || parser.done()) break;
    if ((n == 0 || in.unread().empty()) && !in.more()) return false;
  }
  if ((into.refused = parser.refused()) != 0) return false;
  require(body.empty() || q.body.empty(), "a body goes to one place");
  require(q.body.size() + body.size() <= limits.body, "a body within its limit");
  into.requests.push_back({std::string(q.method), std::string(q.target), std::string(q.path), streamed ? body : q.body,
                           strings(q.fields), strings(streamed ? trailers : q.trailers), parser.keep_alive(),
                           parser.is_http11(), parser.expects_continue()});
  return parser.keep_alive();
}

outcome parse(std::string_view bytes, rt::parse_limits const& limits, std::uint32_t seed, body_mode mode) {
  outcome all;
  feeder in(bytes, seed);
  while (parse_one(in, limits, mode, all)) {
  }
  return all;
}

bool same_name(std::string_view a, std::string_view b) { return rt::equal_no_case(a, b); }

/// The request as a careful proxy would pass it on.
std::string written(parsed_request const& q) {
  std::string out = q.method + " " + q.target + (q.http11 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
  for (auto const& [name, value] : q.fields) {
    if (same_name(name, "Transfer-Encoding") || same_name(name, "Content-Length")) continue;
    out += name + ": " + value + "\r\n";
  }
  return out + "Content-Length: " + std::to_string(q.body.size()) + "\r\n\r\n" + q.body;
}

void check_not_smuggled(parsed_request const& q) {
  for (auto const& [name, value] : q.fields) {
    require(rt::is_field_name(name), "a field's name is a token");
    require(rt::is_field_value(value), "a field's value has no control characters");
  }
  // The second request is seen as such only if the first ends where it should; its limits are those of the bytes written.
  rt::parse_limits const wide{.header = 1 << 20, .body = 1 << 20, .target = 1 << 19};
  std::string const again = written(q) + "GET /behind HTTP/1.1\r\nHost: h\r\n\r\n";
  outcome const o = parse(again, wide, 0, body_mode::collected);
  require(o.refused == 0, "what was accepted is accepted again");
  require(o.requests.size() == (q.keep_alive ? 2u : 1u), "one request stays one");
  parsed_request const& p = o.requests[0];
  require(p.method == q.method && p.target == q.target && p.path == q.path && p.body == q.body, "it stays the same");
  require(!q.keep_alive || o.requests[1].target == "/behind", "what follows it stays what it is");
  require(std::ranges::count_if(p.fields, [](auto const& f) { return same_name(f.first, "Host"); }) <= 1, "one host");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view const bytes(reinterpret_cast<char const*>(data) + 1, size - 1);
  rt::parse_limits limits;
  if (data[0] & 1) limits = {.header = 256, .body = 64, .target = 32};
  outcome const whole = parse(bytes, limits, 0, body_mode::collected);
  for (auto const& q : whole.requests) check_not_smuggled(q);
  for (std::uint32_t const seed : {0u, 1u, 2u + data[0]}) {
    for (body_mode const mode : {body_mode::collected, body_mode::streamed}) {
      if (seed == 0 && mode == body_mode::collected) continue;
      outcome const split = parse(bytes, limits, seed, mode);
      require(split.requests == whole.requests, "the same requests, however they come");
    }
  }
  return 0;
}
