// The routes: items over HTTP, kept in the cache.
#pragma once

#include "cache_pool.hpp"
#include "log.hpp"
#include "retry.hpp"

#include <weft/http.hpp>
#include <weft/rate_limiter.hpp>

#include <atomic>
#include <cstdint>

namespace api {

struct gateway {
  cache_pool& cache;
  json_log& log;
  weft::rate_limiter& limit;
  retry_policy retries;
  bool log_requests = true;
  std::atomic<std::uint64_t> requests{0};
};

/// Refers to the gateway, which must outlive the server.
[[nodiscard]] weft::http::router routes(gateway& g);

}  // namespace api
