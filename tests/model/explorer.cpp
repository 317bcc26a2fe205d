#include "tests/model/explorer.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "tests/model/engine.hpp"

namespace model {
namespace {

constexpr std::size_t stack_size = 128 * 1024;
constexpr unsigned pauses_most = 2;  // of a thread while others can go on
constexpr std::size_t program_size = 64 * 1024;
struct alignas(64) memory {
  std::byte stacks[most_threads][stack_size];
  std::byte program[program_size];
};
memory& fixed_memory() {
  static auto const m = std::make_unique<memory>();
  return *m;
}

namespace context = boost::context::detail;

}  // namespace

engine& the_engine() {
  static engine e;
  return e;
}

// ---- threads --------------------------------------------------------------------------------------------------------

void engine::back_to_explorer() {
  unsigned const mine = static_cast<unsigned>(current);
  context::transfer_t const t = context::jump_fcontext(explorer_context, nullptr);
  explorer_context = t.fctx;
  current = static_cast<int>(mine);
}

/// On a thread it does not come back: the execution ends here.
void engine::fail(std::string text) {
  if (failure.empty()) failure = std::move(text);
  while (current >= 0) back_to_explorer();
  throw failure;
}

namespace {
void enter_thread(context::transfer_t t) {
  engine& e = the_engine();
  e.explorer_context = t.fctx;
  auto const mine = static_cast<unsigned>(e.current);
  e.code->run(mine);
  e.flush();
  e.me().status = thread::finished;
  for (;;) e.back_to_explorer();
}
}  // namespace

void engine::resume(unsigned n) {
  current = static_cast<int>(n);
  context::transfer_t const t = context::jump_fcontext(threads[n].context, nullptr);
  threads[n].context = t.fctx;
  current = -1;
}

// ---- the search -----------------------------------------------------------------------------------------------------

unsigned engine::pick(unsigned n) {
  if (n < 2) return 0;
  if (depth == path.size()) path.push_back({0, static_cast<std::uint16_t>(n)});
  else if (path[depth].count != n) fail("the program does not do the same each time");
  return path[depth++].chosen;
}

std::uint64_t engine::state() const {
  std::uint64_t h = fences_hash();
  for (unsigned i = 0; i < count; ++i) {
    thread const& t = threads[i];
    std::uint64_t const held = t.holds ? 1u + t.held_place : 0u;
    h += mix(mix(t.history, i << 8 | t.status << 1 | (able(t) ? 1u : 0u)),
             held << 16 | static_cast<std::uint64_t>(t.step));
  }
  for (unsigned i = 0; i < place_count; ++i) h += mix(places[i].key, places[i].history);
  if (what->departures < 255) h = mix(h, departures << 8 | last);
  return h == 0 ? 1 : h;
}

bool engine::met_before(std::uint64_t s) {
  if (visited_count * 2 >= visited.size()) {
    std::vector<std::uint64_t> larger(std::max<std::size_t>(visited.size() * 2, 1 << 12));
    for (std::uint64_t v : visited) {
      if (v == 0) continue;
      std::size_t i = v & (larger.size() - 1);
      while (larger[i] != 0) i = (i + 1) & (larger.size() - 1);
      larger[i] = v;
    }
    visited = std::move(larger);
  }
  std::size_t i = s & (visited.size() - 1);
  for (; visited[i] != 0; i = (i + 1) & (visited.size() - 1))
    if (visited[i] == s) return true;
  visited[i] = s;
  ++visited_count;
  return false;
}

bool engine::able(thread const& t) const noexcept {
  return t.status == thread::runs || (t.status == thread::wants_lock && !places[t.at_place].locked) ||
         (t.status == thread::pauses && t.pause_count <= pauses_most && t.paused_at != others_changes(t));
}

/// Nobody can go on: a thread that only looks again and again may do so once more.
bool engine::let_through(unsigned& n) noexcept {
  for (n = 0; n < count; ++n) {
    thread& t = threads[n];
    unsigned const now = others_changes(t);
    if (t.status == thread::pauses && t.let_through != now) {
      t.let_through = now;
      return true;
    }
  }
  return false;
}

void engine::begin() {
  ++execution;
  depth = 0;
  place_count = 0;
  fences = {};
  departures = 0;
  last = 0;
  current = -1;
  failure.clear();
  memory& fixed = fixed_memory();
  empty_arena();
  open_arena(true);
  code = what->make(fixed.program);
  open_arena(false);
  count = code->threads();
  for (unsigned i = 0; i < count; ++i) {
    thread& t = threads[i];
    t = {};
    t.context = context::make_fcontext(fixed_memory().stacks[i] + stack_size, stack_size, enter_thread);
  }
}

void engine::run_once(bool& pruned) {
  pruned = false;
  begin();
  for (unsigned i = 0; i < count && failure.empty(); ++i) resume(i);  // up to the first access
  while (failure.empty()) {
    if (depth == path.size() && met_before(state())) {
      pruned = true;
      return;
    }
    std::array<unsigned, most_threads> ready;
    unsigned n = 0;
    bool all_finished = true, last_is_able = false;
    for (unsigned k = 0; k < count; ++k) {
      unsigned const i = (last + k) % count;
      thread const& t = threads[i];
      all_finished &= t.status == thread::finished;
      if (able(t)) ready[n++] = i;
      last_is_able |= n == 1 && ready[0] == last;
    }
    if (unsigned other = 0; n == 0 && let_through(other)) {
      last = other;
      resume(other);
      continue;
    }
    if (n == 0) {
      if (!all_finished && !what->stuck_is_fine) failure = "nobody can go on: a wake-up was lost";
      else code->end();
      break;
    }
    if (last_is_able && departures >= what->departures) n = 1;
    unsigned const next = ready[pick(n)];
    if (last_is_able && next != last) ++departures;
    last = next;
    resume(next);
  }
  if (failure.empty()) code->~program();
}

void engine::start_anew() {
  path.clear();
  std::fill(visited.begin(), visited.end(), 0);
  visited_count = 0;
  surprised = false;
}

outcome engine::explore(scenario const& s, mutation const& m, bounds const& limit) {
  if (what == nullptr || std::strcmp(what->name, s.name) != 0) traffics.clear();
  what = &s;
  active = m;
  cataloguing = m.what == change::none;
  catalogue.clear();
  catalogued.clear();
  reached.clear();
  start_anew();
  outcome out;
  for (;;) {
    bool pruned = false;
    run_once(pruned);
    ++out.executions;
    if (surprised) {
      start_anew();
      continue;
    }
    if (!failure.empty()) {
      out.failure = failure;
      trace.clear();
      tracing = true;
      run_once(pruned);
      tracing = false;
      out.trace = trace;
      break;
    }
    if (out.executions >= limit.executions) break;
    while (!path.empty() && path.back().chosen + 1u == path.back().count) path.pop_back();
    if (path.empty()) {
      out.complete = true;
      break;
    }
    ++path.back().chosen;
  }
  out.states = visited_count;
  out.mutations = catalogue;
  out.reached.insert(reached.begin(), reached.end());
  return out;
}

outcome explore(scenario const& s, mutation const& m, bounds const& limit) { return the_engine().explore(s, m, limit); }

// ---- what a program says --------------------------------------------------------------------------------------------

void check(bool holds, char const* what) {
  engine& e = the_engine();
  if (holds) return;
  if (e.current >= 0) e.fail(what);
  if (e.failure.empty()) e.failure = what;
}

void reached(char const* what) {
  auto& all = the_engine().reached;
  if (std::find(all.begin(), all.end(), what) == all.end()) all.push_back(what);
}

unsigned choose(unsigned n) {
  engine& e = the_engine();
  unsigned const chosen = e.pick(n);
  e.me().history = mix(e.me().history, chosen);
  return chosen;
}

unsigned self() { return static_cast<unsigned>(the_engine().current); }

bool mutated(char const* step) {
  engine& e = the_engine();
  if (e.cataloguing) {
    std::uint64_t h = 7;
    for (char const* c = step; *c != '\0'; ++c) h = mix(h, static_cast<unsigned char>(*c));
    if (e.catalogued.insert(h).second) e.catalogue.push_back({{}, step, change::left_out, 0});
  }
  return e.active.step != nullptr && std::strcmp(e.active.step, step) == 0;
}

}  // namespace model
