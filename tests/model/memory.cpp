#include "tests/model/memory.hpp"

#include "tests/model/engine.hpp"

namespace model {
namespace {

bool acquires(order o) {
  return o == order::acquire || o == order::acq_rel || o == order::seq_cst || o == order::consume;
}
bool releases(order o) { return o == order::release || o == order::acq_rel || o == order::seq_cst; }
order weakened(engine const& e, operation what, where at, order o) {
  return e.is(change::relaxed, what, at) ? order::relaxed : o;
}
constexpr unsigned looks_at_old = 2;  // in a row; a store becomes visible in the end

}  // namespace

// ---- places ---------------------------------------------------------------------------------------------------------

unsigned engine::place_of(handle& h, std::uint64_t initial) {
  if (h.execution == execution) {
    if (h.place >= place_count || places[h.place].dead) fail("an object is used after its end");
    return h.place;
  }
  if (place_count == most_places) fail("the model has too few places");
  bool const arena = open_arena(false);  // what follows outlives the execution
  if (places.size() == place_count) places.emplace_back();
  place& p = places[place_count];
  p.key = mix(reinterpret_cast<std::uintptr_t>(&h), 1);
  p.messages.clear();
  p.messages.push_back({initial, {}, most_threads, 0});
  p.history = 0;
  p.by = &traffics[p.key];
  p.dead = false;
  p.locked = initial == closed;
  p.unlocked = {};
  p.last_writer = most_threads;
  p.last_write = 0;
  p.last_read = {};
  h.execution = execution;
  h.place = static_cast<std::uint16_t>(place_count);
  open_arena(arena);
  return place_count++;
}

void born(handle& h) noexcept { h.execution = 0; }

void died(handle& h) noexcept {
  engine& e = the_engine();
  if (h.execution == e.execution && e.current >= 0 && h.place < e.place_count) e.places[h.place].dead = true;
}

bool engine::shared(unsigned at, bool writes) const noexcept {
  traffic const& t = *places[at].by;
  return ((writes ? t.readers | t.writers : t.writers) & ~(1u << current)) != 0;
}

void engine::note_traffic(unsigned at, bool writes) {
  traffic& t = *places[at].by;
  unsigned& mask = writes ? t.writers : t.readers;
  if ((mask & my_bit()) != 0) return;
  mask |= my_bit();
  unsigned const others = ~my_bit() & (writes ? t.readers | t.writers : t.writers);
  if (others != 0) surprised = true;  // their accesses were no reason to choose until now
}

void engine::come(unsigned at, bool writes, bool past_held) {
  note_traffic(at, writes);
  thread& t = me();
  if (t.holds && !past_held) flush();
  if (shared(at, writes)) back_to_explorer();
  if (++t.step == 0) fail("a thread goes round without end");
}

/// Whether a store that a mutation has made late goes after this access.
bool engine::held_past(unsigned at) noexcept {
  thread const& t = me();
  return t.holds && t.holds_past_stores && t.held_place != at;
}

std::uint64_t engine::fences_hash() const noexcept {
  std::uint64_t h = 0;
  for (unsigned i = 0; i < place_count; ++i)
    if (fences.places[i] != 0) h += mix(places[i].key, fences.places[i]);
  return h;
}

/// What was moved past the access that has just been made.
void engine::flush() {
  thread& t = me();
  if (!t.holds) return;
  t.holds = t.holds_past_stores = false;
  if (shared(t.held_place, true)) back_to_explorer();
  ++t.step;
  perform_store(t.held_place, t.held_value, t.held_order, t.held_at);
}

// ---- loads and stores -----------------------------------------------------------------------------------------------

void engine::take(unsigned at, std::size_t index, order o) {
  place& p = places[at];
  thread& t = me();
  message const& m = p.messages[index];
  bool const old = index + 1 < p.messages.size();
  t.again[at] = old && t.seen[at] == index + 1 ? static_cast<std::uint8_t>(t.again[at] + 1) : 0;
  t.seen[at] = static_cast<std::uint8_t>(index + 1);
  if (t.now.places[at] < index) t.now.places[at] = static_cast<std::uint8_t>(index);
  t.acquired.join(m.released);
  if (acquires(o)) t.now.join(m.released);
  t.history = mix(t.history, p.key ^ (static_cast<std::uint64_t>(m.writer) << 8 | m.step));
}

namespace {
/// The oldest message that may be read.
std::size_t oldest(engine& e, unsigned at, order o) {
  thread& t = e.me();
  std::size_t from = t.now.places[at];
  if (o == order::seq_cst && e.fences.places[at] > from) from = e.fences.places[at];
  std::size_t const newest = e.places[at].messages.size() - 1;
  if (from < newest && t.again[at] >= looks_at_old && t.seen[at] == from + 1) ++from;
  return from;
}
}  // namespace

std::uint64_t engine::perform_load(unsigned at, order o, where) {
  std::size_t const newest = places[at].messages.size() - 1;
  std::size_t const from = oldest(*this, at, o);
  bool const may_be_old = departures < what->departures;
  std::size_t const index = newest - pick(may_be_old ? static_cast<unsigned>(newest - from + 1) : 1);
  departures += index != newest ? 1 : 0;
  take(at, index, o);
  return places[at].messages[index].value;
}

/// `continues`: the message that a read-modify-write has read, for the release sequence.
void engine::append(unsigned at, std::uint64_t value, order o, message const* continues) {
  place& p = places[at];
  thread& t = me();
  std::size_t const index = p.messages.size();
  if (index == 255) fail("the model has too few messages");
  t.now.places[at] = static_cast<std::uint8_t>(index);
  t.now.steps[static_cast<unsigned>(current)] = t.step;
  message m{value, releases(o) ? t.now : t.released, static_cast<std::uint8_t>(current), t.step};
  m.released.places[at] = static_cast<std::uint8_t>(index);
  if (continues != nullptr) m.released.join(continues->released);
  if (o == order::seq_cst) {
    fences.places[at] = static_cast<std::uint8_t>(index);
  }
  t.seen[at] = static_cast<std::uint8_t>(index + 1);
  ++t.changes;
  t.again[at] = 0;
  p.history = mix(p.history, static_cast<std::uint64_t>(current) << 8 | t.step);
  p.messages.push_back(m);
}

void engine::perform_store(unsigned at, std::uint64_t value, order o, where from) {
  append(at, value, o, nullptr);
  note(from, "=", value);
}

std::uint64_t load(handle& h, std::uint64_t initial, order o, where at) {
  engine& e = the_engine();
  unsigned const p = e.place_of(h, initial);
  if (e.current < 0) return e.places[p].messages.back().value;
  thread& t = e.me();
  bool const again = t.seen[p] != 0 && e.shared(p, false);
  if (e.shared(p, false))
    e.offer(operation::load, at,
            {acquires(o) ? change::relaxed : change::none, again ? change::skipped : change::none});
  o = weakened(e, operation::load, at, o);
  if (again && e.is(change::skipped, operation::load, at)) {
    std::uint64_t const known = e.places[p].messages[t.seen[p] - 1u].value;
    e.note(at, "is not looked at again:", known);
    return known;
  }
  bool const past = t.holds && t.held_place != p;
  e.come(p, false, past);
  std::uint64_t const v = e.perform_load(p, o, at);
  e.note(at, "->", v, t.now.places[p] + 1u < e.places[p].messages.size() ? " (old)" : "");
  if (past && e.shared(p, false)) e.flush();
  return v;
}

void store(handle& h, std::uint64_t initial, std::uint64_t value, order o, where at) {
  engine& e = the_engine();
  unsigned const p = e.place_of(h, initial);
  if (e.current < 0) {
    e.places[p].messages.back().value = value;
    return;
  }
  if (e.shared(p, true))
    e.offer(operation::store, at, {releases(o) ? change::relaxed : change::none, change::late, change::left_out});
  o = weakened(e, operation::store, at, o);
  if (e.is(change::left_out, operation::store, at)) return;
  thread& t = e.me();
  bool const late = e.is(change::late, operation::store, at);
  // A store that a compiler may move past the next load. With full fences no compiler may.
  bool const moves = e.what->compiler_moves && o != order::seq_cst && e.shared(p, true);
  bool const past = e.held_past(p);
  if (t.holds && !past) e.flush();
  if (!past && (late || (moves && e.pick(2) == 1))) {
    e.note_traffic(p, true);
    t.holds = true;
    t.holds_past_stores = late;
    t.held_place = p;
    t.held_value = value;
    t.held_order = o;
    t.held_at = at;
    return;
  }
  e.come(p, true, past);
  e.perform_store(p, value, o, at);
  e.flush_if(past);
}

std::uint64_t update(handle& h, std::uint64_t initial, change_value f, std::uint64_t operand, order o, where at) {
  engine& e = the_engine();
  unsigned const p = e.place_of(h, initial);
  if (e.current < 0) {
    std::uint64_t& v = e.places[p].messages.back().value;
    std::uint64_t const old = v;
    v = f(old, operand);
    return old;
  }
  if (e.shared(p, true))
    e.offer(operation::update, at, {o != order::relaxed ? change::relaxed : change::none, change::split});
  o = weakened(e, operation::update, at, o);
  bool const past = e.held_past(p);
  e.come(p, true, past);
  if (e.is(change::split, operation::update, at)) {
    std::uint64_t const old = e.perform_load(p, o, at);
    e.note(at, "(split) ->", old);
    e.come(p, true);
    e.perform_store(p, f(old, operand), o, at);
    return old;
  }
  std::size_t const newest = e.places[p].messages.size() - 1;
  e.take(p, newest, o);
  message const read = e.places[p].messages[newest];
  e.append(p, f(read.value, operand), o, &read);
  e.note(at, "<->", e.places[p].messages.back().value);
  e.flush_if(past);
  return read.value;
}

bool compare_exchange(handle& h, std::uint64_t initial, std::uint64_t& expected, std::uint64_t desired, order success,
                      order failure, where at) {
  engine& e = the_engine();
  unsigned const p = e.place_of(h, initial);
  if (e.current < 0) {
    std::uint64_t& v = e.places[p].messages.back().value;
    bool const same = v == expected;
    (same ? v : expected) = same ? desired : v;
    return same;
  }
  if (e.shared(p, true))
    e.offer(operation::exchange, at,
            {success != order::relaxed ? change::relaxed : change::none, change::split, change::left_out});
  success = weakened(e, operation::exchange, at, success);
  failure = weakened(e, operation::exchange, at, failure);
  bool const past = e.held_past(p);
  e.come(p, true, past);
  if (e.is(change::split, operation::exchange, at)) {
    std::uint64_t const old = e.perform_load(p, success, at);
    e.note(at, "(split) ->", old);
    if (old != expected) {
      expected = old;
      return false;
    }
    e.come(p, true);
    e.perform_store(p, desired, success, at);
    return true;
  }
  // It succeeds on the newest value only, and may fail on an older one that is not what is expected.
  std::size_t const newest = e.places[p].messages.size() - 1;
  std::size_t const from = oldest(e, p, failure);
  std::array<std::uint8_t, 256> fits;
  unsigned n = 0;
  fits[n++] = static_cast<std::uint8_t>(newest);
  for (std::size_t i = newest; i-- > from && e.departures < e.what->departures;)
    if (e.places[p].messages[i].value != expected) fits[n++] = static_cast<std::uint8_t>(i);
  std::size_t const index = fits[e.pick(n)];
  e.departures += index != newest ? 1 : 0;
  message const read = e.places[p].messages[index];
  if (read.value != expected) {
    e.take(p, index, failure);
    e.note(at, "fails ->", read.value);
    expected = read.value;
    e.flush_if(past);
    return false;
  }
  e.take(p, index, success);
  if (e.is(change::left_out, operation::exchange, at)) return true;
  e.append(p, desired, success, &read);
  e.note(at, "<->", desired);
  e.flush_if(past);
  return true;
}

// ---- fences ---------------------------------------------------------------------------------------------------------

/// `with_steps`: as a fence of the program's own; a membarrier in another thread is no reason to call plain data ordered.
void engine::seq_cst_fence(thread& t, bool with_steps) {
  if (with_steps) t.now.join(t.acquired);
  else t.now.join_places(t.acquired);
  t.now.join_places(fences);
  fences.join_places(t.now);
  if (with_steps) {
    t.now.steps[static_cast<unsigned>(current)] = t.step;
    t.released = t.now;
  } else {
    t.released.join_places(t.now);
  }
  t.history = mix(t.history, fences_hash());
}

void engine::fence_here() {
  back_to_explorer();
  ++me().step;
  seq_cst_fence(me(), true);
}

void full_fence(where at) {
  engine& e = the_engine();
  if (e.current < 0) return;
  e.offer(operation::fence, at, {change::left_out});
  if (e.is(change::left_out, operation::fence, at)) return;
  e.flush();
  e.fence_here();
  e.note(at, "fence", 0);
}

void acquire_release_fence(order o, where at) {
  if (o == order::seq_cst) return full_fence(at);
  engine& e = the_engine();
  if (e.current < 0) return;
  thread& t = e.me();
  e.flush();
  ++t.step;
  if (acquires(o)) t.now.join(t.acquired);
  if (releases(o)) {
    t.now.steps[static_cast<unsigned>(e.current)] = t.step;
    t.released = t.now;
  }
}

void light_fence(where at) {
  engine& e = the_engine();
  if (e.current < 0) return;
  e.offer(operation::light, at, {change::left_out});
  if (e.is(change::left_out, operation::light, at)) return;
  if (!e.what->membarrier) {
    if (!e.me().holds_past_stores) e.flush();
    e.fence_here();
  } else if (!e.me().holds_past_stores) {
    e.flush();
  }
  e.note(at, "light fence", 0);
}

void heavy_fence(where at) {
  engine& e = the_engine();
  if (e.current < 0) return;
  e.offer(operation::heavy, at, {change::left_out});
  if (e.is(change::left_out, operation::heavy, at)) return;
  e.flush();
  e.fence_here();
  e.note(at, "heavy fence: here", 0);
  if (!e.what->membarrier) return;
  for (unsigned i = 0; i < e.count; ++i) {
    if (static_cast<int>(i) == e.current) continue;
    e.back_to_explorer();
    e.seq_cst_fence(e.threads[i], false);
    e.note(at, "heavy fence: in thread", i);
  }
  e.seq_cst_fence(e.me(), true);
}

}  // namespace model
