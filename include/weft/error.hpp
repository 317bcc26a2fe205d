// What weft's calls throw or return when something can go wrong in the ordinary course of things.
#pragma once

#include <exception>
#include <expected>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace weft::rt {
struct cancel_node;
}

namespace weft {

class context;

/// A value, or the error code that came instead of it.
template <class T>
using result = std::expected<T, std::error_code>;

/// weft's own error codes: `eof`, end of stream where bytes were owed; `closed`, closed by this side.
enum class errc { eof = 1, closed };
[[nodiscard]] std::error_category const& error_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), error_category()};
}

/// Outcome of the channel operations that do not throw.
enum class [[nodiscard]] chan_status { ok, full, empty, closed, timeout };

/// A send to a closed channel, or a receive by a select case that needs a value where there will be none.
struct closed_channel : std::exception {
  [[nodiscard]] char const* what() const noexcept override { return "weft: channel is closed"; }
};

/// close() of the nil channel.
struct nil_channel : std::exception {
  [[nodiscard]] char const* what() const noexcept override { return "weft: operation on the nil channel"; }
};

/// go() or spawn() outside of any runtime, or through one that has been shut down.
struct no_runtime : std::exception {
  [[nodiscard]] char const* what() const noexcept override {
    return "weft: no runtime here, or one that is shut down: call this inside weft::run, or through a weft::runtime";
  }
};

/// Thrown by run() when no task can ever go on; what() lists them.
struct deadlock : std::exception {
  explicit deadlock(std::string report = "weft: deadlock") : report_(std::move(report)) {}
  [[nodiscard]] char const* what() const noexcept override { return report_.c_str(); }

 private:
  std::string report_;
};

/// Unwinds a task whose context is cancelled. Deliberately not a std::exception: `catch (std::exception&)` lets it pass.
/// Copyable; keeps its context alive.
struct cancelled {
  /// Of no context: operation_canceled.
  cancelled() noexcept : node_(nullptr) {}
  explicit cancelled(rt::cancel_node* node) noexcept;  // shares ownership of `node`, which may be null
  cancelled(cancelled const&) noexcept;
  cancelled& operator=(cancelled const&) noexcept;
  ~cancelled();

  /// std::errc::operation_canceled or std::errc::timed_out.
  [[nodiscard]] std::error_code code() const noexcept;
  [[nodiscard]] char const* what() const noexcept;
  /// The context whose cancellation this is; for comparison inside weft.
  [[nodiscard]] rt::cancel_node* node() const noexcept { return node_; }

 private:
  rt::cancel_node* node_;
};

}  // namespace weft

template <>
struct std::is_error_code_enum<weft::errc> : std::true_type {};
