// The server that tasks are measured against: a std::thread for each connection, plain sockets, nothing of weft. It answers GET
// /hello as http_echo does, and knows no more of HTTP than that needs. What differs is the memory of a connection and the CPU time of a request.
//
//   thread_per_connection & sleep 1; http_load --url http://127.0.0.1:8081/hello --connections 10000 --server-pid $!; kill $!
//   http_echo & sleep 1; http_load --url http://127.0.0.1:8080/hello --connections 10000 --server-pid $!; kill $!

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/command_line.hpp"

static constexpr std::string_view answer =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n{\"message\":\"hello world\"}";

static void connection(int fd) {
  std::array<char, 4096> buffer;
  std::size_t have = 0;
  for (ssize_t n; (n = read(fd, buffer.data() + have, buffer.size() - have)) > 0;) {
    have += static_cast<std::size_t>(n);
    std::string_view unread(buffer.data(), have);
    std::string out;  // requests that came together are answered together
    for (std::size_t end; (end = unread.find("\r\n\r\n")) != unread.npos; unread.remove_prefix(end + 4)) out += answer;
    have = unread.size();
    if (!out.empty()) std::memmove(buffer.data(), unread.data(), have);
    if (!out.empty() && send(fd, out.data(), out.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(out.size())) break;
    if (have == buffer.size()) break;  // a header longer than any here
  }
  close(fd);
}

static int failed(std::string const& what) {
  return std::cerr << "thread_per_connection: " << what << ": " << std::generic_category().message(errno) << '\n', 1;
}

int main(int argc, char** argv) {
  std::string host = "127.0.0.1:8081";
  examples::command_line line("thread_per_connection", "A thread for each connection.");
  line.text("--listen", host, "IPv4 address and port; port 0 takes a free one");
  if (auto const status = line.parse(argc, argv)) return *status;
  sockaddr_in at{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {}, .sin_zero = {}};
  socklen_t size = sizeof at;
  auto const colon = host.find(':');
  std::string_view const number = colon == host.npos ? "" : std::string_view(host).substr(colon + 1);
  auto const [end, bad] = std::from_chars(number.data(), number.data() + number.size(), at.sin_port);
  at.sin_port = htons(at.sin_port);
  if (bad != std::errc() || end != number.data() + number.size() ||
      inet_pton(AF_INET, host.substr(0, colon).c_str(), &at.sin_addr) != 1)
    return std::cerr << "thread_per_connection: '" << host << "' is not of the form address:port\n", 2;
  examples::allow_all_descriptors();
  for (int const s : {SIGINT, SIGTERM}) std::signal(s, [](int) { std::_Exit(0); });
  int const listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 || listen(listener, 4096) != 0) return failed(host);
  getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  std::cout << "listening on " << host.substr(0, colon) << ':' << ntohs(at.sin_port) << std::endl;
  try {
    for (int fd; (fd = accept(listener, nullptr, nullptr)) >= 0 || errno == EINTR || errno == ECONNABORTED;)
      if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), std::thread(connection, fd).detach();
  } catch (std::system_error const& e) {
    errno = e.code().value();
  }  // no more threads
  return failed("accept");
}
