#include "runtime/sched/global_queue.hpp"

#include <array>
#include <new>

// GCC 12 sees a write past the end in the library's block index when it is inlined here; there is none.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif
#include <concurrentqueue.h>

#include "runtime/sched/task.hpp"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 sees an atomic load through a null block in ConcurrentQueue's enqueue_bulk, on a path that cannot be taken.
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#endif

namespace weft::rt {

namespace {
struct queue_traits : moodycamel::ConcurrentQueueDefaultTraits {
  static constexpr std::uint32_t EXPLICIT_CONSUMER_CONSUMPTION_QUOTA_BEFORE_ROTATE = 16;
};
using queue = moodycamel::ConcurrentQueue<task*, queue_traits>;
constexpr std::size_t shared_tokens = 4;

/// A token that was made without memory has no sub-queue behind it, and the queue does not look before it pushes.
void require_valid(moodycamel::ProducerToken const& token) {
  if (!token.valid()) throw std::bad_alloc();
}

struct real_port final : global_queue::port {
  explicit real_port(queue& q) : producer(q), consumer(q) { require_valid(producer); }
  moodycamel::ProducerToken producer;
  moodycamel::ConsumerToken consumer;
};
}  // namespace

struct global_queue::impl {
  struct shared {
    explicit shared(queue& q) : token(q) { require_valid(token); }
    ranked_lock lock{lock_rank::queue_token};
    moodycamel::ProducerToken token;  // guarded by lock
  };
  queue tasks;
  std::array<shared, shared_tokens> outside{shared(tasks), shared(tasks), shared(tasks), shared(tasks)};
};

global_queue::global_queue() : impl_(std::make_unique<impl>()) {}
global_queue::~global_queue() = default;

std::unique_ptr<global_queue::port> global_queue::make_port() { return std::make_unique<real_port>(impl_->tasks); }

void global_queue::push(port& via, task* const* tasks, std::size_t n) noexcept {
  count_.fetch_add(static_cast<std::int64_t>(n), std::memory_order_seq_cst);                             // G1
  if (!impl_->tasks.enqueue_bulk(static_cast<real_port&>(via).producer, tasks, n)) push_list(tasks, n);  // G2
}

void global_queue::push(task* t) noexcept {
  count_.fetch_add(1, std::memory_order_seq_cst);  // G1
  // Threads are told apart by where their stacks lie, which is free: glibc's are 8 MB and a page apart. By a product, whose upper bits all
  // decide (Knuth's multiplicative hashing); of four threads in a row two share a token.
  static_assert(shared_tokens == 4);
  auto const where = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) >> 16;
  auto& s = impl_->outside[((where + (where >> 7)) * 0x9e3779b97f4a7c15u) >> 62];
  s.lock.lock();
  bool const queued = impl_->tasks.enqueue(s.token, t);  // G2
  s.lock.unlock();
  if (!queued) push_list(&t, 1);
}

std::size_t global_queue::pop(port& via, task** out, std::size_t max) noexcept {
  if (size() == 0) return 0;
  std::size_t n = listed_.load(std::memory_order_acquire) != 0 ? pop_list(out, max) : 0;
  if (n < max) n += impl_->tasks.try_dequeue_bulk(static_cast<real_port&>(via).consumer, out + n, max - n);
  if (n != 0) count_.fetch_sub(static_cast<std::int64_t>(n), std::memory_order_relaxed);
  return n;
}

void global_queue::push_list(task* const* tasks, std::size_t n) noexcept {
  guard hold(list_lock_);
  for (std::size_t i = 0; i < n; ++i) {
    tasks[i]->next_ready = nullptr;
    if (list_tail_ != nullptr) {
      list_tail_->next_ready = tasks[i];
    } else {
      list_head_ = tasks[i];
    }
    list_tail_ = tasks[i];
  }
  listed_.fetch_add(n, std::memory_order_release);
}

std::size_t global_queue::pop_list(task** out, std::size_t max) noexcept {
  guard hold(list_lock_);
  std::size_t n = 0;
  while (n < max && list_head_ != nullptr) {
    out[n++] = list_head_;
    list_head_ = static_cast<task*>(list_head_->next_ready);
  }
  if (list_head_ == nullptr) list_tail_ = nullptr;
  listed_.fetch_sub(n, std::memory_order_relaxed);
  return n;
}

}  // namespace weft::rt
