// GET /hello, GET /hello/NAME and POST /echo from a bare epoll loop: what a server costs that has no tasks, no router and no handlers.
//
// Each thread has a listener of its own on the shared port (SO_REUSEPORT), an epoll instance, and one buffer to read into.
// A connection costs a descriptor and two words, and memory only while half a request or half a response waits. One read and
// one write a request; a short read has emptied the socket, so nothing is read to be told EAGAIN. Pipelined requests that came
// in one read are answered by one write. The answer is byte for byte that of examples/http_echo.
//
// It is a server for this one measurement: a body has a Content-Length (411), the first line decides (404 for any other path, which is
// not decoded), a header over 16 KiB or a body over 1 MiB ends the connection.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t largest_header = 16 * 1024, largest_body = 1024 * 1024;

[[noreturn]] void die(char const* what) {
  std::fprintf(stderr, "epoll: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

struct waiting_bytes {
  std::string in;          // the beginning of a request
  std::size_t needed = 0;  // bytes of the whole request, once that is known
  std::string out;         // what the socket did not take; the connection is not read meanwhile
  bool close = false;
};

bool begins_no_case(std::string_view line, std::string_view lower) {
  if (line.size() < lower.size()) return false;
  for (std::size_t i = 0; i < lower.size(); ++i) {
    char const c = line[i];
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i]) return false;
  }
  return true;
}

class loop {
 public:
  explicit loop(int listener) : listener_(listener), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) die("epoll_create1");
    watch(listener_, EPOLLIN, EPOLL_CTL_ADD);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 512> events;
    for (;;) {
      int const n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      if (n < 0 && errno != EINTR) die("epoll_wait");
      for (int i = 0; i < n; ++i) {
        int const fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == listener_) accept_all();
        else if (!serve(fd, events[static_cast<std::size_t>(i)].events)) close_connection(fd);
      }
    }
  }

 private:
  void watch(int fd, std::uint32_t what, int how) const {
    epoll_event e{};
    e.events = what;
    e.data.fd = fd;
    if (::epoll_ctl(epoll_, how, fd, &e) != 0) die("epoll_ctl");
  }

  void accept_all() {
    for (;;) {
      int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE) die("accept4");  // nothing could be measured
        return;
      }
      if (waiting_.size() <= static_cast<std::size_t>(fd)) waiting_.resize(static_cast<std::size_t>(fd) * 2 + 1);
      watch(fd, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);  // TCP_NODELAY is the listener's
    }
  }

  void close_connection(int fd) {
    waiting_[static_cast<std::size_t>(fd)].reset();
    ::close(fd);
  }

  waiting_bytes& waiting(int fd) {
    auto& w = waiting_[static_cast<std::size_t>(fd)];
    if (!w) w = std::make_unique<waiting_bytes>();
    return *w;
  }

  /// False: the connection is at its end.
  bool serve(int fd, std::uint32_t events) {
    auto& before = waiting_[static_cast<std::size_t>(fd)];
    if (before && !before->out.empty()) {
      if ((events & EPOLLOUT) == 0) return (events & (EPOLLERR | EPOLLHUP)) == 0;
      out_ = std::move(before->out);
      before->out.clear();
      bool const close = before->close;
      if (!write(fd, close)) return false;
      if (!out_.empty()) return true;
      watch(fd, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
      return !close;
    }
    std::string pieces;  // a request that comes in more than one read goes on where it began
    std::string_view in;
    if (before) {
      pieces = std::move(before->in);
      std::size_t const have = pieces.size(), room = std::max(before->needed, have + largest_header);
      before.reset();
      ssize_t n = 0;
      pieces.resize_and_overwrite(room, [&](char* to, std::size_t) {
        n = ::read(fd, to + have, room - have);
        return have + static_cast<std::size_t>(std::max<ssize_t>(n, 0));
      });
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
      in = pieces;
    } else {
      ssize_t const n = ::read(fd, buffer_.data(), buffer_.size());
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) return false;
      in = {buffer_.data(), static_cast<std::size_t>(n)};
    }
    out_.clear();
    bool close = false;
    std::size_t needed = 0;
    while (!in.empty() && !close) {
      std::size_t const end = in.find("\r\n\r\n");
      if (end == in.npos) break;
      request q = understand(in.substr(0, end + 2));
      needed = end + 4 + q.length;
      if (q.length > largest_body) return false;
      if (in.size() < needed) break;
      close = q.close;
      answer(q, in.substr(0, end), in.substr(end + 4, q.length), in.size() == needed);
      in.remove_prefix(needed);
      needed = 0;
    }
    bool const sent_all = out_.empty() || write(fd, close);
    if (!sent_all) return false;
    if (close) return !out_.empty();
    if (!in.empty()) {
      if (needed == 0 && in.size() > largest_header) return false;
      waiting_bytes& w = waiting(fd);
      if (in.data() == pieces.data()) w.in = std::move(pieces);
      else w.in = in;
      w.needed = needed;
    }
    return true;
  }

  struct request {
    std::size_t length = 0;
    bool close = false, chunked = false;
  };

  static request understand(std::string_view header) {
    std::size_t const line = header.find("\r\n");
    bool const http11 = header.substr(0, line).ends_with(" HTTP/1.1");
    request q{.close = !http11};
    for (std::size_t at = line + 2; at < header.size();) {
      std::size_t const end = header.find("\r\n", at);
      std::string_view const field = header.substr(at, end - at);
      at = end + 2;
      if (begins_no_case(field, "connection:")) {
        q.close = field.find("close") != field.npos || !http11;
      } else if (begins_no_case(field, "content-length:")) {
        std::size_t const digits = std::min(field.find_first_not_of(' ', sizeof "content-length:" - 1), field.size());
        std::from_chars(field.data() + digits, field.data() + field.size(), q.length);
      } else if (begins_no_case(field, "transfer-encoding:")) {
        q.chunked = q.close = true;
      }
    }
    return q;
  }

  /// Appends the answer to a request. A large body of the last one that has come is sent from where it is.
  void answer(request const& q, std::string_view header, std::string_view body, bool last) {
    constexpr std::string_view named = "GET /hello/", text = "text/plain; charset=utf-8", json = "application/json";
    if (q.chunked) {
      put("411 Length Required", text, "no chunks here\n", true);
    } else if (header.starts_with("GET /hello ")) {
      put("200 OK", json, "{\"message\":\"hello world\"}", q.close);
    } else if (header.starts_with(named)) {
      body_.assign("{\"message\":\"hello ");
      body_.append(header.substr(named.size(), header.find(' ', named.size()) - named.size())).append("\"}");
      put("200 OK", json, body_, q.close);
    } else if (header.starts_with("POST /echo ")) {
      put("200 OK", "application/octet-stream", body, q.close, last && body.size() > largest_header);
    } else {
      put("404 Not Found", text, "Not Found\n", q.close);
    }
  }

  void put(std::string_view status, std::string_view type, std::string_view body, bool close,
           bool from_where_it_is = false) {
    char digits[8];
    auto const end = std::to_chars(digits, digits + sizeof digits, body.size()).ptr;
    out_.append("HTTP/1.1 ")
        .append(status)
        .append("\r\nDate: ")
        .append(date())
        .append("\r\nContent-Type: ")
        .append(type);
    out_.append("\r\nContent-Length: ")
        .append(digits, end)
        .append(close ? "\r\nConnection: close\r\n\r\n" : "\r\n\r\n");
    if (from_where_it_is) tail_ = body;
    else out_.append(body);
  }

  /// Made anew once a second.
  std::string_view date() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != date_second_) {
      date_second_ = now.tv_sec;
      tm parts{};
      ::gmtime_r(&date_second_, &parts);
      date_.resize(64);
      date_.resize(std::strftime(date_.data(), date_.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts));
    }
    return date_;
  }

  /// Sends out_ and tail_; what does not go is kept for when it does.
  bool write(int fd, bool close) {
    iovec parts[] = {{out_.data(), out_.size()}, {const_cast<char*>(tail_.data()), tail_.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    ssize_t const n =
        tail_.empty() ? ::send(fd, out_.data(), out_.size(), MSG_NOSIGNAL) : ::sendmsg(fd, &message, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return false;
    std::size_t const sent = n < 0 ? 0 : static_cast<std::size_t>(n), of_out = std::min(sent, out_.size());
    out_.erase(0, of_out);
    out_.append(tail_.substr(sent - of_out));
    tail_ = {};
    if (out_.empty()) return true;
    waiting_bytes& w = waiting(fd);
    w.out = out_;
    w.close = close;
    watch(fd, EPOLLOUT | EPOLLRDHUP, EPOLL_CTL_MOD);
    return true;
  }

  int listener_, epoll_;
  std::vector<std::unique_ptr<waiting_bytes>> waiting_;  // by descriptor
  std::vector<char> buffer_ = std::vector<char>(8 * largest_header);
  std::string out_, body_, date_;
  std::string_view tail_;  // of what is to be sent, in what has been read
  std::time_t date_second_ = -1;
};

int listen_on(sockaddr_in& at) {
  int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int const on = 1;
  if (fd < 0) die("socket");
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  socklen_t size = sizeof at;
  if (::bind(fd, reinterpret_cast<sockaddr const*>(&at), size) != 0) die("bind");
  if (::listen(fd, 4096) != 0) die("listen");
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0) die("getsockname");
  return fd;
}

std::optional<sockaddr_in> address_of(std::string_view text) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  std::size_t const colon = text.find(':');
  if (colon == text.npos || ::inet_pton(AF_INET, std::string(text.substr(0, colon)).c_str(), &at.sin_addr) != 1)
    return std::nullopt;
  std::uint16_t port = 0;
  auto const [end, e] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  if (e != std::errc() || end != text.data() + text.size()) return std::nullopt;
  at.sin_port = htons(port);
  return at;
}

