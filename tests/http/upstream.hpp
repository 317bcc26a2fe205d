// A server for the client that says what it is told to, byte for byte, and keeps what it was asked.
#pragma once

#include "tests/http/harness.hpp"

#include <string>
#include <vector>

namespace http_test {

/// Gives its answers in turn, one a request (of which it reads the header), on however many connections, and behind the last of them
/// no more: a client that waits for more waits until its own time-out. Its address is that of one test, so it runs in a task.
class upstream {
 public:
  explicit upstream(std::vector<std::string> answers) : answers_(std::move(answers)) {
    accepting_ = weft::spawn([this] {
      while (auto s = listener_.accept()) {
        ++accepted;
        connections_.push_back(weft::spawn([this, s = std::move(*s)]() mutable { serve(s); }));
      }
    });
  }
  [[nodiscard]] std::string address() const { return listener_.local_endpoint().to_string(); }
  [[nodiscard]] std::string url() const { return "http://" + address(); }

  int accepted = 0;
  std::vector<std::string> requests;  // their headers

 private:
  void serve(net::tcp_stream& s) {
    std::string in;
    char some[4096];
    for (;;) {
      for (auto end = in.find("\r\n\r\n"); end != in.npos; end = in.find("\r\n\r\n")) {
        requests.push_back(in.substr(0, end + 4));
        in.erase(0, end + 4);
        if (requests.size() <= answers_.size() && !s.write_all(answers_[requests.size() - 1])) return;
      }
      auto const n = s.read_some(some);
      if (!n || *n == 0) return;
      in.append(some, *n);
    }
  }

  std::vector<std::string> answers_;
  net::tcp_listener listener_ = std::move(*net::tcp_listener::bind("127.0.0.1:0"));
  std::vector<weft::join_handle<void>> connections_;
  weft::join_handle<void> accepting_;  // ends first
};

}  // namespace http_test
