// explore_apart: the search in a child process.
//
//   A1 the seed of the run in progress stands in a page that both share
//   A2 the child writes its result into a pipe, then a line's end, and leaves by _exit
//   A3 a child that ended without that was ended by the program under test, be it by exit(0): the page says in which run
//
// fork is right here although weft's tasks may not: the child has this thread alone, and a simulated run needs no other.

#include <weft/sim.hpp>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <iostream>
#include <new>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/check.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::sim::detail {

namespace {

constexpr char all_said = '\n';  // the last of what a child writes that has come to its end

[[noreturn]] void throw_errno(char const* what) { throw std::system_error(errno, std::system_category(), what); }

void write_all(int fd, std::string const& text) noexcept {
  for (std::size_t done = 0; done < text.size();) {
    ssize_t const n = ::write(fd, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<std::size_t>(n);
  }
}

[[noreturn]] void search(int to, std::atomic<std::uint64_t>& running, unsigned runs, body f, void* arg,
                         options o) noexcept {
  if (int const nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) {
    ::dup2(nowhere, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
  }
  std::uint64_t const first = o.seed;
  for (unsigned i = 0; i < runs; ++i) {
    running.store(first + i, std::memory_order_relaxed);
    o.seed = first + i;
    result const r = explore(1, f, arg, o);
    if (!r.failed) continue;
    write_all(to, r.choices + '\n' + r.what);
    break;
  }
  write_all(to, std::string(1, all_said));
  ::_exit(0);
}

}  // namespace

result explore_apart(unsigned runs, body f, void* arg, options const& o) {
  if (rt::current_task() != nullptr)
    rt::fatal("weft::sim called inside a task: a simulated run is a runtime of its own");
  void* const page =
      ::mmap(nullptr, sizeof(std::atomic<std::uint64_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw_errno("weft::sim: no memory to share");
  auto& running = *new (page) std::atomic<std::uint64_t>(o.seed);  // A1
  std::cout.flush();
  std::fflush(nullptr);
  int ends[2];
  pid_t const child = ::pipe2(ends, O_CLOEXEC) == 0 ? ::fork() : -1;
  if (child < 0) throw_errno("weft::sim: no process for the runs");
  if (child == 0) search(ends[1], running, runs, f, arg, o);
  ::close(ends[1]);
  std::string text;
  char part[4096];
  for (;;) {  // A2
    ssize_t const n = ::read(ends[0], part, sizeof part);
    if (n > 0) text.append(part, static_cast<std::size_t>(n));
    else if (n == 0 || errno != EINTR) break;
  }
  ::close(ends[0]);
  int status = 0;
  pid_t ended = 0;
  do ended = ::waitpid(child, &status, 0);
  while (ended < 0 && errno == EINTR);
  bool const whole = text.ends_with(all_said);  // also where SIGCHLD is ignored, so that there is no status
  if (whole) text.pop_back();
  result r;
  r.seed = running.load(std::memory_order_relaxed);
  r.runs = runs != 0 ? static_cast<unsigned>(r.seed - o.seed) + 1 : 0;
  ::munmap(page, sizeof(std::atomic<std::uint64_t>));
  if (!whole || (ended >= 0 && status != 0)) {  // A3
    r.failed = true;
    r.what = ended < 0             ? "the program was ended"
             : WIFSIGNALED(status) ? "the program was ended by signal " + std::to_string(WTERMSIG(status))
                                   : "the program ended with status " + std::to_string(WEXITSTATUS(status));
  } else if (std::size_t const line = text.find('\n'); line != std::string::npos) {
    r.failed = true;
    r.choices = text.substr(0, line);
    r.what = text.substr(line + 1);
  } else {
    r.seed = 0;
  }
  return r;
}

}  // namespace weft::sim::detail
