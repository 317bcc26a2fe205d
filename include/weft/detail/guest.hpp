// Calls from outside of a runtime into one that may have ended. Not for applications.
#pragma once

namespace weft::rt {
class scheduler;
}

namespace weft::detail {

/// The runtime that a call is to use, for as long as the object lives: its shutdown waits for it.
class [[nodiscard]] guest {
 public:
  /// The caller's runtime. On other threads `otherwise`, which something that outlives runtimes has kept (a context, a timer), and which may
  /// be null. Throws no_runtime if that is null, has ended, or is being shut down.
  explicit guest(rt::scheduler* otherwise);
  ~guest();
  guest(guest const&) = delete;
  guest& operator=(guest const&) = delete;

  [[nodiscard]] rt::scheduler* scheduler() const noexcept { return of_; }

 private:
  rt::scheduler* of_;
  bool counted_ = false;
};

}  // namespace weft::detail
