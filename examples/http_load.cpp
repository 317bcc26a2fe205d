// A load generator for HTTP/1.1 servers: one task a connection, all of them open before the first request.
//
//   http_load --url http://127.0.0.1:8080/hello --connections 10000 --duration 10s --server-pid $(pidof http_echo)
//
// Without --rate each connection sends its next request as soon as the last is answered. With --rate requests are sent
// on a schedule, and a latency counts from the time the schedule says: a server that stalls cannot hide it,
// and requests that were due and could not be sent are counted.
// Each failure is counted by kind; any failure makes the exit status 1. Ctrl-C ends the run early and still prints the table.
#include <weft/http.hpp>
#include <weft/signal.hpp>
#include <weft/weft.hpp>

#include <boost/histogram.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include <unistd.h>

#include "support/command_line.hpp"

namespace bh = boost::histogram;
namespace net = weft::net;
using namespace std::chrono_literals;
using std::chrono::nanoseconds;

struct settings {
  std::string url = "http://127.0.0.1:8080/hello";
  std::size_t connections = 64;
  double seconds = 10;
  double rate = 0;  // requests a second over all connections; 0: as fast as answers come
  unsigned workers = 0;
  int server_pid = 0;
};

// Nanoseconds in bins a thousandth wide, from a microsecond to a minute: three significant digits. Several tasks may count in one
// at once; there are several, so that they seldom do.
static auto make_histogram() {
  return bh::make_histogram_with(
      bh::dense_storage<bh::accumulators::count<std::uint64_t, true>>(),
      bh::axis::regular<double, bh::axis::transform::log>(static_cast<unsigned>(std::log(6e7) * 1000), 1e3, 6e10));
}
using histogram = decltype(make_histogram());
struct alignas(64) counters {
  histogram latency = make_histogram();
  std::atomic<std::uint64_t> requests{0}, bytes{0}, slowest{0};
};

struct run_state {
  run_state(settings const& all, std::string at, std::string text)
      : set(all), address(std::move(at)), request(std::move(text)) {}

  settings const& set;
  std::string address, request;
  std::array<counters, 8> shards;
  std::atomic<std::size_t> connected{0}, failed{0}, ended{0}, errors{0};
  std::atomic<std::uint64_t> unsent{0};  // though their turn had come
  std::atomic<bool> stop{false};
  std::atomic<weft::time_point> end{};                           // of the run: Ctrl-C brings it forward
  weft::chan<weft::unit> start = weft::make_chan<weft::unit>();  // closed: go
  weft::chan<weft::unit> over = weft::make_chan<weft::unit>();   // closed with `stop`: who waits for its turn need not
  weft::counting_semaphore<> connecting{256};                    // the listener's queue is finite
  weft::guarded<std::map<std::string, std::size_t>> kinds;

  void error(std::string const& kind) {
    ++errors;
    ++(*kinds.lock())[kind];
  }
  std::uint64_t requests() const {
    std::uint64_t n = 0;
    for (auto const& s : shards) n += s.requests;
    return n;
  }
};

/// Reads responses and drops their bodies. Enough of HTTP/1.1 to know where a response ends: Content-Length and chunks.
class response_reader {
 public:
  explicit response_reader(net::tcp_stream& s) : stream_(s) {}

  struct response {
    int status = 0;
    bool close = false;
    std::size_t bytes = 0;
  };
  /// Null: `failure` says why not.
  std::optional<response> next() {
    response r;
    begin_ = end_ = total_ = 0;
    std::size_t head = std::string_view::npos;
    for (std::size_t from = 0; (head = unread().find("\r\n\r\n", from)) == std::string_view::npos;) {
      from = end_ < 3 ? 0 : end_ - 3;
      if (end_ == buffer_.size()) return fail("a response's header is too long");
      if (!fill()) return fail(total_ == 0 ? "closed by the server before a response" : "response cut in the middle");
    }
    std::string_view header = unread().substr(0, head + 2);
    if (!header.starts_with("HTTP/1.") || header.size() < 12) return fail("not an HTTP response");
    std::from_chars(header.data() + 9, header.data() + 12, r.status);
    std::optional<std::size_t> length;
    bool chunked = false;
    for (std::size_t at = header.find("\r\n") + 2; at < header.size();) {
      std::size_t const eol = header.find("\r\n", at);
      std::string_view const line = header.substr(at, eol - at);
      at = eol + 2;
      if (auto v = value(line, "content-length")) {
        std::size_t n = 0;
        std::from_chars(v->data(), v->data() + v->size(), n);
        length = n;
      } else if (value(line, "transfer-encoding")) {
        chunked = true;
      } else if (auto c = value(line, "connection")) {
        r.close = same(*c, "close");
      }
    }
    begin_ += head + 4;
    if (chunked) {
      if (!skip_chunks()) return fail("response cut in the middle");
    } else if (r.status >= 200 && r.status != 204 && r.status != 304) {
      if (!length) return fail("a response without a length");
      if (!skip(*length)) return fail("response cut in the middle");
    }
    if (begin_ != end_) return fail("more bytes than the response has");
    r.bytes = total_;
    return r;
  }
  std::string failure;

