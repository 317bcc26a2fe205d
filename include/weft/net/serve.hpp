// The accept loop of a server: a task for each connection.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

#include <weft/detail/deadline.hpp>
#include <weft/detail/wait.hpp>
#include <weft/error.hpp>
#include <weft/net/handle.hpp>
#include <weft/task.hpp>

namespace weft::net {

struct serve_options {
  std::size_t max_connections = 0;  // beyond these, connections wait in the kernel's queue; 0: no limit
  weft::detail::patience grace = std::chrono::seconds(5);  // for handlers to end by themselves once serve ends
};

}  // namespace weft::net

namespace weft::detail {

/// What one call of serve knows of its handlers: how many run, and the context they run under, which is not cancelled with the
/// caller's but when the grace is over.
class serving {
 public:
  explicit serving(net::serve_options const& options);  // throws no_runtime on a plain thread
  serving(serving const&) = delete;
  serving& operator=(serving const&) = delete;
  ~serving();  // waits for the handlers, without grace

  /// Waits for max_connections, or till that listener is closed, which accept then says; a cancellation point.
  template <class L>
  void wait_for_room(L const& listener) {
    if constexpr (requires {
                    { listener.handle_ } -> std::same_as<io_handle const&>;
                  }) {
      wait_at(listener.handle_.slot());
    } else {
      wait_at(nullptr);  // not weft's: its close is noticed when a handler ends
    }
  }
  void begin_spawn() noexcept;  // what is spawned now runs under the handlers' context, and counts
  void end_spawn(bool spawned) noexcept;
  void refused(char const* why);  // a connection could not get a task: says so, waits a little
  void end_one() noexcept;
  void drain() noexcept;  // waits till all have ended; cancels them when the grace is over

  static void report(std::exception_ptr) noexcept;  // of a handler that threw

 private:
  void wait_at(rt::io_slot* listener);
  void wait_until_idle(std::int64_t deadline) noexcept;

  struct state;
  state* state_;
};

}  // namespace weft::detail

namespace weft::net {

/// Accepts connections of `listener` and calls handler(stream) for each in a task of its own; handler is shared by all of
/// them and must stand concurrent calls. Waits: returns when the listener is closed (a value) or cannot go on (its error);
/// throws weft::cancelled when its context is cancelled, and then closes the listener. Either way it first lets the handlers end: those
/// that have not by the end of the grace are cancelled and waited for. A handler that throws anything but weft::cancelled is
/// reported on stderr and harms no other. Inside a runtime only.
template <class L, class F>
result<void> serve(L& listener, F&& handler, serve_options options = {}) {
  using stream_type = std::remove_cvref_t<decltype(*listener.accept())>;
  detail::serving connections(options);
  auto const handle = [&connections, &handler](stream_type stream) {
    try {
      stream_type mine(std::move(stream));  // closed before the handler counts as ended
      if constexpr (std::is_invocable_v<std::remove_reference_t<F>&, stream_type>) {
        handler(std::move(mine));
      } else {
        handler(mine);
      }
    } catch (cancelled const&) {
    } catch (...) {
      detail::serving::report(std::current_exception());
    }
    connections.end_one();
  };
  result<void> outcome;
  try {
    for (;;) {
      connections.wait_for_room(listener);
      auto stream = listener.accept();
      if (!stream) {
        if (stream.error() != errc::closed) outcome = std::unexpected(stream.error());
        break;
      }
      connections.begin_spawn();
      try {
        weft::go(handle, std::move(*stream));
        connections.end_spawn(true);
      } catch (std::exception const& e) {  // no memory, no stack: this connection is lost, the next may find some
        connections.end_spawn(false);
        connections.refused(e.what());
      }
    }
  } catch (cancelled const&) {
    listener.close();
    connections.drain();
    throw;
  }
  connections.drain();
  return outcome;
}

}  // namespace weft::net
