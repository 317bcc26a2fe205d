// An intrusive doubly linked list: the links are members of the elements, so nothing here allocates or throws.
//
// The list is a ring through its own head: adding and removing have no branches, and an element leaves the list
// without a search. An element is in at most one list per link; its link is null while it is in none. The list has no
// lock of its own: whoever declares one names its guard.
//
//     struct waiter { list_link link; };
//     list<waiter, &waiter::link> waiters;
#pragma once

#include "runtime/base/check.hpp"

#include <bit>
#include <cstddef>
#include <iterator>

namespace weft::rt {

struct list_link {
  list_link* next = nullptr;
  list_link* prev = nullptr;

  bool linked() const noexcept { return next != nullptr; }
};

template <class T, list_link T::* Link>
class list {
 public:
  constexpr list() noexcept : head_{&head_, &head_} {}
  list(list const&) = delete;
  list& operator=(list const&) = delete;

  bool empty() const noexcept { return head_.next == &head_; }

  T* front() const noexcept { return empty() ? nullptr : element(head_.next); }
  T* back() const noexcept { return empty() ? nullptr : element(head_.prev); }

  void push_back(T& item) noexcept { insert(item, head_.prev, &head_); }
  void push_front(T& item) noexcept { insert(item, &head_, head_.next); }

  T* pop_front() noexcept {
    if (empty()) return nullptr;
    T* const item = element(head_.next);
    remove(*item);
    return item;
  }

  T* pop_back() noexcept {
    if (empty()) return nullptr;
    T* const item = element(head_.prev);
    remove(*item);
    return item;
  }

  // The element must be in this list.
  void remove(T& item) noexcept {
    list_link& link = item.*Link;
    WEFT_ASSERT(link.linked(), "the element is in no list");
    link.prev->next = link.next;
    link.next->prev = link.prev;
    link.next = link.prev = nullptr;
  }

  // Moves all of the other list's elements to the end of this one, in their order.
  void splice_all(list& other) noexcept {
    if (other.empty()) return;
    list_link* const first = other.head_.next;
    list_link* const last = other.head_.prev;
    first->prev = head_.prev;
    head_.prev->next = first;
    last->next = &head_;
    head_.prev = last;
    other.head_.next = other.head_.prev = &other.head_;
  }

  // A linear walk; for tests and dumps.
  std::size_t count() const noexcept {
    std::size_t n = 0;
    for (list_link const* at = head_.next; at != &head_; at = at->next) ++n;
    return n;
  }

  // Iteration: the element that the iterator stands on must stay in the list until the iterator has moved on.
  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using reference = T&;
    using pointer = T*;
    using iterator_category = std::forward_iterator_tag;

    iterator() noexcept = default;
    explicit iterator(list_link* at) noexcept : at_(at) {}
    T& operator*() const noexcept { return *element(at_); }
    T* operator->() const noexcept { return element(at_); }
    iterator& operator++() noexcept {
      at_ = at_->next;
      return *this;
    }
    iterator operator++(int) noexcept {
      iterator const old = *this;
      ++*this;
      return old;
    }
    bool operator==(iterator const&) const noexcept = default;

   private:
    list_link* at_ = nullptr;
  };

  iterator begin() const noexcept { return iterator(head_.next); }
  iterator end() const noexcept { return iterator(const_cast<list_link*>(&head_)); }

 private:
  static void insert(T& item, list_link* before, list_link* after) noexcept {
    list_link& link = item.*Link;
    WEFT_ASSERT(!link.linked(), "the element is in a list already");
    link.prev = before;
    link.next = after;
    before->next = after->prev = &link;
  }

  // In the Itanium ABI a pointer to a data member is the member's offset.
  static T* element(list_link* link) noexcept {
    static_assert(sizeof(Link) == sizeof(std::ptrdiff_t));
    return reinterpret_cast<T*>(reinterpret_cast<char*>(link) - __builtin_bit_cast(std::ptrdiff_t, Link));
  }

  list_link head_;
};

}  // namespace weft::rt
