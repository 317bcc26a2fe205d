// Linux: how many processors and threads this process may have. The reading of control groups stands in cgroup.cpp.
#include "runtime/platform/cgroup.hpp"
#include "runtime/platform/platform.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace weft::rt {
namespace {

/// Without a stream: a program that has no other need not make the locale's facets for this at its start.
std::optional<std::string> read_whole_file(std::string const& path) {
  int const fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  struct closing {
    int fd;
    ~closing() { ::close(fd); }
  } const at_end{fd};
  std::string content;
  for (;;) {
    constexpr std::size_t step = 4096;
    std::size_t const had = content.size();
    content.resize(had + step);
    ssize_t const got = ::read(fd, content.data() + had, step);
    content.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got > 0 || (got < 0 && errno == EINTR)) continue;
    if (got < 0) return std::nullopt;
    return content;
  }
}

unsigned affinity_count() {
  // The kernel refuses a mask smaller than its own, whatever the number of processors that are there.
  for (std::size_t words = 16; words <= 4096; words *= 2) {
    std::vector<unsigned long> mask(words);
    std::size_t const bytes = words * sizeof(unsigned long);
    auto* const set = reinterpret_cast<cpu_set_t*>(mask.data());
    if (::sched_getaffinity(0, bytes, set) == 0) return static_cast<unsigned>(CPU_COUNT_S(bytes, set));
    if (errno != EINVAL) break;
  }
  return static_cast<unsigned>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
}

}  // namespace

unsigned usable_cpus() noexcept {
  int const kept = errno;
  unsigned workers = 1;
  try {
    workers = workers_for(affinity_count(), cgroup_cpu_limit(read_whole_file));
  } catch (std::exception const&) {
    // No memory for a few file names: one worker is a right answer, and the next allocation tells the program.
  }
  errno = kept;
  return workers;
}

unsigned usable_threads() noexcept {
  int const kept = errno;
  constexpr unsigned most = std::numeric_limits<unsigned>::max();
  unsigned threads = most;
  rlimit limit;
  if (::getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    threads = static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur, most));
  try {
    if (auto const group = cgroup_thread_limit(read_whole_file))
      threads = static_cast<unsigned>(std::min<unsigned long>(threads, *group));
  } catch (std::exception const&) {
    // As above: the limit that is known stands.
  }
  errno = kept;
  return threads;
}

}  // namespace weft::rt
