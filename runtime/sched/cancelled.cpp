// weft::cancelled, which tells by its context why, and weft's own error codes.

#include <weft/error.hpp>

#include "runtime/base/lasting.hpp"
#include "runtime/sched/cancel_node.hpp"

namespace weft {

cancelled::cancelled(rt::cancel_node* node) noexcept : node_(node) { rt::retain(node_); }
cancelled::cancelled(cancelled const& other) noexcept : node_(other.node_) { rt::retain(node_); }
cancelled& cancelled::operator=(cancelled const& other) noexcept {
  rt::retain(other.node_);
  rt::drop(node_);
  node_ = other.node_;
  return *this;
}
cancelled::~cancelled() { rt::drop(node_); }

std::error_code cancelled::code() const noexcept {
  bool const late = node_ != nullptr && node_->err() == rt::cancel_kind::timed_out;
  return std::make_error_code(late ? std::errc::timed_out : std::errc::operation_canceled);
}

char const* cancelled::what() const noexcept {
  return code() == std::errc::timed_out ? "weft: cancelled: the deadline has passed" : "weft: cancelled";
}

namespace {
struct weft_category final : std::error_category {
  [[nodiscard]] char const* name() const noexcept override { return "weft"; }
  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::eof: return "unexpected end of stream";
      case errc::closed: return "closed by this side";
    }
    return "unknown weft error";
  }
};

constinit rt::lasting<weft_category> const ours;
}  // namespace

std::error_category const& error_category() noexcept { return ours.value; }

}  // namespace weft
