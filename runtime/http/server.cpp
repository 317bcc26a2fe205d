// Accepting, keeping time, shutting down.
//
// Shutdown, with g the end of the grace:
//   1. draining is set: from now on each response says Connection: close and is its connection's last.
//   2. What waits at the listeners is accepted, since it may have sent a request that would be lost with it. Then they are closed, which ends
//      the accept loops. Until these have ended, no connection left does not mean that none will start.
//   3. Every connection is poked: its read deadline is put into the past. One that waits idle wakes, gives its client
//      `lingering` to be told by a response (a request may be on its way, and closing now would lose it), and ends. One that is busy
//      takes the deadline back and goes on; it sees `draining` when it has answered. Repeated every `poke_interval`, for those
//      that were between the two.
//   4. At g the context of the connections is cancelled and their sockets are closed.
// So no request is cut within the grace: only a connection's own task ends it, and only between requests.
#include "runtime/http/failure.hpp"
#include "runtime/http/server_state.hpp"

#include "runtime/http/stack_rest.hpp"
#include "runtime/http/state.hpp"
#include "runtime/net/scratch.hpp"
#include "runtime/net/system.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/cancel_node.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sched/task.hpp"

#include <weft/after_func.hpp>
#include <weft/defer.hpp>
#include <weft/detail/deadline.hpp>
#include <weft/task.hpp>

#include <algorithm>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <utility>

#include <poll.h>

namespace weft::rt {

namespace {

using namespace std::chrono_literals;

constexpr auto lingering = 50ms;
constexpr auto poke_interval = 100ms;
constexpr auto after_force = 1s;  // for cancelled handlers to unwind
constexpr auto accept_retry = 10ms;
constexpr std::size_t most_waiting = net::listen_options().backlog + 1;  // Linux keeps one more
constexpr auto look_interval = 250ms;                                    // while handlers run
constexpr std::chrono::nanoseconds probe_after = 500ms;
constexpr std::size_t most_lost = 256;  // at once

void close(http_listener& listener) noexcept {
  std::visit([](auto& l) { l.close(); }, listener);
}

}  // namespace

/// Step 1 of connection.hpp holds one.
class http_server::registration {
 public:
  registration(http_server& s, http_connection& c) : s_(s), c_(c), shard_(s.next_shard()) {
    guard const held(shard_.lock);
    c.next = shard_.first;
    if (c.next) c.next->prev = &c;
    shard_.first = &c;
  }
  ~registration() {
    {
      guard const held(shard_.lock);
      if (c_.prev) c_.prev->next = c_.next;
      else shard_.first = c_.next;
      if (c_.next) c_.next->prev = c_.prev;
    }
    c_.stream.close();  // before the count falls: who finds no connection left may rely on the descriptors being closed
    s_.ended();
  }
  registration(registration const&) = delete;
  registration& operator=(registration const&) = delete;

