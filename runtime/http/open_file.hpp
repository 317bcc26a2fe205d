// A regular file below a folder, and the part of it that a response sends.
//
// The way down is walked name by name with O_NOFOLLOW, each step relative to the folder opened before: whatever is renamed or linked
// meanwhile, nothing outside of the root can be reached. Rejected: a check of the resolved path (it may change before the open);
// openat2(RESOLVE_BENEATH), which many a container's filter does not know.
#pragma once

#include <weft/http/message.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace weft::rt {

class descriptor {
 public:
  explicit descriptor(int fd) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept;
  descriptor& operator=(descriptor other) noexcept;
  ~descriptor();
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;  // -1: none
};

struct open_file {
  descriptor fd;
  std::uint64_t size;
  std::int64_t modified;  // in seconds
  std::uint32_t modified_ns;
};

enum class no_file {
  absent,
  folder,       // there is one, and the path has no '/' at its end
  unavailable,  // for want of descriptors or memory
  failed
};

/// `path` is decoded, without a '/' at its start. One that ends in '/', or is empty, is that of `index` in a folder.
[[nodiscard]] std::variant<open_file, no_file> open_beneath(descriptor const& root, std::string_view path,
                                                            std::string_view index);

/// The body of a response that is a part of a file: what its callback holds. The connection knows it and sends it by sendfile; nobody calls it.
struct file_part {
  std::shared_ptr<open_file const> file;
  std::uint64_t offset, length;
  void operator()(http::body_writer&) const;
};

/// Null unless the response's body is one.
[[nodiscard]] file_part const* file_of(http::response const& r) noexcept;

}  // namespace weft::rt
