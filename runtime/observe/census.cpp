#include "runtime/observe/census.hpp"

#include <algorithm>
#include <unordered_map>

#include "runtime/fiber/unwind.hpp"
#include "runtime/platform/thread_sample.hpp"
#include "runtime/sched/processor.hpp"
#include "runtime/sched/scheduler.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/watchdog.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {
namespace {

constexpr std::size_t frames_most = 64;

struct taking {
  scheduler const* of;
  census result;
  std::unordered_multimap<std::size_t, std::size_t> known;  // hash of a trace -> its index
  std::int64_t now = clock_ns();

  std::size_t trace_of(void* const* frames, std::size_t n) {
    std::size_t hash = n;
    for (std::size_t i = 0; i < n; ++i) hash = (hash ^ reinterpret_cast<std::uintptr_t>(frames[i])) * 0x100000001b3u;
    for (auto [at, end] = known.equal_range(hash); at != end; ++at)
      if (std::equal(frames, frames + n, result.traces[at->second].begin(), result.traces[at->second].end()))
        return at->second;
    result.traces.emplace_back(frames, frames + n);
    known.emplace(hash, result.traces.size() - 1);
    return result.traces.size() - 1;
  }
};

std::int64_t waited(task const& t, std::int64_t now) noexcept {
  // It may have begun since `now` was read, by as long as taking a census lasts. What the stamps have beyond that is for waits of weeks.
  constexpr std::uint32_t ahead = 1u << 16;
  std::uint32_t const steps = coarse_time(now) - t.parked_at.load(std::memory_order_relaxed);
  return steps > UINT32_MAX - ahead ? 0 : static_cast<std::int64_t>(steps) << 20;
}

/// Frozen, without allocating: the task goes on as soon as this returns.
std::size_t read_parked(task const& t, task_entry& e, std::int64_t now, void** frames) noexcept {
  park_request const& request = *t.request;
  e.reason = request.reason;
  e.object = request.object;
  if (request.deadline != never) e.left_ns = request.deadline - now;
  // The joiner's handle keeps whom it joins.
  if (request.reason == wait_reason::join) e.joins = static_cast<task const*>(request.object)->id;
  e.waited_ns = waited(t, now);
  return frames_of(*t.own_stack, frames, frames_most);
}

bool visit(task& t, void* arg) {
  auto& to = *static_cast<taking*>(arg);
  if (to.of != nullptr && t.sched != to.of) return true;
  task_entry e;
  switch (t.phase.load(std::memory_order_relaxed)) {
    case task_phase::fresh: e.state = task_state::not_begun; break;
    case task_phase::running:
      e.state = task_state::running;
      e.blocks = t.blocking.get() != 0;
      break;
    case task_phase::yielded: e.state = task_state::ready; break;
    case task_phase::joining:  // its frames are below those of the task that it joins
      e.state = task_state::parked;
      e.reason = wait_reason::join;
      e.above = static_cast<task const*>(t.next_ready);
      e.waited_ns = waited(t, to.now);
      break;
    case task_phase::parked:
      e.state = task_state::ready;
      break;  // unless it can be frozen: then nobody has claimed its wait
    default: return true;
  }
  e.self = &t;
  e.id = t.id;
  if (t.place.line() != 0) {
    e.file = t.place.file_name();
    e.line = t.place.line();
  }
  if (freeze(t)) {
    void* frames[frames_most];
    std::size_t const n = read_parked(t, e, to.now, frames);
    if (thaw(t)) ready(t);
    e.state = task_state::parked;
    e.trace = to.trace_of(frames, n);
  }
  if (task_extra const* extra = t.extra.load(std::memory_order_acquire)) e.name = extra->name;
  to.result.tasks.push_back(std::move(e));
  return true;
}

}  // namespace

census take_census(scheduler const* of) {
  taking t{.of = of, .result = {}, .known = {}};
  for_each_task(visit, &t);
  std::sort(t.result.tasks.begin(), t.result.tasks.end(),
            [](task_entry const& a, task_entry const& b) { return a.id < b.id; });
  return std::move(t.result);
}

void add_running_calls(census& c, scheduler& of) {
  // On a busy machine a thread's turn may be long in coming; for all together not longer than this, since some may never answer.
  constexpr std::int64_t patience_ns = 1'000'000'000, least_ns = 10'000'000;
  std::int64_t const until = monotonic_ns() + patience_ns;
  for (task_entry& e : c.tasks) {
    if (e.state != task_state::running) continue;
    for (worker const* w = of.workers(); w != nullptr; w = w->all_next) {
      thread_sample sample;
      if (w->current.get() != e.self) continue;
      std::int64_t const patience = std::max(least_ns, until - monotonic_ns());
      if (!sample_thread(w->thread_id, sampled_task, sample, patience) || sample.tag != e.id) continue;
      e.trace = c.traces.size();
      c.traces.emplace_back(sample.frames, sample.frames + sample.count);
      break;
    }
  }
}

}  // namespace weft::rt
