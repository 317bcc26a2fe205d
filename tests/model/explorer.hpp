// Model checks: every execution of a few threads on the memory of memory.hpp, within the bounds of a program.
//
// Code under check is the runtime's own, compiled a second time with seam.hpp before it. Its threads are fibers of one thread of the
// system. Before each access to a word that others use too, a thread comes back to the explorer, which goes through all choices (who is next,
// what a load reads) by depth-first search: it runs the program again and again from the start, each time with another list of choices.
//
// A state that was met before is not gone on from. What a thread does depends on nothing but what it has read (or the order in which it got
// a lock), so the state is: what each has read, from whose store; the order of the stores to each place; who sleeps. A place that only one
// thread uses, or that nobody writes, is no reason to choose; which places these are is found out on the way, and a surprise starts
// the search anew.
//
// A run fails if a check fails, two threads use plain data at once, an object is used after its end, or nobody can go on.
#pragma once

#include <cstdint>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "tests/model/memory.hpp"

namespace model {

/// The threads and what must hold. Made anew, at the same place, for each execution. It must own no memory: an execution that leads
/// nowhere new is dropped where it stands. Shared data that decides what a thread does must be modelled, or under a modelled lock.
class program {
 public:
  virtual ~program() = default;
  [[nodiscard]] virtual unsigned threads() const = 0;
  virtual void run(unsigned thread) = 0;
  virtual void end() {}  // all threads are through
};

struct scenario {
  char const* name;
  program* (*make)(void* place);
  bool membarrier = true;       // or both sides of each pair are full fences
  bool compiler_moves = false;  // stores past the loads that follow, unless a light fence forbids it
  unsigned departures = 255;    // how often, in all, a thread that could go on is left, or a load reads an old value
  bool stuck_is_fine = false;   // threads may be left that wait
};

template <class Program>
program* make(void* place) {
  return ::new (place) Program;
}

void check(bool, char const* what);
/// How many of the blocks that the program has allocated when it was made were freed in this execution.
[[nodiscard]] unsigned blocks_given_back() noexcept;
/// Says that an execution has come to this. If with a mutation none does any more, that is a failure too.
void reached(char const* what);
/// For steps that stand in a program, not in the runtime's code: whether this one is changed. Each is a mutation of its own.
[[nodiscard]] bool mutated(char const* step);
/// A choice of the program's: 0 to n - 1, all of them.
[[nodiscard]] unsigned choose(unsigned n);
/// In a loop that looks at words of others again and again: goes on when another thread has changed something, and then sees what was stored
/// before, as it would in the end.
void pause(where = where::current());
/// The number of the thread that runs.
[[nodiscard]] unsigned self();

enum class change : std::uint8_t {
  none,
  relaxed,   // the memory order is gone
  split,     // a read-modify-write is a load and a store
  skipped,   // a load gives what this thread saw there last: it did not look again
  late,      // a store comes after the access that follows it: two steps are swapped
  left_out,  // a store, fence or named step is not there
};
[[nodiscard]] char const* name_of(change);

struct mutation {
  where at{};
  char const* step = nullptr;  // of a named one; null: `at`
  change what = change::none;
  unsigned kind = 0;  // tells apart several operations of one line
};

struct outcome {
  std::uint64_t executions = 0, states = 0;
  bool complete = false;             // all of it was seen
  std::string failure;               // empty: none
  std::vector<std::string> trace{};  // of the execution that failed
  std::set<std::string> reached{};
  std::vector<mutation> mutations{};  // all that its code has
};

struct bounds {
  std::uint64_t executions = 20'000'000;
};

[[nodiscard]] outcome explore(scenario const&, mutation const& = {}, bounds const& = {});

/// "Q5 run_queue.hpp retract: tail_.store", from the source.
[[nodiscard]] std::string label(mutation const&);
[[nodiscard]] std::string file_of(mutation const&);

}  // namespace model
