// write_file: parts of a file to a stream, and what cannot be sent.
#include "weft/net.hpp"

#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

#include <cstdio>
#include <memory>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace net = weft::net;

namespace {

struct temporary_file {
  explicit temporary_file(std::string const& text) : file(std::tmpfile(), &std::fclose) {
    REQUIRE(file);
    REQUIRE(std::fwrite(text.data(), 1, text.size(), file.get()) == text.size());
    REQUIRE(std::fflush(file.get()) == 0);
  }
  [[nodiscard]] int fd() const { return ::fileno(file.get()); }
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file;
};

std::string rest_of(net::tcp_stream& s) {
  std::string all;
  char some[4096];
  for (;;) {
    auto const n = s.read_some(some);
    if (n.value_or(0) == 0) return all;
    all.append(some, *n);
  }
}

}  // namespace

TEST_CASE("write_file sends the part that it is told to, more than the kernel buffers included") {
  std::string const text = std::string(8'000'000, 'a') + "tail";
  temporary_file const file(text);
  weft::test::with_workers([&] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto writing = weft::spawn([&] {
      auto s = listener.accept().value();
      return s.write_all("head ").has_value() && s.write_file(file.fd(), 2, text.size() - 2).has_value() &&
             s.write_file(file.fd(), text.size() - 4, 4).has_value() && s.write_file(file.fd(), 0, 0).has_value();
    });
    auto s = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
    std::string const got = rest_of(s);
    CHECK(writing.join());
    CHECK(got == "head " + text.substr(2) + "tail");
  });
}

TEST_CASE("write_file says eof if the file ends before, and fails for a peer that is gone without a signal") {
  temporary_file const file(std::string(1'000'000, 'x'));
  weft::test::with_workers([&] {
    auto listener = net::tcp_listener::bind("127.0.0.1:0").value();
    auto s = net::tcp_stream::connect(listener.local_endpoint().to_string()).value();
    auto peer = listener.accept().value();
    auto const beyond = s.write_file(file.fd(), 999'999, 2);
    REQUIRE_FALSE(beyond);
    CHECK(beyond.error() == weft::errc::eof);
    CHECK_FALSE(s.write_file(-1, 0, 1));
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    CHECK(s.write_file(ends[0], 0, 1).error() == std::errc::invalid_argument);
    ::close(ends[0]);
    ::close(ends[1]);
    CHECK(s.write_file(peer.native_handle(), 0, 1).error() == std::errc::invalid_argument);
    peer.close();
    bool failed = false;  // the first bytes are answered with a reset, the next ones fail
    for (int i = 0; i < 100 && !failed; ++i) failed = !s.write_file(file.fd(), 0, 1'000'000);
    CHECK(failed);
    s.close();
    CHECK(s.write_file(file.fd(), 0, 1).error() == weft::errc::closed);
  });
}