 private:
  http_server& s_;
  http_connection& c_;
  shard& shard_;
};

http_server::http_server(std::shared_ptr<route_table> t, http::server_options const& o)
    : table(std::move(t)), options(o), limits{o.max_header_bytes, o.max_body_bytes, o.max_target_bytes} {
  table->freeze();
  lost_.reserve(most_lost);
}

result<net::endpoint> http_server::listen(http_listener listener) {
  net::endpoint const at = std::visit([](auto& l) { return l.local_endpoint(); }, listener);
  std::lock_guard const held(lock_);
  if (serving_) throw std::logic_error("weft::http::server::listen: the server is serving");
  if (draining || !at) return std::unexpected(make_error_code(errc::closed));
  listeners_.push_back(std::make_unique<http_listener>(std::move(listener)));
  return at;
}

// ---- serving -------------------------------------------------------------------------------------------

void http_server::serve(context const* until) {
  // Connections outlive the cancellation of the caller: they have the grace of the shutdown that follows it.
  std::pair<context, cancel_fn> const connections = with_cancel(without_cancel(this_task::context()));
  {
    std::lock_guard const held(lock_);
    if (draining) return;
    if (listeners_.empty()) throw std::logic_error("weft::http::server::serve: listen() comes first");
    if (serving_) throw std::logic_error("weft::http::server::serve: called twice");
    serving_ = true;
    if (task const* const self = current_task()) runtime_ = self->sched;
    cancel_connections_ = connections.second;
    connections_ = connections.first;
  }
  try {
    auto clock = weft::spawn([this] { keep_time(); });
    std::vector<join_handle<void>> others;
    for (std::size_t i = 1; i < listeners_.size(); ++i) {
      others.push_back(weft::spawn([this, i, &connections] { accept_from(*listeners_[i], connections.first); }));
    }
    // `until` may be anybody's: it ends this call beside the caller's own context, not in its place.
    std::pair<context, cancel_fn> const either = with_cancel();
    stop_fn const forget = until ? after_func(*until, [end = either.second] { end(); }) : stop_fn();
    defer const at_end([&forget] { forget(); });
    scoped_context const in(either.first);
    accept_from(*listeners_.front(), connections.first);
    for (auto& o : others) o.wait();
    std::unique_lock held(lock_);
    changed_.wait(held, [this] { return finished_; });
  } catch (cancelled const&) {
    uncancellable const stay;
    shutdown(options.shutdown_grace);
    if (!until || !until->cancelled() || this_task::context().cancelled()) throw;
  } catch (...) {
    uncancellable const stay;
    shutdown(options.shutdown_grace);
    throw;
  }
}

void http_server::accept_from(http_listener& listener, context const& connections) {
  {
    std::lock_guard const held(lock_);
    ++accepting_;
  }
  defer const at_end([this] {
    std::lock_guard const held(lock_);
    --accepting_;
    changed_.notify_all();
  });
  while (!draining) {
    if (live_ >= options.max_connections) {
      std::unique_lock held(lock_);
      changed_.wait(held, [this] { return live_ < options.max_connections || draining; });
      continue;
    }
    auto stream = std::visit([](auto& l) -> result<net::stream_base> { return l.accept(); }, listener);
    if (!stream) {
      if (draining || stream.error() == errc::closed) return;
      weft::sleep_for(accept_retry);
      continue;
    }
    if (!start_connection(std::move(*stream), connections)) weft::sleep_for(accept_retry);
  }
}

/// As many as can have waited: others that come meanwhile are too late.
void http_server::accept_waiting(http_listener& listener) {
  for (std::size_t n = 0; n != most_waiting && live_ < options.max_connections; ++n) {
    {
      std::lock_guard const held(lock_);
      if (weft::now() >= stop_at_) return;
    }
    auto stream = std::visit([](auto& l) -> std::optional<net::stream_base> { return l.take_waiting(); }, listener);
    if (!stream || !start_connection(std::move(*stream), *connections_)) return;
  }
}

bool http_server::start_connection(net::stream_base stream, context const& connections) {
  if (live_.fetch_add(1) == 0) {
    std::lock_guard const held(lock_);  // keep_time may be between its look and its wait
    changed_.notify_all();
  }
  try {
    scoped_context const in(connections);
    // A task with a handle has a context of its own for all that its handlers start: see cancel_lost().
    weft::spawn([self = shared_from_this(), s = std::move(stream)]() mutable {
      self->run_connection(std::move(s));
    }).detach();
    return true;
  } catch (std::exception const& e) {  // no stack or no memory for one more: the others go on
    ended();
    report_failure("accept", "", e.what());
    return false;
  }
}

void http_server::ended() noexcept {
  std::size_t const left = live_.fetch_sub(1) - 1;
  if (left == 0 || left + 1 >= options.max_connections) {
    std::lock_guard const held(lock_);
    changed_.notify_all();
  }
}

/// The frame of an idle connection: what stands here and below it down to the park must fit into one page.
void http_server::run_connection(net::stream_base&& stream) {
  http_connection c(std::move(stream));
  registration const listed(*this, c);
  for (bool last_look = false;;) {
    auto const bytes = stream_access::read_to_scratch(c.stream);
    if (bytes && !bytes->empty()) {
      if (!serve_requests(*this, c, *bytes)) return;
      c.enter(connection_phase::idle);
    } else if (bytes || bytes.error() != std::errc::timed_out) {
      if (!bytes && bytes.error() == std::errc::not_enough_memory)
        report_failure("connection", "", bytes.error().message().c_str());
      return;
    } else if (draining) {
      if (last_look) return;
      last_look = true;
      c.stream.set_read_deadline(weft::now() + lingering);
    } else if (c.is_expired()) {
      return;
    } else {  // idle for a while: see sweep()
      c.stream.set_read_deadline(time_point::max());
      give_back_stack_below();
    }
  }
}

// ---- time-outs -----------------------------------------------------------------------------------------

std::int64_t http_server::limit_of(connection_phase p) const noexcept {
  switch (p) {
    case connection_phase::handling:
    case connection_phase::owing:
    case connection_phase::working: return std::numeric_limits<std::int64_t>::max();
    case connection_phase::header: return options.header_timeout.count();
    default: return options.idle_timeout.count();
  }
}

void http_server::keep_time() {
  auto const interval =
      std::clamp<std::chrono::nanoseconds>(std::min(options.header_timeout, options.idle_timeout) / 8, 1ms, 1s);
  bool handlers = false;  // some run, and their clients may go away
  defer const at_end([this] { std::ranges::for_each(lost_, [](task* t) { drop(t); }); });
  for (;;) {
    {
      std::unique_lock held(lock_);
      changed_.wait(held, [this] { return live_ != 0 || draining; });
    }
    if (draining) return;  // the rest of their time is the grace
    weft::sleep_for(handlers ? std::min<std::chrono::nanoseconds>(interval, look_interval) : interval);
    do handlers = sweep();
    while (cancel_lost());
  }
}

bool http_server::client_is_gone(http_connection& c, std::uint32_t activity, std::int64_t handling_for) noexcept {
  int const fd = stream_access::descriptor_of(c.stream);
  short const state = net::system::hang_up(fd);
  if ((state & (POLLERR | POLLHUP)) != 0) return true;
  connection_phase const p = http_connection::phase_of(activity);
  if (p != connection_phase::handling && p != connection_phase::owing) return false;
  std::uint32_t const sent = c.ahead.load(std::memory_order_relaxed),
                      owed = c.owed_size.load(std::memory_order_relaxed);
  std::uint32_t const probes = sent - std::min(sent, owed);
  bool const probe =
      (state & POLLRDHUP) != 0 && probes < response_start.size() && handling_for >= probe_after.count() << probes;
  if (sent < owed || probe) send_ahead(c, activity, fd);
  return false;  // if it is gone, its reset will say so
}

/// What the connection owes, as much as goes; or the next byte of its next response.
void http_server::send_ahead(http_connection& c, std::uint32_t activity, int fd) noexcept {
  c.probing.store(true, std::memory_order_relaxed);              // I1
  heavy_fence();                                                 // I2, pairs with O2
  if (c.activity.load(std::memory_order_acquire) == activity) {  // I3
    std::uint32_t const sent = c.ahead.load(std::memory_order_relaxed),
                        owed = c.owed_size.load(std::memory_order_acquire);  // then c.owed is as new
    std::ptrdiff_t const n = sent < owed ? net::system::send(fd, c.owed + sent, owed - sent)
                                         : net::system::send(fd, &response_start[sent - owed], 1);
    if (n > 0) c.ahead.store(sent + static_cast<std::uint32_t>(n), std::memory_order_relaxed);
  }
  c.probing.store(false, std::memory_order_release);  // I4: what is written from here on comes behind
}

/// Their handlers are cancelled, and all that those have started. Without any lock: it may run what waits for a context.
/// True: there may be more than a sweep has room for.
bool http_server::cancel_lost() noexcept {
  std::size_t const found = lost_.size();
  std::erase_if(lost_, [](task* t) {
    try {
      return cancel_own(*t), drop(t), true;
    } catch (std::bad_alloc const&) {
      return false;  // tried again after the next sweep
    }
  });
  return found == most_lost && lost_.empty();
}

bool http_server::sweep() {
  time_point const now = weft::now();
  std::int64_t const at = now.time_since_epoch().count();
  // Of idleness, then the stack is given back: costs some microseconds, saves what the last handler has touched.
  std::int64_t const rest_after = std::min<std::chrono::nanoseconds>(1s, options.idle_timeout / 4).count();
  bool handlers = false;
  for (auto& s : shards_) {
    keeps_running const unpreempted;
    guard const held(s.lock);
    for (http_connection* c = s.first; c; c = c->next) {
      std::uint32_t const activity = c->activity.load(std::memory_order_relaxed);
      connection_phase const p = http_connection::phase_of(activity);
      bool const handling = p >= connection_phase::handling && p <= connection_phase::working;
      handlers = handlers || handling;
      if (activity != c->seen) {
        c->seen = activity;
        c->seen_at = at;
        continue;
      }
      if (handling) {
        if (!c->lost && lost_.size() < most_lost && client_is_gone(*c, activity, at - c->seen_at)) {
          c->lost = true;
          c->self->refs.fetch_add(1, std::memory_order_relaxed);  // it cannot end before it has left this list
          lost_.push_back(c->self);
        }
        continue;
      }
      if (p == connection_phase::writing) {  // a large write to a slow reader gets on without an end
        std::uint64_t const acked = stream_access::progress_of(c->stream);
        if (std::exchange(c->acked, acked) != acked) {
          c->seen_at = at;
          continue;
        }
      }
      bool const served = activity != 0;
      if (p == connection_phase::idle && served && c->rested != activity && at - c->seen_at >= rest_after) {
        c->rested = activity;
        c->stream.set_read_deadline(now);  // the connection wakes, gives back its stack, and waits again
        continue;
      }
      if (at - c->seen_at < limit_of(p)) continue;
      // What has come and nobody has read yet says that this machine stood still, not the client. A header's time counts as it is.
      bool const waits = p == connection_phase::idle || p == connection_phase::body;
      if (waits && net::system::is_ready(stream_access::descriptor_of(c->stream), POLLIN) > 0) {
        c->seen_at = at;
        continue;
      }
      c->expired.store(activity, std::memory_order_release);  // pairs with is_expired's acquire
      if (p == connection_phase::writing) c->stream.set_write_deadline(now);
      else c->stream.set_read_deadline(now);
    }
  }
  return handlers;
}

// ---- the end -------------------------------------------------------------------------------------------

void http_server::poke_all() noexcept {
  for (auto& s : shards_) {
    keeps_running const unpreempted;
    guard const held(s.lock);
    for (http_connection* c = s.first; c; c = c->next) c->stream.set_read_deadline(time_point::min());
  }
}

void http_server::close_all() noexcept {
  draining = true;
  {
    std::lock_guard const held(lock_);
    for (auto& l : listeners_) close(*l);
    changed_.notify_all();
  }
  for (auto& s : shards_) {
    keeps_running const unpreempted;
    guard const held(s.lock);
    for (http_connection* c = s.first; c; c = c->next) c->stream.close();
  }
}

void http_server::shutdown(std::chrono::nanoseconds grace) {
  uncancellable const stay;
  draining = true;  // 1
  std::unique_lock held(lock_);
  stop_at_ = std::min(stop_at_, detail::time_after(grace));
  task const* const self = current_task();
  if (self && self->sched == runtime_) {  // elsewhere connections cannot be started
    ++accepting_;
    held.unlock();  // listeners_ is constant from now on
    for (auto& l : listeners_) {
      accept_waiting(*l);  // 2
      close(*l);
    }
    held.lock();
    --accepting_;
  }
  for (auto& l : listeners_) close(*l);
  changed_.notify_all();
  auto const none_left = [this] { return live_ == 0 && accepting_ == 0; };
  while (!none_left() && weft::now() < stop_at_) {
    held.unlock();
    poke_all();  // 3
    held.lock();
    time_point const next = std::min(stop_at_, weft::now() + poke_interval);
    if (changed_.wait_until(held, next, none_left)) break;
  }
  if (!none_left()) {  // 4
    std::optional<cancel_fn> const cancel = cancel_connections_;
    held.unlock();
    if (cancel) (*cancel)();
    close_all();
    held.lock();
    changed_.wait_for(held, after_force, none_left);
  }
  finished_ = true;
  changed_.notify_all();
}

}  // namespace weft::rt
