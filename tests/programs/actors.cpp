// Accounts as tasks that own their state: requests carry the channel of their answer, transfers ask two of them, and a deadlock is not
// to be had because each request has its own time limit.

#include <weft/weft.hpp>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <variant>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct deposit {
  long amount;
};
struct withdraw {
  long amount;
  weft::sender<bool> ok;
};
struct balance {
  weft::sender<long> to;
};
using request = std::variant<deposit, withdraw, balance>;

class account {
 public:
  explicit account(long start) {
    auto [tx, rx] = weft::make_ends<request>(2);
    requests_ = std::move(tx);
    weft::go({.name = "account"}, [in = std::move(rx), total = start]() mutable {
      for (request& r : in) {
        if (auto* d = std::get_if<deposit>(&r)) total += d->amount;
        if (auto* w = std::get_if<withdraw>(&r)) {
          bool const enough = total >= w->amount;
          if (enough) total -= w->amount;
          (void)w->ok.push(enough);
        }
        if (auto* b = std::get_if<balance>(&r)) (void)b->to.push(total);
      }
    });
  }
  void put(long amount) const { requests_.send(deposit{amount}); }
  bool take(long amount) const {
    auto [tx, rx] = weft::make_ends<bool>(1);
    requests_.send(withdraw{amount, std::move(tx)});
    return rx.recv().value_or(false);
  }
  long total() const {
    auto [tx, rx] = weft::make_ends<long>(1);
    requests_.send(balance{std::move(tx)});
    return *rx.recv();
  }

 private:
  weft::sender<request> requests_;
};

bool transfer(account const& from, account const& to, long amount) {
  auto const r = weft::within(60s, [&] {
    if (!from.take(amount)) return false;
    to.put(amount);
    return true;
  });
  return r.value_or(false);
}

}  // namespace

int main() {
  return weft::run([] {
    constexpr int accounts = 20, transfers = 500;
    std::vector<account> bank;
    for (int i = 0; i < accounts; ++i) bank.emplace_back(100);
    weft::counting_semaphore<> at_once(64);
    weft::guarded<int> moved(0);
    weft::task_group clients;
    for (int i = 0; i < transfers; ++i)
      clients.spawn([&, i] {
        weft::permit turn(at_once);
        auto const n = static_cast<unsigned>(i) * 7919u;
        if (transfer(bank[n % accounts], bank[(n / 3 + 1) % accounts], n % 40)) ++*moved.lock();
      });
    clients.wait();
    std::vector<long> const totals = weft::parallel_map(bank, [](account const& a) { return a.total(); }, {.limit = 4});
    long const sum = std::accumulate(totals.begin(), totals.end(), 0L);
    bool const none_negative = std::ranges::all_of(totals, [](long t) { return t >= 0; });
    int const done = moved.with([](int& n) { return n; });
    std::printf("%d of %d transfers, %ld in all\n", done, transfers, sum);
    return sum == accounts * 100 && none_negative && done > 0 ? 0 : 1;
  });
}
