// Counting up as the explorer has it: the two accesses that it stands for.
#pragma once

namespace weft::rt {

template <class T>
void count_up(std::atomic<T>& word, std::memory_order order, model::where at = model::where::current()) noexcept {
  word.store(word.load(std::memory_order_relaxed, at) + 1, order, at);
}

}  // namespace weft::rt
