// What the connections of a server have in common, and what one connection knows of itself.
#pragma once

#include "reply.hpp"
#include "snapshot.hpp"
#include "store.hpp"

#include <weft/context.hpp>
#include <weft/task_group.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
  std::atomic<std::uint64_t> last_id{0};  // of a client; none comes twice
};

using arguments = std::span<std::string_view const>;

struct command;
/// What came after MULTI, to be done by EXEC.
struct transaction {
  struct step {
    command const* what;
    std::vector<std::string> args;
  };
  std::vector<step> steps;
  std::size_t bytes = 0;
  bool broken = false;  // something could not be taken: EXEC does nothing
};

/// What WATCH has seen of a key. Values are compared by their hashes.
struct watched_key {
  std::uint64_t value;  // 0: there is none
  time_ms expires;
  bool operator==(watched_key const&) const = default;
};

struct session {
  explicit session(server_state& s) : server(s) {}

  server_state& server;
  reply out;
  time_ms now = 0;                                                        // of the requests that came together
  std::uint64_t id = 0, commands = 0, hits = 0, misses = 0, changes = 0;  // the last four since the last flush
  std::string name;
  bool closing = false;
  std::unique_ptr<transaction> queued;                      // between MULTI and EXEC
  std::map<std::string, watched_key, std::less<>> watched;  // until EXEC
  std::vector<store::part::ptr>* all_locked = nullptr;      // by EXEC, as long as it runs

  void flush_counts() noexcept {
    auto const add = [](std::atomic<std::uint64_t>& to, std::uint64_t& n) {
      if (n != 0) to.fetch_add(n, std::memory_order_relaxed), n = 0;
    };
    add(server.commands, commands), add(server.hits, hits), add(server.misses, misses);
    if (changes != 0) server.snapshots.changed(std::exchange(changes, 0));
  }

  /// As store::each_part and store::count.
  template <class F>
  void each_part(F f);
  [[nodiscard]] store::totals count();
};

enum class shard_number : std::size_t {};

/// A shard that a command works on, locked as long as this lives; by EXEC it has been before.
class locked_shard {
 public:
  locked_shard(session& s, std::uint64_t hash) : locked_shard(s, shard_number{s.server.keys.index_of(hash)}) {}
  locked_shard(session& s, shard_number which)
      : lock_(s.all_locked == nullptr ? std::optional(s.server.keys.at(std::to_underlying(which)).lock())
                                      : std::nullopt),
        shard_(lock_ ? &**lock_ : &*(*s.all_locked)[std::to_underlying(which)]) {}
  [[nodiscard]] shard& operator*() const noexcept { return *shard_; }
  [[nodiscard]] shard* operator->() const noexcept { return shard_; }

 private:
  std::optional<store::part::ptr> lock_;
  shard* shard_;
};

template <class F>
void session::each_part(F f) {
  for (std::size_t i = 0; i < server.keys.parts(); ++i) f(*locked_shard(*this, shard_number{i}));
}
inline store::totals session::count() {
  store::totals t;
  each_part([&](shard const& p) { t.add(p); });
  return t;
}

/// Carries out one command, its name first, and appends the answer. May wait (SAVE).
void execute(session& s, arguments args);

}  // namespace cache
