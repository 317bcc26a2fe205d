// Signals as values: what a handler would do, done by a task.
//
//     int const why = weft::wait_signal({SIGINT, SIGTERM});              // parks until one of them comes
//
//     auto [ctx, stop] = weft::with_signals(weft::this_task::context(), {SIGINT});
//     server.serve(ctx);                                                // until Ctrl-C
//
// While there is a subscription to a signal, the signal goes to the subscriptions and to nothing else. When the last one
// goes, the disposition that stood before comes back: a second Ctrl-C, after nobody listens any more, kills as usual, and
// one that came too late to be delivered is raised again for that disposition, before the subscription's end returns. A
// handler that replaced weft's meanwhile stays.
// A subscription goes with the last receiver of signals(), with the return of wait_signal(), and, with_signals(), when the
// context is cancelled (by the signal, its cancel_fn or its parent) or its last handle has gone.
//
// Signal masks are the program's: a signal that all of its threads block, workers included, which begin with the mask of the thread
// that made the runtime, does not come here either.
//
// All may be called from tasks of any runtime and from plain threads. They throw std::system_error for what cannot be caught:
// SIGKILL, SIGSTOP, the signals of a fault in the program (SIGSEGV, SIGBUS, SIGFPE, SIGILL), a number that is no signal.
#pragma once

#include <csignal>
#include <initializer_list>
#include <utility>

#include <weft/chan.hpp>
#include <weft/context.hpp>

namespace weft {

/// A subscription: each of these signals that comes is received as its number. Signals of one number that come faster than
/// they are taken may become one, as the system itself does; a receiver that is 64 signals behind misses further ones.
[[nodiscard]] receiver<int> signals(std::initializer_list<int> which);

/// Waits for one of these signals; its number. Blocks; a cancellation point.
int wait_signal(std::initializer_list<int> which);

/// A child of `parent` that the first of these signals cancels. Does not block.
[[nodiscard]] std::pair<context, cancel_fn> with_signals(context parent, std::initializer_list<int> which);

}  // namespace weft
