// The policies. Each has its own generator, so that nothing but the seed and the program decides.
//
// random       each run draws how likely a preemption is: 1/2, 1/8 or 1/32 of the points. Bugs that need many switches show with the
//              first, those that need long stretches without any with the last
// pct          Burckhardt and others, "A randomized scheduler with probabilistic guarantees of finding bugs" (2010): distinct random
//              priorities, the highest ready one runs, and at depth - 1 random steps the running task falls below all others. Those
//              that have fallen so keep an order that was drawn with the steps: the later one may go on first. How long
//              a run is cannot be known from its seed, so a length is drawn (16 to 4096 steps, each power of two as likely). A task
//              that yields, or passes a thousand points in a row, falls below these too: one that polls would never let go
// round_robin  the next in the list at each point
//
// The network has a generator of its own, so that a program's other choices do not depend on it. Each run draws how often something is delayed
// or comes in parts: 1/2, 1/8 or 1/32 of the calls.

#include "runtime/sim/policy.hpp"

#include <algorithm>

#include "runtime/sched/task.hpp"

namespace weft::sim {

// ---- recording ------------------------------------------------------------------------------------------------------

// Out of memory here ends the process: a run whose choices are not recorded is of no use.
std::uint32_t recorder::note(rt::choice what, std::uint32_t value, std::uint32_t n) {
  if (trace_ != nullptr)
    *trace_ +=
        std::to_string(number_) + ' ' + letter_of(what) + ' ' + std::to_string(value) + '/' + std::to_string(n) + '\n';
  if (value != 0) made_.push_back({number_, what, value, n});
  ++number_;
  return value;
}

std::uint32_t recorder::choose(rt::choice what, std::uint32_t n) noexcept { return note(what, draw(what, n), n); }

std::uint32_t recorder::choose_rarely(rt::choice what, std::uint32_t n) noexcept {
  return note(what, draw_rarely(what, n), n);
}

std::uint32_t recorder::choose_next(task_id last, bool yielded, std::span<rt::task* const> ready) noexcept {
  std::uint32_t const i = next(last, yielded, ready);
  return ready.size() > 1 ? note(rt::choice::next, i, static_cast<std::uint32_t>(ready.size())) : 0;
}

std::uint32_t recorder::choose_preemption(task_id current, std::span<rt::task* const> ready) noexcept {
  return note(rt::choice::preempt, preemption(current, ready), static_cast<std::uint32_t>(ready.size()) + 1);
}

void recorder::goes_on(task_id id) noexcept {
  if (trace_ != nullptr) *trace_ += "task " + std::to_string(id) + '\n';
}

void recorder::time_is(std::int64_t ns) noexcept {
  if (trace_ != nullptr) *trace_ += "time " + std::to_string(ns) + '\n';
}

// ---- policies -------------------------------------------------------------------------------------------------------

namespace {

using tasks = std::span<rt::task* const>;

class seeded : public recorder {
 public:
  explicit seeded(options const& o) noexcept
      : recorder(o.trace),
        random_(o.seed * 0x9e3779b97f4a7c15ULL + 1),
        network_(o.seed * 0x9e3779b97f4a7c15ULL + 2),
        odd_one_in_(2u << (2 * network_.below(3))),
        loss_one_in_(o.loss_one_in) {}

 protected:
  std::uint32_t below(std::uint64_t n) noexcept { return static_cast<std::uint32_t>(random_.below(n)); }

 private:
  std::uint32_t draw(rt::choice, std::uint32_t n) override { return below(n); }
  std::uint32_t draw_rarely(rt::choice what, std::uint32_t n) override {
    std::uint32_t const one_in = what == rt::choice::loss ? loss_one_in_ : odd_one_in_;
    return one_in != 0 && network_.below(one_in) == 0 ? 1 + static_cast<std::uint32_t>(network_.below(n - 1)) : 0;
  }

  rt::random_source random_, network_;
  std::uint32_t const odd_one_in_, loss_one_in_;
};

class random_policy final : public seeded {
 public:
  explicit random_policy(options const& o) noexcept : seeded(o), one_in_(2u << (2 * below(3))) {}

 private:
  std::uint32_t next(task_id, bool, tasks ready) override { return ready.size() > 1 ? below(ready.size()) : 0; }
  std::uint32_t preemption(task_id, tasks ready) override { return below(one_in_) != 0 ? 0 : 1 + below(ready.size()); }

