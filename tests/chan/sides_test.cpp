// The members of chan, sender and receiver one by one: who has which, what the nil channel does in each, what a handle that was
// moved from does, and what each does with its value.
#include <weft/weft.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/chan/parked.hpp"
#include "tests/support/runtime_fixture.hpp"
#include "tests/sync/ends_process.hpp"

namespace {

using namespace std::chrono_literals;
using weft::chan_status;
using weft::test::await_receivers;
using weft::test::await_senders;
using weft::test::with_workers;

template <class H>
concept can_send = requires(H const h, int v) {
  h.send(v);
  { h.push(v) } -> std::same_as<bool>;
  { h.try_send(v) } -> std::same_as<chan_status>;
  { h.send_for(v, 1s) } -> std::same_as<chan_status>;
  { h.close() } -> std::same_as<bool>;
};
template <class H>
concept can_receive = requires(H const h, std::vector<int>& out) {
  { h.recv() } -> std::same_as<std::optional<int>>;
  { h.try_recv() } -> std::same_as<std::expected<int, chan_status>>;
  { h.recv_for(1s) } -> std::same_as<std::expected<int, chan_status>>;
  { h.recv_many(out, 1) } -> std::same_as<std::size_t>;
  h.begin();
  h.end();
  { h.abandoned() } -> std::same_as<bool>;
};
template <class H>
concept sends_something = requires(H const h, int v) { h.send(v); } || requires(H const h, int v) { h.push(v); } ||
                          requires(H const h, int v) { (void)h.try_send(v); } || requires(H const h) { h.close(); };
template <class H>
concept receives_something = requires(H const h) { h.recv(); } || requires(H const h) { (void)h.try_recv(); } ||
                             requires(H const h) { h.begin(); };

TEST_CASE("a sender has only the members of its side, a receiver those of its, a chan both, all of them const") {
  STATIC_REQUIRE(can_send<weft::chan<int>>);
  STATIC_REQUIRE(can_receive<weft::chan<int>>);
  STATIC_REQUIRE(can_send<weft::sender<int>>);
  STATIC_REQUIRE(can_receive<weft::receiver<int>>);
  STATIC_REQUIRE_FALSE(receives_something<weft::sender<int>>);
  STATIC_REQUIRE_FALSE(sends_something<weft::receiver<int>>);
  STATIC_REQUIRE(std::is_convertible_v<weft::chan<int>, weft::sender<int>>);
  STATIC_REQUIRE(std::is_convertible_v<weft::chan<int> const&, weft::receiver<int>>);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<weft::chan<int>, weft::sender<int>>);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<weft::sender<int>, weft::receiver<int>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<std::size_t, weft::chan<int>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<weft::chan<int>, bool>);
  weft::chan<int> const c(3);
  CHECK(c.capacity() == 3);
  CHECK(c.tx().capacity() == 3);
  CHECK(c.rx().size() == 0);
  CHECK(weft::chan<int>(0));
}

TEST_CASE("on the nil channel every operation of chan, sender and receiver blocks, is full, empty, or times out") {
  with_workers([] {
    auto const of_sender = [](auto const& h) {
      CHECK_FALSE(h);
      CHECK(h.size() == 0);
      CHECK(h.capacity() == 0);
      CHECK_FALSE(h.closed());
      CHECK(h.try_send(1) == chan_status::full);
      CHECK(h.send_for(1, 1ms) == chan_status::timeout);
      CHECK(h.send_for(1, -1s) == chan_status::timeout);
      CHECK_THROWS_AS(h.close(), weft::nil_channel);
      CHECK(weft::select(weft::on_send(h, 1), weft::otherwise()) == 1);
      CHECK(weft::select(weft::on_send(h, 1), weft::on_timeout(1ms)) == 1);
      for (int how = 0; how < 3; ++how) {
        auto waits = weft::spawn([h, how] {
          if (how == 0) h.send(1);
          else if (how == 1) (void)h.push(1);
          else weft::select(weft::on_send(h, 1));
        });
        CHECK_FALSE(waits.wait_for(500us));
        waits.stop();
      }
    };
    auto const of_receiver = [](auto const& h) {
      CHECK_FALSE(h);
      CHECK_FALSE(h.closed());
      CHECK_FALSE(h.abandoned());
      CHECK(h.try_recv().error() == chan_status::empty);
      CHECK(h.recv_for(1ms).error() == chan_status::timeout);
      CHECK(weft::select(weft::on_recv(h), weft::otherwise()) == 1);
      for (int how = 0; how < 5; ++how) {
        auto waits = weft::spawn([h, how] {
          std::vector<int> out;
          if (how == 0) h.recv();
          else if (how == 1) h.recv_many(out, 3);
          else if (how == 2) (void)*h.begin();
          else if (how == 3) (void)(h.begin() == h.end());
          else weft::select(weft::on_recv(h));
        });
        CHECK_FALSE(waits.wait_for(500us));
        waits.stop();
      }
    };
    of_sender(weft::chan<int>());
    of_sender(weft::sender<int>());
    of_receiver(weft::chan<int>());
    of_receiver(weft::receiver<int>());
    of_sender(weft::chan<int>().tx());
    of_receiver(weft::chan<int>().rx());
  });
}

