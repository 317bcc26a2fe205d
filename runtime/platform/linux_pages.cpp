// Linux: address space and guards. See platform.hpp for the contract.
//
// A guard made by mprotect splits its mapping in two more places, and a process has vm.max_map_count of them (65,530 by
// default), thread stacks, libraries and the user's own included. So weft's guards are counted and stop at three
// quarters of it. MADV_GUARD_INSTALL marks the page tables instead and costs no mapping.
#include "runtime/base/check.hpp"
#include "runtime/platform/fault.hpp"
#include "runtime/platform/platform.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

namespace weft::rt {
namespace {

constexpr int own_thread = -10'000;  // PIDFD_SELF_THREAD of Linux 6.14, which older headers lack

std::size_t read_map_limit() noexcept {
  std::size_t limit = 0;
  int const file = ::open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    char text[32];
    ssize_t const length = ::read(file, text, sizeof text);
    ::close(file);
    for (ssize_t i = 0; i < length && text[i] >= '0' && text[i] <= '9'; ++i)
      limit = limit * 10 + static_cast<std::size_t>(text[i] - '0');
  }
  return limit != 0 ? limit : 65530;
}

std::size_t map_limit() noexcept {
  static std::size_t const limit = read_map_limit();
  return limit;
}

std::atomic<std::size_t> mprotect_guards{0};  // in place now; any thread
std::atomic<bool> told_of_missing_guards{false};

bool guard_by_mprotect(void* start, std::size_t size) noexcept {
  std::size_t const most = map_limit() / 4 * 3 / 2;
  if (mprotect_guards.fetch_add(1, std::memory_order_relaxed) < most && ::mprotect(start, size, PROT_NONE) == 0)
    return true;
  mprotect_guards.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

/// No bytes: how madvise(2) says to ask whether there is such an advice.
bool guard_install_works() noexcept {
  int const kept = errno;
  bool const works = ::madvise(nullptr, 0, MADV_GUARD_INSTALL) == 0;
  errno = kept;
  return works;
}

guard_kind choose_guard() noexcept {
  char const* const text = std::getenv("WEFT_STACK_GUARD");
  std::string_view const wish = text != nullptr ? text : "";
  if (wish == "none") return guard_kind::none;
  if (wish == "mprotect") return guard_kind::mprotect;
  return guard_install_works() ? guard_kind::guard_install : guard_kind::mprotect;
}

}  // namespace

std::size_t page_size() noexcept {
  static std::size_t const size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

void* reserve_pages(std::size_t size) noexcept {
  int const kept = errno;
  void* start = fault(fault_kind::map)
                    ? MAP_FAILED
                    : ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) start = nullptr;
  else ::madvise(start, size, MADV_NOHUGEPAGE);  // fails on kernels without huge pages, where it is not needed
  errno = kept;
  return start;
}

void release_pages(void* start, std::size_t size) noexcept {
  int const kept = errno;
  // It can fail only for want of a mapping, when a hole splits one; the address space is lost then, nothing else.
  ::munmap(start, size);
  errno = kept;
}

void discard_pages(void* start, std::size_t size) noexcept {
  int const kept = errno;
  ::madvise(start, size, MADV_DONTNEED);
  errno = kept;
}

guard_kind preferred_guard() noexcept {
  static guard_kind const kind = choose_guard();
  return kind;
}

guard_kind install_guard(void* start, std::size_t size, guard_kind wanted) noexcept {
  if (wanted == guard_kind::none) return guard_kind::none;
  int const kept = errno;
  guard_kind made = guard_kind::none;
  // Refused for locked memory (mlockall), which mprotect accepts.
  bool const refused = fault(fault_kind::guard);
  if (!refused && wanted == guard_kind::guard_install && ::madvise(start, size, MADV_GUARD_INSTALL) == 0)
    made = guard_kind::guard_install;
  else if (!refused && guard_by_mprotect(start, size)) made = guard_kind::mprotect;
  else if (!told_of_missing_guards.exchange(true, std::memory_order_relaxed))
    warn(
        "stack guards have run out (vm.max_map_count is %zu): an overflow of one of the further stacks is not "
        "noticed; raise vm.max_map_count or use Linux 6.13 or later",
        map_limit());
  errno = kept;
  return made;
}

bool install_guards(void* start, std::size_t size, std::size_t stride, unsigned count) noexcept {
  if (count > most_guards_at_once || fault(fault_kind::guard)) return false;
  ::iovec ranges[most_guards_at_once];
  for (unsigned i = 0; i < count; ++i) ranges[i] = {static_cast<char*>(start) + i * stride, size};
  int const kept = errno;
  long const made = ::syscall(SYS_process_madvise, own_thread, ranges, std::size_t{count}, MADV_GUARD_INSTALL, 0U);
  errno = kept;
  return made == static_cast<long>(count * size);
}

void forget_guards(guard_kind kind, std::size_t count) noexcept {
  if (kind == guard_kind::mprotect) mprotect_guards.fetch_sub(count, std::memory_order_relaxed);
}

}  // namespace weft::rt
