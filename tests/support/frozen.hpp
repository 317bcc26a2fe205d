// Holds a task that waits, so that what happens to its wait and what it makes of that can be told apart.
#pragma once

#include "runtime/sched/task.hpp"
#include "runtime/sched/wait.hpp"

#include <weft/task.hpp>

namespace weft::test {

inline rt::task* task_with(task_id id) {
  struct search {
    task_id id;
    rt::task* found;
  } s{id, nullptr};
  rt::for_each_task(
      [](rt::task& t, void* arg) {
        auto& to = *static_cast<search*>(arg);
        if (t.id == to.id) to.found = &t;
        return to.found == nullptr;
      },
      &s);
  return s.found;
}

/// Freezes that task, once it waits.
inline rt::task& frozen(task_id id) {
  for (;;) {
    rt::task* t = task_with(id);
    if (t != nullptr && rt::freeze(*t)) return *t;
    weft::yield();
  }
}

/// Lets it go on. True: its wait had ended.
inline bool thaw(rt::task& t) {
  bool const owed = rt::thaw(t);
  if (owed) rt::ready(t);
  return owed;
}

}  // namespace weft::test
