// Partner, close, time-out and cancellation at once, on whole channels: of the values that were sent none is lost, none comes twice.

#include <weft/weft.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <random>
#include <vector>

#include "runtime/base/sanitizer.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/runtime_fixture.hpp"

using weft::test::with_workers;

namespace {

constexpr std::size_t senders = 3, receivers = 3;
constexpr int values_each = 60;

/// What ended waits, over all rounds: each must have happened, else the storm was none.
struct endings {
  std::atomic<int> partner{0}, timeout{0}, cancel{0}, closed{0};
};

class storm {
 public:
  storm(std::size_t capacity, unsigned seed, endings& count)
      : channel_(weft::make_chan<int>(capacity)), seed_(seed), count_(count) {}

  /// Runs it, and says whether what was received is what was sent.
  bool run() {
    std::vector<weft::join_handle<std::vector<int>>> sending, receiving;
    for (std::size_t i = 0; i < senders; ++i) sending.push_back(weft::spawn([this, i] { return send_all(i); }));
    for (std::size_t i = 0; i < receivers; ++i) receiving.push_back(weft::spawn([this, i] { return receive_all(i); }));
    auto canceller = weft::spawn([this] { cancel_some(); });
    auto closer = weft::spawn([this] {
      for (unsigned n = seed_ * 7 % 400; n > 0; --n) weft::yield();
      channel_.close();
    });
    closer.join();
    std::vector<int> sent, received;
    for (auto& h : sending) append(sent, h.join());
    for (auto& h : receiving) append(received, h.join());
    over_.store(true);
    canceller.join();
    std::ranges::sort(sent);
    std::ranges::sort(received);
    return sent == received;
  }

 private:
  using random = std::minstd_rand;

  static void append(std::vector<int>& to, std::vector<int> const& from) {
    to.insert(to.end(), from.begin(), from.end());
  }

  /// Calls f under a context of its own, which the canceller may cancel; false if it did.
  template <class F>
  bool attempt(std::size_t who, F&& f) {
    auto [ctx, cancel] = weft::with_cancel();
    *victims_[who].lock() = cancel;
    weft::scoped_context const under(ctx);
    try {
      f();
      return true;
    } catch (weft::cancelled const&) {
      ++count_.cancel;
      return false;
    }
  }

  std::vector<int> send_all(std::size_t who) {
    random choose(seed_ * 100 + static_cast<unsigned>(who));
    std::vector<int> accepted;
    for (int k = 0; k < values_each; ++k) {
      int const value = static_cast<int>(who) * 1000 + k;
      auto outcome = weft::chan_status::timeout;
      while (outcome == weft::chan_status::timeout) (void)attempt(who, [&] { outcome = send_one(choose, value); });
      if (outcome == weft::chan_status::closed) break;
      accepted.push_back(value);
    }
    return accepted;
  }

  weft::chan_status send_one(random& choose, int value) {
    std::chrono::microseconds const patience(choose() % 50);
    auto outcome = weft::chan_status::timeout;
    try {
      switch (choose() % 3) {
        case 0: channel_.send(value), outcome = weft::chan_status::ok; break;
        case 1: outcome = channel_.send_for(value, patience); break;
        default:
          weft::select(weft::on_send(channel_, value, [&] { outcome = weft::chan_status::ok; }),
                       weft::on_timeout(patience, [] {}));
      }
    } catch (weft::closed_channel const&) {
      outcome = weft::chan_status::closed;
    }
    note(outcome);
    return outcome;
  }

  std::vector<int> receive_all(std::size_t who) {
    random choose(seed_ * 100 + 50 + static_cast<unsigned>(who));
    std::vector<int> got;
    auto outcome = weft::chan_status::ok;
    while (outcome != weft::chan_status::closed)
      (void)attempt(senders + who, [&] { outcome = receive_one(choose, got); });
    return got;
  }

  // The value is in `got` before anything can throw.
  weft::chan_status receive_one(random& choose, std::vector<int>& got) {
    std::chrono::microseconds const patience(choose() % 50);
    auto outcome = weft::chan_status::closed;
    auto const take = [&](int v) { got.push_back(v), outcome = weft::chan_status::ok; };
    switch (choose() % 3) {
      case 0:
        if (auto v = channel_.recv()) take(*v);
        break;
      case 1:
        if (auto v = channel_.recv_for(patience)) take(*v);
        else outcome = v.error();
        break;
      default:
        weft::select(weft::on_recv(channel_,
                                   [&](std::optional<int> v) {
                                     if (v) take(*v);
                                   }),
                     weft::on_timeout(patience, [&] { outcome = weft::chan_status::timeout; }));
    }
    note(outcome);
    return outcome;
  }

  void note(weft::chan_status s) {
    if (s == weft::chan_status::ok) ++count_.partner;
    else if (s == weft::chan_status::timeout) ++count_.timeout;
    else ++count_.closed;
  }

  void cancel_some() {
    random choose(seed_);
    while (!over_.load()) {
      weft::cancel_fn const cancel = *victims_[choose() % victims_.size()].lock();
      cancel();
      weft::yield();
    }
  }

  weft::chan<int> channel_;
  unsigned const seed_;
  endings& count_;
  std::array<weft::guarded<weft::cancel_fn>, senders + receivers> victims_;
  std::atomic<bool> over_{false};
};

}  // namespace

TEST_CASE("under cancellation, time-outs and close at once no value is lost or doubled", "[stress]") {
  constexpr unsigned rounds = weft::rt::tsan || weft::rt::asan ? 20 : 100;
  with_workers([] {
    endings count;
    for (std::size_t const capacity : {0u, 1u, 8u})
      for (unsigned seed = 1; seed <= rounds; ++seed) {
        INFO("capacity " << capacity << ", seed " << seed);
        CHECK(storm(capacity, seed, count).run());
      }
    CHECK(count.partner > 0);
    CHECK(count.timeout > 0);
    CHECK(count.cancel > 0);
    CHECK(count.closed > 0);
  });
}
