// Five philosophers, five forks, and each takes the left one first: after the first turn nobody ever eats again. weft finds that no task
// can go on, unwinds them all, and run() throws a report that says who waits for what, and where. Then they do it in an order.
//
//   dining_philosophers
#include <algorithm>
#include <array>
#include <cstdio>
#include <mutex>
#include <string>

#include <weft/weft.hpp>

namespace {

constexpr std::size_t seats = 5;
constexpr int meals = 3;

struct table {
  std::array<weft::mutex, seats> forks;
  weft::barrier<> all_have_one{seats};
};

/// Takes what lies left, waits until the others have done so too, and reaches for the other fork.
void dine_greedily(table& t, std::size_t seat) {
  std::scoped_lock const left(t.forks[seat]);
  t.all_have_one.arrive_and_wait();
  std::scoped_lock const right(t.forks[(seat + 1) % seats]);
}

/// The cure: everybody takes the fork with the lower number first.
void dine_in_order(table& t, std::size_t seat) {
  std::size_t const next = (seat + 1) % seats;
  for (int i = 0; i < meals; ++i) {
    std::scoped_lock const lower(t.forks[std::min(seat, next)]);
    std::scoped_lock const higher(t.forks[std::max(seat, next)]);
    weft::yield();
  }
}

template <class Dine>
void seat_all(Dine dine) {
  table t;
  weft::task_group guests;
  for (std::size_t seat = 0; seat < seats; ++seat)
    guests.spawn(weft::task_options{.name = "philosopher " + std::to_string(seat)}, [&, seat] { dine(t, seat); });
  guests.wait();
}

}  // namespace

int main() {
  try {
    weft::run([] { seat_all(dine_greedily); });
    std::puts("they have dined, which cannot be");
    return 1;
  } catch (weft::deadlock const& stuck) {
    std::puts(stuck.what());
  }
  weft::run([] { seat_all(dine_in_order); });
  std::puts("in order: all have dined");
}
