// moodycamel's queue as far as weft relies on it: what was enqueued before (in the sense of happens-before) is found, each element once.
#pragma once

namespace moodycamel {

struct ConcurrentQueueDefaultTraits {
  static constexpr std::size_t EXPLICIT_CONSUMER_CONSUMPTION_QUOTA_BEFORE_ROTATE = 256;
};

/// Whether the queues of the program that runs find memory.
inline bool has_memory = true;

template <class T, class Traits>
class ConcurrentQueue {
  static_assert(Traits::EXPLICIT_CONSUMER_CONSUMPTION_QUOTA_BEFORE_ROTATE != 0);

 public:
  bool enqueue(T const& element) {
    if (!has_memory) return false;
    slots_[used_.fetch_add(1, std::memory_order_relaxed)].store(element, std::memory_order_release);
    return true;
  }
  template <class Token>
  bool enqueue(Token const&, T const& element) {
    return enqueue(element);
  }
  template <class Token, class From>
  bool enqueue_bulk(Token const&, From from, std::size_t n) {
    if (!has_memory) return false;
    for (std::size_t i = 0; i < n; ++i) enqueue(from[i]);
    return true;
  }
  template <class Token, class To>
  std::size_t try_dequeue_bulk(Token&, To to, std::size_t max) {
    std::size_t n = 0;
    for (unsigned i = 0, used = used_.load(std::memory_order_relaxed); i < used && n < max; ++i) {
      if (slots_[i].load(std::memory_order_relaxed) == T{}) continue;
      if (T const t = slots_[i].exchange(T{}, std::memory_order_acq_rel); t != T{}) to[n++] = t;
    }
    return n;
  }

 private:
  std::atomic<unsigned> used_{0};
  std::array<std::atomic<T>, 4> slots_{};
};

struct ProducerToken {
  template <class Queue>
  explicit ProducerToken(Queue&) {}
  [[nodiscard]] bool valid() const noexcept { return true; }
};
struct ConsumerToken {
  template <class Queue>
  explicit ConsumerToken(Queue&) {}
};

}  // namespace moodycamel
