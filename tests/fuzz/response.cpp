// Arbitrary bytes as a server's answer to the client: how they are split makes no difference, and limits hold.
//
// The first byte of the input chooses limits, whether it is the answer to a HEAD, and the splits.
#include "runtime/http/parser.hpp"
#include "runtime/http/state.hpp"

#include "tests/fuzz/require.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rt = weft::rt;
namespace http = weft::http;
using outcome = rt::response_parser::outcome;

namespace {

struct answer {
  outcome state = outcome::more;
  int status = 0;
  std::string fields, body, behind;
};

answer parse(std::string_view bytes, rt::parse_limits const& limits, bool to_head, std::size_t piece) {
  rt::response_parser parser(limits, to_head);
  std::string unread;
  for (std::size_t given = 0; parser.state() == outcome::more && given < bytes.size(); given += piece) {
    unread += bytes.substr(given, piece);
    std::size_t const n = parser.feed(unread);
    require(n <= unread.size(), "the parser takes no more than it was given");
    unread.erase(0, n);
  }
  parser.end();
  answer a;
  a.state = parser.state();
  if (a.state != outcome::done) return a;
  http::response r = parser.take();
  a.status = r.status();
  a.fields = rt::http_access::fields(r);
  a.body = std::move(r).body();
  require(a.body.size() <= limits.body, "a body within its limit");
  return a;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view const bytes(reinterpret_cast<char const*>(data) + 1, size - 1);
  rt::parse_limits limits;
  if (data[0] & 1) limits = {.header = 256, .body = 64, .target = 0};
  bool const to_head = (data[0] & 2) != 0;
  answer const whole = parse(bytes, limits, to_head, bytes.size() + 1);
  for (std::size_t const piece : {std::size_t{1}, std::size_t{2} + data[0] / 4}) {
    answer const split = parse(bytes, limits, to_head, piece);
    bool const failed = split.state != outcome::done, failed_whole = whole.state != outcome::done;
    require(failed == failed_whole, "accepted or not, however it comes");
    require(split.status == whole.status && split.fields == whole.fields && split.body == whole.body,
            "the same response, however it comes");
  }
  return 0;
}