#if !WEFT_TSAN
TEST_CASE("using a moved-from sender or receiver is a fatal misuse in every operation") {
  auto const dies = [](auto make, auto use, char const* named) {
    auto const end = weft::test::run_in_child([&] {
      auto a = make(weft::make_chan<int>(1));
      auto const b = std::move(a);
      use(a);
    });
    INFO(named << ": " << end.said);
    CHECK(end.aborted);
    CHECK(end.said.find(named) != std::string::npos);
    CHECK(end.said.find("moved from") != std::string::npos);
  };
  auto const tx = [](weft::chan<int> const& c) { return c.tx(); };
  auto const rx = [](weft::chan<int> const& c) { return c.rx(); };
  dies(tx, [](auto& h) { h.send(1); }, "send");
  dies(tx, [](auto& h) { (void)h.push(1); }, "send");
  dies(tx, [](auto& h) { (void)h.try_send(1); }, "try_send");
  dies(tx, [](auto& h) { (void)h.send_for(1, 0s); }, "send");
  dies(tx, [](auto& h) { h.close(); }, "close");
  dies(tx, [](auto& h) { (void)h.closed(); }, "closed");
  dies(tx, [](auto& h) { (void)h.capacity(); }, "capacity");
  dies(tx, [](auto& h) { auto const copy = h; }, "copying");
  dies(tx, [](auto& h) { weft::select(weft::on_send(h, 1), weft::otherwise()); }, "select");
  dies(rx, [](auto& h) { h.recv(); }, "recv");
  dies(rx, [](auto& h) { (void)h.try_recv(); }, "try_recv");
  dies(rx, [](auto& h) { (void)h.recv_for(0s); }, "recv");
  dies(
      rx,
      [](auto& h) {
        std::vector<int> out;
        h.recv_many(out, 0);
      },
      "recv_many");
  dies(rx, [](auto& h) { (void)h.begin(); }, "begin");
  dies(rx, [](auto& h) { (void)h.abandoned(); }, "abandoned");
  dies(rx, [](auto& h) { (void)h.size(); }, "size");
  dies(rx, [](auto& h) { (void)(h == h); }, "comparing");
  dies(rx, [](auto& h) { weft::select(weft::on_recv(h), weft::on_timeout(0s)); }, "select");
}
#endif

TEST_CASE("an lvalue of a move-only type is moved from only if the status is ok") {
  with_workers([] {
    auto const c = weft::make_chan<std::unique_ptr<int>>(1);
    auto one = std::make_unique<int>(1), two = std::make_unique<int>(2);
    CHECK(c.try_send(one) == chan_status::ok);
    CHECK_FALSE(one);
    CHECK(c.try_send(two) == chan_status::full);
    CHECK(two);
    CHECK(c.send_for(two, 1ms) == chan_status::timeout);
    CHECK(two);
    CHECK(c.send_for(std::move(two), 0s) == chan_status::timeout);
    CHECK(two);
    CHECK(**c.recv() == 1);
    CHECK(c.send_for(two, 1h) == chan_status::ok);
    CHECK_FALSE(two);
    two = std::make_unique<int>(3);
    c.close();
    CHECK(c.try_send(two) == chan_status::closed);
    CHECK(c.send_for(two, 1h) == chan_status::closed);
    CHECK(two);
  });
}

TEST_CASE("a close ends a push with false and the timed operations with closed, while they wait") {
  with_workers([] {
    auto const full = weft::make_chan<std::string>(1), empty = weft::make_chan<std::string>();
    full.send("there");
    std::string kept(50, 'k');
    auto pushes = weft::spawn([&] { return full.push("pushed"); });
    auto sends = weft::spawn([&] { return full.send_for(std::move(kept), 1h); });
    auto receives = weft::spawn([&] { return empty.recv_for(1h); });
    auto takes_many = weft::spawn([&] {
      std::vector<std::string> out{"old"};
      return empty.recv_many(out, 5) + out.size();
    });
    await_senders(full, 2);
    await_receivers(empty, 2);
    CHECK(full.close());
    CHECK(empty.close());
    CHECK_FALSE(pushes.join());
    CHECK(sends.join() == chan_status::closed);
    CHECK(kept == std::string(50, 'k'));
    CHECK(receives.join().error() == chan_status::closed);
    CHECK(takes_many.join() == 1);
    CHECK(full.recv() == "there");
  });
}

