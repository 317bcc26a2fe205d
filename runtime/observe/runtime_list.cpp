#include "runtime/observe/runtime_list.hpp"

#include <new>
#include <type_traits>

namespace weft::rt {

runtime_list& runtime_list::of_process() noexcept {
  static_assert(std::is_trivially_destructible_v<runtime_list>);  // a runtime may be a static
  static constinit runtime_list list;
  return list;
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
