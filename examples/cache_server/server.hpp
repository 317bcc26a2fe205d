// What the connections of a server have in common, and what one connection knows of itself.
#pragma once

#include "reply.hpp"
#include "snapshot.hpp"
#include "store.hpp"

#include <weft/context.hpp>
#include <weft/task_group.hpp>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cache {

/// After SHUTDOWN, which has saved, only what has changed since; nothing after SHUTDOWN NOSAVE.
enum class saving_at_end : std::uint8_t { all, changes, nothing };

struct server_state {
  server_state(store& s, snapshot_file& f, std::string policy)
      : keys(s), snapshots(f), policy_name(std::move(policy)) {}

  store& keys;
  snapshot_file& snapshots;
  std::string policy_name;
  std::uint16_t port = 0;
  time_ms started = wall_clock();
  weft::task_group* background = nullptr;    // BGSAVE
  weft::cancel_fn stop;                      // SHUTDOWN
  std::atomic<bool> background_save{false};  // a BGSAVE runs, or is to run
  std::atomic<saving_at_end> at_end{saving_at_end::all};
  // Relaxed: numbers for INFO.
  std::atomic<std::uint64_t> commands{0}, connections{0}, connected{0}, hits{0}, misses{0};
};

struct session {
  explicit session(server_state& s) : server(s) {}

  server_state& server;
  reply out;
  time_ms now = 0;                                                        // of the requests that came together
  std::uint64_t id = 0, commands = 0, hits = 0, misses = 0, changes = 0;  // the last four since the last flush
  std::string name;
  bool closing = false;

  void flush_counts() noexcept {
    auto const add = [](std::atomic<std::uint64_t>& to, std::uint64_t& n) {
      if (n != 0) to.fetch_add(n, std::memory_order_relaxed), n = 0;
    };
    add(server.commands, commands), add(server.hits, hits), add(server.misses, misses);
    if (changes != 0) server.snapshots.changed(std::exchange(changes, 0));
  }
};

using arguments = std::span<std::string_view const>;

/// Carries out one command, its name first, and appends the answer. May wait (SAVE).
void execute(session& s, arguments args);

}  // namespace cache
