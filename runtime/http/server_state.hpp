// What a server is: its connections, its listeners, and how far its shutdown has got.
#pragma once

#include "runtime/base/lock.hpp"
#include "runtime/http/connection.hpp"
#include "runtime/http/parser.hpp"
#include "runtime/http/route_table.hpp"
#include "runtime/http/workspace.hpp"

#include <weft/condition_variable.hpp>
#include <weft/context.hpp>
#include <weft/http/server.hpp>
#include <weft/mutex.hpp>
#include <weft/net/listener.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

namespace weft::rt {

class scheduler;

using http_listener = std::variant<net::tcp_listener, net::unix_listener>;

struct http_server : std::enable_shared_from_this<http_server> {
  http_server(std::shared_ptr<route_table> t, http::server_options const& o);

  result<net::endpoint> listen(http_listener listener);
  void serve(context const* until);
  void shutdown(std::chrono::nanoseconds grace);
  void close_all() noexcept;  // listeners and connections, without waiting

  std::shared_ptr<route_table> const table;
  http::server_options const options;
  parse_limits const limits;
  workspace_pool workspaces;

  /// No new requests: responses say Connection: close. Set once, before the first poke of shutdown().
  std::atomic<bool> draining{false};

 private:
  struct shard {
    ranked_lock lock{lock_rank::registry};
    http_connection* first WEFT_GUARDED_BY(lock) = nullptr;
  };
  /// Stands in the list as long as it lives.
  class registration;

  void accept_from(http_listener& listener, context const& connections);
  void accept_waiting(http_listener& listener);
  [[nodiscard]] bool start_connection(net::stream_base stream, context const& connections);
  void run_connection(net::stream_base&& stream);
  void ended() noexcept;
  void keep_time();
  [[nodiscard]] bool sweep();  // true: handlers run
  [[nodiscard]] bool client_is_gone(http_connection& c, std::uint32_t activity, std::int64_t handling_for) noexcept;
  void send_ahead(http_connection& c, std::uint32_t activity, int fd) noexcept;
  [[nodiscard]] bool cancel_lost() noexcept;
  void poke_all() noexcept;
  [[nodiscard]] std::int64_t limit_of(connection_phase p) const noexcept;
  /// In turn and not by address: walks over them wake tasks and cancel handlers, and in a simulated run no address may decide in which order.
  shard& next_shard() noexcept { return shards_[last_shard_.fetch_add(1, std::memory_order_relaxed) % shards_.size()]; }

  std::array<shard, 8> shards_;
  std::atomic<std::size_t> last_shard_{0};
  std::vector<task*> lost_;           // keep_time's: to be cancelled, each with a reference; reserved
  std::atomic<std::size_t> live_{0};  // connections, from accept to the end of their task

  mutex lock_;
  condition_variable changed_;  // live_ has become 0 or less than the maximum; the fields below have changed
  std::vector<std::unique_ptr<http_listener>> listeners_;  // guarded by lock_; constant once serving
  bool serving_ = false;                                   // guarded by lock_
  scheduler const* runtime_ = nullptr;                     // guarded by lock_: the one that serves
  std::size_t accepting_ = 0;               // guarded by lock_: who may hold a connection that live_ does not count yet
  bool finished_ = false;                   // guarded by lock_: a shutdown is through
  time_point stop_at_ = time_point::max();  // guarded by lock_: the end of the grace
  std::optional<cancel_fn> cancel_connections_;  // guarded by lock_
  std::optional<context> connections_;           // guarded by lock_; constant once serving
};

}  // namespace weft::rt
