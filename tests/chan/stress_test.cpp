// Many tasks on one channel, by every way in and out at once: sums are kept, each producer's order is kept, each value
// comes once, and when all is over nothing is left.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using namespace std::chrono_literals;
using weft::chan_status;
using weft::test::with_workers;

struct item {
  std::uint32_t producer, number;
};
struct owned_item {
  std::unique_ptr<item> p;
};
struct boxed_item {  // copies as quietly as it moves: travels in a box
  std::shared_ptr<item> p;
};
item of(item i) { return i; }
item of(owned_item const& i) { return *i.p; }
item of(boxed_item const& i) { return *i.p; }
template <class T>
T make(item i) {
  if constexpr (std::is_same_v<T, item>) return i;
  else if constexpr (std::is_same_v<T, owned_item>) return {std::make_unique<item>(i)};
  else return {std::make_shared<item>(i)};
}

constexpr std::uint32_t producers = 4, per_producer = 1200;

/// Sends in turn by every form there is; each must send the value exactly once.
template <class T>
void produce(weft::sender<T> const& tx, std::uint32_t me) {
  auto const never = weft::make_chan<T>();
  for (std::uint32_t n = 0; n < per_producer; ++n) {
    T v = make<T>({me, n});
    switch ((n + me) % 5) {
      case 0: tx.send(std::move(v)); break;
      case 1:
        while (tx.try_send(std::move(v)) != chan_status::ok) weft::yield();
        break;
      case 2:
        while (tx.send_for(std::move(v), 30us) != chan_status::ok) {
        }
        break;
      case 3: weft::select(weft::on_send(tx, std::move(v)), weft::on_recv(never)); break;
      default:
        while (weft::select(weft::on_recv(never), weft::on_send(tx, std::move(v)), weft::on_timeout(30us)) != 1) {
        }
    }
  }
}

/// Receives in turn by every form there is, until the channel is closed and drained.
template <class T>
std::vector<item> consume(weft::receiver<T> const& rx, unsigned turn) {
  auto const never = weft::make_chan<T>();
  std::vector<item> got;
  auto const keep = [&](T const& v) { got.push_back(of(v)); };
  for (bool open = true; open; ++turn) {
    auto const take = [&](std::optional<T> v) { v ? keep(*v) : void(open = false); };
    switch (turn % 5) {
      case 0: take(rx.recv()); break;
      case 1:
        if (auto v = rx.try_recv()) keep(*v);
        else weft::yield();
        break;
      case 2:
        if (auto v = rx.recv_for(30us)) keep(*v);
        break;
      case 3: weft::select(weft::on_recv(never), weft::on_recv(rx, take), weft::on_timeout(30us)); break;
      default: {
        std::vector<T> many;
        if (rx.recv_many(many, 3) == 0) open = false;
        for (auto& v : many) keep(v);
      }
    }
  }
  return got;
}

template <class T>
void stress(std::size_t capacity) {
  auto [tx, rx] = weft::make_ends<T>(capacity);
  std::vector<weft::join_handle<std::vector<item>>> consumers;
  for (unsigned i = 0; i < 3; ++i) consumers.push_back(weft::spawn([in = rx, i] { return consume<T>(in, i); }));
  std::vector<weft::join_handle<void>> all;
  for (std::uint32_t p = 0; p < producers; ++p) all.push_back(weft::spawn([out = tx, p] { produce<T>(out, p); }));
  tx = {};
  for (auto& p : all) p.join();
  std::vector<std::vector<int>> times(producers, std::vector<int>(per_producer));
  int out_of_order = 0;
  for (auto& c : consumers) {
    std::vector<std::int64_t> last(producers, -1);
    for (item i : c.join()) {
      ++times[i.producer][i.number];
      out_of_order += i.number <= last[i.producer];  // one consumer sees one producer's values in their order
      last[i.producer] = i.number;
    }
  }
  int wrong = 0;
  for (auto& p : times)
    for (int n : p) wrong += n != 1;
  CHECK(wrong == 0);
  CHECK(out_of_order == 0);
  CHECK(rx.size() == 0);
  CHECK(weft::test::waiting(rx, false) + weft::test::waiting(rx, true) == 0);
}

TEST_CASE("every way of sending against every way of receiving") {
  with_workers([] {
    for (std::size_t capacity : {0u, 1u, 7u}) {
      stress<item>(capacity);
      stress<owned_item>(capacity);
      stress<boxed_item>(capacity);
    }
  });
}

TEST_CASE("a close in the middle of traffic: what was sent is received, the rest stays with its sender") {
  with_workers([] {
    for (int round = 0; round < 60; ++round) {
      auto c = weft::make_chan<std::unique_ptr<int>>(static_cast<std::size_t>(round % 3));
      std::vector<weft::join_handle<int>> senders, receivers;
      for (int s = 0; s < 3; ++s)
        senders.push_back(weft::spawn([c] {
          int sent = 0;
          for (auto v = std::make_unique<int>(1);; v = std::make_unique<int>(1)) {
            if (c.send_for(std::move(v), 1h) == chan_status::ok) ++sent;
            else return v ? sent : -1;
          }
        }));
      for (int r = 0; r < 2; ++r)
        receivers.push_back(weft::spawn([c] {
          int n = 0;
          for (auto& v : c) n += *v;
          return n;
        }));
      for (int i = 0; i < round; ++i) weft::yield();
      c.close();
      int sent = 0, received = 0;
      for (auto& s : senders) {
        int const n = s.join();
        CHECK(n >= 0);
        sent += n;
      }
      for (auto& r : receivers) received += r.join();
      CHECK(sent == received);
    }
  });
}

TEST_CASE("handles dropped by many tasks at once free the channel once, with all that it holds") {
  with_workers([] {
    std::atomic<int> alive{0};
    struct counted {
      std::atomic<int>* n;
      explicit counted(std::atomic<int>& a) : n(&a) { ++*n; }
      counted(counted&& o) noexcept : n(std::exchange(o.n, nullptr)) {}
      ~counted() {
        if (n != nullptr) --*n;
      }
    };
    for (int round = 0; round < 200; ++round) {
      auto [tx, rx] = weft::make_ends<counted>(4);
      std::vector<weft::join_handle<void>> h;
      for (int i = 0; i < 4; ++i) {
        h.push_back(weft::spawn([out = tx, &alive] { (void)out.push(counted(alive)); }));
        h.push_back(weft::spawn([in = rx, i] {
          if (i % 2 == 0) in.recv();
        }));
      }
      tx = {};
      rx = {};
      for (auto& one : h) one.join();
      CHECK(alive.load() == 0);
    }
  });
}

}  // namespace
