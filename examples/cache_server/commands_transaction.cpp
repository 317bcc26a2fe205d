// MULTI, EXEC, DISCARD, WATCH, UNWATCH. EXEC locks all shards, in the order of their numbers as MSET does: nobody sees a part of what
// it does, and nobody comes between.
#include "commands.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <weft/defer.hpp>

namespace cache {

namespace {

constexpr std::size_t most_queued = 256 * 1024 * 1024;  // bytes of a transaction

watched_key seen(session& s, std::string_view key) {
  std::uint64_t const hash = hash_of(key);
  locked_shard const part(s, hash);
  entry const* const e = part->find(key, hash, s.now, false);
  return {e != nullptr ? hash_of(e->value()) | 1 : 0, e != nullptr ? e->expires : 0};
}

void multi(session& s, arguments) {
  if (s.queued != nullptr) return s.out.error("ERR MULTI calls can not be nested");
  s.queued = std::make_unique<transaction>();
  s.out.ok();
}

void discard(session& s, arguments) {
  if (s.queued == nullptr) return s.out.error("ERR DISCARD without MULTI");
  s.queued.reset();
  s.watched.clear();
  s.out.ok();
}

void watch(session& s, arguments a) {
  if (s.queued != nullptr) return s.out.error("ERR WATCH inside MULTI is not allowed");
  for (std::string_view const key : a.subspan(1)) {
    if (!s.watched.contains(key)) s.watched.emplace(key, seen(s, key));
  }
  s.out.ok();
}

void unwatch(session& s, arguments) {
  s.watched.clear();
  s.out.ok();
}

void exec(session& s, arguments) {
  if (s.queued == nullptr) return s.out.error("ERR EXEC without MULTI");
  auto const all = std::exchange(s.queued, nullptr);
  auto const watched = std::exchange(s.watched, {});
  if (all->broken) return s.out.error("EXECABORT Transaction discarded because of previous errors.");
  std::vector<store::part::ptr> locks;
  locks.reserve(s.server.keys.parts());
  for (std::size_t i = 0; i < s.server.keys.parts(); ++i) locks.push_back(s.server.keys.at(i).lock());
  s.all_locked = &locks;
  weft::defer const over([&] { s.all_locked = nullptr; });
  for (auto const& [key, before] : watched) {
    if (seen(s, key) != before) return s.out.null_array();
  }
  s.out.array(all->steps.size());
  std::vector<std::string_view> args;
  for (transaction::step const& step : all->steps) {
    args.assign(step.args.begin(), step.args.end());
    step.what->run(s, args);
  }
}

constexpr command table[] = {
    {"MULTI", 1, multi, in_multi::at_once},
    {"EXEC", 1, exec, in_multi::at_once},
    {"DISCARD", 1, discard, in_multi::at_once},
    {"WATCH", -2, watch, in_multi::at_once},
    {"UNWATCH", 1, unwatch},
};

}  // namespace

std::span<command const> transaction_commands() noexcept { return table; }

void enqueue(session& s, command const& c, arguments args) {
  transaction& all = *s.queued;
  if (!c.subs.empty() && args.size() > 1 && subcommand_of(s, c.name, c.subs, args) == nullptr) {
    all.broken = true;
    return;
  }
  all.bytes += 2 * sizeof(transaction::step);  // a vector that grows has twice as many
  for (std::string_view const a : args) all.bytes += sizeof(std::string) + a.size();
  if (c.between == in_multi::refused || all.bytes > most_queued) {
    all.broken = true;
    all.steps = {};
    return s.out.error(c.between == in_multi::refused ? "ERR Command not allowed inside a transaction"
                                                      : "ERR the transaction is too large");
  }
  if (!all.broken) all.steps.push_back({&c, {args.begin(), args.end()}});
  s.out.simple("QUEUED");
}

}  // namespace cache
