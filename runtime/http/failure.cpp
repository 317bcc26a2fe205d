// What becomes of what a handler throws: a response, or a line on stderr.
#include "runtime/http/failure.hpp"

#include "runtime/base/exception_text.hpp"
#include "runtime/base/message.hpp"
#include "runtime/http/request_stream.hpp"
#include "runtime/http/response_text.hpp"

#include <weft/error.hpp>
#include <weft/http/errc.hpp>

#include <algorithm>
#include <expected>
#include <system_error>

namespace weft::rt {

int status_of(http::error const& e) noexcept { return e.status() >= 300 && e.status() <= 599 ? e.status() : 500; }

int client_fault(std::exception const& thrown, request_stream const* body) noexcept {
  if (body && body->fault() != 0) return body->fault();
  auto const* const of_value = dynamic_cast<std::bad_expected_access<std::error_code> const*>(&thrown);
  auto const* const of_call = dynamic_cast<std::system_error const*>(&thrown);
  std::error_code const e = of_value ? of_value->error() : of_call ? of_call->code() : std::error_code();
  return e == http::errc::request_too_large ? 413 : 0;
}

http::response response_to(std::exception_ptr const& thrown, std::string_view method, std::string_view path,
                           request_stream const* body) {
  try {
    std::rethrow_exception(thrown);
  } catch (http::error const& e) {
    int const status = status_of(e);
    if (status < 500) return http::response(status, e.what());
    report_failure(method, path, exception_text(e).c_str());
    return plain_response(status);
  } catch (std::exception const& e) {
    if (int const fault = client_fault(e, body); fault != 0) return plain_response(fault);
    report_failure(method, path, exception_text(e).c_str());
    return plain_response(500);
  } catch (cancelled const&) {
    throw;
  } catch (...) {
    report_failure(method, path, "an exception of unknown type");
    return plain_response(500);
  }
}

[[gnu::noinline]] void report_failure(std::string_view method, std::string_view path, char const* what) noexcept {
  constexpr std::size_t most = 400;  // of each
  message line;
  line << "weft: http: ";
  line.on_the_line(method, most);
  if (!path.empty()) line << " ";
  line.on_the_line(path, most) << ": ";
  line.on_the_line(what ? what : "", most);
  line.write_line();
}

}  // namespace weft::rt
