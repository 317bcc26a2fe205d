// Runs a piece of a test in a child process that is expected to die, and tells how it died and what it wrote.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

struct child_end {
  int signal = 0;     // that ended it; 0: it exited
  int exit_code = 0;  // if it exited
  std::string errors;
};

// `body` returns the exit code. The child has the default signal actions: a test framework installs its own.
template <class Body>
child_end run_child(Body body) {
  int ends[2];
  if (::pipe(ends) != 0) return {};
  std::fflush(nullptr);  // else the child has it to write too
  pid_t const child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    for (int const each : {SIGSEGV, SIGBUS, SIGABRT}) ::signal(each, SIG_DFL);
    rlimit const no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::_exit(body());
  }
  ::close(ends[1]);
  child_end end;
  char part[512];
  for (ssize_t got; (got = ::read(ends[0], part, sizeof part)) > 0;)
    end.errors.append(part, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
  return end;
}