 private:
  std::string_view unread() const { return {buffer_.data() + begin_, end_ - begin_}; }

  std::optional<response> fail(char const* why) {
    failure = why;
    if (error_) failure += ": " + error_.message();
    return std::nullopt;
  }

  bool fill() {
    if (begin_ == end_) begin_ = end_ = 0;
    auto n = stream_.read_some(std::span(buffer_).subspan(end_));
    if (!n) error_ = n.error();
    end_ += n.value_or(0);
    total_ += n.value_or(0);
    return n.value_or(0) != 0;
  }

  bool skip(std::size_t n) {
    for (std::size_t now; (now = std::min(n, end_ - begin_)) != n; n -= now) {
      begin_ += now;
      if (!fill()) return false;
    }
    begin_ += n;
    return true;
  }

  /// A line of the chunked coding, with its end.
  std::string line() {
    std::string out;
    while (!out.ends_with('\n') && out.size() < 4096 && (begin_ != end_ || fill())) out += buffer_[begin_++];
    return out.ends_with('\n') ? out : "";
  }

  bool skip_chunks() {
    for (std::size_t n = 1; n != 0;) {
      std::string const header = line();
      if (std::from_chars(header.data(), header.data() + header.size(), n, 16).ec != std::errc()) return false;
      if (n != 0 && !skip(n + 2)) return false;
    }
    for (;;) {  // trailers
      std::string const trailer = line();
      if (trailer.empty() || trailer == "\r\n") return !trailer.empty();
    }
  }

