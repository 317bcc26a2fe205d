// A server in a runtime, and a client that speaks bytes: what the end-to-end tests of HTTP have in common.
#pragma once

#include "weft/context.hpp"
#include "weft/http.hpp"
#include "weft/run.hpp"
#include "weft/sim.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/simulated_seeds.hpp"

#include <charconv>
#include <chrono>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace http_test {

using namespace std::chrono_literals;
namespace http = weft::http;
namespace net = weft::net;

/// In a task: calls f(address, server) beside a server with these routes, then shuts it down.
template <class F>
void beside_server(auto& make_routes, http::server_options const& options, F& f) {
  http::server server(make_routes(), options);
  auto const at = server.listen("127.0.0.1:0");
  REQUIRE(at);
  auto serving = weft::spawn([&] { server.serve(); });
  f(at->to_string(), server);
  server.shutdown(5s);
  serving.join();
}

/// f() with 1 and 2 workers and the kernel's sockets.
void on_the_machine(auto f) {
  for (unsigned workers : {1u, 2u}) {
    CAPTURE(workers);
    weft::options o;
    o.workers = workers;
    weft::run(o, f);
  }
}

/// And in simulated runs, whose network delays and splits what is sent.
void everywhere(auto f) {
  on_the_machine(f);
  for (std::uint64_t seed = 0; seed != weft::test::simulated_seeds; ++seed) {
    CAPTURE(seed);
    weft::sim::run(seed, f);
  }
}

template <class F>
void with_server_on_the_machine(auto make_routes, http::server_options options, F f) {
  on_the_machine([&] { beside_server(make_routes, options, f); });
}

template <class F>
void with_server(auto make_routes, http::server_options options, F f) {
  everywhere([&] { beside_server(make_routes, options, f); });
}

inline std::error_code error_of(weft::result<http::response> const& r) { return r ? std::error_code() : r.error(); }

/// A connection for hand-made bytes.
class wire {
 public:
  explicit wire(std::string const& address) : wire(std::move(*net::tcp_stream::connect(address))) {}
  explicit wire(net::stream_base stream) : stream_(std::move(stream)) {
    stream_.set_read_deadline(weft::now() + 20s);  // a test that waits for what never comes fails rather than hangs
  }
  wire& send(std::string_view bytes) {
    if (auto const w = stream_.write_all(bytes); !w)
      throw std::system_error(w.error(), "wire::send");  // no REQUIRE: many tasks send
    return *this;
  }
  /// The next response: status line, header and body, by Content-Length; everything up to the end without one.
  std::string response(bool has_body = true) {
    for (;;) {
      if (auto const end = in_.find("\r\n\r\n"); end != in_.npos) {
        auto const at = in_.find("Content-Length: ");
        std::size_t length = 0;  // not by std::stoul: it uses errno, whose address must not be kept across more()
        if (at < end && has_body) std::from_chars(in_.data() + at + 16, in_.data() + end, length);
        if (in_.size() >= end + 4 + length) {
          std::string r = in_.substr(0, end + 4 + length);
          in_.erase(0, r.size());
          return r;
        }
      }
      if (!more()) return std::exchange(in_, {});
    }
  }
  /// All up to and including `mark`, or up to the end of the stream.
  std::string until(std::string_view mark) {
    for (;;) {
      if (auto const at = in_.find(mark); at != in_.npos) {
        std::string r = in_.substr(0, at + mark.size());
        in_.erase(0, r.size());
        return r;
      }
      if (!more()) return std::exchange(in_, {});
    }
  }
  /// All there is up to the end of the stream.
  std::string rest() {
    while (more()) {
    }
    return std::exchange(in_, {});
  }
  net::stream_base& stream() { return stream_; }

 private:
  bool more() {
    char buffer[4096];
    auto const n = stream_.read_some(buffer);
    if (!n) in_ += "<" + n.error().message() + ">";
    in_.append(buffer, n.value_or(0));
    return n.value_or(0) != 0;
  }
  net::stream_base stream_;
  std::string in_;
};

inline int status_of(std::string_view response) {
  return response.starts_with("HTTP/1.1 ") ? std::stoi(std::string(response.substr(9, 3))) : 0;
}
inline std::string body_of(std::string_view response) {
  auto const end = response.find("\r\n\r\n");
  return std::string(end == response.npos ? "" : response.substr(end + 4));
}
inline bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

inline std::string get(std::string_view path, std::string_view fields = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: t\r\n" + std::string(fields) + "\r\n";
}

}  // namespace http_test
