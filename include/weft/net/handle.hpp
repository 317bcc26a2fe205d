// The counted reference to an open descriptor that every socket type holds. Not for applications.
#pragma once

#include <utility>

#include <weft/error.hpp>

namespace weft::rt {
struct io_slot;
}

namespace weft::detail {

/// Copies share the descriptor; the last one closes it. Operations may run while another task closes, not while the handle
/// itself is assigned to or destroyed.
class io_handle {
 public:
  io_handle() noexcept = default;
  explicit io_handle(rt::io_slot* adopted) noexcept : slot_(adopted) {}
  io_handle(io_handle const& other) noexcept;
  io_handle(io_handle&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  io_handle& operator=(io_handle other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~io_handle() {
    if (slot_ != nullptr) release();
  }

  /// Null: moved from, or never opened; operations then say errc::closed.
  [[nodiscard]] rt::io_slot* slot() const noexcept { return slot_; }

 private:
  void release() noexcept;

  rt::io_slot* slot_ = nullptr;
};

}  // namespace weft::detail
