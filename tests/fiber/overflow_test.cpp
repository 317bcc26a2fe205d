#include "runtime/fiber/overflow.hpp"

#include "runtime/fiber/stack_pool.hpp"
#include "runtime/platform/symbols.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child.hpp"

#include <cstdlib>
#include <string>
#include <thread>

using namespace weft::rt;

namespace {

stack* running = nullptr;
execution native;

bool describe(void* address, overflow_info& info) {
  if (running == nullptr || !running->guard_contains(address)) return false;
  info.task = 17;
  info.name = "reader";
  info.stack_size = running->size;
  info.spawn_file = "server.cpp";
  info.spawn_line = 42;
  return true;
}

int volatile last_call = 2'000'000'000;

__attribute__((noinline)) int recurse(int n) {
  int volatile room[64];
  room[0] = n;
  return n == last_call ? 0 : recurse(n + 1) + room[0];
}

void overflow_loop(void*) {
  recurse(0);
  ::_exit(99);
}

int overflow_a_stack(guard_kind guard) {
  alternate_stack const signals;
  install_overflow_report(describe);
  stack_pool pool(256 * 1024, guard);
  running = pool.get();
  running->prepare_entry(overflow_loop, nullptr);
  init_native(native);
  thread_globals const here = current_thread_globals();
  switch_to(native, running->exec, here.exceptions, here.errno_pointer);
  return 98;
}

void count_and_leave(int) { ::_exit(77); }

// A handler as crash reporters install it: it says that it was there and calls what stood before it.
struct sigaction below;
void note_and_pass_on(int signal, siginfo_t* info, void* context) {
  [[maybe_unused]] ssize_t const n = ::write(STDERR_FILENO, "noted\n", 6);
  below.sa_sigaction(signal, info, context);
}

void put_above(void (*handler)(int, siginfo_t*, void*), struct sigaction& what_was_there) {
  struct sigaction action{};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigaction(SIGSEGV, &action, &what_was_there);
}

void install_reporter() { put_above(note_and_pass_on, below); }

void report_anew() {
  remove_overflow_report();
  install_overflow_report(describe);
}

int volatile* nowhere = nullptr;

/// The end of a child that has a handler of its own, a report above it, does `steps` and writes to nowhere.
template <class Steps>
auto fault_after(Steps steps) {
  return run_child([steps] {
    ::signal(SIGSEGV, count_and_leave);
    alternate_stack const signals;
    install_overflow_report(describe);
    steps();
    *nowhere = 1;
    return 0;
  });
}

}  // namespace

TEST_CASE(
    "an overflow names the task, its size, where it was spawned and what to set, then the fault ends the process") {
  for (guard_kind const guard : {guard_kind::guard_install, guard_kind::mprotect}) {
    auto const end = run_child([&] { return overflow_a_stack(guard); });
    INFO(end.errors);
    CHECK(end.signal == SIGSEGV);
    CHECK(end.errors.find("weft: stack overflow in task 17 \"reader\" (256 KiB)\n") != end.errors.npos);
    CHECK(end.errors.find("weft: spawned at server.cpp:42\n") != end.errors.npos);
    CHECK(end.errors.find("options::stack_size or task_options::stack_size") != end.errors.npos);
    CHECK(end.errors.find("[0x") != end.errors.npos);
  }
}

TEST_CASE("the report of an endless recursion has the call that began it") {
  child_end const end = run_child([] { return overflow_a_stack(preferred_guard()); });
  INFO(end.errors);
  CHECK(end.errors.find(" calls the outermost:\n") != std::string::npos);
  symbols names;
  std::size_t began = 0;
  for (std::size_t at = 0; (at = end.errors.find("[0x", at)) != std::string::npos; at += 3) {
    auto const address =
        std::strtoull(end.errors.c_str() + at + 1, nullptr, 16);  // as here: the child has not called exec
    if (names.find(reinterpret_cast<void*>(address - 1)).function.find("overflow_loop") != std::string::npos) ++began;
  }
  CHECK(began == 1);
}

TEST_CASE("an overflow on another thread is reported too") {
  auto const end = run_child([] {
    int code = 97;
    std::thread([&] { code = overflow_a_stack(guard_kind::guard_install); }).join();
    return code;
  });
  INFO(end.errors);
  CHECK(end.signal == SIGSEGV);
  CHECK(end.errors.find("stack overflow in task 17") != end.errors.npos);
}

TEST_CASE("an overflow is reported where the program had blocked all signals, which are blocked again afterwards") {
  sigset_t all;
  ::sigfillset(&all);
  auto const end = run_child([&all] {
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    return overflow_a_stack(guard_kind::mprotect);
  });
  CHECK(end.errors.find("stack overflow in task 17") != end.errors.npos);

  auto const later = run_child([&all] {
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    {
      alternate_stack const signals;
    }
    sigset_t now;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &now);
    return ::sigismember(&now, SIGSEGV) == 1 && ::sigismember(&now, SIGBUS) == 1 ? 0 : 1;
  });
  CHECK(later.exit_code == 0);
}

