#include "runtime/platform/descriptor.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace weft::rt {

int above_standard(int fd) noexcept {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int const copy = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (copy < 0) return fd;  // there is no place: the program may leave this one alone
  ::close(fd);
  return copy;
}

}  // namespace weft::rt
