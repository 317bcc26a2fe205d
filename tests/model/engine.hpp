// The explorer's insides: one execution's memory and threads (memory.cpp), and the search (explorer.cpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <boost/context/detail/fcontext.hpp>

#include "tests/model/explorer.hpp"

namespace model {

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6))) * 0xff51afd7ed558ccdu;
  h = (h ^ (h >> 32)) * 0xc4ceb9fe1a85ec53u;
  return h ^ (h >> 29);
}

/// Place by place, the oldest store that may be read; thread by thread, which of its steps happened before.
struct view {
  std::array<std::uint8_t, most_places> places{};
  std::array<std::uint8_t, most_threads> steps{};

  void join_places(view const& o) noexcept {
    for (std::size_t i = 0; i < places.size(); ++i) places[i] = places[i] > o.places[i] ? places[i] : o.places[i];
  }
  void join(view const& o) noexcept {
    join_places(o);
    for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = steps[i] > o.steps[i] ? steps[i] : o.steps[i];
  }
};

/// A store. `released`: what whoever acquires it knows from then on.
struct message {
  std::uint64_t value;
  view released;
  std::uint8_t writer, step;
};

/// Which threads ever use a place, in the executions so far.
struct traffic {
  unsigned readers = 0, writers = 0;  // bits
};

struct place {
  std::uint64_t key = 0;            // the same in all executions
  std::vector<message> messages{};  // oldest first
  std::uint64_t history = 0;        // of all stores
  traffic* by = nullptr;
  bool dead = false;
  bool locked = false;
  view unlocked{};  // what the last holder knew
  // Plain data.
  unsigned last_writer = most_threads;
  std::uint8_t last_write = 0;
  std::array<std::uint8_t, most_threads> last_read{};
};

enum class operation : std::uint8_t { load = 1, store, update, exchange, fence, light, heavy, lock };

struct thread {
  boost::context::detail::fcontext_t context = nullptr;
  view now, acquired, released;
  std::uint64_t history = 0;  // of all it has read
  std::uint8_t step = 0;
  enum : std::uint8_t { runs, wants_lock, sleeps, pauses, finished } status = runs;
  unsigned changes = 0;  // stores, unlocks, rings
  unsigned pause_count = 0;
  unsigned paused_at = 0;      // the others' changes then
  unsigned let_through = ~0u;  // the same, when it went on because nobody else could
  unsigned at_place = 0;       // whose lock, or whose futex
  // A store that the compiler, or a mutation, has moved past the next access.
  bool holds = false;
  bool holds_past_stores = false;
  unsigned held_place = 0;
  std::uint64_t held_value = 0;
  order held_order{};
  where held_at{};
  std::array<std::uint8_t, most_places> seen{};   // last message it read or wrote, + 1
  std::array<std::uint8_t, most_places> again{};  // how often in a row it read that, though it was old
};

inline constexpr std::uint64_t closed = ~std::uint64_t{0};  // the first value of a bell: nobody has rung it

/// One execution after the other; there is one.
struct engine {
  // ---- the search ----
  struct choice_point {
    std::uint16_t chosen, count;
  };
  scenario const* what = nullptr;
  mutation active{};
  std::vector<choice_point> path;
  std::size_t depth = 0;
  std::vector<std::uint64_t> visited;  // open addressing; 0: free
  std::size_t visited_count = 0;
  std::unordered_map<std::uint64_t, traffic> traffics;
  bool surprised = false;  // a place is shared that was not
  bool tracing = false;
  std::vector<std::string> trace;
  std::vector<char const*> reached;
  std::vector<mutation> catalogue;
  std::unordered_set<std::uint64_t> catalogued;
  bool cataloguing = false;

  // ---- the execution ----
  std::uint32_t execution = 1;  // what static objects do comes before all of them
  program* code = nullptr;
  std::array<thread, most_threads> threads;
  unsigned count = 0;
  int current = -1;  // -1: before or after the threads
  unsigned last = 0;
  unsigned departures = 0;
  bool ended = false;
  std::vector<place> places;
  unsigned place_count = 0;
  view fences;  // what all seq_cst fences know
  std::string failure;
  boost::context::detail::fcontext_t explorer_context = nullptr;

  [[nodiscard]] thread& me() noexcept { return threads[static_cast<unsigned>(current)]; }
  [[nodiscard]] unsigned my_bit() const noexcept { return 1u << current; }
  unsigned pick(unsigned n);
  void back_to_explorer();
  [[noreturn]] void fail(std::string text);

  [[nodiscard]] unsigned place_of(handle&, std::uint64_t initial);
  /// Before an access: to the explorer, if it is anybody else's business.
  void come(unsigned at, bool writes, bool past_held = false);
  [[nodiscard]] bool shared(unsigned at, bool writes) const noexcept;
  void note_traffic(unsigned at, bool writes);
  void flush();
  [[nodiscard]] unsigned others_changes(thread const& t) const noexcept {
    unsigned n = 0;
    for (unsigned i = 0; i < count; ++i) n += threads[i].changes;
    return n - t.changes;
  }
  void flush_if(bool past) {
    if (past) flush();
  }
  [[nodiscard]] bool held_past(unsigned at) noexcept;
  [[nodiscard]] std::uint64_t fences_hash() const noexcept;
  void perform_store(unsigned at, std::uint64_t value, order, where);
  std::uint64_t perform_load(unsigned at, order, where);
  void append(unsigned at, std::uint64_t value, order, message const* continues);
  void take(unsigned at, std::size_t index, order);
  void seq_cst_fence(thread&, bool with_steps);
  void fence_here();  // one step of the running thread

  [[nodiscard]] bool is(change, operation, where) const noexcept;
  void offer(operation, where, std::initializer_list<change>);
  void note(where, char const* did, std::uint64_t value, char const* more = "");
  [[nodiscard]] outcome explore(scenario const&, mutation const&, bounds const&);

 private:
  [[nodiscard]] bool met_before(std::uint64_t state);
  [[nodiscard]] std::uint64_t state() const;
  void begin();
  void run_once(bool& pruned);
  void resume(unsigned thread);
  void start_anew();
  [[nodiscard]] bool able(thread const&) const noexcept;
  [[nodiscard]] bool let_through(unsigned& n) noexcept;
};

engine& the_engine();

/// arena.cpp. Returns whether it was open.
bool open_arena(bool open) noexcept;
void empty_arena() noexcept;

}  // namespace model