TEST_CASE("a thread's own alternate stack that is too small for the report comes back") {
  static char memory[16 * 1024];
  auto const end = run_child([] {
    stack_t own{};
    own.ss_sp = memory;
    own.ss_size = sizeof memory;
    ::sigaltstack(&own, nullptr);
    {
      alternate_stack const signals;
    }
    stack_t now{};
    ::sigaltstack(nullptr, &now);
    return now.ss_sp == memory && now.ss_size == sizeof memory && (now.ss_flags & SS_DISABLE) == 0 ? 0 : 1;
  });
  CHECK(end.exit_code == 0);
}

TEST_CASE("any other fault goes to the handler that was there before") {
  auto const end = run_child([] {
    ::signal(SIGSEGV, count_and_leave);
    alternate_stack const signals;
    install_overflow_report(describe);
    *nowhere = 1;
    return 0;
  });
  CHECK(end.exit_code == 77);
  CHECK(end.errors.find("stack overflow") == end.errors.npos);
}

TEST_CASE("a handler that was there before finds the signals blocked that it has asked for") {
  auto const end = run_child([] {
    struct sigaction action{};
    action.sa_handler = [](int signal) {
      sigset_t blocked;
      ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
      ::_exit(::sigismember(&blocked, signal) == 0 && ::sigismember(&blocked, SIGUSR1) == 1 ? 77 : 1);
    };
    action.sa_flags = SA_NODEFER;
    ::sigaddset(&action.sa_mask, SIGUSR1);
    ::sigaction(SIGSEGV, &action, nullptr);
    install_overflow_report(describe);
    *nowhere = 1;
    return 0;
  });
  CHECK(end.exit_code == 77);
}

TEST_CASE("any other fault without an earlier handler takes the default action") {
  auto const end = run_child([] {
    install_overflow_report(describe);
    *nowhere = 1;
    return 0;
  });
  CHECK(end.signal == SIGSEGV);
  CHECK(end.errors.find("stack overflow") == end.errors.npos);
}

TEST_CASE("a signal that somebody sends takes the default action") {
  auto const end = run_child([] {
    install_overflow_report(describe);
    ::raise(SIGSEGV);
    return 0;
  });
  CHECK(end.signal == SIGSEGV);
}

TEST_CASE("the last removal puts the earlier handler back") {
  auto const end = run_child([] {
    ::signal(SIGSEGV, count_and_leave);
    install_overflow_report(describe);
    install_overflow_report(describe);
    remove_overflow_report();
    struct sigaction now{};
    ::sigaction(SIGSEGV, nullptr, &now);
    if (now.sa_handler == count_and_leave) return 1;
    remove_overflow_report();
    ::sigaction(SIGSEGV, nullptr, &now);
    return now.sa_handler == count_and_leave ? 0 : 2;
  });
  CHECK(end.exit_code == 0);
}

TEST_CASE("a handler that was put above, and calls what was there, is called once also after the next installation") {
  auto const end = fault_after([] {
    install_reporter();
    report_anew();
  });
  CHECK(end.exit_code == 77);
  CHECK(end.errors == "noted\n");
}

TEST_CASE("an overflow is reported beside a handler that was put above, and calls nothing, in an earlier runtime") {
  auto const end = run_child([] {
    install_overflow_report(describe);
    ::signal(SIGSEGV, count_and_leave);
    remove_overflow_report();
    return overflow_a_stack(guard_kind::mprotect);
  });
  CHECK(end.errors.find("stack overflow in task 17") != end.errors.npos);
}

TEST_CASE("a handler that puts back what was there, and leaves the fault to that, has its say once") {
  auto const end = fault_after([] {
    put_above(
        [](int signal, siginfo_t*, void*) {
          [[maybe_unused]] ssize_t const n = ::write(STDERR_FILENO, "noted\n", 6);
          ::sigaction(signal, &below, nullptr);
        },
        below);
    report_anew();
  });
  CHECK(end.exit_code == 77);
  CHECK(end.errors == "noted\n");
}

TEST_CASE("of handlers that were put above, each beside a report of its own, all have their say") {
  auto const end = fault_after([] {
    static struct sigaction first_below;
    put_above(
        [](int signal, siginfo_t* info, void* context) {
          [[maybe_unused]] ssize_t const n = ::write(STDERR_FILENO, "first\n", 6);
          first_below.sa_sigaction(signal, info, context);
        },
        first_below);
    report_anew();
    install_reporter();
    report_anew();
  });
  CHECK(end.exit_code == 77);
  CHECK(end.errors == "noted\nfirst\n");
}

TEST_CASE("who puts back the handler of a report that has been removed does not make it its own predecessor") {
  auto const end = fault_after([] {
    install_reporter();
    remove_overflow_report();
    ::sigaction(SIGSEGV, &below, nullptr);
    install_overflow_report(describe);
  });
  CHECK(end.exit_code == 77);
  CHECK(end.errors.empty());
}
