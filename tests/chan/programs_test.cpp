// Small programs made of channels: sieves, chains, trees, power series. Each is right only if no value is lost, doubled
// or out of order anywhere.
#include <weft/weft.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/runtime_fixture.hpp"

namespace {

using weft::chan;
using weft::make_chan;
using weft::receiver;
using weft::sender;
using weft::test::with_workers;

TEST_CASE("a prime sieve of a task a prime") {
  with_workers([] {
    for (std::size_t capacity : {0u, 4u}) {
      auto [first, numbers] = weft::make_ends<int>(capacity);
      weft::go([tx = std::move(first)] {
        for (int i = 2; tx.push(i); ++i) {
        }
      });
      std::vector<int> primes;
      while (primes.size() < 60) {
        int const prime = *numbers.recv();
        primes.push_back(prime);
        auto [tx, rx] = weft::make_ends<int>(capacity);
        weft::go([in = std::move(numbers), out = std::move(tx), prime] {
          for (int n : in)
            if (n % prime != 0 && !out.push(n))
              return;  // the end of the line went: so does this one, and those before it
        });
        numbers = std::move(rx);
      }
      CHECK(primes.back() == 281);
      CHECK(std::accumulate(primes.begin(), primes.end(), 0) == 7699);
    }
  });
}

TEST_CASE("a value passes through a chain of ten thousand tasks") {
  static constexpr int links =
      weft::rt::tsan ? 1'000 : 10'000;  // each is a logical thread there, which takes it milliseconds to make
  with_workers([] {
    auto left = make_chan<int>();
    auto in = left;
    for (int i = 0; i < links; ++i) {
      auto right = make_chan<int>();
      weft::go([in, right] { right.send(*in.recv() + 1); });
      in = right;
    }
    left.send(0);
    CHECK(in.recv() == links);
  });
}

TEST_CASE("the ends of a chain come in order: each waits for the one before it") {
  with_workers([] {
    auto out = make_chan<int>(50);
    auto before = make_chan<weft::unit>();
    auto const first = before;
    for (int i = 0; i < 50; ++i) {
      auto after = make_chan<weft::unit>();
      weft::go([=] {
        before.recv();
        out.send(i);
        after.close();
      });
      before = after;
    }
    first.close();
    before.recv();
    for (int i = 0; i < 50; ++i) CHECK(out.recv() == i);
  });
}

TEST_CASE("requests carry the channel of their answer") {
  struct request {
    int a, b;
    sender<int> answer;
  };
  with_workers([] {
    auto [tx, rx] = weft::make_ends<request>();
    weft::go([in = std::move(rx)] {
      for (auto& r : in) r.answer.send(r.a * r.b);
    });
    std::vector<weft::join_handle<bool>> clients;
    for (int k = 0; k < 5; ++k)
      clients.push_back(weft::spawn([to = tx, k] {
        auto mine = make_chan<int>(1);
        for (int i = 0; i < 200; ++i) {
          to.send({k, i, mine});
          if (mine.recv() != k * i) return false;
        }
        return true;
      }));
    for (auto& c : clients) CHECK(c.join());
  });
}

// ---- power series: streams of coefficients that are computed when asked for ---------------------------------------

using series = receiver<double>;

template <class F>
series make_series(F f) {
  auto [tx, rx] = weft::make_ends<double>();
  weft::go([out = std::move(tx), f = std::move(f)]() mutable { f(out); });
  return rx;
}

/// Both results carry all of `s`; one may run ahead of the other.
std::pair<series, series> split(series s) {
  auto a = weft::make_ends<double>(), b = weft::make_ends<double>();
  weft::go([s = std::move(s), to_a = std::move(a.tx), to_b = std::move(b.tx)] {
    std::size_t at_a = 0, at_b = 0;
    std::vector<double> all;
    bool a_open = true, b_open = true;
    while (a_open || b_open) {
      if (all.size() == std::max(at_a, at_b)) {
        auto v = s.recv();
        if (!v) return;
        all.push_back(*v);
      }
      try {
        weft::select(
            weft::when(a_open && at_a < all.size(), weft::on_send(
                                                        to_a, all[std::min(at_a, all.size() - 1)], [&] { ++at_a; })),
            weft::when(b_open && at_b < all.size(),
                       weft::on_send(to_b, all[std::min(at_b, all.size() - 1)], [&] { ++at_b; })));
      } catch (weft::closed_channel const&) {
        a_open = a_open && !to_a.closed();
        b_open = b_open && !to_b.closed();
      }
    }
  });
  return {std::move(a.rx), std::move(b.rx)};
}

series add(series a, series b) {
  return make_series([a = std::move(a), b = std::move(b)](sender<double> const& out) {
    while (auto x = a.recv()) {
      auto y = b.recv();
      if (!y || !out.push(*x + *y)) return;
    }
  });
}

series scaled_and_shifted(double first, double factor, series s) {
  return make_series([first, factor, s = std::move(s)](sender<double> const& out) {
    if (!out.push(first)) return;
    while (auto x = s.recv())
      if (!out.push(factor * *x)) return;
  });
}

/// (a0 + x A)(b0 + x B) = a0 b0 + x (a0 B + b0 A + x A B)
series multiply(series a, series b) {
  return make_series([a = std::move(a), b = std::move(b)](sender<double> const& out) {
    auto a0 = a.recv(), b0 = b.recv();
    if (!a0 || !b0 || !out.push(*a0 * *b0)) return;
    auto [a1, a2] = split(a);
    auto [b1, b2] = split(b);
    auto const times = [](double f, series s) {
      return make_series([f, s = std::move(s)](sender<double> const& to) {
        while (auto x = s.recv())
          if (!to.push(f * *x)) return;
      });
    };
    auto rest = add(add(times(*a0, std::move(b1)), times(*b0, std::move(a1))),
                    scaled_and_shifted(0, 1, multiply(std::move(a2), std::move(b2))));
    while (auto x = rest.recv())
      if (!out.push(*x)) return;
  });
}

TEST_CASE("power series multiply: a tree of tasks that grows as coefficients are asked for") {
  with_workers([] {
    auto const ones = [] {
      return make_series([](sender<double> const& out) {
        while (out.push(1)) {
        }
      });
    };
    auto product = multiply(multiply(ones(), ones()), ones());  // 1 / (1 - x)^3
    for (int n = 0; n < 8; ++n) CHECK(product.recv() == (n + 1) * (n + 2) / 2);
  });
}

// ---- a tree that is walked by tasks ---------------------------------------------------------------------------------

struct node {
  int key;
  std::unique_ptr<node> left, right;
};
std::unique_ptr<node> tree(int from, int to) {
  if (from >= to) return nullptr;
  int const mid = from + (to - from) / 2;
  return std::make_unique<node>(node{mid, tree(from, mid), tree(mid + 1, to)});
}
void walk(node const* n, sender<int> const& out) {
  if (n == nullptr) return;
  walk(n->left.get(), out);
  out.send(n->key);
  walk(n->right.get(), out);
}

TEST_CASE("two walkers of one tree agree, element by element") {
  with_workers([] {
    auto t = tree(0, 500);
    auto const walker = [&] {
      auto [tx, rx] = weft::make_ends<int>();
      weft::go([out = std::move(tx), n = t.get()] { walk(n, out); });
      return rx;
    };
    auto a = walker(), b = walker();
    int n = 0;
    for (int v : a) CHECK((b.recv() == v && v == n++));
    CHECK_FALSE(b.recv());
    CHECK(n == 500);
  });
}

}  // namespace
