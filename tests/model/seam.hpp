// Included before everything else in the files of a model check (by the compiler's -include): from here on std::atomic is the explorer's
// (atomic.hpp), and so are the fences. The standard library's own headers come first and keep the real one.
//
// Why not a template parameter for the memory in each header of the runtime: what is checked would be the same, but every lock-free header
// would be written for its test, and no .cpp file could be checked as it stands.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <ranges>
#include <shared_mutex>
#include <source_location>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <cxxabi.h>
#include <boost/context/detail/fcontext.hpp>

#include "tests/model/atomic.hpp"
#include "tests/model/explorer.hpp"

namespace std {
template <class T>
using modelled_atomic = model::modelled_atomic<T>;
inline void modelled_thread_fence(memory_order o, source_location at = source_location::current()) {
  model::acquire_release_fence(o, at);
}
}  // namespace std

#define atomic modelled_atomic
#define atomic_thread_fence modelled_thread_fence
