// What broadcast and watch have in common: a value goes to each of a number of channels, and none of them holds it up.
//
// Compiled once, in runtime/chan/topic.cpp, where the protocol stands. The templates bring one copy of the value for each channel, made
// before any lock, in the form in which channels move them (chan_elem.hpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include <weft/chan.hpp>
#include <weft/detail/annotations.hpp>
#include <weft/detail/chan_core.hpp>
#include <weft/detail/chan_elem.hpp>
#include <weft/mutex.hpp>

namespace weft::detail {

/// One subscriber's channel. Lives until it is neither listed by its topic nor received from.
struct subscription : receivers_watcher {
  explicit subscription(chan_core& to) noexcept;

  chan_core* const out;                // one sender of it counted
  std::atomic<std::uint32_t> refs{2};  // the topic's list, the receivers together
  std::atomic<std::uint64_t> missed{
      0};  // values that had to make room; written under the channel's lock, before the next is there
  subscription* next_gone = nullptr;  // link of those taken off the list
};

/// Copies of one value: elements in a row, of which `count` are there, and room for one more at `spare`. With stride 0 it is one
/// element of plain bytes that stands for any number.
struct element_batch {
  std::byte* first = nullptr;
  std::size_t stride = 0;
  std::size_t count = 0;
  void* spare = nullptr;

  [[nodiscard]] void* at(std::size_t i) const noexcept { return first + i * stride; }
};

/// Called under the topic's order, right before the first channel gets the value. Nothing of the user's may run in it.
struct topic_hook {
  void (*run)(topic_hook&) noexcept;
};

class topic {
 public:
  topic(elem_ops const& ops, std::size_t capacity) noexcept : ops_(ops), capacity_(capacity) {}
  topic(topic const&) = delete;
  topic& operator=(topic const&) = delete;
  ~topic();  // closes

  /// A new channel, with one receiver counted that the caller adopts. It gets what is sent from now on. Throws std::bad_alloc.
  [[nodiscard]] subscription& subscribe();

  /// 0: an element went to each channel, and what is left in the batch (its count says) is what had to make room for them, or found no
  /// receiver. Else nothing has happened, and the batch needs that many. Does not wait for receivers. Throws closed_channel.
  [[nodiscard]] std::size_t send(element_batch& batch, topic_hook* hook = nullptr);

  /// Does not wait for receivers. Each channel is closed; what it holds can be received.
  void close() noexcept;

 private:
  void unlist_gone_locked(subscription*& gone) noexcept WEFT_REQUIRES(order_);

  elem_ops const& ops_;
  std::size_t const capacity_;
  mutex order_;  // of the sends: each channel gets the values in the same order
  std::vector<subscription*> list_ WEFT_GUARDED_BY(order_);
  bool closed_ WEFT_GUARDED_BY(order_) = false;
};

[[noreturn]] void fatal_moved_topic(char const* call) noexcept;

/// The topic of a broadcast or a watch. Fatal if the handle was moved from.
[[nodiscard]] inline topic& topic_of(std::shared_ptr<topic> const& handle, char const* call) noexcept {
  if (handle == nullptr) [[unlikely]]
    fatal_moved_topic(call);
  return *handle;
}

/// Sends a copy of `v` to each subscriber. Copies are made and values destroyed with no lock held; if a copy throws, nothing was sent.
template <class T>
void send_to_all(topic& to, T const& v, topic_hook* hook = nullptr) {
  if constexpr (std::is_trivially_copyable_v<T>) {
    element_batch one{reinterpret_cast<std::byte*>(const_cast<T*>(std::addressof(v))), 0, 1,
                      nullptr};  // the core only reads it
    (void)to.send(one, hook);
  } else {
    using element = std::conditional_t<is_boxed<T>, box_link*, T>;
    struct copies {
      std::allocator<element> memory;
      element* first = nullptr;
      std::size_t room = 0;
      element_batch batch{nullptr, sizeof(element), 0, nullptr};

      ~copies() {
        for (std::size_t i = 0; i < batch.count; ++i) ops_of<T>.destroy(batch.at(i));
        if (first != nullptr) memory.deallocate(first, room);
      }
      void make(T const& of, std::size_t n) {  // nothing is there yet: the first time, or because there were too few
        copies larger;
        larger.room = n + 1;
        larger.first = larger.memory.allocate(n + 1);
        larger.batch.first = reinterpret_cast<std::byte*>(larger.first);
        larger.batch.spare = larger.batch.at(n);
        for (; larger.batch.count < n; ++larger.batch.count) {
          if constexpr (is_boxed<T>) ::new (larger.batch.at(larger.batch.count)) box_link*(new box<T>(of));
          else ::new (larger.batch.at(larger.batch.count)) T(of);
        }
        std::swap(first, larger.first);
        std::swap(room, larger.room);
        std::swap(batch, larger.batch);
      }
    } all;
    while (std::size_t const n = to.send(all.batch, hook)) all.make(v, n);
  }
}

}  // namespace weft::detail
