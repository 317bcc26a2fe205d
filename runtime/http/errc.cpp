// The texts of http::errc.
#include <weft/http/errc.hpp>

#include "runtime/base/lasting.hpp"

#include <string>

namespace weft::http {

namespace {

struct category final : std::error_category {
  char const* name() const noexcept override { return "weft.http"; }
  std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::bad_url: return "not a URL of the form http://host[:port]/path";
      case errc::unsupported_scheme: return "only http:// URLs are supported (no TLS)";
      case errc::bad_response: return "the response is malformed or cut short";
      case errc::response_too_large: return "the response is larger than the client's limit";
      case errc::bad_request: return "the body of the request is malformed";
      case errc::request_too_large: return "the body of the request is larger than the limit";
      case errc::too_many_redirects: return "more redirections than the client follows";
    }
    return "unknown error";
  }
};

constinit rt::lasting<category> const ours;

}  // namespace

std::error_category const& http_category() noexcept { return ours.value; }

}  // namespace weft::http
