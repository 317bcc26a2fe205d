// Trees of groups, scopes, handles and parallel calls, whose leaves wait, fail, and are cancelled from anywhere at any time. What a block has
// started has ended when the block is left; a failure comes out where the work was started; what is shielded goes on.
#include <weft/weft.hpp>

#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "tests/stress/stress.hpp"

namespace weft::stress {
namespace {

struct failed : std::runtime_error {
  failed() : std::runtime_error("a leaf failed") {}
};

struct depth_of_branch {
  using type = unsigned;
};

/// Functions that run later unless they are stopped: how it was to be and how it was is compared when the runtime has ended.
class promises {
 public:
  struct promise {
    std::atomic<unsigned> ran{0};
    std::atomic<bool> stopped{false}, due{false};
  };
  promise& make() {
    std::lock_guard const lock(mutex_);
    return made_.emplace_back();
  }
  ~promises() {
    for (promise const& p : made_) {
      check(p.ran <= 1, "a function of after_func ran twice");
      check(p.ran == 0 || !p.stopped, "a function of after_func ran, and was stopped");
      check(p.ran == 1 || !p.due, "a function of after_func never ran");
    }
  }

 private:
  std::mutex mutex_;
  std::deque<promise> made_;
};

struct world {
  living all;
  promises later;
};

void grow(world& in, random chance, unsigned depth);

/// What a child of a block does: it ends well, fails, or is cancelled under a context that is.
void be_child(world& in, living& of_block, std::atomic<unsigned>& failures, random chance, unsigned depth) {
  living::token const here(of_block), there(in.all);
  check(this_task::value<depth_of_branch>() == depth + 1, "a child does not see its parent's value");
  try {
    grow(in, chance, depth);
  } catch (failed const&) {
    ++failures;
    throw;
  } catch (cancelled const&) {
    check(this_task::context().cancelled(), "a child was cancelled, and its context was not");
    throw;
  }
}

void use_group(world& in, random& chance, unsigned depth) {
  living of_block;
  std::atomic<unsigned> failures{0}, reported{0};
  group_options options{.limit = chance.below(4), .cancel_on_error = chance.one_in(2)};
  bool const reports = !options.cancel_on_error && chance.one_in(2);
  if (reports) options.on_error = [&](std::exception_ptr) { ++reported; };
  task_group group(std::move(options));
  bool whole = true, rethrown = false;
  try {
    for (auto n = chance.between(1U, 5); n > 0; --n) {
      group.spawn([&, mine = chance.branch()] { be_child(in, of_block, failures, mine, depth - 1); });
      if (chance.one_in(20)) group.cancel();
    }
    group.wait();
  } catch (failed const&) {
    rethrown = true;
  } catch (cancelled const&) {
    check(this_task::context().cancelled() || group.ctx().cancelled(),
          "a group's wait was cancelled, and nobody else was");
    whole = false;
    uncancellable const shield;
    group.cancel();
    try {
      group.wait();
    } catch (failed const&) {
    }
  }
  if (!whole) this_task::context().throw_if_cancelled();
  if (!whole) return;
  if (reports) check_equal(reported + (rethrown ? 1 : 0), failures, "failures that a group reported");
  else check_equal(group.other_errors().size() + (rethrown ? 1 : 0), failures, "failures that came out of a group");
  if (rethrown && chance.one_in(2)) throw failed();
}

void use_scope(world& in, random& chance, unsigned depth) {
  living of_block;
  std::atomic<unsigned> failures{0};
  bool const fails = chance.one_in(8);
  std::optional<uncancellable>
      shield;  // without it nothing may fail: what a cancelled wait leaves behind is told on stderr
  if (!fails && chance.one_in(2)) shield.emplace();
  try {
    unsigned const n = scope([&](task_group& group) {
      unsigned children = 0;
      for (auto left = chance.between(1U, 4); left > 0; --left, ++children)
        group.spawn([&, mine = chance.branch()] {
          try {
            be_child(in, of_block, failures, mine, depth - 1);
          } catch (failed const&) {
            if (shield) throw;
          }
        });
      if (fails) throw std::logic_error("of the scope's own");
      return children;
    });
    check(n > 0 && !fails && (!shield || failures == 0), "a scope ended well that had failed");
  } catch (std::logic_error const&) {
    check(fails, "a scope threw what was not thrown in it");
  } catch (failed const&) {
    check(!fails && failures > 0, "a scope failed, and nothing in it did");
    if (chance.one_in(2)) throw;
  }
}

void use_handles(world& in, random& chance, unsigned depth) {
  living of_block;
  std::atomic<unsigned> failures{0};
  std::vector<join_handle<unsigned>> handles;
  for (auto n = chance.between(1U, 5); n > 0; --n)
    handles.push_back(spawn([&, mine = chance.branch()] {
      be_child(in, of_block, failures, mine, depth - 1);
      return depth;
    }));
  for (auto& h : handles) {
    auto const what = chance.below(6);
    if (what == 0) h.stop();
    if (what == 1) h.cancel();
    if (what == 2) (void)h.wait_for(chance.up_to(500us));
    if (what == 3)
      handles.pop_back();  // dropped: cancelled and waited for. The loop ends, and others are dropped below
    if (what == 3) break;
    if (!h.joinable()) continue;
    try {
      check(h.join() == depth, "a join gave another task's result");
    } catch (failed const&) {
      check(failures > 0, "a join failed, and no child had");
    } catch (cancelled const&) {
      this_task::context().throw_if_cancelled();
      check(!h.joinable(), "a join that gave the child's cancellation left it to be joined");
    }
  }
}

void use_parallel(world& in, random& chance) {
  living of_block;
  std::vector<unsigned> numbers(chance.between(std::size_t{1}, 40));
  std::iota(numbers.begin(), numbers.end(), 0U);
  unsigned const bad = chance.one_in(3) ? chance.between(0U, 100) : ~0U;
  std::optional<uncancellable> shield;
  if (bad < numbers.size()) shield.emplace();
  auto const naps = chance.up_to(300us);
  group_options const options{.limit = chance.below(5)};
  try {
    auto const squares = parallel_map(
        numbers,
        [&](unsigned n) {
          living::token const here(of_block), there(in.all);
          if (n % 3 == 0) sleep_for(naps);
          if (n == bad) throw failed();
          return n * n;
        },
        options);
    check(bad >= numbers.size(), "parallel_map ended well that had failed");
    for (unsigned n : numbers) check(squares.at(n) == n * n, "parallel_map's results are not in their order");
    std::atomic<unsigned> sum{0};
    parallel_for(numbers, [&](unsigned n) { sum += n; });
    check_equal(sum, numbers.size() * (numbers.size() - 1) / 2, "the sum over a parallel_for");
  } catch (failed const&) {
    check(bad < numbers.size(), "parallel_map failed, and nothing in it did");
  }
  int const winner = race(
      [&] {
        living::token const here(of_block);
        sleep_for(naps);
        return 1;
      },
      [&] {
        living::token const here(of_block);
        yield();
        if (bad % 2 == 0) throw failed();
        return 2;
      });
  check(winner == 1 || (winner == 2 && bad % 2 != 0), "a race that nobody won who took part");
}

void use_deadline(world& in, random& chance, unsigned depth) {
  living of_block;
  std::atomic<unsigned> failures{0};
  auto const start = now();
  auto const most = chance.up_to(2ms);
  try {
    result<int> const r = within(most, [&] {
      scoped_context const inner(with_value<depth_of_branch>(this_task::context(), depth));
      be_child(in, of_block, failures, chance.branch(), depth - 1);
      return 5;
    });
    if (r) check(*r == 5, "within gave another result");
    else check(r.error() == std::errc::timed_out && now() - start >= most, "within timed out before its time");
  } catch (failed const&) {
    check(failures > 0, "within failed, and nothing in it did");
  }
}

void use_shields(world& in, random& chance) {
  auto const [ctx, cancel] = with_cancel();
  int cleaned = 0;
  auto const done = make_chan<int>();
  try {
    scoped_context const within_it(ctx);
    defer const clean([&] {
      ++cleaned;
      go([done] { done.send(1); });
      check(done.recv() == 1, "in a defer a rendezvous did not come about");
    });
    auto const shielded = spawn([&] {
      living::token const here(in.all);
      scoped_context const apart(without_cancel(this_task::context()));
      sleep_for(chance.up_to(100us));
    });
    cancel();
    {
      uncancellable const shield;
      shielded.wait();
    }
    sleep_for(0us);
    fail("a wait under a cancelled context went through");
  } catch (cancelled const& c) {
    check(cleaned == 1, "a cancelled block was left without its defer");
    check(c.code() == ctx.err(), "a wait was cancelled, and not by its context");
  }
}

void use_after_func(world& in, random& chance) {
  auto const [ctx, cancel] = chance.one_in(2) ? with_cancel() : with_timeout(chance.up_to(1ms));
  auto& p = in.later.make();
  auto const run = [&in, &p, naps = chance.up_to(200us)] {
    living::token const here(in.all);
    ++p.ran;
    if (naps > 100us) sleep_for(naps);
  };
  bool const timed = chance.one_in(2);
  stop_fn const stop = timed ? after_func(chance.up_to(500us),
                                          [run] {
                                            try {
                                              run();
                                            } catch (cancelled const&) {  // it runs under the context of the call
                                            }
                                          })
                             : after_func(ctx, run);
  if (chance.one_in(2)) {
    auto canceller = spawn([c = cancel] { c(); });
    if (chance.one_in(2)) yield();
    canceller.detach();
  }
  if (chance.one_in(2)) sleep_for(chance.up_to(500us));
  if (stop()) p.stopped = true;
  else p.due = true;
  check(!stop(), "what had been stopped, or had run, was stopped again");
  cancel();
}

void be_leaf(world& in, random& chance) {
  switch (chance.below(10)) {
    case 0: throw failed();
    case 1: yield(); break;
    case 2: blocking([&] { std::this_thread::sleep_for(chance.up_to(200us)); }); break;
    case 3: use_shields(in, chance); break;
    case 4: use_after_func(in, chance); break;
    case 5: (void)make_chan<int>().recv_for(chance.up_to(500us)); break;
    case 6:  // it owns what it uses: the world outlives the runtime
      spawn([&in, naps = chance.up_to(2ms)] {
        living::token const here(in.all);
        sleep_for(naps);
      }).detach();
      break;
    default: sleep_for(chance.up_to(1ms));
  }
}

void grow(world& in, random chance, unsigned depth) {
  count();
  if (depth == 0) return be_leaf(in, chance);
  auto const [ctx, cancel] = chance.one_in(4) ? with_timeout(chance.up_to(5ms)) : with_cancel();
  std::optional<time_point> const outer = this_task::context().deadline(), inner = ctx.deadline();
  check(!outer || (inner && *inner <= *outer), "a deadline is later than that of the context above");
  auto const stop = chance.one_in(6) ? after_func(chance.up_to(2ms), cancel) : stop_fn();
  try {
    scoped_context const under(with_value<depth_of_branch>(ctx, depth));
    switch (chance.below(6)) {
      case 0: use_scope(in, chance, depth); break;
      case 1: use_handles(in, chance, depth); break;
      case 2: use_parallel(in, chance); break;
      case 3: use_deadline(in, chance, depth); break;
      default: use_group(in, chance, depth);
    }
  } catch (cancelled const&) {
    check(ctx.cancelled(), "a branch was cancelled, and its context was not");
  }
  stop();
  cancel();
  this_task::context().throw_if_cancelled();
}

}  // namespace

void trees(round& r) {
  world in;
  with_runtime(r, [&](runtime& rt) {
    crew all(rt, r.chance);
    for (auto n = r.chance.between(1U, 6); n > 0; --n)
      all.task([&in, mine = r.chance.branch(), depth = r.chance.between(1U, 4)]() mutable {
        living::token const here(in.all);
        try {
          grow(in, mine, depth);
        } catch (failed const&) {
        }
      });
    all.cancel_some(3, 5ms);
  });
}

}  // namespace weft::stress