TEST_CASE("recv_many with a max beyond all memory takes what is there") {
  with_workers([] {
    auto const c = weft::make_chan<std::string>(40);
    for (int i = 0; i < 40; ++i) c.send(std::to_string(i));
    std::vector<std::string> out;
    CHECK(c.recv_many(out, SIZE_MAX) == 40);
    CHECK(out.back() == "39");
    auto const unit = weft::make_chan<weft::unit>(100);
    for (int i = 0; i < 100; ++i) unit.send({});
    std::vector<weft::unit> units;
    CHECK(unit.recv_many(units, SIZE_MAX) == 100);
  });
}

TEST_CASE("a running send, select and range keep their channel alive when its handle goes") {
  with_workers([] {
    for (int i = 0; i < 20; ++i) {
      std::optional<weft::sender<std::string>> tx;
      weft::receiver<std::string> rx;
      auto const fresh = [&] {
        auto ends = weft::make_ends<std::string>();
        tx = std::move(ends.tx);
        rx = std::move(ends.rx);
      };
      fresh();
      std::string kept(60, 'k');
      auto sends = weft::spawn([&] {
        try {
          tx->send(std::move(kept));
        } catch (weft::closed_channel const&) {
          return true;
        }
        return false;
      });
      await_senders(rx);
      tx.reset();  // the last handle that can send: the channel is closed
      rx = {};
      CHECK(sends.join());
      CHECK(kept == std::string(60, 'k'));

      fresh();
      auto selects = weft::spawn([&tx] { return weft::select(weft::on_send(weft::sender(*tx), "chosen")); });
      await_senders(rx);
      tx.reset();
      CHECK(rx.recv() == "chosen");
      CHECK(selects.join() == 0);

      fresh();
      std::optional<weft::receiver<std::string>> of_task(std::move(rx));
      auto counts = weft::spawn([&of_task] {
        int n = 0;
        for (std::string const& v : *of_task) n += static_cast<int>(v.size());
        return n;
      });
      await_receivers(*tx);
      of_task.reset();
      tx->send("12345");
      tx.reset();
      CHECK(counts.join() == 5);
    }
  });
}

struct alignas(512) wide {
  int v = 0;
  [[nodiscard]] bool placed() const { return reinterpret_cast<std::uintptr_t>(this) % 512 == 0; }
};

TEST_CASE("an over-aligned value is placed as its type says by every way of receiving") {
  with_workers([] {
    auto const c = weft::make_chan<wide>(8);
    for (int i = 0; i < 6; ++i) c.send(wide{i});
    CHECK(c.recv()->placed());
    CHECK(c.try_recv()->placed());
    CHECK(c.recv_for(1h)->placed());
    CHECK(weft::select(weft::on_recv(c, [](wide& v) { return v.placed(); })));
    auto it = c.begin();
    CHECK((*it).placed());
    std::vector<wide> out;
    c.recv_many(out, 4);
    CHECK(out.at(0).placed());
    CHECK(out.at(0).v == 5);
  });
}

/// Throws from its move when told so, and then leaves the source intact.
struct touchy {
  explicit touchy(int n) : v(n) {}
  touchy(touchy&& other) : v(other.v) {
    if (v > 0 && throws > 0 && --throws == 0) throw std::runtime_error("touchy");
    other.v = 0;
  }
  touchy& operator=(touchy&& other) {
    v = std::exchange(other.v, 0);
    return *this;
  }
  int v;
  static inline int throws = 0;
};

TEST_CASE("a move that throws in on_send, send_for or a range loses no value and leaves the channel usable") {
  with_workers([] {
    auto const c = weft::make_chan<touchy>(4);
    touchy t(7);
    touchy::throws = 1;
    CHECK_THROWS_AS(weft::select(weft::on_send(c, std::move(t))), std::runtime_error);
    CHECK(t.v == 7);
    touchy::throws = 1;
    CHECK_THROWS_AS((void)c.send_for(std::move(t), 1h), std::runtime_error);
    CHECK(t.v == 7);
    CHECK(c.size() == 0);
    c.send(std::move(t));
    auto it = c.begin();
    touchy::throws = 1;
    CHECK_THROWS_AS((void)*it, std::runtime_error);
    CHECK((*it).v == 7);
    CHECK(weft::select(weft::on_send(c, touchy(8)), weft::otherwise()) == 0);
    CHECK(c.recv()->v == 8);
  });
}

}  // namespace
