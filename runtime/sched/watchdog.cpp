#include "runtime/sched/watchdog.hpp"

#include <new>
#include <optional>
#include <utility>

#include "runtime/platform/platform.hpp"
#include "runtime/platform/thread_sample.hpp"
#include "runtime/sched/observer.hpp"
#include "runtime/sched/scheduler.hpp"

namespace weft::rt {

namespace {

constexpr std::int64_t report_every_ns = 1'000'000'000;
constexpr std::int64_t patience_ns = 10'000'000;  // for the calls: the monitor has other things to do

struct reading {
  kept_thread found;
  bool counts = true;
};

bool read_task(task& t, void* arg) {
  auto& to = *static_cast<reading*>(arg);
  to.counts = t.blocking.get() == 0;
  to.found.task = t.id;
  if (t.place.line() != 0) {
    to.found.file = t.place.file_name();
    to.found.line = t.place.line();
  }
  if (task_extra const* extra = t.extra.load(std::memory_order_acquire)) to.found.name = extra->name;
  return true;
}

}  // namespace

std::uint64_t sampled_task() noexcept {
  task const* const t = current_task();
  return t != nullptr ? t->id : 0;
}

watchdog::watchdog(scheduler& s) noexcept : s_(s), after_(s.opts().watchdog.count()) {}

watchdog::view watchdog::view_of(worker const& w) noexcept {
  view v;
  v.current = w.current;
  if (v.current == nullptr) return v;
  v.generation = wait_word::generation(v.current->word.load(std::memory_order_relaxed));
  v.held = w.held();
  if (v.held != nullptr) v.tick = v.held->tick;
  return v;
}

void watchdog::look(std::int64_t now) noexcept {
  try {
    for (worker* w = s_.workers(); w != nullptr; w = w->all_next) {
      if (w->index >= views_.size()) views_.resize(w->index + 1);
      view& v = views_[w->index];
      view const seen = view_of(*w);
      if (seen.current == nullptr || !v.same(seen)) {  // D1
        v = seen;
        v.since = now;
      } else if (!v.told && now - v.since > after_) {
        v.told = true;
        tell(*w, v, now);
      }
    }
  } catch (std::bad_alloc const&) {  // the next look tries again
  }
}

void watchdog::taken(worker const& w, processor const& p) noexcept {
  if (w.index >= views_.size()) return;
  view& v = views_[w.index];
  if (v.held != &p || v.tick != p.tick.get()) return;
  v.held = nullptr;
  v.tick = 0;
}

void watchdog::tell(worker const& w, view& v, std::int64_t now) {
  observer const* const o = observer_in_use.load(std::memory_order_acquire);
  if (o == nullptr) return;
  reading r;
  if (!visit_task(*v.current, read_task, &r) || !r.counts || !v.same(view_of(w))) return;  // D3
  if (now < next_report_) {
    ++left_out_;
    return;
  }
  int const thread = w.thread_id;
  r.found.computes = thread_state(thread) == 'R';
  thread_sample sample;
  if (r.found.computes) {
    std::optional<bool> const got = try_sample_thread(thread, sampled_task, sample, patience_ns);
    v.told = got.has_value();
    if (!v.told) return;                       // a dump samples, and may do so for a second: the next look tries again
    if (*got && sample.tag == r.found.task) {  // D4
      r.found.calls = sample.frames;
      r.found.call_count = sample.count;
    }
  }
  next_report_ = now + report_every_ns;
  r.found.left_out = std::exchange(left_out_, 0);
  r.found.for_ns = now - v.since;
  o->keeps_thread(r.found);
}

}  // namespace weft::rt
