// weft::fiber_local: the values of one task, or of one plain thread.
//
// They hang on each other, the last made first, which is the order in which they go; a table of theirs finds one by its key. Only the
// task or thread itself touches them, so nothing here is locked, and none of the user's code runs under anything of weft's.
//
//   use    F1 look in the table   F2 note the key as being made, call new_value (which may wait, throw, use others)   F3 hang it in front
//   end    E1 take the first off, destroy it   E2 again until there is none: destructors may make new ones, but not without end
//
// Keys are numbers that are never used again, not addresses: a value does not know whether its fiber_local still lives, and a
// fiber_local in the place of an old one must not find the old one's values.
//
// Rejected: values in the fiber_local, in a table by task (a lock on each use, and each end of a task must visit all fiber_locals);
// a list without the table (a server's dozen of them is looked through on every use).

#include <weft/fiber_local.hpp>

#include <atomic>
#include <cstddef>
#include <vector>

#include "runtime/base/check.hpp"
#include "runtime/platform/platform.hpp"
#include "runtime/sched/task.hpp"
#include "runtime/sched/worker.hpp"

namespace weft::rt {
namespace {

using detail::local_value;

class local_values final : public task_locals {
 public:
  [[nodiscard]] local_value* find(std::uint64_t key) const noexcept {
    if (table_.empty()) return nullptr;
    for (std::size_t at = key & mask();; at = (at + 1) & mask()) {
      if (table_[at] == nullptr || table_[at]->key == key) return table_[at];
    }
  }

  local_value& make(std::uint64_t key, std::unique_ptr<local_value> (*new_value)(void const*), void const* owner) {
    for (being_made const* m = making_; m != nullptr; m = m->outer) {
      if (m->key == key) fatal("fiber_local: the constructor of a value uses the fiber_local that it is made for");
    }
    being_made now(*this, key);  // F2
    std::unique_ptr<local_value> fresh = new_value(owner);
    make_room();
    local_value& v = *fresh.release();  // F3
    v.key = key;
    v.made_before = newest_;
    newest_ = &v;
    put(v);
    ++count_;
    return v;
  }

  void clear() noexcept override {
    constexpr int enough = 100'000;
    int ended = 0;
    int const had = static_cast<int>(count_);
    while (newest_ != nullptr) {  // E2
      if (ended++ > had + enough) fatal("fiber_local: the destructors of values make new values without end");
      local_value* const v = newest_;  // E1
      newest_ = v->made_before;
      take_out(v->key);
      --count_;
      delete v;
    }
    table_ = {};
  }

 private:
  struct being_made {
    being_made(local_values& in, std::uint64_t k) noexcept : values(in), key(k), outer(in.making_) {
      in.making_ = this;
    }
    ~being_made() { values.making_ = outer; }
    being_made(being_made const&) = delete;
    being_made& operator=(being_made const&) = delete;

    local_values& values;
    std::uint64_t key;
    being_made* outer;
  };

  [[nodiscard]] std::size_t mask() const noexcept { return table_.size() - 1; }

  /// At most half of the table is used: find() always meets a free place.
  void make_room() {
    if (count_ * 2 < table_.size()) return;
    std::vector<local_value*> larger(table_.empty() ? 8 : table_.size() * 2);
    table_.swap(larger);
    for (local_value* v = newest_; v != nullptr; v = v->made_before) put(*v);
  }

  void put(local_value& v) noexcept {
    std::size_t at = v.key & mask();
    while (table_[at] != nullptr) at = (at + 1) & mask();
    table_[at] = &v;
  }

  /// Closes the gap: what stands behind it moves up, unless that would put it before its first place.
  void take_out(std::uint64_t key) noexcept {
    std::size_t gap = key & mask();
    while (table_[gap]->key != key) gap = (gap + 1) & mask();
    for (std::size_t at = (gap + 1) & mask(); table_[at] != nullptr; at = (at + 1) & mask()) {
      if (((at - table_[at]->key) & mask()) < ((at - gap) & mask())) continue;
      table_[gap] = table_[at];
      gap = at;
    }
    table_[gap] = nullptr;
  }

  local_value* newest_ = nullptr;
  being_made* making_ = nullptr;
  std::vector<local_value*> table_;  // open addressing; its size is a power of two, or 0
  std::size_t count_ = 0;
};

constinit thread_local local_values* of_thread = nullptr;

// Made anew if a destructor that runs later at the thread's end uses one: at_thread_exit() may be called there too.
__attribute__((noinline)) local_values& of_this_thread() {
  if (of_thread == nullptr) {
    auto fresh = std::make_unique<local_values>();
    at_thread_exit(
        [](void* values) {
          auto* const v = static_cast<local_values*>(values);
          v->clear();
          of_thread = nullptr;
          delete v;
        },
        fresh.get());
    of_thread = fresh.release();
  }
  return *of_thread;
}

local_values& of_caller() {
  task* const t = current_task();
  if (t == nullptr) return of_this_thread();
  std::unique_ptr<task_locals>& values = t->extras().locals;
  if (values == nullptr) values = std::make_unique<local_values>();
  return static_cast<local_values&>(*values);
}

}  // namespace
}  // namespace weft::rt

namespace weft::detail {

std::uint64_t new_local_key() noexcept {
  constinit static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

local_value& local_here(std::uint64_t key, std::unique_ptr<local_value> (*make)(void const*), void const* owner) {
  rt::local_values& values = rt::of_caller();
  if (local_value* const v = values.find(key)) return *v;  // F1
  return values.make(key, make, owner);
}

}  // namespace weft::detail
