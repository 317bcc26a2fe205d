// Every system call of the runtime's fails in turn, over a program that uses all of it. Whatever fails: the program does all its work in the
// end, or ends with an error that docs/testing.md names; nothing is lost and nothing hangs.
#include <weft/net.hpp>
#include <weft/weft.hpp>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <time.h>
#include <unistd.h>

#include "runtime/base/sanitizer.hpp"
#include "runtime/platform/fault.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

using namespace std::chrono_literals;
using weft::rt::fault_kind;
using weft::rt::fault_plan;

namespace {

constexpr std::uint32_t for_ever = UINT32_MAX;
constexpr int incomplete = 1, surfaced = 10, stuck_in_shutdown = 70;

/// What a call said that did not do its work: a value or an exception, both documented. Tried again; a lasting fault gets out at last.
template <class F>
auto persist(F f) {
  for (int tries = 0;; ++tries) {
    try {
      if constexpr (requires { f().has_value(); }) {
        auto got = f();
        if (got.has_value()) return std::move(*got);
        throw std::system_error(got.error());
      } else {
        return f();
      }
    } catch (std::system_error const&) {
      if (tries == 20) throw;
    }
    if (weft::this_task::id() != 0) weft::sleep_for(1ms);
    else std::this_thread::sleep_for(1ms);
  }
}

/// 100 tasks wait, each with a stack, some with a large one; each is given a number, and their sum comes back.
bool parked_tasks_get_their_values() {
  auto [in_tx, in_rx] = weft::make_ends<int>(0);
  auto [out_tx, out_rx] = weft::make_ends<int>(0);
  constexpr int n = 100;
  for (int i = 0; i < n; ++i)
    persist([&] {
      weft::go(weft::task_options{.stack_size = i % 10 == 0 ? std::size_t{1} << 20 : 0}, [in = in_rx, out = out_tx] {
        auto const number = in.recv();
        (void)out.push(number.value_or(0));  // nobody receives where the failure came out
      });
    });
  auto feeder = persist([&] {
    return weft::spawn([tx = in_tx] {
      for (int i = 1; i <= n; ++i) tx.send(i);
    });
  });
  int sum = 0;
  for (int i = 0; i < n; ++i) sum += out_rx.recv().value_or(0);
  feeder.join();
  return sum == n * (n + 1) / 2;
}

/// One exchange: connect, send, read the same back.
weft::result<bool> echoed(std::string const& address, std::string const& what) {
  auto stream = weft::net::tcp_stream::connect(address, 5s);
  if (!stream) return std::unexpected(stream.error());
  stream->set_read_deadline(weft::now() + 10s);
  if (auto sent = stream->write_all(what); !sent) return std::unexpected(sent.error());
  std::string back(what.size(), '\0');
  if (auto got = stream->read_exact(back); !got) return std::unexpected(got.error());
  return back == what;
}

void echo(weft::net::tcp_stream stream) {
  char part[512];
  for (;;) {
    auto const n = stream.read_some(part);
    if (!n || *n == 0 || !stream.write_all(std::string_view(part, *n))) return;  // the client tries again
  }
}

/// Eight clients, and a plain thread, each until its exchange has come about.
bool clients_are_served() {
  auto listener = persist([] { return weft::net::tcp_listener::bind("127.0.0.1:0"); });
  std::string const address = listener.local_endpoint().to_string();
  auto server = persist([&] {
    return weft::spawn([&] {
      for (;;) {
        auto stream = listener.accept();
        if (!stream && stream.error() == weft::errc::closed) return;
        if (!stream) continue;  // it could not be waited for
        try {
          weft::go([s = std::move(*stream)]() mutable { echo(std::move(s)); });
        } catch (std::system_error const&) {  // no stack: the client sees its connection end
        }
      }
    });
  });
  std::vector<weft::join_handle<bool>> clients;
  for (int i = 0; i < 8; ++i)
    clients.push_back(persist([&] {
      return weft::spawn([&, i] {
        std::string const what(1000, static_cast<char>('a' + i));
        return persist([&] { return echoed(address, what); });
      });
    }));
  bool all = true;
  for (auto& c : clients) all &= c.join();
  std::atomic<int> by_thread{0};
  std::string error;
  std::thread outside([&] {
    try {
      by_thread = persist([&] { return echoed(address, "from a plain thread"); }) ? 1 : -1;
    } catch (std::system_error const& e) {
      error = e.what();
      by_thread = -1;
    }
  });
  // Not in blocking(): where no thread is to be had, that would keep the only worker from the server's tasks, as it says.
  while (by_thread == 0) weft::sleep_for(1ms);
  outside.join();
  listener.close();
  server.join();
  if (!error.empty()) throw std::runtime_error(error);
  return all && by_thread == 1;
}

/// Tasks in system calls, while another goes on.
bool others_go_on_beside_blocked_tasks() {
  std::vector<weft::join_handle<void>> blocked;
  for (int i = 0; i < 4; ++i)
    blocked.push_back(persist([] {
      return weft::spawn([] {
        timespec const d{0, 5'000'000};
        ::nanosleep(&d, nullptr);
      });
    }));
  int turns = 0;
  for (; turns < 10; ++turns) weft::sleep_for(1ms);
  for (auto& b : blocked) b.join();
  return turns == 10;
}

bool a_signal_is_received() {
  auto const signals = persist([] { return weft::signals({SIGUSR1}); });
  ::raise(SIGUSR1);
  return signals.recv_for(10s).value_or(0) == SIGUSR1;
}

bool a_name_is_looked_up() {
  auto const found = weft::net::resolve(std::string(64, 'a') +
                                        ":80");  // a label too long: the system refuses it without asking a server
  return !found && found.error();
}

/// In a child process. Says on stderr what was seen, for the test to read.
int everything(fault_plan const& plan) {
  ::alarm(weft::rt::tsan ? 100 : 40);  // a hang ends by SIGALRM
  weft::rt::arm_fault(plan);
  int outcome = 0;
  try {
    weft::options o;
    o.workers = 2;
    o.shutdown_grace = 2s;
    weft::runtime r(o);
    r.run([&] {
      if (!parked_tasks_get_their_values() || !clients_are_served() || !others_go_on_beside_blocked_tasks() ||
          !a_signal_is_received() || !a_name_is_looked_up())
        outcome = incomplete;
    });
    r.shutdown();
    if (r.metrics().live != 0) outcome = incomplete;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "surfaced: %s\n", e.what());
    outcome = surfaced;
  }
  std::fprintf(stderr, "calls: %u\n", weft::rt::disarm_fault());
  return outcome;
}

bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

std::uint32_t calls_in(std::string const& errors) {
  std::size_t const at = errors.find("calls: ");
  return at == std::string::npos ? 0 : static_cast<std::uint32_t>(std::stoul(errors.substr(at + 7)));
}

/// One row of the table in docs/testing.md.
struct row {
  char const* what;
  fault_kind kind;
  int error;
  std::uint32_t times;   // in a row
  char const* surfaces;  // the first call's failure comes out of the runtime's constructor, as this text; null: never
  bool may_surface;      // a lasting one may come out of what was tried
  char const* fatal;     // or end the process, with this message; null: never
};

constexpr row rows[] = {
    {"mmap, once", fault_kind::map, ENOMEM, 1, nullptr, false, nullptr},
    {"mmap, for good", fault_kind::map, ENOMEM, for_ever, nullptr, true, "no stack"},
    {"guard, for good", fault_kind::guard, ENOMEM, for_ever, nullptr, false, nullptr},
    {"epoll_create1", fault_kind::epoll_create, EMFILE, 1, "weft: cannot open the poller", false, nullptr},
    {"epoll_ctl, once", fault_kind::epoll_add, ENOSPC, 1, "weft: cannot open the poller", false, nullptr},
    {"epoll_ctl, three times", fault_kind::epoll_add, ENOMEM, 3, "weft: cannot open the poller", false, nullptr},
    {"epoll_wait, EINTR", fault_kind::epoll_wait, EINTR, 1, nullptr, false, nullptr},
    {"epoll_wait, EINTR, a thousand times", fault_kind::epoll_wait, EINTR, 1000, nullptr, false, nullptr},
    {"eventfd, once", fault_kind::eventfd, EMFILE, 1, "weft: cannot open the poller", false, nullptr},
    {"eventfd, for good", fault_kind::eventfd, EMFILE, for_ever, "weft: cannot open the poller", true, nullptr},
    {"accept4, EMFILE", fault_kind::accept, EMFILE, 1, nullptr, false, nullptr},
    {"accept4, ENOMEM, three times", fault_kind::accept, ENOMEM, 3, nullptr, false, nullptr},
    {"accept4, ECONNABORTED", fault_kind::accept, ECONNABORTED, 1, nullptr, false, nullptr},
    {"accept4, EINTR", fault_kind::accept, EINTR, 1, nullptr, false, nullptr},
    {"socket, once", fault_kind::socket, EMFILE, 1, nullptr, false, nullptr},
    {"socket, for good", fault_kind::socket, ENFILE, for_ever, nullptr, true, nullptr},
    {"thread, once", fault_kind::thread, EAGAIN, 1, nullptr, false, nullptr},
    {"thread, for good", fault_kind::thread, EAGAIN, for_ever, nullptr, true, "cannot start a worker thread"},
};