  static bool same(std::string_view a, std::string_view lower) {
    return std::ranges::equal(a, lower, {},
                              [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  }
  static std::optional<std::string_view> value(std::string_view line, std::string_view name) {
    if (line.size() <= name.size() || line[name.size()] != ':' || !same(line.substr(0, name.size()), name))
      return std::nullopt;
    line.remove_prefix(name.size() + 1);
    while (line.starts_with(' ')) line.remove_prefix(1);
    return line;
  }

  net::tcp_stream& stream_;
  std::error_code error_;
  std::size_t begin_ = 0, end_ = 0, total_ = 0;
  std::array<char, 1536> buffer_;  // on the stack of the task
};

static std::optional<net::tcp_stream> connect(run_state& s) {
  weft::permit const one_of_few(s.connecting);
  auto stream = net::tcp_stream::connect(s.address, 30s);
  if (!stream) {
    s.error("connect: " + stream.error().message());
    return std::nullopt;
  }
  stream->set_nodelay(true);
  return std::move(*stream);
}

/// Requests over one connection, until it ends or the run does. True: go on with a new connection.
static bool drive(run_state& s, net::tcp_stream& stream, counters& mine, nanoseconds interval, weft::time_point& due) {
  response_reader reader(stream);
  while (!s.stop.load(std::memory_order_relaxed)) {
    if (interval.count() != 0) {
      (void)s.over.recv_for(due - weft::now());
      if (s.stop) return false;
    }
    weft::time_point const sent = interval.count() != 0 ? due : weft::now();
    due += interval;
    if (auto w = stream.write_all(s.request); !w) return s.error("write: " + w.error().message()), false;
    auto const r = reader.next();
    if (!r) return s.error(reader.failure), false;
    auto const took = static_cast<std::uint64_t>((weft::now() - sent).count());
    mine.latency(static_cast<double>(took));
    mine.requests += 1;
    mine.bytes += r->bytes;
    for (auto most = mine.slowest.load(); took > most && !mine.slowest.compare_exchange_weak(most, took);) {
    }
    if (r->status < 200 || r->status > 299) s.error("status " + std::to_string(r->status));
    if (r->close) return true;
  }
  return false;
}

static void connection(run_state& s, std::size_t index) try {
  weft::defer const over([&s] { ++s.ended; });
  auto stream = connect(s);
  ++(stream ? s.connected : s.failed);
  if (!stream) return;
  s.start.recv();  // till it is closed
  auto const connections = static_cast<double>(s.set.connections);
  double const ns = s.set.rate > 0 ? std::min(1e9 * connections / s.set.rate, 1e17) : 0;  // three years are for ever
  nanoseconds const interval(static_cast<std::int64_t>(ns));
  weft::time_point due =
      weft::now() + nanoseconds(static_cast<std::int64_t>(ns * static_cast<double>(index) / connections));
  weft::defer const late([&] {  // those that a slow server has kept from being sent, or an error
    if (auto const last = std::min(weft::now(), s.end.load()); interval.count() != 0 && due < last)
      s.unsent += static_cast<std::uint64_t>((last - due) / interval) + 1;
  });
  while (stream && drive(s, *stream, s.shards[index % s.shards.size()], interval, due)) stream = connect(s);
} catch (weft::cancelled const&) {
  if (s.stop) s.error("no answer within five seconds of the end");
}

static std::size_t resident_bytes(int pid) {
  if (pid == 0) return 0;
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

static double cpu_seconds(int pid) {
  if (pid == 0) return 0;
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string all((std::istreambuf_iterator<char>(in)), {});
  std::istringstream fields(all.substr(std::min(all.size(), all.rfind(')') + 2)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

/// Nothing if the server does not say, or Ctrl-C comes meanwhile.
static std::string server_tasks(run_state const& s) try {
  auto const r = weft::http::client({.request_timeout = 2s}).get("http://" + s.address + "/stats");
  auto const at = r && r->status() == 200 ? r->body_view().find("\"tasks\":") : std::string::npos;
  if (at == std::string::npos) return "";
  return r->body().substr(at + 8, r->body_view().find_first_not_of("0123456789", at + 8) - at - 8);
} catch (weft::cancelled const&) {
  return "";
}

static void row(char const* name, std::string const& value) {
  std::cout << "  " << std::left << std::setw(28) << name << std::right << std::setw(14) << value << '\n';
}
static std::string number(double v, int digits, char const* unit = "") {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << v << unit;
  return out.str();
}

static void print_latencies(run_state const& s) {
  histogram all = s.shards[0].latency;
  std::uint64_t slowest = 0;
  for (std::size_t i = 1; i < s.shards.size(); ++i) all += s.shards[i].latency;
  for (auto const& c : s.shards) slowest = std::max(slowest, c.slowest.load());
  auto const total = static_cast<double>(s.requests());
  for (auto [name, part] :
       {std::pair("latency p50", 0.5), {"latency p90", 0.9}, {"latency p99", 0.99}, {"latency p99.9", 0.999}}) {
    double below = 0, at = -1;
    for (auto&& bin : bh::indexed(all, bh::coverage::all)) {
      below += static_cast<double>(bin->value());
      if (at < 0 && below >= part * total) at = std::min(bin.bin().upper(), static_cast<double>(slowest));
    }
    row(name, number(at / 1e6, 3, " ms"));
  }
  row("latency max", number(static_cast<double>(slowest) / 1e6, 3, " ms"));
}

/// Sleeps as long as `step` says, and says how far things have got; false: Ctrl-C.
template <class Step, class Done, class Say>
static bool watch(Step step, Done done, Say say) try {
  while (!done()) {
    weft::sleep_for(step());
    say();
  }
  return true;
} catch (weft::cancelled const&) {
  return false;
}

static int run(settings const& set) {
  std::string const rest = set.url.substr(7), host = rest.substr(0, rest.find('/'));
  std::string const path = rest.size() == host.size() ? "/" : rest.substr(host.size());
  bool const has_port = host.find(':', host.starts_with('[') ? host.find(']') : 0) != host.npos;
  run_state s(set, has_port ? host : host + ":80", "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
  auto const [signalled, unsubscribe] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM});
  std::size_t const rss_before = resident_bytes(set.server_pid);
  auto const [connections, cut_off] = weft::with_cancel();
  weft::wait_group running;
  std::size_t open = 0, rss_open = 0, rss_after = 0;
  double cpu = 0;
  std::string tasks;
  nanoseconds took{0};
  double in_time = 0;  // answers until then; those of the requests that were under way come later
  {
    weft::scoped_context const in(connections);  // theirs, so that Ctrl-C does not cut requests
    for (std::size_t i = 0; i < set.connections; ++i) running.go([&s, i] { connection(s, i); });
  }
  {
    weft::scoped_context const in(signalled);
    bool const all = watch([] { return 200ms; }, [&] { return s.connected + s.failed == set.connections; },
                           [&] { std::cout << "connected " << s.connected << '/' << set.connections << std::endl; });
    open = s.connected;
    if (all && open != 0) {
      tasks = server_tasks(s);
      rss_open = resident_bytes(set.server_pid);
      cpu = cpu_seconds(set.server_pid);
      auto const began = weft::now();
      auto const end = began + nanoseconds(static_cast<std::int64_t>(set.seconds * 1e9));
      s.end = end;
      s.start.close();
      std::uint64_t last = 0;
      [[maybe_unused]] bool const whole =
          watch([&] { return std::min<nanoseconds>(1s, end - weft::now()); },
                [&] { return weft::now() >= end || s.ended >= set.connections; },
                [&] {
                  auto const n = s.requests();
                  std::cout << number(std::chrono::duration<double>(weft::now() - began).count(), 0, " s: ") << n - last
                            << " requests, " << s.errors << " errors" << std::endl;
                  last = n;
                });
      s.end = std::min(weft::now(), end);
      took = weft::now() - began;
      in_time = static_cast<double>(s.requests());
    }
  }
  s.stop = true;
  s.start.close();
  s.over.close();
  cpu = cpu_seconds(set.server_pid) - cpu;
  rss_after = resident_bytes(set.server_pid);
  if (!weft::within(5s, [&] { running.wait(); })) cut_off(), running.wait();
  auto const requests = static_cast<double>(s.requests());
  double bytes = 0;
  for (auto const& c : s.shards) bytes += static_cast<double>(c.bytes);
  double const seconds = std::max(1e-9, std::chrono::duration<double>(took).count());
  std::cout << '\n';
  row("connections open at once", std::to_string(open));
  row("requests", number(requests, 0));
  row("requests/s", number(in_time / seconds, 0));
  if (s.unsent != 0) row("due, but not sent", std::to_string(s.unsent));
  if (requests > 0) print_latencies(s);
  row("received", number(bytes / 1e6, 1, " MB"));
  row("errors", std::to_string(s.errors));
  for (auto const& [kind, n] : *s.kinds.lock()) std::cout << "    " << n << " x " << kind << '\n';
  if (set.server_pid && open != 0) {
    for (auto [when, rss] : {std::pair("idle", rss_open), {"loaded", rss_after}}) {
      if (rss == 0) continue;  // not looked at, or the process has gone
      row(("server: RSS, " + std::string(when)).c_str(), number(static_cast<double>(rss) / 1048576, 1, " MiB"));
      row("  a connection",
          number((static_cast<double>(rss) - static_cast<double>(rss_before)) / 1024 / static_cast<double>(open), 2,
                 " KiB"));
    }
    if (in_time > 0 && rss_after != 0) row("server: CPU a request", number(cpu * 1e6 / in_time, 2, " us"));
  }
  if (!tasks.empty()) row("server: tasks", tasks);
  return s.errors == 0 && requests > 0 ? 0 : 1;
}

int main(int argc, char** argv) {
  settings set;
  examples::command_line line("http_load", "Keeps many HTTP connections busy and says how long the answers took.");
  line.text("--url", set.url, "what to GET")
      .number("--connections", set.connections, "connections, a task each", 1, 1'000'000)
      .duration("--duration", set.seconds, "how long: 10s, 500ms, 2m")
      .number("--rate", set.rate, "requests a second in all; 0: as many as go", 0, 1e9)
      .number("--workers,--threads", set.workers, "threads that run tasks; 0: one for each CPU", 0, 1024)
      .number("--server-pid", set.server_pid, "process whose memory and CPU time to show; 0: none", 0, 1 << 30);
  if (auto const status = line.parse(argc, argv)) return *status;
  if (!set.url.starts_with("http://")) return line.refuse("--url", "must begin with http://");
  if (set.seconds < 0.001) return line.refuse("--duration", "must be at least 1ms");
  if (set.server_pid != 0 && resident_bytes(set.server_pid) == 0)
    return line.refuse("--server-pid", std::to_string(set.server_pid) + " is no process whose memory can be read");
  examples::allow_all_descriptors();
  int const status = examples::or_say_why("http_load", [&] { return weft::run({.workers = set.workers}, run, set); });
  return examples::unless_lost("http_load", status);
}