int usage() {
  std::fputs(
      "usage: bench_peer_epoll [--listen IPv4:PORT] [--threads N]   (port 0: a free one; default one thread a CPU)\n",
      stderr);
  return 2;
}

unsigned cpus() {
  cpu_set_t mine;
  return ::sched_getaffinity(0, sizeof mine, &mine) == 0 ? static_cast<unsigned>(CPU_COUNT(&mine)) : 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto at = address_of("127.0.0.1:8080");
  unsigned threads = cpus();
  for (int i = 1; i < argc; i += 2) {
    std::string_view const option = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (option == "--listen") at = address_of(value);
    else if (option == "--threads")
      threads = static_cast<unsigned>(std::strtoul(std::string(value).c_str(), nullptr, 10));
    else return usage();
    if (!at || threads == 0 || threads > 1024) return usage();
  }
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) files.rlim_cur = files.rlim_max, ::setrlimit(RLIMIT_NOFILE, &files);
  std::vector<int> listeners;  // all before the first thread: connections are spread over those that listen
  for (unsigned i = 0; i < threads; ++i) listeners.push_back(listen_on(*at));
  char host[INET_ADDRSTRLEN] = {};
  ::inet_ntop(AF_INET, &at->sin_addr, host, sizeof host);
  std::printf("listening on %s:%u\n", host, static_cast<unsigned>(ntohs(at->sin_port)));
  std::fflush(stdout);
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back([fd = listeners[i]] { loop(fd).run(); });
  loop(listeners[0]).run();
}
