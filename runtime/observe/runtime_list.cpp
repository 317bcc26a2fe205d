#include "runtime/observe/runtime_list.hpp"

#include <new>

namespace weft::rt {

runtime_list& runtime_list::of_process() noexcept {
  alignas(runtime_list) static unsigned char space[sizeof(runtime_list)];
  static auto* const list = new (space) runtime_list;  // never destroyed: a runtime may be a static
  return *list;
}

void runtime_list::add(scheduler& s) noexcept {
  guard hold(lock);
  s.next_in_process = first_;
  first_ = &s;
}

void runtime_list::remove(scheduler& s) noexcept {
  guard hold(lock);
  for (scheduler** at = &first_; *at != nullptr; at = &(*at)->next_in_process)
    if (*at == &s) {
      *at = s.next_in_process;
      return;
    }
}

void runtime_list::begin_anew() noexcept { new (this) runtime_list; }

}  // namespace weft::rt