  std::uint32_t const one_in_;
};

class pct_policy final : public seeded {
 public:
  explicit pct_policy(options const& o) : seeded(o) {
    std::uint64_t const length = std::uint64_t{16} << below(9);
    for (unsigned i = 1; i < o.depth; ++i) changes_.push_back(below(length));
    lowest_ = -static_cast<std::int64_t>(changes_.size());
  }

 private:
  /// Higher goes first. New tasks get a random place among the others; equal ones are told apart by their numbers.
  std::int64_t priority(task_id id) {
    std::int64_t& its = place_of(id);
    if (its == 0) its = 1 + below(std::uint64_t{1} << 31);
    return its;
  }
  std::int64_t& place_of(task_id id) {
    if (priorities_.size() <= id) priorities_.resize(id + 1 + id / 2);
    return priorities_[id];
  }
  void fall(task_id id) { place_of(id) = --lowest_; }
  std::size_t best(tasks ready) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < ready.size(); ++i)
      if (priority(ready[i]->id) > priority(ready[best]->id)) best = i;
    return best;
  }
  void step(task_id current) {
    for (std::size_t i = 0; i != changes_.size(); ++i)
      if (changes_[i] == steps_ && current != 0) {
        auto const place = -1 - static_cast<std::int64_t>(i);
        if (priority(current) > place) place_of(current) = place;
        else fall(current);  // it has yielded
      }
    ++steps_;
  }
  std::uint32_t next(task_id last, bool yielded, tasks ready) override {
    if (yielded) fall(last);
    return static_cast<std::uint32_t>(best(ready));
  }
  std::uint32_t preemption(task_id current, tasks ready) override {
    step(current);
    if (turn_.is_over(current)) fall(current);
    std::size_t const other = best(ready);
    return priority(ready[other]->id) > priority(current) ? static_cast<std::uint32_t>(other) + 1 : 0;
  }

  std::vector<std::int64_t> priorities_;  // by the tasks' numbers, which begin at 1; 0: not drawn yet
  std::vector<std::uint64_t> changes_;
  std::int64_t lowest_ = 0;  // below those of changes_
  std::uint64_t steps_ = 0;
  turn turn_{1000};
};

class round_robin_policy final : public seeded {
 public:
  using seeded::seeded;

 private:
  std::uint32_t next(task_id, bool, tasks) override { return 0; }
  std::uint32_t preemption(task_id, tasks) override { return 1; }
};

}  // namespace

std::unique_ptr<recorder> make_policy(options const& o) {
  switch (o.pick) {
    case policy::pct: return std::make_unique<pct_policy>(o);
    case policy::round_robin: return std::make_unique<round_robin_policy>(o);
    case policy::random: break;
  }
  return std::make_unique<random_policy>(o);
}

// ---- a list ---------------------------------------------------------------------------------------------------------

std::uint32_t from_list::draw(rt::choice what, std::uint32_t n) {
  while (at_ < list_.size() && list_[at_].at < count()) ++at_;
  if (at_ == list_.size() || list_[at_].at > count()) return 0;
  deviation const& d = list_[at_++];
  if (strict_) {
    if (d.what == what && d.among == n) return d.value;
    if (misfit_.empty())
      misfit_ = "choice " + std::to_string(count()) + " is '" + letter_of(d.what) + "' among " +
                std::to_string(d.among) + " in the list, but '" + letter_of(what) + "' among " + std::to_string(n) +
                " in this program";
    at_ = list_.size();
    return 0;
  }
  return d.what == what && d.value < n ? d.value : 0;
}

std::uint32_t from_list::next(task_id, bool, tasks ready) {
  return ready.size() > 1 ? draw(rt::choice::next, static_cast<std::uint32_t>(ready.size())) : 0;
}

std::uint32_t from_list::preemption(task_id current, tasks ready) {
  std::uint32_t const listed = draw(rt::choice::preempt, static_cast<std::uint32_t>(ready.size()) + 1);
  return !strict_ && turn_.is_over(current) && listed == 0 ? 1 : listed;
}

std::string from_list::misfit() const {
  if (!misfit_.empty() || at_ == list_.size()) return misfit_;
  return "the program ended before choice " + std::to_string(list_[at_].at) + " of the list";
}

}  // namespace weft::sim
