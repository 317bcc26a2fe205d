// A handler whose response is its request's body, piece by piece as that comes.
#pragma once

#include "tests/http/harness.hpp"

#include <span>

namespace http_test {

inline http::response given_back(http::request&, http::body_reader& body) {
  return http::response(200, "text/plain", [body](http::body_writer& w) mutable {
    char some[64];
    while (std::size_t const n = body.read_some(std::span(some)).value()) {
      w.write({some, n});
      w.flush();
    }
  });
}

}  // namespace http_test
