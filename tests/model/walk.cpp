// The gate between a walk over all tasks and the end of one. task_pool.cpp is the runtime's.

#include "runtime/sched/task_block.hpp"

#include "tests/model/protocols.hpp"

namespace model {
namespace {

using namespace weft::rt;

/// Blocks as the pool cuts them: the first is freed and made anew, the walk ends at the second.
struct blocks {
  task* first = allocate_task_block(nullptr, task_block_classes - 1);
  task* second = allocate_task_block(nullptr, task_block_classes - 1);
};
blocks const cut;

/// Thread 0 ends a task and reuses its block; the others walk.
template <unsigned Walkers, unsigned Walks>
class walking final : public program {
 public:
  walking() {
    ::new (&cut.first->closure) plain;
    task_chunks->blocks.store(2);  // each execution begins with what was there when the block was made: none
    cut.first->phase.store(task_phase::running);
    cut.second->phase.store(task_phase::running);
  }
  [[nodiscard]] unsigned threads() const override { return 1 + Walkers; }

  void run(unsigned thread) override {
    if (thread != 0) {
      for (unsigned i = 0; i < Walks; ++i) for_each_task(visit, nullptr);
      return;
    }
    free_task_block(&cache_, cut.first);  // G4 to G6
    cut.first->closure.write();           // G7: whoever gets the block next
    cut.first->phase.store(task_phase::fresh, std::memory_order_release);
  }

 private:
  static bool visit(task& t, void*) {
    if (&t != cut.first) return false;
    t.closure.read();
    return true;
  }
  task_cache cache_;
};

constexpr scenario scenarios[] = {
    {"two walks while a task ends", make<walking<1, 2>>, true, true},
    {"two walkers while a task ends", make<walking<2, 1>>, true, false, 4},
    {"a walk without membarrier", make<walking<1, 1>>, false},
};

constexpr harmless harmless_ones[] = {
    {"G1 walk: gate.walks.fetch_add", change::relaxed, "G2 is a fence"},
    {"G4 leave_walks: t->phase.store", change::relaxed, "it is ordered by G5 and G6, or by the lock"},
};

}  // namespace

protocol const walk{"walk", "task_pool.cpp task_block.hpp", scenarios, harmless_ones};

}  // namespace model