void let_fail(row const& r, std::uint32_t from) {
  INFO(r.what << ", from call " << from);
  child_end const end = run_child([&] { return everything({r.kind, from, r.times, r.error}); });
  INFO("signal " << end.signal << ", status " << end.exit_code << "\n" << end.errors);
  if (end.signal != 0) {
    REQUIRE(end.signal == SIGABRT);  // SIGALRM: it hung
    REQUIRE(r.fatal != nullptr);
    CHECK(contains(end.errors, r.fatal));
  } else if (end.exit_code == surfaced) {
    CHECK((r.may_surface || r.surfaces != nullptr));
    if (!r.may_surface) CHECK(contains(end.errors, std::string("surfaced: ") + r.surfaces));
  } else if (end.exit_code == stuck_in_shutdown) {
    CHECK(r.kind == fault_kind::map);  // a task that never had a stack
    CHECK(r.times == for_ever);
    CHECK(contains(end.errors, "weft: shutdown: these tasks did not end within the grace"));
    CHECK(contains(end.errors, "has not begun"));
  } else {
    CHECK(end.exit_code == 0);
  }
}

}  // namespace

TEST_CASE("whichever system call fails, the work is done or an error that is documented comes out", "[net][faults]") {
  for (row const& r : rows) {
    child_end const whole = run_child([&] { return everything({r.kind, for_ever, 1, r.error}); });
    INFO(r.what << "\n" << whole.errors);
    REQUIRE(whole.signal == 0);
    REQUIRE(whole.exit_code == 0);
    std::uint32_t const calls = calls_in(whole.errors);
    REQUIRE(calls > 0);
    // Each in turn; of the kinds with very many calls the first ones, and then ever fewer. A sanitizer's runs take longer, and a process
    // ends a second later under ThreadSanitizer.
    std::uint32_t const sparse = weft::rt::tsan ? 1 : weft::rt::asan ? 3 : 20;
    for (std::uint32_t k = 1; k <= calls; k += 1 + k / sparse) let_fail(r, k);
  }
}

TEST_CASE("a fault that is armed for one kind leaves the others alone", "[net][faults]") {
  weft::rt::arm_fault({fault_kind::guard, 2, 2, EPERM});
  CHECK_FALSE(weft::rt::fault(fault_kind::map));
  CHECK_FALSE(weft::rt::fault(fault_kind::guard));
  errno = 0;
  CHECK(weft::rt::fault(fault_kind::guard));
  CHECK(errno == EPERM);
  CHECK(weft::rt::fault(fault_kind::guard));
  CHECK_FALSE(weft::rt::fault(fault_kind::guard));
  CHECK(weft::rt::disarm_fault() == 4);
  CHECK_FALSE(weft::rt::fault(fault_kind::guard));
}
