// Who makes the choices of a run: a policy with a seed, or a list. Either way they are recorded.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <weft/sim.hpp>

#include "runtime/base/random.hpp"
#include "runtime/sched/simulated.hpp"
#include "runtime/sim/choices.hpp"

namespace weft::sim {

/// How many points a task has passed in a row. One that polls without a yield would never let the others go on.
class turn {
 public:
  explicit turn(unsigned longest) noexcept : longest_(longest) {}

  /// At a point of `current`, while others are ready.
  bool is_over(task_id current) noexcept {
    passed_ = current == last_ ? passed_ + 1 : 0;
    last_ = current;
    if (passed_ <= longest_) return false;
    passed_ = 0;
    return true;
  }

 private:
  unsigned const longest_;
  unsigned passed_ = 0;
  task_id last_ = 0;
};

/// Numbers, records and traces what those below choose.
class recorder : public rt::chooser {
 public:
  explicit recorder(std::string* trace) noexcept : trace_(trace) {}

  std::uint32_t choose(rt::choice what, std::uint32_t n) noexcept final;
  std::uint32_t choose_rarely(rt::choice what, std::uint32_t n) noexcept final;
  std::uint32_t choose_next(task_id last, bool yielded, std::span<rt::task* const> ready) noexcept final;
  std::uint32_t choose_preemption(task_id current, std::span<rt::task* const> ready) noexcept final;
  void goes_on(task_id) noexcept final;
  void time_is(std::int64_t ns) noexcept final;

  /// All choices that were not 0.
  [[nodiscard]] std::vector<deviation> const& made() const noexcept { return made_; }
  [[nodiscard]] std::uint64_t count() const noexcept { return number_; }

 private:
  virtual std::uint32_t draw(rt::choice what, std::uint32_t n) = 0;
  virtual std::uint32_t draw_rarely(rt::choice what, std::uint32_t n) = 0;
  virtual std::uint32_t next(task_id last, bool yielded, std::span<rt::task* const> ready) = 0;
  virtual std::uint32_t preemption(task_id current, std::span<rt::task* const> ready) = 0;
  std::uint32_t note(rt::choice what, std::uint32_t value, std::uint32_t n);

  std::string* const trace_;
  std::uint64_t number_ = 0;
  std::vector<deviation> made_;
};

[[nodiscard]] std::unique_ptr<recorder> make_policy(options const& o);

/// Makes the choices of a list, and 0 where it says nothing. `strictly`: notes where the run does not come to them; else, where parts of
/// a list were left out, a task that polls gives way now and then, or the run might never end.
class from_list final : public recorder {
 public:
  from_list(std::vector<deviation> list, bool strictly) noexcept
      : recorder(nullptr), list_(std::move(list)), strict_(strictly) {}

  /// Empty, or what did not fit; also choices that the run never came to.
  [[nodiscard]] std::string misfit() const;

 private:
  std::uint32_t draw(rt::choice what, std::uint32_t n) override;
  std::uint32_t draw_rarely(rt::choice what, std::uint32_t n) override { return draw(what, n); }
  std::uint32_t next(task_id last, bool yielded, std::span<rt::task* const> ready) override;
  std::uint32_t preemption(task_id current, std::span<rt::task* const> ready) override;

  std::vector<deviation> list_;
  std::size_t at_ = 0;
  bool const strict_;
  turn turn_{10'000};
  std::string misfit_;
};

}  // namespace weft::sim
