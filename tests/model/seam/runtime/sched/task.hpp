// A task as far as queues, pools and walks know it. `closure` is what whoever runs it must find as its maker left it.
#pragma once

#include "runtime/sched/wait.hpp"

namespace weft::rt {

enum class task_phase : std::uint8_t { free, fresh, running, yielded, joining, parked, ended };

struct task_extra {
  std::string name;
};

struct task : waiter {
  std::atomic<task_phase> phase{task_phase::free};
  std::uint8_t size_class = 0;
  std::atomic<std::uint32_t> refs{1};
  task* shard_next = nullptr;
  task_extra extra;
  model::plain closure;
  unsigned runs = 0;

  [[nodiscard]] task_extra& extras() noexcept { return extra; }
};

inline constexpr std::size_t task_header_size = (sizeof(task) + 15) / 16 * 16;
inline void prefetch_task(task const*) noexcept {}
inline void prefetch_to_write(void const*) noexcept {}

void for_each_task(bool (*visit)(task&, void*), void* arg);
void wait_for_walks() noexcept;
void set_task_name(task& t, std::string&& name);

}  // namespace weft::rt
