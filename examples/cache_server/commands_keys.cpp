// Keys: whether they are there, how long they live, and lists of them.
#include "commands.hpp"
#include "glob.hpp"

#include <limits>
#include <string>
#include <vector>

namespace cache {

namespace {

entry* find(session& s, locked_shard const& part, std::string_view key, std::uint64_t hash) {
  return part->find(key, hash, s.now, false);
}

void del(session& s, arguments a) {
  std::int64_t n = 0;
  for (std::string_view const key : a.subspan(1)) {
    std::uint64_t const hash = hash_of(key);
    n += locked_shard(s, hash)->erase(key, hash, s.now);
  }
  s.changes += static_cast<std::uint64_t>(n);
  s.out.integer(n);
}

void exists(session& s, arguments a) {
  std::int64_t n = 0;
  for (std::string_view const key : a.subspan(1)) {
    std::uint64_t const hash = hash_of(key);
    n += locked_shard(s, hash)->find(key, hash, s.now) != nullptr;
  }
  s.out.integer(n);
}

/// EXPIRE and the three like it: NX, XX, GT, LT say under which condition.
template <std::int64_t Unit, bool Absolute>
void expire(session& s, arguments a) {
  bool nx = false, xx = false, gt = false, lt = false;
  for (std::string_view const o : a.subspan(3)) {
    if (is_word(o, "NX")) nx = true;
    else if (is_word(o, "XX")) xx = true;
    else if (is_word(o, "GT")) gt = true;
    else if (is_word(o, "LT")) lt = true;
    else return s.out.error("ERR Unsupported option " + std::string(o));
  }
  if (nx && (xx || gt || lt)) return s.out.error("ERR NX and XX, GT or LT options at the same time are not compatible");
  if (gt && lt) return s.out.error("ERR GT and LT options at the same time are not compatible");
  auto const n = integer_of(a[2]);
  if (!n) return s.out.error(errors::not_integer);
  std::int64_t at = 0;
  if (__builtin_mul_overflow(*n, Unit, &at) || (!Absolute && __builtin_add_overflow(at, s.now, &at)))
    return s.out.error("ERR invalid expire time in '" + lower(a[0]) + "' command");
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  entry* const e = find(s, part, a[1], hash);
  if (e == nullptr) return s.out.integer(0);
  time_ms const old = e->expires != 0 ? e->expires : std::numeric_limits<time_ms>::max();
  if ((nx && e->expires != 0) || (xx && e->expires == 0) || (gt && at <= old) || (lt && at >= old))
    return s.out.integer(0);
  if (at <= s.now) part->erase(a[1], hash, s.now);
  else part->set_expiry(*e, at);
  ++s.changes;
  s.out.integer(1);
}

template <std::int64_t Unit, bool Absolute>
void ttl(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  entry const* const e = find(s, part, a[1], hash);
  if (e == nullptr) return s.out.integer(-2);
  if (e->expires == 0) return s.out.integer(-1);
  s.out.integer(((Absolute ? e->expires : e->expires - s.now) + Unit / 2) / Unit);
}

void persist(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  entry* const e = find(s, part, a[1], hash);
  if (e == nullptr || e->expires == 0) return s.out.integer(0);
  part->set_expiry(*e, 0);
  ++s.changes;
  s.out.integer(1);
}

void type(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  s.out.simple(locked_shard(s, hash)->find(a[1], hash, s.now, false) != nullptr ? "string" : "none");
}

void keys(session& s, arguments a) {
  std::vector<std::string> found;
  s.each_part([&](shard& p) {
    p.each([&](entry const& e) {
      if (!e.expired(s.now) && matches(a[1], e.key())) found.emplace_back(e.key());
    });
  });
  s.out.array(found.size());
  for (auto const& key : found) s.out.bulk(key);
}

/// The cursor is that of a shard, with the shard's number in its low bits.
void scan(session& s, arguments a) {
  std::uint64_t cursor = 0;
  auto const [end, failed] = std::from_chars(a[1].data(), a[1].data() + a[1].size(), cursor);
  // No cursor at all is the first one, as for strtoul.
  if (!a[1].empty() && (failed != std::errc() || end != a[1].data() + a[1].size()))
    return s.out.error("ERR invalid cursor");
  std::string_view pattern = "*";
  std::int64_t count = 10;
  bool other_type = false;
  for (std::size_t i = 2; i < a.size(); i += 2) {
    if (i + 1 == a.size()) return s.out.error(errors::syntax);
    if (is_word(a[i], "MATCH")) pattern = a[i + 1];
    else if (is_word(a[i], "TYPE")) other_type = !is_word(a[i + 1], "STRING");
    else if (is_word(a[i], "COUNT")) {
      auto const n = integer_of(a[i + 1]);
      if (!n) return s.out.error(errors::not_integer);
      if (*n < 1) return s.out.error(errors::syntax);
      count = *n;
    } else return s.out.error(errors::syntax);
  }
  std::uint64_t const parts = s.server.keys.parts();
  std::uint64_t part = cursor % parts, in_part = cursor / parts;
  std::vector<std::string> found;
  for (std::size_t seen = 0; part < parts && seen < static_cast<std::size_t>(count);) {
    locked_shard const p(s, shard_number{part});
    in_part = p->scan(in_part, static_cast<std::size_t>(count) - seen, [&](entry const& e) {
      ++seen;
      if (!e.expired(s.now) && !other_type && matches(pattern, e.key())) found.emplace_back(e.key());
    });
    if (in_part == 0) ++part;
  }
  s.out.array(2);
  s.out.bulk(part == parts ? "0" : std::to_string(in_part * parts + part));
  s.out.array(found.size());
  for (auto const& key : found) s.out.bulk(key);
}

void dbsize(session& s, arguments) { s.out.integer(static_cast<std::int64_t>(s.count().keys)); }

void flush(session& s, arguments a) {
  if (a.size() > 2 || (a.size() == 2 && !is_word(a[1], "ASYNC") && !is_word(a[1], "SYNC")))
    return s.out.error(errors::syntax);
  s.each_part([](shard& p) { p.clear(); });
  ++s.changes;
  s.out.ok();
}

constexpr command table[] = {
    {"DEL", -2, del},
    {"UNLINK", -2, del},
    {"EXISTS", -2, exists},
    {"TOUCH", -2, exists},
    {"EXPIRE", -3, expire<1000, false>},
    {"PEXPIRE", -3, expire<1, false>},
    {"EXPIREAT", -3, expire<1000, true>},
    {"TTL", 2, ttl<1000, false>},
    {"PTTL", 2, ttl<1, false>},
    {"PERSIST", 2, persist},
    {"TYPE", 2, type},
    {"KEYS", 2, keys},
    {"SCAN", -2, scan},
    {"DBSIZE", 1, dbsize},
    {"FLUSHALL", -1, flush},
    {"FLUSHDB", -1, flush},
};

}  // namespace

std::span<command const> key_commands() noexcept { return table; }

}  // namespace cache
