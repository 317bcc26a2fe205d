// Middleware that most servers want.
//
//   weft::http::router routes;
//   routes.use(weft::http::log_requests());
//   routes.use(weft::http::recover());     // inside, so that the log sees what a throwing handler is answered with
#pragma once

#include <weft/http/router.hpp>

#include <functional>
#include <string_view>

namespace weft::http {

/// Says one line a request, when its handler has returned: `GET /users/7?full=1 200 3.2ms`. A streamed response is still to be written
/// then. A handler that throws past it is logged with the status that the server makes of that, 503 where request_timeout ended it; of one
/// that ends because its client is gone, or a shutdown's grace is over, nobody gets an answer, and the line has `-` in place of a status. Without a sink
/// the line goes to stderr. The sink is called by the connection's task, so by several at once; what it throws is the request's error.
[[nodiscard]] middleware log_requests(std::function<void(std::string_view line)> sink = {});

/// Turns what a handler throws into the response that the server would give (docs/http.md), with its line on stderr. The server does
/// so anyway; here it is done for the middleware outside of this one. weft::cancelled passes.
[[nodiscard]] middleware recover();

}  // namespace weft::http
