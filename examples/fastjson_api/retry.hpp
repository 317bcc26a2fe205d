// A call that may fail for a moment: tried again, within a time for each try and one for all of them.
//
// A try that takes too long is cancelled: whatever it waits for, it lets go of (weft::within). The caller's own cancellation, a
// client that has gone, ends tries and pauses alike and is not retried.
#pragma once

#include <weft/context.hpp>
#include <weft/task.hpp>
#include <weft/time.hpp>

#include <algorithm>
#include <chrono>
#include <system_error>

namespace api {

struct retry_policy {
  int tries = 3;
  std::chrono::milliseconds each{200}, all{1000}, pause{10};  // the pause doubles, and half of it is left to chance
};

/// f returns a weft::result. What it asks for must be such that asking twice does no harm. timed_out: out of time.
template <class F>
auto with_retries(retry_policy const& policy, F f) -> decltype(f()) {
  return weft::within(policy.all, [&] {
    auto pause = std::chrono::nanoseconds(policy.pause);
    for (int tried = 1;; ++tried) {
      auto r = weft::within(policy.each, f);
      if (r || tried >= policy.tries || r.error() == std::errc::bad_message) return r;
      auto const chance =
          std::chrono::nanoseconds(weft::now().time_since_epoch().count() % std::max<long long>(1, pause.count() / 2));
      weft::sleep_for(pause / 2 + chance);
      pause *= 2;
    }
  });
}

}  // namespace api
