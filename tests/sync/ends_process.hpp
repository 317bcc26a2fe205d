// Runs something that is to end the process in a child, and says how the child ended and what it said.
#pragma once

#include <csignal>
#include <cstddef>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weft::test {

struct child_end {
  bool aborted = false;
  std::string said;  // on standard error
};

template <class F>
child_end run_in_child(F&& f) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  pid_t const child = ::fork();
  if (child == 0) {
    rlimit const none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    std::signal(SIGABRT, SIG_DFL);  // Catch2 would report the abort as a failed test
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    f();
    ::_exit(0);
  }
  ::close(ends[1]);
  child_end end;
  char buffer[512];
  for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    end.said.append(buffer, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  end.aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  return end;
}

}  // namespace weft::test
