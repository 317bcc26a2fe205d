// Locks, bells, futexes, pauses and plain data: what is not an atomic and not a fence.

#include <utility>

#include "tests/model/engine.hpp"
#include "tests/model/memory.hpp"

namespace model {

void lock(handle& h, where at) {
  engine& e = the_engine();
  unsigned const i = e.place_of(h, 0);
  if (e.current < 0) return;
  thread& t = e.me();
  e.flush();
  if (e.shared(i, true)) e.offer(operation::lock, at, {change::left_out});
  if (e.is(change::left_out, operation::lock, at)) return;
  e.note_traffic(i, true);
  if (e.shared(i, true) || e.places[i].locked) {
    t.status = thread::wants_lock;
    t.at_place = i;
    e.back_to_explorer();
    t.status = thread::runs;
  }
  place& p = e.places[i];
  if (p.locked) e.fail("a thread locks what it holds");
  ++t.step;
  p.locked = true;
  t.now.join(p.unlocked);
  t.history = mix(t.history, p.history);
  p.history = mix(p.history, static_cast<std::uint64_t>(e.current) << 8 | t.step);
  e.note(at, "locked", 0);
}

/// No reason to choose: whatever others do between a thread's last access and its unlock, they may as well do after it.
void unlock(handle& h, where at) {
  engine& e = the_engine();
  unsigned const i = e.place_of(h, 0);
  if (e.current < 0) return;
  e.flush();
  place& p = e.places[i];
  if (!p.locked && e.active.kind == static_cast<unsigned>(operation::lock)) return;
  if (!p.locked) e.fail("a lock is released that is not held");
  p.locked = false;
  ++e.me().changes;
  thread& t = e.me();
  t.now.steps[static_cast<unsigned>(e.current)] = ++t.step;
  p.unlocked = t.now;
  p.history = mix(p.history, t.history);
  e.note(at, "unlocked", 0);
}

bool post(handle& h, where at) {
  engine& e = the_engine();
  unsigned const i = e.place_of(h, closed);
  e.flush();
  e.note_traffic(i, true);
  place& p = e.places[i];
  thread& t = e.me();
  t.now.steps[static_cast<unsigned>(e.current)] = ++t.step;
  p.unlocked.join(t.now);
  p.history = mix(p.history, t.history);
  ++t.changes;
  e.note(at, "rings", 0);
  return std::exchange(p.locked, false);
}

void receive(handle& h, where at) {
  engine& e = the_engine();
  unsigned const i = e.place_of(h, closed);
  lock(h, at);
  e.places[i].locked = true;
}

void futex_wait(handle& h, std::uint64_t initial, std::uint64_t expected, where at) {
  engine& e = the_engine();
  unsigned const i = e.place_of(h, initial);
  thread& t = e.me();
  e.flush();
  e.come(i, false);
  message const& newest = e.places[i].messages.back();
  t.history = mix(t.history, mix(static_cast<std::uint64_t>(newest.writer) << 8 | newest.step, 5));
  if (newest.value != expected) return e.note(at, "does not sleep: it is", newest.value);
  e.note(at, "sleeps while it is", expected);
  t.status = thread::sleeps;
  t.at_place = i;
  e.back_to_explorer();
}

void futex_wake(handle& h, std::uint64_t initial, int count, where at) {
  engine& e = the_engine();
  unsigned const i = e.place_of(h, initial);
  if (e.current < 0) return;
  e.flush();
  e.come(i, true);
  e.me().history = mix(e.me().history, 3);
  for (unsigned k = 0; k < e.count && count > 0; ++k) {
    thread& other = e.threads[k];
    if (other.status != thread::sleeps || other.at_place != i) continue;
    other.status = thread::runs;
    --count;
    e.note(at, "wakes thread", k);
  }
}

void pause(where at) {
  engine& e = the_engine();
  thread& t = e.me();
  e.flush();
  t.status = thread::pauses;
  ++t.pause_count;
  t.paused_at = e.others_changes(t);
  e.note(at, "looks again when something has changed", 0);
  e.back_to_explorer();
  t.status = thread::runs;
  for (unsigned i = 0; i < e.place_count; ++i) {
    std::size_t const newest = e.places[i].messages.size() - 1;
    if (t.seen[i] == 0 || t.now.places[i] == newest) continue;
    t.now.places[i] = static_cast<std::uint8_t>(newest);
    t.history += mix(e.places[i].key, newest);
  }
}

void read_plain(handle& h, where at) {
  engine& e = the_engine();
  place& p = e.places[e.place_of(h, 0)];
  if (e.current < 0) return;
  thread& t = e.me();
  if (p.last_writer < most_threads && static_cast<int>(p.last_writer) != e.current &&
      p.last_write > t.now.steps[p.last_writer])
    e.fail("plain data is read while another thread writes it");
  p.last_read[static_cast<unsigned>(e.current)] = ++t.step;
  e.note(at, "reads plain data", 0);
}

void write_plain(handle& h, where at) {
  engine& e = the_engine();
  place& p = e.places[e.place_of(h, 0)];
  if (e.current < 0) return;
  thread& t = e.me();
  for (unsigned i = 0; i < e.count; ++i) {
    if (static_cast<int>(i) == e.current) continue;
    bool const wrote = p.last_writer == i && p.last_write > t.now.steps[i];
    if (wrote || p.last_read[i] > t.now.steps[i]) e.fail("two threads use plain data at once");
  }
  p.last_writer = static_cast<unsigned>(e.current);
  p.last_write = ++t.step;
  e.note(at, "writes plain data", 0);
}

}  // namespace model
