// Logging and recovery.
#include <weft/http/middleware.hpp>

#include "runtime/base/message.hpp"
#include "runtime/http/failure.hpp"
#include "runtime/http/state.hpp"

#include <weft/context.hpp>
#include <weft/detail/deadline.hpp>
#include <weft/error.hpp>

#include <chrono>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

namespace weft::http {

namespace {

std::string line_of(std::string const& subject, std::string const& status, std::chrono::nanoseconds took) {
  auto const tenths = std::chrono::duration_cast<std::chrono::microseconds>(took).count() / 100;
  return subject + ' ' + status + ' ' + std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10) + "ms";
}

rt::request_stream const* body_of(request const& q) noexcept {
  rt::request_state const* const state = rt::http_access::state_or_null(q);  // null: moved away
  return state ? state->stream.get() : nullptr;
}

/// What the server answers where a handler has met its cancellation.
char const* status_of_cancelled() {
  context const of_request = this_task::context();
  if (!of_request.cancelled()) return "500";  // that of another context
  return of_request.err() == std::errc::timed_out ? "503" : "-";
}

void to_stderr(std::string_view line) { rt::write_error(std::string(line) + '\n'); }

}  // namespace

middleware log_requests(std::function<void(std::string_view)> sink) {
  if (!sink) sink = to_stderr;
  return [sink](handler next) -> handler {
    return [sink, next](request& q) {
      // Taken before: the handler may move the request away.
      std::string const subject = std::string(q.method()) + ' ' + std::string(q.target());
      time_point const began = weft::now();
      auto const log = [&](std::string const& status) { sink(line_of(subject, status, weft::now() - began)); };
      try {
        response r = next(q);
        log(std::to_string(r.status()));
        return r;
      } catch (error const& e) {
        log(std::to_string(rt::status_of(e)));
        throw;
      } catch (std::exception const& e) {
        int const fault = rt::client_fault(e, body_of(q));
        log(std::to_string(fault != 0 ? fault : 500));
        throw;
      } catch (cancelled const&) {
        uncancellable const its_own_wait;
        log(status_of_cancelled());
        throw;
      } catch (...) {
        log("500");
        throw;
      }
    };
  };
}

middleware recover() {
  return [](handler next) -> handler {
    return [next](request& q) {
      std::string const method(q.method()), path(q.path());
      try {
        return next(q);
      } catch (cancelled const&) {
        throw;
      } catch (...) {
        return rt::response_to(std::current_exception(), method, path, body_of(q));
      }
    };
  };
}

}  // namespace weft::http
