// The contract of channels, as a program.

#include <weft/weft.hpp>

#include <algorithm>
#include <memory>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

void require(bool ok, char const* what) {
  if (!ok) throw std::logic_error(what);
}

struct alignas(64) wide {
  explicit wide(int n) : value(n) {}
  wide(wide&&) = default;
  wide& operator=(wide&&) = default;
  int value;
};

static_assert(std::ranges::input_range<weft::chan<int> const>);
static_assert(std::ranges::input_range<weft::receiver<std::string>>);
static_assert(std::ranges::view<weft::receiver<int>>);
static_assert(std::is_same_v<weft::chan<int>::value_type, int>);
static_assert(std::is_same_v<weft::sender<int>::value_type, int>);
static_assert(std::is_same_v<weft::receiver<int>::value_type, int>);
static_assert(std::is_convertible_v<weft::chan<int>, weft::sender<int>>);
static_assert(std::is_convertible_v<weft::chan<int>, weft::receiver<int>>);
static_assert(!std::is_convertible_v<std::size_t, weft::chan<int>>);

void sides(weft::sender<int> out, weft::receiver<int> in) {
  int const v = 2;
  out.send(v);
  out.send(3);
  require(out.push(4), "push");
  require(out.try_send(v) == weft::chan_status::ok, "try_send lvalue");
  require(out.try_send(5) == weft::chan_status::ok, "try_send rvalue");
  require(out.send_for(v, 1s) == weft::chan_status::ok && out.send_for(6, 1s) == weft::chan_status::ok, "send_for");
  require(out.size() == 7 && in.size() == 7 && out.capacity() == 8 && in.capacity() == 8, "size");
  require(out && in && !out.closed() && !in.closed() && !in.abandoned(), "state");
  std::optional<int> const got = in.recv();
  require(got == 2, "recv");
  std::expected<int, weft::chan_status> const tried = in.try_recv();
  require(tried.has_value() && *tried == 3, "try_recv");
  require(in.recv_for(1s).value() == 4, "recv_for");
  std::vector<int> many;
  require(in.recv_many(many, 2) == 2 && many == std::vector<int>{2, 5}, "recv_many");
  require(out.close() && !out.close(), "close");
  for (int const& n : in) require(n == 2 || n == 6, "range");
  in.recv();
  require(in.recv_for(1ms).error() == weft::chan_status::closed, "closed");
}

void both() {
  weft::chan<int> ch = weft::make_chan<int>(8);
  sides(ch, ch);
  ch = weft::chan<int>(2);
  weft::chan<int> const same = ch;
  require(same == ch && !(same != ch), "==");
  require(weft::chan<int>() == weft::chan<int>(), "nil");
  weft::sender<int> tx = ch.tx();
  weft::receiver<int> rx = same.rx();
  tx.send(1);
  require(rx.recv() == 1, "tx, rx");
  int v = 3;
  same.send(v);
  same.send(std::move(v));
  require(same.try_send(3) == weft::chan_status::full, "full");
  require(same.send_for(3, 1ms) == weft::chan_status::timeout, "timeout");
  require(!same.closed() && same.size() == 2 && same.capacity() == 2 && !same.abandoned(), "state");
  auto it = same.begin();
  require(it != same.end() && *it == 3, "iterator");
  ++it;
  require(same.recv_for(1s).has_value() && same.try_recv().error() == weft::chan_status::empty, "empty");
  std::vector<int> out;
  same.close();
  require(same.recv_many(out, 10) == 0 && !same.push(1), "closed");
  try {
    same.send(1);
    require(false, "closed_channel");
  } catch (weft::closed_channel const& e) {
    require(e.what() != nullptr, "what");
  }
  require(same.try_send(1) == weft::chan_status::closed, "try_send closed");
  weft::chan<int> none;
  require(!none && none.try_send(1) == weft::chan_status::full, "nil try_send");
  require(none.try_recv().error() == weft::chan_status::empty, "nil try_recv");
  require(none.recv_for(1ms).error() == weft::chan_status::timeout, "nil recv_for");
  try {
    none.close();
    require(false, "nil_channel");
  } catch (weft::nil_channel const& e) {
    require(e.what() != nullptr, "what");
  }
}

void move_only() {
  auto [tx, rx] = weft::make_ends<std::unique_ptr<int>>(1);
  auto p = std::make_unique<int>(1);
  require(tx.try_send(p) == weft::chan_status::ok && p == nullptr, "lvalue of a move-only type");
  p = std::make_unique<int>(2);
  require(tx.try_send(std::move(p)) == weft::chan_status::full && p != nullptr, "untouched");
  require(tx.send_for(p, 1ms) == weft::chan_status::timeout && p != nullptr, "untouched");
  require(tx.send_for(std::move(p), 1ms) == weft::chan_status::timeout && p != nullptr, "untouched");
  require(**rx.recv() == 1, "recv");
  tx.send(std::move(p));
  require(**rx.try_recv() == 2, "recv");
  require(tx.push(std::make_unique<int>(3)), "push");
  auto const wides = weft::make_chan<wide>(2);
  wides.send(wide(4));
  require(wides.recv()->value == 4, "without a default constructor, over-aligned");
  auto const signals = weft::make_chan<weft::unit>();
  weft::go([signals] { signals.send({}); });
  require(signals.recv() == weft::unit{}, "unit");
}

void ends() {
  weft::chan_ends<int> made = weft::make_ends<int>();
  weft::sender<int> copy = made.tx;
  made.tx = {};
  require(!made.rx.closed(), "one sender is left");
  copy = weft::sender<int>();
  require(!made.rx.recv() && made.rx.closed(), "closed by the last sender's going");
  auto [tx, rx] = weft::make_ends<int>(1);
  weft::go([out = tx] { out.send(7); });
  tx = {};
  int sum = 0;
  for (int n : rx) sum += n;
  require(sum == 7, "range over a receiver");
  auto numbers = weft::make_ends<int>(4);
  weft::go([out = std::move(numbers.tx)] {
    for (int i = 0; i < 4; ++i) out.send(i);
  });
  std::vector<int> odd;
  for (int n : numbers.rx | std::views::filter([](int k) { return k % 2 == 1; }) |
                   std::views::transform([](int k) { return k * 10; }))
    odd.push_back(n);
  require(odd == std::vector<int>{10, 30}, "views");
}

}  // namespace

int main() {
  weft::run([] {
    both();
    move_only();
    ends();
  });
  both();  // and from a plain thread
  return 0;
}
