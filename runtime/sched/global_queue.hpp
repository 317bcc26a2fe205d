// global_queue: the ready tasks that belong to no processor: spawned by plain threads, overflow of full local queues, tasks
// readied by workers without a processor.
//
// It is moodycamel's ConcurrentQueue with explicit tokens everywhere. Without a consumer token try_dequeue prefers the fullest
// sub-queue, and a lone task behind a busy producer never comes out; with tokens consumers take turns over the sub-queues,
// `quota` elements each, so that a task waits for at most quota x (producers) dequeues. The library's default of 256 would make
// that thousands of picks: 16 here. Plain threads share a few producer tokens under small locks, since an implicit producer a
// thread would leave one sub-queue for each of ten thousand threads.
//
// Order: G1 count + n (seq_cst), G2 enqueue; a consumer that saw the count and found nothing yet looks again later; who goes to
// sleep reads the count after it announced itself (see scheduler.hpp, idle protocol), so a task between G1 and G2 is not missed.
// When the queue cannot get memory, an intrusive list under a lock takes over: a ready task is never lost.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "runtime/base/lock.hpp"

namespace weft::rt {

struct task;

class global_queue {
 public:
  /// One a processor: its tokens. Used by the processor's holder alone.
  class port;

  explicit global_queue();
  ~global_queue();
  global_queue(global_queue const&) = delete;
  global_queue& operator=(global_queue const&) = delete;

  [[nodiscard]] std::unique_ptr<port> make_port();

  void push(port& via, task* const* tasks, std::size_t n) noexcept;
  void push(task* t) noexcept;  // from anywhere: uses one of the shared tokens
  std::size_t pop(port& via, task** out, std::size_t max) noexcept;

  /// Never less than what is queued, but for a consumer that is just taking it.
  [[nodiscard]] std::size_t size() const noexcept {
    std::int64_t const n = count_.load(std::memory_order_seq_cst);
    return n > 0 ? static_cast<std::size_t>(n) : 0;
  }

 private:
  struct impl;
  void push_list(task* const* tasks, std::size_t n) noexcept;
  std::size_t pop_list(task** out, std::size_t max) noexcept;

  std::unique_ptr<impl> impl_;
  std::atomic<std::int64_t> count_{0};  // everybody, G1
  ranked_lock list_lock_{lock_rank::leaf};
  task* list_head_ = nullptr;  // guarded by list_lock_, linked by waiter::next_ready
  task* list_tail_ = nullptr;
  std::atomic<std::size_t> listed_{0};
};

class global_queue::port {
 public:
  virtual ~port() = default;
};

}  // namespace weft::rt
