// Values: GET, SET and their kin. Each locks the one shard that its key is in; MSET and MSETNX those of all its keys, in order.
#include "commands.hpp"

#include <algorithm>
#include <limits>
#include <list>
#include <string>
#include <vector>

namespace cache {

namespace {

void answer_value(session& s, entry const* e) {
  ++(e != nullptr ? s.hits : s.misses);
  if (e != nullptr) s.out.bulk(e->value());
  else s.out.null();
}

void get(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  answer_value(s, part->find(a[1], hash, s.now));
}

/// Now and so many units of so many milliseconds, or the moment itself; nullopt: the error is given.
std::optional<time_ms> moment(session& s, std::string_view text, std::int64_t unit, bool absolute,
                              std::string_view name) {
  auto const n = integer_of(text);
  if (!n) return s.out.error(errors::not_integer), std::nullopt;
  std::int64_t t = 0;
  if (*n <= 0 || __builtin_mul_overflow(*n, unit, &t) || (!absolute && __builtin_add_overflow(t, s.now, &t)))
    return s.out.error("ERR invalid expire time in '" + std::string(name) + "' command"), std::nullopt;
  return t;
}

struct set_options {
  bool if_new = false, if_there = false, keep = false, give_old = false;
  time_ms expires = 0;
};

/// What is no option is found before a number that is none, as in Redis.
bool parse(session& s, arguments a, set_options& o) {
  std::size_t time = 0;  // which argument is one; of several of the same kind the last counts
  std::int64_t unit = 0;
  bool absolute = false;
  for (std::size_t i = 3; i < a.size(); ++i) {
    bool const seconds = is_word(a[i], "EX") || is_word(a[i], "EXAT");
    bool const timed = seconds || is_word(a[i], "PX") || is_word(a[i], "PXAT");
    if (is_word(a[i], "NX") && !o.if_there) o.if_new = true;
    else if (is_word(a[i], "XX") && !o.if_new) o.if_there = true;
    else if (is_word(a[i], "GET")) o.give_old = true;
    else if (is_word(a[i], "KEEPTTL") && time == 0) o.keep = true;
    else if (timed && (time == 0 || lower(a[i]) == lower(a[time - 1])) && !o.keep && i + 1 < a.size()) {
      absolute = a[i].size() == 4;
      unit = seconds ? 1000 : 1;
      time = ++i;
    } else return s.out.error(errors::syntax), false;
  }
  if (time == 0) return true;
  auto const t = moment(s, a[time], unit, absolute, "set");
  o.expires = t.value_or(0);
  return t.has_value();
}

void set(session& s, arguments a) {
  set_options o;
  if (a.size() > 3 && !parse(s, a, o)) return;
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  if (o.if_new || o.if_there || o.keep || o.give_old) {
    entry const* const old = part->find(a[1], hash, s.now, false);
    std::size_t const before = s.out.bytes().size();
    if (o.give_old) answer_value(s, old);
    if ((o.if_new && old != nullptr) || (o.if_there && old == nullptr)) {
      if (!o.give_old) s.out.null();
      return;
    }
    if (o.keep && old != nullptr) o.expires = old->expires;
    if (!part->put(a[1], hash, a[2], o.expires, s.now)) {
      s.out.bytes().resize(before);
      return s.out.error(errors::no_room);
    }
    ++s.changes;
    if (!o.give_old) s.out.ok();
    return;
  }
  if (!part->put(a[1], hash, a[2], o.expires, s.now)) return s.out.error(errors::no_room);
  ++s.changes;
  s.out.ok();
}

template <std::int64_t Unit>
void setex(session& s, arguments a) {
  auto const t = moment(s, a[2], Unit, false, Unit == 1 ? "psetex" : "setex");
  if (!t) return;
  std::uint64_t const hash = hash_of(a[1]);
  if (!locked_shard(s, hash)->put(a[1], hash, a[3], *t, s.now)) return s.out.error(errors::no_room);
  ++s.changes;
  s.out.ok();
}

void setnx(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  if (part->find(a[1], hash, s.now, false) != nullptr) return s.out.integer(0);
  if (!part->put(a[1], hash, a[2], 0, s.now)) return s.out.error(errors::no_room);
  ++s.changes;
  s.out.integer(1);
}

void getset(session& s, arguments a) {
  std::string_view const as_set[] = {a[0], a[1], a[2], "GET"};
  set(s, as_set);
}

void getdel(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  answer_value(s, part->find(a[1], hash, s.now, false));
  if (part->erase(a[1], hash, s.now)) ++s.changes;
}

void add(session& s, std::string_view key, std::int64_t by) {
  std::uint64_t const hash = hash_of(key);
  locked_shard const part(s, hash);
  entry const* const old = part->find(key, hash, s.now, false);
  auto const n = old != nullptr ? integer_of(old->value()) : 0;
  if (!n) return s.out.error(errors::not_integer);
  std::int64_t sum = 0;
  if (__builtin_add_overflow(*n, by, &sum)) return s.out.error("ERR increment or decrement would overflow");
  char digits[24];
  std::string_view const text(
      digits, static_cast<std::size_t>(std::to_chars(digits, digits + sizeof digits, sum).ptr - digits));
  if (!part->put(key, hash, text, old != nullptr ? old->expires : 0, s.now)) return s.out.error(errors::no_room);
  ++s.changes;
  s.out.integer(sum);
}

void incr(session& s, arguments a) { add(s, a[1], 1); }
void decr(session& s, arguments a) { add(s, a[1], -1); }
void incrby(session& s, arguments a) {
  auto const by = integer_of(a[2]);
  by ? add(s, a[1], *by) : s.out.error(errors::not_integer);
}
void decrby(session& s, arguments a) {
  auto const by = integer_of(a[2]);
  if (!by) return s.out.error(errors::not_integer);
  if (*by == std::numeric_limits<std::int64_t>::min()) return s.out.error("ERR decrement would overflow");
  add(s, a[1], -*by);
}

void append(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  std::size_t size = 0;
  locked_shard const part(s, hash);
  entry const* const old = part->find(a[1], hash, s.now, false);
  if (old != nullptr && old->value_size + a[2].size() > 512UL * 1024 * 1024)
    return s.out.error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  if (!part->append(a[1], hash, a[2], s.now, size)) return s.out.error(errors::no_room);
  ++s.changes;
  s.out.integer(static_cast<std::int64_t>(size));
}

void value_length(session& s, arguments a) {
  std::uint64_t const hash = hash_of(a[1]);
  locked_shard const part(s, hash);
  entry const* const e = part->find(a[1], hash, s.now);
  s.out.integer(e != nullptr ? e->value_size : 0);
}

void mget(session& s, arguments a) {
  s.out.array(a.size() - 1);
  for (std::size_t i = 1; i < a.size(); ++i) {
    std::uint64_t const hash = hash_of(a[i]);
    locked_shard const part(s, hash);
    answer_value(s, part->find(a[i], hash, s.now));
  }
}

/// All at once for who looks: the shards of all keys are locked, in the order of their numbers, so that no two can wait for each other.
void mset(session& s, arguments a) {
  if (a.size() % 2 == 0) return s.out.error("ERR wrong number of arguments for 'mset' command");
  std::vector<std::size_t> needed;
  for (std::size_t i = 1; i < a.size(); i += 2) needed.push_back(s.server.keys.index_of(hash_of(a[i])));
  std::ranges::sort(needed);
  needed.erase(std::ranges::unique(needed).begin(), needed.end());
  std::list<locked_shard> locked;
  std::vector<shard*> parts(s.server.keys.parts());
  for (std::size_t const i : needed) parts[i] = &*locked.emplace_back(s, shard_number{i});
  std::vector<std::size_t> more(parts.size());  // bytes, of each part: all of them, or none, have room
  for (std::size_t i = 1; i < a.size(); i += 2) {
    std::uint64_t const hash = hash_of(a[i]);
    std::size_t const part = s.server.keys.index_of(hash);
    if (!parts[part]->has_room(a[i], hash, a[i + 1].size(), more[part], s.now)) return s.out.error(errors::no_room);
  }
  for (std::size_t i = 1; i < a.size(); i += 2) {
    std::uint64_t const hash = hash_of(a[i]);
    if (!parts[s.server.keys.index_of(hash)]->put(a[i], hash, a[i + 1], 0, s.now)) return s.out.error(errors::no_room);
    ++s.changes;
  }
  s.out.ok();
}

constexpr command table[] = {
    {"GET", 2, get},
    {"SET", -3, set},
    {"SETEX", 4, setex<1000>},
    {"PSETEX", 4, setex<1>},
    {"SETNX", 3, setnx},
    {"GETSET", 3, getset},
    {"GETDEL", 2, getdel},
    {"INCR", 2, incr},
    {"DECR", 2, decr},
    {"INCRBY", 3, incrby},
    {"DECRBY", 3, decrby},
    {"APPEND", 3, append},
    {"STRLEN", 2, value_length},
    {"MGET", -2, mget},
    {"MSET", -3, mset},
};

}  // namespace

std::span<command const> string_commands() noexcept { return table; }

}  // namespace cache
