// Ctrl-C for examples that end by themselves.
#pragma once

#include <csignal>
#include <iostream>
#include <type_traits>

#include <weft/context.hpp>
#include <weft/run.hpp>
#include <weft/signal.hpp>
#include <weft/task.hpp>

namespace examples {

/// A whole main(): runs app(), and returns what it returns, or 0. SIGINT or SIGTERM before its end cancels it: every wait of it and of its
/// tasks throws weft::cancelled, all unwind, and the status is 130, as a shell has it.
template <class App>
int interruptible(App app, weft::options options = {}) {
  try {
    return weft::run(options, [&] {
      auto const [until, stop] = weft::with_signals(weft::this_task::context(), {SIGINT, SIGTERM});
      weft::scoped_context const in(until);
      if constexpr (std::is_void_v<decltype(app())>) return app(), 0;
      else return app();
    });
  } catch (weft::cancelled const&) {
    std::cerr << "interrupted\n";
    return 130;
  }
}

}  // namespace examples
